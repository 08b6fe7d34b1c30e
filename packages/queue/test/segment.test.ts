import { assert, describe, it } from "@effect/vitest"
import * as MessageQueue from "@phalanx/queue/MessageQueue"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import process from "node:process"
import * as Files from "../src/internal/files.ts"
import { MappedMemory } from "../src/internal/memory.ts"
import * as Segment from "../src/internal/segment.ts"

const prefix = Files.prefix("segment-test", `${process.pid}`)

// A tmpfs of 1 MiB for one command alone: only root may mount one.
const inSmallFolder = (...command: ReadonlyArray<string>) =>
  spawnSync("unshare", ["-m", "sh", "-c", `mount -t tmpfs -o size=1m tmpfs /mnt && exec "$@"`, "sh", ...command], {
    encoding: "utf8",
    timeout: 15_000
  })
const canMount = inSmallFolder("true").status === 0

describe("segments", () => {
  it.live("SG-2: are files of mode 0600 with unguessable names that begin with phalanx- and the group's, shared by all who attach", () =>
    Effect.gen(function*() {
      const name = Files.name(prefix)
      assert.match(name, /^phalanx-segment-test-[0-9a-f]{16}$/)
      const mine = new MappedMemory(yield* Segment.create("/dev/shm", name, 8192))
      assert.strictEqual(Fs.statSync(`/dev/shm/${name}`).mode & 0o777, 0o600)
      const theirs = new MappedMemory(yield* Segment.attach("/dev/shm", name, 8192))
      mine.store(7, 42)
      assert.strictEqual(theirs.load(7), 42)
      assert.strictEqual(theirs.compareExchange(7, 42, 43), 42)
      assert.strictEqual(mine.get(7), 43)
    }))

  it.live("SG-2: are removed by their creator, while who has attached goes on with the memory", () =>
    Effect.gen(function*() {
      const name = Files.name(prefix)
      const scope = yield* Scope.make()
      const mine = new MappedMemory(yield* Scope.provide(Segment.create("/dev/shm", name, 4096), scope))
      const theirs = new MappedMemory(yield* Segment.attach("/dev/shm", name, 4096))
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(Fs.existsSync(`/dev/shm/${name}`))
      mine.store(0, 1)
      assert.strictEqual(theirs.load(0), 1)
    }))

  it.live("name what is wrong: taken, gone, not a folder, not ours, too short, a path", () =>
    Effect.gen(function*() {
      const name = Files.name(prefix)
      yield* Segment.create("/dev/shm", name, 4096)
      const issues = yield* Effect.forEach([
        Segment.create("/dev/shm", name, 4096),
        Segment.attach("/dev/shm", Files.name(prefix), 4096),
        Segment.create("/dev/shm/no-such-folder", name, 4096),
        Segment.attach("/dev/shm", "passwd", 4096),
        Segment.attach("/dev/shm", `../${name}`, 4096),
        Segment.attach("/dev/shm", name, 8192)
      ], (effect) => Effect.map(Effect.flip(effect), (error) => error.issue))
      assert.deepStrictEqual(issues, [
        "EEXIST",
        "ENOENT",
        "ENOENT",
        "not the name of a segment",
        "not the name of a segment",
        "4096 bytes, where 8192 were announced"
      ])
    }))

  it.live("do not follow a link that lies where a segment should", () =>
    Effect.gen(function*() {
      const name = Files.name(prefix)
      const target = Files.name(prefix)
      yield* Segment.create("/dev/shm", target, 4096)
      yield* Effect.acquireRelease(
        Effect.sync(() => Fs.symlinkSync(`/dev/shm/${target}`, `/dev/shm/${name}`)),
        () => Effect.sync(() => Files.remove("/dev/shm", name))
      )
      assert.strictEqual((yield* Effect.flip(Segment.attach("/dev/shm", name, 4096))).issue, "ELOOP")
    }))

  it.live("D5.12: more than the folder has free is an error that names both numbers, before anything is made", () =>
    Effect.gen(function*() {
      const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "phalanx-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => Fs.rmSync(folder, { recursive: true })))
      const error = yield* Effect.flip(Segment.reserve("open queues", folder, 2 ** 50))
      assert.match(error.issue, /^1125899906842624 bytes \(\d+ MiB\) are needed, \d+ \(\d+ MiB\) are free$/)
      assert.include(error.advice, "--shm-size")
      const queue = yield* Effect.flip(MessageQueue.make({ readers: 1, folder: `${folder}/none` }))
      assert.strictEqual(queue.issue, "ENOENT")
      assert.deepStrictEqual(Fs.readdirSync(folder), [])
    }))

  // Root alone may make the small folder that these need.
  it.skipIf(!canMount)("D5.12: in a folder of 1 MiB, queues that need more fail at the start, and leave nothing", () => {
    const { status, stderr, stdout } = inSmallFolder(process.execPath, Path.join(import.meta.dirname, "fixtures", "small.ts"), "/mnt")
    assert.strictEqual(status, 0, stderr)
    const [reserved, created, left] = JSON.parse(stdout) as [string, string, ReadonlyArray<string>]
    assert.match(reserved, /open queues \/mnt: \d+ bytes \(\d+\.\d+ MiB\) are needed, \d+ \(\d\.\d\d MiB\) are free/)
    assert.match(created, /create segment \/mnt: 1044480 bytes \(1\.00 MiB\) are needed, \d+ \(0\.\d\d MiB\) are free/)
    assert.deepStrictEqual(left, [])
  })

  it("SG-3: stay mapped while a view of them is alive, and are unmapped when none is", () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      ["--expose-gc", Path.join(import.meta.dirname, "fixtures", "unmapped.ts")],
      { encoding: "utf8", timeout: 15_000 }
    )
    assert.strictEqual(status, 0, stderr)
  })
})
