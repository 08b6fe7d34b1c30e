/** What PARITY.md names and no other test shows. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { start } from "./fixtures/start.ts"
import { filesIn, folder, lives } from "./fixtures/system.ts"

describe("a group's end", () => {
  it.live("CO-10: asked for several times, at once and again later, it comes once, and answers what was open", () =>
    Effect.gen(function*() {
      const segments = yield* folder
      const scope = yield* Scope.make()
      const { group, lines, pids } = yield* Scope.provide(start(2, { folder: segments }), scope)
      const open = yield* Effect.forkChild(group.exits.hold({ stderr: [] }), { startImmediately: true })
      const close = Scope.close(scope, Exit.void)
      yield* Effect.all([close, close, group.kill(1)], { concurrency: "unbounded" })
      yield* close
      assert.isTrue((yield* Fiber.join(open)).every(Exit.isFailure))
      assert.deepStrictEqual(pids.filter(lives), [])
      assert.deepStrictEqual(filesIn(segments), [])
      assert.isAtMost(lines.filter(({ rank, text }) => rank === 0 && text === "finalized").length, 1)
      yield* group.kill(0)
    }).pipe(Effect.scoped))
})
