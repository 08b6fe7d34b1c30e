/** Folders that are made with their parents. */
import * as Fs from "node:fs"
import * as Path from "node:path"

/**
 * Makes a folder for this user alone, and its parents; throws what the system says. Node's own `recursive` never ends where the parent is there and takes no
 * folder: in `/proc`, or in a working directory that was removed.
 */
export const make = (folder: string): void => {
  try {
    Fs.mkdirSync(folder, { mode: 0o700 })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const parent = Path.dirname(folder)
    if (code === "EEXIST") return
    if (code !== "ENOENT" || parent === folder || Fs.existsSync(parent)) throw cause
    make(parent)
    make(folder)
  }
}
