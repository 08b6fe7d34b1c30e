/**
 * Decides what every rank does in the next step: continuous batching as a pure state machine, so that it can be tested by tables and run without a clock.
 *
 * It plans ahead of what it knows (a request may have ended in a step whose replies are still out), because owners feed their own next byte. What it plans
 * for a request that has ended is dropped by the owner.
 */
import type { Opening, Part, Plan } from "./Moe.ts"

/** Limits of one step, which bound its time: a rank advances at most `rows` bytes, of at most `requests` requests, by at most `chunk` of one prompt. */
export interface Limits {
  readonly requests: number
  readonly rows: number
  readonly chunk: number
  /** Bytes that a request may hold: byte 0, prompt and output. */
  readonly context: number
}

interface Running {
  readonly opening: Opening
  dp: number
  /** What has come back. */
  readonly bytes: Array<number>
  /** Known bytes that are planned to be taken in so far. */
  planned: number
  /** Bytes planned to be sampled. */
  sampled: number
}

/** A sampled byte, and whether it was the request's last. */
export interface Token {
  readonly id: number
  readonly byte: number
  readonly finish: "stop" | "length" | undefined
}

/** A running request, and how many of its sampled bytes have come back. */
export interface Kept {
  readonly id: number
  readonly received: number
}

/** The requests that wait and run, and the next step made of them. */
export interface Scheduler {
  /** Puts a request behind those that wait; a later `plan` opens it. */
  readonly submit: (opening: Opening) => void
  /** Forgets a request; its owner is told in the next plan. */
  readonly cancel: (id: number) => void
  /** Has the ranks drop what they keep of a request that has ended, with whatever plan comes next. */
  readonly drop: (id: number) => void
  /** Goes on with a request that an owner has had from a former driver: with these bytes written, and so many positions computed. */
  readonly resume: (opening: Opening, dp: number, bytes: ReadonlyArray<number>, computed: number) => void
  /** The next step, or `undefined` if nothing can be planned before more replies are in. */
  readonly plan: () => Plan | undefined
  /** Takes in the bytes of the replies of one step, the earliest that is out. A request's bytes after its end, or after it was cancelled, are left out. */
  readonly receive: (tokens: Iterable<readonly [id: number, byte: number]>) => ReadonlyArray<Token>
  /** What each coordinate of `dp` has to keep of its requests when steps have been lost. */
  readonly kept: () => ReadonlyArray<ReadonlyArray<Kept>>
  /**
   * Goes back to what has been received: the steps since then are planned again. A request in `lost`, whose owner has nothing of it any more, is opened again, with what it has
   * written as part of its prompt, before all that wait.
   */
  readonly rollBack: (lost: ReadonlySet<number>) => void
  /**
   * Goes on with another number of owners. `moved` has for each former coordinate of `dp` the one that its owner has now, or `undefined` if it is gone: its requests are opened again, as those
   * of `rollBack` are, unless `homes` has another owner for them, which has what the former one had. Only between two steps, when all replies are in.
   */
  readonly resize: (dp: number, moved: ReadonlyArray<number | undefined>, homes?: ReadonlyMap<number, number>) => void
  /** Opens no request where so many run on its owner, or on all owners, whatever the limits are; what is left out stays as it is. */
  readonly bound: (bounds: { readonly each?: number; readonly all?: number }) => void
  /** Requests running at each coordinate of `dp`. */
  readonly running: () => ReadonlyArray<number>
  /** Tokens, of prompts and received, of all that run. */
  readonly tokens: () => number
  /** Requests submitted that no plan has opened yet. */
  readonly waiting: () => number
}

/** A request that is opened elsewhere, with what it has written as part of its prompt; `computed` positions of it have been computed before. */
export const reopened = (opening: Opening, bytes: ReadonlyArray<number>, computed: number): Opening => {
  const tokens = Uint8Array.of(...opening.tokens, ...bytes)
  return {
    ...opening,
    tokens,
    maxTokens: opening.maxTokens - bytes.length,
    written: (opening.written ?? 0) + bytes.length,
    again: Math.min(computed, tokens.length)
  }
}

/** A scheduler for `dp` owners. Requests are opened in the order of `submit`, each where the fewest run (the lowest of equals). */
export const make = (owners: number, limits: Limits): Scheduler => {
  let dp = owners
  const queue: Array<Opening> = []
  const named = (openings: ReadonlyArray<Opening>) => openings.filter(({ name }) => name !== undefined)
  /** Of those that wait and have a name, the ones that no rank has been told of. */
  let untold = new Set<Opening>()
  const running = new Map<number, Running>()
  let bounds = { each: Infinity, all: Infinity }
  const closing: Array<number> = []
  const dropping: Array<number> = []
  /** What each plan whose replies are not in has said is to be closed. */
  const told: Array<ReadonlyArray<number>> = []
  let step = 0

  const counts = (): Array<number> => {
    const count = Array.from({ length: dp }, () => 0)
    for (const request of running.values()) count[request.dp]!++
    return count
  }

  /** All that may be sampled has been planned: what is missing is in replies. */
  const exhausted = ({ opening, sampled }: Running): boolean =>
    sampled >= opening.maxTokens || opening.tokens.length + sampled > limits.context

  const plan = (): Plan | undefined => {
    const parts: Array<{ open: Array<Opening>; run: Array<{ id: number; take: number }>; rows: number }> = Array.from(
      { length: dp },
      () => ({ open: [], run: [], rows: 0 })
    )
    const count = counts()
    while (queue.length > 0) {
      const least = count.indexOf(Math.min(...count))
      if (count[least]! >= Math.min(limits.requests, bounds.each) || running.size >= bounds.all) break
      const opening = queue.shift()!
      untold.delete(opening)
      count[least]!++
      running.set(opening.id, { opening, dp: least, bytes: [], planned: 0, sampled: 0 })
      parts[least]!.open.push(opening)
    }
    const advance = (request: Running, take: number): void => {
      const part = parts[request.dp]!
      part.run.push({ id: request.opening.id, take })
      part.rows += take
      request.planned += take
      if (request.planned >= request.opening.tokens.length) request.sampled++
    }
    // Requests that write go first: a long prompt beside them costs them a bounded step, not their turn.
    for (const request of running.values()) {
      if (request.planned >= request.opening.tokens.length && !exhausted(request) && parts[request.dp]!.rows < limits.rows) {
        advance(request, 1)
      }
    }
    for (const request of running.values()) {
      const left = request.opening.tokens.length - request.planned
      const take = Math.min(left, limits.chunk, limits.rows - parts[request.dp]!.rows)
      if (take > 0) advance(request, take)
    }
    if (closing.length + untold.size === 0 && parts.every(({ open, run }) => open.length + run.length === 0)) return undefined
    const keep = [...untold]
    untold.clear()
    const close = [...closing.splice(0), ...dropping.splice(0)]
    told.push(close)
    return { step: step++, parts: parts.map(({ open, run }): Part => ({ open, run })), keep, close }
  }

  const receive = (tokens: Iterable<readonly [number, number]>): ReadonlyArray<Token> => {
    told.shift()
    const out: Array<Token> = []
    for (const [id, byte] of tokens) {
      const request = running.get(id)
      if (request === undefined) continue
      const received = request.bytes.push(byte)
      const full = received >= request.opening.maxTokens || request.opening.tokens.length + received > limits.context
      const finish = byte === 0 ? "stop" : full ? "length" : undefined
      if (finish !== undefined) running.delete(id)
      out.push({ id, byte, finish })
    }
    return out
  }

  const openAgain = (lost: (request: Running) => boolean): void => {
    const again: Array<Opening> = []
    for (const [id, request] of running) {
      if (!lost(request)) continue
      running.delete(id)
      again.push(reopened(request.opening, request.bytes, request.planned))
    }
    queue.unshift(...again)
    for (const opening of named(again)) untold.add(opening)
  }
  const rollBack = (lost: ReadonlySet<number>): void => {
    openAgain(({ opening }) => lost.has(opening.id))
    for (const request of running.values()) {
      const { bytes, opening: { tokens } } = request
      // The byte that was sampled last is known and not taken in; a prompt begins anew, since nobody says how far it had come.
      request.planned = bytes.length === 0 ? 0 : tokens.length + bytes.length - 1
      request.sampled = bytes.length
    }
    // The plans that told of these may be among those that were lost.
    untold = new Set(named(queue))
    closing.unshift(...told.splice(0).flat())
  }

  return {
    submit: (opening) => {
      queue.push(opening)
      if (opening.name !== undefined) untold.add(opening)
    },
    cancel: (id) => {
      const waiting = queue.findIndex((opening) => opening.id === id)
      const [left] = waiting === -1 ? [] : queue.splice(waiting, 1)
      if (left !== undefined) untold.delete(left)
      // One that waits and has a name may be known, also where steps have been lost since; to close what nobody knows is nothing.
      if (running.delete(id) || left?.name !== undefined) closing.push(id)
    },
    drop: (id) => void dropping.push(id),
    resume: (opening, dp, bytes, computed) =>
      void running.set(opening.id, { opening, dp, bytes: [...bytes], planned: computed, sampled: bytes.length }),
    plan,
    receive,
    kept: () => {
      const kept: Array<Array<Kept>> = Array.from({ length: dp }, () => [])
      for (const [id, request] of running) kept[request.dp]!.push({ id, received: request.bytes.length })
      return kept
    },
    rollBack,
    resize: (size, moved, homes = new Map()) => {
      dp = size
      const home = ({ dp, id }: { readonly dp: number; readonly id: number }): number | undefined => homes.get(id) ?? moved[dp]
      openAgain(({ dp, opening: { id } }) => home({ dp, id }) === undefined)
      for (const [id, request] of running) request.dp = home({ dp: request.dp, id })!
    },
    bound: (some) => void (bounds = { ...bounds, ...some }),
    running: counts,
    tokens: () => [...running.values()].reduce((sum, { bytes, opening }) => sum + opening.tokens.length + bytes.length, 0),
    waiting: () => queue.length
  }
}
