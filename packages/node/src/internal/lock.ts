/**
 * Locks that are gone with their holder, however it ends: `flock`, which Node does not have. A lock belongs to the open file, so a process
 * that opens the file twice is two who compete for it.
 */
import koffi from "koffi"
import * as Fs from "node:fs"

const exclusive = 2
const atOnce = 4

let flock: ((fd: number, operation: number) => number) | undefined
const load = () => flock ??= koffi.load(null).func("int flock(int fd, int operation)") as (fd: number, operation: number) => number

/** A lock that is held. */
export interface Lock {
  /** Whether its file is there, while it is held: whoever removed it has let others take another one. */
  readonly isValid: () => boolean
  readonly release: () => void
}

/**
 * Takes the lock of a file, which is made if `create` says so. `held`: somebody else has it. `gone`: there is no such file, or it was
 * removed by whoever had the lock before. Throws what else goes wrong.
 */
export const take = (path: string, create: boolean): Lock | "held" | "gone" => {
  const { O_CREAT, O_NOFOLLOW, O_RDWR } = Fs.constants
  let fd: number
  try {
    fd = Fs.openSync(path, O_RDWR | O_NOFOLLOW | (create ? O_CREAT : 0), 0o600)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return "gone"
    throw cause
  }
  const failed = load()(fd, exclusive | atOnce) !== 0
  const error = failed ? koffi.errno() : 0
  let released = false
  const isValid = (): boolean => released || Fs.fstatSync(fd).nlink > 0
  const release = (): void => {
    released = true
    Fs.closeSync(fd)
  }
  if (!failed && isValid()) return { isValid, release }
  Fs.closeSync(fd)
  if (!failed) return "gone"
  if (error === koffi.os.errno["EWOULDBLOCK"] || error === koffi.os.errno["EAGAIN"]) return "held"
  throw new Error(`flock failed with error ${error}`)
}
