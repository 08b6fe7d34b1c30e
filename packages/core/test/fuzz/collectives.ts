/** One rank's collectives, whose peers write anything to its lanes. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { mutateValue } from "../../../../test/harness/mutate.ts"
import type { Random } from "../../../../test/harness/random.ts"
import * as calls from "../../src/internal/calls.ts"
import * as collectives from "../../src/internal/collectives.ts"
import { encode } from "../../src/internal/communicatorSide.ts"
import { MessageQueues, type PeersOptions } from "../../src/MessageQueues.ts"

const ranks = [0, 1, 2, 3]
const rank = 1
const operations = ["allToAll", "allGather", "allReduce", "broadcast", "barrier"] as const
type Operation = typeof operations[number]

/** What happens, in turn: this rank begins an operation, or a peer's message comes. */
type Step =
  | { readonly begin: Operation }
  /** `channel` is a communicator of this rank by its number, or any other channel. */
  | { readonly from: number; readonly channel: number; readonly sequence: number; readonly bytes: Uint8Array }
  /** One message on each of so many channels of which this rank knows nothing. */
  | { readonly from: number; readonly flood: number }

const own = Int32Array.of(1, 2, 3)
const code = (operation: Operation): number =>
  operation === "allReduce" ? encode("allReduce", 6) : operation === "broadcast" ? encode("broadcast", 0) : encode(operation)
const sequence = (operation: Operation, count: number): number => (code(operation) << 16 | count & 0xf) >>> 0
const lengthOf = (operation: Operation, random: Random): number =>
  operation === "allReduce" ? own.byteLength : operation === "barrier" ? 0 : random.below(9)

/** An honest course of operations, in which every peer says what it has to. */
const course = (random: Random): Array<Step> =>
  random.list(random.below(4), (count) => {
    const operation = random.pick(operations)
    const letters: Array<Step> = [0, 2, 3].map((from) => ({
      from,
      channel: 0,
      sequence: sequence(operation, count),
      bytes: random.bytes(lengthOf(operation, random))
    }))
    return letters.toSpliced(random.below(4), 0, { begin: operation })
  }).flat()

/** What an abort says, unless a peer has said it. */
const reasons = ["out of turn", "more communicators", " began ", "ran ahead"]

const isStep = (step: any): step is Step =>
  typeof step === "object" && step !== null
  && (operations.includes(step.begin)
    // The lane that a message comes on says whose it is: that cannot be lied about.
    || (ranks.includes(step.from) && step.from !== rank
      && (Number.isInteger(step.flood) ?
        step.flood >= 0 && step.flood <= 5000 :
        Number.isInteger(step.channel) && step.channel >= 0 && step.channel < 2 ** 32
        && Number.isInteger(step.sequence) && step.sequence >= 0 && step.sequence < 2 ** 32 && step.bytes instanceof Uint8Array)))

/** Runs what can run at once. */
const settle = (fiber: Fiber.Fiber<unknown, unknown>): Exit.Exit<unknown, unknown> | undefined => fiber.pollUnsafe()

export const lanes: Decoder = {
  name: "collectives",
  sample: course,
  mutate: (steps: ReadonlyArray<Step>, random) => {
    if (!Array.isArray(steps) || random.once(2)) return mutateValue(steps, random)
    const odd: Step = random.once(8)
      ? { from: random.pick([0, 2, 3]), flood: random.pick([1, 50, 5000]) }
      : {
        from: random.pick([0, 2, 3]),
        channel: random.once(3) ? random.word() : random.below(2),
        sequence: random.once(3) ? random.word() : sequence(random.pick(operations), random.below(3)) | (random.once(4) ? 0xf0000000 : 0),
        bytes: random.bytes(random.below(20))
      }
    return steps.toSpliced(
      random.below(steps.length + 1),
      random.below(2),
      random.once(4) ? { begin: random.pick(operations) } : { ...odd, ...("sequence" in odd ? { sequence: odd.sequence >>> 0 } : {}) }
    )
  },
  judge: (input: unknown) => {
    const steps = (Array.isArray(input) ? input : []).filter(isStep)
    let peers: PeersOptions | undefined
    const channels: Array<number> = []
    const queues = MessageQueues.of({
      open: () => Effect.die("there are only lanes between ranks"),
      attach: () => Effect.die("there are only lanes between ranks"),
      peers: (options) =>
        Effect.sync(() => {
          peers = options
          return {
            handle: { transport: "none", data: null },
            connect: () => Effect.succeed({ send: (_, channel) => channels.includes(channel) ? undefined : void channels.push(channel) })
          }
        })
    })
    const scope = Scope.makeUnsafe()
    const made = Effect.runSync(
      collectives.make({
        group: "g",
        secret: "s",
        rank,
        ranks: ranks.length,
        generation: 0,
        calls: calls.make(() => {}),
        join: () => Effect.succeed(ranks.map(() => ({ transport: "none", data: null }))),
        unable: () => {}
      })
        .pipe(Scope.provide(scope), Effect.provideService(MessageQueues, queues))
    )
    const { service } = made
    const run: Record<Operation, Effect.Effect<unknown, unknown>> = {
      allToAll: service.allToAll(ranks.map((to) => Uint8Array.of(to))),
      allGather: service.allGather(Uint8Array.of(7)),
      allReduce: service.allReduce(own),
      broadcast: service.broadcast(0),
      barrier: service.barrier
    }
    const said = new Map<string, Uint8Array>()
    const fibers: Array<{ readonly operation: Operation; readonly count: number; readonly fiber: Fiber.Fiber<unknown, unknown> }> = []
    let outcome = "accepted"
    try {
      // The lanes open with the first operation.
      const opening = Effect.runFork(service.barrier)
      const world = channels[0]!
      for (const from of [0, 2, 3]) peers!.receive(from, world, sequence("barrier", 0), new Uint8Array())
      holds(settle(opening)?._tag === "Success", "an honest operation does not end")
      let count = 1
      let waits: Fiber.Fiber<unknown, unknown> | undefined
      for (const step of steps) {
        if ("begin" in step) {
          // One at a time: to begin another one is this rank's own fault.
          if (waits !== undefined && settle(waits) === undefined) continue
          waits = Effect.runFork(run[step.begin])
          fibers.push({ operation: step.begin, count: count++, fiber: waits })
        } else if ("flood" in step) {
          for (let channel = 0; channel < step.flood; channel++) {
            peers!.receive(step.from, channel * 7919, sequence("barrier", 0), new Uint8Array(8))
          }
          if (step.flood > 4096) {
            const later = Effect.runFork(service.allGather(new Uint8Array()))
            holds(settle(later)?._tag === "Failure", "keeps messages without end")
          }
        } else {
          // Sequences of an input count from 0; the opening was the first.
          const shifted = (step.sequence & ~0xf | step.sequence + 1 & 0xf) >>> 0
          // This rank's operations are of no call, and meet those of any.
          const key = `${step.from} ${(shifted & ~0xfff0) >>> 0}`
          if (step.channel === 0 && !said.has(key)) said.set(key, step.bytes)
          peers!.receive(step.from, step.channel === 0 ? world : step.channel, shifted, step.bytes)
        }
      }
      for (const { count, fiber, operation } of fibers) {
        const exit = settle(fiber)
        if (exit === undefined) {
          outcome = "waits"
          continue
        }
        if (Exit.isFailure(exit)) {
          const error = Exit.findErrorOption(exit)
          holds(error._tag === "Some" && (error.value as any)._tag === "CollectiveAborted", `failed with ${exit.cause}`)
          const { issue } = (error as any).value
          holds(issue.length < 5000, `an issue of ${issue.length} characters`)
          outcome = `aborted: ${reasons.find((reason) => issue.includes(reason)) ?? "a peer said so"}`
          continue
        }
        for (const from of [0, 2, 3]) holds(said.has(`${from} ${sequence(operation, count)}`), `${operation} ended without rank ${from}`)
        if (operation === "allGather") {
          const parts = exit.value as ReadonlyArray<Uint8Array>
          for (const from of [0, 2, 3]) {
            holds(Buffer.compare(parts[from]!, said.get(`${from} ${sequence(operation, count)}`)!) === 0, "gathered other bytes")
          }
        }
      }
      made.abort("over")
      for (const { fiber } of fibers) holds(settle(fiber) !== undefined, "an aborted operation does not end")
    } finally {
      made.abort("over")
      Effect.runFork(Scope.close(scope, Exit.void))
    }
    return outcome
  }
}
