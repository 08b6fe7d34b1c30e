import { assert, describe, it } from "@effect/vitest"
import type { Snapshot } from "@phalanx/core/Snapshot"
import * as Registry from "@phalanx/node/Registry"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import * as Net from "node:net"
import { join } from "node:path"
import { registry } from "./fixtures/registry.ts"

describe("asking a driver", () => {
  const snapshot: Snapshot = {
    epoch: 2,
    mesh: { dp: 2 },
    window: { requests: 64, bytes: 1024 },
    members: [{
      id: 0,
      rank: 0,
      incarnation: 1,
      state: "serving",
      open: [{ id: 7, method: "step", ageMillis: 12.5, admitted: true, abandoned: false }],
      requests: 1,
      bytes: 100,
      waiting: 0
    }],
    counters: { late: 0, unexpected: 0, fenced: 0 }
  }
  const asked = Effect.gen(function*() {
    const { enter, groups } = yield* registry
    yield* enter({ group: "asked-00000000", secret: "00ff", snapshot: () => snapshot })
    const { groups: [group] } = yield* groups
    return group!
  })

  /** Everything that the driver answers to bytes of any kind. */
  const say = (path: string, bytes: string) =>
    Effect.callback<string>((resume) => {
      let heard = ""
      const socket = Net.connect(path, () => socket.write(bytes)).setEncoding("utf8")
      socket.on("data", (text: string) => heard += text).on("error", () => {}).on("close", () => resume(Effect.succeed(heard)))
      return Effect.sync(() => socket.destroy())
    })

  it.live("RE-5: gives a snapshot to who knows the secret, and to nobody else a byte", () =>
    Effect.gen(function*() {
      const group = yield* asked
      assert.deepStrictEqual(yield* Registry.ask(group), snapshot)
      const other = { ...group, record: { ...group.record, secret: "00fe" } }
      assert.match((yield* Effect.flip(Registry.ask(other))).message, /the driver refused to answer/)
      const socket = join(group.folder, "driver.sock")
      assert.strictEqual(Fs.statSync(socket).mode & 0o777, 0o600)
      for (const bytes of ["\n", "hello\n", "{\"secret\":\"00ff\"}\n", "{\"secret\":1,\"ask\":\"snapshot\"}\n", "x".repeat(5000)]) {
        assert.strictEqual(yield* say(socket, bytes), "")
      }
      // Somebody who says nothing keeps nobody from asking, and is left after a while.
      const silent = yield* Effect.forkChild(say(socket, ""), { startImmediately: true })
      assert.deepStrictEqual(yield* Registry.ask(group), snapshot)
      assert.isTrue(Option.isSome(yield* Effect.timeoutOption(Fiber.join(silent), "5 seconds")))
    }))

  it.live("is an error that says why if it does not answer: busy, gone, or without a word about itself", () =>
    Effect.gen(function*() {
      const { enter, groups } = yield* registry
      yield* enter({ group: "busy-00000000", secret: "00" })
      yield* enter({ group: "mute-00000000", secret: "00" })
      const [busy, mute] = (yield* groups).groups
      // As if its event loop did not get to it: the system connects, nobody answers.
      const server = Net.createServer().listen(join(busy!.folder, "driver.sock"))
      yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
      assert.match(
        (yield* Effect.flip(Registry.ask(busy!))).message,
        /the driver did not answer within 1000 ms\. Its event loop is blocked/
      )
      assert.match((yield* Effect.flip(Registry.ask(mute!))).message, /ENOENT/)
    }))
})
