/**
 * What large frames cost a worker besides being copied. Each has memory of its own, which goes on with it, and most are garbage soon. Left to
 * themselves, the C library gives freed memory back to the system, whose fresh pages cost several times the copying, and the collector of JavaScript, which is told of
 * bytes and not of how few objects hold them, goes through the whole heap for every 64 MiB. So here freed memory stays with the process, up
 * to a bound, and after every few frames the young objects alone are collected.
 *
 * This is for processes that serve a rank; a driver's process is its user's.
 */
import koffi from "koffi"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/** Bytes of large frames after which young objects are collected. */
const limit = 8 * 2 ** 20
/** Freed bytes that stay with the process, and the longest piece of memory for which that holds. */
const kept = 64 * 2 ** 20
const longest = 32 * 2 ** 20

const trimThreshold = -1
const mmapThreshold = -3

const keepFreedMemory = (): void => {
  try {
    const mallopt = koffi.load(null).func("int mallopt(int parameter, int value)")
    mallopt(mmapThreshold, longest)
    mallopt(trimThreshold, kept)
  } catch {
    // Another C library than glibc: it has no such setting.
  }
}

/** Node has no other way to its collector than this flag, which the global object of this program need not know of. */
const collector = (): (options: { readonly type: "minor" }) => void => {
  setFlagsFromString("--expose-gc")
  return runInNewContext("gc")
}

let collect: ReturnType<typeof collector> | undefined
let uncollected = 0

const collectYoung = (): void => collect?.({ type: "minor" })

/** A large frame was taken: to be called for each, with its bytes. */
export const took = (bytes: number): void => {
  if (collect === undefined) {
    keepFreedMemory()
    collect = collector()
  }
  uncollected += bytes
  if (uncollected < limit) return
  uncollected = 0
  // When what was asked by this frame has been answered, as a rule.
  setImmediate(collectYoung)
}
