/**
 * The requests that a generator knows: what each has written, who reads it, and for how long those that have ended can still be read.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Event, GenerationError, Known, RequestError } from "../Generator.ts"
import { end } from "../Model.ts"
import type { Opening } from "../Moe.ts"
import type { Token } from "../Scheduler.ts"

type Outbox = Queue.Queue<Event, RequestError | GenerationError | Cause.Done>

/** One request. */
export interface Entry {
  readonly opening: Opening
  readonly bytes: Array<number>
  finish: "stop" | "length" | undefined
  /** From which byte on each of them reads. */
  readonly readers: Map<Outbox, number>
  /** Done when its ranks have it. */
  readonly accepted: Deferred.Deferred<void, RequestError | GenerationError>
}

/** Results that are kept at most. */
export const mostResults = 1024

export interface Options {
  /** Milliseconds, by the clock that `now` reads. */
  readonly keptFor: number
  readonly now: () => number
  /** Called for a result that is kept no longer. */
  readonly drop: (id: number) => void
}

export const make = ({ drop, keptFor, now }: Options) => {
  const entries = new Map<number, Entry>()
  const ids = new Map<string, number>()
  /** When requests with a name ended, the first one first. */
  const ended = new Map<number, number>()

  const forget = (entry: Entry): void => {
    const { id, name } = entry.opening
    entries.delete(id)
    ended.delete(id)
    if (name !== undefined) ids.delete(name)
  }
  const sweep = (): void => {
    for (const [id, at] of ended) {
      if (ended.size <= mostResults && now() - at < keptFor) return
      forget(entries.get(id)!)
      drop(id)
    }
  }
  const finish = (entry: Entry, how: "stop" | "length"): void => {
    entry.finish = how
    for (const outbox of entry.readers.keys()) {
      Queue.offerUnsafe(outbox, { _tag: "End", finish: how })
      Queue.endUnsafe(outbox)
    }
    if (entry.opening.name === undefined) return forget(entry)
    ended.set(entry.opening.id, now())
    sweep()
  }
  const write = (entry: Entry, byte: number): void => {
    const position = entry.bytes.push(byte) - 1
    for (const [outbox, from] of entry.readers) if (position >= from) Queue.offerUnsafe(outbox, { _tag: "Byte", byte })
  }
  const fail = ({ accepted, readers }: Entry, error: RequestError | GenerationError): void => {
    Deferred.doneUnsafe(accepted, Exit.fail(error))
    for (const outbox of readers.keys()) Queue.failCauseUnsafe(outbox, Cause.fail(error))
  }
  const add = (opening: Opening): Entry => {
    const entry: Entry = { opening, bytes: [], finish: undefined, readers: new Map(), accepted: Deferred.makeUnsafe() }
    entries.set(opening.id, entry)
    if (opening.name !== undefined) ids.set(opening.name, opening.id)
    return entry
  }
  const accept = (id: number): void => {
    const entry = entries.get(id)
    if (entry !== undefined) Deferred.doneUnsafe(entry.accepted, Exit.void)
  }

  return {
    add,
    accept,
    /** One that its ranks have had before, with what it has written, the 0 at its end included. */
    inherit: (opening: Opening, written: ReadonlyArray<number>, hasEnded: boolean): void => {
      const entry = add(opening)
      accept(opening.id)
      const stops = written.at(-1) === end
      entry.bytes.push(...stops ? written.slice(0, -1) : written)
      if (hasEnded) finish(entry, stops ? "stop" : "length")
    },
    named: (name: string): Entry | undefined => {
      sweep()
      return entries.get(ids.get(name) ?? -1)
    },
    has: (id: number): boolean => entries.has(id),
    open: (): ReadonlyArray<Entry> => [...entries.values()].filter(({ finish }) => finish === undefined),
    take: ({ byte, finish: how, id }: Token): void => {
      const entry = entries.get(id)
      if (entry === undefined) return
      if (byte !== end) write(entry, byte)
      if (how !== undefined) finish(entry, how)
    },
    /** Takes one out that has not ended, which its readers are told. */
    cancel: (entry: Entry, error: RequestError): void => {
      forget(entry)
      fail(entry, error)
    },
    fail: (error: GenerationError): void => {
      for (const entry of entries.values()) {
        forget(entry)
        fail(entry, error)
      }
    },
    read: (entry: Entry, from: number): Stream.Stream<Event, RequestError | GenerationError> =>
      Stream.unwrap(Effect.gen(function*() {
        const outbox = yield* Queue.unbounded<Event, RequestError | GenerationError | Cause.Done>()
        for (const byte of entry.bytes.slice(from)) Queue.offerUnsafe(outbox, { _tag: "Byte", byte })
        if (entry.finish === undefined) {
          entry.readers.set(outbox, from)
          yield* Effect.addFinalizer(() => Effect.sync(() => entry.readers.delete(outbox)))
        } else {
          Queue.offerUnsafe(outbox, { _tag: "End", finish: entry.finish })
          Queue.endUnsafe(outbox)
        }
        return Stream.fromQueue(outbox)
      })),
    known: (): ReadonlyArray<Known> => {
      sweep()
      return [...ids].map(([name, id]) => {
        const { bytes, finish } = entries.get(id)!
        return { id: name, state: finish === undefined ? "open" : "ended", written: bytes.length }
      })
    }
  }
}
