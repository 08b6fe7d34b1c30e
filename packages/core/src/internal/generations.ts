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
import * as MessageQueues from "../MessageQueues.ts"
import * as collectives from "./collectives.ts"
import { type Control, type FromWorker, Kind } from "./frame.ts"

export interface Options {
  readonly group: string
  readonly secret: string
  readonly generation: number
  /** What this rank is in the present epoch. */
  readonly place: () => { readonly epoch: number; readonly rank: number; readonly ranks: number }
  readonly send: (message: FromWorker) => void
}

interface Generation {
  readonly number: number
  readonly scope: Scope.Closeable
  readonly made: collectives.Made
  readonly peers: Deferred.Deferred<ReadonlyArray<MessageQueues.Handle>, CollectiveAborted>
}

const isHandles = Schema.is(Schema.Array(MessageQueues.Handle))

export const make = Effect.fnUntraced(function*(options: Options) {
  const { group, place, secret, send } = options
  const parent = yield* Effect.scope
  const context = yield* Effect.context<MessageQueues.MessageQueues>()
  const run = Effect.runForkWith(context)

  const begin = (number: number): Generation => {
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

  const end = ({ made, number, peers }: Generation, issue: string): void => {
    made.abort(issue)
    Deferred.doneUnsafe(peers, Exit.fail(new CollectiveAborted({ operation: "join", generation: number, issue })))
  }

  /** Operations of whichever communicator it is when they begin. */
  const lasting = (at: () => Communicator): Communicator => ({
    get index() {
      return at().index
    },
    get ranks() {
      return at().ranks
    },
    allToAll: (parts) => Effect.suspend(() => at().allToAll(parts)),
    allGather: (bytes) => Effect.suspend(() => at().allGather(bytes)),
    allReduce: <A extends Numbers>(values: A, by?: Reduction) => Effect.suspend(() => at().allReduce(values, by)),
    broadcast: (root, bytes) => Effect.suspend(() => at().broadcast(root, bytes)),
    barrier: Effect.suspend(() => at().barrier)
  })

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
      if (message.kind === Kind.Renew) {
        if (message.generation <= current.number) return
        const former = current
        end(former, message.issue)
        current = begin(message.generation)
        return void run(Scope.close(former.scope, Exit.void))
      }
      if (message.generation !== current.number) return
      if (message.kind === Kind.Abort) end(current, message.issue)
      else if (isHandles(message.handles)) Deferred.doneUnsafe(current.peers, Exit.succeed(message.handles))
    }
  }
})
