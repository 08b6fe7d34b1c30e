/**
 * The names of a group's files, so that whoever knows the group's secret finds all that its processes may have left behind, and nobody else
 * guesses one. Each begins with `phalanx-`, the group's name and eight digits derived from the secret.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import process from "node:process"

export const defaultFolder = "/dev/shm"

/** Where sockets lie: workers and sweepers may have another working directory. */
export const temporary = (): string => Path.resolve(Os.tmpdir())

const fileName = /^phalanx-[A-Za-z0-9-]+-[0-9a-f]{16}(?:-\d+)?$/

const digits = (secret: string): string => Crypto.hash("sha256", `phalanx files ${secret}`, "hex").slice(0, 8)

/** What all segments and doorbells of one group begin with. */
export const prefix = (group: string, secret: string): string => `phalanx-${group}-${digits(secret)}`

/** What the folders of a group's Unix sockets begin with. It is short, since the path of a socket may not be long. */
export const socketsPrefix = (secret: string): string => `phalanx-${digits(secret)}`

/** A fresh name of a group's file. */
export const name = (prefix: string): string => prefix + Crypto.randomBytes(4).toString("hex")

/** A fresh name that says whose file it is, for processes that others clean up after. */
export const nameOf = (prefix: string, pid: number): string => `${name(prefix)}-${pid}`

/** The prefix that a name without a process begins with. */
export const prefixOf = (name: string): string => name.slice(0, -8)

/** Whether a name that came from elsewhere may be opened in our folder. */
export const isName = (candidate: string): boolean => fileName.test(candidate)

/** Removes a file of ours, if it is still there. */
export const remove = (folder: string, file: string): void => Fs.rmSync(Path.join(folder, file), { force: true })

/** Every file of a group in the folder. */
export const list = (folder: string, prefix: string): ReadonlyArray<string> =>
  (Fs.existsSync(folder) ? Fs.readdirSync(folder) : []).filter((file) => file.startsWith(prefix))

/** Removes every file of a group from the folder, or of one process of it: what processes that were killed have left. Another user's are left alone. */
export const sweep = (folder: string, prefix: string, pid?: number): { readonly files: number; readonly bytes: number } => {
  const swept = { files: 0, bytes: 0 }
  for (const file of list(folder, prefix)) {
    if (pid !== undefined && !file.endsWith(`-${pid}`)) continue
    const path = Path.join(folder, file)
    const stat = Fs.lstatSync(path, { throwIfNoEntry: false })
    if (stat === undefined || stat.uid !== process.getuid?.()) continue
    Fs.rmSync(path, { force: true, recursive: stat.isDirectory() })
    swept.files++
    swept.bytes += stat.size
  }
  return swept
}

const users = new Map<string, number>()

/** Sweeps when the last scope of this process that cleans up after the same group closes. */
export const sweepAtEnd = (folder: string, prefix: string, unless?: () => boolean): Effect.Effect<void, never, Scope.Scope> => {
  const key = Path.join(folder, prefix)
  return Effect.acquireRelease(
    Effect.sync(() => void users.set(key, (users.get(key) ?? 0) + 1)),
    () =>
      Effect.sync(() => {
        const left = users.get(key)! - 1
        if (left > 0) return users.set(key, left)
        users.delete(key)
        if (unless?.() !== true) sweep(folder, prefix)
      })
  )
}
