/** What the queues of a process stand on. A process has one; a simulation has one for each process that it simulates. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Doorbell from "./doorbell.ts"
import * as Files from "./files.ts"
import { type Machine, MappedMemory } from "./memory.ts"
import { Poller } from "./poller.ts"
import * as Segment from "./segment.ts"

/** A doorbell of this process, for one group. */
export interface Hung {
  readonly name: string
  readonly scope: Scope.Closeable
  users: number
}

export interface Host {
  readonly machine: Machine
  readonly pid: number
  readonly poller: Poller
  /** The doorbells by folder and prefix of their group's files. */
  readonly hung: Map<string, Hung>
}

export const make = (machine: Machine, pid: number = process.pid): Host => ({ machine, pid, poller: new Poller(), hung: new Map() })

const files: Machine = {
  reserve: Segment.reserve,
  create: (folder, name, bytes) => Effect.map(Segment.create(folder, name, bytes), (buffer) => new MappedMemory(buffer)),
  attach: (folder, name, bytes) => Effect.map(Segment.attach(folder, name, bytes), (buffer) => new MappedMemory(buffer)),
  sweepOf: Files.sweep,
  sweepAtEnd: Files.sweepAtEnd,
  park: Doorbell.hang,
  wake: Doorbell.find
}

/** The host of whoever opens or attaches queues: this process, on the files of its machine. */
export const Host: Context.Reference<Host> = Context.Reference<Host>("@phalanx/queue/Host", { defaultValue: () => make(files) })
