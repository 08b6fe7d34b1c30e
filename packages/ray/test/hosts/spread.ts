/** Groups that lie on several hosts. */
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as RayCluster from "@phalanx/ray/RayCluster"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { execFileSync, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { type AddressInfo, createServer, type Server } from "node:net"
import { dirname } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Hosts from "../../../../test/harness/hosts.ts"
import { Three } from "../../../../test/harness/threeHosts.ts"
import { Scout } from "../fixtures/scoutProtocol.ts"

/** Dies unless they are the same. */
export const equal = (actual: unknown, expected: unknown): Effect.Effect<void> =>
  Equal.equals(actual, expected)
    ? Effect.void
    : Effect.die(new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`))

export const entry = new URL("../fixtures/scout.ts", import.meta.url)

/** A group of scouts, each rank on a host of its own where there is one. */
export const scouts = (ranks: number, options: Partial<WorkerGroup.Options<typeof Scout, "rank">> = {}) =>
  WorkerGroup.make(Scout, { name: "scouts", mesh: Mesh.make({ rank: ranks }), entry, ...options })

/** Resolves when the condition holds; dies with a sentence if it does not within the time given. */
export const eventually = <E, R>(what: string, condition: Effect.Effect<boolean, E, R>, millis = 30_000) =>
  condition.pipe(
    Effect.repeat({ until: (holds) => holds, schedule: Schedule.spaced("50 millis") }),
    Effect.timeoutOrElse({ duration: millis, orElse: () => Effect.die(new Error(`not within ${millis} ms: ${what}`)) })
  )

/** What was given back is on offer again within a second or so. */
export const allIsFree = Effect.gen(function*() {
  const { nodes } = yield* RayCluster.Ray
  yield* eventually("all is free", Effect.map(nodes, (nodes) => nodes.every(({ free, total }) => free["CPU"] === total["CPU"])))
})

/** Frames that the driver has sent by shared memory, and by TCP. */
const sent = (group: WorkerGroup.WorkerGroup<any, any>) =>
  Effect.map(group.stats, (stats) => {
    const numbers = new Map(stats).get("driver")!
    return [numbers["shm.frames"] ?? 0, numbers["tcp.frames"] ?? 0] as const
  })

/** Watches what crosses the bridge between hosts; the answer ends it, and tells how many bytes it has seen and whether a word was among them. */
const capture = Effect.fnUntraced(function*(word: string) {
  const { python } = yield* Three
  const script = fileURLToPath(new URL("./capture.py", import.meta.url))
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(python, [script, "phalanx", "br0", word], { stdio: ["pipe", "pipe", "inherit"] })),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  const lines = createInterface({ input: child.stdout })
  const line = Effect.callback<string>((resume) => {
    lines.once("line", (text) => resume(Effect.succeed(text)))
  })
  yield* line
  return Effect.suspend(() => {
    child.stdin.end()
    return Effect.map(line, (text) => {
      const [bytes, found] = text.split(" ")
      return { bytes: Number(bytes), found: found === "found" }
    })
  })
})

/** Runs a line of shell on another host. */
const on = (host: number, line: string): string => {
  const [pid] = Hosts.processes("raylet/raylet", `--node_ip_address=${Hosts.address(host)}`)
  return execFileSync("nsenter", [`--net=/proc/${pid}/ns/net`, "sh", "-c", line], { encoding: "utf8" })
}

/** Has another host say a word to this one, in the open; resolves when it has arrived. */
const heardFrom = Effect.fnUntraced(function*(host: number, word: string) {
  const server = yield* Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const server = createServer().listen(0, Hosts.address(1), () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )
  const arrived = Effect.callback<void>((resume) => {
    server.once("connection", (socket) => socket.once("data", () => resume(Effect.void)).on("error", () => {}))
  })
  const { port } = server.address() as AddressInfo
  const { python } = yield* Three
  on(host, `${python} -c 'import socket; socket.create_connection(("${Hosts.address(1)}", ${port})).sendall(b"${word}")'`)
  yield* arrived
}, Effect.scoped)

/** A rank on each host, for cases that leave them healthy. */
export class Trio extends Context.Service<Trio, WorkerGroup.WorkerGroup<typeof Scout, "rank">>()("@phalanx/ray/test/Trio") {
  static readonly layer = Layer.effect(this, RayCluster.placed({ strategy: "strict-spread" })(scouts(3)))
}

export const apiece = [
  {
    name: "RY-2: strict-spread puts a rank on each host, rank 0 on the driver's; it is reached by shared memory, the others by TCP",
    run: Effect.gen(function*() {
      const group = yield* Trio
      const places = yield* group.call.place()
      yield* equal(places[0]!.node, Hosts.address(1))
      yield* equal(places.map(({ node }) => node).toSorted(), [1, 2, 3].map(Hosts.address))
      yield* equal(places.map(({ host }) => host).toSorted(), ["host1", "host2", "host3"])
      yield* equal(group.workers.map(({ node }) => node), places.map(({ node }) => node))
      const before = yield* sent(group)
      for (const rank of [0, 0, 1, 2]) yield* group.at(rank).call.place()
      const after = yield* sent(group)
      yield* equal(after.map((frames, way) => frames - before[way]!), [2, 2])
    }).pipe(Effect.scoped)
  },
  {
    name: "RY-8: nothing of a payload can be read between hosts, and a stranger on the port gets nothing and harms nobody",
    run: Effect.gen(function*() {
      const { python } = yield* Three
      const word = "the answer is forty-two"
      const bytes = new TextEncoder().encode(word.repeat(1000))
      const plain = yield* capture(word)
      yield* heardFrom(2, word)
      yield* equal((yield* plain).found, true)

      const group = yield* Trio
      const ended = yield* capture(word)
      const replies = yield* group.call.echo({ bytes })
      yield* equal(replies.map((reply) => new TextDecoder().decode(reply) === word.repeat(1000)), [true, true, true])
      const { bytes: seen, found } = yield* ended
      yield* equal([seen > 4 * bytes.length, found], [true, false])

      const mine = new RegExp(`${Hosts.address(1).replaceAll(".", "\\.")}:(\\d+) .*\\bpid=${process.pid},`)
      const ports = execFileSync("ss", ["-ltnpH"], { encoding: "utf8" }).split("\n").flatMap((line) => mine.exec(line)?.[1] ?? [])
      yield* equal(ports.length > 0, true)
      for (const port of ports) {
        const heard = on(
          2,
          `${python} -c 'import socket; s = socket.create_connection(("${
            Hosts.address(1)
          }", ${port})); s.settimeout(1); s.sendall(b"let me in" * 1000)
try: print(len(s.recv(65536)))
except OSError: print(0)'`
        )
        // At most ZeroMQ's own greeting, which says nothing of the group.
        yield* equal(Number(heard) <= 64, true)
      }
      yield* equal((yield* group.call.echo({ bytes: bytes.subarray(0, 10) })).length, 3)
    }).pipe(Effect.scoped)
  }
]

/** What a program needs to use the cluster. */
const environment = Effect.map(Three, ({ address, python, token }) => ({
  ...process.env,
  RAY_ADDRESS: address,
  RAY_AUTH_TOKEN: token,
  PATH: `${dirname(python)}:${process.env["PATH"]}`
}))
const example = (name: string) => fileURLToPath(new URL(`../../../../examples/${name}/main.ts`, import.meta.url))

/** What the reference writes. */
const { prompts }: { readonly prompts: ReadonlyArray<{ readonly name: string; readonly output: string }> } = JSON.parse(
  readFileSync(new URL("../../../moe/model/reference.json", import.meta.url), "utf8")
)

export const nodes = [
  {
    name: "RY-2: with nodes, what does not fit is told of these alone",
    run: Effect.gen(function*() {
      const only = RayCluster.placed({ nodes: [Hosts.address(2), Hosts.address(3)], strategy: "strict-spread", wait: 0 })
      const error = yield* Effect.flip(Effect.scoped(only(scouts(3))))
      yield* equal(
        /strict-spread of 3 × \{CPU 1\} does not fit: node \w+ \(10\.77\.0\.[23]\) has CPU \d of 8 free; node \w+ \(10\.77\.0\.[23]\)/.test(
          error.message
        ),
        true
      )
      yield* equal(error.message.includes(Hosts.address(1)), false)
    })
  },
  {
    name: "RY-1: the example writes on three hosts, a rank on each, what one machine writes",
    run: Effect.gen(function*() {
      const stdout = execFileSync(process.execPath, [example("ray-hosts"), "blorptastic"], { env: yield* environment, encoding: "utf8" })
      const [first, second, third, ...text] = stdout.split("\n")
      yield* equal(first, `rank 0 on ${Hosts.address(1)}`)
      yield* equal([second!.slice(-1), third!.slice(-1)].toSorted(), ["2", "3"])
      const { output } = prompts.find(({ name }) => name === "blorptastic")!
      yield* equal(text.join("\n"), `blorptastic\n${Buffer.from(output, "hex")}\n`)
    })
  },
  {
    name: "RY-4: a host that is no node of the cluster is told so",
    run: Effect.gen(function*() {
      const child = yield* Hosts.start(4, [process.execPath, example("ray")], yield* environment)
      let said = ""
      child.stdout!.setEncoding("utf8").on("data", (text: string) => said += text)
      const code = yield* Effect.callback<number | null>((resume) => {
        child.once("close", (code) => resume(Effect.succeed(code)))
      })
      yield* equal([code, /no raylet of \S+ runs on this host.*run the driver on a node of the cluster/s.test(said)], [1, true])
    }).pipe(Effect.scoped)
  }
]
