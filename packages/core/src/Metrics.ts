/**
 * A group's numbers as Effect metrics, for whatever exports those (`PrometheusMetrics`, `Otlp`). Who does not ask for them pays nothing; who does pays for two readings of the clock a call.
 *
 * ```ts
 * const adders = yield* Adders
 * yield* Metrics.publish(adders)
 * ```
 *
 * | metric | attributes besides `group` | |
 * |---|---|---|
 * | `phalanx_calls` | `method`, `outcome` | answers of ranks: `success`, the method's error as `failure`, or the tag of what lost it |
 * | `phalanx_call_millis` | `method` | histogram: from the call to a rank's answer |
 * | `phalanx_open_requests`, `phalanx_open_bytes`, `phalanx_waiting_requests` | `rank` | gauges: sent and not answered, and waiting to be sent |
 * | `phalanx_dropped` | `why` | answers and frames that changed nothing: `late`, `unexpected`, `fenced` |
 * | `phalanx_deaths` | `reason` | |
 * | `phalanx_restarts`, `phalanx_resizes`, `phalanx_escalations`, `phalanx_unresponsive` | | |
 * | `phalanx_ranks` | | gauge: members of the present epoch |
 * | `phalanx_queue` | `process` (`driver` or a rank), `what` | gauge: what the transport says of a process's queues, as `MessageQueues.Stats` |
 *
 * Gauges are 0 for a rank that has left, and all of them when the scope has closed.
 */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { GroupEvent } from "./GroupEvent.ts"
import type { Member } from "./Snapshot.ts"
import type * as WorkerGroup from "./WorkerGroup.ts"

/** How often gauges are brought up to date, and what the group is called. */
export interface Options {
  /** Default: 1 second. */
  readonly every?: Duration.Input | undefined
  /** The attribute `group`. Default: the group's own name. */
  readonly group?: string | undefined
}

const millis = Metric.histogram("phalanx_call_millis", {
  description: "From a call to a rank's answer, in milliseconds",
  boundaries: Metric.exponentialBoundaries({ start: 0.01, factor: 2, count: 24 })
})
const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })
const calls = counter("phalanx_calls", "Answers of ranks")
const dropped = counter("phalanx_dropped", "Answers and frames that changed nothing")
const deaths = counter("phalanx_deaths", "Workers that died")
const news: Record<Exclude<GroupEvent["_tag"], "Ready" | "Died">, Metric.Counter<number>> = {
  Restarted: counter("phalanx_restarts", "Ranks that serve again after a death"),
  Resized: counter("phalanx_resizes", "Changes of the group's size"),
  Escalated: counter("phalanx_escalations", "Failures of the group"),
  Unresponsive: counter("phalanx_unresponsive", "Ranks found to compute without answering")
}
const gauge = (name: string, description: string) => Metric.gauge(name, { description })
const requests = gauge("phalanx_open_requests", "Requests sent and not answered")
const bytes = gauge("phalanx_open_bytes", "Bytes of requests sent and not answered")
const waiting = gauge("phalanx_waiting_requests", "Requests that wait to be sent")
const ranks = gauge("phalanx_ranks", "Members of the present epoch")
const queue = gauge("phalanx_queue", "What the transport says of a process's queues")

/** Metrics of the same kind, one for each set of attributes, made when first updated. */
const family = <Input>(metric: Metric.Metric<Input, any>, group: string, context: Context.Context<never>) => {
  const known = new Map<string, Metric.Metric<Input, any>>()
  return (input: Input, attributes: Readonly<Record<string, string>> = {}): void => {
    const key = JSON.stringify(attributes)
    let one = known.get(key)
    if (one === undefined) known.set(key, one = Metric.withAttributes(metric, { group, ...attributes }))
    one.updateUnsafe(input, context)
  }
}

type Level = readonly [value: number, attributes: Readonly<Record<string, string>>]

/** A gauge that is 0 for whom it is not told any more. */
const levels = (update: (value: number, attributes: Level[1]) => void) => {
  let told = new Map<string, Level[1]>()
  return (now: ReadonlyArray<Level>): void => {
    const present = new Map(now.map(([, attributes]) => [JSON.stringify(attributes), attributes]))
    for (const [key, attributes] of told) if (!present.has(key)) update(0, attributes)
    for (const [value, attributes] of now) update(value, attributes)
    told = present
  }
}

const outcomeOf = (exit: Exit.Exit<unknown, { readonly reason: unknown }>): string => {
  if (exit._tag === "Success") return "success"
  const reason = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error.reason
  const tag = (reason as { readonly _tag?: unknown } | undefined)?._tag
  return typeof tag === "string" && lost.has(tag) ? tag : "failure"
}
const lost: ReadonlySet<string> = new Set(["WorkerDied", "CallTimeout", "CallRejected", "CallInterrupted", "CallDefect"])

/** Publishes a group's numbers until the scope closes. */
export const publish = Effect.fnUntraced(function*(
  group: WorkerGroup.WorkerGroup<any, any>,
  options: Options = {}
): Effect.fn.Return<void, never, Scope.Scope> {
  const context = yield* Effect.context<never>()
  const name = options.group ?? group.name
  const of = <Input>(metric: Metric.Metric<Input, any>) => family(metric, name, context)
  const [count, time, drop, die] = [of(calls), of(millis), of(dropped), of(deaths)]
  yield* group.observe(({ exit, method, millis }) => {
    count(1, { method, outcome: outcomeOf(exit) })
    time(millis, { method })
  })

  const told = {
    Restarted: of(news.Restarted),
    Resized: of(news.Resized),
    Escalated: of(news.Escalated),
    Unresponsive: of(news.Unresponsive)
  }
  yield* group.news.pipe(
    Stream.runForEach((event) =>
      Effect.sync(() => {
        if (event._tag === "Died") die(1, { reason: event.died.reason })
        else if (event._tag !== "Ready") told[event._tag](1)
      })
    ),
    Effect.forkScoped({ startImmediately: true })
  )

  const level = (metric: Metric.Gauge<number>) => levels(of(metric))
  const [open, held, wait, size, queues] = [level(requests), level(bytes), level(waiting), level(ranks), level(queue)]
  const before = { ...(yield* group.snapshot).counters }
  const refresh = Effect.map(Effect.all([group.snapshot, group.stats]), ([{ counters, members }, stats]) => {
    size([[members.length, {}]])
    const byRank = (of: (member: Member) => number) => members.map((member): Level => [of(member), { rank: String(member.rank) }])
    open(byRank(({ requests }) => requests))
    held(byRank(({ bytes }) => bytes))
    wait(byRank(({ waiting }) => waiting))
    for (const why of ["late", "unexpected", "fenced"] as const) {
      if (counters[why] > before[why]) drop(counters[why] - before[why], { why })
      before[why] = counters[why]
    }
    queues(stats.flatMap(([process, numbers]) => Object.entries(numbers).map(([what, value]): Level => [value, { process, what }])))
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => [open, held, wait, size, queues].forEach((gauge) => gauge([]))))
  yield* Effect.forkScoped(
    Effect.repeat(refresh, Schedule.spaced(Duration.fromInputUnsafe(options.every ?? "1 second"))),
    { startImmediately: true }
  )
})
