/** Files of queues that nobody answers for: of queues that stand alone, whose writers were killed. */
import * as QueueFiles from "@phalanx/queue/QueueFiles"
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs"
import { basename, join } from "node:path"

const read = (path: string): string => {
  try {
    return readFileSync(path, "latin1")
  } catch {
    return ""
  }
}

/** The groups that some process has a segment of mapped, among this user's processes. */
const inUse = (): ReadonlySet<string | undefined> =>
  new Set(
    readdirSync("/proc")
      .filter((entry) => /^\d+$/.test(entry))
      .flatMap((pid) =>
        [...read(`/proc/${pid}/maps`).matchAll(/\/(phalanx-[A-Za-z0-9-]+)$/gm)].map(([, file]) => QueueFiles.prefixOf(basename(file!)))
      )
  )

/** This user's files in a folder of segments that neither a recorded group nor a process uses. */
export const find = (folder: string, recorded: ReadonlyArray<QueueFiles.QueueFiles>): ReadonlyArray<string> => {
  if (!existsSync(folder) || !existsSync("/proc/self/maps")) return []
  const known = new Set<string | undefined>([undefined, ...recorded.map(({ prefix }) => prefix)])
  const files = readdirSync(folder).filter((file) =>
    !known.has(QueueFiles.prefixOf(file)) && lstatSync(join(folder, file), { throwIfNoEntry: false })?.uid === process.getuid?.()
  )
  const used = files.length === 0 ? new Set() : inUse()
  return files.filter((file) => !used.has(QueueFiles.prefixOf(file))).map((file) => join(folder, file))
}
