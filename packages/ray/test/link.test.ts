import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe } from "../../../test/harness/ray.ts"
import * as Link from "../src/internal/link.ts"

const python = fileURLToPath(new URL("./fixtures/withoutRay.py", import.meta.url))

const until = (holds: () => boolean) =>
  Effect.timeout(Effect.repeat(Effect.sync(holds), { until: (held) => held, schedule: Schedule.spaced("5 millis") }), "5 seconds")

const lives = (pid: number): boolean => Fs.existsSync(`/proc/${pid}/exe`)

describe("the bridge's lives", () => {
  it.live("RY-5: a bridge whose asker has gone before it knew its workers ends", () =>
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "phalanx-link-"))),
        (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
      )
      const [interpreter, started, asked] = ["interpreter", "started", "asked"].map((name) => join(folder, name))
      const write = (command: string): void => Fs.writeFileSync(interpreter!, `#!/bin/sh\n${command}\n`, { mode: 0o755 })
      const pids = () => Fs.readFileSync(started!, "utf8").split("\n").slice(0, -1).map(Number)
      const whole = `echo $$ >>${started}; ASKED=${asked} exec ${python} "$@"`
      write(whole)
      const news: Array<string> = []
      const { bridge } = yield* Link.make({
        python: interpreter!,
        address: "127.0.0.1:6379",
        namespace: "test",
        runtimeEnv: null,
        token: undefined,
        ttl: 60,
        within: 10,
        news: (text) => void news.push(text)
      })
      write("exit 1")
      process.kill(pids()[0]!, "SIGKILL")
      yield* until(() => news.length > 0)
      // The link itself has tried in vain.
      yield* Effect.flip(bridge)
      write(whole)
      const asking = yield* Effect.forkChild(bridge, { startImmediately: true })
      yield* until(() => Fs.existsSync(asked!))
      yield* Fiber.interrupt(asking)
      yield* until(() => !lives(pids()[1]!))
      assert.lengthOf(pids(), 2)
    }).pipe(Effect.scoped))
})
