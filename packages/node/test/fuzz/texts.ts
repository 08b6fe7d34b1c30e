/** What is read as a line or a file of JSON: a worker's first line, and the registry's record. */
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { known, same } from "../../../../test/harness/data.ts"
import { type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { mutateValue } from "../../../../test/harness/mutate.ts"
import type { Random } from "../../../../test/harness/random.ts"
import * as records from "../../src/internal/record.ts"
import { SpawnLine } from "../../src/internal/spawnLine.ts"

/** A text is changed as a text, or as the value that it is. */
export const mutateJson = (text: string, random: Random): unknown => {
  if (typeof text !== "string" || random.once(3)) return mutateValue(text, random)
  try {
    return JSON.stringify(mutateValue(JSON.parse(text), random)) ?? ""
  } catch {
    return mutateValue(text, random)
  }
}

const hex = (random: Random, bytes: number) => Buffer.from(random.bytes(bytes)).toString("hex")
const count = (u: unknown): boolean => Number.isSafeInteger(u) && (u as number) >= 0

const identity = (random: Random) => ({
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
const readsAgain = (text: string, value: unknown, write: (value: any) => string, read: (text: string) => unknown): void => {
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
