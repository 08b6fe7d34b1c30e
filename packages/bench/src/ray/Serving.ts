/** What a serving benchmark tells of requests, as `vllm bench serve` reckons it: time to first token, per output token, and between two tokens. */

/** When a request was made, and when each of its tokens came, in milliseconds of one clock. */
export interface Timing {
  readonly start: number
  readonly tokens: ReadonlyArray<number>
}

/** Milliseconds. */
export interface Statistics {
  readonly mean: number
  readonly median: number
  readonly p99: number
}

/** Of all requests together. */
export interface Served {
  readonly requests: number
  readonly tokens: number
  readonly ttft: Statistics
  /** Without the first token; requests of one token have none. */
  readonly tpot: Statistics
  readonly itl: Statistics
}

/** The quantile of sorted values, between two of them where it falls there. */
const quantile = (sorted: ReadonlyArray<number>, share: number): number => {
  const at = (sorted.length - 1) * share
  const [below, above] = [sorted[Math.floor(at)] ?? 0, sorted[Math.ceil(at)] ?? 0]
  return below + (above - below) * (at - Math.floor(at))
}

/** Of no values all are 0. */
export const statistics = (values: ReadonlyArray<number>): Statistics => {
  const sorted = values.toSorted((a, b) => a - b)
  const sum = sorted.reduce((sum, value) => sum + value, 0)
  return { mean: sorted.length === 0 ? 0 : sum / sorted.length, median: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) }
}

const tpotOf = ({ tokens }: Timing): ReadonlyArray<number> => tokens.length > 1 ? [(tokens.at(-1)! - tokens[0]!) / (tokens.length - 1)] : []

/** Draws requests together. */
export const of = (timings: ReadonlyArray<Timing>): Served => ({
  requests: timings.length,
  tokens: timings.reduce((sum, { tokens }) => sum + tokens.length, 0),
  ttft: statistics(timings.map(({ start, tokens }) => tokens[0]! - start)),
  tpot: statistics(timings.flatMap(tpotOf)),
  itl: statistics(timings.flatMap(({ tokens }) => tokens.slice(1).map((time, index) => time - tokens[index]!)))
})

/** The median of numbers from paired rounds, and between which two of them it lies with 95 % certainty, whatever they are distributed like; from six rounds on. */
export interface Interval {
  readonly median: number
  readonly from: number
  readonly to: number
}

/** By the order of the values alone: how many lie below the true median is as the tosses of a coin. */
export const interval = (values: ReadonlyArray<number>): Interval => {
  const sorted = values.toSorted((a, b) => a - b)
  const n = sorted.length
  let outside = 0
  let chance = 2 ** -n
  let lowest = 0
  for (let below = 0; below < n / 2; below++) {
    outside += chance
    if (outside > 0.025) break
    lowest = below + 1
    chance *= (n - below) / (below + 1)
  }
  // With too few values, from the least to the greatest is not enough; there is nothing better.
  const at = Math.max(0, lowest - 1)
  return { median: quantile(sorted, 0.5), from: sorted[at]!, to: sorted[n - 1 - at]! }
}
