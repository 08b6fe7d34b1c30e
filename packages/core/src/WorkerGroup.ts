/**
 * A group of ranked actors as one typed value: methods are declared once as an `RpcGroup`, and adverbs (`call`, `exits`, `fork`, `stream`, `broadcast`)
 * say how one of them is asked of every rank of a mesh, or of a slice of it.
 *
 * Guarantees, each shown by the tests that bear its label (`SEMANTICS.md` has them in full): CO-1 every call ends once for every rank, CO-2 a rank runs calls in the order
 * made, CO-3 a late reply never shifts another, CO-6 interruption reaches every rank, CO-7 admission is bounded a rank, CO-8 frames are fenced, CO-9 bad input harms
 * its own call alone.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type * as RpcSchema from "effect/rpc/RpcSchema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { AdoptError } from "./AdoptError.ts"
import type * as Cluster from "./Cluster.ts"
import type { GroupEvent } from "./GroupEvent.ts"
import * as internal from "./internal/group.ts"
import type { Member, Membership } from "./Membership.ts"
import type * as Mesh from "./Mesh.ts"
import type { MessageQueues, QueueError, Stats } from "./MessageQueues.ts"
import type { Snapshot } from "./Snapshot.ts"
import type { Change, StandbyError } from "./Standby.ts"
import type { Supervision } from "./Supervision.ts"
import type { CallError, CallRejected, SpawnError, WorkerDied } from "./WorkerError.ts"

/** One value for all ranks, or a value for each. */
export type PerRank<A, D extends string> = A | ((place: Mesh.Place<D>) => A)

/** A reply with the place it came from. */
export interface Reply<out A, D extends string> extends Mesh.Place<D> {
  readonly value: A
}

/** Options of one call. */
export interface CallOptions {
  /** Time for each rank to answer, from when the call is made: waiting for admission counts. Default: none. A rank that is late ends in `CallTimeout`. */
  readonly timeout?: Duration.Input | undefined
}

type Methods<P> = RpcGroup.Rpcs<P>
type IsStream<R> = R extends Rpc.Rpc<infer _T, infer _P, RpcSchema.Stream<infer _A, infer _E>, infer _Er, infer _M, infer _R> ? true : false
/** Methods that answer once. */
type Once<R extends Rpc.Any> = R extends Rpc.Any ? IsStream<R> extends true ? never : R : never

/** Every rank's reply, in rank order; the first failure ends the call and stops the other ranks. */
export type Call<P extends RpcGroup.Any, D extends string> = {
  readonly [M in Once<Methods<P>> as M["_tag"]]: {
    (
      payload: PerRank<Rpc.PayloadConstructor<M>, D>,
      options?: CallOptions
    ): Effect.Effect<ReadonlyArray<Rpc.Success<M>>, CallError<Rpc.Error<M>>, Rpc.ServicesClient<M>>
    (
      payload: PerRank<Rpc.PayloadConstructor<M>, D>,
      options: CallOptions & {
        /**
         * The one rank whose reply is wanted, by number or place; looked up, and refused, as those of `slice`. The call runs on all, waits for all, and fails with any.
         */
        readonly replyFrom: number | Mesh.Coordinates<D>
      }
    ): Effect.Effect<Rpc.Success<M>, CallError<Rpc.Error<M>>, Rpc.ServicesClient<M>>
  }
}

/** Every rank's outcome, in rank order; waits for all and never fails. */
export type Exits<P extends RpcGroup.Any, D extends string> = {
  readonly [M in Once<Methods<P>> as M["_tag"]]: (
    payload: PerRank<Rpc.PayloadConstructor<M>, D>,
    options?: CallOptions
  ) => Effect.Effect<ReadonlyArray<Exit.Exit<Rpc.Success<M>, CallError<Rpc.Error<M>>>>, never, Rpc.ServicesClient<M>>
}

/** One fiber a rank, in rank order, children of the calling fiber. */
export type Fork<P extends RpcGroup.Any, D extends string> = {
  readonly [M in Once<Methods<P>> as M["_tag"]]: (
    payload: PerRank<Rpc.PayloadConstructor<M>, D>,
    options?: CallOptions
  ) => Effect.Effect<ReadonlyArray<Fiber.Fiber<Rpc.Success<M>, CallError<Rpc.Error<M>>>>, never, Rpc.ServicesClient<M>>
}

/** Replies as they arrive, with their place; of a streaming method, every element. */
export type Streams<P extends RpcGroup.Any, D extends string> = {
  readonly [M in Methods<P> as M["_tag"]]: (
    payload: PerRank<Rpc.PayloadConstructor<M>, D>,
    options?: CallOptions
  ) => Stream.Stream<Reply<Element<M>, D>, CallError<Rpc.ErrorExit<M>>, Rpc.ServicesClient<M>>
}
type Element<R> = IsStream<R> extends true ? Rpc.SuccessChunk<R> : Rpc.Success<R>

/**
 * No replies: done when every rank has been handed the request. Fails only for what is known by then: a payload that does not fit, a rank that is dead. The
 * request keeps its place in the rank's window until the handler has ended.
 */
export type Broadcast<P extends RpcGroup.Any, D extends string> = {
  readonly [M in Methods<P> as M["_tag"]]: (
    payload: PerRank<Rpc.PayloadConstructor<M>, D>
  ) => Effect.Effect<void, CallError, Rpc.ServicesClient<M>>
}

/** The adverbs, over the ranks of `mesh`. */
export interface ActorMesh<P extends RpcGroup.Any, D extends string> {
  /** The ranks as they are now: a shrink or a scaling changes them. A selection that is gone by then has the one rank −1. */
  readonly mesh: Mesh.Mesh<D>
  readonly call: Call<P, D>
  readonly exits: Exits<P, D>
  readonly fork: Fork<P, D>
  readonly stream: Streams<P, D>
  readonly broadcast: Broadcast<P, D>
  /**
   * `call` by a method's name, for callers that do not know the protocol at compile time; the payload is checked against its schema. Whatever does not fit (an unknown name, a
   * streaming method, a payload) is a `CallRejected`.
   */
  readonly callByName: {
    (method: string, payload: unknown, options?: CallOptions): Effect.Effect<ReadonlyArray<unknown>, CallError<unknown>>
    (
      method: string,
      payload: unknown,
      options: CallOptions & {
        /** The one rank whose reply is wanted, as of `call`. */
        readonly replyFrom: number | Mesh.Coordinates<D>
      }
    ): Effect.Effect<unknown, CallError<unknown>>
  }
  /**
   * The actors that a selection leaves: a number fixes a dimension, an array narrows it. It holds the selector, and each call looks up its ranks when it starts; one that the group
   * no longer has is a `CallRejected`. Throws a `RangeError` for what the group never had.
   */
  readonly slice: <const S extends Mesh.Selector<D>>(selector: Mesh.Exact<D, S>) => ActorMesh<P, Mesh.Remaining<D, S>>
  /** One actor, by rank or by all of its coordinates; looked up, and refused, as those of `slice`. */
  readonly at: (place: number | Mesh.Coordinates<D>) => Actor<P>
}

/** One actor: the same methods, one reply. */
export interface Actor<P extends RpcGroup.Any> {
  readonly rank: number
  /** The actor's reply. */
  readonly call: {
    readonly [M in Once<Methods<P>> as M["_tag"]]: (
      payload: Rpc.PayloadConstructor<M>,
      options?: CallOptions
    ) => Effect.Effect<Rpc.Success<M>, CallError<Rpc.Error<M>>, Rpc.ServicesClient<M>>
  }
  /** The reply as a stream; of a streaming method, every element. */
  readonly stream: {
    readonly [M in Methods<P> as M["_tag"]]: (
      payload: Rpc.PayloadConstructor<M>,
      options?: CallOptions
    ) => Stream.Stream<Element<M>, CallError<Rpc.ErrorExit<M>>, Rpc.ServicesClient<M>>
  }
  /** No reply: done when the actor has been handed the request. */
  readonly broadcast: {
    readonly [M in Methods<P> as M["_tag"]]: (
      payload: Rpc.PayloadConstructor<M>
    ) => Effect.Effect<void, CallError, Rpc.ServicesClient<M>>
  }
}

/** One rank's answer to one call, as `observe` tells it. */
export interface Answer {
  readonly method: string
  readonly rank: number
  readonly exit: Exit.Exit<unknown, CallError<unknown>>
  /** From the call to this answer. */
  readonly millis: number
}

/** What the group has dropped since it started, by why. */
export interface Counters {
  /** Answers that came when nobody waited for them any more. */
  readonly late: number
  /** Answers to nothing that was open: doubled, or never asked for. */
  readonly unexpected: number
  /** Frames of another group, epoch, rank or incarnation. */
  readonly fenced: number
}

/** The whole group. It lives as long as the scope it was made in; the scope's end stops its workers and removes their queues. */
export interface WorkerGroup<P extends RpcGroup.Any, D extends string> extends ActorMesh<P, D> {
  readonly protocol: P
  /** The name given, with a random part. */
  readonly name: string
  /** The transport's name: `memory`, `shm`, `tcp`, `ipc`, or `mixed` where some ranks share memory and others are reached by TCP. */
  readonly transport: string
  /** The members of the present epoch, in rank order. */
  readonly workers: ReadonlyArray<Member>
  /** The present membership. */
  readonly membership: Effect.Effect<Membership<D>>
  /** The present membership, and each later one: another incarnation or process of a member, another size. Ends with the group. */
  readonly memberships: Stream.Stream<Membership<D>>
  /** What happens to the group; a late listener is told the last 1,024 events. Ends with the group. */
  readonly events: Stream.Stream<GroupEvent>
  /** `events` without those of before. */
  readonly news: Stream.Stream<GroupEvent>
  /** Workers that died; a late listener is told of those before. Ends with the group. */
  readonly deaths: Stream.Stream<WorkerDied>
  /** Fails, once and with one cause, when the group does. Race a program with it to end with the group; a late listener fails at once. */
  readonly failure: Effect.Effect<never, WorkerDied>
  /**
   * Prepares another size beside the one that serves: starts who joins, and has all who are concerned meet. The scope's end gives it up, or, once it has been committed, ends those that have left
   * when they have answered what they were asked, for which they have as long as `readyWithin`. One at a time.
   */
  readonly prepare: (change: Change<D>) => Effect.Effect<Standby<P, D>, StandbyError | SpawnError | QueueError, Scope.Scope>
  readonly counters: Effect.Effect<Counters>
  /** Hears every rank's answer to the calls made from now on, until the scope closes: called at once, so it must be short and must not throw. */
  readonly observe: (f: (answer: Answer) => void) => Effect.Effect<void, never, Scope.Scope>
  /** What the transport says of the queues of the driver and of each rank, which tells it with its heartbeat. */
  readonly stats: Effect.Effect<ReadonlyArray<readonly [process: string, stats: Stats]>>
  /** What each rank has been asked and has not answered, and for how long, as the driver knows it; no worker is asked. */
  readonly snapshot: Effect.Effect<Snapshot>
  /** Ends a worker with SIGKILL; resolves when the signal is sent. Fails if the group no longer has the rank, and throws a `RangeError` if it never had. */
  readonly kill: (rank: number) => Effect.Effect<void, CallRejected>
}

/**
 * Another size of the group, ready to serve. Its actors can be called before they do: the worker of a member that joins has been built, for the rank and the mesh that it is to have. A death of any
 * member spoils it.
 */
export interface Standby<P extends RpcGroup.Any, D extends string> {
  /** The one that `commit` begins. */
  readonly epoch: number
  readonly mesh: Mesh.Mesh<D>
  /** Member ids, in the order of their next ranks. */
  readonly members: ReadonlyArray<number>
  readonly joining: ReadonlyArray<number>
  readonly leaving: ReadonlyArray<number>
  /** All that are concerned: the members of now, in rank order, then those that join. Collectives in handlers of its calls are among these. */
  readonly all: ActorMesh<P, "member">
  /** The members of the next epoch, at their ranks in it. Collectives in handlers of its calls are those that the next epoch goes on with. */
  readonly next: ActorMesh<P, D>
  /** Fails when it cannot serve any more. */
  readonly failure: Effect.Effect<never, StandbyError>
  /**
   * Begins the next epoch, at once: calls made before it run in the former one, calls made after it in the next. Nothing if it has begun. Fails if the group has another epoch by now, has lost a
   * member, or has given it up.
   */
  readonly commit: Effect.Effect<void, StandbyError>
  /** Resolves when every member that lives has entered the next epoch: from then on no driver that takes the group over finds it in the former one. */
  readonly entered: Effect.Effect<void>
}

/** What a group's `restore` is given. */
export interface Restarted<P extends RpcGroup.Any, D extends string> {
  readonly died: WorkerDied
  /** The new incarnation. */
  readonly actor: Actor<P>
  /** Ranks that were not restarted along with it and serve. */
  readonly survivors: ReadonlyArray<number>
  /** The group; these calls reach ranks whose other calls still wait. */
  readonly group: ActorMesh<P, D>
}

/**
 * Every `every` the driver asks its ranks whether they answer. One that has not answered for `frozen` is dead if its process is stopped or uses no processor time (a process that cannot be asked counts
 * as such); one that computes is told as `Unresponsive` in `group.events`, and is dead after `unresponsive`.
 */
export interface Heartbeat {
  /** Default, and at most: a tenth of `frozen`. A worker is found late by as much as this, since it may stop right after it has answered. */
  readonly every?: Duration.Input | undefined
  /** Default: 5 seconds. */
  readonly frozen?: Duration.Input | undefined
  /** Default: 60 seconds. */
  readonly unresponsive?: Duration.Input | undefined
}

/** What `make` and `Service` take. */
export interface Options<P extends RpcGroup.Any, D extends string> {
  readonly mesh: Mesh.Mesh<D>
  /** The worker's module, or the worker itself where it runs in this process. */
  readonly entry: Cluster.Entry<NoInfer<P>>
  /** What a death leads to. Default: `Supervision.escalate`. */
  readonly supervision?: Supervision<NoInfer<D>> | undefined
  /**
   * Runs on the driver when a rank has been started again, before its waiting calls are let in: brings it the state that its layer cannot make. Its failure is the rank's death, too.
   * It runs with the tracer, loggers and clock of `make`; a service that it needs is provided to it beforehand.
   */
  readonly restore?: ((restarted: Restarted<P, D>) => Effect.Effect<void, unknown>) | undefined
  /** How silent workers are found; `false`: not at all. Workers that are fibers have none. */
  readonly heartbeat?: Heartbeat | false | undefined
  /** Appears in segment names and errors; at most 64 letters, digits and `-`. Default: `group`. */
  readonly name?: string | undefined
  /** Time for all workers to load, build their layer and answer. Default: 30 seconds. */
  readonly readyWithin?: Duration.Input | undefined
  /**
   * Most members at once, those included that join while others still leave. Default: as many as the mesh has, with which a group can only get smaller.
   */
  readonly capacity?: number | undefined
  /** What a rank may have open at once; more waits, in order. Default: 64 requests, 16 MiB. */
  readonly window?: { readonly requests?: number | undefined; readonly bytes?: number | undefined } | undefined
}

/** What a group needs from its surroundings: somewhere to run, something to talk through, and the protocol's client middleware. */
export type Requirements<P> = Cluster.Cluster | MessageQueues | Rpc.MiddlewareClient<Methods<P>>

/**
 * Starts one worker a rank, all at once, and waits until they serve. A failed start leaves nothing behind. Dies of a `RangeError` for an option that cannot work, and of a `TypeError` for a
 * protocol whose schemas are of another copy of `effect`.
 */
export const make: <P extends RpcGroup.Any, const D extends string>(
  protocol: P,
  options: Options<P, D>
) => Effect.Effect<WorkerGroup<P, D>, SpawnError | QueueError, Requirements<P> | Scope.Scope> = internal.make as any

/** What `adopt` takes: what the group was made with, except that its sizes are its own by now. */
export interface AdoptOptions<P extends RpcGroup.Any, D extends string> extends Omit<Options<P, D>, "name"> {
  /** The group's name, with its random part. */
  readonly group: string
}

/**
 * Takes over a group whose driver is gone, on a cluster that keeps its workers: they go on with their state, as the same members, and serve this process. What the former driver had asked them is
 * interrupted and answered to nobody. Deaths meanwhile, and ranks that did not serve yet, go by `supervision`. What was prepared for another size and not committed is given up.
 */
export const adopt: <P extends RpcGroup.Any, const D extends string>(
  protocol: P,
  options: AdoptOptions<P, D>
) => Effect.Effect<WorkerGroup<P, D>, AdoptError | QueueError, Requirements<P> | Scope.Scope> = internal.adopt as any

/**
 * Declares a group as a service: `class Adders extends WorkerGroup.Service<Adders>()("app/Adders", { protocol: Adder, mesh, entry }) {}`.
 * `yield* Adders` gives the group; `Adders.layer` starts it, and needs a cluster.
 */
export const Service = <Self>() =>
<const Id extends string, P extends RpcGroup.Any, const D extends string>(
  id: Id,
  options: Options<P, D> & { readonly protocol: P }
): Context.ServiceClass<Self, Id, WorkerGroup<P, D>> & {
  readonly layer: Layer.Layer<Self, SpawnError | QueueError, Requirements<P>>
} => {
  class Group extends Context.Service<Group, WorkerGroup<P, D>>()(id) {
    static readonly layer = Layer.effect(this, make<P, D>(options.protocol, options))
  }
  return Group as any
}
