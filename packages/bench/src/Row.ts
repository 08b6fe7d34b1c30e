/** What a bench finds of one system in one setting. */
import * as Schema from "effect/Schema"
import type { Setting } from "./System.ts"

/** One round's measurements, in the bench's unit. */
export interface Round {
  readonly values: ReadonlyArray<number>
  /** Share of the machine, 0 … 1, that others used meanwhile. */
  readonly foreign: number
}

/** One line of the results: one system in one setting; values in the bench's unit. */
export const Row = Schema.Struct({
  system: Schema.String,
  workers: Schema.Int,
  bytes: Schema.Int,
  /** Where it is another than the bench's. */
  unit: Schema.optionalKey(Schema.String),
  /** Measurements in all rounds. */
  n: Schema.Int,
  /** The median over rounds of a round's median. */
  p50: Schema.Finite,
  /** The same of its 90th percentile. */
  p90: Schema.Finite,
  /** The median over rounds of a round's 99th percentile; where a round has under 100 measurements that is its largest. */
  p99: Schema.Finite,
  /** Least and greatest of the rounds' medians. */
  spread: Schema.Tuple([Schema.Finite, Schema.Finite]),
  /** The median over rounds. */
  foreign: Schema.Finite
})
export type Row = typeof Row.Type

/** The value below or at which that share of the sorted values lies. */
const quantile = (sorted: ReadonlyArray<number>, share: number): number => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]!

const sort = (values: ReadonlyArray<number>): Array<number> => values.toSorted((a, b) => a - b)

/** The median of values in any order; of an even number of them the lower middle one. */
export const median = (values: ReadonlyArray<number>): number => quantile(sort(values), 0.5)

/** Draws one system's rounds together. */
export const of = (system: string, { bytes, workers }: Setting, rounds: ReadonlyArray<Round>): Row => {
  const sorted = rounds.map(({ values }) => sort(values))
  const medians = sort(sorted.map((values) => quantile(values, 0.5)))
  return {
    system,
    workers,
    bytes,
    n: sorted.reduce((sum, { length }) => sum + length, 0),
    p50: quantile(medians, 0.5),
    p90: median(sorted.map((values) => quantile(values, 0.9))),
    p99: median(sorted.map((values) => quantile(values, 0.99))),
    spread: [medians[0]!, medians.at(-1)!],
    foreign: median(rounds.map(({ foreign }) => foreign))
  }
}
