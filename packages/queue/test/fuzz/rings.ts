/** Readers and writers of rings in memory in which somebody writes what no program of ours would, at any moment. */
import { Broken, type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { mutateValue } from "../../../../test/harness/mutate.ts"
import type { Random } from "../../../../test/harness/random.ts"
import { MappedMemory, type Memory } from "../../src/internal/memory.ts"
import { Requests } from "../../src/internal/requests.ts"
import { Assembly, distance, type Geometry, LAPPED, Reader, Ring } from "../../src/internal/ring.ts"
import { Writer } from "../../src/internal/writer.ts"

const capacity = 4096
const words = capacity / 4
const line = 16
const [writtenWord, wantsRoomWord, consumedWord] = [0, line, 2 * line]
const data = 4 * 64
/** The first words of the ring: headers of its first pieces are among them. */
const headers = Array.from({ length: 32 }, (_, index) => data / 4 + index)
const junkValues = [0, 1, 2, 4, -1, -2, 5, 6, 8, 0x7fffffff, -0x80000000, 64, 1022, 1023, 1024, 1025, 1026, 4096, 0x50484c58]

/** What happens, in turn. Words count from the first of the memory. */
type Step =
  | { readonly publish: Uint8Array; readonly tags: number }
  | { readonly take: number }
  /** Somebody writes a word, after so many accesses of whoever is next at it. */
  | { readonly word: number; readonly value: number; readonly after: number }
  /** Somebody writes a header with a check that is right, so many words after where the reader stands. */
  | { readonly forge: number; readonly length: number; readonly total: number; readonly offset: number }

const isNumber = (u: unknown): u is number => typeof u === "number" && Number.isSafeInteger(u)

const steps = (random: Random): Array<Step> =>
  random.list(1 + random.below(12), () =>
    random.once(2)
      ? { publish: random.bytes(random.once(8) ? random.below(9000) : random.below(80)), tags: random.below(4) }
      : { take: 1 + random.below(4) })

const sizes = [0, 1, 8, 100, 1023, 1024, 1025, 2048, 4096, 2 ** 20, 2 ** 28, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 8]
const forged = (random: Random): Step => {
  const length = random.pick(sizes)
  return {
    forge: random.once(4) ? 2 * random.below(20) : 0,
    length,
    total: random.once(2) ? length : random.pick(sizes),
    offset: random.once(2) ? 0 : random.pick(sizes)
  }
}

interface Place {
  readonly words: number
  /** Where the words are that somebody believes. */
  readonly hot: ReadonlyArray<number>
}
const junk = (random: Random, place: Place): Step => ({
  word: random.once(2) ? random.pick(place.hot) : random.below(place.words),
  value: random.once(4) ? random.word() | 0 : random.pick(junkValues),
  after: random.once(2) ? 0 : random.below(40)
})

const mutateSteps = (place: Place) => (input: ReadonlyArray<Step>, random: Random): unknown =>
  random.once(3) || !Array.isArray(input)
    ? mutateValue(input, random)
    : input.toSpliced(
      random.below(input.length + 1),
      random.once(3) ? 1 : 0,
      random.pick([junk(random, place), forged(random), steps(random)[0]!])
    )

/** A memory that counts the accesses to it and lets somebody write in between. */
class Disturbed extends MappedMemory {
  accesses = 0
  bytesRead = 0
  disturbed = false
  private most = Infinity
  private pending: Array<{ readonly word: number; readonly value: number; left: number }> = []

  disturb(word: number, value: number, after: number): void {
    this.pending.push({ word, value, left: after })
    this.pass(0)
  }
  /** Nobody is about to write. */
  get isCalm(): boolean {
    return this.pending.length === 0
  }
  forge(word: number, length: number, total: number, offset: number): void {
    this.disturbed = true
    const header = [length, total, offset, length ^ total ^ offset ^ 0x50484c58]
    for (const [index, value] of header.entries()) this.words[word + index] = value
  }
  private pass(count: number): void {
    this.accesses += count
    holds(this.accesses <= this.most, `more than ${40 * words} accesses to the memory`)
    if (this.pending.length === 0) return
    for (const entry of this.pending) {
      entry.left -= count
      if (entry.left > 0) continue
      this.disturbed = true
      this.words[entry.word] = entry.value
    }
    this.pending = this.pending.filter(({ left }) => left > 0)
  }
  override load(word: number): number {
    this.pass(1)
    return super.load(word)
  }
  override compareExchange(word: number, expected: number, value: number): number {
    this.pass(1)
    return super.compareExchange(word, expected, value)
  }
  override get(word: number): number {
    this.pass(1)
    return super.get(word)
  }
  override read(offset: number, length: number, target: Uint8Array, at: number): void {
    this.pass(1)
    holds(offset >= data && length >= 0 && offset + length <= this.bytes.length, `read ${length} bytes at ${offset}`)
    this.bytesRead += length
    super.read(offset, length, target, at)
  }
  /** Whoever is next at it: a piece needs a handful of accesses, and a ring of this length has so many pieces at most. */
  limit(): void {
    this.most = this.accesses + 40 * words
  }
}

const isStep = (step: unknown): step is Step => {
  if (typeof step !== "object" || step === null) return false
  if ("publish" in step) return step.publish instanceof Uint8Array && step.publish.length < 100_000 && "tags" in step && isNumber(step.tags)
  if ("take" in step) return isNumber(step.take) && step.take < 100
  if ("forge" in step) {
    const { forge, length, offset, total } = step as any
    return [forge, length, offset, total].every((n) => isNumber(n) && n >= 0) && forge < words - 4
  }
  return "word" in step && "value" in step && "after" in step && isNumber(step.word) && isNumber(step.value) && isNumber(step.after)
}

const frameLimit = 2 ** 31
const kept = 4096

const reading = (name: string, tags: number, rank: number | undefined): Decoder => ({
  name,
  sample: steps,
  mutate: mutateSteps({ words: data / 4 + words, hot: [writtenWord, wantsRoomWord, consumedWord, ...headers] }),
  judge: (input: ReadonlyArray<unknown>) => {
    const memory = new Disturbed(new ArrayBuffer(data + capacity))
    const geometry: Geometry = { written: writtenWord, wantsRoom: wantsRoomWord, data, capacity, tags }
    const consumed = { memory, index: consumedWord }
    const assembly = new Assembly(frameLimit, kept)
    const reader = new Reader(new Ring(memory, geometry), consumed, assembly, rank)
    const writer = new Writer(new Ring(memory, geometry))
    writer.admit(rank ?? -1, consumed)
    const mine: Array<Uint8Array> = []
    let outcome = "accepted"
    /** The header at which the reader stands is one that no writer makes. */
    let isWrong = false
    for (const step of Array.isArray(input) ? input : []) {
      if (!isStep(step)) continue
      if ("publish" in step) {
        // Only the reader is disturbed: what a writer meets is another decoder.
        if (memory.disturbed) continue
        writer.publish(step.publish, Int32Array.of(step.tags, 0))
        if (rank === undefined || (step.tags & 1 << rank) !== 0) mine.push(step.publish)
      } else if ("word" in step) {
        if (step.word >= 0 && step.word < memory.words.length) memory.disturb(step.word, step.value, step.after)
      } else if ("forge" in step) {
        const { forge, length, offset, total } = step
        const at = reader.load()
        memory.forge(data / 4 + ((at + forge) & (words - 1)), length, total, offset)
        const left = distance(at, memory.words[writtenWord]!)
        isWrong = forge === 0 && left > 0
          && (offset + length > total || length > capacity / 4 || total > frameLimit || reader.ring.size(length) > left)
      } else {
        for (let take = 0; take < step.take; take++) {
          if (!memory.disturbed) writer.flush()
          memory.limit()
          // The writer moves whoever has nothing to read.
          reader.position = reader.load()
          const taken = reader.take()
          if (isWrong && memory.isCalm) holds(taken === "junk" || taken === "moved", `told ${taken} of a header that no writer makes`)
          isWrong = false
          if (taken === "moved" || taken === "junk") {
            if (!memory.disturbed) throw new Broken(`told ${taken} of what a writer wrote`)
            return taken
          }
          if (taken !== "frame") continue
          holds(assembly.length <= memory.bytesRead, `a frame of ${assembly.length} bytes of which ${memory.bytesRead} had come`)
          const frame = assembly.own()
          if (!memory.disturbed) holds(Buffer.compare(frame, mine.shift()!) === 0, "another frame than was written")
          else outcome = "disturbed"
        }
      }
    }
    return outcome
  }
})

export const lane = reading("ringLane", 2, undefined)
export const requestRing = reading("ringOfRequests", 2, 1)

const ranks = [0, 1]
const consumedOf = (rank: number) => (4 + rank) * line
const laneOf = (rank: number) => ({ written: (8 + 3 * rank) * line, wantsRoom: (9 + 3 * rank) * line, consumed: (10 + 3 * rank) * line })
const groupData = 16 * 64
const groupBytes = groupData + 3 * capacity

/** The writing end of a group's requests, whose readers write anything into the words that they have, and into the ring. */
export const requests: Decoder = {
  name: "requestsWriter",
  sample: steps,
  mutate: mutateSteps({
    words: groupBytes / 4,
    hot: [consumedOf(1), consumedOf(1), laneOf(1).consumed, laneOf(1).written, ...headers.map((word) => word - data / 4 + groupData / 4)]
  }),
  judge: (input: ReadonlyArray<unknown>) => {
    const memory: Disturbed = new Disturbed(new ArrayBuffer(groupBytes))
    const ring = (geometry: { readonly written: number; readonly wantsRoom: number }, index: number, tags: number) =>
      new Ring(memory as Memory, { ...geometry, data: groupData + index * capacity, capacity, tags })
    const lost: Array<number> = []
    const group = new Requests(ring({ written: writtenWord, wantsRoom: wantsRoomWord }, 0, 2), 50, (rank) => {
      lost.push(rank)
      group.disconnect(rank)
    })
    for (const rank of ranks) {
      const { consumed, ...geometry } = laneOf(rank)
      const lane = new Writer(ring(geometry, 1 + rank, 0), { memory, index: consumed })
      group.connect(rank, { memory, index: consumedOf(rank) }, lane)
    }
    /** Rank 0 reads everything at once. */
    const read = () => {
      const { consumed, written } = laneOf(0)
      memory.words[consumed] = memory.words[written]!
      const index = consumedOf(0)
      if ((memory.words[index]! & LAPPED) === 0) memory.words[index] = memory.words[writtenWord]!
    }
    let now = 0
    for (const step of Array.isArray(input) ? input : []) {
      if (!isStep(step)) continue
      memory.limit()
      if ("publish" in step) {
        group.takes(step.publish.length, 0)
        group.publish(step.publish, ranks.filter((rank) => (step.tags & 1 << rank) !== 0), () => now)
      } else if ("word" in step) {
        if (step.word >= 0 && step.word < memory.words.length) memory.disturb(step.word, step.value, step.after)
      } else if ("forge" in step) {
        memory.forge(groupData / 4 + step.forge, step.length, step.total, step.offset)
      } else {
        now += step.take * 25
        read()
        group.flush(now)
        group.ready()
        group.due(now)
      }
    }
    if (lost.length > 0 && !memory.disturbed) throw new Broken("lost a rank that had done nothing")
    return lost.length > 0 ? "lost a rank" : "accepted"
  }
}
