/** The model's worker, whose steps come by a socket of the folder that PHALANX_STEP_SOCKETS names instead of its group's queue, all else by that. */
import * as Worker from "@phalanx/core/Worker"
import { Moe } from "@phalanx/moe/Moe"
import model from "@phalanx/moe/worker"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import { createServer, type Socket } from "node:net"
import { join } from "node:path"
import process from "node:process"
import { deserialize, serialize } from "node:v8"
import * as Pieces from "../ray/Pieces.ts"

interface Asked {
  readonly socket: Socket
  readonly bytes: Uint8Array
}

const steps = Layer.effectDiscard(Effect.gen(function*() {
  const { rank } = yield* Worker.Self
  const step = yield* Moe.accessHandler("step")
  const asked = yield* Queue.unbounded<Asked>()
  const server = createServer((socket) => {
    socket.on("error", () => {}).on("data", Pieces.reader((bytes) => Queue.offerUnsafe(asked, { socket, bytes })))
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(join(process.env["PHALANX_STEP_SOCKETS"]!, String(rank)), () => resume(Effect.void))
    }),
    () => Effect.sync(() => server.close())
  )
  yield* Effect.forkScoped(Effect.forever(Effect.gen(function*() {
    const { bytes, socket } = yield* Queue.take(asked)
    const reply = yield* Effect.onError(
      step(deserialize(bytes), {} as never) as Effect.Effect<unknown, unknown>,
      (cause) => Effect.sync(() => socket.destroy(new Error(Cause.pretty(cause))))
    )
    socket.write(Pieces.piece(serialize(reply)))
  })))
}))

export default Worker.make(Moe, Layer.provideMerge(steps, model.layer))
