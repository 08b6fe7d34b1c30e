/** What Phalanx wants to reach, judged on the rows of one run. */
import type { Row } from "./Row.ts"

/** One thing to reach: the bench it is judged on, what it says in words, and how it is judged. */
export interface Target {
  readonly bench: string
  readonly says: string
  /** The number reached, in words, and whether it is enough; `undefined` if the rows lack what it needs. */
  readonly judge: (rows: ReadonlyArray<Row>) => { readonly met: boolean; readonly found: string } | undefined
}

const p50 = (rows: ReadonlyArray<Row>, system: string, workers: number): number | undefined =>
  rows.find((row) => row.system === system && row.workers === workers)?.p50

/** Phalanx's median is at most so much. */
const atMost = (
  bench: string,
  says: string,
  limit: number,
  options: { system?: string; workers?: number; show: (value: number) => string }
): Target => ({
  bench,
  says,
  judge: (rows) => {
    const value = p50(rows, options.system ?? "phalanx", options.workers ?? 1)
    return value === undefined ? undefined : { met: value <= limit, found: options.show(value) }
  }
})

/** Phalanx's median is so many times less than a rival's. */
const faster = (bench: string, says: string, rival: string, times: number, workers = 1): Target => ({
  bench,
  says,
  judge: (rows) => {
    const [own, other] = [p50(rows, "phalanx", workers), p50(rows, rival, workers)]
    if (own === undefined || other === undefined) return undefined
    return { met: other / own >= times, found: `${(other / own).toFixed(2)} × faster` }
  }
})

/** Phalanx's median exceeds another's by so much at most. */
const within = (bench: string, says: string, rival: string, margin: number): Target => ({
  bench,
  says,
  judge: (rows) => {
    const [own, other] = [p50(rows, "phalanx", 1), p50(rows, rival, 1)]
    if (own === undefined || other === undefined) return undefined
    return {
      met: own - other <= margin,
      found: `${micros(own)}, ${own > other ? "" : "−"}${micros(Math.abs(own - other))} over ${micros(other)}`
    }
  }
})

const micros = (value: number): string => `${value < 100 ? value.toFixed(1) : Math.round(value)} µs`

const row = (rows: ReadonlyArray<Row>, system: string): Row | undefined => rows.find((row) => row.system === system)

/** A death is told hardly later than the bare event, and soon, whatever the other ranks do. */
const told = (peers: "idle" | "busy"): ReadonlyArray<Target> => [
  {
    bench: "loss",
    says: `one of four lost, the others ${peers}: ≤ 2 ms over the bare exit event`,
    judge: (rows) => {
      const [own, bare] = [row(rows, `phalanx, ${peers}`), row(rows, `exit event, ${peers}`)]
      if (own === undefined || bare === undefined) return undefined
      return { met: own.p50 - bare.p50 <= 2000, found: `${millis(own.p50)} and ${millis(bare.p50)}` }
    }
  },
  {
    bench: "loss",
    says: `one of four lost, the others ${peers}: p50 ≤ 12 ms, p99 ≤ 50 ms`,
    judge: (rows) => {
      const own = row(rows, `phalanx, ${peers}`)
      return own && { met: own.p50 <= 12_000 && own.p99 <= 50_000, found: `${millis(own.p50)}, ${millis(own.p99)}` }
    }
  }
]

const millis = (value: number): string => `${(value / 1000).toFixed(1)} ms`

/** `restart` costs a call at most so much more than `escalate`, as a share. */
const asCheap = (workers: number, share: number): Target => ({
  bench: "policy",
  says: `supervision costs a call of ${workers} nothing: restart no more than ${share * 100} % over escalate`,
  judge: (rows) => {
    const [escalate, restart] = [p50(rows, "escalate", workers), p50(rows, "restart", workers)]
    if (escalate === undefined || restart === undefined) return undefined
    return { met: restart / escalate <= 1 + share, found: `× ${(restart / escalate).toFixed(3)}` }
  }
})

/** Every worker that was stopped has been found within its deadline, which `bytes` is, and a fifth. */
const foundInTime: Target = {
  bench: "frozen",
  says: "a frozen worker is found within its deadline and 20 %",
  judge: (rows) => ({ met: rows.every(({ bytes, p99 }) => p99 <= bytes * 1200), found: rows.map(({ p99 }) => millis(p99)).join(", ") })
}

const abortedAtOnce: Target = {
  bench: "abort",
  says: "survivors of a collective fail ≤ 50 ms after the news",
  judge: ([row]) => row && { met: row.p99 <= 50_000, found: `p99 ${millis(row.p99)}` }
}

const scaling = (says: string, judge: (row: (system: string) => Row) => { readonly met: boolean; readonly found: string }): Target => ({
  bench: "scaling",
  says,
  judge: (rows) => judge((system) => row(rows, system)!)
})

/** A group that changes its size is felt for a few steps, loses nothing and leaves nothing. */
const scaled: ReadonlyArray<Target> = [
  scaling("a pause of p50 ≤ 2 and p90 ≤ 4 steps, over ≥ 50 changes of size under load", (row) => {
    const { n, p50, p90 } = row("pause in steps")
    return { met: n >= 50 && p50 <= 2 && p90 <= 4, found: `${p50.toFixed(2)} and ${p90.toFixed(2)} over ${n}` }
  }),
  scaling("every request completed, every text identical, no token computed twice", (row) => {
    const [sent, completed, identical, twice] = ["requests sent", "requests completed", "texts identical", "tokens computed twice"].map((
      system
    ) => row(system).p50)
    return { met: completed === sent && identical === sent && twice === 0, found: `${completed} and ${identical} of ${sent}, ${twice}` }
  }),
  scaling("memory ≤ × 1.05, descriptors and files as before", (row) => {
    const growth = (name: string): number => row(`${name}, late`).p50 / row(`${name}, early`).p50
    const [driver, rank] = [growth("driver's memory"), growth("rank's memory")]
    const counts = ["driver's descriptors", "rank's descriptors", "files of the group"].map(growth)
    return {
      met: driver <= 1.05 && rank <= 1.05 && counts.every((growth) => growth <= 1),
      found: `driver × ${driver.toFixed(3)}, rank × ${rank.toFixed(3)}; ${counts.map((growth) => `× ${growth.toFixed(2)}`).join(", ")}`
    }
  })
]

/** Of the same texts, after experts have been placed anew. */
const rebalanced: ReadonlyArray<Target> = [
  {
    bench: "rebalance",
    says: "placing experts anew by the recorded load spreads it more evenly, and a step takes no longer (≤ × 1.03)",
    judge: (rows) => {
      const [ratio, before, after] = ["placed anew ÷ as started", "balanced, as started", "balanced, placed anew"].map((system) =>
        row(rows, system)!.p50
      ) as [number, number, number]
      return {
        met: after > before && ratio <= 103,
        found: `${before.toFixed(1)} % and ${after.toFixed(1)} %, × ${(ratio / 100).toFixed(3)}`
      }
    }
  }
]

/** All targets, in the order of the benches. */
export const targets: ReadonlyArray<Target> = [
  atMost("hop", "queue alone, hot: p50 ≤ 5 µs", 5, { system: "phalanx-queue", show: micros }),
  atMost("call", "typed call of one worker, hot: p50 ≤ 30 µs", 30, { show: micros }),
  faster("call", "typed call ≥ 3 × faster than fork-ipc", "fork-ipc", 3),
  faster("call", "typed call ≥ 6 × faster than effect-rpc", "effect-rpc", 6),
  faster("fanout", "fan-out to 4 no slower than fork-ipc", "fork-ipc", 1, 4),
  faster("fanout", "fan-out to 8 no slower than fork-ipc", "fork-ipc", 1, 8),
  faster("fanout", "fan-out to 4 ≥ 4 × faster than effect-rpc", "effect-rpc", 4, 4),
  faster("fanout", "fan-out to 8 ≥ 4 × faster than effect-rpc", "effect-rpc", 4, 8),
  faster("broadcast", "1 MiB to 4 ≥ 4 × faster than fork-ipc", "fork-ipc", 4, 4),
  within("parked", "call after 2 s ≤ fork-ipc + 30 µs", "fork-ipc", 30),
  atMost("idle", "parked worker ≤ 1 % of a core", 10_000, { show: (value) => `${(value / 10_000).toFixed(3)} %` }),
  atMost("start", "four workers ready ≤ 1.5 s", 1_500_000, { workers: 4, show: (value) => `${(value / 1e6).toFixed(2)} s` }),
  atMost("start", "four model workers ready ≤ 2.5 s", 2_500_000, {
    system: "phalanx-model",
    workers: 4,
    show: (value) => `${(value / 1e6).toFixed(2)} s`
  }),
  atMost("memory", "worker ≤ 130 MB after 1,000 calls", 130_000_000, { workers: 4, show: (value) => `${(value / 1e6).toFixed(1)} MB` }),
  within("death", "WorkerDied ≤ 5 ms over the bare exit event", "exit-event", 5000),
  ...told("idle"),
  ...told("busy"),
  atMost("restart", "restart of hello, kill to answer: p50 ≤ 700 ms", 700_000, { system: "hello: restart", workers: 2, show: millis }),
  foundInTime,
  abortedAtOnce,
  asCheap(1, 0.05),
  asCheap(8, 0.05),
  atMost("decode", "decode step on 4 ranks, batch of 8: control ≤ 300 µs", 300, { system: "control", workers: 4, show: micros }),
  faster("eplb", "58 layers × 256 experts placed in less time than numpy takes as vLLM does it", "numpy, item by item", 1, 32),
  ...scaled,
  ...rebalanced
]
