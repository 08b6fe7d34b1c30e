/** The model's worker, whose steps come by a ring of the folder that PHALANX_STEP_RINGS names instead of its group's, and are answered by another; all else by its group's. */
import * as Worker from "@phalanx/core/Worker"
import { Moe } from "@phalanx/moe/Moe"
import model from "@phalanx/moe/worker"
import * as MessageQueue from "@phalanx/queue/MessageQueue"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { deserialize, serialize } from "node:v8"

const steps = Layer.effectDiscard(Effect.gen(function*() {
  const { rank, worldSize } = yield* Worker.Self
  const step = yield* Moe.accessHandler("step")
  const folder = process.env["PHALANX_STEP_RINGS"]!
  // As in the group's own rings, nobody looks for messages where there are fewer processors than processes.
  const spin = worldSize < availableParallelism() ? "100 micros" : 0
  const queue = MessageQueue.make({ readers: 1, capacity: 1024 * 1024, folder, name: "steps", spin })
  // The actor writes this one, in place of this process, which makes it, reads it and takes it down.
  const { handle } = yield* queue
  const asked = yield* MessageQueue.attach(handle, 0)
  const answers = yield* queue
  const told = (handle: MessageQueue.Handle) => ({ handle, places: MessageQueue.places(handle, 0) })
  writeFileSync(join(folder, String(rank)), JSON.stringify({ asked: told(handle), answers: told(answers.handle) }))
  const answer = Effect.gen(function*() {
    const bytes = yield* asked.takeBytes
    const reply = yield* step(deserialize(bytes), {} as never) as Effect.Effect<unknown, unknown>
    yield* answers.publishBytes(serialize(reply))
  })
  yield* Effect.forkScoped(Effect.onError(Effect.forever(answer), () => answers.close))
}))

export default Worker.make(Moe, Layer.provideMerge(steps, model.layer))
