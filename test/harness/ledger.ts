/**
 * What callers meant to ask and what they got, kept by a process that shares nothing with theirs. It knows calls from what was written before they were made, executions
 * from what workers noted, and deaths from whoever caused them; nothing of it is the product's own count.
 */
import type { End, Report } from "./load/report.ts"

/** A fault that may have been a worker's death. */
interface Blow {
  readonly verb: string
  readonly at: number
}

interface Entry {
  readonly group: string
  readonly asks: string
  readonly ranks: ReadonlyArray<number>
  ended: "replied" | "failed" | "lost" | undefined
}

/** The ends of a call that its contract names. */
const typed: ReadonlySet<string> = new Set(["WorkerDied", "CallTimeout", "CollectiveAborted", "Refused", "Interrupted"])

/** Least value that a share of the values does not exceed. */
const quantile = (sorted: ReadonlyArray<number>, share: number): number => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0

/** How long it took from faults to the first typed failure that named them, in milliseconds. */
export interface Latency {
  readonly n: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

const latency = (values: ReadonlyArray<number>): Latency => {
  const sorted = values.toSorted((a, b) => a - b)
  const round = (value: number): number => Math.round(value * 100) / 100
  return { n: sorted.length, p50: round(quantile(sorted, 0.5)), p99: round(quantile(sorted, 0.99)), max: round(sorted.at(-1) ?? 0) }
}

/** The books at one moment. */
export interface Balance {
  readonly calls: number
  readonly replied: number
  readonly failed: number
  /** Typed failures by their tag. */
  readonly by: Readonly<Record<string, number>>
  /** Ended in nothing that the contract names: no answer, another call's answer, an answer of a rank that had not run the call. */
  readonly lost: number
  /** Ended twice, or run twice by one rank. */
  readonly doubled: number
  /** Not ended. */
  readonly hung: number
  /** By verb. */
  readonly latencies: ReadonlyMap<string, Latency>
  /** What is wrong, in words. */
  readonly complaints: ReadonlyArray<string>
}

export const make = () => {
  const entries = new Map<number, Entry>()
  const by: Record<string, number> = {}
  const complaints: Array<string> = []
  const blows = new Map<number, Blow>()
  const latencies = new Map<string, Array<number>>()
  /** Replies that are to be found among the executions, as `call rank`. */
  const replies = new Set<string>()
  let open = 0
  let doubled = 0

  const complain = (call: number, what: string): void => {
    const entry = entries.get(call)
    complaints.push(`call ${call} (${entry?.group}, ${entry?.asks}): ${what}`)
  }

  const judge = (call: number, { ranks }: Entry, ends: ReadonlyArray<End>): NonNullable<Entry["ended"]> => {
    const strays = ends.filter(({ answers, failed }) => failed === undefined ? answers !== call : !typed.has(failed))
    const whole = ends.length === 0 || ends.some(({ failed, rank }) => failed !== undefined && rank === -1) || ends.length === ranks.length
    // A call of all ranks ends with the first that fails.
    const cut = ends.length === 1 && ends[0]!.failed !== undefined
    if (strays.length > 0 || !(whole || cut)) {
      complain(call, strays.length > 0 ? JSON.stringify(strays) : `${ends.length} ends of ${ranks.length} ranks`)
      return "lost"
    }
    for (const { failed } of ends) if (failed !== undefined) by[failed] = (by[failed] ?? 0) + 1
    return ends.some(({ failed }) => failed !== undefined) ? "failed" : "replied"
  }

  const settle = (call: number, ends: ReadonlyArray<End>, at: number): void => {
    const entry = entries.get(call)
    if (entry?.ended !== undefined) doubled++
    if (entry === undefined || entry.ended !== undefined) return complain(call, entry === undefined ? "was never made" : "ended twice")
    open--
    entry.ended = judge(call, entry, ends)
    for (const { failed, pid, rank } of ends) {
      if (failed === undefined && rank >= 0) replies.add(`${call} ${rank}`)
      const blow = pid === undefined ? undefined : blows.get(pid)
      if (blow === undefined) continue
      blows.delete(pid!)
      latencies.set(blow.verb, [...latencies.get(blow.verb) ?? [], at - blow.at])
    }
  }

  return {
    hear: (report: Report): void => {
      if (report._tag === "Intent") {
        const { asks, call, group, ranks } = report
        if (entries.has(call)) doubled++
        entries.set(call, { group, asks, ranks, ended: undefined })
        open++
      } else if (report._tag === "Outcome") settle(report.call, report.ends, report.at)
    },
    /** The process may die of this. */
    blow: (pid: number, verb: string, at: number): void => void blows.set(pid, { verb, at }),
    /** Calls that have not ended. */
    open: (): number => open,
    /** `notes` is what workers wrote: a line `call rank` for each execution. */
    balance: (notes: string): Balance => {
      const ran = new Set<string>()
      for (const line of notes.split("\n")) {
        if (line !== "" && ran.has(line)) {
          doubled++
          complain(Number(line.split(" ")[0]), `was run twice by rank ${line.split(" ")[1]}`)
        }
        ran.add(line)
      }
      for (const reply of replies) {
        if (ran.has(reply)) continue
        const call = Number(reply.split(" ")[0])
        complain(call, `rank ${reply.split(" ")[1]} answered and had not run it`)
        entries.get(call)!.ended = "lost"
      }
      const count = (ended: Entry["ended"]): number => [...entries.values()].filter((entry) => entry.ended === ended).length
      for (const [call, { ended }] of entries) if (ended === undefined) complain(call, "has not ended")
      return {
        calls: entries.size,
        replied: count("replied"),
        failed: count("failed"),
        by,
        lost: count("lost"),
        doubled,
        hung: count(undefined),
        latencies: new Map([...latencies].map(([verb, values]) => [verb, latency(values)])),
        complaints
      }
    }
  }
}
export type Ledger = ReturnType<typeof make>
