/** Bugs put in on purpose: each replaces one piece of one shipped module by another, in the threads of a simulation alone. */
export interface Mutant {
  readonly name: string
  /** A seed by which it was found: where to look first. */
  readonly seed: number
  /** What must be found wrong. */
  readonly shows: RegExp
  /** Below `src/internal`. */
  readonly file: string
  readonly shipped: string
  readonly mutated: string
}

export const mutants: ReadonlyArray<Mutant> = [
  {
    name: "a process parks without looking again",
    seed: 0,
    shows: /^a wake-up was lost/,
    file: "poller.ts",
    shipped: "if (!this.anyReady()) return true",
    mutated: "if (this.sources.size > 0) return true"
  },
  {
    name: "only a parked word of exactly 1 is heeded",
    seed: 0,
    shows: /^a wake-up was lost/,
    file: "doorbell.ts",
    shipped: "const isLast = awaited(seen) === 1",
    mutated: "const isLast = awaited(seen) === 1; if (!isLast) return"
  },
  {
    name: "the parked word is taken down before the bell is rung",
    seed: 219,
    shows: /^a wake-up was lost/,
    file: "doorbell.ts",
    shipped: "if (isLast) this.bell.ring()\n      const found = memory.compareExchange(index, seen, seen - 1)",
    mutated: "const found = memory.compareExchange(index, seen, seen - 1)\n      if (isLast && found === seen) this.bell.ring()"
  },
  {
    name: "sleeps have no numbers",
    seed: 2,
    shows: /^a wake-up was lost/,
    file: "doorbell.ts",
    shipped: "(++this.sleeps << countBits) | ",
    mutated: ""
  },
  {
    name: "a reader is missing from the quorum",
    seed: 1,
    shows: /^RG-1: \d+ bytes were overwritten/,
    file: "writer.ts",
    shipped: "for (const reading of this.readers) lag = Math.max(lag, this.lag(reading))",
    mutated: "for (const reading of this.readers.slice(1)) lag = Math.max(lag, this.lag(reading))"
  },
  {
    name: "a piece is published before it is written",
    seed: 0,
    shows: /^RG-1: \d+ bytes were overwritten/,
    file: "writer.ts",
    shipped: "this.position = this.ring.write(",
    mutated: "this.ring.publish((this.position + this.ring.size(length)) | 0)\n    this.position = this.ring.write("
  },
  {
    name: "a reader has a piece without a compare-exchange",
    seed: 1,
    shows: /^MQ-4: rank \d+ lost its driver/,
    file: "ring.ts",
    shipped: "if (this.consumed.memory.compareExchange(this.consumed.index, this.position, position) !== this.position) return false",
    mutated: "this.consumed.memory.store(this.consumed.index, position)"
  },
  {
    name: "a header is read again after it was checked",
    seed: 22,
    shows: /^MQ-4: rank \d+ lost its driver/,
    file: "ring.ts",
    shipped: "if (!assembly.accepts(piece)) return \"junk\"",
    mutated: "ring.isSound(position, written, piece)\n        if (!assembly.accepts(piece)) return \"junk\""
  },
  {
    name: "a plain load says whether a header held",
    seed: 275,
    shows: /^MQ-4: rank \d+ lost its driver/,
    file: "ring.ts",
    shipped: "!this.commit(this.position)",
    mutated: "this.load() !== this.position"
  },
  {
    name: "a lapped rank is let in though frames wait for room in its lane",
    seed: 14,
    shows: /^MQ-4: rank \d+ lost its driver/,
    file: "requests.ts",
    shipped: "if (!rank.lane.drained()) {",
    mutated: "if (!rank.lapped) {"
  },
  {
    name: "a rank that is let go may read on",
    seed: 10,
    shows: /^MQ-1: request \d+ came of rank \d+, where nothing was due/,
    file: "requests.ts",
    shipped: "this.writer.dismiss(entry.reading)",
    mutated: "this.writer.readers.splice(this.writer.readers.indexOf(entry.reading), 1)"
  },
  {
    name: "a consumed word may say what cannot be",
    seed: 2,
    shows: /^RG-1: \d+ bytes were overwritten/,
    file: "writer.ts",
    shipped: "Math.max(0, this.ring.units - lag)",
    mutated: "this.ring.units - lag"
  },
  {
    name: "nobody looks for room when a rank's lanes are closed",
    seed: 2,
    shows: /^a wake-up was lost: .* the room that it waits for/,
    file: "shmDriver.ts",
    shipped: "    poller.look()\n",
    mutated: ""
  },
  {
    name: "only the ranks of the last frame are woken",
    seed: 633,
    shows: /^a wake-up was lost: rank/,
    file: "shmDriver.ts",
    shipped: "if (others) {",
    mutated: "if (others && connections.size === 0) {"
  }
]
