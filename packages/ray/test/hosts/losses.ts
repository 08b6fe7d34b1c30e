/** What becomes of groups when hosts, or parts of them, are lost. */
import type * as Cluster from "@phalanx/core/Cluster"
import type { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Supervision from "@phalanx/core/Supervision"
import type * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as RayCluster from "@phalanx/ray/RayCluster"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { execFileSync, spawn } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Hosts from "../../../../test/harness/hosts.ts"
import { Three } from "../../../../test/harness/threeHosts.ts"
import type { Scout } from "../fixtures/scoutProtocol.ts"
import { allIsFree, equal, eventually, scouts } from "./spread.ts"

type Group = WorkerGroup.WorkerGroup<typeof Scout, "rank">

const hostOf = (group: Group, rank: number) => Effect.map(group.membership, ({ members }) => Number(members[rank]!.node.split(".")[3]))

/** Kills something of the host of rank 1 while a call runs there; the call ends in `WorkerDied`, the rank is started again, and answers. */
const loses = Effect.fnUntraced(function*(
  group: Group,
  kill: (host: number) => Effect.Effect<unknown, unknown, Three | RayCluster.Ray>,
  within: number
) {
  const host = yield* hostOf(group, 1)
  const call = yield* Effect.forkChild(group.at(1).call.hold({ stderr: [] }), { startImmediately: true })
  yield* group.at(0).call.place()
  const began = performance.now()
  yield* kill(host)
  const error = yield* Effect.flip(Fiber.join(call))
  const millis = performance.now() - began
  yield* equal([error.reason._tag, millis < within || millis], ["WorkerDied", true])
  const places = yield* Effect.retry(group.call.place(), { times: 3 })
  yield* equal(places.length, 2)
  return { host, millis, now: yield* hostOf(group, 1) }
})

const apart = RayCluster.placed({ strategy: "strict-spread" })

/** Two ranks on two hosts, the same for one loss after another: whatever is lost is started again. */
export class Duo extends Context.Service<Duo, {
  /** Starts them if there are none. */
  readonly group: Effect.Effect<Group, unknown>
  readonly end: Effect.Effect<void>
}>()("@phalanx/ray/test/Duo") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      const outer = yield* Effect.scope
      const supervision = Supervision.restart({ max: 20, per: "1 minute", backoff: "10 millis" })
      const make = apart(scouts(2, { supervision }))
      const context = yield* Effect.context<Effect.Services<typeof make>>()
      let current: { readonly group: Group; readonly scope: Scope.Closeable } | undefined
      return Duo.of({
        group: Effect.gen(function*() {
          if (current !== undefined) return current.group
          const scope = yield* Scope.fork(outer)
          const group = yield* Effect.provideContext(Scope.provide(make, scope), context)
          current = { group, scope }
          return group
        }),
        end: Effect.suspend(() => {
          const last = current
          current = undefined
          return last === undefined ? Effect.void : Scope.close(last.scope, Exit.void)
        })
      })
    })
  )
}

/** Every host is a node, also one that was lost. */
const whole = Effect.gen(function*() {
  const { nodes } = yield* RayCluster.Ray
  const { start } = yield* Three
  const up = (yield* nodes).map(({ address }) => address)
  for (const host of [2, 3]) if (!up.includes(Hosts.address(host))) yield* start(host)
  yield* eventually("three nodes", Effect.map(nodes, (nodes) => nodes.length === 3))
})
const ranks = Effect.andThen(whole, Effect.flatMap(Duo, ({ group }) => group))

/** Two workers and two agents are left, and two processors are taken. */
const settled = Effect.gen(function*() {
  const { nodes } = yield* RayCluster.Ray
  yield* eventually(
    "only what lives is left",
    Effect.sync(() => Hosts.processes("phalanx scouts-").length === 2 && Hosts.processes("ray::PhalanxAgent").length === 2)
  )
  const taken = Effect.map(nodes, (nodes) => nodes.reduce((sum, { free, total }) => sum + total["CPU"]! - (free["CPU"] ?? 0), 0))
  yield* eventually("two processors are taken", Effect.map(taken, (taken) => taken === 2))
})

/** The files of queues in the memory of all hosts. */
const files = (raylets = Hosts.processes("raylet/raylet")): ReadonlyArray<string> =>
  raylets.flatMap((pid) => readdirSync(join("/proc", `${pid}`, "root", "dev", "shm"))).filter((name) => name.startsWith("phalanx-"))

/** No process that a worker or an agent was is left on any host, nor a file of theirs, and every processor is free. */
const clean = Effect.gen(function*() {
  yield* eventually(
    "no worker and no agent is left",
    Effect.sync(() => Hosts.processes("phalanx scouts-").length + Hosts.processes("ray::PhalanxAgent").length === 0)
  )
  yield* eventually("no file is left", Effect.sync(() => files().length === 0), 5000)
  yield* allIsFree
})

/** How much memory some processes have, in MiB. */
const memory = (...words: ReadonlyArray<string>): number =>
  Hosts.processes(...words).reduce(
    (sum, pid) => sum + Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024,
    0
  )

/** What there is when the ranks have ended, for whoever wants to know whether it adds up. */
export const counts = Effect.gen(function*() {
  const { nodes } = yield* RayCluster.Ray
  const reserved = (yield* nodes).map(({ free, total }) => total["CPU"]! - (free["CPU"] ?? 0))
  return {
    processes: Hosts.processes().length,
    workers: Hosts.processes("phalanx scouts-").length,
    agents: Hosts.processes("ray::PhalanxAgent").length,
    segments: files().length,
    reserved: reserved.reduce((sum, amount) => sum + amount, 0),
    driverMiB: Math.round(process.memoryUsage.rss() / 1024 / 1024),
    bridgeMiB: Math.round(memory("python/bridge.py")),
    controlMiB: Math.round(memory("gcs/gcs_server"))
  }
})

const signal = (pids: ReadonlyArray<number>, name: NodeJS.Signals) =>
  Effect.sync(() => {
    if (pids.length === 0) throw new Error("there is nothing to be signalled")
    for (const pid of pids) process.kill(pid, name)
  })

interface Loss {
  readonly name: string
  /** It is among the rounds, and not among what is tested each time: what it tells of a group is told by another, too. */
  readonly seldom?: true
  readonly run: Effect.Effect<unknown, unknown, Duo | Three | RayCluster.Ray | Cluster.Cluster | MessageQueues>
}

const phalanx = fileURLToPath(new URL("../../../cli/phalanx.mjs", import.meta.url))
const raylet = (host: number) => Hosts.processes("raylet/raylet", `--node_ip_address=${Hosts.address(host)}`)

/** Each gives how many milliseconds a loss took to be told, by what was lost. */
export const losses: ReadonlyArray<Loss> = [
  {
    name:
      "RY-2, RY-5: with nodes, only these are used, with rank 0 beside its driver; local ranks count those of a host, which share one agent; and nothing is left when the driver is killed",
    run: Effect.gen(function*() {
      const { address, python, token } = yield* Three
      yield* whole
      const [pid] = raylet(2)
      const runtime = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-driven-"))),
        (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
      )
      const env = {
        ...process.env,
        XDG_RUNTIME_DIR: runtime,
        RAY_ADDRESS: address,
        RAY_AUTH_TOKEN: token,
        PATH: `${dirname(python)}:${process.env["PATH"]}`
      }
      const program = fileURLToPath(new URL("../fixtures/driver.ts", import.meta.url))
      const args = ["4", "0", [2, 3].map(Hosts.address).join()]
      const inside = ["--target", String(pid), "--net", "--mount", "--pid", "--uts"]
      const driver = yield* Effect.acquireRelease(
        Effect.sync(() => spawn("nsenter", [...inside, process.execPath, program, ...args], { env, stdio: ["ignore", "pipe", "inherit"] })),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const told = yield* Effect.callback<string>((resume) => {
        createInterface({ input: driver.stdout }).on("line", (line) => line.startsWith("places") && resume(Effect.succeed(line)))
      })
      const places: ReadonlyArray<{ readonly node: string; readonly parent: number; readonly local: string }> = JSON.parse(told.slice(6))
      yield* equal(places.map(({ node }) => node), [2, 2, 3, 3].map(Hosts.address))
      yield* equal(places.map(({ local }) => local), [0, 1, 0, 1].map((rank) => `${rank} of 2`))
      yield* equal(new Set(places.map(({ node, parent }) => `${node} ${parent}`)).size, 2)
      const [first] = Hosts.processes("phalanx driven-", "rank 0")
      yield* equal([Hosts.processes("phalanx driven-").length, Hosts.space(first!) === Hosts.space(pid!)], [4, true])
      // Two ranks of a host meet by its memory.
      const elsewhere = [...raylet(1), ...raylet(3)]
      yield* equal(files(elsewhere).length >= 2, true)
      yield* signal(Hosts.processes("fixtures/driver.ts").filter((other) => other !== driver.pid), "SIGKILL")
      yield* eventually("its workers are gone", Effect.sync(() => Hosts.processes("phalanx driven-").length === 0), 2000)
      yield* eventually("their files are gone", Effect.sync(() => files(elsewhere).length === 0), 5000)
      // Its own go with the next start there, or when somebody has them swept.
      execFileSync("nsenter", [...inside, process.execPath, phalanx, "doctor", "--sweep"], { env, stdio: "ignore" })
    }).pipe(Effect.scoped, Effect.tap(clean))
  },
  {
    name: "RY-3: a worker and an agent on another host are told, and started again there",
    run: Effect.gen(function*() {
      const group = yield* ranks
      const worker = yield* loses(group, () => signal(Hosts.processes("phalanx scouts-", "rank 1"), "SIGKILL"), 5000)
      yield* equal(worker.now, worker.host)
      const agent = yield* loses(group, (host) => signal(agentsOn(host), "SIGKILL"), 5000)
      yield* equal(agent.now, agent.host)
      yield* settled
      return { worker: worker.millis, agent: agent.millis }
    })
  },
  {
    // On one host, too.
    seldom: true,
    name: "RY-3: the bridge is told, and every rank is started again by the next one",
    run: Effect.gen(function*() {
      const { millis } = yield* loses(yield* ranks, () => signal(Hosts.processes("python/bridge.py"), "SIGKILL"), 5000)
      yield* settled
      return { bridge: millis }
    })
  },
  {
    name: "RY-3: a node whose raylet is killed is told, and its rank goes on on another host",
    run: Effect.gen(function*() {
      const { host, millis, now } = yield* loses(yield* ranks, (host) => signal(raylet(host), "SIGKILL"), 20_000)
      yield* equal([host === now, now === 1], [false, false])
      yield* settled
      return { node: millis }
    })
  },
  {
    // Its raylet is what counts.
    seldom: true,
    name: "RY-3: a host that is lost with its network is told, and its rank goes on on another host",
    run: Effect.gen(function*() {
      const { kill } = yield* Three
      const { host, millis, now } = yield* loses(yield* ranks, kill, 20_000)
      yield* equal([host === now, now === 1], [false, false])
      yield* settled
      return { host: millis }
    })
  },
  {
    name: "RY-3: a host that is cut off is told, its rank goes on on another host, and what it says when it is back is fenced",
    run: Effect.gen(function*() {
      const group = yield* ranks
      const { host, millis, now } = yield* loses(group, Hosts.cut, 30_000)
      yield* equal([host === now, now === 1], [false, false])
      yield* Hosts.heal(host)
      yield* equal((yield* group.call.place()).map(({ node }) => node), [1, now].map(Hosts.address))
      // The node that was given up ends itself and its workers when it hears of it.
      yield* settled
      yield* (yield* Duo).end
      yield* clean
      return { link: millis }
    })
  },
  {
    name: "RY-4: a control service that is lost is an error of who starts something, and lets go on what runs",
    run: Effect.gen(function*() {
      const { nodes } = yield* RayCluster.Ray
      const other = (yield* nodes).find(({ driver }) => !driver)!
      const group = yield* RayCluster.placed({ nodes: [other.address] })(scouts(1))
      yield* signal(Hosts.processes("gcs/gcs_server"), "SIGKILL")
      const began = performance.now()
      const error = yield* Effect.flip(Effect.scoped(apart(scouts(2))))
      yield* equal([performance.now() - began < 8000, /control service has not answered for 5 s/.test(error.message) || error.message], [
        true,
        true
      ])
      yield* equal((yield* group.call.place()).length, 1)
    }).pipe(Effect.scoped)
  }
]

/** The agents on a host, by their numbers here. */
const agentsOn = (host: number): ReadonlyArray<number> =>
  Hosts.processes("ray::PhalanxAgent").filter((pid) => Hosts.space(pid) === Hosts.space(raylet(host)[0]!))
