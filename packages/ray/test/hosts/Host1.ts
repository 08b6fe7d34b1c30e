import * as Python from "@phalanx/ray/Python"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Hosts from "../../../../test/harness/hosts.ts"

/** Host 1 of three, which runs the cases that it is asked for; a case that fails is a defect. */
export class Host1 extends Context.Service<Host1, {
  readonly run: (suite: string, name: string) => Effect.Effect<unknown>
}>()("@phalanx/ray/test/Host1") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      // Hosts have no way out of this machine, by which an interpreter's packages could come.
      yield* Effect.orDie(Python.find())
      const child = yield* Hosts.enter(fileURLToPath(new URL("./serve.ts", import.meta.url)))
      const lines = createInterface({ input: child.stdout! })
      const answer = Effect.callback<{ readonly value?: unknown; readonly error?: string }>((resume) => {
        const onExit = (code: number | null, signal: string | null) => resume(Effect.die(new Error(`host 1 ended with ${signal ?? code}`)))
        child.once("exit", onExit)
        lines.once("line", (line) => {
          child.off("exit", onExit)
          resume(Effect.succeed(JSON.parse(line)))
        })
      })
      yield* answer
      return Host1.of({
        run: Effect.fnUntraced(function*(suite, name) {
          child.stdin!.write(`${JSON.stringify([suite, name])}\n`)
          const { error, value } = yield* answer
          return error === undefined ? value : yield* Effect.die(new Error(error))
        })
      })
    })
  )
}
