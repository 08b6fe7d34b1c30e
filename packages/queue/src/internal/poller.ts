/**
 * When this process looks into its rings. There is one poller a process: it looks on every turn of the event loop while that pays, then parks.
 * A parked process uses no processor time and is woken by its doorbell.
 *
 * Whether looking pays is judged by what came of it: each time it was in vain, about twice as many occasions as before pass without it, up to
 * 255; each time it was not, half as many. So neither slow traffic nor a machine with more to run than processors is looked for.
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
const answerMillis = 0.025
const lookMillis = 0.05
const idleLoopMillis = 0.01

/** Something that is done only as often as it has been of use. */
class Habit {
  private failures = 0
  private skips = 0

  /** Whether to do it on this occasion. */
  isWorthwhile(): boolean {
    if (this.skips === 0) return true
    this.skips--
    return false
  }

  tell(useful: boolean): void {
    this.failures = useful ? Math.max(0, this.failures - 1) : Math.min(8, this.failures + 1)
    this.skips = useful ? 0 : 2 ** this.failures - 1
  }
}

const sources = new Set<Source>()
let parked = true
let endedAt = 0
/** When frames ceased; 0 while they come. From then on the poller looks before it parks, if that is worthwhile. */
let dryAt = 0
let looking = false
const looks = new Habit()
/** Looking on in the same turn, for the answer to what was just delivered, while all else that this process does waits. */
const answers = new Habit()

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

const ceased = (now: number, allowed: number): void => {
  dryAt = now
  looking = allowed > 0 && looks.isWorthwhile()
}

const resumed = (found: boolean): void => {
  dryAt = 0
  if (looking) looks.tell(found)
  looking = false
}

/** Looks for as long as that is this process's best use; whether to look again on the next turn. */
const lookNow = (): boolean => {
  const start = performance.now()
  const allowed = allowedMillis()
  let until = start - endedAt < idleLoopMillis ? start + lookMillis : start
  let now = start
  let answering = false
  let vain = 0
  for (;;) {
    if (pollAll()) {
      if (dryAt > 0) resumed(true)
      if (answering) answers.tell(true)
      answering = false
      vain = 0
      now = performance.now()
      if (now - start < turnMillis) continue
      break
    }
    // Reading the clock costs as much as looking a few times.
    if (++vain % 16 === 0) now = performance.now()
    if (dryAt === 0) {
      ceased(now, allowed)
      answering = looking && answers.isWorthwhile()
      if (answering) until = now + answerMillis
    }
    if (!looking || now - dryAt >= allowed) {
      resumed(false)
      if (tryPark()) return false
      break
    }
    if (now >= until) break
  }
  if (answering) answers.tell(false)
  endedAt = now
  return true
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
