import { Collectives } from "@phalanx/core/Collectives"
import * as Worker from "@phalanx/core/Worker"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Resident from "../Resident.ts"
import { Mortal } from "./Mortal.ts"

export default Worker.make(
  Mortal,
  Mortal.toLayer(Effect.gen(function*() {
    const collectives = yield* Collectives
    return Mortal.of({
      hello: ({ n }) => Effect.succeed(n + 1),
      hold: () => Effect.never,
      compute: ({ millis }) =>
        Effect.sync(() => {
          const end = performance.now() + millis
          while (performance.now() < end) { /* nobody else runs here */ }
        }),
      echo: ({ bytes }) => Effect.succeed(bytes),
      count: ({ to }) => Stream.range(1, to),
      resident: () => Resident.afterCollection,
      meet: () => collectives.barrier
    })
  }))
)
