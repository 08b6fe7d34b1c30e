/**
 * Who belongs to the group, as its driver sees it: members by id for life, and by rank in the present epoch.
 */
import * as Mesh from "../Mesh.ts"
import { CallRejected, type WorkerDied } from "../WorkerError.ts"
import { fenceOf, type Lives } from "./frame.ts"
import type { Open } from "./request.ts"

export interface Member {
  /** By which the transport addresses it. */
  readonly id: number
  /** −1 while it is not in the present epoch. */
  rank: number
  incarnation: number
  /** The epoch of its frames: the driver's, or the one before while it has not entered that. */
  heard: number
  /** Why calls do not reach it. */
  died: WorkerDied | undefined
  /** It serves again, but its state is being restored: only the calls that do so reach it. */
  restoring: boolean
  /** While it is gone its calls wait for the next incarnation. */
  awaited: boolean
  /** Something came from it since the last beat. */
  stirred: boolean
  /** In the order of calls: the admitted ones, then those that wait. */
  readonly open: Map<number, Open>
  readonly waiting: Array<Open>
  requests: number
  bytes: number
  /** Called when it has nothing open. */
  readonly idle: Set<() => void>
}

const member = (id: number, rank: number, incarnation: number, heard: number): Member => ({
  id,
  rank,
  incarnation,
  heard,
  died: undefined,
  restoring: false,
  awaited: false,
  stirred: false,
  open: new Map(),
  waiting: [],
  requests: 0,
  bytes: 0,
  idle: new Set()
})

/** A mesh with as many coordinates along each dimension as either has. */
const reaching = (a: Mesh.Any, b: Mesh.Any): Mesh.Any =>
  Mesh.make(Object.fromEntries(Object.entries<number>(a.shape).map(([name, size]) => [name, Math.max(size, b.shape[name]!)])))

/** `former` is the incarnation of each member, by id, of a group that had another driver: nobody is present before `settle`. */
export const make = (mesh: Mesh.Any, secret: string, former?: ReadonlyArray<number>) => {
  const all: Array<Member> = former?.map((incarnation, id) => member(id, -1, incarnation, 0))
    ?? mesh.ranks.map((rank) => member(rank, rank, 0, 0))
  let newest = 0
  const roster = {
    /** By id. */
    all: all as ReadonlyArray<Member>,
    /** The members of this epoch in rank order. */
    present: (former === undefined ? all.slice() : []) as ReadonlyArray<Member>,
    mesh,
    /** As far as the mesh has ever reached: what is beyond it never was. */
    reached: mesh,
    fence: fenceOf(secret, 0),
    /** Of the collectives: rises with each death after which the group goes on. */
    generation: 0,
    /** The number of a generation that is newer than all. */
    nextGeneration: (): number => ++newest,
    /** Rises with everything that a request which waited has to be stamped anew for. */
    stamp: 0,
    coordinates: (member: Member): Mesh.Coordinates<string> => member.rank < 0 ? {} : Mesh.place(roster.mesh, member.rank).coordinates,
    lives: (members: ReadonlyArray<Member | undefined>): Lives => {
      const first = members[0]?.incarnation ?? 0
      for (const member of members) if (member?.incarnation !== first) return all.map((member) => member.incarnation)
      return first
    },
    /** What a rank that a mesh has not any more is refused with. */
    refusal: ({ shape }: Mesh.Any): CallRejected =>
      new CallRejected({
        side: "driver",
        issue: `the group of epoch ${roster.fence.epoch} has no such rank: its mesh is ${JSON.stringify(shape)}`
      }),
    /** The next life of a member. */
    renew: (member: Member): void => {
      member.incarnation++
      member.heard = roster.fence.epoch
      member.restoring = false
      roster.stamp++
    },
    /** Members that may come, with numbers of such as have gone first: `gone` tells those that nobody knows any more. */
    recruit: (count: number, gone: (member: Member) => boolean): ReadonlyArray<Member> => {
      const vacant = all.filter((member) => member.rank < 0 && gone(member)).map(({ id, incarnation }) => [id, incarnation + 1] as const)
      return Array.from({ length: count }, (_, i) => {
        const [id, incarnation] = vacant[i] ?? [all.length, 0]
        return all[id] = member(id, -1, incarnation, roster.fence.epoch)
      })
    },
    /** Goes on from where the former driver was. */
    settle: (epoch: number, at: Mesh.Any, members: ReadonlyArray<Member>, generation: number): void => {
      members.forEach((member, rank) => member.rank = rank)
      roster.present = members
      roster.mesh = at
      roster.reached = reaching(mesh, at)
      roster.fence = fenceOf(secret, epoch)
      roster.generation = newest = generation
    },
    /** Begins the next epoch, with these members in this order. */
    resize: (to: Mesh.Any, members: ReadonlyArray<Member>): void => {
      for (const member of roster.present) member.rank = -1
      members.forEach((member, rank) => member.rank = rank)
      roster.present = members
      roster.mesh = to
      roster.reached = reaching(roster.reached, to)
      roster.fence = fenceOf(secret, roster.fence.epoch + 1)
      roster.stamp++
    }
  }
  return roster
}
export type Roster = ReturnType<typeof make>
