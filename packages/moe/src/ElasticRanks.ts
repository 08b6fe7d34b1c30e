/**
 * Model ranks that change their number while they write. Experts and requests go from rank to rank beside the steps that run; between two steps the ranks get what was written since, and the next step
 * is one of the new size.
 */
import type * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Capacity from "@phalanx/elastic/Capacity"
import { ResizeError } from "@phalanx/elastic/ElasticError"
import * as ExpertMap from "@phalanx/elastic/ExpertMap"
import * as MovementPlan from "@phalanx/elastic/MovementPlan"
import { Resizable, type Resize, type Serving } from "@phalanx/elastic/Resizable"
import * as ResizableGroup from "@phalanx/elastic/ResizableGroup"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as Generator from "./Generator.ts"
import * as placing from "./internal/placing.ts"
import { share } from "./internal/sharing.ts"
import { size } from "./internal/size.ts"
import type { Gifts, Moe } from "./Moe.ts"

/** The ranks, who drives them, and how they change. */
export interface Options {
  /** Its `capacity` is what bounds the size. */
  readonly ranks: Generator.Ranks
  readonly generator: Generator.Generator["Service"]
  /** What the group is called in the journal. Default: its name without the random part. */
  readonly group?: string | undefined
  /** Slots for experts by size. Default: `Capacity.fit`. */
  readonly capacity?: Capacity.Capacity | undefined
  /** Copies of experts beyond one of each, where `capacity` heeds it. Default 0. */
  readonly redundant?: number | undefined
  /** Bytes a second that each rank gives others while steps run. Default: 64 MiB. */
  readonly bandwidth?: number | undefined
}

type Standby = WorkerGroup.Standby<typeof Moe, "dp" | "tp">

/** One change under way. */
interface Change {
  readonly standby: Standby
  readonly scope: Scope.Closeable
  readonly map: ExpertMap.ExpertMap
  /** The coordinate of `dp`, in the next mesh, of each request that gets another owner, and the first position that it has not been given. */
  readonly homes: Map<number, number>
  readonly given: Map<number, number>
}

const failed = (cause: { readonly message: string }): ResizeError =>
  new ResizeError({ issue: cause.message, advice: "The ranks go on as they are; ask again, or for another size" })
const gone = (issue: string): ResizeError => new ResizeError({ issue, advice: "Ask for the size anew", final: true })

/** The most bytes that a rank gives in one round: what its event loop is held up by. */
const round = 256 * 1024

/** Ranks as something that can be resized. */
export const make = (options: Options): Resizable["Service"] => {
  const { capacity = Capacity.fit, generator: { seating }, ranks, redundant } = options
  const bandwidth = options.bandwidth ?? 64 * 1024 * 1024
  const changes = new Map<number, Change>()

  const membership = SubscriptionRef.get(ranks.membership)
  const serving: Effect.Effect<Serving> = Effect.map(membership, ({ epoch, members, mesh }) => ({
    epoch,
    shape: mesh.shape,
    members: members.map(({ id }) => id)
  }))

  const loads = Effect.map(
    ranks.call.load(),
    (loads) => loads.reduce((sum, load) => sum.map((layer, l) => layer.map((n, e) => n + load[l]![e]!)))
  )

  /** Has every rank give what is listed for it, once. */
  const give = (standby: Standby, gifts: ReadonlyArray<Gifts>) => standby.all.call.give(({ rank }) => gifts[rank]!)
  const none = (standby: Standby): Array<{ experts: Array<Gifts["experts"][number]>; requests: Array<Gifts["requests"][number]> }> =>
    standby.all.mesh.ranks.map(() => ({ experts: [], requests: [] }))

  /** Which rank of now has a coordinate of `dp`, and at which place among all the rank is that has one in the next mesh. */
  const tp = ranks.mesh.shape.tp
  const placeOf = ({ joining, members }: Standby, all: ReadonlyArray<number>, dp: number, t: number): number => {
    const id = members[dp * tp + t]!
    const old = all.indexOf(id)
    return joining.includes(id) ? all.length + joining.indexOf(id) : old
  }

  const prepare = Effect.fnUntraced(function*({ epoch, request }: Resize) {
    const change = "to" in request ? { to: request.to } : { leave: request.leave }
    const scope = yield* Scope.make()
    const before = seating.slots()
    const opened = Effect.gen(function*() {
      const { members } = yield* serving
      const standby = yield* Scope.provide(ranks.prepare(change as {}), scope)
      const load = yield* loads
      const { to } = yield* placing.next({ slots: before, before: members, after: standby.members, load, capacity, redundant })
      changes.set(epoch, { standby, scope, map: to, homes: new Map(), given: new Map() })
    })
    yield* Effect.onError(Effect.mapError(opened, failed), (cause) => Scope.close(scope, Exit.failCause(cause)))
  })

  /** Who gets whose requests: those of owners that leave go to whoever has fewest, and owners that join get their part. */
  const assign = (change: Change, former: ReadonlyArray<number>): void => {
    const running = seating.running()
    const { members } = change.standby
    const next = Array.from({ length: members.length / tp }, (_, dp) => former.indexOf(members[dp * tp]!))
    const stays = next.map((rank) => rank < 0 ? [] : running[rank / tp]!.filter((id) => !change.homes.has(id)))
    const leaving = running.filter((_, dp) => !next.includes(dp * tp)).flat().filter((id) => !change.homes.has(id))
    const known = next.map((_, dp) => [...change.homes].filter(([id, home]) => home === dp && running.flat().includes(id)).length)
    for (const [id, home] of share(stays, leaving, known)) change.homes.set(id, home)
  }

  const requestsOf = (change: Change, former: ReadonlyArray<number>, whole: boolean): ReadonlyArray<Gifts> => {
    const { given, homes, standby } = change
    const gifts = none(standby)
    seating.running().forEach((ids, dp) => {
      for (const id of ids) {
        const home = homes.get(id)
        if (home === undefined) continue
        for (let t = 0; t < tp; t++) {
          gifts[dp * tp + t]!.requests.push({ id, from: given.get(id) ?? 0, to: placeOf(standby, former, home, t), whole })
        }
      }
    })
    return gifts
  }

  const copy = Effect.fnUntraced(function*({ epoch, from, report }: Resize) {
    const change = yield* changeOf(epoch)
    const { map, standby } = change
    const former = from.members
    const all = [...former, ...standby.joining]
    const present = yield* ExpertMap.make(former, seating.slots())
    const plan = yield* MovementPlan.make({ from: present, to: map, expertBytes: bytesOfExpert })
    const total = MovementPlan.totalBytes(plan)
    let done = 0
    const paced = <A, E>(bytes: number, effect: Effect.Effect<A, E>) =>
      Effect.flatMap(
        Effect.timed(effect),
        ([took, value]) => Effect.as(Effect.sleep(Duration.millis(Math.max(0, bytes * 1000 / bandwidth - Duration.toMillis(took)))), value)
      )
    for (const step of MovementPlan.steps(plan, "end")) {
      if (step._tag === "Switch") continue
      for (const flows of rounds(step.flows)) {
        const gifts = none(standby)
        for (const { experts, from, to } of flows) {
          if (from === "file") continue
          for (const expert of experts) gifts[all.indexOf(from)]!.experts.push({ layer: step.layer, expert, to: [all.indexOf(to)] })
        }
        const most = Math.max(...gifts.map(({ experts }) => experts.length)) * bytesOfExpert
        yield* paced(most, give(standby, gifts))
        done += flows.reduce((sum, { experts }) => sum + experts.length, 0) * bytesOfExpert
        yield* report({ what: "bytes of experts", done, total })
      }
    }
    assign(change, former)
    // Two rounds: what is written during the first one is little.
    for (let times = 0; times < 2; times++) {
      const given = yield* give(standby, requestsOf(change, former, false))
      for (const [id, position] of given.flatMap(({ positions }) => positions)) change.given.set(id, position)
      yield* Effect.sleep(Duration.millis(Math.max(...given.map(({ bytes }) => bytes)) * 1000 / bandwidth))
    }
  }, Effect.mapError(failed))

  const changeOf = (epoch: number): Effect.Effect<Change, ResizeError> => {
    const change = changes.get(epoch)
    return change === undefined ? Effect.fail(gone(`epoch ${epoch} is not prepared`)) : Effect.succeed(change)
  }

  const ready = ({ epoch }: Resize) =>
    Effect.flatMap(
      changeOf(epoch),
      ({ map, standby }) =>
        standby.next.call.expect({ epoch, slots: map.layers }).pipe(
          Effect.raceFirst(standby.failure),
          Effect.mapError(failed),
          Effect.asVoid
        )
    )

  const commit = Effect.fnUntraced(function*(resize: Resize) {
    const { epoch, from } = resize
    if ((yield* membership).epoch === epoch) return { pauseMillis: 0 }
    if ((yield* membership).epoch !== from.epoch) return yield* gone(`the membership of epoch ${from.epoch} does not serve any more`)
    const change = yield* changeOf(epoch)
    const spoilt = yield* Effect.exit(Effect.raceFirst(change.standby.failure, Effect.void))
    if (spoilt._tag === "Failure") {
      // Past the point of no return there is one way: the same again, with those that are there.
      yield* abort(resize)
      yield* prepare(resize)
      yield* copy(resize)
      yield* ready(resize)
    }
    const { given, homes, map, standby } = yield* changeOf(epoch)
    return yield* seating.between(Effect.gen(function*() {
      const began = performance.now()
      assign(yield* changeOf(epoch), from.members)
      yield* give(standby, requestsOf({ ...change, given, homes, standby }, from.members, true))
      yield* standby.commit
      seating.reseat(map.layers, homes)
      return { pauseMillis: performance.now() - began }
    })).pipe(Effect.mapError((error) => "final" in error ? error : failed(error)))
  })

  const retire = ({ epoch }: Resize) =>
    Effect.suspend(() => {
      const change = changes.get(epoch)
      changes.delete(epoch)
      return change === undefined ? Effect.void : Scope.close(change.scope, Exit.void)
    })

  const abort = Effect.fnUntraced(function*(resize: Resize) {
    if ((yield* membership).epoch === resize.epoch || !changes.has(resize.epoch)) return
    yield* retire(resize)
    yield* Effect.ignore(ranks.exits.forget())
  })

  /** A step ends for good with the ranks. */
  const whileTheyLive = <A>(step: Effect.Effect<A, ResizeError>): Effect.Effect<A, ResizeError> =>
    Effect.raceFirst(ResizableGroup.ended(ranks), step)

  return Resizable.of({
    group: options.group ?? ranks.name.replace(/-[0-9a-f]+$/, ""),
    serving,
    prepare: (resize) => whileTheyLive(prepare(resize)),
    copy: (resize) => whileTheyLive(copy(resize)),
    ready: (resize) => whileTheyLive(ready(resize)),
    commit: (resize) => whileTheyLive(commit(resize)),
    retire,
    abort
  })
}

const bytesOfExpert = size.expertBytes

/** Flows in rounds in which nobody gives more than is good for its steps. */
const rounds = (flows: ReadonlyArray<MovementPlan.Flow>): ReadonlyArray<ReadonlyArray<MovementPlan.Flow>> => {
  const each = Math.max(1, Math.floor(round / bytesOfExpert))
  const most = Math.max(...flows.map(({ experts }) => experts.length))
  return Array.from(
    { length: Math.ceil(most / each) },
    (_, i) =>
      flows.map((flow) => ({ ...flow, experts: flow.experts.slice(i * each, (i + 1) * each) })).filter(({ experts }) => experts.length > 0)
  )
}

/** `Resizable`, over a generator and its ranks. */
export const layer = (options: Options): Layer.Layer<Resizable> => Layer.succeed(Resizable, make(options))
