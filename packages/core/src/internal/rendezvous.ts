/**
 * Brings the ranks of a generation of collectives together: each tells where it listens, and when all have, each is told of all. A death ends a generation; the next one
 * begins at once if the group goes on.
 */
import * as Schema from "effect/Schema"
import { Handle } from "../MessageQueues.ts"
import { type Control, Kind } from "./frame.ts"
import type { Member, Roster } from "./roster.ts"

const isHandle = Schema.is(Handle)

export const make = (roster: Roster, send: (member: Member, message: Control) => void) => {
  const handles = new Map<Member, Handle>()
  let over: string | undefined
  // A member that is gone has no lane any more, and one that is being started has one already.
  const tell = (message: Control): void => {
    for (const member of roster.present) send(member, message)
  }
  return {
    join: (member: Member, joined: { readonly generation: number; readonly handle: unknown }): void => {
      const { generation } = roster
      if (joined.generation !== generation || !isHandle(joined.handle)) return
      if (over !== undefined) return send(member, { kind: Kind.Abort, generation, issue: over })
      handles.set(member, joined.handle)
      const all = roster.present.map((member) => handles.get(member))
      if (!all.every((handle) => handle !== undefined)) return
      for (const each of roster.present) send(each, { kind: Kind.Peers, generation, handles: all })
    },
    /** Survivors must not wait for a rank that is gone; there is no other generation. */
    abort: (issue: string): void => {
      over = issue
      tell({ kind: Kind.Abort, generation: roster.generation, issue })
    },
    /** Ends the generation and begins the next, of the members that are present now. */
    renew: (issue: string): void => {
      handles.clear()
      roster.generation++
      tell({ kind: Kind.Renew, generation: roster.generation, issue })
    }
  }
}
export type Rendezvous = ReturnType<typeof make>
