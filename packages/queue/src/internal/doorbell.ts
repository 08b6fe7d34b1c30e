/**
 * How a process is woken: one FIFO, which libuv polls together with everything else the process waits for. It is rung only if the sleeper's
 * *parked* word says so. The sleeper sets that word and then reads the counters again, so that a ring is never lost: either it sees what was
 * published, or the publisher sees the word.
 */
import { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { isName, remove } from "./files.ts"
import { errorName, libc } from "./libc.ts"
import type { Bell, Word } from "./memory.ts"
import { failure } from "./segment.ts"

// Reading and writing both, so that it neither ends nor breaks when the process at the other end does.
const flags = Fs.constants.O_RDWR | Fs.constants.O_NONBLOCK | Fs.constants.O_NOFOLLOW

const stroke = new Uint8Array(1)

const open = (path: string): number => {
  const fd = Fs.openSync(path, flags)
  if (Fs.fstatSync(fd).isFIFO()) return fd
  Fs.closeSync(fd)
  throw failure("open doorbell", path, "not a FIFO")
}

const refuse = (operation: string, path: string) => (cause: unknown): QueueError =>
  cause instanceof QueueError ? cause : failure(operation, path, (cause as NodeJS.ErrnoException).code ?? String(cause))

/** A doorbell of this process: calls `onRing` on a turn of the event loop after somebody rang. Removed when the scope closes. */
export const hang = (folder: string, name: string, onRing: () => void): Effect.Effect<void, QueueError, Scope.Scope> => {
  const path = Path.join(folder, name)
  return Effect.acquireRelease(
    Effect.try({
      try: () => {
        if (libc().mkfifo(path, 0o600) !== 0) throw failure("create doorbell", path, errorName())
        try {
          const onread = { buffer: new Uint8Array(4096), callback: () => (onRing(), true) }
          const socket = new Net.Socket({ fd: open(path), readable: true, writable: false, onread })
          socket.on("error", () => socket.destroy())
          socket.resume()
          return socket
        } catch (cause) {
          remove(folder, name)
          throw cause
        }
      },
      catch: refuse("create doorbell", path)
    }),
    (socket) =>
      Effect.sync(() => {
        socket.destroy()
        remove(folder, name)
      })
  )
}

/** Another process's doorbell. Throws `QueueError`. */
export const find = (folder: string, name: string): Bell => {
  const path = Path.join(folder, name)
  if (!isName(name)) throw failure("open doorbell", path, "not the name of a doorbell")
  let fd: number | undefined
  try {
    fd = open(path)
  } catch (cause) {
    throw refuse("open doorbell", path)(cause)
  }
  return {
    ring: () => {
      if (fd === undefined) return
      try {
        Fs.writeSync(fd, stroke, 0, 1)
      } catch {
        // A full FIFO wakes its reader as well as one more byte would.
      }
    },
    close: () => {
      if (fd !== undefined) Fs.closeSync(fd)
      fd = undefined
    }
  }
}

/*
 * A parked word says in its lower bits for how many messages its process sleeps, and above them which sleep it is. Whoever brings the last of them
 * rings before it takes the word down, so that nothing is lost if it dies or is stopped in between; and as no sleep has the number of
 * another, it cannot take down the word of a later one.
 */
export const countBits = 12
const mostCounted = (1 << countBits) - 1

/** For how many messages somebody sleeps whose parked word holds this; 0: nobody does. */
export const awaited = (word: number): number => word & mostCounted

/** A parked word of this process. */
export class Bed {
  private readonly word: Word
  private sleeps = 0

  constructor(word: Word) {
    this.word = word
  }

  /** How many messages are to come before this process has something to do, at the most; 0: it is awake. */
  park(messages: number): void {
    const { index, memory } = this.word
    memory.store(index, messages === 0 ? 0 : (++this.sleeps << countBits) | Math.min(messages, mostCounted))
  }
}

/** Another process's doorbell, and the word that says whether it has to be rung. */
export class Ringer {
  private readonly bell: Bell
  private readonly parked: Word

  constructor(bell: Bell, parked: Word) {
    this.bell = bell
    this.parked = parked
  }

  /** To be called after something that the sleeper may wait for was published: counts it, and rings if it was the last. */
  wake(): void {
    const { index, memory } = this.parked
    for (let seen = memory.load(index); awaited(seen) > 0;) {
      const isLast = awaited(seen) === 1
      if (isLast) this.bell.ring()
      const found = memory.compareExchange(index, seen, seen - 1)
      if (isLast || found === seen) return
      seen = found
    }
  }

  /** Wakes the sleeper whatever it waits for. */
  rouse(): void {
    const { index, memory } = this.parked
    const seen = memory.load(index)
    if (awaited(seen) === 0) return
    this.bell.ring()
    memory.compareExchange(index, seen, seen - awaited(seen))
  }

  close(): void {
    this.bell.close()
  }
}
