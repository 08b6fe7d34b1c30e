/**
 * Counts how often each expert is wanted, over the last passes before a rebalance is due: a state machine without a clock.
 */

/** What each logical expert had to do, layer by layer: numbers of rows, or any other measure that is not negative. */
export type Load = ReadonlyArray<ReadonlyArray<number>>

/** Times in passes of the model. */
export interface Options {
  readonly layers: number
  readonly logical: number
  /** From one rebalance to the next. Default 3000. */
  readonly interval?: number | undefined
  /** The last passes of an interval, which count. Default 1000, and never more than the interval. */
  readonly window?: number | undefined
}

/** A window over the passes of a group, and when the next rebalance is due. */
export interface ExpertLoad {
  /** Takes in one pass; true if a rebalance is due now, which ends the interval. */
  readonly record: (pass: Load) => boolean
  /** The load of the last window that ended; 1 for every expert while none has. */
  readonly load: () => Load
}

/** Starts at three quarters of the first interval, so that a group that has just come up need not wait for the whole of it. */
export const make = (options: Options): ExpertLoad => {
  const { interval = 3000, layers, logical } = options
  const window = Math.min(options.window ?? 1000, interval)
  const filled = (value: number) => Array.from({ length: layers }, () => Array.from({ length: logical }, () => value))
  let passes = Math.floor((interval * 3) / 4)
  let counting = filled(0)
  let load: Load = filled(1)
  return {
    record: (pass) => {
      if (interval - passes <= window) {
        counting.forEach((row, layer) => pass[layer]!.forEach((value, expert) => row[expert]! += value))
      }
      if (++passes < interval) return false
      passes = 0
      load = counting
      counting = filled(0)
      return true
    },
    load: () => load
  }
}

/** What several ranks have counted, together. */
export const sum = (loads: ReadonlyArray<Load>): Load =>
  loads.slice(1).reduce(
    (total, load) => total.map((row, layer) => row.map((value, expert) => value + load[layer]![expert]!)),
    loads[0] ?? []
  )
