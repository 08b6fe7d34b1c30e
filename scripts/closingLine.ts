import type { Reporter, SerializedError, TestModule } from "vitest/node"

/**
 * Closes a test run with one plain line, `N passed, N failed`, for programs that read the outcome. A file that could not be loaded and an
 * error outside of any test count as failures, so that "0 failed" always means that everything ran.
 */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, unhandled: ReadonlyArray<SerializedError>) {
    let passed = 0
    let failed = unhandled.length
    for (const module of modules) {
      failed += module.errors().length
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === "passed") passed++
        else if (state === "failed") failed++
      }
    }
    process.stdout.write(`${passed} passed, ${failed} failed\n`)
  }
}
