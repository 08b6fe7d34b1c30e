/** Questions to a driver, and what answers them, over a socket of this machine. */
import { Snapshot } from "@phalanx/core/Snapshot"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { same } from "../../../../test/harness/data.ts"
import { type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { Random } from "../../../../test/harness/random.ts"
import * as inquiry from "../../src/internal/inquiry.ts"
import { mutateJson } from "./texts.ts"

const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "phalanx-ask-"))
process.once("exit", () => Fs.rmSync(folder, { recursive: true, force: true }))
const secret = "0123456789abcdef0123456789abcdef"

const snapshot = (random: Random): Snapshot => ({
  epoch: random.below(3),
  mesh: { dp: 2 },
  window: { requests: 64, bytes: 2 ** 24 },
  members: random.list(2, (id) => ({
    id,
    rank: id,
    incarnation: 0,
    state: random.pick(["starting", "serving", "restarting", "dead"]),
    open: [{ id: random.below(99), method: "add", ageMillis: 0.5, admitted: true, abandoned: false }],
    requests: 1,
    bytes: 100,
    waiting: 0
  })),
  counters: { late: 0, unexpected: 1, fenced: random.below(9) }
})

const asked = snapshot(new Random(1))
let answering: Promise<string> | undefined
/** The folder of a driver that answers; one serves all inputs. */
const serving = (): Promise<string> =>
  answering ??= Effect.runPromise(
    Effect.as(inquiry.serve(folder, secret, () => asked).pipe(Scope.provide(Scope.makeUnsafe())), folder)
  )

/** What the driver says to these bytes. */
const say = (path: string, text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let said = ""
    const socket = Net.connect(path, () => socket.end(text))
    socket.setEncoding("utf8").on("data", (chunk) => said += chunk)
    socket.on("error", (cause: NodeJS.ErrnoException) => cause.code === "EPIPE" || cause.code === "ECONNRESET" ? undefined : reject(cause))
    socket.on("close", () => resolve(said))
  })

export const question: Decoder = {
  name: "inquiryQuestion",
  slow: true,
  sample: () => `${JSON.stringify({ secret, ask: "snapshot" })}\n`,
  mutate: mutateJson,
  judge: async (text: string) => {
    if (typeof text !== "string") return "no text"
    const said = await say(Path.join(await serving(), "driver.sock"), text)
    if (said === "") return "not answered"
    holds(text.includes(secret) && text.includes("snapshot"), "answered somebody who does not know the secret")
    holds(same(JSON.parse(said), { snapshot: JSON.parse(JSON.stringify(asked)) }), "answered something else")
    return "accepted"
  }
}

export const answer: Decoder = {
  name: "inquiryAnswer",
  slow: true,
  sample: (random) => `${JSON.stringify({ snapshot: snapshot(random) })}\n`,
  mutate: mutateJson,
  judge: async (text: string) => {
    if (typeof text !== "string") return "no text"
    const home = Fs.mkdtempSync(Path.join(folder, "answer-"))
    const server = Net.createServer((socket) => {
      socket.on("error", () => {})
      socket.end(text)
      socket.resume()
    })
    await new Promise<void>((resolve) => server.listen(Path.join(home, "driver.sock"), resolve))
    try {
      const exit = await Effect.runPromiseExit(inquiry.ask(home, secret))
      if (Exit.isSuccess(exit)) {
        holds(Schema.is(Snapshot)(exit.value), "took an answer that is no snapshot")
        return "accepted"
      }
      const error = Exit.findErrorOption(exit)
      holds(error._tag === "Some" && error.value._tag === "RegistryError", `failed with ${exit.cause}`)
      return (error as any).value.issue
    } finally {
      server.close()
      Fs.rmSync(home, { recursive: true, force: true })
    }
  }
}
