import * as Load from "@phalanx/moe/testing/Load"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import type * as Bench from "../Bench.ts"
import type * as Depth from "../Depth.ts"
import * as Driver from "../Driver.ts"
import * as Row from "../Row.ts"
import * as Scalings from "../Scalings.ts"

const { round } = Scalings
interface Changes {
  readonly elastic: ReadonlyArray<number>
  readonly blocking: ReadonlyArray<number>
  /** Requests at a time. Default 16. */
  readonly open?: number
}
const sizes: Record<Depth.Depth["name"], Changes> = {
  full: { elastic: Array.from({ length: 8 }, () => round).flat(), blocking: [...round, ...round] },
  quick: { elastic: [...round, ...round], blocking: round },
  smoke: { elastic: [1], blocking: [1], open: 4 }
}

const row = (
  system: string,
  values: ReadonlyArray<number>,
  options: { readonly unit?: string; readonly workers?: number } = {}
): Row.Row => ({
  ...Row.of(system, { workers: options.workers ?? 4, bytes: 0 }, [{ values, foreign: 0 }]),
  ...(options.unit === undefined ? {} : { unit: options.unit })
})

const micros = (millis: number): number => millis * 1000
const pause = ({ pauseMs }: Scalings.Change): number => micros(pauseMs)
const total = ({ totalMs }: Scalings.Change): number => micros(totalMs)

/** A change of size under load, and what it leaves behind. */
export const Scaling: Bench.Bench = {
  name: "scaling",
  about:
    "The language model under 16 requests at a time goes 2 → 4 → 3 → 1 → 4 → 2 → 1 → 2 ranks, again and again, each change an operation. `pause`: from the last token that a reader got before a commit to the "
    + "first one after it, less a normal step, in time and in normal steps (the median gap of the 20 steps before); `change`: from the request to the end of the last step, and step by step; n are changes that "
    + "count: every rank had requests before and within 20 steps after, and 8 requests or more had tokens before and after. `stopped and started`: the same without an operation, in the same run: hold requests back, wait for those that are "
    + "open, end the group, start one of the new size; its pause is the time without any token. At last every text is compared with what one rank writes that nobody disturbs. What is held is that of the driver and, without shared segments, of the rank that "
    + "lives throughout, whenever there are two ranks: after a fifth of the changes, up to two fifths (`early`), and in the last three tenths.",
  unit: "µs",
  run: (depth, tell = () => {}) =>
    Effect.gen(function*() {
      const { blocking, elastic, open } = sizes[depth.name]
      const say = (change: Scalings.Change) => tell(Scalings.words(change))
      const { changes, held, recomputed, requests, texts } = yield* Scalings.elastic(elastic, say, undefined, open)
      const stopped = yield* Scalings.blocking(blocking, say, open)
      const identical = yield* Load.compare(texts)
      tell(`${texts.length} of ${requests} requests completed, ${identical} identical; ${recomputed} tokens computed twice`)

      const counted = changes.filter(({ counts }) => counts)
      const ways = [...new Set(counted.map(({ from, to }) => `${from} → ${to}`))]
      const of = (way: string) => counted.filter(({ from, to }) => `${from} → ${to}` === way)
      const last = held.length - 1
      const early = held.filter((_, i) => i >= last / 5 && i <= last * 2 / 5)
      const compared = { early: early.length === 0 ? held.slice(0, 1) : early, late: held.filter((_, i) => i >= last * 0.7) }
      const holding = (name: string, value: (held: Scalings.Held) => number, unit: string) =>
        (["early", "late"] as const).map((when) => row(`${name}, ${when}`, compared[when].map(value), { unit, workers: 2 }))
      return [
        row("pause", counted.map(pause)),
        row("pause in steps", counted.map(({ pauseSteps }) => pauseSteps), { unit: "steps" }),
        row("pause, stopped and started", stopped.map(({ pauseMs, stepMs }) => micros(pauseMs + stepMs))),
        row("change", counted.map(total)),
        ...Object.keys(counted[0]?.steps ?? {}).map((step) => row(step, counted.map(({ steps }) => micros(steps[step]!)))),
        row("change, stopped and started", stopped.map(total)),
        ...ways.flatMap((way) => [
          row(`${way}: change`, of(way).map(total)),
          row(`${way}: pause`, of(way).map(pause)),
          row(`${way}: pause in steps`, of(way).map(({ pauseSteps }) => pauseSteps), { unit: "steps" })
        ]),
        row("requests sent", [requests], { unit: "requests" }),
        row("requests completed", [texts.length], { unit: "requests" }),
        row("texts identical", [identical], { unit: "requests" }),
        row("tokens computed twice", [recomputed], { unit: "tokens" }),
        ...holding("driver's memory", ({ driver }) => driver / 1e6, "MB"),
        ...holding("rank's memory", ({ rank }) => rank / 1e6, "MB"),
        ...holding("driver's descriptors", ({ driverDescriptors }) => driverDescriptors, ""),
        ...holding("rank's descriptors", ({ rankDescriptors }) => rankDescriptors, ""),
        ...holding("files of the group", ({ files }) => files, "")
      ]
    }).pipe(
      Effect.scoped,
      Effect.provide(NodeCluster.layer),
      Effect.mapError((error) => new Driver.SystemFailed({ system: "phalanx", issue: error.message }))
    )
}
