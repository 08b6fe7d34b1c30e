/**
 * Brings the ranks of a generation of collectives together: each tells where it listens, and when all have, each is told of all. A death ends a generation; the next one
 * begins at once if the group goes on. Others may be prepared beside it, for another size of the group.
 */
import * as Schema from "effect/Schema"
import { Handle } from "../MessageQueues.ts"
import { type Control, Kind } from "./frame.ts"
import type { Member, Roster } from "./roster.ts"

const isHandle = Schema.is(Handle)

interface Meeting {
  /** In rank order. */
  readonly members: ReadonlyArray<Member>
  readonly handles: Map<Member, Handle>
  readonly met: () => void
  /** They will not meet. */
  readonly failed: (issue: string) => void
}

export const make = (roster: Roster, send: (member: Member, message: Control) => void) => {
  const nobody = (): void => {}
  const meeting = (members: ReadonlyArray<Member>, met = nobody, failed: Meeting["failed"] = nobody): Meeting => ({
    members,
    handles: new Map(),
    met,
    failed
  })
  const meetings = new Map([[roster.generation, meeting(roster.present)]])
  let over: string | undefined
  // A member that is gone has no lane any more, and one that is being started has one already.
  const tell = (members: ReadonlyArray<Member>, message: Control): void => {
    for (const member of members) send(member, message)
  }
  const discard = (generation: number, issue: string): void => {
    const meeting = meetings.get(generation)
    if (meeting === undefined || !meetings.delete(generation)) return
    tell(meeting.members, { kind: Kind.Abort, generation, issue })
    meeting.failed(issue)
    // None serves any more: the next one begins, unless it may be one that is prepared.
    if (over === undefined && [...meetings.keys()].every((other) => other < roster.generation)) renew(issue)()
  }
  /** Those that do not serve, or not any more, and may wait for others all the same. */
  const beside = (issue: string): () => void => {
    const outside = [...meetings].map(([generation, { members }]) => [generation, members.filter(({ rank }) => rank < 0)] as const)
    return () => outside.forEach(([generation, members]) => tell(members, { kind: Kind.Abort, generation, issue }))
  }
  const gather = (generation: number, whom = meetings.get(generation)?.members ?? []): void => {
    const ranks = meetings.get(generation)?.members ?? []
    for (const member of whom) send(member, { kind: Kind.Meet, generation, rank: ranks.indexOf(member), ranks: ranks.length })
  }
  const renew = (issue: string): () => void => {
    const others = beside(issue)
    meetings.clear()
    const generation = roster.generation = roster.nextGeneration()
    meetings.set(generation, meeting(roster.present))
    return () => {
      tell(roster.present, { kind: Kind.Renew, generation, issue })
      others()
    }
  }
  return {
    join: (member: Member, { generation, handle }: { readonly generation: number; readonly handle: unknown }): void => {
      const meeting = meetings.get(generation)
      if (meeting === undefined || !meeting.members.includes(member)) return
      if (over !== undefined) return send(member, { kind: Kind.Abort, generation, issue: over })
      // Nobody is to wait for one that cannot be reached.
      if (typeof handle === "string") return discard(generation, handle)
      if (!isHandle(handle)) return
      const { handles, members, met } = meeting
      handles.set(member, handle)
      // A rank whose call ends before its first operation could not tell that to those who wait in it.
      if (handles.size === 1) gather(generation, members.filter((other) => other !== member))
      const all = members.map((member) => handles.get(member))
      if (!all.every((handle) => handle !== undefined)) return
      tell(members, { kind: Kind.Peers, generation, handles: all })
      met()
    },
    /** Begins a generation of these members in this order, beside the one that serves; `met` is called when they have met, `failed` if they cannot. */
    prepare: (members: ReadonlyArray<Member>, met: () => void, failed: (issue: string) => void): number => {
      const generation = roster.nextGeneration()
      meetings.set(generation, meeting(members, met, failed))
      return generation
    },
    /** Has them meet at once. They have lanes to the driver by now. */
    gather,
    /** A generation is over though nobody who serves has died. */
    discard,
    /** One is gone that does not serve: whatever others have begun with it is over. */
    leave: (gone: Member, issue: string): void => {
      for (const [generation, { members }] of meetings) if (members.includes(gone)) discard(generation, issue)
    },
    /** Survivors must not wait for a rank that is gone; there is no other generation. They are told by calling the result. */
    abort: (issue: string): () => void => {
      over = issue
      const others = beside(issue)
      return () => {
        tell(roster.present, { kind: Kind.Abort, generation: roster.generation, issue })
        others()
      }
    },
    /** Ends every generation and begins the next, of the members that are present now. They are told by calling the result. */
    renew
  }
}
export type Rendezvous = ReturnType<typeof make>
