import { Collectives } from "@phalanx/core/Collectives"
import * as Worker from "@phalanx/core/Worker"
import { Effect, Schema } from "effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"

/** Counters by key, each on the one rank that owns it. */
export class Counters extends RpcGroup.make(
  Rpc.make("add", { payload: { key: Schema.String, n: Schema.Int }, success: Schema.Int }),
  /**
   * Gives counters, all or those that have changed since, to whom they will belong: `places` has the place of each rank of the next epoch among those that
   * meet. Answers how many.
   */
  Rpc.make("give", { payload: { places: Schema.Array(Schema.Int), all: Schema.Boolean }, success: Schema.Int }),
  /** Drops what was given and is not needed. */
  Rpc.make("forget"),
  Rpc.make("entries", { success: Schema.Record(Schema.String, Schema.Int) })
) {}

/** The rank, of so many, that owns a key. */
export const ownerOf = (key: string, ranks: number): number => {
  let hash = 0
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash, 31) + key.charCodeAt(i) >>> 0
  return hash % ranks
}

const encode = (entries: ReadonlyArray<readonly [string, number]>) => new TextEncoder().encode(JSON.stringify(entries))
const decode = (bytes: Uint8Array): ReadonlyArray<readonly [string, number]> => JSON.parse(new TextDecoder().decode(bytes))

export default Worker.make(
  Counters,
  Counters.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    const collectives = yield* Collectives
    let counters = new Map<string, number>()
    const changed = new Set<string>()
    /** What it will own in the next epoch. */
    const given = new Map<string, number>()
    let epoch = self.epoch

    /** Another epoch has begun: what it does not own any more is gone, what it was given is its own. */
    const settle = Effect.sync(() => {
      if (self.epoch === epoch) return
      epoch = self.epoch
      const kept = [...counters].filter(([key]) => ownerOf(key, self.worldSize) === self.rank)
      counters = new Map([...kept, ...given])
      given.clear()
      changed.clear()
    })

    return Counters.of({
      add: ({ key, n }) =>
        Effect.map(settle, () => {
          const count = (counters.get(key) ?? 0) + n
          counters.set(key, count)
          changed.add(key)
          return count
        }),
      give: ({ all, places }) =>
        Effect.gen(function*() {
          yield* settle
          const keys = all ? [...counters.keys()] : [...changed]
          changed.clear()
          const { index, ranks } = collectives
          const parts = ranks.map((_, place): Array<readonly [string, number]> =>
            place === index
              ? []
              : keys.filter((key) => places[ownerOf(key, places.length)] === place).map((key) => [key, counters.get(key)!])
          )
          const got = yield* Effect.orDie(collectives.allToAll(parts.map(encode)))
          for (const [key, count] of got.flatMap(decode)) given.set(key, count)
          return parts.flat().length
        }),
      forget: () => Effect.andThen(settle, Effect.sync(() => given.clear())),
      entries: () => Effect.map(settle, () => Object.fromEntries(counters))
    })
  }))
)
