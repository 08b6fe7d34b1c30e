/**
 * Workers as children of keepers, one a group: a keeper is started when the first worker of its group is asked for. One that is lost has taken its
 * workers with it; the next worker that is asked for gets another one.
 */
import type * as Cluster from "@phalanx/core/Cluster"
import { SpawnError } from "@phalanx/core/WorkerError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { hostname } from "node:os"
import type { Entry } from "../Registry.ts"
import * as WorkerProcess from "../WorkerProcess.ts"
import * as keeperLink from "./keeperLink.ts"
import type * as keeping from "./keeping.ts"

const replaced: keeping.Refusal = {
  phase: "start",
  issue: "another driver has taken the group over",
  advice: "Leave it to that one, and start a group of another name here"
}

export type Options = keeperLink.Options

export interface Keepers {
  /** Starts a worker of a group that is entered into the registry. */
  readonly spawn: (entry: Entry, worker: Cluster.Spawn) => Effect.Effect<Cluster.Process, SpawnError, Scope.Scope>
  /** Takes the lease of a group's keeper that lives, as long as the group is. */
  readonly adopt: (entry: Entry, present: keeperLink.Present) => Effect.Effect<keeperLink.Link, keeping.Refusal>
}

export const make = (options: Options): Keepers => {
  const links = new WeakMap<Entry, Deferred.Deferred<keeperLink.Link, keeping.Refusal>>()

  /** Whoever asks first starts it, for all, and for as long as the group is. */
  const open = (entry: Entry, present?: keeperLink.Present): Effect.Effect<keeperLink.Link, keeping.Refusal> =>
    Effect.suspend(() => {
      const opened = Deferred.makeUnsafe<keeperLink.Link, keeping.Refusal>()
      links.set(entry, opened)
      return keeperLink.open(entry, options, present).pipe(
        Scope.provide(entry.scope),
        Effect.onError(() => Effect.sync(() => links.delete(entry))),
        Deferred.into(opened),
        Effect.forkIn(entry.scope),
        Effect.andThen(Deferred.await(opened))
      )
    })
  const linkOf = (entry: Entry): Effect.Effect<keeperLink.Link, keeping.Refusal> =>
    Effect.suspend(() => {
      const opened = links.get(entry)
      if (opened === undefined) return open(entry)
      if (entry.isReplaced()) return Effect.fail(replaced)
      return Effect.flatMap(Deferred.await(opened), (link) => {
        if (!link.isLost()) return Effect.succeed(link)
        return links.get(entry) === opened ? open(entry) : linkOf(entry)
      })
    })

  return {
    adopt: open,
    spawn: Effect.fnUntraced(function*(entry, worker) {
      const { entry: module, identity } = worker
      const refuse = (refusal: keeping.Refusal): SpawnError =>
        new SpawnError({
          rank: identity.rank,
          node: hostname(),
          entry: module instanceof URL ? module.href : "a worker value",
          stderr: [],
          ...refusal
        })
      const refusal = WorkerProcess.refusal(module)
      if (refusal !== undefined || !(module instanceof URL)) return yield* refuse(refusal!)
      return yield* Effect.mapError(Effect.flatMap(linkOf(entry), ({ spawn }) => spawn(module, identity)), refuse)
    })
  }
}
