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
import * as keeperLink from "./keeperLink.ts"
import type * as keeping from "./keeping.ts"
import * as processes from "./processes.ts"

export type Options = keeperLink.Options

/** Starts a worker of a group that is entered into the registry. */
export type Spawn = (entry: Entry, worker: Cluster.Spawn) => Effect.Effect<Cluster.Process, SpawnError, Scope.Scope>

export const make = (options: Options): Spawn => {
  const unkept = processes.make(options)
  const links = new WeakMap<Entry, Deferred.Deferred<keeperLink.Link, keeping.Refusal>>()

  /** Whoever asks first starts it, for all, and for as long as the group is. */
  const open = (entry: Entry): Effect.Effect<keeperLink.Link, keeping.Refusal> =>
    Effect.suspend(() => {
      const opened = Deferred.makeUnsafe<keeperLink.Link, keeping.Refusal>()
      links.set(entry, opened)
      return keeperLink.open(entry, options).pipe(
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
      return Effect.flatMap(Deferred.await(opened), (link) => {
        if (!link.isLost()) return Effect.succeed(link)
        return links.get(entry) === opened ? open(entry) : linkOf(entry)
      })
    })

  return Effect.fnUntraced(function*(entry, worker) {
    const { entry: module, identity } = worker
    // It says why that cannot be.
    if (!(module instanceof URL)) return yield* unkept.spawn(worker)
    return yield* Effect.flatMap(linkOf(entry), ({ spawn }) => spawn(module, identity)).pipe(
      Effect.mapError((refusal) => new SpawnError({ rank: identity.rank, node: hostname(), entry: module.href, stderr: [], ...refusal }))
    )
  })
}
