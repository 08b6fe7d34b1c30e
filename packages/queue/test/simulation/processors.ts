/**
 * On which processors a simulation's threads run. They only ever run one at a time; handing the turn on costs about a quarter within one
 * processor of what it costs between two.
 */
import koffi from "koffi"
import process from "node:process"

/** Bytes of a set of processors. */
const setBytes = 128

/** Those that this process may use; none where that cannot be known. */
export const processors = (): ReadonlyArray<number> => {
  if (process.platform !== "linux") return []
  const set = new Uint8Array(setBytes)
  koffi.load(null).func("int sched_getaffinity(int pid, size_t length, _Out_ uint8_t *set)")(0, set.length, set)
  return Array.from({ length: setBytes * 8 }, (_, processor) => processor).filter((processor) =>
    (set[processor >>> 3]! & (1 << (processor & 7))) !== 0
  )
}

/** Keeps this thread on one. */
export const stay = (processor: number | undefined): void => {
  if (processor === undefined) return
  const set = new Uint8Array(setBytes)
  set[processor >>> 3] = 1 << (processor & 7)
  koffi.load(null).func("int sched_setaffinity(int pid, size_t length, const uint8_t *set)")(0, set.length, set)
}
