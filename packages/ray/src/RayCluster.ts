/**
 * The cluster that is a Ray cluster: Ray reserves bundles and starts an agent on each node, the agents start worker processes and tell their deaths.
 * Messages never go through Ray; they take the queues that come with the layer.
 *
 * - RY-1: the same group runs on Ray as on this machine; only the layer is another.
 * - RY-2: rank 0 sits on the driver's node where that has room, and ranks follow the order of `Placement`.
 * - RY-3: a worker's death, its agent's, its node's and the bridge's are told at once, as `WorkerDied`.
 * - RY-4: what cannot be had is a typed error in stated time, which says what was asked and what every node has free.
 * - RY-5: however a group, its driver or the bridge ends, no worker, agent or placement group stays, and Ray's cluster stays as it was.
 */
import * as Cluster from "@phalanx/core/Cluster"
import { MessageQueues } from "@phalanx/core/MessageQueues"
import type * as Placement from "@phalanx/core/Placement"
import * as Registry from "@phalanx/node/Registry"
import * as WorkerProcess from "@phalanx/node/WorkerProcess"
import * as MixedQueues from "@phalanx/queue/MixedQueues"
import * as TcpQueues from "@phalanx/queue/TcpQueues"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { existsSync, readFileSync } from "node:fs"
import { homedir, tmpdir } from "node:os"
import { isAbsolute, join } from "node:path"
import * as Link from "./internal/link.ts"
import * as placing from "./internal/placing.ts"
import { probe } from "./internal/probe.ts"
import * as registered from "./internal/registered.ts"
import { refusedBy } from "./internal/reservations.ts"
import * as workers from "./internal/workers.ts"
import * as Python from "./Python.ts"
import { RayError } from "./RayError.ts"
import * as RayHead from "./RayHead.ts"

/** Where the workers of a group are to run; all of it is optional. */
export type Placing = placing.Placing

/** Which Ray, and how workers are started there; all of it is optional. */
export interface Options extends Python.Options {
  /**
   * The cluster's control service, `host:port`; `auto` for the one that `ray start` has started on this machine, `own` for a cluster of one node that
   * lives as long as the layer. Default: what RAY_ADDRESS says, else `own`.
   */
  readonly address?: string | undefined
  /**
   * The cluster's token; empty for one that anybody may enter. Default: that of RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or `~/.ray/auth_token`, none if
   * there is none.
   */
  readonly token?: string | undefined
  /** Ray's namespace for placement groups and agents. Default `phalanx`. */
  readonly namespace?: string | undefined
  /** Ray's runtime environment for agents, and so for their workers: `{ working_dir }` brings code along. Default none: the same paths everywhere. */
  readonly runtimeEnv?: Readonly<Record<string, unknown>> | undefined
  /** What the layer's groups ask for, unless `placed` says otherwise. */
  readonly placing?: Placing | undefined
  /** For how long groups outlive a driver that is gone, unless another one takes them over (`WorkerGroup.adopt`, on the same machine). Default: not at all. */
  readonly detachedFor?: Duration.Input | undefined
  /** What a cluster of one's own offers. */
  readonly own?: Omit<RayHead.Options, keyof Python.Options> | undefined
  /** What carries the frames: shared memory to workers on this process's host and TCP to the others, or TCP to all. Default `mixed`. */
  readonly transport?: "mixed" | "tcp" | undefined
  /** The memory-backed folder of the segments. Default `/dev/shm`. */
  readonly folder?: string | undefined
  /** Where this user's groups are recorded: a folder of its own. Default: `Registry.defaultFolder`. */
  readonly registry?: string | undefined
  /** This process's port, or the first free one of a range. Default: one that the system chooses. */
  readonly port?: TcpQueues.Options["port"]
  /** Time from SIGTERM to SIGKILL when a worker is to end. Default 2 seconds. */
  readonly grace?: Duration.Input | undefined
  /** What workers find in their environment besides their host's own. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Names of this process's variables that workers get where their host has none of that name. Default none. */
  readonly carry?: ReadonlyArray<string> | undefined
  /** Options of Node for workers. Default none. */
  readonly execArgv?: ReadonlyArray<string> | undefined
  /** The path of the Node that runs workers, 26 or newer. Default: that of the one that runs this process. */
  readonly node?: string | undefined
  /** The folder that workers are started in. Default: this process's own; with a `working_dir`, that. */
  readonly cwd?: string | undefined
  /** Where the lines go that workers print, as of `NodeCluster`. Default `inherit`. */
  readonly output?: "inherit" | "ignore" | ((line: WorkerProcess.Line) => void) | undefined
}

/** A group that outlived its driver, by its name with the random part. */
export interface Adopted {
  readonly group: string
  /** Its workers that run; their deaths are told here from now on. */
  readonly workers: ReadonlyArray<{ readonly member: number; readonly incarnation: number; readonly process: Cluster.Process }>
  /** Kills them, and removes agents and placement group. */
  readonly end: Effect.Effect<void>
}

/** What of Ray itself can be asked for. */
export class Ray extends Context.Service<Ray, {
  /** The cluster's control service. */
  readonly address: string
  /** Its version of Ray. */
  readonly version: string
  /** Every node that lives, with what it has and what is free. Fails within 5 seconds if the control service does not answer. */
  readonly nodes: Effect.Effect<ReadonlyArray<Placement.Node>, RayError>
  /** Every detached group with workers that run which earlier drivers of this namespace have left: it stays while this process does, and can be ended. */
  readonly adopt: Effect.Effect<ReadonlyArray<Adopted>, RayError>
}>()("@phalanx/ray/RayCluster/Ray") {}

/** Lets the groups that an effect starts be placed so, where it differs from what the layer says. */
export const placed = (wanted: Placing) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.updateService(effect, placing.Wanted, (outer) => ({ ...outer, ...wanted }))

const read = (path: string | undefined): string | undefined =>
  path !== undefined && existsSync(path) ? readFileSync(path, "utf8").trim() : undefined

/** Where Ray itself looks for a token. */
const findToken = (): string | undefined =>
  process.env["RAY_AUTH_TOKEN"] ?? read(process.env["RAY_AUTH_TOKEN_PATH"]) ?? read(join(homedir(), ".ray", "auth_token"))

/** The cluster's address, or none for a cluster of one's own. */
const resolve = (address: string): Effect.Effect<string | undefined, RayError> => {
  const fail = (reason: RayError["reason"], issue: string, advice: string) =>
    Effect.fail(new RayError({ reason, where: address, issue, advice }))
  if (address === "own" || address === "local") return Effect.succeed(undefined)
  if (address === "auto") {
    const file = join(tmpdir(), "ray", "ray_current_cluster")
    const found = read(file)
    return found === undefined
      ? fail(
        "Unreachable",
        `no cluster was started on this machine as far as ${file} says`,
        "Start one with `ray start --head`, or give its address"
      )
      : Effect.succeed(found)
  }
  if (!/^[^/]+:\d+$/.test(address)) {
    return fail(
      "BadAddress",
      "this is not the address of a control service",
      "Give it as host:port, 6379 unless the head was started with another; Ray's client (ray://) will not do"
    )
  }
  return Effect.succeed(address)
}

/** A driver that runs in an actor of Ray may be told the actor's placement group by it. */
const surroundings = (): Placing => {
  const id = process.env["PHALANX_PLACEMENT_GROUP"]
  return id === undefined ? {} : { placementGroup: { id } }
}

const write = (text: string): void => void process.stderr.write(`${text}\n`)

const build = Effect.fnUntraced(function*(options: Options) {
  const given = yield* resolve(options.address ?? (process.env["RAY_ADDRESS"] || "own"))
  // What needs no interpreter first: to get one may take a while.
  if (given !== undefined) yield* probe(given, process.env["RAY_USE_TLS"] === "1")
  const python = yield* Python.find(options)
  const { address, token } = given === undefined
    ? yield* RayHead.make({ ...options.own, python: python.path })
    : { address: given, token: (options.token ?? findToken()) || undefined }
  const ttl = options.detachedFor === undefined ? 0 : Duration.toSeconds(Duration.fromInputUnsafe(options.detachedFor))
  const news = options.progress ?? write
  const link = yield* Link.make({
    python: python.path,
    address,
    namespace: options.namespace ?? "phalanx",
    runtimeEnv: options.runtimeEnv ?? null,
    token,
    ttl,
    within: 14,
    news
  })
  const { output } = options
  const folder = options.runtimeEnv?.["working_dir"]
  const away = typeof folder === "string" && isAbsolute(folder) ? folder : null
  const started = yield* workers.make({
    link,
    detached: ttl > 0,
    news,
    placing: Effect.map(placing.Wanted, (wanted) => ({ ...surroundings(), ...options.placing, ...wanted })),
    print: output === "ignore" ? undefined : typeof output === "function" ? output : WorkerProcess.inherit,
    grace: Duration.toMillis(options.grace ?? "2 seconds"),
    within: 30,
    env: options.env ?? {},
    defaults: Object.fromEntries(
      (options.carry ?? []).flatMap((name) => process.env[name] === undefined ? [] : [[name, process.env[name]]])
    ),
    execArgv: options.execArgv ?? [],
    node: options.node ?? process.execPath,
    cwd: options.cwd ?? (away === null ? process.cwd() : null),
    away,
    queues: options.folder === undefined ? {} : { folder: options.folder }
  })
  const bridge = yield* link.bridge
  const ray = Ray.of({
    address,
    version: bridge.ray,
    nodes: Effect.flatMap(link.bridge, (bridge) => Effect.mapError(bridge.ask("nodes", {}), (refused) => refusedBy(address, refused))),
    adopt: started.adopt
  })
  const settings = { host: bridge.address, port: options.port, folder: options.folder }
  const transport = options.transport === "tcp" ? TcpQueues.layerWith(settings) : MixedQueues.layerWith(settings)
  // A driver that is killed leaves its queues' files, which the next one of this user on this machine removes.
  const queues = Layer.effect(MessageQueues, Effect.flatMap(MessageQueues, (queues) => Registry.entering(queues, options.folder)))
  const cluster = Layer.effect(
    Cluster.Cluster,
    Effect.map(
      Registry.Registry,
      (registry) => registered.make({ registry, workers: started, segments: options.folder, graceMillis: ttl * 1000 })
    )
  )
  return Layer.merge(Layer.succeed(Ray, ray), Layer.merge(cluster, queues)).pipe(
    Layer.provide([transport, options.registry === undefined ? Registry.layer : Registry.layerWith({ folder: options.registry })])
  )
})

/** A Ray cluster, with these options. It is connected to when the layer is built, and left when the layer's scope ends. */
export const layer = (options: Options = {}): Layer.Layer<Cluster.Cluster | MessageQueues | Ray, RayError> => Layer.unwrap(build(options))
