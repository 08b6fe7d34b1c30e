/**
 * This process's doorbell for one group, hung once however many of the group's queues the process uses, and the ringers of others.
 */
import type { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Doorbell from "./doorbell.ts"
import * as Files from "./files.ts"
import type { Host, Hung } from "./host.ts"
import type { Machine, Word } from "./memory.ts"

/** The name of this process's doorbell in the folder, for the group whose files have this prefix; taken down with its last user. */
export const acquire = (host: Host, folder: string, prefix: string): Effect.Effect<string, QueueError, Scope.Scope> => {
  const { hung, machine, pid, poller } = host
  const key = `${folder}/${prefix}`
  return Effect.map(
    Effect.acquireRelease(
      Effect.suspend(() => {
        const present = hung.get(key)
        if (present !== undefined) {
          present.users++
          return Effect.succeed(present)
        }
        const created: Hung = { name: Files.nameOf(prefix, pid), scope: Scope.makeUnsafe(), users: 1 }
        return Effect.map(machine.park(folder, created.name, poller.wake).pipe(Scope.provide(created.scope)), () => {
          hung.set(key, created)
          return created
        })
      }),
      (bell) =>
        Effect.suspend(() => {
          if (--bell.users > 0) return Effect.void
          hung.delete(key)
          return Scope.close(bell.scope, Exit.void)
        })
    ),
    (bell) => bell.name
  )
}

/** Wakes one process; opens its doorbell when it first has to be rung, which is when that process has parked. */
export class LazyRinger {
  private ringer: Doorbell.Ringer | undefined
  private broken = false
  private readonly machine: Machine
  private readonly folder: string
  private readonly name: () => string
  private readonly parked: Word

  constructor(machine: Machine, folder: string, name: () => string, parked: Word) {
    this.machine = machine
    this.folder = folder
    this.name = name
    this.parked = parked
  }

  /** As of `Doorbell.Ringer`. */
  wake(): void {
    this.open()?.wake()
  }

  /** As of `Doorbell.Ringer`. */
  rouse(): void {
    this.open()?.rouse()
  }

  private open(): Doorbell.Ringer | undefined {
    if (Doorbell.awaited(this.parked.memory.load(this.parked.index)) === 0) return undefined
    if (this.ringer === undefined && !this.broken) {
      try {
        this.ringer = new Doorbell.Ringer(this.machine.wake(this.folder, this.name()), this.parked)
      } catch {
        // A process that ends takes its doorbell down: there is nobody to wake.
        this.broken = true
      }
    }
    return this.ringer
  }

  close(): void {
    this.ringer?.close()
    this.ringer = undefined
    this.broken = true
  }
}
