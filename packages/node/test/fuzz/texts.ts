/** What is read as lines or a file: a worker's first line, claims on it, its last words, and the registry's record. */
import type { Claim } from "@phalanx/core/Claim"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { Readable } from "node:stream"
import { known, same } from "../../../../test/harness/data.ts"
import { type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { mutateValue } from "../../../../test/harness/mutate.ts"
import type { Random } from "../../../../test/harness/random.ts"
import * as lineReader from "../../src/internal/lineReader.ts"
import * as Listener from "../../src/internal/listener.ts"
import * as Proof from "../../src/internal/proof.ts"
import * as records from "../../src/internal/record.ts"
import { aboutClaim, ClaimLine, SpawnLine } from "../../src/internal/spawnLine.ts"

/** A text is changed as a text, or as the value that it is. */
export const mutateJson = (text: string, random: Random): unknown => {
  if (typeof text !== "string" || random.once(3)) return mutateValue(text, random)
  try {
    return JSON.stringify(mutateValue(JSON.parse(text), random)) ?? ""
  } catch {
    return mutateValue(text, random)
  }
}

export const hex = (random: Random, bytes: number) => Buffer.from(random.bytes(bytes)).toString("hex")
export const count = (u: unknown): boolean => Number.isSafeInteger(u) && (u as number) >= 0

export const identity = (random: Random) => ({
  group: `group-${hex(random, 4)}`,
  secret: hex(random, 16),
  member: random.below(8),
  rank: random.below(4),
  incarnation: random.below(3),
  epoch: random.below(3),
  generation: random.below(3),
  shape: random.once(2) ? { dp: 2, tp: 2 } : { rank: 4 },
  handle: { transport: "shm", data: { folder: "/dev/shm", rank: 1, deep: [null, { a: true }] } }
})

/** What is read can be written, and is the same when it is read again; what is no number of JSON is not there. */
export const readsAgain = (text: string, value: unknown, write: (value: any) => string, read: (text: string) => unknown): void => {
  const again = write(value)
  holds(same(read(again), value), "does not read what it wrote")
  holds(same(JSON.parse(again), known(JSON.parse(text), value)), "read something else than what the text says")
}

const spawnLines = Schema.decodeUnknownExit(SpawnLine)
const writeSpawnLine = Schema.encodeSync(SpawnLine)

export const spawnLine: Decoder = {
  name: "spawnLine",
  sample: (random) =>
    JSON.stringify({
      node: "node-1",
      entry: "file:///srv/app/worker.ts",
      grace: random.below(5000),
      queues: random.once(2) ? {} : { folder: "/dev/shm", host: "10.0.0.1" },
      identity: identity(random)
    }),
  mutate: mutateJson,
  judge: (text: string) => {
    const exit = spawnLines(text)
    if (Exit.isFailure(exit)) {
      const error = Exit.findErrorOption(exit)
      holds(error._tag === "Some" && Schema.isSchemaError(error.value), `failed with ${exit.cause}`)
      return `refused: ${(error as any).value.message}`.replace(/\s+/g, " ").slice(0, 200)
    }
    const line = exit.value
    const { epoch, generation, incarnation, member, rank, shape } = line.identity
    const sizes = Object.values(shape)
    const ranks = sizes.reduce((product, size) => product * size, 1)
    holds([epoch, generation, incarnation, member, rank].every(count), "took a number that counts nothing")
    holds(sizes.every((size) => count(size) && size > 0) && ranks <= 65536 && rank < ranks, `took rank ${rank} of ${ranks}`)
    holds(line.grace >= 0, "took a grace that cannot be")
    holds(URL.canParse(line.entry), "took an entry that is no URL")
    readsAgain(text, line, writeSpawnLine, (text) => (spawnLines(text) as any).value)
    return "accepted"
  }
}

const secret = "0123456789abcdef0123456789abcdef"
const claims = Schema.decodeUnknownExit(ClaimLine)

/** What follows a worker's first line, read as `workerProcess.ts` does, and proved by another hand. */
export const claimLine: Decoder = {
  name: "claimLine",
  sample: (random) => {
    const claim: Claim = { driver: random.below(9), handle: identity(random).handle }
    return JSON.stringify({ claim, proof: Proof.of(secret, aboutClaim(claim)) })
  },
  mutate: mutateJson,
  judge: async (text: string) => {
    if (typeof text !== "string") return "no text"
    const lines: Array<string> = []
    const stream = Readable.from([Buffer.from(`${text}\n`)])
    lineReader.make(stream).each((line) => lines.push(line))
    await new Promise((resolve) => stream.once("end", resolve))
    holds(lines.join("\n") === text.toWellFormed(), "heard other lines than were said")
    const taken = lines.filter((line) => {
      const exit = claims(line)
      if (Exit.isFailure(exit)) return false
      const { claim, proof } = exit.value
      if (!Proof.holds(proof, secret, aboutClaim(claim))) return false
      const { driver, handle: { data, transport } } = claim
      const proved = Crypto.createHmac("sha256", secret).update(`claim ${driver} ${transport} ${JSON.stringify(data)}`).digest("hex")
      holds(proof === proved, "took a claim that is not proved")
      holds(count(driver) && typeof transport === "string", "took a driver that counts nothing")
      readsAgain(line, exit.value, JSON.stringify, (text) => (claims(text) as any).value)
      return true
    })
    return taken.length > 0 ? "accepted" : "refused"
  }
}

const reasons: ReadonlyArray<string> =
  "exit signal out-of-memory uncaught-exception unhandled-rejection setup disconnected frozen unresponsive sibling left replaced".split(" ")

/** Pieces of what a process says of why it ends, as they come. */
export const lastWords: Decoder = {
  name: "lastWords",
  sample: (random) => {
    const text = `${random.pick(["uncaught-exception", "unhandled-rejection"])}\n`
    const at = random.below(text.length)
    return [text.slice(0, at), text.slice(at)]
  },
  judge: (pieces: unknown) => {
    if (!Array.isArray(pieces) || !pieces.every((piece) => typeof piece === "string")) return "no text"
    const ended = (code: number | null, signal: string | null) => {
      const listener = Listener.make("group", 0, undefined)
      for (const piece of pieces) listener.words.push(piece)
      return listener.end(code, signal, [])
    }
    const said = pieces.join("").split("\n").findLast((line) => reasons.includes(line))
    const aborted = ended(null, "SIGABRT")
    holds(aborted.reason === said, "made another reason of what was said")
    holds(ended(1, null).reason === (said === "out-of-memory" ? undefined : said), "took its word for memory that it has")
    holds(same(aborted.death, { _tag: "Killed", signal: "SIGABRT" }) && aborted.stderr.length === 0, "made another death of words")
    return said === undefined ? "refused" : "accepted"
  }
}

const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "phalanx-record-"))
process.once("exit", () => Fs.rmSync(folder, { recursive: true, force: true }))
const recordFile = Path.join(folder, "record")

const process1 = (random: Random) => ({ pid: 1 + random.below(9999), started: random.below(1e6) })

export const record: Decoder = {
  name: "record",
  sample: (random) =>
    JSON.stringify({
      version: 1,
      id: `group-${hex(random, 4)}`,
      secret: hex(random, 16),
      epoch: random.below(3),
      generation: 0,
      driver: process1(random),
      graceMillis: random.below(1000),
      transport: random.pick(["shm", "tcp", "ipc", ""]),
      files: [{ folder: "/dev/shm", prefix: `phalanx-group-${hex(random, 4)}` }, {
        folder: Os.tmpdir(),
        prefix: `phalanx-${hex(random, 4)}`
      }],
      mesh: { dp: 2 },
      entry: "file:///srv/app/worker.ts",
      members: random.list(2, (id) => ({ id, rank: id, incarnation: 0, ...process1(random) }))
    }),
  mutate: mutateJson,
  judge: (text: string) => {
    if (typeof text !== "string") return "no text"
    Fs.writeFileSync(recordFile, text)
    let read: records.Record
    try {
      read = records.read(folder)!
    } catch (cause) {
      holds(cause instanceof Error && /^it is (not a|no) record /.test(cause.message), `threw ${String(cause)}`)
      return "refused"
    }
    // What is swept by a record, and whom a sweep may kill.
    for (const { folder, prefix } of read.files) {
      holds(Path.isAbsolute(folder) && /^phalanx-([A-Za-z0-9-]+-)?[0-9a-f]{8}$/.test(prefix), "took files of anybody")
    }
    for (const { pid, started } of [read.driver, ...read.members]) {
      holds(count(pid) && pid > 0 && count(started), "took a process that cannot be")
    }
    holds(read.graceMillis >= 0 && [read.epoch, read.generation].every(count), "took a number that counts nothing")
    const other = Path.join(folder, "other")
    Fs.mkdirSync(other, { recursive: true })
    const write = (value: records.Record): string => {
      records.write(other, value)
      return Fs.readFileSync(Path.join(other, "record"), "utf8")
    }
    readsAgain(text, read, write, () => records.read(other))
    return "accepted"
  }
}
