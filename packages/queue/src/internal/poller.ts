/**
 * When this process looks into its rings. There is one poller a process: it looks on every turn of the event loop while that pays, then parks.
 *
 * Whether it pays is judged by the gaps seen between running dry and the next frame: if they tend to be shorter than the time a source allows,
 * the poller spends at most that time looking before it parks; if not, it parks at once. A parked process uses no processor time.
 */

export interface Source {
  /** Does what there is to do, up to some bound; whether there was anything. */
  readonly poll: () => boolean
  /** Whether `poll` may find something. */
  readonly ready: () => boolean
  /** Says to all who write to this source whether they have to ring. */
  readonly park: (parked: 0 | 1) => void
  /** Microseconds after the last frame that looking may go on; 0 while there are more processes than processors. */
  readonly spin: () => number
}

/** One turn neither looks in vain nor delivers for longer than this, in milliseconds: the event loop has other work. */
const lookMillis = 0.004
const deliverMillis = 1

const sources = new Set<Source>()
let parked = true
let dryAt = 0
// The usual gap, in milliseconds: a moving average over about eight gaps, each counted as one second at most.
let usualGap = 0

const anyReady = (): boolean => {
  for (const source of sources) if (source.ready()) return true
  return false
}

const pollAll = (): boolean => {
  let worked = false
  for (const source of sources) worked = source.poll() || worked
  return worked
}

const tryPark = (): boolean => {
  for (const source of sources) source.park(1)
  if (!anyReady()) {
    parked = true
    return true
  }
  for (const source of sources) source.park(0)
  return false
}

/** Whether there is reason to look again soon. */
const look = (): boolean => {
  const start = performance.now()
  let now = start
  let worked = pollAll()
  if (worked && dryAt > 0) {
    usualGap += (Math.min(start - dryAt, 10) - usualGap) / 8
    dryAt = 0
  }
  while (worked) {
    now = performance.now()
    if (now - start > deliverMillis) return true
    worked = pollAll()
  }
  if (dryAt === 0) dryAt = now
  let spin = 0
  for (const source of sources) spin = Math.max(spin, source.spin())
  const allowed = spin / 1000
  if (allowed === 0 || usualGap > allowed || now - dryAt > allowed) return !tryPark()
  if (now === start) {
    do {
      if (anyReady()) return true
      now = performance.now()
    } while (now - start < lookMillis)
  }
  return true
}

const turn = (): void => {
  if (sources.size === 0) {
    parked = true
    return
  }
  let again = true
  try {
    again = look()
  } finally {
    if (again) setImmediate(turn)
  }
}

/** Looks at once; for when a doorbell has rung. */
export const wake = (): void => {
  if (!parked) return
  parked = false
  for (const source of sources) source.park(0)
  turn()
}

/** Looks into this source from now on, first on a later turn of the event loop. */
export const add = (source: Source): void => {
  sources.add(source)
  if (!parked) return
  parked = false
  for (const other of sources) other.park(0)
  setImmediate(turn)
}

export const drop = (source: Source): void => {
  sources.delete(source)
}
