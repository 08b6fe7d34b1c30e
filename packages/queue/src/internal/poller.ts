/**
 * When this process looks into its rings. There is one poller a process: it looks on every turn of the event loop while that pays, then parks.
 * A parked process uses no processor time and is woken by its doorbell.
 *
 * Whether looking pays is judged by what came of it: each time it was in vain, twice as many dry spells as before pass without it, up to 255; each
 * time it was not, half as many. So neither slow traffic nor a machine with more to run than processors is looked for.
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

/** How long one turn may take, in milliseconds: the event loop has other work. */
const turnMillis = 0.2
/** How long a turn looks for an answer to what it delivered, and for anything if the event loop had nothing else to do before this turn. */
const answerMillis = 0.004
const lookMillis = 0.02
const idleLoopMillis = 0.01

const sources = new Set<Source>()
let parked = true
let endedAt = 0
// A dry spell began at this time; 0 while frames come.
let dryAt = 0
let looking = false
let failures = 0
let spellsToSkip = 0

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

const allowedMillis = (): number => {
  let micros = 0
  for (const source of sources) micros = Math.max(micros, source.spin())
  return micros / 1000
}

const begin = (now: number): void => {
  dryAt = now
  looking = spellsToSkip === 0
  if (!looking) spellsToSkip--
}

const end = (found: boolean): void => {
  dryAt = 0
  if (!looking) return
  looking = false
  failures = found ? Math.max(0, failures - 1) : Math.min(8, failures + 1)
  spellsToSkip = found ? 0 : 2 ** failures - 1
}

/** Whether there is reason to look again soon. */
const lookNow = (): boolean => {
  const start = performance.now()
  const allowed = allowedMillis()
  let until = start - endedAt < idleLoopMillis ? start + lookMillis : start
  let now = start
  for (;;) {
    if (pollAll()) {
      if (dryAt > 0) end(true)
      now = performance.now()
      endedAt = now
      if (now - start >= turnMillis) return true
      until = now + answerMillis
      continue
    }
    if (dryAt === 0) begin(now)
    if (!looking || now - dryAt >= allowed) {
      if (looking) end(false)
      return !tryPark()
    }
    for (let times = 0; times < 16 && !anyReady(); times++) { /* what is looked for changes by itself */ }
    now = performance.now()
    endedAt = now
    if (now >= until) return true
  }
}

const turn = (): void => {
  if (sources.size === 0) {
    parked = true
    return
  }
  let again = true
  try {
    again = lookNow()
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

/** Looks on a later turn of the event loop, so that what a source waits for is judged anew. */
export const look = (): void => {
  if (!parked) return
  parked = false
  for (const source of sources) source.park(0)
  setImmediate(turn)
}

/** Looks into this source from now on, first on a later turn of the event loop. */
export const add = (source: Source): void => {
  sources.add(source)
  look()
}

export const drop = (source: Source): void => {
  sources.delete(source)
}
