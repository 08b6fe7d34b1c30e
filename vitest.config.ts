import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import LongestFirst from "./scripts/longestFirst.ts"

// Hundreds of processes load the same modules; whoever starts one hands this on, so that drivers load them as workers do.
process.env["NODE_COMPILE_CACHE"] ??= fileURLToPath(new URL("node_modules/.cache/compiled", import.meta.url))
const loading = new URL("packages/node/src/internal/loading.mjs", import.meta.url).href
process.env["NODE_OPTIONS"] = `${process.env["NODE_OPTIONS"] ?? ""} --import=${loading}`

export default defineConfig({
  test: {
    include: ["packages/*/test/**/*.test.ts", "examples/*/*.test.ts", "test/**/*.test.ts"],
    globalSetup: "test/harness/rayHead.ts",
    setupFiles: ["scripts/equality.ts"],
    reporters: ["default", "scripts/closingLine.ts"],
    pool: "forks",
    // On two processors: some files wait most of the time, so that a third one has something to do. More would only measure each other's load.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    // A file leaves nothing behind that another could see; starting a process for each costs more than many of them take.
    isolate: false,
    // Starting processes takes a busy machine, or one whose caches are cold, many seconds; a test that hangs is found all the same.
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})
