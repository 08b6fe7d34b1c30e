/**
 * Answers deaths: tells everybody who has to know, then does what the group's policy says.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type * as Cluster from "../Cluster.ts"
import * as GroupEvent from "../GroupEvent.ts"
import * as Mesh from "../Mesh.ts"
import type { Publisher } from "../MessageQueues.ts"
import * as Supervision from "../Supervision.ts"
import { type Death, describe, type Reason, SpawnError, WorkerDied } from "../WorkerError.ts"
import type { Elapsed } from "./elapsed.ts"
import type { FanOut } from "./fanOut.ts"
import * as frame from "./frame.ts"
import * as intensity from "./intensity.ts"
import type { Life, Lives } from "./lives.ts"
import type { Rendezvous } from "./rendezvous.ts"
import type { Member, Roster } from "./roster.ts"

/** What a group's hook is told of a rank that serves again. */
export interface Restored {
  readonly died: WorkerDied
  readonly rank: number
  /** Ranks that serve and were not restarted along with this one. */
  readonly survivors: ReadonlyArray<number>
}

export interface Options {
  readonly policy: Supervision.Supervision<any>
  readonly roster: Roster
  readonly out: FanOut
  readonly lives: Lives
  readonly rendezvous: Rendezvous
  readonly publisher: () => Publisher
  readonly now: Elapsed
  /** Where restarts run. */
  readonly scope: Scope.Scope
  readonly restore: ((restored: Restored) => Effect.Effect<void, unknown>) | undefined
  readonly tell: (event: GroupEvent.GroupEvent) => void
  /** The membership is another one: ranks, incarnations or processes. */
  readonly changed: () => void
  /** Whatever is prepared for another size cannot be, any more. */
  readonly spoil: (died: WorkerDied) => void
}

/** The group's hook could not bring a new incarnation its state. */
class RestoreFailed extends Data.TaggedError("RestoreFailed")<{ readonly cause: unknown }> {
  override get message(): string {
    return `its state could not be restored: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}

/** Why a restart came to nothing. */
const unstarted = (cause: Cause.Cause<unknown>): { readonly issue: string; readonly stderr: ReadonlyArray<string> } => {
  const error = Cause.squash(cause)
  if (error instanceof SpawnError) return { issue: `${error.phase}: ${error.issue}`, stderr: error.stderr }
  return { issue: error instanceof Error ? error.message : String(error), stderr: [] }
}

const reasonOf = (death: Death): Reason => {
  switch (death._tag) {
    case "Exited":
      return "exit"
    case "Killed":
      return "signal"
    case "Disconnected":
      return "disconnected"
    case "Silent":
      return death.state
    case "Unstarted":
      return "setup"
  }
}

/**
 * Makes an error that has no stack. Where a death was noticed tells nobody anything, and until somebody reads a stack V8 keeps all that its functions hold: for each death that is
 * remembered a life, its process and its pipes.
 */
const stackless = <E>(make: () => E): E => {
  const { stackTraceLimit } = Error
  // Without a word where that cannot be set.
  Reflect.set(Error, "stackTraceLimit", 0)
  try {
    return make()
  } finally {
    Reflect.set(Error, "stackTraceLimit", stackTraceLimit)
  }
}

export const make = Effect.fnUntraced(function*(options: Options) {
  const { lives, out, rendezvous, roster } = options
  const failure = Deferred.makeUnsafe<never, WorkerDied>()
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const restarts = new Map<Member, Fiber.Fiber<unknown, unknown>>()
  const admit = intensity.make(options.now)
  let failed = false
  let closing = false

  const diedOf = (member: Member, { death, flight = [], reason, stderr }: Cluster.End): WorkerDied => {
    const process = lives.of(member)?.process
    const oldest = out.oldest(member)
    const said = {
      rank: member.rank < 0 ? lives.of(member)?.rank ?? 0 : member.rank,
      coordinates: roster.coordinates(member),
      incarnation: member.incarnation,
      node: process?.node ?? "",
      death,
      reason: reason ?? reasonOf(death),
      stderr,
      flight,
      ...(process?.pid === undefined ? {} : { pid: process.pid }),
      ...oldest
    }
    return stackless(() => new WorkerDied(said))
  }

  /** Nothing of a life is left, in the background: its process may need a while to go. */
  const bury = (member: Member): void => {
    const life = lives.of(member)
    if (life !== undefined) life.over = true
    chores.push(() => {
      options.publisher().disconnect(member.id)
      if (life === undefined) return
      const { process } = life
      fork(Effect.andThen(process?.kill("SIGKILL") ?? Effect.void, Scope.close(life.scope, Exit.void)))
      if (process === undefined) return
      // It may have been frozen or cut off, and speak until it has really ended.
      fork(Effect.forkIn(Effect.andThen(process.end, options.publisher().drain(member.id, life.incarnation)), options.scope))
    })
  }

  const escalate = (died: WorkerDied): void => {
    failed = true
    options.tell(GroupEvent.make.Escalated({ died }))
    Deferred.doneUnsafe(failure, Exit.fail(died))
  }

  type Chosen = Exclude<Supervision.Supervision<any>, { _tag: "Choose" }>
  const follow = (policy: Supervision.Supervision<any>, died: WorkerDied): Chosen =>
    policy._tag === "Choose" ? follow(policy.choose(died), died) : policy
  /** A choice that throws must not keep callers from hearing of the death. */
  const decide = (died: WorkerDied): Chosen => {
    try {
      return follow(options.policy, died)
    } catch (thrown) {
      chores.push(() => void fork(Effect.logError("The choice of a policy threw, so the death is the group's failure", Cause.die(thrown))))
      return Supervision.escalate
    }
  }

  // ------------------------------------------------------------------------------------------------ restart
  const affected = ({ scope }: Supervision.Restart, { rank }: Member): ReadonlyArray<Member> =>
    roster.present.filter((other) => scope === "all" ? other.rank !== rank : scope === "rest" && other.rank > rank)

  const restart = Effect.fnUntraced(function*(member: Member, died: WorkerDied, wait: number, along: ReadonlySet<Member>) {
    // To start a process takes the driver milliseconds: callers hear of the death first.
    yield* wait > 0 ? Effect.sleep(wait) : Effect.yieldNow
    const life = yield* lives.begin(member, { restoring: options.restore !== undefined })
    options.changed()
    let restored: Exit.Exit<void, RestoreFailed> = Exit.void
    if (options.restore !== undefined) {
      member.restoring = true
      const survivors = roster.present.filter((other) => other.died === undefined && !along.has(other)).map(({ rank }) => rank)
      restored = yield* options.restore({ died, rank: member.rank, survivors }).pipe(
        Effect.mapError((cause) => new RestoreFailed({ cause })),
        Effect.exit
      )
    }
    // A death meanwhile has been answered, and what the hook made of it is no other one.
    if (life.over) return
    yield* restored
    if (options.restore !== undefined) out.send(member, { kind: frame.Kind.Restoring, restoring: false })
    out.revive(member)
    options.tell(GroupEvent.make.Restarted({ rank: member.rank, incarnation: member.incarnation, died }))
  })

  /** Whatever its restart comes to now is no news: the member is lost already. */
  const abandon = (member: Member): void => {
    const fiber = restarts.get(member)
    restarts.delete(member)
    fiber?.interruptUnsafe()
  }

  const startAgain = (members: ReadonlyArray<Member>, died: WorkerDied, wait: number): void => {
    const along = new Set(members)
    for (const member of members) roster.renew(member)
    chores.push(rendezvous.renew(`rank ${died.rank} is gone: ${describe(died.death)}`))
    for (const member of members) {
      const fiber = fork(restart(member, died, wait, along))
      restarts.set(member, fiber)
      fiber.addObserver((exit) => {
        if (restarts.get(member) !== fiber) return
        restarts.delete(member)
        if (exit._tag === "Success" || closing || failed) return
        const { issue, stderr } = unstarted(exit.cause)
        lose(member, diedOf(member, { death: { _tag: "Unstarted", issue }, stderr }))
      })
    }
  }

  // ------------------------------------------------------------------------------------------------ shrink
  /** Goes on without the member's slice; whether the group is large enough for that. */
  const shrink = ({ along, min }: Supervision.Shrink<string>, member: Member, died: WorkerDied): boolean => {
    const { mesh, present } = roster
    const size: number | undefined = mesh.shape[along]
    if (size === undefined || size - 1 < min) return false
    const lost = roster.coordinates(member)[along]!
    const rest = Array.from({ length: size }, (_, coordinate) => coordinate).filter((coordinate) => coordinate !== lost)
    const staying = Mesh.slice(mesh, { [along]: rest } as {}).ranks.map((rank) => present[rank]!)
    const leaving = present.filter((other) => !staying.includes(other))
    for (const sibling of leaving) {
      if (sibling === member) continue
      if (sibling.died === undefined) loseAlong(sibling, died, false)
      else giveUp(sibling)
    }
    const former = roster.fence
    roster.resize(Mesh.make({ ...mesh.shape, [along]: size - 1 }), staying)
    chores.push(rendezvous.renew(`rank ${died.rank} is gone, and the group goes on without it`))
    const { fence, generation, mesh: { shape } } = roster
    // One that is being started again learns of it before it serves, and one that has left what the frames are of that it hears until it has answered.
    const hearing = roster.all.filter((other) => lives.of(other)?.over === false)
    const begins = frame.epoch(former, roster.lives(hearing), {
      epoch: fence.epoch,
      shape,
      members: staying.map(({ id }) => id),
      generation
    })
    options.publisher().publish(options.publisher().pack(begins), hearing.map(({ id }) => id))
    options.changed()
    options.tell(GroupEvent.make.Resized({ epoch: fence.epoch, shape, left: leaving.map(({ id }) => id) }))
    return true
  }

  // ------------------------------------------------------------------------------------------------ deaths
  /** A member that is taken along with the one that died. */
  const loseAlong = (member: Member, { rank }: WorkerDied, awaited: boolean): void => {
    const death: Death = { _tag: "Killed", signal: "SIGKILL" }
    const stderr = [`ended together with rank ${rank}`]
    abandon(member)
    news.push(out.lose(member, diedOf(member, { death, reason: "sibling", stderr }), awaited))
    bury(member)
  }

  /** A member that is gone will not be started again. */
  const giveUp = (member: Member): void => {
    abandon(member)
    news.push(out.lose(member, member.died!, false))
    bury(member)
  }

  /** What callers are to be told. They go on at once, so they hear it when what becomes of the group is settled. */
  const news: Array<() => void> = []
  /** What takes the driver's time, or gives other processes something to do, when callers have been told. */
  const chores: Array<() => void> = []
  /** A death that comes of settling another, such as a start that fails at once, is settled after it. */
  const deaths: Array<{ readonly member: Member; readonly died: WorkerDied }> = []
  let settling = false

  const lose = (member: Member, died: WorkerDied): void => {
    deaths.push({ member, died })
    if (settling) return
    settling = true
    for (let next = deaths.shift(); next !== undefined; next = deaths.shift()) {
      // It may have been started again together with another one.
      if (next.died.incarnation === next.member.incarnation) settle(next.member, next.died)
    }
    settling = false
    announce()
  }

  const announce = (): void => {
    const rest = chores.splice(0)
    for (const tell of news.splice(0)) tell()
    for (const chore of rest) chore()
  }

  const settle = (member: Member, died: WorkerDied): void => {
    abandon(member)
    options.spoil(died)
    // Whose workers have another driver has no group any more.
    const policy = failed || died.reason === "replaced" ? undefined : decide(died)
    const wait = policy?._tag === "Restart" ? admit(policy) : undefined
    const awaited = policy?._tag === "Restart" && wait !== undefined && policy.calls === "wait"
    news.push(out.lose(member, died, awaited))
    bury(member)
    options.tell(GroupEvent.make.Died({ died }))
    if (policy?._tag === "Restart" && wait !== undefined) {
      const along = affected(policy, member)
      for (const other of along) {
        if (other.died === undefined) loseAlong(other, died, awaited)
        else {
          other.awaited = awaited
          abandon(other)
          bury(other)
        }
      }
      return startAgain([member, ...along], died, wait)
    }
    if (policy?._tag === "Shrink" && shrink(policy, member, died)) return
    chores.push(rendezvous.abort(`rank ${died.rank} is gone: ${describe(died.death)}`))
    if (failed) return
    escalate(died)
    // What waits for a restart waits in vain.
    for (const fiber of restarts.values()) fiber.interruptUnsafe()
    for (const other of roster.present) if (other.awaited) news.push(out.lose(other, other.died!, false))
  }

  yield* Scope.addFinalizer(options.scope, Effect.suspend(() => Fiber.interruptAll([...restarts.values()])))

  return {
    failure: Deferred.await(failure),
    /** The worker of this life is gone, by its end or by what was found out about it. */
    ended: (life: Life, end: Cluster.End): void => {
      if (closing || life.over) return
      life.over = true
      // One that was found frozen does not end by itself.
      if (lives.unready(life, end)) return void fork(life.process?.kill("SIGKILL") ?? Effect.void)
      const { member } = life
      const died = diedOf(member, end)
      if (roster.present.includes(member)) return lose(member, died)
      // It is to join, or has left: nothing that serves is lost, and no policy is asked.
      news.push(out.lose(member, died, false))
      bury(member)
      options.spoil(died)
      chores.push(() => rendezvous.leave(member, `a member that does not serve is gone: ${describe(died.death)}`))
      if (!settling) announce()
    },
    /** A member that is not present is not needed any more: what it has open is given up, and its process is told to end. */
    dismiss: (member: Member): Effect.Effect<void> =>
      Effect.suspend(() => {
        const life = lives.of(member)
        if (life === undefined || life.over) return Effect.void
        life.over = true
        out.lose(member, diedOf(member, { death: { _tag: "Killed", signal: "SIGTERM" }, reason: "left", stderr: [] }), false)()
        options.publisher().disconnect(member.id)
        return Scope.close(life.scope, Exit.void)
      }),
    close: (): void => {
      closing = true
    }
  }
})
export type Supervisor = Effect.Success<ReturnType<typeof make>>
