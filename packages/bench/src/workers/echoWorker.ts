import * as Worker from "@phalanx/core/Worker"
import * as Effect from "effect/Effect"
import { Echo } from "./Echo.ts"

export default Worker.make(
  Echo,
  Echo.toLayer({
    text: ({ x }) => Effect.succeed(x.length),
    bytes: ({ x }) => Effect.succeed(x.length),
    hang: () =>
      Effect.sync(() => {
        for (;;) { /* until it is killed */ }
      })
  })
)
