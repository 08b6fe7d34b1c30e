import * as Collectives from "@phalanx/core/Collectives"
import * as Worker from "@phalanx/core/Worker"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Load } from "./loadProtocol.ts"

export default Worker.make(
  Load,
  Load.toLayer(Effect.gen(function*() {
    const collectives = yield* Collectives.Collectives
    return Load.of({
      echo: ({ bytes }) => Effect.succeed(bytes),
      count: ({ to }) => Stream.range(1, to),
      gather: ({ bytes }) => Effect.orDie(Effect.map(collectives.allGather(new Uint8Array(bytes)), (parts) => parts.length)),
      block: () =>
        Effect.sync(() => {
          process.stdout.write("blocked\n")
          for (;;);
        })
    })
  }))
)
