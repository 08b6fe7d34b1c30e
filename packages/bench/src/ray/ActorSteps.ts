/**
 * Steps by one call of a Ray actor for each rank (`rivals/ray_steps.py`), for comparison. The actors' driver issues calls as soon as they are asked for and answers them in
 * order, so that a step can be under way while the one before it runs, as it can by a queue.
 */
import type { Plan, StepReply } from "@phalanx/moe/Moe"
import type { Ranks } from "@phalanx/moe/Ranks"
import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import { deserialize, serialize } from "node:v8"
import { SystemFailed } from "../Driver.ts"
import * as Foreign from "./Foreign.ts"
import * as Pieces from "./Pieces.ts"

const script = fileURLToPath(new URL("../../rivals/ray_steps.py", import.meta.url))

/** Where the actors are to be, and for each rank the file in which its worker tells of its rings. */
export interface Options extends Foreign.Options {
  readonly rings: ReadonlyArray<string>
}

const failed = (issue: string) => new SystemFailed({ system: "actor calls", issue })

/** Starts the actors; they are gone when the scope ends. */
export const make = Effect.fn("ActorSteps.make")(function*({ rings, ...options }: Options) {
  const child = yield* Foreign.start(script, options, rings)
  child.stdin.on("error", () => {})
  yield* Effect.callback<void, SystemFailed>((resume) => {
    child.stdout.once("data", () => resume(Effect.void))
    child.once("exit", (code) => resume(Effect.fail(failed(`their driver ended with ${code}`))))
  })
  const waiting: Array<(piece: Uint8Array | undefined) => void> = []
  child.stdout.on("data", Pieces.reader((piece) => waiting.shift()?.(piece)))
  child.once("exit", () => waiting.splice(0).forEach((take) => take(undefined)))

  const ask = (kind: "S" | "B", length: number, bytes: Uint8Array, answers: number) =>
    Effect.callback<ReadonlyArray<Uint8Array>>((resume) => {
      const found: Array<Uint8Array> = []
      for (let i = 0; i < answers; i++) {
        waiting.push((piece) => {
          if (piece === undefined) resume(Effect.die(failed("their driver has ended")))
          else if (found.push(piece) === answers) resume(Effect.succeed(found))
        })
      }
      const head = Buffer.alloc(5)
      head.write(kind)
      head.writeUInt32LE(length, 1)
      child.stdin.write(Buffer.concat([head, bytes]))
    })

  const step = (plan: Plan): Effect.Effect<ReadonlyArray<StepReply>> =>
    Effect.suspend(() => {
      const bytes = serialize(plan)
      return Effect.map(ask("S", bytes.length, bytes, rings.length), (replies) => replies.map((reply) => deserialize(reply)))
    })
  return {
    /** The same ranks, but for their steps. */
    over: (ranks: Ranks["Service"]): Ranks["Service"] =>
      Object.create(ranks, { call: { value: Object.create(ranks.call, { step: { value: step } }) } }),
    /** Microseconds of so many fan-outs to actors that answer at once, timed where they are called from. */
    bare: (count: number): Effect.Effect<ReadonlyArray<number>> =>
      Effect.map(ask("B", count, new Uint8Array(), 1), ([times]) => JSON.parse(new TextDecoder().decode(times)))
  }
})
