/** A journal that outlives simulated drivers, each of whose writes takes a while before it is there, and a while until it is known to be. */
import type * as Draw from "@phalanx/core/testing/Draw"
import type { Execution, Journal, Operation } from "@phalanx/elastic/Journal"
import { Effect, Option } from "effect"

type Service = Journal["Service"]

/** `at` runs right before and right after every write, with its number from 1. */
export const make = (draw: Draw.Draw, at: (point: `before ${number}` | `after ${number}`) => Effect.Effect<void>) => {
  const executions = new Map<string, Execution>()
  const operations = new Map<string, Operation>()
  const values = new Map<string, string>()
  const clocks = new Map<string, number>()
  let writes = 0

  const read = <A>(f: () => A): Effect.Effect<A> => Effect.sync(f)
  const write = <A>(f: () => A): Effect.Effect<A> =>
    Effect.suspend(() => {
      const number = ++writes
      return Effect.sleep(draw.below(20) / 10).pipe(
        Effect.andThen(at(`before ${number}`)),
        Effect.andThen(Effect.sync(f)),
        Effect.tap(at(`after ${number}`)),
        Effect.tap(Effect.sleep(draw.below(20) / 10))
      )
    })
  const first = <A>(map: Map<string, A>, key: string, value: A): A => {
    if (!map.has(key)) map.set(key, value)
    return map.get(key)!
  }
  const change = (id: string, allowed: (now: Operation) => boolean, part: Partial<Operation>): Operation => {
    const now = operations.get(id)!
    if (allowed(now)) operations.set(id, { ...now, ...part })
    return operations.get(id)!
  }
  const unended = (group: string) => [...operations.values()].find((operation) => operation.group === group && operation.state !== "ended")
  const activity = (execution: string, name: string, attempt: number) => `activity ${execution} ${name} ${attempt}`

  const service: Service = {
    begin: ({ id, payload, workflow }) =>
      write(() => first(executions, id, { id, workflow, payload, result: Option.none(), interrupted: false })),
    end: (id, result) =>
      write(() => {
        const now = executions.get(id)!
        if (Option.isNone(now.result)) executions.set(id, { ...now, result: Option.some(result) })
      }),
    interrupt: (id) => write(() => void executions.set(id, { ...executions.get(id)!, interrupted: true })),
    execution: (id) => read(() => Option.fromNullishOr(executions.get(id))),
    unfinished: (workflow) => read(() => [...executions.values()].filter((one) => one.workflow === workflow && Option.isNone(one.result))),
    activity: ({ attempt, execution, name }) => read(() => Option.fromNullishOr(values.get(activity(execution, name, attempt)))),
    recordActivity: ({ attempt, execution, name }, exit) => write(() => void first(values, activity(execution, name, attempt), exit)),
    deferred: ({ execution, name }) => read(() => Option.fromNullishOr(values.get(`deferred ${execution} ${name}`))),
    recordDeferred: ({ execution, name }, exit) => write(() => void first(values, `deferred ${execution} ${name}`, exit)),
    clock: ({ execution, name }, deadline) => write(() => first(clocks, `${execution} ${name}`, deadline)),
    activities: (execution) =>
      read(() =>
        [...values].flatMap(([key, exit]) => {
          const [kind, of, name] = key.split(" ")
          return kind === "activity" && of === execution ? [{ name: name!, exit }] : []
        })
      ),
    open: ({ group, id, request }) =>
      write(() =>
        operations.get(id) ?? unended(group)
          ?? first(operations, id, { id, group, request, state: "preparing", cancelled: false, outcome: Option.none() })
      ),
    operation: (id) => read(() => Option.fromNullishOr(operations.get(id))),
    unended: (group) => read(() => Option.fromNullishOr(unended(group))),
    decide: (id) => write(() => change(id, ({ cancelled, state }) => state === "preparing" && !cancelled, { state: "committing" })),
    cancel: (id) => write(() => change(id, ({ state }) => state === "preparing", { cancelled: true })),
    close: (id, outcome) =>
      write(() => void change(id, ({ state }) => state !== "ended", { state: "ended", outcome: Option.some(outcome) })),
    // No driver of a simulation asks for it.
    ended: () => Effect.succeed([]),
    forget: () => Effect.succeed(false)
  }
  return { service, operations, writes: () => writes }
}
