/** Those who come to a port that is none of theirs. */
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import type { Random } from "./random.ts"

/** The beginning of ZMTP's greeting: who sends it and no more is half a peer. */
const greeting = Buffer.from("ff00000000000000017f0301435552564500000000", "hex")

const say = (socket: Net.Socket, random: Random): void => {
  const what = random.between(0, 3)
  if (what === 0) return
  if (what === 1) return void socket.write(greeting)
  const noise = Buffer.from(Array.from({ length: random.between(1, 4000) }, () => random.between(0, 255)))
  socket.write(what === 2 ? noise : Buffer.concat([greeting, noise]))
}

/** Connects again and again for so long: says nothing, half a greeting, a greeting with noise behind it, or noise; hangs up, or stays to the end. */
export const floodPort = (port: number, millis: number, random: Random): Effect.Effect<void> => {
  const sockets = new Set<Net.Socket>()
  const come = Effect.sync(() => {
    for (let count = random.between(1, 5); count > 0; count--) {
      const socket = Net.connect({ host: "127.0.0.1", port })
      sockets.add(socket)
      socket.on("error", () => {}).on("close", () => void sockets.delete(socket)).resume()
      socket.on("connect", () => {
        say(socket, random)
        if (random.chance(0.5)) socket.resetAndDestroy()
      })
    }
  })
  return come.pipe(
    Effect.delay(10),
    Effect.forever,
    Effect.timeoutOption(millis),
    Effect.ensuring(Effect.sync(() => {
      for (const socket of sockets) socket.destroy()
    })),
    Effect.asVoid
  )
}
