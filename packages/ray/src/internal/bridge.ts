/**
 * One life of the bridge: its process, what it is asked and answers, what it tells of workers. A line that is not of the protocol ends it.
 */
import type { Node } from "@phalanx/core/Placement"
import * as WorkerProcess from "@phalanx/node/WorkerProcess"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { RayError } from "../RayError.ts"
import { type Answers, answers, Line, type Params } from "./protocol.ts"

/** What was asked for was refused, or the bridge is gone (`Lost`). Who asked makes words of it. */
export class Refused extends Data.TaggedError("Refused")<{
  readonly code: string
  readonly detail: string
  readonly nodes: ReadonlyArray<Node>
}> {}

/** Hears what becomes of one worker. `lost`: nobody knows how it ended, but it is gone. */
export interface Sink {
  readonly output: (stream: "stdout" | "stderr" | "words", text: string) => void
  readonly exit: (code: number, flight: Uint8Array) => void
  readonly lost: (issue: string) => void
  /** Another driver has it. */
  readonly replaced: () => void
}

export interface Bridge {
  /** The driver's own node: its id, and the address by which others reach it. */
  readonly node: string
  readonly address: string
  /** The version of Ray. */
  readonly ray: string
  readonly ask: <M extends keyof Params>(method: M, params: Params[M]) => Effect.Effect<Answers[M], Refused>
  /** Resolves when the bridge is gone, with why. */
  readonly gone: Effect.Effect<string>
  readonly isGone: () => boolean
}

export interface Options {
  readonly python: string
  readonly address: string
  readonly namespace: string
  readonly runtimeEnv: Readonly<Record<string, unknown>> | null
  readonly token: string | undefined
  /** Seconds that a detached group outlives its last driver; 0 if groups are not detached. */
  readonly ttl: number
  /** Seconds that connecting may take. */
  readonly within: number
  /** By name, who hears of which worker. They outlive a bridge. */
  readonly sinks: Map<string, Sink>
  /** Hears what may interest people: nodes that come and go, a control service that is silent. */
  readonly news: (text: string) => void
}

const script = fileURLToPath(new URL("../../python/bridge.py", import.meta.url))

/** Milliseconds that the bridge has to end once its standard input has. */
const lastMillis = 2000

/** What a job of Ray tells its processes: this one may be started by such a process, and belongs to no job. */
const ofJob = /^RAY_(?:ADDRESS|AUTH_TOKEN_PATH|JOB_\w+|NAMESPACE|NODE_ID|RAYLET_PID)$/

/** The environment of processes of Ray. */
export const environment = (token: string | undefined): NodeJS.ProcessEnv => {
  const inherited = Object.entries(process.env).filter(([name]) => !ofJob.test(name))
  return {
    ...Object.fromEntries(inherited),
    // Unset, it means something else on each of Ray's ways to start.
    RAY_AUTH_MODE: token === undefined ? "disabled" : "token",
    ...(token === undefined ? {} : { RAY_AUTH_TOKEN: token }),
    RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL: "minor"
  }
}

const words: Record<string, readonly [RayError["reason"], advice: string]> = {
  RayMissing: ["NoRay", "Install Ray for this interpreter, or leave the choice of it to Phalanx"],
  NotRay: ["NotRay", "Give the port of Ray's control service, 6379 unless it was started with another"],
  NoRaylet: ["NoRaylet", "Start one here (`ray start --address=…`), or run the driver on a node of the cluster"],
  Token: ["Token", "Give the cluster's token with the option `token`, or in RAY_AUTH_TOKEN"],
  Version: ["Mismatch", "Name an interpreter with the cluster's versions with the option `python`"],
  NotConnected: ["NotStarted", "Ray's own words say why"]
}

const decodeLine = Schema.decodeUnknownResult(Line)

/** Starts the bridge; ready when it is connected to Ray. The scope's end ends it. */
export const make: (options: Options) => Effect.Effect<Bridge, RayError, Scope.Scope> = Effect.fnUntraced(function*(options) {
  const failed = (reason: RayError["reason"], issue: string, advice: string) =>
    new RayError({ reason, where: options.address, issue, advice })
  const ready = Deferred.makeUnsafe<Extract<Line, { event: "ready" }>, RayError>()
  const gone = Deferred.makeUnsafe<string>()
  const pending = new Map<number, (exit: Exit.Exit<unknown, Refused>) => void>()
  const stderr = WorkerProcess.makeTail(20)
  const split = WorkerProcess.splitter(stderr.push)

  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(options.python, [script, "phalanx"], { stdio: ["pipe", "pipe", "pipe"], detached: true, env: environment(options.token) })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        if (Deferred.isDoneUnsafe(gone)) return resume(Effect.void)
        child.stdin.end()
        const timer = setTimeout(() => child.kill("SIGKILL"), lastMillis)
        child.once("close", () => {
          clearTimeout(timer)
          resume(Effect.void)
        })
      })
  )
  child.stderr.setEncoding("utf8").on("data", split.push)
  child.stdin.on("error", () => {})

  const onGone = (issue: string): void => {
    if (!Deferred.doneUnsafe(gone, Exit.succeed(issue))) return
    const tail = stderr.take().map((line) => `\n  ${line}`).join("")
    Deferred.doneUnsafe(ready, Exit.fail(failed("NotStarted", `the bridge ended: ${issue}${tail}`, "Ray's own words say why")))
    for (const settle of pending.values()) settle(Exit.fail(new Refused({ code: "Lost", detail: issue, nodes: [] })))
    pending.clear()
  }
  child.on("error", (cause) => onGone(cause.message))
  child.once("close", (code, signal) => onGone(signal ?? `exit code ${code}`))

  const onLine = (text: string): void => {
    const decoded = decodeLine(text)
    if (decoded._tag === "Failure") {
      stderr.push(`not a line of the protocol: ${text.slice(0, 200)}`)
      return void child.kill("SIGKILL")
    }
    const line = decoded.success
    if ("id" in line) {
      const settle = pending.get(line.id)
      pending.delete(line.id)
      return settle?.("error" in line ? Exit.fail(new Refused({ nodes: [], ...line.error })) : Exit.succeed(line.result))
    }
    switch (line.event) {
      case "ready":
        return void Deferred.doneUnsafe(ready, Exit.succeed(line))
      case "fatal": {
        const [reason, advice] = words[line.code] ?? ["NotStarted", "Ray's own words say why"]
        return void Deferred.doneUnsafe(ready, Exit.fail(failed(reason, line.detail, advice)))
      }
      case "output":
        return options.sinks.get(line.worker)?.output(line.stream, line.text)
      case "exit":
      case "lost":
      case "replaced": {
        const sink = options.sinks.get(line.worker)
        options.sinks.delete(line.worker)
        if (line.event === "replaced") return sink?.replaced()
        return line.event === "exit" ? sink?.exit(line.code, line.flight) : sink?.lost(line.detail)
      }
      case "node":
        return options.news(`Ray's node ${line.address} has ${line.alive ? "joined" : "left"}`)
      case "silent":
        return options.news(`Ray's control service at ${options.address} has not answered for ${line.seconds} s`)
      case "heard":
        return options.news(`Ray's control service at ${options.address} answers again`)
    }
  }
  createInterface({ input: child.stdout }).on("line", onLine)

  const { address, namespace, runtimeEnv, ttl, within } = options
  child.stdin.write(`${JSON.stringify({ address, namespace, runtimeEnv, ttl, within })}\n`)

  let count = 0
  const ask = <M extends keyof Params>(method: M, params: Params[M]): Effect.Effect<Answers[M], Refused> =>
    Effect.callback<unknown, Refused>((resume) => {
      if (Deferred.isDoneUnsafe(gone)) return resume(Effect.fail(new Refused({ code: "Lost", detail: "it has ended", nodes: [] })))
      const id = count++
      pending.set(id, resume)
      child.stdin.write(`${JSON.stringify({ id, method, params })}\n`)
      return Effect.sync(() => pending.delete(id))
    }).pipe(
      Effect.flatMap((answer) => Effect.orDie(Schema.decodeUnknownEffect(answers[method] as unknown as Schema.Codec<Answers[M]>)(answer)))
    )

  const started = yield* Deferred.await(ready)
  return {
    node: started.node,
    address: started.address,
    ray: started.ray,
    ask,
    gone: Deferred.await(gone),
    isGone: () => Deferred.isDoneUnsafe(gone)
  }
})
