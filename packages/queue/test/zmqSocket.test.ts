import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Dealer } from "zeromq"
import { read } from "../src/internal/zmqSocket.ts"

/** A socket that answers each `receive` with the next of these, and is closed after the last. */
const socketOf = (answers: Array<() => Promise<Array<Buffer>>>) => ({
  get closed() {
    return answers.length === 0
  },
  receive: () => answers.shift()!()
})

const nothing = () => Promise.reject(Object.assign(new Error("Operation was not possible or timed out"), { code: "EAGAIN" }))

describe("a socket of ZeroMQ", () => {
  it.live("MQ-1: is read on when what was there to be received has gone with its connection", () =>
    Effect.gen(function*() {
      const message = [Buffer.from("a")]
      const heard = yield* Effect.callback<Array<Buffer>>((resume) => {
        const socket = socketOf([nothing, nothing, () => Promise.resolve(message), nothing])
        read(socket as unknown as Dealer, (parts) => resume(Effect.succeed(parts)))
      }).pipe(Effect.timeout("5 seconds"))
      assert.strictEqual(heard, message)
    }))
})
