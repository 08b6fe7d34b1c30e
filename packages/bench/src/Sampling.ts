/**
 * Times one call after another. Rivals that answer with promises are awaited in a plain loop, as their users would; those that answer with
 * effects are asked from one long-running fiber.
 */
import * as Effect from "effect/Effect"

/** How long and how often. Times are in milliseconds. */
export interface Sampling {
  /** Calls that are not counted, for so long; five at least where it is not 0. */
  readonly warm: number
  readonly budget: number
  /** Calls at the least, whatever the budget. */
  readonly least: number
  readonly most: number
  /** To sleep before each call. */
  readonly pause: number
}

/** The time of each call, in microseconds. */
export type Sampler = (sampling: Sampling) => Promise<ReadonlyArray<number>>

const verify = (answers: ReadonlyArray<number>, workers: number, length: number): void => {
  if (answers.length !== workers) throw new Error(`${answers.length} answers of ${workers} workers`)
  for (let index = 0; index < workers; index++) {
    if (answers[index] !== length) throw new Error(`worker ${index} answered ${answers[index]} to ${length} bytes`)
  }
}

const warming = (millis: number) => ({ calls: millis > 0 ? 5 : 0, until: performance.now() + millis })

const sleep = (millis: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, millis))

/** Samples a function whose promise resolves to every worker's answer. */
export const promises = (workers: number, length: number, call: () => Promise<ReadonlyArray<number>>): Sampler =>
async (
  { budget, least, most, pause, warm }
) => {
  const { calls, until } = warming(warm)
  for (let count = 0; count < calls || performance.now() < until; count++) {
    verify(await call(), workers, length)
  }
  const micros: Array<number> = []
  const end = performance.now() + budget
  while (micros.length < most && (micros.length < least || performance.now() < end)) {
    if (pause > 0) await sleep(pause)
    const start = performance.now()
    const answers = await call()
    micros.push((performance.now() - start) * 1000)
    verify(answers, workers, length)
  }
  return micros
}

/** Samples an effect that succeeds with every worker's answer, run by `run`. */
export const effects = <E, R>(
  workers: number,
  length: number,
  call: Effect.Effect<ReadonlyArray<number>, E, R>,
  run: <A>(effect: Effect.Effect<A, E, R>) => Promise<A>
): Sampler =>
({ budget, least, most, pause, warm }) =>
  run(Effect.gen(function*() {
    const { calls, until } = warming(warm)
    for (let count = 0; count < calls || performance.now() < until; count++) {
      verify(yield* call, workers, length)
    }
    const micros: Array<number> = []
    const end = performance.now() + budget
    while (micros.length < most && (micros.length < least || performance.now() < end)) {
      if (pause > 0) yield* Effect.sleep(pause)
      const start = performance.now()
      const answers = yield* call
      micros.push((performance.now() - start) * 1000)
      verify(answers, workers, length)
    }
    return micros
  }))
