import { assert, describe, it } from "@effect/vitest"
import * as OsProcess from "@phalanx/node/OsProcess"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { spawn, spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { leaveDead, registry } from "./fixtures/registry.ts"
import { start } from "./fixtures/start.ts"
import { argv, eventually, filesIn, folder, lives } from "./fixtures/system.ts"

/** A process with these words in its command line, which leads a process group and ends when it is ended. */
const processNaming = (...words: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)", ...words], { stdio: "ignore", detached: true })),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  ).pipe(Effect.tap(({ pid }) => eventually("its command line is there", () => argv(pid!).includes(words.at(-1)!))))

/** A process whose group's leader has gone, and the leader's number. */
const leftBehind = (env: Record<string, string>) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly leader: number; readonly left: number }>((resume) => {
      const leader = spawn("sh", ["-c", "sleep 1000 > /dev/null & echo $!"], {
        detached: true,
        stdio: ["ignore", "pipe", "ignore"],
        env: { ...process.env, ...env }
      })
      let said = ""
      leader.stdout.setEncoding("utf8").on("data", (text: string) => said += text)
      leader.once("close", () => resume(Effect.succeed({ leader: leader.pid!, left: Number(said) })))
    }),
    ({ left }) => Effect.ignore(Effect.try(() => process.kill(left, "SIGKILL")))
  )

const entriesIn = (home: string) => filesIn(home).filter((name) => !name.startsWith("."))

describe("the registry's record", () => {
  it.live("of a group has its processes and files as they come and go, for this user's eyes only", () =>
    Effect.gen(function*() {
      const { groups, home } = yield* registry
      const segments = yield* folder
      yield* Effect.scoped(Effect.gen(function*() {
        const { group, pids } = yield* start(2, { registry: home, folder: segments, name: "recorded" })
        const { groups: [found], unreadable } = yield* groups
        assert.deepStrictEqual(unreadable, [])
        const { alive, folder, record } = found!
        assert.isTrue(alive)
        assert.match(record.id, /^recorded-[0-9a-f]{8}$/)
        assert.deepStrictEqual([record.epoch, record.mesh, record.transport], [0, { rank: 2 }, "shm"])
        assert.match(record.entry, /\/fixtures\/odd\.ts$/)
        assert.deepStrictEqual(record.driver, OsProcess.of(process.pid))
        assert.deepStrictEqual(record.members, pids.map((pid, rank) => ({ id: rank, rank, incarnation: 0, ...OsProcess.of(pid) })))
        assert.isTrue(filesIn(segments).every((file) => file.startsWith(record.files[0]!.prefix)))
        for (
          const [path, mode] of [[home, 0o700], [folder, 0o700], [join(folder, "record"), 0o600], [join(folder, "lock"), 0o600]] as const
        ) {
          assert.strictEqual(Fs.statSync(path).mode & 0o777, mode)
        }
        yield* group.kill(0)
        yield* Effect.flip(group.failure)
        assert.isFalse(OsProcess.lives(record.members[0]!))
        assert.isTrue(OsProcess.lives(record.members[1]!))
      }))
      assert.deepStrictEqual(filesIn(home), [])
    }))

  it.live("follows the group's workers, and is one however often its own process enters it", () =>
    Effect.gen(function*() {
      const { enter, groups, home } = yield* registry
      const identity = {
        group: "twice-00000000",
        secret: "00",
        epoch: 3,
        generation: 0,
        shape: { dp: 2 },
        handle: { transport: "shm", data: null }
      }
      const members = Effect.map(groups, ({ groups }) => groups[0]!.record.members.map(({ incarnation, rank }) => [rank, incarnation]))
      const worker = (rank: number, incarnation: number) => ({
        entry: new URL("file:///w.ts"),
        identity: { ...identity, member: rank, rank, incarnation }
      })
      yield* Effect.scoped(Effect.gen(function*() {
        const outer = yield* Effect.scope
        const entry = yield* enter({ group: "twice-00000000", secret: "00" })
        yield* entry.seat(worker(1, 0), process.pid)
        yield* Effect.gen(function*() {
          const again = yield* enter({ group: "twice-00000000", secret: "00" })
          yield* again.seat(worker(0, 0), process.pid)
          assert.deepStrictEqual(yield* members, [[0, 0], [1, 0]])
          yield* Effect.scoped(entry.seat(worker(2, 0), process.pid))
          assert.deepStrictEqual(yield* members, [[0, 0], [1, 0]])
          // The next life of a member takes its place before the former one's scope is closed.
          yield* Scope.provide(entry.seat(worker(0, 1), process.pid), outer)
        }).pipe(Effect.scoped)
        assert.deepStrictEqual(yield* members, [[0, 1], [1, 0]])
        assert.deepStrictEqual(entriesIn(home).length, 1)
      }))
      assert.deepStrictEqual(filesIn(home), [])
    }))
})

describe("a sweep", () => {
  it.live("RE-1: removes a dead driver's files and entry, and one that was killed before it had any", () =>
    Effect.gen(function*() {
      const { groups, home, sweep } = yield* registry
      const { file } = leaveDead(home, "dead-00000000")
      Fs.mkdirSync(join(home, "begun-00000000"))
      Fs.mkdirSync(join(home, "locked-00000000"))
      Fs.writeFileSync(join(home, "locked-00000000", "lock"), "")
      assert.deepStrictEqual((yield* groups).groups.map(({ alive, record }) => [record.id, alive]), [["dead-00000000", false]])
      assert.deepStrictEqual(yield* sweep, [{ group: "dead-00000000", driver: { pid: 1, started: 1 }, killed: [], files: 1, bytes: 7 }])
      assert.isFalse(Fs.existsSync(file))
      assert.deepStrictEqual(entriesIn(home), [])
    }))

  it.live("RE-1: leaves a group alone that may still be adopted, until its grace is over", () =>
    Effect.gen(function*() {
      const { home, sweep } = yield* registry
      leaveDead(home, "orphan-00000000", { graceMillis: 60_000 })
      assert.deepStrictEqual(yield* sweep, [])
      assert.deepStrictEqual(yield* sweep, [])
      const long = new Date(Date.now() - 61_000)
      Fs.utimesSync(join(home, "orphan-00000000", "orphan"), long, long)
      assert.strictEqual((yield* sweep).length, 1)
      assert.deepStrictEqual(entriesIn(home), [])
    }))

  it.live("RE-1 RE-2: removes a group whose lock somebody has removed by hand, unless its driver lives", () =>
    Effect.gen(function*() {
      const { home, sweep } = yield* registry
      const { file } = leaveDead(home, "dead-00000000")
      leaveDead(home, "alive-00000000", { driver: OsProcess.of(process.pid) })
      for (const group of ["dead", "alive"]) Fs.rmSync(join(home, `${group}-00000000`, "lock"))
      assert.deepStrictEqual((yield* sweep).map(({ group }) => group), ["dead-00000000"])
      assert.isFalse(Fs.existsSync(file))
      assert.deepStrictEqual(entriesIn(home), ["alive-00000000"])
    }))

  it.live("AD-3: a group whose lock somebody has removed by hand is adopted if its driver is gone, and refused as driven if it lives", () =>
    Effect.gen(function*() {
      const { adopt, home } = yield* registry
      const mine = OsProcess.of(process.pid)
      const orphaned = { graceMillis: 60_000, keeper: { socket: "", ...mine } }
      leaveDead(home, "dead-00000000", orphaned)
      leaveDead(home, "alive-00000000", { ...orphaned, driver: mine })
      for (const group of ["dead", "alive"]) Fs.rmSync(join(home, `${group}-00000000`, "lock"))
      const asked = { dimensions: ["rank"], kept: true, fenced: () => {} }
      const { entry } = yield* adopt({ group: "dead-00000000", ...asked })
      assert.isFalse(entry.isReplaced())
      assert.strictEqual((yield* Effect.flip(adopt({ group: "alive-00000000", ...asked }))).reason, "driven")
    }))

  it.live("RE-2: leaves living groups alone, and those who sweep at once share the work", () =>
    Effect.gen(function*() {
      const { enter, home } = yield* registry
      yield* enter({ group: "alive-00000000", secret: "00" })
      const dead = Array.from({ length: 60 }, (_, i) => `dead-${String(i).padStart(8, "0")}`)
      const files = dead.map((group) => leaveDead(home, group).file)
      leaveDead(home, "piped-00000000")
      Fs.rmSync(join(home, "piped-00000000", "record"))
      spawnSync("mkfifo", [join(home, "piped-00000000", "record")])
      const sweepers = yield* Effect.forEach([0, 1], () =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const child = spawn(process.execPath, [fileURLToPath(new URL("./fixtures/sweeper.ts", import.meta.url)), home], {
              stdio: ["pipe", "pipe", "inherit"]
            })
            let said = ""
            child.stdout.setEncoding("utf8").on("data", (text: string) => said += text)
            return { child, lines: () => said.split("\n").slice(0, -1) }
          }),
          ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
        ))
      yield* eventually("all are ready", () => sweepers.every(({ lines }) => lines().length === 1), 20_000)
      for (const { child } of sweepers) child.stdin.write("\n")
      yield* eventually("all have swept", () => sweepers.every(({ lines }) => lines().length === 2))
      const results = sweepers.map(({ lines }): { groups: ReadonlyArray<string>; warnings: ReadonlyArray<string> } =>
        JSON.parse(lines()[1]!)
      )
      for (const warning of results.flatMap(({ warnings }) => warnings)) {
        assert.match(warning, /piped-00000000: it is no record of this user/)
      }
      assert.deepStrictEqual(results.flatMap(({ groups }) => groups).sort(), dead)
      assert.deepStrictEqual(entriesIn(home), ["alive-00000000", "piped-00000000"])
      assert.deepStrictEqual(files.filter((file) => Fs.existsSync(file)), [])
    }))

  it.live("RE-2: is over in no time where there is nothing to do", () =>
    Effect.gen(function*() {
      const { enter, sweep } = yield* registry
      yield* Effect.forEach([0, 1, 2, 3], (i) => enter({ group: `alive-0000000${i}`, secret: "00" }))
      const times = yield* Effect.replicateEffect(Effect.map(Effect.timed(sweep), ([duration]) => Duration.toMillis(duration)), 50)
      assert.isBelow(Math.min(...times), 1)
    }))

  it.live("RE-3: kills what is left of the group's workers and of what they have started, and no process that only has a number of theirs", () =>
    Effect.gen(function*() {
      const { home, sweep } = yield* registry
      const group = "left-00000000"
      const [worker, other, later] = [
        yield* processNaming("phalanx", group, "rank", "0"),
        yield* processNaming("somebody", "else"),
        yield* processNaming("phalanx", group, "rank", "2")
      ].map(({ pid }) => OsProcess.of(pid!))
      const member = (id: number, process: OsProcess.OsProcess) => ({ id, rank: id, incarnation: 0, ...process })
      const [theirs, strange] = [yield* leftBehind({ PHALANX_GROUP: group }), yield* leftBehind({ PHALANX_GROUP: "other-00000000" })]
      leaveDead(home, group, {
        members: [
          member(0, worker!),
          member(1, other!),
          member(2, { ...later!, started: later!.started - 1 }),
          member(3, { pid: theirs.leader, started: 1 }),
          member(4, { pid: strange.leader, started: 1 })
        ]
      })
      const [swept] = yield* sweep
      assert.deepStrictEqual(swept!.killed, [worker!.pid, theirs.left])
      assert.deepStrictEqual([lives(theirs.left), lives(strange.left)], [false, true])
      assert.deepStrictEqual([worker!, other!, later!].map(({ pid }) => lives(pid)), [false, true, true])
    }))

  it.live("RE-4: leaves a record that cannot be read as it is, says so, and goes on with the others", () =>
    Effect.gen(function*() {
      const { groups, home, sweep, warnings } = yield* registry
      const cases: Record<string, (entry: string) => void> = {
        damaged: (entry) => Fs.writeFileSync(join(entry, "record"), "{\"version\":1,"),
        foreign: (entry) => Fs.writeFileSync(join(entry, "record"), "{\"version\":2}"),
        // Says to remove files that are no queue's.
        hostile: (entry) =>
          Fs.writeFileSync(
            join(entry, "record"),
            Fs.readFileSync(join(entry, "record"), "utf8").replace(/"prefix":"[^"]*"/, "\"prefix\":\"\"")
          ),
        linked: (entry) => {
          Fs.renameSync(join(entry, "record"), join(home, ".elsewhere"))
          Fs.symlinkSync(join(home, ".elsewhere"), join(entry, "record"))
        }
      }
      const kept = Object.entries(cases).map(([name, damage]) => {
        const { file } = leaveDead(home, `${name}-00000000`)
        damage(join(home, `${name}-00000000`))
        return file
      })
      leaveDead(home, "whole-00000000")
      Fs.writeFileSync(join(home, "a file of nobody's"), "")
      Fs.symlinkSync(Fs.mkdtempSync(join(home, ".target-")), join(home, "a link"))
      assert.deepStrictEqual((yield* sweep).map(({ group }) => group), ["whole-00000000"])
      assert.strictEqual(warnings.length, 4)
      for (const [index, name] of Object.keys(cases).entries()) {
        assert.include(warnings[index], `sweep ${join(home, `${name}-00000000`)}: `)
        assert.match(warnings[index]!, /remove this folder by hand/)
      }
      assert.isTrue(kept.every((file) => Fs.existsSync(file)))
      const { groups: readable, unreadable } = yield* groups
      assert.deepStrictEqual([readable.length, unreadable.length], [0, 4])
    }))
})

describe("a registry that is not this user's own", () => {
  const refusal = Effect.fnUntraced(function*(spoil: (home: string) => void) {
    const home = join(yield* folder, "registry")
    spoil(home)
    const error = yield* Effect.flip(start(1, { registry: home }))
    assert.strictEqual(error._tag, "QueueError")
    assert.include(error.message, home)
    return error.message
  }, Effect.scoped)

  it.live("RE-4: is refused before anything is made, with what to do", () =>
    Effect.gen(function*() {
      const open = yield* refusal((home) => {
        Fs.mkdirSync(home)
        Fs.chmodSync(home, 0o755)
      })
      assert.match(open, /others may use it: its mode is 755\. Look into it, then `chmod 700 /)
      const linked = yield* refusal((home) => Fs.symlinkSync(Fs.mkdtempSync(`${home}-target-`), home))
      assert.match(linked, /it is not a folder\. Remove it, or let XDG_RUNTIME_DIR name another folder of this user/)
      const blocked = yield* refusal((home) => Fs.writeFileSync(home, ""))
      assert.match(blocked, /it is not a folder/)
    }))

  it.runIf(process.platform === "linux")("RE-4: a folder that cannot be made is told, where Node's own way would never end", () => {
    const folder = new URL("../src/internal/folder.ts", import.meta.url)
    const program = `import { make } from "${folder}"; try { make("/proc/phalanx/registry") } catch (cause) { console.log(cause.code) }`
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8", timeout: 10_000 })
    assert.strictEqual(stdout, "ENOENT\n")
  })

  // Root alone may give a folder to somebody else, and mount one.
  if (process.getuid?.() === 0) {
    it.live("RE-4: is refused if it belongs to somebody else", () =>
      Effect.gen(function*() {
        const foreign = yield* refusal((home) => {
          Fs.mkdirSync(home, { mode: 0o700 })
          Fs.chownSync(home, 65534, 65534)
        })
        assert.match(foreign, /it belongs to user 65534\. Have it removed, or let XDG_RUNTIME_DIR/)
      }))

    it.live("RE-4: on a disk that is full is an error at the start and a warning later, and leaves nothing", () =>
      Effect.sync(() => {
        const mounted = ["-m", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt && exec \"$@\"", "sh"]
        if (spawnSync("unshare", [...mounted, "true"]).status !== 0) return
        const program = fileURLToPath(new URL("./fixtures/full.ts", import.meta.url))
        const { stderr, stdout } = spawnSync("unshare", [...mounted, process.execPath, program, "/mnt"], {
          encoding: "utf8",
          timeout: 30_000
        })
        assert.strictEqual(stderr, "")
        const { after, left, members, refused, warnings } = JSON.parse(stdout)
        assert.strictEqual(refused[0], "QueueError")
        assert.match(refused[1], /^use registry \/mnt\/registry: ENOSPC: .*\. Mend what this names, or let/)
        assert.match(warnings[0], /The record of group early-00000000 in \/mnt\/registry\/early-00000000 is out of date/)
        assert.deepStrictEqual([members, left, after], [[], ["early-00000000"], []])
      }))
  }
})
