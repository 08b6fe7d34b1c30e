/**
 * Times one call after another. Rivals that answer with promises are awaited in a plain loop, as their users would; those that answer with
 * effects are asked from one long-running fiber.
 */
import * as Effect from "effect/Effect"

/** How long and how often. Times are in milliseconds. */
export interface Sampling {
  /** Calls that are not counted, until there were so many or so much time has passed. */
  readonly warm: { readonly calls: number; readonly most: number }
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

/** Whether the next call is one to warm up with. */
const warming = ({ calls, most }: Sampling["warm"]): () => boolean => {
  const end = performance.now() + most
  let count = 0
  return () => count++ < calls && performance.now() < end
}

const sleep = (millis: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, millis))

/** Samples a function whose promise resolves to every worker's answer. */
export const promises = (workers: number, length: number, call: () => Promise<ReadonlyArray<number>>): Sampler =>
async (
  { budget, least, most, pause, warm }
) => {
  const cold = warming(warm)
  while (cold()) verify(await call(), workers, length)
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

/**
 * Samples a function that hands every worker's answer to a callback, and is called again from there: nothing between one answer and the next
 * question.
 */
export const callbacks =
  (workers: number, length: number, call: (answered: (answers: ReadonlyArray<number>) => void) => void): Sampler =>
  ({ budget, least, most, warm }) =>
    new Promise((resolve, reject) => {
      const cold = warming(warm)
      const micros: Array<number> = []
      let end = 0
      let start = 0
      const ask = () => {
        start = performance.now()
        call(answered)
      }
      const answered = (answers: ReadonlyArray<number>) => {
        const now = performance.now()
        try {
          verify(answers, workers, length)
        } catch (cause) {
          return reject(cause)
        }
        if (end > 0) micros.push((now - start) * 1000)
        else if (!cold()) end = now + budget
        if (end > 0 && (micros.length >= most || (micros.length >= least && now >= end))) resolve(micros)
        else ask()
      }
      ask()
    })

/** Samples an effect that succeeds with every worker's answer, run by `run`. */
export const effects = <E, R>(
  workers: number,
  length: number,
  call: Effect.Effect<ReadonlyArray<number>, E, R>,
  run: <A>(effect: Effect.Effect<A, E, R>) => Promise<A>
): Sampler =>
({ budget, least, most, pause, warm }) =>
  run(Effect.gen(function*() {
    const cold = warming(warm)
    while (cold()) verify(yield* call, workers, length)
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
