import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["packages/*/test/**/*.test.ts", "examples/*/*.test.ts", "test/**/*.test.ts"],
    setupFiles: ["scripts/equality.ts"],
    reporters: ["default", "scripts/closingLine.ts"],
    pool: "forks",
    // Most tests start processes of their own; more files at once would only measure each other's load.
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 20_000
  }
})
