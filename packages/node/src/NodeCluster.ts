/**
 * The cluster that is this machine: every worker is a process of Node, started from its module, tied to the driver's life.
 *
 * - CO-4: a worker's end is known with its exit; exit code or signal, and the last 20 lines of its standard error, are told.
 * - CO-10: however driver or worker end, no process stays. A scope's end gives workers SIGTERM, a grace, SIGKILL; a driver that is killed
 *   takes its workers with it (Linux: at once, even those that compute; elsewhere when their event loop gets to see it).
 *
 * These layers and `Cluster.layerMemory` can be exchanged for each other wherever a group's entry is a URL.
 */
import * as Cluster from "@phalanx/core/Cluster"
import type { MessageQueues } from "@phalanx/core/MessageQueues"
import type { QueueError } from "@phalanx/core/QueueError"
import type * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import * as keepers from "./internal/keepers.ts"
import * as millis from "./internal/millis.ts"
import * as print from "./internal/output.ts"
import * as processes from "./internal/processes.ts"
import * as registered from "./internal/registered.ts"
import * as transports from "./internal/transports.ts"
import * as Registry from "./Registry.ts"

/** One line that a worker printed, with who said it. */
export type Line = print.Line

/** How workers are started and talked to; all of it is optional. */
export interface Options {
  /**
   * What carries the frames: shared memory, TCP, Unix sockets, or shared memory and TCP both, as groups that span hosts do. Default: shared memory, or Unix sockets on a machine that has
   * none, which the log says.
   */
  readonly transport?: "shm" | "tcp" | "ipc" | "mixed" | undefined
  /** For `shm`: the memory-backed folder of the segments. Default `/dev/shm`. */
  readonly folder?: string | undefined
  /** For `tcp`: the address that this process, and each worker for the others, binds. Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** For `tcp`: this process's port, or the first free one of a range. Default: one that the system chooses. */
  readonly port?: number | { readonly first: number; readonly last: number } | undefined
  /** Time from SIGTERM to SIGKILL when a worker is to end. Default 2 seconds. */
  readonly grace?: Duration.Input | undefined
  /** What workers find in their environment besides this process's own and `PHALANX_GROUP`, the group's name. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Options of Node for workers: `["--max-old-space-size=512"]`. This process's own are not handed on. Default none. */
  readonly execArgv?: ReadonlyArray<string> | undefined
  /** The Node that runs workers, 26 or newer. Default: the one that runs this process. */
  readonly node?: string | undefined
  /**
   * Where the lines go that workers print: `inherit` puts them on this process's standard output and standard error, each after
   * `[group rank]`; a function gets them one by one and must not throw. Default `inherit`. `WorkerDied` holds the last 20 of standard
   * error in any case.
   */
  readonly output?: "inherit" | "ignore" | ((line: Line) => void) | undefined
  /**
   * Makes workers children of a keeper instead of this process: one small process a group, which outlives this one. It ends the workers when this process ends in order, and
   * otherwise when nobody has renewed its lease for so long (default 30 seconds), be it that this process is gone, is stopped or does not let its event loop run. Default: none.
   */
  readonly keeper?: { readonly lease?: Duration.Input | undefined } | undefined
  /** Where this user's groups are recorded: a folder of its own. Default: `Registry.defaultFolder`. */
  readonly registry?: string | undefined
}

/** Processes of this machine, with these options. Throws a `RangeError` for a grace or a lease that cannot be. */
export const layerWith = (options: Options): Layer.Layer<Cluster.Cluster | MessageQueues, QueueError> => {
  const { folder, host, output, port, registry, transport } = options
  const started: processes.Options = {
    queues: { ...(folder === undefined ? {} : { folder }), ...(host === undefined ? {} : { host }) },
    print: output === "ignore" ? undefined : typeof output === "function" ? output : print.inherit,
    grace: millis.of("grace", options.grace ?? "2 seconds", 0),
    env: options.env ?? {},
    execArgv: options.execArgv ?? [],
    node: options.node ?? process.execPath
  }
  const cluster = Layer.sync(Cluster.Cluster, () => processes.make(started))
  const settings = { folder, host, port }
  const queues = transport === undefined ? transports.layerDefault(settings) : transports.layer(transport, settings)
  const { keeper } = options
  const kept = keeper === undefined
    ? undefined
    : keepers.make({ ...started, lease: millis.of("keeper.lease", keeper.lease ?? "30 seconds", 1) })
  return registered.layer(folder, kept).pipe(
    Layer.provide([cluster, queues, Registry.layerWith({ folder: registry })])
  )
}

/** Processes of this machine that talk through shared memory, with every option's default. */
export const layer: Layer.Layer<Cluster.Cluster | MessageQueues, QueueError> = layerWith({})
