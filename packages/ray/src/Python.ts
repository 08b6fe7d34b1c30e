/**
 * The interpreter that runs the bridge: one that has Ray, or one of an environment that is made for the purpose, once.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SemVer from "effect/SemVer"
import * as SemVerRange from "effect/SemVerRange"
import { execFile, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { RayError } from "./RayError.ts"

/** The versions of Ray that this is made for: parts of its private interface are used. */
export const rayVersions = ">=2.60.0 <2.61.0"

/** The version that is installed where there is none. */
export const rayVersion = "2.60.0"

/** The oldest Python that Ray runs on. */
export const pythonVersion = "3.10"

/** How the interpreter is found; all of it is optional. */
export interface Options {
  /** An interpreter with Ray: a path, or a name on the path. Default: `python3`, whose own Ray is used if it has one that fits. */
  readonly python?: string | undefined
  /** Whether an environment with Ray may be made, in `node_modules/.cache/phalanx`. Default: yes, unless `python` is given. */
  readonly install?: boolean | undefined
  /** Hears what takes time, in a sentence each. Default: standard error. */
  readonly progress?: ((text: string) => void) | undefined
}

/** An interpreter that has Ray. */
export interface Python {
  readonly path: string
  readonly version: string
  readonly ray: string
}

const Facts = Schema.fromJsonString(Schema.Struct({ path: Schema.String, version: Schema.String, ray: Schema.NullOr(Schema.String) }))

/** Asks an interpreter about itself without loading Ray. */
const facts = `
import json, sys, importlib.metadata as metadata
try:
    ray = metadata.version("ray")
except metadata.PackageNotFoundError:
    ray = None
print(json.dumps({"path": sys.executable, "version": "%d.%d.%d" % sys.version_info[:3], "ray": ray}))
`

const examine = (python: string): Effect.Effect<typeof Facts.Type, RayError> =>
  Effect.callback<string, RayError>((resume) => {
    const child = execFile(python, ["-c", facts], { timeout: 20_000 }, (error, stdout, stderr) =>
      resume(
        error === null ? Effect.succeed(stdout) : Effect.fail(
          new RayError({
            reason: "NoPython",
            where: python,
            issue: (error as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such interpreter" : stderr.trim() || error.message,
            advice: `Install Python ${pythonVersion} or newer, or name one with the option \`python\``
          })
        )
      ))
    return Effect.sync(() => child.kill("SIGKILL"))
  }).pipe(Effect.flatMap((text) => Effect.orDie(Schema.decodeUnknownEffect(Facts)(text))))

const older = (version: string, than: string): boolean => version.localeCompare(than, "en", { numeric: true }) < 0

const fits = (ray: string): boolean => SemVerRange.matches(SemVerRange.parseUnsafe(rayVersions), SemVer.parseUnsafe(ray))

/** In the nearest `node_modules`, as what else is kept between runs. */
const cache = (folder: string): string => {
  const modules = join(folder, "node_modules")
  return existsSync(modules) || folder === dirname(folder) ? join(modules, ".cache", "phalanx") : cache(dirname(folder))
}

const script = fileURLToPath(new URL("../python/environment.py", import.meta.url))

const install = (python: string, folder: string, progress: (text: string) => void): Effect.Effect<void, RayError> =>
  Effect.callback((resume) => {
    const child = spawn(python, [script, "phalanx", folder, rayVersion], { stdio: ["ignore", "pipe", "pipe"] })
    let said = ""
    child.stdout.setEncoding("utf8").on(
      "data",
      (text: string) => text.split("\n").filter((line) => line !== "").forEach((line) => progress(`Ray: ${line}`))
    )
    child.stderr.setEncoding("utf8").on("data", (text: string) => said = (said + text).slice(-2000))
    child.on("error", () => {}).on("close", (code) =>
      resume(
        code === 0 ? Effect.void : Effect.fail(
          new RayError({
            reason: "NotInstalled",
            where: folder,
            issue: `Ray ${rayVersion} could not be installed: ${said.trim()}`,
            advice: `Run \`pip install ray==${rayVersion}\` for an interpreter of yours and name it with the option \`python\``
          })
        )
      ))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** Finds an interpreter with a Ray that fits, or makes one. */
export const find = Effect.fn("Python.find")(function*(options: Options = {}) {
  const name = options.python ?? "python3"
  const found = yield* examine(name)
  if (found.ray !== null && fits(found.ray)) return { ...found, ray: found.ray }
  if (older(found.version, pythonVersion)) {
    return yield* new RayError({
      reason: "NoPython",
      where: found.path,
      issue: `this is Python ${found.version}, and Ray needs ${pythonVersion}`,
      advice: "Install a newer one, or name one with the option `python`"
    })
  }
  if (!(options.install ?? options.python === undefined)) {
    return yield* new RayError({
      reason: found.ray === null ? "NoRay" : "RayVersion",
      where: found.path,
      issue: found.ray === null ? "it has no Ray" : `its Ray is ${found.ray}, and this is made for ${rayVersions}`,
      advice: `Run \`${found.path} -m pip install ray==${rayVersion}\`, or let an environment be made with the option \`install\``
    })
  }
  const folder = join(cache(import.meta.dirname), `ray-${rayVersion}-python-${found.version}`)
  const path = join(folder, "bin", "python")
  if (!existsSync(join(folder, "made"))) {
    const progress = options.progress ?? ((text) => void process.stderr.write(`${text}\n`))
    progress(`Ray: making an environment for it in ${folder}, once`)
    yield* install(found.path, folder, progress)
  }
  return { path, version: found.version, ray: rayVersion }
})
