/** What the registry knows of one group: a file of JSON that is replaced as a whole, so that nobody ever reads half of it. */
import * as QueueFiles from "@phalanx/queue/QueueFiles"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as OsProcess from "../OsProcess.ts"

export const Member = Schema.Struct({
  /** The member's number for life. */
  id: Schema.Natural,
  /** −1: none in this epoch; it has left, or is to join the next one. */
  rank: Schema.Int.check(Schema.isGreaterThanOrEqualTo(-1)),
  incarnation: Schema.Natural,
  ...OsProcess.OsProcess.fields
})
export type Member = typeof Member.Type

export const Record = Schema.Struct({
  version: Schema.Literal(1),
  /** The group's name, with its random part. */
  id: Schema.String,
  secret: Schema.String,
  epoch: Schema.Natural,
  /** Which driver of the group this is: whoever adopts a group raises it. */
  generation: Schema.Natural,
  driver: OsProcess.OsProcess,
  /** The process that the workers are children of, if that is not the driver, and the path of its socket. */
  keeper: Schema.optionalKey(Schema.Struct({ socket: Schema.String, ...OsProcess.OsProcess.fields })),
  /** For how long a group is left to whoever may adopt it, from when its driver was first seen to be gone. */
  graceMillis: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)),
  /** `shm`, `tcp` or `ipc`; empty until the queues are open. */
  transport: Schema.String,
  files: Schema.Array(QueueFiles.QueueFiles),
  /** The sizes of the mesh's dimensions, in order, and the URL of the workers' module; empty until the first worker is there. */
  mesh: Schema.Record(Schema.String, Schema.Int),
  entry: Schema.String,
  members: Schema.Array(Member)
})
export type Record = typeof Record.Type

/** Whether its workers may still live without its driver. They do not outlive their keeper, if they have one. */
export const mayBeAdopted = ({ graceMillis, keeper }: Record): boolean =>
  graceMillis > 0 && (keeper === undefined || OsProcess.lives(keeper))

const decode = Schema.decodeUnknownExit(Schema.fromJsonString(Record))

const fileName = "record"
const mode = 0o600
const largest = 16 * 1024 * 1024

/** Writes it; throws what the system says. No data is forced to the disk: what a crash of the machine loses is lost together with the group. */
export const write = (folder: string, record: Record): void => {
  const fresh = Path.join(folder, `${fileName}.new`)
  try {
    // Plain data as it is: a schema's encoder costs every start milliseconds to be made.
    Fs.writeFileSync(fresh, JSON.stringify(record), { mode })
    Fs.renameSync(fresh, Path.join(folder, fileName))
  } catch (cause) {
    Fs.rmSync(fresh, { force: true })
    throw cause
  }
}

/** Reads it; `undefined` if there is none yet. Throws an error with words if it is not what `write` has written. */
export const read = (folder: string): Record | undefined => {
  let fd: number
  try {
    // Opening a FIFO would wait for who writes to it.
    fd = Fs.openSync(Path.join(folder, fileName), Fs.constants.O_RDONLY | Fs.constants.O_NOFOLLOW | Fs.constants.O_NONBLOCK)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined
    throw cause
  }
  try {
    const stat = Fs.fstatSync(fd)
    if (!stat.isFile() || stat.uid !== process.getuid?.() || stat.size > largest) throw new Error("it is no record of this user")
    const decoded = decode(Fs.readFileSync(fd, "utf8"))
    if (Exit.isSuccess(decoded)) return decoded.value
    throw new Error("it is not a record of this version")
  } finally {
    Fs.closeSync(fd)
  }
}
