import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["packages/*/test/**/*.test.ts", "examples/*/*.test.ts", "test/**/*.test.ts"],
    setupFiles: ["scripts/equality.ts"],
    reporters: ["default", "scripts/closingLine.ts"],
    pool: "forks",
    // Most tests start processes of their own; more files at once would only measure each other's load.
    maxWorkers: 2,
    // Starting processes takes a busy machine, or one whose caches are cold, many seconds; a test that hangs is found all the same.
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})
