/**
 * A rank of the model: computes its share of each step, with the other ranks, and keeps its requests' state. It reads its own experts' bytes and nobody else's.
 */
import { Collectives, type Communicator } from "@phalanx/core/Collectives"
import * as Mesh from "@phalanx/core/Mesh"
import * as Worker from "@phalanx/core/Worker"
import * as Effect from "effect/Effect"
import * as Engine from "./Engine.ts"
import * as exchange from "./internal/exchange.ts"
import { end, topK } from "./Model.ts"
import { Moe, type Opening } from "./Moe.ts"
import * as Placement from "./Placement.ts"
import * as Sampling from "./Sampling.ts"

/** A request that this rank owns (with the other ranks of its `tp`). */
interface Held {
  readonly opening: Opening
  /** Bytes known: byte 0, prompt, and what was sampled. */
  readonly tokens: Array<number>
  taken: number
  sampled: number
}

/** What a rank is in one epoch of its group. */
interface Seat {
  readonly epoch: number
  readonly dp: number
  readonly tp: number
  /** The ranks of its `tp`. */
  readonly peers: Communicator
  readonly layout: exchange.Layout
  /** The experts that it holds, of every layer. */
  readonly resident: ReadonlyArray<number>
}

/** Milliseconds that one step has waited for other ranks. */
interface Clock {
  waited: number
}

/** Milliseconds of the machine's monotonic clock. */
const now = (): number => Number(process.hrtime.bigint()) / 1e6

const weights = new URL(import.meta.url).searchParams.get("weights")

/** The worker that serves `Moe` as one rank of a mesh of `dp` × `tp`; the parameter `weights` of its URL names another file of weights. */
export default Worker.make(
  Moe,
  Moe.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    const world = yield* Collectives
    /** What this rank is in one epoch. Its share of the heads never changes: tp is no dimension that grows or shrinks. */
    const seatNow = (experts: number, width: number): Seat => {
      const { dp, tp } = Mesh.place(self.mesh as Mesh.Mesh<"dp" | "tp">, self.rank).coordinates
      const tpSize = self.mesh.shape.tp!
      const ranks = self.worldSize
      return {
        epoch: self.epoch,
        dp,
        peers: world.split(Array.from({ length: tpSize }, (_, t) => dp * tpSize + t)),
        layout: { ranks, tp: tpSize, index: self.rank, width, owner: (expert) => Placement.owner(expert, experts, ranks) },
        resident: Placement.resident(self.rank, experts, ranks),
        tp
      }
    }
    const { tp } = yield* Worker.coordinates("dp", "tp")
    const engine = yield* Engine.make({
      rank: self.rank,
      ranks: self.worldSize,
      tp: { index: tp, size: self.mesh.shape.tp! },
      ...(weights === null ? {} : { file: new URL(weights) })
    })
    const { context, d_model: width, n_experts, n_layers } = engine.config
    let seat = seatNow(n_experts, width)
    /** Takes its place in the present epoch: reads the experts that nobody else holds any more, and lets go of those that others hold now. */
    const settle = Effect.gen(function*() {
      if (seat.epoch === self.epoch) return
      const next = seatNow(n_experts, width)
      for (let layer = 0; layer < n_layers; layer++) {
        for (const expert of seat.resident) if (!next.resident.includes(expert)) engine.dropExpert(layer, expert)
        for (const expert of next.resident) yield* engine.loadExpert(layer, expert)
      }
      seat = next
    })
    const requests = new Map<number, Held>()
    let steps = 0
    let expertRows = 0
    let dropped = 0

    /** The experts held here, on what all ranks ask of them: an expert's rows together, whoever sent them. */
    const answer = (layer: number, messages: ReadonlyArray<Uint8Array>): ReadonlyArray<Float32Array> => {
      const asked = messages.map((message) => exchange.asked(message, width))
      const results = asked.map(({ experts }) => new Float32Array(experts.length * width))
      const byExpert = new Map<number, Array<readonly [from: number, pair: number]>>()
      asked.forEach(({ experts }, from) =>
        experts.forEach((expert, pair) => {
          const list = byExpert.get(expert)
          if (list === undefined) byExpert.set(expert, [[from, pair]])
          else list.push([from, pair])
        })
      )
      for (const [expert, list] of byExpert) {
        const rows = new Float32Array(list.length * width)
        list.forEach(([from, pair], i) => {
          const slot = asked[from]!.slots[pair]! * width
          rows.set(asked[from]!.vectors.subarray(slot, slot + width), i * width)
        })
        const out = engine.expert(layer, expert, rows)
        list.forEach(([from, pair], i) => results[from]!.set(out.subarray(i * width, (i + 1) * width), pair * width))
        expertRows += list.length
      }
      return results
    }

    /** One forward pass with all ranks, which may have other rows, or none. Gives a copy of the logits of the rows wanted. */
    const forward = Effect.fnUntraced(function*(rows: ReadonlyArray<Engine.Row>, wanted: ReadonlyArray<number>, clock: Clock) {
      const waiting = <A, E>(collective: Effect.Effect<A, E>): Effect.Effect<A, E> =>
        Effect.suspend(() => {
          const began = performance.now()
          return Effect.map(collective, (result) => {
            clock.waited += performance.now() - began
            return result
          })
        })

      const { layout, peers } = seat
      if (rows.length > 0) engine.embed(rows)
      for (let layer = 0; layer < n_layers; layer++) {
        if (rows.length > 0) {
          const own = engine.attention(layer)
          if (layout.tp === 1) engine.afterAttention()
          else engine.afterAttention(yield* waiting(peers.allGather(new Uint8Array(own.slice().buffer))))
        }
        const route = rows.length > 0 ? engine.route(layer) : undefined
        if (layout.ranks === 1) {
          expertRows += rows.length * topK
          engine.local(layer)
        } else {
          const routing: exchange.Routing = { rows: rows.length, experts: route === undefined ? [] : route.experts.slice() }
          const asked = yield* waiting(world.allToAll(exchange.dispatch(routing, layout, route?.h ?? new Float32Array(0))))
          const answers = yield* waiting(world.allToAll(exchange.answers(answer(layer, asked), layout)))
          exchange.collect(routing, layout, answers, engine.place)
        }
        if (rows.length > 0) engine.combine()
        // A turn of the event loop is one layer long, so that control frames are heard in the middle of a step.
        yield* Effect.yieldNow
      }
      return wanted.length === 0 ? new Float32Array(0) : engine.logits(wanted).slice()
    })

    const close = (id: number): void => {
      requests.delete(id)
      engine.release(id)
    }
    /** Takes a sampled byte in. A request ends where its driver's scheduler, which sees the byte later, ends it too. */
    const advance = (id: number, request: Held, byte: number): void => {
      request.tokens.push(byte)
      request.sampled++
      const { maxTokens, tokens } = request.opening
      if (byte === end || request.sampled >= maxTokens || tokens.length + request.sampled > context) close(id)
    }

    return Moe.of({
      describe: () => {
        const { bytesRead, experts, memory } = engine.stats()
        return Effect.succeed({ rank: self.rank, pid: process.pid, experts: experts[0]!, bytesRead, memoryBytes: memory })
      },
      step: ({ parts }) =>
        Effect.gen(function*() {
          const began = now()
          const part = parts[seat.dp]!
          for (const id of part.close) close(id)
          for (const opening of part.open) {
            requests.set(opening.id, { opening, tokens: [...opening.tokens], taken: 0, sampled: 0 })
          }
          const rows: Array<Engine.Row> = []
          const sampling: Array<{ readonly id: number; readonly request: Held; readonly row: number }> = []
          let missing = 0
          for (const { id, take } of part.run) {
            const request = requests.get(id)
            if (request === undefined) {
              missing++
              continue
            }
            for (let i = 0; i < take; i++) {
              rows.push({ slot: id, position: request.taken, token: request.tokens[request.taken]! })
              request.taken++
            }
            if (request.taken === request.tokens.length) sampling.push({ id, request, row: rows.length - 1 })
          }
          const clock: Clock = { waited: 0 }
          const logits = yield* forward(rows, sampling.map(({ row }) => row), clock)
          const tokens = sampling.map(({ id, request }, i) => {
            const byte = Sampling.choose(logits.subarray(i * 256, (i + 1) * 256), request.opening.sampling, request.tokens.length)
            advance(id, request, byte)
            return [id, byte] as const
          })
          steps++
          dropped += missing
          const { waited } = clock
          return { tokens: tp === 0 ? tokens : [], dropped: missing, began, ended: now(), waited }
        }),
      recover: ({ parts }) =>
        Effect.map(settle, () => {
          const kept = new Map(parts[seat.dp]!.map(({ id, received }) => [id, received]))
          for (const id of requests.keys()) if (!kept.has(id)) close(id)
          const missing: Array<number> = []
          for (const [id, received] of kept) {
            const request = requests.get(id)
            if (request === undefined || request.sampled < received) {
              close(id)
              missing.push(id)
              continue
            }
            request.tokens.length = request.opening.tokens.length + received
            request.sampled = received
            // Its keys and values are written again from there, and are the same.
            request.taken = received === 0 ? 0 : request.tokens.length - 1
          }
          return missing
        }).pipe(Effect.orDie),
      usage: () => Effect.map(world.traffic, (sent) => ({ steps, sent, expertRows, dropped, requests: requests.size })),
      logits: ({ chunk, tokens }) =>
        Effect.gen(function*() {
          let logits = new Float32Array(0)
          const slot = -1
          for (let from = 0; from < tokens.length; from += chunk) {
            const piece = [...tokens.subarray(from, from + chunk)]
            const rows = seat.dp === 0 ? piece.map((token, i): Engine.Row => ({ slot, position: from + i, token })) : []
            logits = yield* forward(rows, seat.dp === 0 ? [rows.length - 1] : [], { waited: 0 })
          }
          engine.release(slot)
          return [...logits]
        }).pipe(Effect.orDie)
    })
  }))
)
