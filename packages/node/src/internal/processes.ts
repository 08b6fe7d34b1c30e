/**
 * Workers as child processes.
 *
 * This uses `node:child_process`, since Effect's `ChildProcess` tells a signal only in the words of an error: how a worker ended has
 * to be known exactly.
 */
import type * as Cluster from "@phalanx/core/Cluster"
import type { FlightEvent } from "@phalanx/core/FlightRecorder"
import { type Death, Reason, SpawnError } from "@phalanx/core/WorkerError"
import * as FlightRecording from "@phalanx/queue/FlightRecording"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, existsSync } from "node:fs"
import { availableParallelism, hostname } from "node:os"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import * as environment from "./environment.ts"
import * as output from "./output.ts"
import { SpawnLine } from "./spawnLine.ts"
import { vitals } from "./vitals.ts"

export interface Options {
  readonly queues: SpawnLine["queues"]
  readonly print: output.Print | undefined
  /** Milliseconds from SIGTERM to SIGKILL. */
  readonly grace: number
  readonly env: Readonly<Record<string, string>>
  readonly execArgv: ReadonlyArray<string>
  /** Path of the Node to run. */
  readonly node: string
}

const bootstrap = fileURLToPath(new URL("./bootstrap.mjs", import.meta.url))

// A young generation of V8's own choice grows by 20 MB in the first thousand calls, and makes them no cheaper.
const nodeFlags: ReadonlyArray<string> = ["--max-semi-space-size=4"]

/** Where ranks outnumber processors, threads that help a collector take their time from other ranks. */
const flagsIn = (shape: Cluster.Identity["shape"]): ReadonlyArray<string> => {
  const ranks = Object.values(shape).reduce((product, size) => product * size, 1)
  return ranks < availableParallelism() ? nodeFlags : [...nodeFlags, "--single-threaded-gc"]
}

/** Milliseconds that an exit waits for what the process printed last: whoever inherited the pipes may hold them open for ever. */
const lastWords = 2

const tailLines = 20

/** A process that was started. */
interface Running {
  readonly child: ChildProcess
  readonly stderr: output.Tail
  readonly flight: () => ReadonlyArray<FlightEvent>
  readonly end: Deferred.Deferred<Cluster.End>
}

const hasExited = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

/** Ends the worker and what it started: it leads a process group, whose number nobody else gets while the group has members. */
const killGroup = (child: ChildProcess): void => {
  try {
    process.kill(-child.pid!, "SIGKILL")
  } catch {
    // Nobody is left in it.
  }
}

const deathOf = (code: number | null, signal: string | null): Death => {
  if (code === null) return { _tag: "Killed", signal: signal! }
  // A worker that was told to end and did so in order says so by this number.
  return code === 143 ? { _tag: "Killed", signal: "SIGTERM" } : { _tag: "Exited", code }
}

/**
 * SIGTERM, then SIGKILL; a process that the kernel cannot end is left to it. Processes live in real time, whatever clock the program
 * runs on.
 */
const stop = ({ child, end }: Running, grace: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (hasExited(child)) return resume(Effect.void)
    let timer = setTimeout(() => {
      killGroup(child)
      timer = setTimeout(() => resume(Effect.void), grace)
    }, grace)
    child.once("exit", () => {
      clearTimeout(timer)
      resume(Effect.asVoid(Deferred.await(end)))
    })
    child.kill("SIGTERM")
  })

/** At which descriptor a worker finds its flight recorder, and how much of it is told of a death. */
const flightDescriptor = 4
const flightEntries = 64

/** Which pipe a process says on why it ends (`lastWords.ts`). */
const lastWordsPipe = 3

/** What V8 says before it aborts. It stands above a long stack, so that the last lines need not contain it. */
const heapIsFull = "JavaScript heap out of memory"

const isReason = Schema.is(Reason)

/** Keeps and prints what a process says, and tells when it has ended. */
const watch = (
  child: ChildProcess,
  group: string,
  rank: number,
  print: output.Print | undefined,
  recorder: number | undefined
): Running => {
  const stderr = output.makeTail(tailLines)
  const end = Deferred.makeUnsafe<Cluster.End>()
  const pipes: Array<{ readonly stream: Readable; readonly flush: () => void }> = []
  let reason: Reason | undefined
  const listen = (stream: Readable | null, onLine: (text: string) => void): void => {
    if (stream !== null) pipes.push({ stream, flush: output.lines(stream, onLine) })
  }
  listen(child.stdout, (text) => print?.({ group, rank, stream: "stdout", text }))
  listen(child.stderr, (text) => {
    stderr.push(text)
    if (text.includes(heapIsFull)) reason = "out-of-memory"
    print?.({ group, rank, stream: "stderr", text })
  })
  listen(child.stdio[lastWordsPipe] as Readable, (text) => {
    if (isReason(text)) reason = text
  })
  let flight: ReadonlyArray<FlightEvent> = []
  child.once("exit", (code, signal) => {
    killGroup(child)
    if (recorder !== undefined) {
      flight = FlightRecording.read(recorder, flightEntries)
      closeSync(recorder)
    }
    let open = pipes.filter(({ stream }) => !stream.closed)
    const done = (): void => {
      clearTimeout(timer)
      for (const { flush, stream } of open) {
        flush()
        stream.destroy()
      }
      const death = deathOf(code, signal)
      // A heap that is full ends in SIGABRT; any program may print the words.
      const known = reason === "out-of-memory" && signal !== "SIGABRT" ? undefined : reason
      Deferred.doneUnsafe(end, Exit.succeed({ death, reason: known, stderr: stderr.take(), flight }))
    }
    // What lies in the pipes is read in the next turn of the event loop, which may itself have been held up.
    const timer = setTimeout(() => setImmediate(done), lastWords)
    if (open.length === 0) return done()
    for (const pipe of open) {
      pipe.stream.once("close", () => {
        open = open.filter((other) => other !== pipe)
        if (open.length === 0) done()
      })
    }
  })
  const last = (): ReadonlyArray<FlightEvent> =>
    recorder === undefined || hasExited(child) ? flight : FlightRecording.read(recorder, flightEntries)
  return { child, stderr, end, flight: last }
}

const encode = Schema.encodeSync(SpawnLine)

/** For whoever reads the list of processes; what is secret is not among it. The last word is whom the worker dies with. */
const words = ({ group, incarnation, rank }: Cluster.Identity): ReadonlyArray<string> =>
  ["phalanx", group, "rank", rank, "incarnation", incarnation, "of", process.pid].map(String)

export const make = (options: Options): Cluster.Cluster["Service"] => {
  const node = hostname()

  const start = (entry: URL, identity: Cluster.Identity, failed: (cause: unknown) => SpawnError): Effect.Effect<Running, SpawnError> =>
    Effect.callback((resume) => {
      const { group, rank } = identity
      const recorder = FlightRecording.create(options.queues.folder)
      try {
        const child = spawn(
          options.node,
          [...flagsIn(identity.shape), ...options.execArgv, bootstrap, ...words(identity)],
          // In a session of its own: what a terminal sends at Ctrl-C is for the driver, which then ends its workers in order.
          {
            stdio: ["pipe", options.print === undefined ? "ignore" : "pipe", "pipe", "pipe", ...(recorder === undefined ? [] : [recorder])],
            detached: true,
            env: { ...process.env, ...options.env, ...environment.of(group) }
          }
        )
        child.once("spawn", () => {
          const running = watch(child, group, rank, options.print, recorder)
          resume(Effect.succeed(running))
        })
        child.on("error", (cause) => {
          if (child.pid === undefined && recorder !== undefined) closeSync(recorder)
          resume(Effect.fail(failed(cause)))
        })
        const flight = recorder === undefined ? {} : { flight: flightDescriptor }
        // A worker that is gone is told by its exit.
        child.stdin!.on("error", () => {})
        // Left open: its end tells the worker that the driver is gone.
        child.stdin!.write(
          `${encode({ node, entry: entry.href, grace: options.grace, queues: options.queues, ...flight, identity })}\n`
        )
      } catch (cause) {
        if (recorder !== undefined) closeSync(recorder)
        resume(Effect.fail(failed(cause)))
      }
    })

  return {
    spawn: Effect.fnUntraced(function*({ entry, identity }) {
      const refuse = (phase: SpawnError["phase"], issue: string, advice: string): SpawnError =>
        new SpawnError({
          rank: identity.rank,
          node,
          entry: entry instanceof URL ? entry.href : "a worker value",
          phase,
          issue,
          advice,
          stderr: []
        })
      if (!(entry instanceof URL)) {
        return yield* refuse(
          "start",
          "a value of this process cannot be handed to another one",
          "Give the URL of the module that exports it by default: new URL(\"./worker.ts\", import.meta.url)"
        )
      }
      if (entry.protocol === "file:" && !existsSync(entry)) {
        return yield* refuse(
          "import",
          "there is no such file",
          "new URL(\"./worker.ts\", import.meta.url) is relative to the module that it stands in"
        )
      }
      const running = yield* Effect.acquireRelease(
        start(entry, identity, (cause) =>
          refuse(
            "start",
            `${options.node} could not be started: ${cause instanceof Error ? cause.message : String(cause)}`,
            "The option `node` names the binary of Node 26 or newer; if it is right, raise this user's limits of processes and open files"
          )),
        (running) => stop(running, options.grace)
      )
      const { child, end, flight, stderr } = running
      return {
        node,
        pid: child.pid,
        end: Deferred.await(end),
        stderr: Effect.sync(stderr.take),
        flight: Effect.sync(flight),
        vitals: vitals(child),
        kill: (signal) =>
          Effect.sync(() => {
            if (hasExited(child)) return
            if (signal === "SIGKILL") killGroup(child)
            else child.kill(signal)
          })
      }
    })
  }
}
