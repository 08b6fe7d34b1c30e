/**
 * The files that a group's queues have on a machine, seen from outside: where they lie, and how to remove them when nobody of the group lives.
 * It works without the libraries that the queues stand on.
 */
import { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Path from "node:path"
import * as Files from "./internal/files.ts"

/** All files of one folder whose names begin alike. Only what a group's files begin with is a prefix. */
export const QueueFiles = Schema.Struct({
  folder: Schema.String.check(Schema.makeFilter((folder) => Path.isAbsolute(folder))),
  prefix: Schema.String.check(Schema.isPattern(/^phalanx-(?:[A-Za-z0-9-]+-)?[0-9a-f]{8}$/))
})
export type QueueFiles = typeof QueueFiles.Type

/** What a sweep has removed; a folder of sockets counts as one file. */
export interface Swept {
  readonly files: number
  readonly bytes: number
}

/** Where the files of a group may lie: segments and doorbells in the segments' folder (default `/dev/shm`), Unix sockets in the temporary one. */
export const of = (group: string, secret: string, folder: string = Files.defaultFolder): ReadonlyArray<QueueFiles> => [
  { folder, prefix: Files.prefix(group, secret) },
  { folder: Files.temporary(), prefix: Files.socketsPrefix(secret) }
]

/** The prefix of a group's segment or doorbell; `undefined` of a name that none of them has. */
export const prefixOf = (file: string): string | undefined =>
  Files.isName(file) ? Files.prefixOf(file.replace(/(?<=-[0-9a-f]{16})-\d+$/, "")) : undefined

/** Removes them, except what belongs to another user. Nobody of the group may live. Several may do so at once. */
export const sweep = ({ folder, prefix }: QueueFiles): Effect.Effect<Swept, QueueError> =>
  Effect.try({
    try: () => Files.sweep(folder, prefix),
    catch: (cause) =>
      new QueueError({
        operation: "sweep",
        where: `${folder}/${prefix}*`,
        issue: (cause as Error).message,
        advice: "Remove these files by hand: the group that made them is gone"
      })
  })

/**
 * The segments and doorbells that there are now and that none of these processes has made for itself: a driver's that is gone. They are removed when the answer is run; whoever has attached goes on.
 */
export const leftBy = ({ folder, prefix }: QueueFiles, except: ReadonlyArray<number>): Effect.Effect<Effect.Effect<void>> =>
  Effect.sync(() => {
    const isTheirs = (file: string) => except.some((pid) => file.endsWith(`-${pid}`))
    const left = Files.list(folder, prefix).filter((file) => Files.isName(file) && !isTheirs(file))
    return Effect.sync(() => left.forEach((file) => Files.remove(folder, file)))
  })
