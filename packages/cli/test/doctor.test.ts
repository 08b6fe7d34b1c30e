import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Report } from "../src/Doctor.ts"

const program = fileURLToPath(new URL("../phalanx.mjs", import.meta.url))

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "phalanx-test-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true }))
)

/** Runs the command, after some words of the shell. */
const doctor = (runtime: string, shell: string, ...args: ReadonlyArray<string>) =>
  Effect.sync(() => {
    const words = ["-m", "sh", "-c", `${shell} exec "$@"`, "sh", process.execPath, program, "doctor", ...args]
    const [file, given] = shell.includes("mount") ? ["unshare", words] : ["sh", words.slice(2)]
    const { status, stderr, stdout } = spawnSync(file, given, {
      encoding: "utf8",
      timeout: 60_000,
      env: { ...process.env, XDG_RUNTIME_DIR: runtime }
    })
    return { code: status, stderr, stdout }
  })

const named = ({ checks }: Report, name: string) => checks.filter((check) => check.name === name)

/** A file among the segments that nobody uses. */
const leave = (name: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      Fs.writeFileSync(join("/dev/shm", name), "segment")
      return join("/dev/shm", name)
    }),
    (file) => Effect.sync(() => Fs.rmSync(file, { force: true }))
  )

/** What a driver leaves that was killed. */
const leaveDead = (registry: string, group: string) => {
  const entry = join(registry, group)
  const prefix = `phalanx-${group}-0123abcd`
  Fs.mkdirSync(registry, { mode: 0o700 })
  Fs.mkdirSync(entry)
  Fs.writeFileSync(join(entry, "lock"), "")
  Fs.writeFileSync(
    join(entry, "record"),
    JSON.stringify({
      version: 1,
      id: group,
      secret: "00",
      epoch: 0,
      generation: 0,
      driver: { pid: 1, started: 1 },
      graceMillis: 0,
      transport: "shm",
      files: [{ folder: "/dev/shm", prefix }],
      mesh: {},
      entry: "",
      members: []
    })
  )
  return leave(`${prefix}00000000`)
}

describe("phalanx doctor", () => {
  it.live("DO-1: finds a machine fit and ends with 0; with --sweep, removes what dead drivers left, and names what nobody answers for", () =>
    Effect.gen(function*() {
      const runtime = yield* folder
      const registry = join(runtime, "phalanx")
      const dead = `dead-${process.pid}`
      const file = yield* leaveDead(registry, dead)
      const stray = yield* leave(`phalanx-alone-${process.pid}-0123456789abcdef`)
      const fit = yield* doctor(runtime, "", "--json")
      const report: Report = JSON.parse(fit.stdout)
      assert.deepStrictEqual([fit.code, fit.stderr, report.ok], [0, "", true])
      assert.deepStrictEqual(report.checks.filter(({ name }) => name !== "leftovers").map(({ name }) => name), [
        "node",
        "platform",
        "shared memory",
        "open files",
        "processes",
        "koffi",
        "zeromq",
        "effect",
        "registry",
        "memory",
        "processors",
        "python3",
        "ray"
      ])
      for (const name of ["node", "platform", "koffi", "zeromq", "effect", "registry"]) {
        assert.strictEqual(named(report, name)[0]!.status, "ok")
      }
      assert.match(
        named(report, "shared memory")[0]!.found,
        /^\/dev\/shm, mode 1777, .* free; 4 ranks need 6\.3 MiB, and 4\.0 MiB more for/
      )
      assert.match(named(report, "zeromq")[0]!.found, /^6\.8\.0: ZeroMQ 4\.3\.5, encrypts with CURVE$/)
      assert.match(named(report, "effect")[0]!.found, /^4\.1\.0$/)
      assert.strictEqual(named(report, "registry")[0]!.found, `${registry}, 0 groups are running`)
      for (const { advice, status } of report.checks) assert.strictEqual(advice === undefined, status === "ok")

      const leftovers = named(report, "leftovers")
      assert.deepStrictEqual(leftovers.map(({ status }) => status), ["warn", "warn"])
      assert.include(leftovers[0]!.found, dead)
      assert.include(leftovers[0]!.advice, "phalanx doctor --sweep")
      assert.include(leftovers[1]!.advice, stray)
      assert.isTrue(Fs.existsSync(file))

      const swept = yield* doctor(runtime, "", "--sweep")
      assert.match(
        swept.stderr,
        /^timestamp=\S+ level=INFO \S+ message="Removed what the dead driver 1 of group dead-\d+ had left: 1 files .*"\n$/
      )
      assert.include(swept.stdout, `\nok    leftovers          removed what driver 1 of ${dead} had left: 1 files, 7 B, 0 processes\n`)
      assert.match(swept.stdout, /\nThis machine is fit for groups of workers, with \d+ warnings\.\n$/)
      assert.deepStrictEqual([swept.code, Fs.existsSync(file), Fs.existsSync(stray), Fs.readdirSync(registry)], [0, false, true, []])
    }))

  it.live("DO-1: ends with 1 where a group could not start, and says what, where, and what to do", () =>
    Effect.gen(function*() {
      const runtime = yield* folder
      Fs.mkdirSync(join(runtime, "phalanx"))
      Fs.chmodSync(join(runtime, "phalanx"), 0o755)
      // A tmpfs of 1 MiB for one command alone: only root may mount one.
      const small = "mount -t tmpfs -o size=1m tmpfs /mnt && ulimit -n 512 &&"
      const mounts = spawnSync("unshare", ["-m", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]).status === 0
      const { code, stderr, stdout } = mounts
        ? yield* doctor(runtime, small, "--json", "--segments", "/mnt")
        : yield* doctor(runtime, "ulimit -n 512 &&", "--json")
      const report: Report = JSON.parse(stdout)
      assert.deepStrictEqual([code, stderr, report.ok], [1, "", false])
      const [registry] = named(report, "registry")
      assert.deepStrictEqual([registry!.status, registry!.found.split(": ")[1]], ["fail", "others may use it"])
      assert.match(registry!.advice!, /^Look into it, then `chmod 700 \/.*\/phalanx`$/)
      assert.deepStrictEqual(named(report, "open files").map(({ found, status }) => [status, found]), [["warn", "512"]])
      if (!mounts) return
      const [memory] = named(report, "shared memory")
      assert.strictEqual(memory!.status, "fail")
      assert.match(memory!.found, /^\/mnt, .* 1\.0 MiB of 1\.0 MiB free; 4 ranks need 6\.3 MiB/)
      assert.match(memory!.advice!, /^Enlarge it: `mount -o remount,size=1G \/mnt`; in a container `--shm-size=1g`/)
    }))
})
