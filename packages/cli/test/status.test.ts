import { assert, describe, it } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as OsProcess from "@phalanx/node/OsProcess"
import * as Registry from "@phalanx/node/Registry"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { runIn } from "../../../test/harness/program.ts"
import * as text from "../src/internal/statusText.ts"
import { look, type Status } from "../src/Status.ts"
import { Stuck } from "./fixtures/stuckProtocol.ts"

const phalanx = "packages/cli/phalanx.mjs"

/** A user's runtime folder. */
const runtime = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "phalanx-test-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true }))
)
const asked = Effect.fnUntraced(function*(env: Record<string, string>) {
  const { code, stderr, stdout } = yield* runIn(env, phalanx, "status", "--json")
  assert.deepStrictEqual([code, stderr], [0, ""])
  return { said: stdout, status: JSON.parse(stdout) as Status }
})
const now = { startImmediately: true } as const

describe("phalanx status", () => {
  it.live("ST-1: tells who is stuck in what method for how long, who waits for whom, and what the system says of each process", () =>
    Effect.gen(function*() {
      const env = { XDG_RUNTIME_DIR: yield* runtime }
      const registry = join(env.XDG_RUNTIME_DIR, "phalanx")
      const group = yield* WorkerGroup.make(Stuck, {
        name: "stuck",
        mesh: Mesh.make({ dp: 3 }),
        entry: new URL("./fixtures/stuck.ts", import.meta.url),
        window: { requests: 2 },
        heartbeat: false
      }).pipe(Effect.provide(NodeCluster.layerWith({ registry, grace: "100 millis" })))
      const pids = group.workers.map(({ pid }) => pid!)
      yield* Effect.forkChild(group.at(0).call.compute(), now)
      yield* Effect.forkChild(group.slice({ dp: [1, 2] }).call.hang(), now)
      yield* Effect.replicateEffect(Effect.forkChild(group.at(1).call.hang(), now), 2)
      process.kill(pids[2]!, "SIGSTOP")
      const computing = OsProcess.of(pids[0]!)
      const used = Effect.sync(() => OsProcess.vitals(computing).cpuMillis)
      const before = yield* used
      yield* Effect.repeat(used, {
        until: (millis) => millis >= before + 300,
        schedule: Schedule.spaced("10 millis")
      })

      const { said, status } = yield* asked(env)
      assert.strictEqual(status.registry, registry)
      assert.strictEqual(status.groups.length, 1)
      const [{ driver, entry, epoch, id, mesh, ranks, silence, transport, waits }] = status.groups as [Status["groups"][number]]
      assert.match(id, /^stuck-[0-9a-f]{8}$/)
      assert.deepStrictEqual([epoch, mesh, transport, silence], [0, { dp: 3 }, "shm", null])
      assert.match(entry, /\/fixtures\/stuck\.ts$/)
      assert.deepStrictEqual([driver.pid, driver.state === "gone"], [process.pid, false])
      assert.deepStrictEqual(
        ranks.map(({ alive, incarnation, process, rank }) => [rank, incarnation, alive, process!.pid]),
        pids.map((pid, rank) => [rank, 0, true, pid])
      )
      assert.deepStrictEqual(ranks.map(({ process }) => process!.state), ["running", "sleeping", "stopped"])
      assert.isAbove(ranks[0]!.process!.cpuMillis, 300)
      for (const { process } of ranks) {
        assert.isAbove(process!.residentBytes, 2 ** 24)
        assert.isBelow(Math.abs(Date.now() - process!.startedAt), 60_000)
      }
      assert.deepStrictEqual(ranks.map(({ calls }) => calls!.open.map(({ admitted, method }) => [method, admitted])), [
        [["compute", true]],
        [["hang", true], ["hang", true], ["hang", false]],
        [["hang", true]]
      ])
      assert.deepStrictEqual(ranks.map(({ calls }) => [calls!.requests, calls!.waiting]), [[1, 0], [2, 1], [1, 0]])
      assert.deepStrictEqual(waits!.map(({ method, ranks }) => [method, ranks]).sort(), [
        ["compute", [0]],
        ["hang", [1]],
        ["hang", [1]],
        ["hang", [1, 2]]
      ])
      assert.isTrue(waits!.every(({ ageMillis }) => ageMillis >= 300))
      // What would let somebody speak for the group is told to nobody.
      const [entryFolder] = Fs.readdirSync(registry)
      const record = JSON.parse(Fs.readFileSync(join(registry, entryFolder!, "record"), "utf8"))
      assert.notInclude(said, record.secret)

      const lines = text.lines(status)
      assert.match(lines[0]!, /^stuck-[0-9a-f]{8} {2}dp 3 {2}epoch 0 {2}over shm {2}driver pid \d+ {2}/)
      assert.match(
        lines[1]!,
        /rank 0 {2}incarnation 0 {2}pid \d+ {2}running .* runs compute since .* m?s, 1 of 2 requests and .* of 16 MiB sent$/
      )
      assert.match(lines[2]!, /rank 1 .* runs hang since .*, 1 wait for it$/)
      assert.match(lines[3]!, /rank 2 .* stopped .* runs hang since/)
      assert.isTrue(lines.some((line) => /^ {2}call \d+, hang, has waited .* m?s for ranks 1, 2$/.test(line)))

      // It has computed enough.
      process.kill(pids[0]!, "SIGSTOP")
      // A driver that is dead, and one that computes: this one, while it waits for the command's end.
      const dead = join(registry, "dead-00000000")
      Fs.mkdirSync(dead)
      Fs.writeFileSync(join(dead, "lock"), "")
      Fs.writeFileSync(join(dead, "record"), JSON.stringify({ ...record, id: "dead-00000000", files: [] }))
      Fs.mkdirSync(join(registry, "damaged"))
      Fs.writeFileSync(join(registry, "damaged", "record"), "{")
      const blocked = spawnSync(process.execPath, [fileURLToPath(new URL("../phalanx.mjs", import.meta.url)), "status", "--json"], {
        encoding: "utf8",
        env: { ...process.env, ...env }
      })
      const later: Status = JSON.parse(blocked.stdout)
      assert.match(later.groups[0]!.silence!, /the driver did not answer within 1000 ms\. Its event loop is blocked/)
      assert.deepStrictEqual(later.groups[0]!.ranks.map(({ alive, calls }) => [alive, calls]), [[true, null], [true, null], [true, null]])
      assert.deepStrictEqual(later.dead, [{ id: "dead-00000000", driver: process.pid, kept: false }])
      assert.strictEqual(later.unreadable.length, 1)
      assert.match(text.lines(later).join("\n"), /dead-00000000: its driver \d+ is dead; .*\nread record in .*damaged: it is not a record/)
    }))

  it.live("ST-1: says so if nothing runs, and why it cannot look", () =>
    Effect.gen(function*() {
      const env = { XDG_RUNTIME_DIR: yield* runtime }
      const nothing = yield* Effect.provide(look, Registry.layerWith({ folder: join(env.XDG_RUNTIME_DIR, "phalanx") }))
      assert.match(text.lines(nothing).join("\n"), /^No group of this user is running \(.*\/phalanx\)\.$/)
      Fs.mkdirSync(join(env.XDG_RUNTIME_DIR, "phalanx"))
      Fs.chmodSync(join(env.XDG_RUNTIME_DIR, "phalanx"), 0o777)
      const { code, stderr } = yield* runIn(env, phalanx, "status")
      assert.strictEqual(code, 1)
      assert.match(stderr, /others may use it: its mode is 777\. Look into it, then `chmod 700/)
      assert.notInclude(stderr, "    at ")
    }))
})
