import * as Snapshot from "../Snapshot.ts"
import type { FanOut } from "./fanOut.ts"
import type { Lives } from "./lives.ts"
import type { Member, Roster } from "./roster.ts"

const stateOf = ({ awaited, died, restoring }: Member, serves: boolean): Snapshot.Member["state"] =>
  died !== undefined ? (awaited || restoring ? "restarting" : "dead") : serves ? "serving" : "starting"

/** What the driver knows now. */
export const take = (roster: Roster, out: FanOut, lives: Lives): Snapshot.Snapshot => ({
  epoch: roster.fence.epoch,
  mesh: roster.mesh.shape,
  window: out.window,
  members: roster.present.map((member) => ({
    id: member.id,
    rank: member.rank,
    incarnation: member.incarnation,
    state: stateOf(member, lives.serves(member)),
    open: [...member.open.values()].slice(0, Snapshot.most).map((open) => ({
      id: open.id,
      method: open.call.method,
      ageMillis: out.ageMillis(open),
      admitted: open.admitted,
      abandoned: open.abandoned
    })),
    requests: member.requests,
    bytes: member.bytes,
    waiting: member.waiting.length
  })),
  counters: { ...out.counters }
})
