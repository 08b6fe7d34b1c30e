/**
 * A rank's collectives through the generations of its group. What the worker holds stays valid: each operation is one of the generation that is current when it begins.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { CollectiveAborted } from "../CollectiveAborted.ts"
import type { Collectives, Communicator, Numbers, Reduction } from "../Collectives.ts"
import type { Record } from "../FlightRecorder.ts"
import * as MessageQueues from "../MessageQueues.ts"
import * as collectives from "./collectives.ts"
import { type Control, type FromWorker, Kind, noGeneration } from "./frame.ts"
import { Generation } from "./self.ts"

export interface Options {
  readonly group: string
  readonly secret: string
  readonly generation: number
  /** What this rank is in the present epoch. */
  readonly place: () => { readonly epoch: number; readonly rank: number; readonly ranks: number }
  readonly send: (message: FromWorker) => void
  readonly record: Record
}

interface Meeting {
  readonly number: number
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

  const begin = (number: number): Meeting => {
    const scope = Scope.forkUnsafe(parent)
    const peers = Deferred.makeUnsafe<ReadonlyArray<MessageQueues.Handle>, CollectiveAborted>()
    const { rank, ranks } = place()
    const made = Effect.runSyncWith(context)(
      Scope.provide(
        collectives.make({
          group,
          secret,
          rank,
          ranks,
          generation: number,
          join: (handle) => {
            send({ kind: Kind.Join, generation: number, handle })
            return Deferred.await(peers)
          }
        }),
        scope
      )
    )
    return { number, scope, made, peers }
  }
  let current = begin(options.generation)
  /** Why the last generation is over. */
  let issue = ""

  const end = ({ made, number, peers }: Meeting, issue: string): void => {
    made.abort(issue)
    Deferred.doneUnsafe(peers, Exit.fail(new CollectiveAborted({ operation: "join", generation: number, issue })))
  }

  const renew = (generation: number, why: string): void => {
    if (generation <= current.number) return
    issue = why
    record("generation", generation, "")
    end(current, why)
    run(Scope.close(current.scope, Exit.void))
    current = begin(generation)
  }

  /**
   * Operations of whichever communicator it is when they begin. A handler whose call was made in a former generation must not meet those of later calls: some ranks of its
   * call are gone. One of a later generation has overtaken the news of it.
   */
  const lasting = (at: () => Communicator): Communicator => {
    const within = <A>(operation: string, f: (communicator: Communicator) => Effect.Effect<A, CollectiveAborted>) =>
      Effect.withFiber<A, CollectiveAborted>((fiber) => {
        const asked = fiber.getRef(Generation) ?? current.number
        if (asked > current.number) renew(asked, "another generation has begun")
        record("collective", asked, operation)
        if (asked >= current.number) return f(at())
        return Effect.fail(
          new CollectiveAborted({
            operation,
            generation: asked,
            issue: asked === noGeneration ? "not every rank was given the call that this one answers" : issue
          })
        )
      })
    return {
      get index() {
        return at().index
      },
      get ranks() {
        return at().ranks
      },
      allToAll: (parts) => within("allToAll", (communicator) => communicator.allToAll(parts)),
      allGather: (bytes) => within("allGather", (communicator) => communicator.allGather(bytes)),
      allReduce: <A extends Numbers>(values: A, by?: Reduction) =>
        within("allReduce", (communicator) => communicator.allReduce(values, by)),
      broadcast: (root, bytes) => within("broadcast", (communicator) => communicator.broadcast(root, bytes)),
      barrier: within("barrier", (communicator) => communicator.barrier)
    }
  }

  /** The n-th communicator of a list of ranks is the same one for all members in every generation. */
  const asked = collectives.counting()
  const split = (ranks: ReadonlyArray<number>): Communicator => {
    const nth = asked(ranks)
    let generation = current
    let communicator = generation.made.split(ranks, nth)
    const { epoch } = place()
    return lasting(() => {
      if (generation !== current && epoch === place().epoch) {
        generation = current
        communicator = generation.made.split(ranks, nth)
      }
      // Of a former epoch it stays what it was: aborted.
      return communicator
    })
  }

  const service: Collectives["Service"] = Object.defineProperties(
    { split, traffic: Effect.suspend(() => current.made.service.traffic) } as Collectives["Service"],
    Object.getOwnPropertyDescriptors(lasting(() => current.made.service))
  )
  return {
    service,
    onControl: (message: Extract<Control, { generation: number }>): void => {
      if (message.kind === Kind.Renew) return renew(message.generation, message.issue)
      if (message.generation !== current.number) return
      if (message.kind === Kind.Abort) end(current, message.issue)
      else if (isHandles(message.handles)) Deferred.doneUnsafe(current.peers, Exit.succeed(message.handles))
    }
  }
})
