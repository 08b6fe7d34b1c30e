/** Ties this process to its parent's life, so that it goes even while its event loop is blocked. Linux only; elsewhere nothing happens. */
import koffi from "koffi"

const PR_SET_PDEATHSIG = 1
const SIGKILL = 9

/** Asks for SIGKILL at the parent's death, then tells whether that parent still lives: it may have died before anyone asked. */
export const dieWith = (parent: number): boolean => {
  if (process.platform === "linux") {
    const prctl = koffi.load(null).func("int prctl(int option, unsigned long value)")
    prctl(PR_SET_PDEATHSIG, SIGKILL)
  }
  return process.ppid === parent
}
