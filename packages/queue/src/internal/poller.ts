/**
 * When a process looks into its rings. There is one poller a process: it looks on every turn of the event loop while that pays, then parks.
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
/**
 * Whoever answers after a long sleep needs so long. To look for that and to be awake when it comes is cheaper than it seems: after so long a sleep
 * it takes 1 % of the time even if it is always in vain.
 */
const firstAnswerMillis = 0.4
const longSleepMillis = 40

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

/** What a poller has done; times in milliseconds. */
export interface PollerStats {
  /** Turns of the event loop in which it looked. */
  turns: number
  /** Of these, what was spent on looking in vain. */
  spinMillis: number
  parks: number
  parkMillis: number
}

/** The poller of a process that has nothing to look into yet. */
export class Poller {
  private readonly done: PollerStats = { turns: 0, spinMillis: 0, parks: 0, parkMillis: 0 }
  /** When it parked. */
  private restedAt = performance.now()
  private readonly sources = new Set<Source>()
  private parked = true
  private endedAt = 0
  /** When frames ceased; 0 while they come. From then on the poller looks before it parks, if that is worthwhile. */
  private dryAt = 0
  /** By what habit it looks, if it does, and for how long. */
  private looking: Habit | undefined
  private patience = 0
  private readonly looks = new Habit()
  /** Looking for the answer to what was asked from elsewhere than a turn of the poller. */
  private readonly expectations = new Habit()
  /** Looking on in the same turn, for the answer to what was just delivered, while all else that this process does waits. */
  private readonly answers = new Habit()

  private anyReady(): boolean {
    for (const source of this.sources) if (source.ready()) return true
    return false
  }

  private pollAll(): boolean {
    let worked = false
    for (const source of this.sources) worked = source.poll() || worked
    return worked
  }

  private tryPark(): boolean {
    for (const source of this.sources) source.park(1)
    if (!this.anyReady()) return true
    for (const source of this.sources) source.park(0)
    return false
  }

  private allowedMillis(): number {
    let micros = 0
    for (const source of this.sources) micros = Math.max(micros, source.spin())
    return micros / 1000
  }

  private ceased(now: number, allowed: number): void {
    this.dryAt = now
    this.patience = allowed
    this.looking = allowed > 0 && this.looks.isWorthwhile() ? this.looks : undefined
  }

  private resumed(found: boolean, now: number): void {
    if (this.looking) this.done.spinMillis += now - this.dryAt
    this.dryAt = 0
    this.looking?.tell(found)
    this.looking = undefined
  }

  /** Looks for as long as that is this process's best use; whether to look again on the next turn. */
  private lookNow(start: number): boolean {
    this.done.turns++
    const allowed = this.allowedMillis()
    let until = start - this.endedAt < idleLoopMillis ? start + lookMillis : start
    let now = start
    let answering = false
    let vain = 0
    for (;;) {
      const worked = this.pollAll()
      if (worked) {
        if (this.dryAt > 0) this.resumed(true, now)
        if (answering) this.answers.tell(true)
        answering = false
        vain = 0
        now = performance.now()
        if (now - start >= turnMillis) break
        // Where nobody looks on, parking looks once more anyway.
        if (allowed > 0) continue
      }
      // Reading the clock costs as much as looking a few times.
      if (++vain % 16 === 0) now = performance.now()
      if (this.dryAt === 0) {
        this.ceased(now, allowed)
        answering = this.looking !== undefined && this.answers.isWorthwhile()
        if (answering) until = now + answerMillis
      }
      if (this.looking === undefined || now - this.dryAt >= this.patience) {
        this.resumed(false, now)
        if (this.tryPark()) {
          this.parked = true
          this.done.parks++
          this.restedAt = now
          return false
        }
        if (worked) continue
        break
      }
      if (now >= until) break
    }
    if (answering) this.answers.tell(false)
    this.endedAt = now
    return true
  }

  private readonly turn = (): void => this.begin(performance.now())

  private begin(now: number): void {
    if (this.sources.size === 0) {
      this.parked = true
      return
    }
    let again = true
    try {
      again = this.lookNow(now)
    } finally {
      if (again) setImmediate(this.turn)
    }
  }

  private unpark(now: number): void {
    this.parked = false
    this.done.parkMillis += now - this.restedAt
  }

  /** What it has done so far. */
  stats(): PollerStats {
    const now = this.parked ? performance.now() - this.restedAt : 0
    return { ...this.done, parkMillis: this.done.parkMillis + now }
  }

  /** Looks at once; for when a doorbell has rung. */
  readonly wake = (): void => {
    if (!this.parked) return
    const now = performance.now()
    this.unpark(now)
    for (const source of this.sources) source.park(0)
    this.begin(now)
  }

  /** What a source waits for is judged anew, and looked at on a later turn of the event loop if some of it is there. */
  readonly look = (): void => {
    if (!this.parked || this.tryPark()) return
    this.unpark(performance.now())
    setImmediate(this.turn)
  }

  /** Something was published that is going to be answered: looks for the answer, if that pays or costs next to nothing. */
  readonly expect = (): void => {
    if (!this.parked) return
    const allowed = this.allowedMillis()
    if (allowed === 0) return
    const now = performance.now()
    const slept = now - this.restedAt >= longSleepMillis
    if (!slept && !this.expectations.isWorthwhile()) return
    this.unpark(now)
    for (const source of this.sources) source.park(0)
    this.dryAt = now
    this.patience = slept ? firstAnswerMillis : allowed
    this.looking = this.expectations
    setImmediate(this.turn)
  }

  /** Looks into this source from now on, on a later turn of the event loop if there is something. */
  add(source: Source): void {
    this.sources.add(source)
    this.look()
  }

  drop(source: Source): void {
    this.sources.delete(source)
  }
}
