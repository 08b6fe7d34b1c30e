/** A rank of the model: computes its share of each step, with the other ranks, and keeps its requests' state. It reads its own experts' bytes and nobody else's. */
import { Collectives, type Communicator } from "@phalanx/core/Collectives"
import * as Mesh from "@phalanx/core/Mesh"
import * as Worker from "@phalanx/core/Worker"
import * as Effect from "effect/Effect"
import * as Engine from "./Engine.ts"
import * as budget from "./internal/budget.ts"
import * as exchange from "./internal/exchange.ts"
import * as parcel from "./internal/parcel.ts"
import * as seats from "./internal/seat.ts"
import { size } from "./internal/size.ts"
import { end, topK } from "./Model.ts"
import { type Holding, Moe, type Opening, type Slots } from "./Moe.ts"
import * as Placement from "./Placement.ts"
import * as Sampling from "./Sampling.ts"

/** A request that this rank owns (with the other ranks of its `tp`). */
interface Held {
  readonly opening: Opening
  /** Bytes known: byte 0, prompt, and what was sampled. */
  readonly tokens: Array<number>
  /** Positions that steps have begun to compute, and have computed. */
  taken: number
  computed: number
  sampled: number
}

/** What a forward pass came to. */
interface Tally {
  /** Milliseconds that it has waited for other ranks. */
  waited: number
  /** Rows that experts held here have processed. */
  expertRows: number
  /** Layer by layer, how often each expert was wanted by this rank's rows. */
  readonly routed: ReadonlyArray<Array<number>>
}

/** Milliseconds of the machine's monotonic clock. */
const now = (): number => Number(process.hrtime.bigint()) / 1e6

const parameters = new URL(import.meta.url).searchParams
const weights = parameters.get("weights")
const told = parameters.get("requests")
const room = told === null ? budget.most : Number(told)

/** The worker that serves `Moe` as one rank of a mesh of `dp` × `tp`; its URL has the parameters of `Moe.entry`. */
export default Worker.make(
  Moe,
  Moe.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    const world = yield* Collectives
    // Its share of the heads never changes: tp is no dimension that grows or shrinks.
    const { tp } = yield* Worker.coordinates("dp", "tp")
    const engine = yield* Engine.make({
      rank: self.rank,
      ranks: self.worldSize,
      tp: { index: tp, size: self.mesh.shape.tp! },
      blocks: room * size.context / 64,
      // One that joins gets its experts from those that have them.
      ...(self.joining ? { experts: [] } : {}),
      ...(weights === null ? {} : { file: new URL(weights) })
    })
    const { context, d_model: width, n_experts, n_layers } = engine.config
    const layers = Array.from({ length: n_layers }, (_, layer) => layer)
    const take = (slots: seats.Slots): seats.Seat =>
      seats.make({ epoch: self.epoch, rank: self.rank, mesh: self.mesh as Mesh.Mesh<"dp" | "tp">, slots, width })
    const tpSize = self.mesh.shape.tp!
    /** The ranks of its `tp`. */
    const peersAt = ({ dp }: seats.Seat): Communicator => world.split(Array.from({ length: tpSize }, (_, t) => dp * tpSize + t))
    /** Split once an epoch. */
    let peers: { readonly epoch: number; readonly communicator: Communicator } | undefined
    const peersNow = (): Communicator => {
      if (peers?.epoch !== self.epoch) peers = { epoch: self.epoch, communicator: peersAt(seat) }
      return peers.communicator
    }
    const initial = (): seats.Slots => layers.map(() => Placement.slots(n_experts, self.worldSize))
    let seat = take(initial())
    /** Where experts will lie in an epoch to come. */
    let expected: { readonly epoch: number; readonly slots: Slots } | undefined

    const requests = new Map<number, Held>()
    /** What becomes this rank's with the next epoch, and what is no longer. */
    const arrived = new Map<number, Held>()
    const handed = new Set<number>()
    /** What has a name and is not running here: requests that wait, and those that have ended. For another driver, should this one be gone. */
    const shelf = new Map<number, Holding>()
    let steps = 0
    let expertRows = 0
    let dropped = 0
    let recomputed = 0
    let inherited = 0
    const nothing = (): Tally => ({ waited: 0, expertRows: 0, routed: layers.map(() => Array.from({ length: n_experts }, () => 0)) })
    /** How often each expert was wanted by this rank's rows. */
    const { routed } = nothing()

    /** Holds the experts of these slots, and tells how many of them had to be read from the file. */
    const load = Effect.fnUntraced(function*(resident: ReadonlyArray<ReadonlySet<number>>) {
      let missing = 0
      for (const layer of layers) {
        for (const expert of resident[layer]!) {
          if (engine.holds(layer, expert)) continue
          missing++
          yield* engine.loadExpert(layer, expert)
        }
      }
      return missing
    })
    const dropExperts = (resident: ReadonlyArray<ReadonlySet<number>>): void => {
      const { experts } = engine.stats()
      for (const layer of layers) for (const expert of experts[layer]!) if (!resident[layer]!.has(expert)) engine.dropExpert(layer, expert)
    }
    const dropOthers = (resident: ReadonlyArray<ReadonlySet<number>>): void => {
      dropExperts(resident)
      for (const id of engine.stats().slots) if (id >= 0 && !requests.has(id)) engine.release(id)
    }
    /** Takes its place in the present epoch, with what it was given for it; reads the experts that nobody gave, and lets go of those that others hold now. */
    const settle = Effect.fnUntraced(function*(slots?: seats.Slots) {
      if (seat.epoch === self.epoch && (slots === undefined || seats.same(slots, seat.slots))) return
      const next = take(slots ?? (expected?.epoch === self.epoch ? expected.slots : initial()))
      yield* load(next.resident)
      for (const id of handed) requests.delete(id)
      for (const [id, held] of arrived) requests.set(id, held)
      inherited += arrived.size
      handed.clear()
      arrived.clear()
      expected = undefined
      seat = next
      dropOthers(next.resident)
    })

    /** The experts held here, on what all ranks ask of them: an expert's rows together, whoever sent them. */
    const answer = (layer: number, messages: ReadonlyArray<Uint8Array>, tally: Tally): ReadonlyArray<Float32Array> => {
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
        tally.expertRows += list.length
      }
      return results
    }

    /** One forward pass with all ranks, which may have other rows, or none. Gives a copy of the logits of the rows wanted. */
    const forward = Effect.fnUntraced(function*(
      rows: ReadonlyArray<Engine.Row>,
      wanted: ReadonlyArray<number>,
      tally: Tally,
      layouts: seats.Seat["layouts"],
      peers: () => Communicator
    ) {
      const waiting = <A, E>(collective: Effect.Effect<A, E>): Effect.Effect<A, E> =>
        Effect.suspend(() => {
          const began = performance.now()
          return Effect.map(collective, (result) => {
            tally.waited += performance.now() - began
            return result
          })
        })

      if (rows.length > 0) engine.embed(rows)
      for (const layer of layers) {
        const layout = layouts[layer]!
        if (rows.length > 0) {
          const own = engine.attention(layer)
          if (layout.tp === 1) engine.afterAttention()
          else engine.afterAttention(yield* waiting(peers().allGather(new Uint8Array(own.slice().buffer))))
        }
        const route = rows.length > 0 ? engine.route(layer) : undefined
        for (const expert of route?.experts ?? []) tally.routed[layer]![expert]!++
        if (layout.ranks === 1) {
          tally.expertRows += rows.length * topK
          engine.local(layer)
        } else {
          const routing: exchange.Routing = { rows: rows.length, experts: route === undefined ? [] : route.experts.slice() }
          const asked = yield* waiting(world.allToAll(exchange.dispatch(routing, layout, route?.h ?? new Float32Array(0))))
          const answers = yield* waiting(world.allToAll(exchange.answers(answer(layer, asked, tally), layout)))
          exchange.collect(routing, layout, answers, engine.place)
        }
        if (rows.length > 0) engine.combine()
        // A turn of the event loop is one layer long, so that control frames are heard in the middle of a step.
        yield* Effect.yieldNow
      }
      return wanted.length === 0 ? new Float32Array(0) : engine.logits(wanted).slice()
    })

    /** For a rank that joins: it computes alone, with whatever experts it has. */
    const alone = layers.map((): exchange.Layout => ({ ranks: 1, tp: 1, index: 0, width, owner: () => 0 }))
    /** Passes with all members of the next epoch, in the places that they will have: those that join compute, those that serve answer. */
    const rehearse = Effect.fnUntraced(function*(passes: number, next: seats.Seat) {
      const id = -2
      const [peers, tally] = [peersAt(next), nothing()]
      for (let pass = 0; pass < passes; pass++) {
        const rows = self.joining ? [0, 1, 2].map((i) => ({ slot: id, position: 3 * pass + i, token: i })) : []
        yield* forward(rows, rows.map((_, row) => row), tally, next.layouts, () => peers)
        const opening = { id, tokens: Uint8Array.of(end), maxTokens: 1, sampling: Sampling.greedy }
        parcel.unpack(parcel.pack([parcel.request(waiting(opening))]))
      }
      engine.release(id)
    })

    const release = (id: number): void => {
      requests.delete(id)
      engine.release(id)
    }
    const holding = (state: Holding["state"], { computed, opening, tokens }: Held): Holding => ({
      state,
      opening,
      bytes: Uint8Array.from(tokens.slice(opening.tokens.length)),
      computed
    })
    const hold = ({ bytes, computed, opening }: Holding): Held => ({
      opening,
      tokens: [...opening.tokens, ...bytes],
      taken: computed,
      computed,
      sampled: bytes.length
    })
    const waiting = (opening: Opening): Holding => ({ state: "waiting", opening, bytes: new Uint8Array(0), computed: 0 })
    const close = (id: number): void => {
      release(id)
      shelf.delete(id)
    }
    /** Takes a sampled byte in. A request ends where its driver's scheduler, which sees the byte later, ends it too. */
    const advance = (id: number, request: Held, byte: number): void => {
      request.tokens.push(byte)
      request.sampled++
      const { maxTokens, tokens } = request.opening
      if (byte !== end && request.sampled < maxTokens && tokens.length + request.sampled <= context) return
      release(id)
      if (request.opening.name !== undefined) shelf.set(id, holding("ended", request))
    }

    return Moe.of({
      describe: () => Effect.sync(() => budget.describe(self, engine, { requests: room, told: told !== null })),
      step: ({ close: closing, keep, parts }) =>
        Effect.gen(function*() {
          const began = now()
          yield* Effect.orDie(settle())
          const part = parts[seat.dp]!
          for (const id of closing) close(id)
          for (const opening of keep) shelf.set(opening.id, waiting(opening))
          for (const opening of part.open) {
            shelf.delete(opening.id)
            requests.set(opening.id, hold(waiting(opening)))
            recomputed += opening.again ?? 0
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
          // One that is to join is asked for steps of which nobody wants anything, so that its first one is as fast as its others.
          const { joining } = self
          const tally: Tally = joining ? nothing() : { waited: 0, expertRows: 0, routed }
          const logits = yield* forward(rows, sampling.map(({ row }) => row), tally, joining ? alone : seat.layouts, peersNow)
          for (const { id } of part.run) {
            const request = requests.get(id)
            if (request !== undefined) request.computed = request.taken
          }
          const tokens = sampling.map(({ id, request }, i) => {
            const byte = Sampling.choose(logits.subarray(i * 256, (i + 1) * 256), request.opening.sampling, request.tokens.length)
            advance(id, request, byte)
            return [id, byte] as const
          })
          if (!joining) {
            steps++
            dropped += missing
            expertRows += tally.expertRows
          }
          return { tokens: tp === 0 ? tokens : [], dropped: missing, began, ended: now(), waited: tally.waited }
        }),
      recover: ({ parts, slots }) =>
        Effect.map(settle(slots), () => {
          const kept = new Map(parts[seat.dp]!.map((part) => [part.id, part]))
          for (const id of requests.keys()) if (!kept.has(id)) release(id)
          const missing: Array<number> = []
          for (const [id, { computed, received }] of kept) {
            const request = requests.get(id)
            if (request === undefined || request.sampled < received) {
              release(id)
              missing.push(id)
              continue
            }
            request.tokens.length = request.opening.tokens.length + received
            request.sampled = received
            // Its keys and values are written again from there, and are the same.
            const taken = computed ?? (received === 0 ? 0 : request.tokens.length - 1)
            recomputed += Math.max(0, request.computed - taken)
            request.taken = request.computed = taken
          }
          return missing
        }).pipe(Effect.orDie),
      inventory: () =>
        Effect.map(settle(), () => ({
          slots: seat.slots,
          holdings: [...shelf.values(), ...[...requests.values()].map((held) => holding("running", held))]
        })).pipe(Effect.orDie),
      usage: () =>
        Effect.map(world.traffic, (sent) => ({ steps, sent, expertRows, dropped, recomputed, inherited, requests: requests.size })),
      load: () => Effect.succeed(routed),
      give: ({ experts, heir, requests: moves }) =>
        Effect.suspend(() => {
          const gifts = world.ranks.map(() => [] as Array<parcel.Item>)
          for (const { expert, layer, to } of experts) {
            const bytes = engine.expertBytes(layer, expert)
            for (const other of to) gifts[other]!.push({ label: { _tag: "Expert", layer, expert, bytes: bytes.length }, bytes })
          }
          const positions: Array<readonly [number, number]> = []
          for (const { from, id, to, whole } of moves) {
            const held = requests.get(id)
            if (held === undefined) continue
            const { computed } = held
            const bytes = computed > from ? engine.readKv(id, from, computed) : new Uint8Array(0)
            positions.push([id, Math.max(from, computed)])
            gifts[to]!.push({ label: { _tag: "Positions", id, from, bytes: bytes.length }, bytes })
            if (!whole) continue
            gifts[to]!.push(parcel.request(holding("running", held)))
            handed.add(id)
          }
          if (heir !== undefined) gifts[heir]!.push(...[...shelf.values()].map(parcel.request))
          const parcels = gifts.map(parcel.pack)
          return Effect.map(world.allToAll(parcels), (received) => {
            for (const { bytes, label } of received.flatMap(parcel.unpack)) {
              if (label._tag === "Expert") engine.putExpert(label.layer, label.expert, bytes)
              else if (label._tag === "Request") {
                const { holding } = label
                if (holding.state === "running") arrived.set(holding.opening.id, hold(holding))
                else if (holding.state === "ended" || !shelf.has(holding.opening.id)) shelf.set(holding.opening.id, holding)
              } else if (bytes.length > 0) engine.writeKv(label.id, label.from, bytes)
            }
            return { bytes: parcels.reduce((sum, { length }) => sum + length, 0), positions }
          })
        }),
      expect: ({ epoch, rehearsals, slots }) =>
        Effect.gen(function*() {
          expected = { epoch, slots }
          // Of the next epoch, in which this call is answered by its members at the ranks that they will have.
          const mesh = Mesh.make({ dp: world.ranks.length / tpSize, tp: tpSize })
          const next = seats.make({ epoch, rank: world.index, mesh, slots, width })
          const loaded = yield* Effect.orDie(load(next.resident))
          yield* rehearse(rehearsals, next)
          return loaded
        }),
      place: ({ slots }) =>
        Effect.gen(function*() {
          yield* settle()
          const next = take(slots)
          const loaded = yield* load(next.resident)
          seat = next
          dropExperts(next.resident)
          return loaded
        }).pipe(Effect.orDie),
      forget: () =>
        Effect.sync(() => {
          // It has come, or a smaller group in its place, and no step has been made since: what is given is for the next one to take or drop.
          if (expected?.epoch === self.epoch) return
          expected = undefined
          handed.clear()
          arrived.clear()
          dropOthers(seat.resident)
        }),
      logits: ({ chunk, tokens }) =>
        Effect.gen(function*() {
          let logits = new Float32Array(0)
          const slot = -1
          for (let from = 0; from < tokens.length; from += chunk) {
            const piece = [...tokens.subarray(from, from + chunk)]
            const rows = seat.dp === 0 ? piece.map((token, i): Engine.Row => ({ slot, position: from + i, token })) : []
            logits = yield* forward(rows, seat.dp === 0 ? [rows.length - 1] : [], nothing(), seat.layouts, peersNow)
          }
          engine.release(slot)
          return [...logits]
        }).pipe(Effect.orDie)
    })
  }))
)
