import { type Claim, Claims } from "@phalanx/core/Claim"
import * as Cluster from "@phalanx/core/Cluster"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"

interface Kept extends Cluster.Orphan {
  readonly hear: (claim: Claim) => void
}

/** A cluster of fibers that outlive their driver: each `adopt` is another driver, and the scopes of former ones end nobody. */
export const make = Effect.gen(function*() {
  const cluster = yield* Cluster.Cluster
  const home = yield* Effect.scope
  const kept = new Map<string, Kept>()
  const recorded = { epoch: 0, shape: {} as Readonly<Record<string, number>>, members: [] }
  let driver = 0
  let secret = ""
  return {
    kept: () => [...kept.values()],
    cluster: Cluster.Cluster.of({
      spawn: Effect.fnUntraced(function*(spawn) {
        const { identity: { incarnation, member, rank } } = spawn
        const [scope, mine, key] = [yield* Scope.fork(home), driver, `${member}.${incarnation}`]
        secret = spawn.identity.secret
        let hear: Kept["hear"] | undefined
        const process = yield* cluster.spawn(spawn).pipe(
          Scope.provide(scope),
          Effect.provideService(Claims, (f) => hear = f)
        )
        const stop = Effect.suspend(() => {
          kept.delete(key)
          return Effect.scoped(Effect.addFinalizer((exit) => Scope.close(scope, exit)))
        })
        kept.set(key, {
          member,
          incarnation,
          rank,
          process: Effect.acquireRelease(Effect.succeed(process), () => stop),
          hear: (claim) => hear!(claim),
          claim: (claim) => Effect.sync(() => hear!(claim))
        })
        yield* Effect.addFinalizer(() => mine === driver ? stop : Effect.void)
        return process
      }),
      adopt: () =>
        Effect.sync(() => {
          driver++
          const workers = [...kept.values()]
          return { ...recorded, secret, driver, workers, lives: workers, settled: Effect.void }
        })
    })
  }
})
