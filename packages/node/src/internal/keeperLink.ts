/** A driver's lease of its group's keeper: what it asks for, and the workers as they are seen through it. */
import type * as Cluster from "@phalanx/core/Cluster"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { hostname } from "node:os"
import * as Path from "node:path"
import * as OsProcess from "../OsProcess.ts"
import type { Entry } from "../Registry.ts"
import * as keeperStart from "./keeperStart.ts"
import * as keeping from "./keeping.ts"
import type * as processes from "./processes.ts"
import * as Proof from "./proof.ts"
import { aboutClaim } from "./spawnLine.ts"
import * as sweeping from "./sweeping.ts"
import { vitals } from "./vitals.ts"

export interface Options extends processes.Options {
  /** Milliseconds for which workers outlive a driver that says nothing. */
  readonly lease: number
}

/** How often a lease is renewed in its time. A keeper that leaves as many renewals unanswered is lost. */
const renewals = 4

const readWelcome = keeping.reader(keeping.Welcome)
const readChallenge = keeping.reader(keeping.Challenge)
const readMessage = keeping.reader(keeping.FromKeeper)

/** A worker as its driver sees it. */
interface Seen {
  pid: number | undefined
  readonly end: Deferred.Deferred<Cluster.End>
}

/** What is asked, without its number. */
type Question = keeping.FromDriver extends infer M ? M extends { readonly ask: number } ? Omit<M, "ask"> : never : never
type Answer = Extract<keeping.FromKeeper, { readonly ask: number }>

/** A lease. */
export interface Link {
  readonly spawn: (entry: URL, identity: Cluster.Identity) => Effect.Effect<Cluster.Process, keeping.Refusal, Scope.Scope>
  /** The keeper is gone, or has another driver. */
  readonly isLost: () => boolean
  /** Whom the keeper had when the lease was taken, for the driver that takes them over. */
  readonly orphans: ReadonlyArray<Orphan>
  readonly lives: ReadonlyArray<keeping.Worker>
}

export interface Orphan extends Cluster.Orphan {
  readonly pid: number
}

/** A keeper that is there, and whom to tell that a former driver of it has asked for something. */
export interface Present {
  readonly keeper: OsProcess.OsProcess
  readonly fenced: () => void
}

interface Connected {
  readonly socket: Net.Socket
  readonly welcome: Extract<typeof keeping.Welcome.Type, { readonly proof: string }>
  /** Has every line heard that comes after the welcome, from those on that came together with it. */
  readonly listen: (hear: (line: string) => boolean) => void
}

/** Takes the lease of a keeper that listens. */
const connect = ({ folder, generation, secret }: Entry, options: Options): Effect.Effect<Connected, keeping.Refusal> =>
  Effect.callback((resume) => {
    const nonce = keeping.nonce()
    const socket = Net.connect(Path.join(folder, keeping.socketName))
    const fail = (issue: string): void => {
      socket.destroy()
      resume(Effect.fail(keeperStart.failed(issue)))
    }
    const greet = (line: string): boolean => {
      const challenge = readChallenge(line)
      if (challenge === undefined) return false
      const { env, execArgv, grace, node, print, queues } = options
      const hello: keeping.Hello = {
        generation,
        leaseMillis: options.lease,
        nonce,
        proof: Proof.of(secret, keeping.about("driver", challenge.nonce, generation)),
        options: { queues, prints: print !== undefined, grace, env, execArgv, node }
      }
      socket.write(keeping.line(hello))
      hear = enter
      return true
    }
    const enter = (line: string): boolean => {
      const welcome = readWelcome(line)
      if (welcome === undefined || "replacedBy" in welcome) return false
      if (!Proof.holds(welcome.proof, secret, keeping.about("keeper", nonce, generation))) return false
      socket.setTimeout(0).removeAllListeners("close")
      const early: Array<string> = []
      hear = (line) => early.push(line) > 0
      const listen: Connected["listen"] = (f) => {
        hear = f
        if (!early.every(f)) socket.destroy()
      }
      resume(Effect.succeed({ socket, welcome, listen }))
      return true
    }
    let hear = greet
    socket.setTimeout(keeping.answerWithin, () => fail(`it did not answer within ${keeping.answerWithin} ms`))
    socket.on("error", (cause) => fail(cause.message)).once("close", () => fail("it hung up"))
    keeping.listen(socket, (line) => hear(line))
  })

/** Takes the lease of a group's keeper, of one that is there or of a new one. The scope's end ends the keeper, and whoever it still keeps. */
export const open = Effect.fnUntraced(function*(
  entry: Entry,
  options: Options,
  present?: Present
): Effect.fn.Return<Link, keeping.Refusal, Scope.Scope> {
  const { folder, group, secret } = entry
  const keeper = yield* Effect.acquireRelease(
    present === undefined ? keeperStart.start(entry, options.node, options.lease) : Effect.succeed(present.keeper),
    (keeper) => entry.isReplaced() ? Effect.void : keeperStart.end(entry, keeper),
    { interruptible: true }
  )
  yield* entry.keptBy({ socket: Path.join(folder, keeping.socketName), ...keeper }, options.lease)
  const { listen, socket, welcome } = yield* connect(entry, options)
  const seen = new Map<string, Seen>(welcome.workers.map((worker) => {
    const end = Deferred.makeUnsafe<Cluster.End>()
    if (worker.end !== undefined) Deferred.doneUnsafe(end, Exit.succeed(worker.end))
    return [keeping.keyOf(worker), { pid: worker.pid, end }]
  }))
  const asked = new Map<number, (answer: Answer | undefined) => void>()
  let asks = 0
  let unanswered = 0
  let over = false

  const say = (message: keeping.FromDriver): void => {
    if (socket.writable) socket.write(keeping.line(message))
  }
  /** Asks, and waits for the answer; `undefined` if the keeper is lost before. */
  const ask = (question: Question): Effect.Effect<Answer | undefined> =>
    Effect.callback((resume) => {
      if (!socket.writable) return resume(Effect.undefined)
      const ask = asks++
      asked.set(ask, (answer) => resume(Effect.succeed(answer)))
      say({ ...question, ask })
    })

  // ------------------------------------------------------------------------------------------------ what the keeper says
  /** Nothing more will be heard of these workers. */
  const giveUp = (end: Omit<Cluster.End, "stderr">, why: ReadonlyArray<string> = []): void => {
    for (const resume of asked.values()) resume(undefined)
    asked.clear()
    for (const one of seen.values()) Deferred.doneUnsafe(one.end, Exit.succeed({ ...end, stderr: why }))
    seen.clear()
  }
  const hear = (message: keeping.FromKeeper): void => {
    unanswered = 0
    switch (message._tag) {
      case "Renewed":
        return
      case "Fenced":
        return present?.fenced()
      case "Ended": {
        const one = seen.get(keeping.keyOf(message.worker))
        return void (one !== undefined && Deferred.doneUnsafe(one.end, Exit.succeed(message.end)))
      }
      case "Printed": {
        const { rank, stream, text } = message
        return options.print?.({ group, rank, stream, text })
      }
      case "Replaced": {
        over = true
        entry.replace()
        socket.destroy()
        return giveUp({
          death: { _tag: "Disconnected", issue: `driver ${message.generation} has taken the group over` },
          reason: "replaced"
        })
      }
      default:
        asked.get(message.ask)?.(message)
        asked.delete(message.ask)
    }
  }
  listen((line) => {
    const message = readMessage(line)
    if (message !== undefined) hear(message)
    return message !== undefined
  })

  // ------------------------------------------------------------------------------------------------ the lease
  const renewing = setInterval(() => {
    if (++unanswered > renewals) socket.destroy()
    else say({ _tag: "Renew" })
  }, options.lease / renewals).unref()
  const hungUp = (): void => {
    clearInterval(renewing)
    if (over) return giveUp({ death: { _tag: "Killed", signal: "SIGTERM" } })
    // Workers die with their keeper, but what they had started does not; and one that only hung up, or is stopped, goes now.
    const workers = [...seen.values()].flatMap(({ pid }) => pid === undefined ? [] : [OsProcess.of(pid)])
    Effect.runFork(
      Effect.andThen(
        Effect.ignore(sweeping.kill(folder, group, [keeper, ...workers])),
        Effect.sync(() =>
          giveUp({ death: { _tag: "Killed", signal: "SIGKILL" } }, [`ended together with its keeper, process ${keeper.pid}`])
        )
      )
    )
  }
  if (socket.closed) hungUp()
  else socket.once("close", hungUp)

  /** Longer than a keeper takes for a worker that does not end in order. */
  const patience = 2 * options.grace + 1000
  /** Gives the keeper up, unless it is told in time that it need not. This process may not have run for a while itself: what has come meanwhile is read first. */
  const losing = (): () => void => {
    let timer = setTimeout(() => {
      timer = setTimeout(() => socket.destroy(), 100)
    }, patience)
    return () => clearTimeout(timer)
  }
  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      over = true
      if (socket.destroyed) return resume(Effect.void)
      const answered = losing()
      socket.once("close", () => {
        answered()
        resume(Effect.void)
      })
      say({ _tag: "End" })
    })
  )

  // ------------------------------------------------------------------------------------------------ workers
  const stop = (worker: keeping.Worker, { end }: Seen): Effect.Effect<void> =>
    Effect.suspend(() => {
      const answered = losing()
      return ask({ _tag: "Stop", worker }).pipe(
        Effect.andThen(Deferred.await(end)),
        Effect.andThen(Effect.sync(() => {
          answered()
          seen.delete(keeping.keyOf(worker))
        }))
      )
    })

  /** What a worker is to its driver, and stopped with the scope. */
  const processOf = (worker: keeping.Worker, one: Seen, pid: number): Cluster.Process => {
    const said = Effect.map(ask({ _tag: "Ask", worker }), (answer) => answer?._tag === "Said" ? answer : { stderr: [], flight: [] })
    return {
      node: hostname(),
      pid,
      end: Deferred.await(one.end),
      stderr: Effect.map(said, ({ stderr }) => stderr),
      flight: Effect.map(said, ({ flight }) => flight),
      vitals: vitals({ pid }),
      kill: (signal) => Effect.asVoid(ask({ _tag: "Kill", worker, signal }))
    }
  }
  const orphan = ({ incarnation, member, pid, rank }: keeping.Kept): Orphan => {
    const worker = { member, incarnation }
    const one = seen.get(keeping.keyOf(worker))!
    return {
      ...worker,
      rank,
      pid,
      process: Effect.acquireRelease(Effect.sync(() => processOf(worker, one, pid)), () => stop(worker, one)),
      claim: (claim) => Effect.asVoid(ask({ _tag: "Claim", worker, claim, proof: Proof.of(secret, aboutClaim(claim)) }))
    }
  }

  return {
    isLost: () => socket.destroyed,
    orphans: welcome.workers.map(orphan),
    lives: welcome.lives,
    spawn: Effect.fnUntraced(function*({ href }, identity) {
      const { incarnation, member } = identity
      const worker = { member, incarnation }
      const one: Seen = { pid: undefined, end: Deferred.makeUnsafe() }
      const pid = yield* Effect.acquireRelease(
        Effect.suspend(() => {
          seen.set(keeping.keyOf(worker), one)
          return Effect.flatMap(ask({ _tag: "Spawn", entry: href, identity }), (answer) => {
            if (answer?._tag === "Spawned") return Effect.succeed(one.pid = answer.pid)
            seen.delete(keeping.keyOf(worker))
            return Effect.fail(answer?._tag === "Refused" ? answer.error : keeperStart.failed(`process ${keeper.pid} is gone`))
          })
        }),
        () => stop(worker, one)
      )
      return processOf(worker, one, pid)
    })
  }
})
