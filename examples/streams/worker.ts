import * as Worker from "@phalanx/core/Worker"
import { Effect, Schema, Stream } from "effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"

export class Squares extends RpcGroup.make(
  Rpc.make("squares", { success: Schema.Int, stream: true }).annotate(Worker.Concurrent, true),
  Rpc.make("made", { success: Schema.Int })
) {}

/** Each rank squares every second number, without end, as far as its reader takes what it makes. */
export default Worker.make(
  Squares,
  Squares.toLayer(Effect.gen(function*() {
    const { rank, worldSize } = yield* Worker.Self
    let made = 0
    return Squares.of({
      squares: () =>
        Stream.iterate(rank, (n) => n + worldSize).pipe(
          Stream.tap(() => Effect.sync(() => made++)),
          Stream.map((n) => n * n),
          Stream.rechunk(5)
        ),
      made: () => Effect.sync(() => made)
    })
  }))
)
