/**
 * Prepares another size of a group beside the one that serves: starts who joins, has all who are concerned meet, and begins the next epoch with one frame to each of them.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as GroupEvent from "../GroupEvent.ts"
import * as Mesh from "../Mesh.ts"
import type { Publisher } from "../MessageQueues.ts"
import { type Change, StandbyError } from "../Standby.ts"
import type { WorkerDied } from "../WorkerError.ts"
import * as frame from "./frame.ts"
import type { Lives } from "./lives.ts"
import type { Rendezvous } from "./rendezvous.ts"
import type { Audience } from "./request.ts"
import * as reshaping from "./reshaping.ts"
import type { Member, Roster } from "./roster.ts"
import type { Supervisor } from "./supervisor.ts"

export interface Options {
  readonly roster: Roster
  readonly lives: Lives
  readonly rendezvous: Rendezvous
  readonly supervisor: Supervisor
  readonly publisher: () => Publisher
  /** How many members the group may have at once. */
  readonly capacity: number
  readonly readyWithin: Duration.Duration
  /** Resolves when a member has nothing open. */
  readonly idle: (member: Member) => Effect.Effect<void>
  readonly over: (audience: Audience) => unknown
  readonly tell: (event: GroupEvent.GroupEvent) => void
  readonly changed: () => void
}

/** What is being prepared. */
interface Present {
  readonly failure: Deferred.Deferred<never, StandbyError>
}

export const make = (options: Options) => {
  const { changed, lives, over, publisher, readyWithin, rendezvous, roster, supervisor, tell } = options
  let present: Present | undefined
  /** Who waits until members have entered an epoch. */
  const watching = new Set<() => void>()

  const spoil = (issue: string): void => {
    if (present === undefined) return
    Deferred.doneUnsafe(present.failure, Exit.fail(new StandbyError({ issue, advice: "Prepare it again, for the group as it is now" })))
  }

  const plan = ({ leave = [], to }: Change<string>): reshaping.Reshaping | StandbyError => {
    const no = (issue: string, advice = "Ask for a size that the group can have") => new StandbyError({ issue, advice })
    if (present !== undefined) return no("another size is being prepared", "Wait until that one serves or is given up")
    const gone = roster.present.find(({ died, restoring }) => died !== undefined || restoring)
    if (gone !== undefined) return no(`rank ${gone.rank} is being restarted`, "Ask again when it serves")
    const ranks = leave.map((id) => roster.present.findIndex((member) => member.id === id))
    const stranger = ranks.indexOf(-1)
    if (stranger >= 0) return no(`there is no member ${leave[stranger]}, only ${roster.present.map(({ id }) => id).join(", ")}`)
    if (new Set(ranks).size < ranks.length) return no(`a member cannot leave twice: ${leave.join(", ")}`)
    const planned = reshaping.plan(roster.mesh, to, ranks)
    if (typeof planned === "string") return no(planned)
    const joining = planned.ranks.filter((rank) => rank === undefined).length
    const members = roster.all.filter((member) => !isGone(member)).length + joining
    if (members > options.capacity) {
      return no(
        `${members} members at once are more than the group has room for, which is ${options.capacity}`,
        "Raise the group's capacity"
      )
    }
    return planned
  }
  const isGone = (member: Member): boolean => member.rank < 0 && lives.of(member)?.over !== false

  /** Resolves when all that serve have entered an epoch. One that is gone does not keep the others waiting: with its end the epoch is written down. */
  const entered = (epoch: number): Effect.Effect<void> =>
    Effect.callback((resume) => {
      const look = (): void => {
        if (roster.present.every(({ died, heard }) => died !== undefined || heard >= epoch)) resume(Effect.void)
      }
      watching.add(look)
      look()
      return Effect.sync(() => watching.delete(look))
    })

  /**
   * A member that leaves answers what it was asked before, for as long as others have to start, and until then it may be the only one who knows of the epoch in which it
   * is not any more.
   */
  const finished = (epoch: number) => (member: Member) =>
    Effect.timeoutOption(Effect.andThen(entered(epoch), options.idle(member)), readyWithin)

  /** What is not to serve is ended, or what does not serve any more. */
  const retire = (
    members: ReadonlyArray<Member>,
    generations: ReadonlyArray<number>,
    issue: string,
    finished: (member: Member) => Effect.Effect<unknown>
  ) =>
    Effect.forEach(members, (member) => Effect.andThen(finished(member), supervisor.dismiss(member)), {
      concurrency: "unbounded",
      discard: true
    }).pipe(Effect.andThen(Effect.sync(() => generations.forEach((generation) => rendezvous.discard(generation, issue)))))

  const prepare = Effect.fnUntraced(function*(change: Change<string>) {
    const planned = plan(change)
    if (planned instanceof StandbyError) return yield* planned
    const { mesh } = planned
    const former = roster.present
    const { epoch } = roster.fence
    const failure = Deferred.makeUnsafe<never, StandbyError>()
    const mine: Present = present = { failure }
    const joining = roster.recruit(planned.ranks.filter((rank) => rank === undefined).length, isGone)
    const unseated = [...joining]
    const members = planned.ranks.map((rank) => rank === undefined ? unseated.shift()! : former[rank]!)
    const leaving = planned.leaving.map((rank) => former[rank]!)
    const all = [...former, ...joining]
    let toMeet = 2
    const met = Deferred.makeUnsafe<void>()
    const meets = (): void => void (--toMeet === 0 && Deferred.doneUnsafe(met, Exit.void))
    const fails = (issue: string): void => {
      if (present === mine) spoil(issue)
    }
    // The one in which all that are concerned meet, and the one of the next epoch.
    const transfer = rendezvous.prepare(all, meets, fails)
    const next = rendezvous.prepare(members, meets, fails)
    let last: number | undefined

    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        if (present === mine) present = undefined
        return last === undefined
          ? retire(joining, [transfer, next], "the size that was prepared has been given up", () => Effect.void)
          : retire(leaving, [transfer, last], "the group has another size", finished(epoch + 1))
      })
    )
    const seat = { shape: mesh.shape, generation: next }
    const starting = Effect.forEach(joining, (member) => lives.begin(member, { seat: { ...seat, rank: members.indexOf(member) } }), {
      concurrency: "unbounded",
      discard: true
    })
    const gathering = Effect.suspend(() => {
      rendezvous.gather(transfer)
      rendezvous.gather(next)
      return Effect.timeoutOrElse(Deferred.await(met), {
        duration: readyWithin,
        orElse: () =>
          Effect.fail(new StandbyError({ issue: `not all ranks met within ${Duration.format(readyWithin)}`, advice: "Ask again" }))
      })
    })
    yield* Effect.raceFirst(Effect.andThen(starting, gathering), Deferred.await(failure))

    const commit = Effect.suspend((): Effect.Effect<void, StandbyError> => {
      if (last !== undefined) return Effect.void
      if (Deferred.isDoneUnsafe(failure)) return Deferred.await(failure)
      if (present !== mine) return new StandbyError({ issue: "it has been given up", advice: "Prepare it again" })
      const { fence, generation } = roster
      last = generation
      present = undefined
      roster.resize(mesh, members)
      roster.generation = next
      const begins = { epoch: roster.fence.epoch, shape: mesh.shape, members: members.map(({ id }) => id), generation: next }
      // Those that left before and have not answered yet: what they are told from now on is of this epoch, too.
      const hearing = [...all, ...roster.all.filter((member) => member.rank < 0 && !all.includes(member) && !isGone(member))]
      const packed = publisher().pack(frame.epoch(fence, roster.lives(hearing), begins))
      publisher().publish(packed, hearing.map(({ id }) => id))
      changed()
      tell(GroupEvent.make.Resized({ epoch: begins.epoch, shape: mesh.shape, left: leaving.map(({ id }) => id) }))
      return Effect.void
    })
    const audience = (mesh: Mesh.Any, members: ReadonlyArray<Member>, generation: number): Audience => ({
      mesh,
      reached: mesh,
      members,
      generation,
      restores: false
    })
    return {
      epoch: epoch + 1,
      mesh,
      members: members.map(({ id }) => id),
      joining: joining.map(({ id }) => id),
      leaving: leaving.map(({ id }) => id),
      all: over(audience(Mesh.make({ member: all.length }), all, transfer)),
      next: over(audience(mesh, members, next)),
      failure: Deferred.await(failure),
      commit,
      entered: entered(epoch + 1)
    }
  })

  return {
    prepare,
    /** A member has entered an epoch, or the group is another one. */
    look: (): void => {
      for (const look of watching) look()
    },
    /** A member is gone: what is prepared would be without it. */
    spoil: ({ rank, reason }: WorkerDied): void => spoil(`rank ${rank} is gone (${reason})`)
  }
}
