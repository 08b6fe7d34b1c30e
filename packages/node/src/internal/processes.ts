/**
 * Workers as child processes.
 *
 * This uses `node:child_process`, since Effect's `ChildProcess` tells a signal only in the words of an error: how a worker ended has
 * to be known exactly.
 */
import type * as Cluster from "@phalanx/core/Cluster"
import type { FlightEvent } from "@phalanx/core/FlightRecorder"
import { SpawnError } from "@phalanx/core/WorkerError"
import * as FlightRecording from "@phalanx/queue/FlightRecording"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync } from "node:fs"
import { hostname } from "node:os"
import type { Readable } from "node:stream"
import * as WorkerProcess from "../WorkerProcess.ts"
import * as environment from "./environment.ts"
import * as Listener from "./listener.ts"
import type * as output from "./output.ts"
import type { SpawnLine } from "./spawnLine.ts"
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
  /** Whether workers may be given another driver than this process. */
  readonly kept?: boolean | undefined
}

/** A worker whose standard input can be written to. */
export interface Process extends Cluster.Process {
  readonly pid: number
  readonly tell: (line: string) => void
}

/** Milliseconds that a killed process has to be gone. */
const patience = 1000

/** Milliseconds that an exit waits for what the process printed last: whoever inherited the pipes may hold them open for ever. */
const lastWords = 2

/** A process that was started. */
interface Running {
  readonly child: ChildProcess
  readonly heard: Listener.Listener
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

/**
 * SIGTERM, then SIGKILL; a process that the kernel cannot end is left to it. Processes live in real time, whatever clock the program
 * runs on.
 */
const stop = ({ child, end }: Running, grace: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (hasExited(child)) return resume(Effect.void)
    let timer = setTimeout(() => {
      killGroup(child)
      timer = setTimeout(() => resume(Effect.void), patience)
    }, grace)
    child.once("exit", () => {
      clearTimeout(timer)
      resume(Effect.asVoid(Deferred.await(end)))
    })
    child.kill("SIGTERM")
  })

/** At which descriptor a worker finds its flight recorder. */
const flightDescriptor = 4

/** Which pipe a process says on why it ends (`lastWords.ts`). */
const lastWordsPipe = 3

/** Keeps and prints what a process says, and tells when it has ended. */
const watch = (
  child: ChildProcess,
  group: string,
  rank: number,
  print: output.Print | undefined,
  recorder: number | undefined
): Running => {
  const heard = Listener.make(group, rank, print)
  const end = Deferred.makeUnsafe<Cluster.End>()
  const pipes = [
    [child.stdout, heard.stdout],
    [child.stderr, heard.stderr],
    [child.stdio[lastWordsPipe] as Readable, heard.words]
  ] as const
  const streams = pipes.flatMap(([stream, ear]) => stream?.setEncoding("utf8").on("data", ear.push).on("end", ear.flush) ?? [])
  let flight: ReadonlyArray<FlightEvent> = []
  child.once("exit", (code, signal) => {
    killGroup(child)
    if (recorder !== undefined) {
      flight = FlightRecording.read(recorder, WorkerProcess.flightEntries)
      closeSync(recorder)
    }
    let open = streams.filter((stream) => !stream.closed)
    const done = (): void => {
      clearTimeout(timer)
      for (const stream of open) stream.destroy()
      Deferred.doneUnsafe(end, Exit.succeed(heard.end(code, signal, flight)))
    }
    // What lies in the pipes is read in the next turn of the event loop, which may itself have been held up.
    const timer = setTimeout(() => setImmediate(done), lastWords)
    if (open.length === 0) return done()
    for (const stream of open) {
      stream.once("close", () => {
        open = open.filter((other) => other !== stream)
        if (open.length === 0) done()
      })
    }
  })
  const last = (): ReadonlyArray<FlightEvent> =>
    recorder === undefined || hasExited(child) ? flight : FlightRecording.read(recorder, WorkerProcess.flightEntries)
  return { child, heard, end, flight: last }
}

export const make = (
  options: Options
): { readonly spawn: (worker: Cluster.Spawn) => Effect.Effect<Process, SpawnError, Scope.Scope> } => {
  const node = hostname()

  const start = (entry: URL, identity: Cluster.Identity, failed: (cause: unknown) => SpawnError): Effect.Effect<Running, SpawnError> =>
    Effect.callback((resume) => {
      const { group, rank } = identity
      const recorder = FlightRecording.create(options.queues.folder)
      try {
        const flight = recorder === undefined ? {} : { flight: flightDescriptor }
        const kept = options.kept === true ? { kept: true } : {}
        // What cannot be told is known before there is somebody to tell it to.
        const setup = WorkerProcess.encode({
          node,
          entry: entry.href,
          grace: options.grace,
          queues: options.queues,
          ...flight,
          ...kept,
          identity
        })
        const [file, ...args] = WorkerProcess.command({ identity, node: options.node, execArgv: options.execArgv, parent: process.pid })
        const child = spawn(
          file!,
          args,
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
        // A worker that is gone is told by its exit. Where there are no descriptors left there is no pipe either, and the error says so.
        child.stdin?.on("error", () => {})
        // Left open: its end tells the worker that the driver is gone.
        child.stdin?.write(setup)
      } catch (cause) {
        if (recorder !== undefined) closeSync(recorder)
        resume(Effect.fail(failed(cause)))
      }
    })

  return {
    spawn: Effect.fnUntraced(function*({ entry, identity }): Effect.fn.Return<Process, SpawnError, Scope.Scope> {
      const refuse = (why: WorkerProcess.Refusal): SpawnError =>
        new SpawnError({ rank: identity.rank, node, entry: entry instanceof URL ? entry.href : "a worker value", stderr: [], ...why })
      const refusal = WorkerProcess.refusal(entry)
      if (refusal !== undefined || !(entry instanceof URL)) return yield* refuse(refusal!)
      const running = yield* Effect.acquireRelease(
        start(entry, identity, (cause) =>
          refuse({
            phase: "start",
            issue: `${options.node} could not be started: ${cause instanceof Error ? cause.message : String(cause)}`,
            advice:
              "The option `node` names the binary of Node 26 or newer; if it is right, raise this user's limits of processes and open files"
          })),
        (running) => stop(running, options.grace)
      )
      const { child, end, flight, heard } = running
      return {
        node,
        pid: child.pid!,
        tell: (line) => void child.stdin!.write(`${line}\n`),
        end: Deferred.await(end),
        stderr: Effect.sync(heard.tail),
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
