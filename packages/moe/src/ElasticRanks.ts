/**
 * Model ranks that change their number while they write. Experts and requests go from rank to rank beside the steps that run; between two steps the ranks get what was written since, and the next step
 * is one of the new size.
 */
import type * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Capacity from "@phalanx/elastic/Capacity"
import { ResizeError } from "@phalanx/elastic/ElasticError"
import * as ExpertLoad from "@phalanx/elastic/ExpertLoad"
import * as MovementPlan from "@phalanx/elastic/MovementPlan"
import { Resizable, type Resize } from "@phalanx/elastic/Resizable"
import * as ResizableGroup from "@phalanx/elastic/ResizableGroup"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as MutableRef from "effect/MutableRef"
import { Generator } from "./Generator.ts"
import * as budget from "./internal/budget.ts"
import * as placing from "./internal/placing.ts"
import * as rounds from "./internal/rounds.ts"
import { share } from "./internal/sharing.ts"
import { size } from "./internal/size.ts"
import type { Gifts, Moe, Part, Plan, Slots } from "./Moe.ts"
import { Ranks } from "./Ranks.ts"
import * as Sampling from "./Sampling.ts"

/** How the ranks change. Their group's `capacity` is what bounds the size. */
export interface Options {
  /** Slots for experts by size. Default: `Capacity.fit`. */
  readonly capacity?: Capacity.Capacity | undefined
  /** Copies of experts beyond one of each, where `capacity` heeds it. Default 0. */
  readonly redundant?: number | undefined
  /** Bytes a second that each rank gives others while steps run. Default: 64 MiB. */
  readonly bandwidth?: number | undefined
}

/** What `make` takes. */
export interface MakeOptions extends Options {
  readonly ranks: Ranks["Service"]
  readonly generator: Generator["Service"]
}

type Standby = WorkerGroup.Standby<typeof Moe, "dp" | "tp">

/** What ranks are given for one standby. */
interface Moving {
  readonly standby: Standby
  /** Member ids of now, in rank order. */
  readonly former: ReadonlyArray<number>
  readonly slots: Slots
  /** Requests for which the poorest of its members has room. */
  readonly room: number
  /** The coordinate of `dp`, in the next mesh, of each request that gets another owner, and the first position that it has not been given. */
  readonly homes: Map<number, number>
  readonly given: Map<number, number>
}

/** Gifts of each rank that is concerned. */
type Gathered = Array<{
  readonly experts: []
  readonly requests: Array<Gifts["requests"][number]>
  heir?: number
}>

/** Passes that those who join make with all others before they serve, so that their first step is hardly longer than the ones before. */
const rehearsals = 4
/** And steps of their own: of a request that nobody has made. */
const rehearsed: ReadonlyArray<Pick<Plan, "close"> & { readonly part: Part }> = [
  {
    part: { open: [{ id: -2, tokens: new Uint8Array(17), maxTokens: 400, sampling: Sampling.greedy }], run: [{ id: -2, take: 12 }] },
    close: []
  },
  ...Array.from({ length: 5 }, () => ({ part: { open: [], run: [{ id: -2, take: 1 }] }, close: [] })),
  { part: { open: [], run: [] }, close: [-2] }
]

/** Ranks as something that can be resized. */
export const make = (options: MakeOptions): Resizable["Service"] => {
  const { capacity = Capacity.fit, generator: { seating }, ranks, redundant } = options
  const bandwidth = options.bandwidth ?? 64 * 1024 * 1024
  const tp = ranks.mesh.shape.tp
  const movings = new WeakMap<Standby, Moving>()
  /** As whom it moves experts. */
  const self = Symbol()

  const none = ({ all }: Standby): Gathered => all.mesh.ranks.map(() => ({ experts: [], requests: [] }))

  /** Has every rank give what is listed for it, and lets steps run for as long as the bandwidth asks. */
  const give = Effect.fnUntraced(function*(standby: Standby, gifts: ReadonlyArray<Gifts>) {
    const [took, given] = yield* Effect.timed(standby.all.call.give(({ rank }) => gifts[rank]!))
    const most = Math.max(...given.map(({ bytes }) => bytes))
    yield* Effect.sleep(Duration.millis(Math.max(0, most * 1000 / bandwidth - Duration.toMillis(took))))
    return given
  })

  /** Who gets whose requests: those of owners that leave go to whoever has fewest, and owners that join get their part. */
  const assign = ({ former, homes, standby: { members } }: Moving): void => {
    const running = seating.running()
    const open = new Set(running.flat())
    const next = Array.from({ length: members.length / tp }, (_, dp) => former.indexOf(members[dp * tp]!))
    const homeless = (id: number): boolean => !homes.has(id)
    const stays = next.map((rank) => rank < 0 ? [] : running[rank / tp]!.filter(homeless))
    const leaving = running.filter((_, dp) => !next.includes(dp * tp)).flat().filter(homeless)
    const known = next.map((_, dp) => [...homes].filter(([id, home]) => home === dp && open.has(id)).length)
    for (const [id, home] of share(stays, leaving, known)) homes.set(id, home)
  }

  /** What has been written of the requests that move and not been given yet; with `whole`, the requests themselves, too. */
  const requestsOf = ({ former, given, homes, standby }: Moving, whole: boolean): Gathered => {
    const gifts = none(standby)
    const all = [...former, ...standby.joining]
    seating.running().forEach((ids, dp) => {
      for (const id of ids) {
        const home = homes.get(id)
        if (home === undefined) continue
        for (let t = 0; t < tp; t++) {
          gifts[dp * tp + t]!.requests.push({ id, from: given.get(id) ?? 0, to: all.indexOf(standby.members[home * tp + t]!), whole })
        }
      }
    })
    if (whole) {
      former.forEach((id, rank) => {
        if (!standby.members.includes(id)) gifts[rank]!.heir = all.indexOf(standby.members[rank % tp]!)
      })
    }
    return gifts
  }

  /** Brings what has been written so far of the requests that are to move. */
  const giveWritten = Effect.fnUntraced(function*(moving: Moving) {
    assign(moving)
    const given = yield* give(moving.standby, requestsOf(moving, false))
    for (const [id, position] of given.flatMap(({ positions }) => positions)) moving.given.set(id, position)
  })

  const giveExperts = Effect.fnUntraced(function*({ former, standby }: Moving, plan: MovementPlan.MovementPlan, report: Resize["report"]) {
    const total = MovementPlan.totalBytes(plan)
    let done = 0
    for (const { bytes, gifts } of rounds.of(plan, [...former, ...standby.joining])) {
      yield* give(standby, gifts)
      done += bytes
      yield* report({ what: "bytes of experts", done, total })
    }
  })

  return ResizableGroup.make(ranks, {
    copy: Effect.fnUntraced(function*(standby, { epoch, from, report }) {
      MutableRef.set(seating.mover, self)
      // Ranks that nobody has had step since they were started again, or since the last change, get their places and their experts first.
      yield* seating.between(Effect.suspend(() => ranks.call.place({ slots: seating.slots() })))
      const former = from.members
      const owners = standby.members.length / tp
      const room = budget.agree(yield* standby.next.call.describe())
      const running = seating.running().flat().length
      if (running > room * owners) {
        return yield* new ResizeError({
          issue: `${running} requests run, and ${owners} owners, the poorest of which has room for ${room}, cannot hold them`,
          advice: "Wait until some have ended, or ask for more ranks"
        })
      }
      // Until it is decided whether they are to serve, no more run than they can hold.
      seating.bound({ all: room * owners })
      const load = ExpertLoad.sum(yield* ranks.call.load())
      const map = yield* placing.next({ slots: seating.slots(), before: former, after: standby.members, load, capacity, redundant })
      const moving: Moving = { standby, former, slots: map.to.layers, room, homes: new Map(), given: new Map() }
      yield* giveExperts(moving, yield* MovementPlan.make({ ...map, expertBytes: size.expertBytes }), report)
      yield* giveWritten(moving)
      const { length } = standby.joining
      yield* standby.next.call.expect({ epoch, slots: moving.slots, rehearsals: length === 0 ? 0 : rehearsals })
      if (length > 0) {
        const joining = standby.all.slice({ member: standby.joining.map((_, i) => former.length + i) })
        for (const { close, part } of rehearsed) {
          yield* joining.call.step({
            step: -1,
            parts: Array.from({ length: standby.members.length / tp }, () => part),
            keep: [],
            close
          })
        }
      }
      movings.set(standby, moving)
    }),
    commit: Effect.fnUntraced(function*(standby, commit) {
      const moving = movings.get(standby)!
      // What is written during the first round is little.
      yield* giveWritten(moving)
      yield* giveWritten(moving)
      return yield* seating.between(Effect.gen(function*() {
        const began = performance.now()
        assign(moving)
        const gifts = requestsOf(moving, true)
        yield* standby.all.call.give(({ rank }) => gifts[rank]!)
        const seated = Effect.sync(() => {
          seating.reseat(moving.slots, moving.homes)
          seating.bound({ each: moving.room, all: Infinity })
          MutableRef.set(seating.mover, undefined)
        })
        // Whoever is in the epoch has its place there.
        yield* Effect.uninterruptible(Effect.andThen(commit, seated))
        return performance.now() - began
      }))
    }),
    forget: Effect.suspend(() => {
      seating.bound({ all: Infinity })
      MutableRef.set(seating.mover, undefined)
      return Effect.asVoid(ranks.exits.forget())
    })
  })
}

/** The ranks that a generator drives, as something that can be resized, with these options. */
export const layerWith = (options: Options): Layer.Layer<Resizable, never, Ranks | Generator> =>
  Layer.effect(
    Resizable,
    Effect.gen(function*() {
      return make({ ...options, ranks: yield* Ranks, generator: yield* Generator })
    })
  )

/** As `layerWith`, with every option's default. */
export const layer: Layer.Layer<Resizable, never, Ranks | Generator> = layerWith({})
