/**
 * Decoders under seeded inputs. An input is a plain value: bytes, or whatever reaches the decoder. A campaign draws inputs from samples that the
 * encoder makes, from the corpus, and from inputs of this campaign that had an outcome of their own, and changes them.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { getHeapStatistics, setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { mutateValue, read, smaller, write } from "./mutate.ts"
import { Random, seedOf } from "./random.ts"

/** A decoder with what is promised of it. */
export interface Decoder {
  readonly name: string
  /** An input takes milliseconds: tests try fewer. */
  readonly slow?: boolean
  /** An input as its encoder makes it: the decoder accepts it. */
  readonly sample: (random: Random) => unknown
  /** Another input near one that there is. Default: a change anywhere in the value. */
  readonly mutate?: (input: any, random: Random) => unknown
  /**
   * Hands the input to the decoder and says what became of it: `accepted`, perhaps with more words, or how it was refused. Throws if the decoder
   * breaks its promise: `Broken` with a sentence, or whatever the decoder itself threw and should not have.
   */
  readonly judge: (input: any) => string | Promise<string>
  /** Gives back what it holds. */
  readonly close?: () => Promise<void>
}

/** A promise that does not hold. */
export class Broken extends Error {}

/** Throws the sentence unless it holds. */
export const holds = (condition: boolean, sentence: string): void => {
  if (!condition) throw new Broken(sentence)
}

export interface Failure {
  readonly decoder: string
  readonly issue: string
  readonly input: unknown
}

export interface Report {
  readonly decoder: string
  readonly inputs: number
  readonly accepted: number
  /** How many different outcomes there were. */
  readonly outcomes: number
  readonly failures: ReadonlyArray<Failure>
}

/** What one input may cost. A busy machine does not count: it is processor time of this thread. */
const millisLimit = 250
/** Of memory beyond a multiple of what the input itself takes. */
const bytesLimit = 96 * 2 ** 20

/** The things that every object has, and that nobody may add to. */
const prototypes: ReadonlyArray<object> = [
  Object.prototype,
  Array.prototype,
  Function.prototype,
  String.prototype,
  Number.prototype,
  Uint8Array.prototype,
  Map.prototype
]
const keys = (): number => prototypes.reduce((sum: number, prototype) => sum + Reflect.ownKeys(prototype).length, 0)

let collect: (() => void) | undefined

const memory = (): number => {
  const { external_memory, used_heap_size } = getHeapStatistics()
  return external_memory + used_heap_size
}

/** What is held before an input: garbage of earlier ones that goes meanwhile would hide as much of what it takes. */
const held = (): number => {
  const taken = memory()
  if (taken < bytesLimit) return taken
  if (collect === undefined) {
    setFlagsFromString("--expose-gc")
    collect = runInNewContext("gc") as () => void
  }
  // What the first finds is given back in the background, and at the latest by the second.
  collect()
  collect()
  return memory()
}

const sentence = (cause: unknown): string =>
  cause instanceof Error ? cause instanceof Broken ? cause.message : `threw ${cause}` : `threw ${String(cause)}`

/** One input under everything that is promised of any decoder. */
export const examine = async (decoder: Decoder, input: unknown): Promise<{ readonly outcome: string; readonly issue?: string }> => {
  const before = keys()
  const taken = held()
  const { system, user } = process.threadCpuUsage()
  let outcome = "failed"
  let issue: string | undefined
  try {
    const judged = decoder.judge(input)
    outcome = typeof judged === "string" ? judged : await judged
  } catch (cause) {
    issue = sentence(cause)
  }
  const used = process.threadCpuUsage()
  const millis = (used.system + used.user - system - user) / 1000
  const grown = memory() - taken
  if (issue === undefined && millis > millisLimit) issue = `took ${Math.round(millis)} ms of processor time`
  if (issue === undefined && grown > bytesLimit) issue = `took ${Math.round(grown / 2 ** 20)} MiB`
  if (keys() !== before) issue = "changed a prototype"
  return issue === undefined ? { outcome } : { outcome, issue }
}

/** Outcomes that differ in numbers and in what they quote only are one. */
export const signature = (outcome: string): string => outcome.replace(/"[^"]*"/g, "…").replace(/\d+/g, "#").slice(0, 100)

export interface Options {
  readonly seed: number
  /** Stops after so many inputs, or so many seconds. */
  readonly inputs?: number
  readonly seconds?: number
  readonly corpus?: ReadonlyArray<unknown>
  /** Stops at the first failure, and tells it as it was. */
  readonly first?: boolean
  /** Hears of each input before it is tried, so that one that never ends can be told. */
  readonly trying?: (input: unknown) => void
  /** Hears of inputs with an outcome that none had before. */
  readonly interesting?: (input: unknown, outcome: string) => void
}

export const isAccepted = (outcome: string): boolean => outcome.startsWith("accepted")

/** Tries inputs until its time is over. A failure is made small; of failures of one kind the first is told. */
export const campaign = async (decoder: Decoder, options: Options): Promise<Report> => {
  const { corpus = [], first = false, inputs = Infinity, interesting, seconds = Infinity, trying } = options
  const random = new Random(seedOf(options.seed, decoder.name))
  const mutate = decoder.mutate ?? mutateValue
  const pool = [...corpus]
  const seen = new Map<string, number>()
  const failures = new Map<string, Failure>()
  const end = performance.now() + seconds * 1000
  const most = first ? 1 : Infinity
  let tried = 0
  let accepted = 0
  const known = decoder.sample(new Random(1))
  const attempt = async (input: unknown) => {
    trying?.(input)
    const result = await examine(decoder, input)
    // A slow machine, or a collection at the wrong moment, is not slow three times.
    if (result.issue?.startsWith("took ") !== true) return result
    for (let again = 0; again < 2; again++) {
      if ((await examine(decoder, input)).issue?.startsWith("took ") !== true) return { outcome: result.outcome }
    }
    return result
  }
  while (tried < inputs && performance.now() < end && failures.size < most) {
    let input = pool.length > 0 && random.once(2) ? random.pick(pool) : decoder.sample(random)
    if (tried >= corpus.length) {
      for (let changes = random.below(1 + random.below(6)); changes > 0; changes--) input = mutate(input, random)
    } else input = corpus[tried]
    tried++
    const result = await attempt(input)
    const { outcome } = result
    let { issue } = result
    // What was refused has left nothing behind that spoils the next.
    if (issue === undefined && (!isAccepted(outcome) || tried % 64 === 0)) {
      const after = await attempt(known)
      if (after.issue !== undefined || !isAccepted(after.outcome)) {
        issue = `does not take a valid input afterwards: ${after.issue ?? after.outcome}`
      }
    }
    if (isAccepted(outcome)) accepted++
    const kind = signature(issue ?? outcome)
    const times = seen.get(kind) ?? 0
    seen.set(kind, times + 1)
    if (issue !== undefined) {
      if (times === 0) {
        failures.set(kind, {
          decoder: decoder.name,
          issue,
          input: first ? input : await shrink(input, async (candidate) => signature((await attempt(candidate)).issue ?? "") === kind)
        })
      }
    } else if (times < 2) {
      pool.push(input)
      if (times === 0 && tried > corpus.length) interesting?.(input, outcome)
    }
  }
  return { decoder: decoder.name, inputs: tried, accepted, outcomes: seen.size, failures: [...failures.values()] }
}

/** Takes away whatever is not needed for the same to come of it. */
const shrink = async (input: unknown, same: (candidate: unknown) => Promise<boolean>): Promise<unknown> => {
  let smallest = input
  for (let tries = 0, found = true; found && tries < 2000;) {
    found = false
    for (const candidate of smaller(smallest)) {
      if (++tries > 2000) break
      if (!await same(candidate)) continue
      smallest = candidate
      found = true
      break
    }
  }
  return smallest
}

/** A smaller input with the same outcome. */
export const shrunk = (decoder: Decoder, input: unknown, outcome: string): Promise<unknown> =>
  shrink(input, async (candidate) => {
    const found = await examine(decoder, candidate)
    return found.issue === undefined && found.outcome === outcome
  })

/** A sample of the corpus: an input, and what becomes of it. */
export interface Sample {
  readonly file: string
  readonly outcome: string
  readonly input: unknown
}

/** The samples of a decoder, one a file. The first line of a file is the outcome, the second the input. */
export const samples = (folder: string): ReadonlyArray<Sample> =>
  (existsSync(folder) ? readdirSync(folder).sort() : []).map((file) => {
    const [outcome, input] = readFileSync(join(folder, file), "utf8").split("\n")
    return { file, outcome: outcome!, input: read(input!) }
  })

/** Keeps a sample for ever. */
export const keep = (folder: string, file: string, outcome: string, input: unknown): void => {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, file), `${outcome}\n${write(input)}\n`)
}
