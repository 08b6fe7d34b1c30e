/**
 * The start of a group that had another driver: claims its workers, puts together from what they say where the former driver had come to, and goes on from there.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { AdoptError } from "../AdoptError.ts"
import type * as Cluster from "../Cluster.ts"
import * as Mesh from "../Mesh.ts"
import type { Publisher } from "../MessageQueues.ts"
import type { QueueError } from "../QueueError.ts"
import type { FanOut } from "./fanOut.ts"
import * as frame from "./frame.ts"
import type { Life, Lives } from "./lives.ts"
import type { Rendezvous } from "./rendezvous.ts"
import type { Member, Roster } from "./roster.ts"
import type { Supervisor } from "./supervisor.ts"

export interface Options {
  readonly group: string
  readonly adopted: Cluster.Adopted
  readonly roster: Roster
  readonly lives: Lives
  readonly out: FanOut
  readonly rendezvous: Rendezvous
  readonly supervisor: Supervisor
  readonly publisher: () => Publisher
  readonly readyWithin: Duration.Duration
}

/** Which membership it is. A rank of which nobody knows whose it is has none. */
export interface Standing {
  readonly epoch: number
  readonly shape: Readonly<Record<string, number>>
  /** Ids in rank order. */
  readonly members: ReadonlyArray<number | undefined>
}

type Answers = ReadonlyMap<number, Pick<frame.Claimed, "epoch" | "rank" | "shape" | "members">>

/**
 * The latest epoch that anybody has entered, or that is recorded: its driver had begun it, whoever has not heard of it by now. Who was at which rank is said by those who have heard the
 * list, by each of itself, and by the record.
 */
export const standing = (recorded: Pick<Cluster.Adopted, "epoch" | "shape" | "members">, answers: Answers): Standing => {
  // One that has neither rank nor list was to join an epoch that it has not heard of: its shape is that one's.
  const known = [...answers].filter(([, { members, rank }]) => rank >= 0 || members.length > 0)
  const epoch = Math.max(recorded.epoch, ...known.map(([, answer]) => answer.epoch))
  const present = known.filter(([, answer]) => answer.epoch === epoch)
  const shape = present[0]?.[1].shape ?? recorded.shape
  const ranks = Object.values(shape).reduce((product, size) => product * size, 1)
  const heard = present.find(([, { members }]) => members.length > 0)?.[1].members
  const idAt = (rank: number): number | undefined =>
    present.find(([, answer]) => answer.rank === rank)?.[0]
      ?? recorded.members.find((member) => recorded.epoch === epoch && member.rank === rank)?.id
      ?? (epoch === 0 ? rank : undefined)
  return { epoch, shape, members: heard ?? Array.from({ length: ranks }, (_, rank) => idAt(rank)) }
}

/** Each member's latest incarnation, by id. */
export const incarnations = ({ lives, workers }: Cluster.Adopted): ReadonlyArray<number> => {
  const found: Array<number> = []
  for (const { incarnation, member } of [...lives, ...workers]) found[member] = Math.max(found[member] ?? 0, incarnation)
  return Array.from(found, (incarnation) => incarnation ?? 0)
}

const unserved = "its driver was gone before it served"

export const make = (options: Options) => {
  const { adopted, group, lives, out, publisher, readyWithin, rendezvous, roster, supervisor } = options
  const answers = new Map<Member, frame.Claimed>()
  const ends = new Map<Member, Cluster.End>()
  const waiting = new Map<Member, Deferred.Deferred<void>>()
  const heard = (member: Member): void => {
    const waits = waiting.get(member)
    if (waits !== undefined) Deferred.doneUnsafe(waits, Exit.void)
  }

  const unclaimed = (members: ReadonlyArray<Member>): AdoptError => {
    const pids = members.map((member) => lives.of(member)?.process?.pid).join(", ")
    return new AdoptError({
      group,
      reason: "unclaimed",
      issue: `processes ${pids} did not answer within ${Duration.format(readyWithin)}`,
      advice: "They computed all that time, or were stopped: start the group anew, or raise its readyWithin"
    })
  }

  const claim = Effect.fnUntraced(function*(orphan: Cluster.Orphan): Effect.fn.Return<void, QueueError> {
    const member = roster.all[orphan.member]!
    // It had been given up already.
    if (orphan.incarnation !== member.incarnation) return yield* Effect.scoped(Effect.asVoid(orphan.process))
    const answered = Deferred.makeUnsafe<void>()
    waiting.set(member, answered)
    const life = yield* lives.adopt(member, orphan, adopted.driver)
    yield* Deferred.await(answered)
    Deferred.doneUnsafe(life.started, Exit.void)
  })

  /** Those that there are, and somebody for each rank of which nobody is left. */
  const seated = ({ members }: Standing): ReadonlyArray<Member> => {
    const named = members.flatMap((id) => id === undefined ? [] : [id])
    const vacant = (member: Member): boolean => !named.includes(member.id) && !answers.has(member) && !ends.has(member)
    // Ids are given without a gap, so that this makes all that are named.
    while (named.some((id) => id >= roster.all.length)) roster.recruit(1, () => false)
    const substitutes = [...roster.recruit(members.length - named.length, vacant)]
    return members.map((id) => id === undefined ? substitutes.shift()! : roster.all[id]!)
  }

  /** Resolves when those that live have entered the epoch: until then, those that are not needed may be the only ones who know of it. */
  const catchUp = (present: ReadonlyArray<Member>): Effect.Effect<void> => {
    const { epoch, secret } = roster.fence
    const behind: Array<Deferred.Deferred<void>> = []
    const begins = { shape: roster.mesh.shape, members: present.map(({ id }) => id), generation: roster.generation }
    for (const [member, answer] of answers) {
      if (answer.epoch < epoch && present.includes(member) && !ends.has(member)) {
        const entered = Deferred.makeUnsafe<void>()
        waiting.set(member, entered)
        behind.push(entered)
      }
      for (let entered = answer.epoch; entered < epoch; entered++) {
        const packed = publisher().pack(
          frame.epoch(frame.fenceOf(secret, entered), member.incarnation, { ...begins, epoch: entered + 1 })
        )
        publisher().publish(packed, [member.id])
      }
    }
    return Effect.asVoid(Effect.timeoutOption(Effect.forEach(behind, Deferred.await, { discard: true }), readyWithin))
  }

  return {
    claimed: (member: Member, message: frame.Claimed): void => {
      if (message.driver !== adopted.driver) return
      answers.set(member, message)
      member.heard = message.epoch
      heard(member)
    },
    entered: (member: Member): void => {
      if (member.heard >= roster.fence.epoch) heard(member)
    },
    ended: ({ member }: Life, end: Cluster.End): void => {
      ends.set(member, end)
      heard(member)
    },
    /** Resolves when every worker that lives has this driver. */
    run: Effect.gen(function*() {
      yield* Effect.timeoutOrElse(Effect.forEach(adopted.workers, claim, { concurrency: "unbounded", discard: true }), {
        duration: readyWithin,
        orElse: () => Effect.fail(unclaimed([...waiting.keys()].filter((member) => !answers.has(member) && !ends.has(member))))
      })
      const found = standing(adopted, new Map([...answers].map(([{ id }, answer]) => [id, answer])))
      const present = seated(found)
      out.from(Math.max(0, ...[...answers.values()].map(({ next }) => next)))
      const generation = Math.max(0, ...[...answers.values()].map(({ generation }) => generation))
      roster.settle(found.epoch, Mesh.make(found.shape), present, generation)
      rendezvous.renew("the group has another driver")
      yield* catchUp(present)
      yield* adopted.settled
      // Who was to join what had not begun, or has left, is not needed, and would be in the way of the next change.
      const others = [...waiting.keys()].filter((member) => member.rank < 0)
      yield* Effect.forEach(others, supervisor.dismiss, { concurrency: "unbounded", discard: true })
    }),
    /** Has deaths go by the group's policy, once that can be asked. */
    mourn: Effect.gen(function*() {
      for (const member of roster.present) {
        const answer = answers.get(member)
        const life = lives.of(member) ?? (yield* lives.vacant(member))
        Deferred.doneUnsafe(life.started, Exit.void)
        const end = ends.get(member)
          ?? (answer?.serves === true ? undefined : { death: { _tag: "Unstarted", issue: unserved }, stderr: [] } as const)
        // One death may end others, or start them again.
        if (end !== undefined && lives.of(member) === life) supervisor.ended(life, end)
      }
    })
  }
}
