/**
 * A rank's collectives through the generations of its group. What the worker holds stays valid: each operation is one of the generation in which the call was made that asks for it.
 * Beside the one that serves there may be others, which are prepared for another size of the group.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { CollectiveAborted } from "../CollectiveAborted.ts"
import type { Collectives, Communicator, Numbers, Reduction } from "../Collectives.ts"
import type { Record } from "../FlightRecorder.ts"
import * as MessageQueues from "../MessageQueues.ts"
import * as inCalls from "./calls.ts"
import * as collectives from "./collectives.ts"
import { type Control, type FromWorker, Kind, noGeneration } from "./frame.ts"
import { Asked } from "./self.ts"

export interface Options {
  readonly group: string
  readonly secret: string
  readonly generation: number
  /** What this rank is in the present epoch. */
  readonly place: () => Place
  readonly send: (message: FromWorker) => void
  readonly record: Record
}

interface Place {
  readonly rank: number
  readonly ranks: number
}

/** One membership's communicators, which outlast its generations: the n-th of a list of ranks is the same one for all members. */
interface Series {
  readonly asked: (ranks: ReadonlyArray<number>) => number
}

interface Meeting {
  readonly number: number
  readonly series: Series
  readonly scope: Scope.Closeable
  readonly made: collectives.Made
  readonly peers: Deferred.Deferred<ReadonlyArray<MessageQueues.Handle>, CollectiveAborted>
}

const isHandles = Schema.is(Schema.Array(MessageQueues.Handle))

export const make = Effect.fnUntraced(function*(options: Options) {
  const { group, place, record, secret, send } = options
  const parent = yield* Effect.scope
  const context = yield* Effect.context<MessageQueues.MessageQueues>()
  const run = Effect.runForkWith(context)
  const meetings = new Map<number, Meeting>()
  const calls = inCalls.make(() => {
    for (const { made } of meetings.values()) made.review()
  })
  /** Why those that are over are. */
  let issue = ""

  const begin = (number: number, { rank, ranks }: Place, series: Series): Meeting => {
    const scope = Scope.forkUnsafe(parent)
    const peers = Deferred.makeUnsafe<ReadonlyArray<MessageQueues.Handle>, CollectiveAborted>()
    const made = Effect.runSyncWith(context)(
      Scope.provide(
        collectives.make({
          group,
          secret,
          rank,
          ranks,
          generation: number,
          calls,
          join: (handle) => {
            send({ kind: Kind.Join, generation: number, handle })
            return Deferred.await(peers)
          },
          unable: (issue) => send({ kind: Kind.Join, generation: number, handle: issue })
        }),
        scope
      )
    )
    const meeting = { number, series, scope, made, peers }
    meetings.set(number, meeting)
    return meeting
  }
  const newSeries = (): Series => ({ asked: collectives.counting() })
  let current = begin(options.generation, place(), newSeries())

  const end = ({ made, number, peers }: Meeting, why: string): void => {
    made.abort(why)
    Deferred.doneUnsafe(peers, Exit.fail(new CollectiveAborted({ operation: "join", generation: number, issue: why })))
  }
  const close = (meeting: Meeting, why: string): void => {
    issue = why
    meetings.delete(meeting.number)
    end(meeting, why)
    run(Scope.close(meeting.scope, Exit.void))
  }

  /** The generation serves, and all former ones are over. */
  const renew = (generation: number, why: string): void => {
    if (generation < current.number) return
    for (const meeting of meetings.values()) if (meeting.number < generation) close(meeting, why)
    if (generation === current.number) return
    record("generation", generation, "")
    current = meetings.get(generation) ?? begin(generation, place(), current.series)
  }

  const asking = (fiber: Fiber.Fiber<unknown, unknown> | undefined): number => fiber?.getRef(Asked)?.generation ?? current.number

  /**
   * Operations of whichever communicator it is when they begin. A handler whose call was made in a former generation must not meet those of later calls: some ranks of its
   * call are gone. One of a later generation has overtaken the news of it.
   */
  const lasting = (of: (meeting: Meeting) => Communicator): Communicator => {
    const within = <A>(operation: string, f: (communicator: Communicator) => Effect.Effect<A, CollectiveAborted>) =>
      Effect.withFiber<A, CollectiveAborted>((fiber) => {
        const asked = asking(fiber)
        if (asked > current.number && !meetings.has(asked)) renew(asked, "another generation has begun")
        record("collective", asked, operation)
        const meeting = meetings.get(asked)
        if (meeting !== undefined) return f(of(meeting))
        return Effect.fail(
          new CollectiveAborted({
            operation,
            generation: asked,
            issue: asked === noGeneration ? "not every rank was given the call that this one answers" : issue
          })
        )
      })
    const now = (): Communicator => of(meetings.get(asking(Fiber.getCurrent())) ?? current)
    return {
      get index() {
        return now().index
      },
      get ranks() {
        return now().ranks
      },
      allToAll: (parts) => within("allToAll", (communicator) => communicator.allToAll(parts)),
      allGather: (bytes) => within("allGather", (communicator) => communicator.allGather(bytes)),
      allReduce: <A extends Numbers>(values: A, by?: Reduction) =>
        within("allReduce", (communicator) => communicator.allReduce(values, by)),
      broadcast: (root, bytes) => within("broadcast", (communicator) => communicator.broadcast(root, bytes)),
      barrier: within("barrier", (communicator) => communicator.barrier)
    }
  }

  /** Lasts as long as the membership that it is split in. */
  const split = (ranks: ReadonlyArray<number>): Communicator => {
    let meeting = meetings.get(asking(Fiber.getCurrent())) ?? current
    const { series } = meeting
    const nth = series.asked(ranks)
    let communicator = meeting.made.split(ranks, nth)
    return lasting((asked) => {
      if (asked !== meeting && asked.series === series) {
        meeting = asked
        communicator = meeting.made.split(ranks, nth)
      }
      // Of a former membership it stays what it was: aborted, sooner or later.
      return communicator
    })
  }

  const service: Collectives["Service"] = Object.defineProperties(
    { split, traffic: Effect.suspend(() => current.made.service.traffic) } as Collectives["Service"],
    Object.getOwnPropertyDescriptors(lasting(({ made }) => made.service))
  )
  return {
    service,
    calls,
    /** The highest number that it knows. */
    latest: (): number => Math.max(...meetings.keys()),
    /** Another membership has begun, in this generation. Those of the one before go on until the driver ends them. */
    enter: (generation: number): void => {
      record("generation", generation, "")
      current = meetings.get(generation) ?? begin(generation, place(), newSeries())
    },
    onControl: (message: Extract<Control, { generation: number }>): void => {
      const { generation, kind } = message
      if (kind === Kind.Renew) return renew(generation, message.issue)
      const meeting = meetings.get(generation)
      if (kind === Kind.Meet) return void run((meeting ?? begin(generation, message, newSeries())).made.open)
      if (meeting === undefined) return
      if (kind === Kind.Abort) return meeting === current ? end(meeting, message.issue) : close(meeting, message.issue)
      if (isHandles(message.handles)) Deferred.doneUnsafe(meeting.peers, Exit.succeed(message.handles))
    }
  }
})
