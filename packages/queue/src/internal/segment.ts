/**
 * Shared memory as files in a memory-backed folder.
 *
 * - SG-1: a segment has its full size in memory before anyone maps it; too little room is an error with both numbers, never a SIGBUS.
 * - SG-2: files are created with mode 0600, exclusively; their creator removes them, attached processes keep their mappings.
 * - SG-3: memory stays mapped while any view of it is alive.
 */
import { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { isName, remove } from "./files.ts"
import { errorName, libc, view } from "./libc.ts"

const mebibytes = (bytes: number): string => `${(bytes / 1048576).toFixed(bytes < 10485760 ? 2 : 0)} MiB`

const advices: Record<string, string> = {
  EACCES: "Choose with the option `folder` a memory-backed folder that this user may write to",
  ENOENT: "Its creator has removed it, or it lies on another machine: attach while the group lives, on the machine that made it",
  EEXIST: "Another group uses this name: give each group a name of its own",
  EMFILE: "Raise this process's limit of open files (`ulimit -n`)",
  EROFS: "Choose with the option `folder` a memory-backed folder that can be written",
  EFBIG: "Raise this user's limit of the size of files (`ulimit -f`), or make the queues smaller",
  ENOMEM: "Free memory, or make the queues smaller"
}

/** A failed system call as the typed error. */
export const failure = (operation: string, where: string, code: string): QueueError =>
  new QueueError({ operation, where, issue: code, advice: advices[code] ?? "See the system's documentation of this error" })

const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException).code ?? String(cause)

const asFailure = (operation: string, where: string) => (cause: unknown): QueueError =>
  cause instanceof QueueError ? cause : failure(operation, where, codeOf(cause))

const noSpace = (operation: string, folder: string, bytes: number, free: number): QueueError =>
  new QueueError({
    operation,
    where: folder,
    issue: `${bytes} bytes (${mebibytes(bytes)}) are needed, ${free} (${mebibytes(free)}) are free`,
    advice: `Enlarge it (\`mount -o remount,size=…\` ${folder}; in a container \`--shm-size\` or \`--ipc=host\`), `
      + "make the queues smaller, or choose another folder with the option `folder`"
  })

/** Bytes that this user may still write in a folder. */
const freeBytes = (folder: string): number => {
  const { bavail, bsize } = Fs.statfsSync(folder)
  return bavail * bsize
}

/** Fails unless a folder has room for all the segments that its caller is going to need. */
export const reserve = (operation: string, folder: string, bytes: number): Effect.Effect<void, QueueError> =>
  Effect.flatMap(
    Effect.try({ try: () => freeBytes(folder), catch: asFailure(operation, folder) }),
    (free) => free < bytes ? Effect.fail(noSpace(operation, folder, bytes, free)) : Effect.void
  )

// A view may outlive every scope, in a closure or in a frame being read: only the collector knows when the last one is gone.
const unmapWhenUnreachable = new FinalizationRegistry<{ readonly address: bigint; readonly bytes: number }>(
  ({ address, bytes }) => libc().munmap(address, bytes)
)

/** Maps an open file, which may be closed afterwards. Its bytes must be there. */
export const mapFile = (fd: number, bytes: number, where: string): ArrayBuffer => {
  const readWrite = 3
  const shared = 1
  const address = libc().mmap(null, bytes, readWrite, shared, fd, 0)
  if (address === null || BigInt.asUintN(64, BigInt(address)) === 0xffff_ffff_ffff_ffffn) throw failure("map", where, errorName())
  const buffer = view(address, bytes)
  unmapWhenUnreachable.register(buffer, { address, bytes })
  return buffer
}

const withFile = <A>(path: string, flags: number, body: (fd: number) => A): A => {
  const fd = Fs.openSync(path, flags | Fs.constants.O_NOFOLLOW, 0o600)
  try {
    return body(fd)
  } finally {
    Fs.closeSync(fd)
  }
}

/** A new zeroed segment, removed from the folder when the scope closes. */
export const create = (folder: string, file: string, bytes: number): Effect.Effect<ArrayBuffer, QueueError, Scope.Scope> => {
  const path = Path.join(folder, file)
  const operation = "create segment"
  return Effect.acquireRelease(
    Effect.try({
      try: () =>
        withFile(path, Fs.constants.O_CREAT | Fs.constants.O_EXCL | Fs.constants.O_RDWR, (fd) => {
          try {
            const number = libc().posixFallocate(fd, 0, bytes)
            if (number === 0) return mapFile(fd, bytes, path)
            const code = errorName(number)
            throw code === "ENOSPC" ? noSpace(operation, folder, bytes, freeBytes(folder)) : failure(operation, path, code)
          } catch (cause) {
            remove(folder, file)
            throw cause
          }
        }),
      catch: asFailure(operation, path)
    }),
    () => Effect.sync(() => remove(folder, file))
  )
}

/** Maps a segment that another process made. It must hold at least `bytes`. */
export const attach = (folder: string, file: string, bytes: number): Effect.Effect<ArrayBuffer, QueueError> => {
  const path = Path.join(folder, file)
  const operation = "attach to segment"
  return Effect.try({
    try: () => {
      if (!isName(file) || !Path.isAbsolute(folder)) throw failure(operation, path, "not the name of a segment")
      return withFile(path, Fs.constants.O_RDWR, (fd) => {
        const stat = Fs.fstatSync(fd)
        if (!stat.isFile() || stat.size < bytes) {
          throw new QueueError({
            operation,
            where: path,
            issue: `${stat.size} bytes, where ${bytes} were announced`,
            advice: "Attach with the handle that the segment's creator made, and with the same version of this package"
          })
        }
        return mapFile(fd, stat.size, path)
      })
    },
    catch: asFailure(operation, path)
  })
}
