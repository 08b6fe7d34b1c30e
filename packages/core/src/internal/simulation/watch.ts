/**
 * What can be seen of the contract on the wire, whatever the protocol: windows, order, one answer a request, frames of other lives.
 */
import type { Frame } from "../../MessageQueues.ts"
import { Kind } from "../frame.ts"
import type { Hub, Line } from "./network.ts"
import { type Stage, tell, violate } from "./stage.ts"

/** What one life of one member was asked and has answered. */
export interface Seen {
  /** Published, not answered: id → bytes. */
  readonly open: Map<number, number>
  bytes: number
  /** Ids of requests that it was given. */
  readonly asked: Set<number>
  readonly answered: Set<number>
  /** Ids that have streamed. */
  readonly streams: Set<number>
  /** The last frames that it sent. */
  readonly last: Array<Frame>
}

/** A request that was published. */
export interface Asked {
  readonly act: number
  readonly member: number
  readonly incarnation: number
  /** Rises in the order in which calls were made; the same for every member of a call. */
  readonly id: number
  readonly method: string
  /** As it is on the wire. */
  readonly payload: unknown
  readonly millis: number
}

export const makeSeen = (): Seen => ({ open: new Map(), bytes: 0, asked: new Set(), answered: new Set(), streams: new Set(), last: [] })

const names = new Map<unknown, string>(Object.entries(Kind).map(([name, kind]) => [kind, name]))

export const isAnswer = (frame: Frame): boolean => frame[0] === Kind.Success || frame[0] === Kind.Failure || frame[0] === Kind.Rejected

/** The driver hands a request over for a member. */
export const published = (stage: Stage, hub: Hub, member: number, frame: Frame, bytes: number): void => {
  const [kind, , , lives, id, method, payload] = frame as [number, string, number, unknown, number, string, unknown]
  if (kind !== Kind.Request) return
  const line = hub.lines.get(member)
  stage.world.mark(id)
  if (line === undefined) return
  const life = Array.isArray(lives) ? lives[member] : lives
  tell(stage, () => `driver → member ${member}: request ${id}, ${method} ${JSON.stringify(payload)}`)
  stage.asked.push({ act: hub.act, member, incarnation: line.incarnation, id, method, payload, millis: stage.world.millis })
  if (life !== line.incarnation) {
    violate(stage, `SI-6: request ${id} means incarnation ${life} of member ${member}, which is ${line.incarnation}`)
  }
  if (id <= (hub.newest.get(member) ?? -1)) violate(stage, `SI-6: request ${id} was given to member ${member} twice, or after a newer one`)
  hub.newest.set(member, id)
  const { seen } = line
  seen.asked.add(id)
  seen.open.set(id, bytes)
  seen.bytes += bytes
  const { requests, bytes: most } = stage.window
  if (seen.open.size > requests) violate(stage, `SI-6: member ${member} has ${seen.open.size} open requests, and its window is ${requests}`)
  if (seen.bytes > most) violate(stage, `SI-6: member ${member} has ${seen.bytes} bytes open, and its window is ${most}`)
}

/** A member sends a frame. */
export const said = (stage: Stage, line: Line, frame: Frame): void => {
  const { seen } = line
  const [kind, , , , , id] = frame as [number, string, number, number, number, number]
  stage.world.mark(kind)
  if (seen.last.push(frame) > 4) seen.last.shift()
  if (kind === Kind.Chunk) seen.streams.add(id)
  if (!isAnswer(frame)) return
  if (!seen.asked.has(id)) violate(stage, `SI-6: member ${line.member} answers request ${id}, which it was never given`)
  if (seen.answered.has(id)) violate(stage, `SI-6: member ${line.member} answers request ${id} twice`)
  seen.answered.add(id)
}

/** A member gets a frame. */
export const arrived = (stage: Stage, line: Line, frame: Frame): void => {
  stage.world.mark(line.member)
  if (frame[0] !== Kind.Request && frame[0] !== Kind.Ping) {
    tell(stage, () => `member ${line.member} is told: ${names.get(frame[0])} ${typeof frame[4] === "number" ? frame[4] : ""}`)
  }
}

/** The driver gets a frame. `present`: from the life that it talks to. */
export const heard = (stage: Stage, line: Line, frame: Frame, present: boolean): void => {
  const { seen } = line
  const id = frame[5] as number
  stage.world.mark(1 + line.member)
  if (frame[0] !== Kind.Pong) {
    tell(stage, () => `member ${line.member}.${line.incarnation} → driver: ${names.get(frame[0])} ${typeof id === "number" ? id : ""}`)
  }
  if (!present) {
    // Whether the group has another life of it in mind already is its own matter until that has lanes.
    if (line.hub.lines.has(line.member)) stage.stale++
    else stage.perhapsStale++
    return
  }
  if (frame[0] === Kind.Ready && line.actor !== undefined) line.actor.ready = stage.world.millis
  if (!isAnswer(frame)) return
  seen.bytes -= seen.open.get(id) ?? 0
  seen.open.delete(id)
  seen.streams.delete(id)
}
