/** The folder of the segments, which chaos has for itself: a small one, so that it can be filled. */
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { closeSync, openSync, rmSync, statfsSync, writeSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"

export const folder = "/dev/shm"

/** Says that this process has it for itself. */
const mark = "CHAOS_HAS_SEGMENTS"

export const isPrivate = (): boolean => process.env[mark] !== undefined

const mount = (mebibytes: number): ReadonlyArray<string> => [
  "unshare",
  process.getuid?.() === 0 ? "-m" : "-rm",
  "sh",
  "-c",
  `mount -t tmpfs -o size=${mebibytes}m,mode=1777 tmpfs ${folder} && exec "$@"`,
  "sh"
]

/**
 * Runs this program once more, from its start, where a folder of so many MiB covers everybody's: nobody else sees it, and it is gone with the last
 * process that does. Answers why, where that cannot be.
 */
export const enclose = (mebibytes: number): string => {
  const command = mount(mebibytes)
  const tried = spawnSync(command[0]!, [...command.slice(1), "true"], { encoding: "utf8" })
  if (tried.status !== 0) return tried.stderr?.trim() || tried.error?.message || "no reason is given"
  const path = spawnSync("sh", ["-c", "command -v unshare"], { encoding: "utf8" }).stdout.trim()
  process.execve!(path, [...command, process.execPath, ...process.execArgv, ...process.argv.slice(1)], { ...process.env, [mark]: "1" })
  return ""
}

let fillings = 0

/** Takes all that is free in the folder but so many bytes, for so long. */
export const fillShm = (spare: number, millis: number): Effect.Effect<void> => {
  const path = join(folder, `ballast-${fillings++}`)
  return Effect.acquireUseRelease(
    Effect.sync(() => {
      const { bavail, bsize } = statfsSync(folder)
      const file = openSync(path, "w")
      const block = Buffer.alloc(1 << 16)
      try {
        for (let bytes = bavail * bsize - spare; bytes > 0; bytes -= block.length) writeSync(file, block, 0, Math.min(bytes, block.length))
      } catch {
        // Full before it was counted to be.
      }
      closeSync(file)
    }),
    () => Effect.delay(Effect.void, millis),
    () => Effect.sync(() => rmSync(path, { force: true }))
  )
}
