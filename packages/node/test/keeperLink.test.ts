import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Net from "node:net"
import { join } from "node:path"
import * as keeperLink from "../src/internal/keeperLink.ts"
import * as keeping from "../src/internal/keeping.ts"
import * as Proof from "../src/internal/proof.ts"
import * as OsProcess from "../src/OsProcess.ts"
import type { Entry } from "../src/Registry.ts"
import { folder } from "./fixtures/system.ts"

const secret = "5ec2e7"
const worker = { member: 0, incarnation: 0 }
const end = { death: { _tag: "Killed", signal: "SIGKILL" }, stderr: ["last words"] }

/** A keeper that has more to say as soon as it has welcomed somebody, in the same piece or in the next one. */
const keeper = (path: string, piece: "same" | "next") =>
  Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const server = Net.createServer((socket) => {
        const nonce = keeping.nonce()
        socket.on("error", () => {})
        keeping.listen(socket, (line) => {
          const { _tag, ask, generation, nonce: theirs } = JSON.parse(line)
          if (_tag === "End") socket.end()
          if (ask !== undefined) socket.write(keeping.line({ _tag: "Done", ask }))
          if (theirs === undefined) return true
          const welcome = keeping.line({
            proof: Proof.of(secret, keeping.about("keeper", theirs, generation)),
            workers: [{ ...worker, rank: 0, pid: process.pid }],
            lives: [worker]
          })
          const more = keeping.line({ _tag: "Printed", rank: 0, stream: "stdout", text: "still here" })
            + keeping.line({ _tag: "Ended", worker, end })
          if (piece === "same") socket.write(welcome + more)
          else socket.write(welcome, () => socket.write(more))
          return true
        })
        socket.write(keeping.line({ nonce }))
      })
      server.listen(path, () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
  )

/** A lease of such a keeper, and what workers have printed. */
const link = Effect.fnUntraced(function*(piece: "same" | "next", grace: number) {
  const path = yield* folder
  yield* keeper(join(path, keeping.socketName), piece)
  const entry: Entry = {
    folder: path,
    group: "group",
    secret,
    generation: 1,
    scope: yield* Effect.scope,
    replace: () => {},
    isReplaced: () => true,
    keptBy: () => Effect.void,
    carriedBy: () => Effect.void,
    seat: () => Effect.void,
    keep: () => Effect.void
  }
  const lines: Array<string> = []
  const options: keeperLink.Options = {
    queues: {},
    print: ({ text }) => void lines.push(text),
    grace,
    env: {},
    execArgv: [],
    node: process.execPath,
    lease: 30_000
  }
  const { isLost, orphans } = yield* keeperLink.open(entry, options, { keeper: OsProcess.of(process.pid), fenced: () => {} })
  return { isLost, lines, orphan: orphans[0]!.process }
})

describe("the link to a keeper", () => {
  for (const piece of ["same", "next"] as const) {
    it.live(`KE-2: what it says right after its welcome, in the ${piece} piece, is heard`, () =>
      Effect.gen(function*() {
        const { isLost, lines, orphan } = yield* link(piece, 1000)
        const ended = yield* Effect.scoped(Effect.flatMap(orphan, (process) => process.end))
        assert.deepStrictEqual([ended, lines, isLost()], [end, ["still here"], false])
      }).pipe(Effect.scoped))
  }

  it.live("KE-4: a driver that was held up for long reads the answer of its keeper before it gives it up", () =>
    Effect.gen(function*() {
      const { isLost, orphan } = yield* link("same", 0)
      const stopping = yield* Effect.forkChild(Effect.scoped(orphan), { startImmediately: true })
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1100)
      yield* Fiber.join(stopping)
      assert.isFalse(isLost())
    }).pipe(Effect.scoped))
})
