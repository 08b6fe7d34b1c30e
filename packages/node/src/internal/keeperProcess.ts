/**
 * A group's keeper: the process whose children the workers are, so that they can outlive their driver. It starts, reaps and ends them for whichever
 * driver holds the lease, and keeps how they ended for the next one. It ends all workers and then itself
 * - at once, when its driver says so;
 * - when no driver has renewed the lease in time, or when it is told to (SIGTERM): then it removes what driver and workers have left, too.
 */
import type * as Cluster from "@phalanx/core/Cluster"
import type { SpawnError } from "@phalanx/core/WorkerError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import * as keeping from "./keeping.ts"
import type * as output from "./output.ts"
import * as processes from "./processes.ts"
import * as Proof from "./proof.ts"
import * as sweeping from "./sweeping.ts"

/** A worker, from its start until a driver has no more questions about it. */
interface Kept {
  readonly worker: keeping.Worker
  readonly rank: number
  readonly process: processes.Process
  readonly scope: Scope.Closeable
  end: Cluster.End | undefined
}

/** Whoever has the lease, or had it last. */
interface Seat {
  readonly generation: number
  readonly leaseMillis: number
  readonly tell: (message: keeping.FromKeeper) => void
  readonly print: output.Print
  readonly spawn: ReturnType<typeof processes.make>["spawn"]
}

/** What a driver that does not read may leave unread before lines that workers print are left out. */
const mostUnread = 4 * 1024 * 1024

const readSetup = keeping.reader(keeping.Setup)
const readHello = keeping.reader(keeping.Hello)
const readMessage = keeping.reader(keeping.FromDriver)

const run = ({ folder, group, leaseMillis, secret }: keeping.Setup): void => {
  process.title = `phalanx ${group} keeper`
  const workers = Scope.makeUnsafe("parallel")
  const kept = new Map<string, Kept>()
  /** Each member's latest incarnation. */
  const lives = new Map<number, number>()
  let seat: Seat | undefined
  let ending = false

  // ------------------------------------------------------------------------------------------------ the end
  const end = async (sweeps: boolean): Promise<void> => {
    if (ending) return
    ending = true
    server.close()
    await Effect.runPromise(Scope.close(workers, Exit.void))
    if (sweeps) await Effect.runPromise(sweep)
    process.exit(0)
  }

  // Somebody who only looks at the group has its lock for a moment; whoever keeps it removes what is left itself.
  const sweep = Effect.ignore(sweeping.sweepNow(folder)).pipe(
    Effect.repeat({ while: () => Fs.existsSync(folder), schedule: Schedule.spaced("50 millis"), times: 20 })
  )

  let lease: NodeJS.Timeout | undefined
  const renew = (): void => {
    clearTimeout(lease)
    lease = setTimeout(() => {
      // This process may not have run for a while itself: what has come meanwhile is read first.
      lease = setTimeout(() => void end(true), 100)
    }, seat?.leaseMillis ?? leaseMillis)
  }

  // ------------------------------------------------------------------------------------------------ what a driver asks for
  const spawn = (asking: Seat, { ask, entry, identity }: Extract<keeping.FromDriver, { _tag: "Spawn" }>): Effect.Effect<void> =>
    Effect.gen(function*() {
      const { incarnation, member, rank } = identity
      const worker = { member, incarnation }
      lives.set(member, Math.max(incarnation, lives.get(member) ?? 0))
      const scope = yield* Scope.fork(workers)
      const exit = yield* Effect.exit(Scope.provide(asking.spawn({ entry: new URL(entry), identity }), scope))
      if (exit._tag === "Failure") {
        yield* Scope.close(scope, exit)
        const { advice, issue, phase } = yield* Effect.flip(exit as Exit.Exit<never, SpawnError>)
        return asking.tell({ _tag: "Refused", ask, error: { phase, issue, advice } })
      }
      const one: Kept = { worker, rank, process: exit.value, scope, end: undefined }
      kept.set(keeping.keyOf(worker), one)
      asking.tell({ _tag: "Spawned", ask, pid: exit.value.pid })
      one.end = yield* exit.value.end
      seat?.tell({ _tag: "Ended", worker, end: one.end })
    }).pipe(Effect.orDie)

  const answer = (asking: Seat, message: keeping.FromDriver): Effect.Effect<void> => {
    switch (message._tag) {
      case "Renew":
        renew()
        return Effect.sync(() => asking.tell({ _tag: "Renewed" }))
      case "Spawn":
        return spawn(asking, message)
      case "End":
        return Effect.promise(() => end(false))
    }
    const { ask, worker } = message
    const one = kept.get(keeping.keyOf(worker))
    switch (message._tag) {
      case "Kill":
        return Effect.andThen(one?.process.kill(message.signal) ?? Effect.void, Effect.sync(() => asking.tell({ _tag: "Done", ask })))
      case "Claim": {
        const { claim, proof } = message
        one?.process.tell(JSON.stringify({ claim, proof }))
        return Effect.sync(() => asking.tell({ _tag: "Done", ask }))
      }
      case "Stop":
        return Effect.andThen(
          one === undefined ? Effect.void : Scope.close(one.scope, Exit.void),
          Effect.sync(() => {
            kept.delete(keeping.keyOf(worker))
            asking.tell({ _tag: "Done", ask })
          })
        )
      case "Ask":
        return Effect.gen(function*() {
          const stderr = one === undefined ? [] : yield* one.process.stderr
          const flight = one?.process.flight === undefined ? [] : yield* one.process.flight
          asking.tell({ _tag: "Said", ask, stderr, flight })
        })
    }
  }

  // ------------------------------------------------------------------------------------------------ drivers
  /** A worker may print for another driver than the one that asked for it. */
  const print: output.Print = (line) => seat?.print(line)

  const seatOf = (socket: Net.Socket, { generation, leaseMillis, options }: keeping.Hello): Seat => {
    const tell = (message: keeping.FromKeeper): void => {
      if (socket.writable) socket.write(keeping.line(message))
    }
    return {
      generation,
      leaseMillis,
      tell,
      print: ({ rank, stream, text }) => {
        if (options.prints && socket.writableLength < mostUnread) tell({ _tag: "Printed", rank, stream, text })
      },
      spawn: processes.make({ ...options, print: options.prints ? print : undefined, kept: true }).spawn
    }
  }
  const known = () => ({
    workers: [...kept.values()].map(({ end, process: { pid }, rank, worker }): keeping.Kept => ({
      ...worker,
      rank,
      pid,
      ...(end === undefined ? {} : { end })
    })),
    lives: [...lives].map(([member, incarnation]): keeping.Worker => ({ member, incarnation }))
  })

  const greet = (socket: Net.Socket): void => {
    const nonce = keeping.nonce()
    let mine: Seat | undefined
    socket.on("error", () => socket.destroy()).setTimeout(keeping.answerWithin, () => socket.destroy())
    keeping.listen(socket, (line) => {
      if (mine !== undefined) {
        const message = readMessage(line)
        if (message === undefined) return false
        // What a driver says that was replaced changes nothing.
        if (mine !== seat) seat?.tell({ _tag: "Fenced" })
        else if (!ending) Effect.runFork(answer(mine, message))
        return true
      }
      const hello = readHello(line)
      if (hello === undefined || ending) return false
      const { generation } = hello
      if (!Proof.holds(hello.proof, secret, keeping.about("driver", nonce, generation))) return false
      if (seat !== undefined && generation <= seat.generation) {
        return socket.end(keeping.line({ replacedBy: seat.generation })).writable
      }
      socket.setTimeout(0)
      socket.write(keeping.line({ proof: Proof.of(secret, keeping.about("keeper", hello.nonce, generation)), ...known() }))
      seat?.tell({ _tag: "Replaced", generation })
      seat = mine = seatOf(socket, hello)
      renew()
      return true
    })
    socket.write(keeping.line({ nonce }))
  }

  const path = Path.join(folder, keeping.socketName)
  const server = Net.createServer(greet)
  server.maxConnections = 16
  server.on("error", ({ message }) => {
    process.stderr.write(`${message}\n`)
    process.exit(1)
  })
  // Of one that was killed.
  Fs.rmSync(path, { force: true })
  server.listen(path, () => {
    Fs.chmodSync(path, 0o600)
    process.stdout.write("ready\n")
  })
  process.on("SIGTERM", () => void end(true))
  renew()
}

// It may outlive whoever reads what it says.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})

let text = ""
process.stdin.setEncoding("utf8").on("data", (chunk: string) => text += chunk).on("end", () => {
  const setup = readSetup(text.trim())
  // Whoever started it was killed before it had said what for.
  if (setup === undefined) process.exit(1)
  run(setup)
})
