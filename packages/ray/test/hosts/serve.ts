/** Host 1: runs the cases that it is asked for, a line each, and answers each with a line; ends with its standard input. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { createInterface } from "node:readline"
import { Three } from "../../../../test/harness/threeHosts.ts"
import { counts } from "./losses.ts"
import { type Suite, suites } from "./suites.ts"

const program = Effect.gen(function*() {
  const outer = yield* Effect.scope
  const three = yield* Layer.build(Three.layer)
  const made = yield* Layer.makeMemoMap
  process.stdout.write("{}\n")
  let current: { readonly suite: Suite; readonly scope: Scope.Closeable; readonly services: Context.Context<any> } | undefined

  const enter = Effect.fnUntraced(function*(suite: Suite) {
    if (current?.suite === suite) return current.services
    const scope = yield* Scope.fork(outer)
    // Before the last suite's end, whose connection it may share.
    const services = Context.merge(three, yield* Effect.provideContext(Layer.buildWithMemoMap(suite.layer, made, scope), three))
    if (current !== undefined) yield* Scope.close(current.scope, Exit.void)
    current = { suite, scope, services }
    return services
  })

  yield* Stream.fromAsyncIterable(createInterface({ input: process.stdin }), (cause) => cause).pipe(
    Stream.runForEach(Effect.fnUntraced(function*(line) {
      const [name, title] = JSON.parse(line)
      const suite = suites.find((suite) => suite.name === name)!
      const run = title === "counts" ? counts : suite.cases.find(({ name }) => name === title)!.run
      const exit = yield* Effect.exit(Effect.flatMap(enter(suite), (services) => Effect.provideContext(run, services)))
      process.stdout.write(`${JSON.stringify(exit._tag === "Success" ? { value: exit.value } : { error: Cause.pretty(exit.cause) })}\n`)
    }))
  )
}).pipe(Effect.scoped, Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatSimple)])))

// Whoever began this is gone. Hosts end with this process, whatever still waits for them.
process.stdin.once("end", () => Effect.runFork(Effect.delay(Effect.sync(() => process.exit(1)), "20 seconds")))

Effect.runFork(program).addObserver((exit) => {
  if (exit._tag === "Failure") process.stderr.write(`${Cause.pretty(exit.cause)}\n`)
  process.exit(exit._tag === "Success" ? 0 : 1)
})
