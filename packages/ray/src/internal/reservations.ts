/**
 * The placement groups of the groups that run: one each, or one a row. A placement group is reserved when the first of its ranks is
 * spawned, and removed when the last of them has ended.
 */
import type { Identity } from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as Placement from "@phalanx/core/Placement"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as RcMap from "effect/RcMap"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { RayError } from "../RayError.ts"
import type { Bridge, Refused } from "./bridge.ts"
import type { Link } from "./link.ts"
import type { Placing } from "./placing.ts"
import { type Adopted, type Place as Saved, strategies } from "./protocol.ts"

/** Where a member belongs for life, whatever its rank becomes: which of how many in which placement group. */
interface Place {
  readonly group: string
  /** The placement group's name. */
  readonly name: string
  readonly index: number
  readonly count: number
  readonly placing: Placing
}

/** What a group began with. */
interface Origin {
  /** How many members it had: whoever is numbered beyond has joined later. */
  readonly members: number
  /** Who prepares another size of it may be a fiber that knows nothing of this. */
  readonly placing: Placing
}

export interface Reservation {
  /** The name under which the bridge knows it. */
  readonly name: string
  readonly bridge: Bridge
  readonly seats: ReadonlyArray<Saved["seat"] | undefined>
  /** Its bundles are gone: the next rank to be spawned reserves anew. */
  void: boolean
}

/** Without `wait`: what was freed a moment ago is on offer again within a second or so. */
const patience = 3

/** How many times more Ray is asked for what there is room for by its own account: a busy machine may be slow to lay it. */
const reminders = 4

/** After how long, in seconds, it is told that a group waits; each time is twice as long as the one before. */
const untilTold = 10

/** How often, in seconds, the nodes are asked again where bundles may go to some of them only. */
const again = 0.5

export const make = Effect.fnUntraced(function*(link: Link, detached: boolean, news: (text: string) => void) {
  const fail = (group: string) => (refused: Refused): RayError => refusedBy(group, refused)

  /** By group and member. */
  const places = new Map<string, Place>()
  const origins = new Map<string, Origin>()
  /** By name, what the placement group is for. */
  const wanted = new Map<string, Place>()
  /** By name, who sits where in what a former driver has reserved. */
  const inherited = new Map<string, Array<Saved["seat"] | undefined>>()

  const lookup = Effect.fnUntraced(function*(name: string) {
    const { count, placing } = wanted.get(name)!
    const bridge = yield* link.bridge
    const asked = placing.resources ?? { CPU: 1 }
    const given = placing.placementGroup
    // Before it is asked for, so that one that waits can be given up, and nothing of it is granted later.
    yield* Effect.addFinalizer(() =>
      (detached ? link.bridge : Effect.succeed(bridge)).pipe(
        Effect.flatMap((bridge) => bridge.ask("release", { group: name })),
        Effect.ignore
      )
    )
    const seated = inherited.get(name)
    inherited.delete(name)
    if (seated !== undefined) return { name, bridge, seats: seated, void: false } satisfies Reservation as Reservation
    const bundles = yield* (given === undefined
      ? reserve(bridge, name, Array.from({ length: count }, () => asked), placing)
      : bridge.ask("use", { group: name, name: "name" in given ? given.name : null, id: "id" in given ? given.id : null }).pipe(
        Effect.mapError(fail(name))
      ))
    const seats = yield* Effect.fromResult(
      Placement.seats(bundles, { ranks: count, driver: bridge.node, asked, bundles: placing.bundles })
    )
    return { name, bridge, seats, void: false } satisfies Reservation as Reservation
  })

  const reserve = Effect.fnUntraced(function*(
    bridge: Bridge,
    group: string,
    asked: ReadonlyArray<Placement.Resources>,
    placing: Placing
  ) {
    const strategy = placing.strategy ?? "pack"
    const wait = placing.wait === undefined ? patience : Duration.toSeconds(Duration.fromInputUnsafe(placing.wait))
    const doesNotFit = (nodes: ReadonlyArray<Placement.Node>) =>
      new Placement.PlacementError({ reason: { _tag: "DoesNotFit", strategy, asked, nodes } })
    const isLate = ({ code, nodes }: Refused) => code === "DoesNotFit" && Placement.fit(asked, strategy, nodes)._tag === "Success"
    const late = ({ detail }: Refused) =>
      new RayError({
        reason: "Refused",
        where: group,
        issue: `Ray has not laid the placement group within ${
          (placing.wait === undefined ? reminders + 1 : 1) * wait
        } s, though there is room; it says ${detail}`,
        advice: "Look at what Ray's control service does, or give `wait` more time"
      })
    yield* bridge.ask("nodes", {}).pipe(
      Effect.flatMap((nodes) => Effect.sync(() => news(`Ray: ${group} waits for room: ${doesNotFit(nodes).message}`))),
      Effect.ignore,
      Effect.repeat(Schedule.exponential(Duration.seconds(untilTold))),
      Effect.delay(Duration.seconds(untilTold)),
      Effect.forkScoped
    )
    const pins =
      yield* (placing.nodes === undefined ? pinFirst(bridge, asked, strategy) : pinAll(bridge, asked, strategy, placing.nodes, wait))
    return yield* bridge.ask("reserve", {
      group,
      bundles: asked,
      strategy: strategies[strategy],
      pins,
      patience: Number.isFinite(wait) ? wait : null
    }).pipe(
      Effect.retry({ times: placing.wait === undefined ? reminders : 0, while: isLate }),
      // The former bridge's groups go with its job, a moment after it.
      Effect.retry({ schedule: Schedule.spaced("100 millis"), times: 20, while: ({ code }) => code === "Exists" }),
      Effect.mapError((refused) =>
        refused.code !== "DoesNotFit" ? refusedBy(group, refused) : isLate(refused) ? late(refused) : doesNotFit(refused.nodes)
      )
    )
  }, Effect.scoped)

  /** Rank 0 belongs on the driver's node, if there is or can be room for it. */
  const pinFirst = (bridge: Bridge, asked: ReadonlyArray<Placement.Resources>, strategy: Placement.Strategy) =>
    bridge.ask("nodes", {}).pipe(
      Effect.mapError(fail("nodes")),
      Effect.map((nodes) => {
        const laid = [nodes, nodes.map((node) => ({ ...node, free: node.total }))].map((nodes) => Placement.fit(asked, strategy, nodes))
        const found = laid.find((result) => result._tag === "Success")
        const first = found?._tag === "Success" && found.success.includes(bridge.node)
        return asked.map((_, index) => first && index === 0 ? bridge.address : null)
      })
    )

  /** On some nodes only: Ray cannot choose among them, so the choice is made here. */
  const pinAll = (
    bridge: Bridge,
    asked: ReadonlyArray<Placement.Resources>,
    strategy: Placement.Strategy,
    allowed: ReadonlyArray<string>,
    wait: number
  ) =>
    bridge.ask("nodes", {}).pipe(
      Effect.mapError(fail("nodes")),
      Effect.flatMap((nodes) => {
        const some = nodes.filter(({ address }) => allowed.includes(address))
        return Effect.map(Effect.fromResult(Placement.fit(asked, strategy, some)), (ids) =>
          ids.map((id) => some.find((node) => node.id === id)!.address))
      }),
      Effect.retry({
        schedule: Schedule.spaced(Duration.seconds(again)),
        times: Math.floor(wait / again),
        while: (error) =>
          error._tag === "PlacementError"
      })
    )

  const map = yield* RcMap.make({ lookup })

  /** Uses the reservation that a member belongs to, and its seat there; the reservation is kept until the scope ends. */
  const use = Effect.fnUntraced(function*<A>(
    identity: Newcomer,
    placing: Placing,
    f: (bridge: Bridge, reservation: Reservation, place: Saved) => Effect.Effect<A, Refused>
  ) {
    const member = `${identity.group} ${identity.member}`
    if (!origins.has(identity.group)) {
      origins.set(identity.group, { members: Mesh.make(identity.shape).ranks.length, placing })
    }
    const place = places.get(member) ?? placeOf(identity, origins.get(identity.group)!)
    const { count, index, name } = place
    // Before it is held, so that it is looked at when that is over.
    yield* Effect.addFinalizer(() => forget(name))
    places.set(member, place)
    wanted.set(name, place)
    const once = Effect.gen(function*() {
      let reservation = yield* RcMap.get(map, name)
      if (reservation.void || (!detached && reservation.bridge.isGone())) {
        // Several members may find out at once: the first one clears the way.
        if (!reservation.void) {
          reservation.void = true
          yield* RcMap.invalidate(map, name)
        }
        reservation = yield* RcMap.get(map, name)
      }
      return yield* Effect.tapError(
        f(yield* link.bridge, reservation, { rank: identity.rank, name, index, count, seat: seatIn(reservation, index) }),
        (refused) => {
          if (refused.code !== "NoGroup" || reservation.void) return Effect.void
          reservation.void = true
          return RcMap.invalidate(map, name)
        }
      )
    })
    return yield* Effect.retry(once, { times: 1, while: (error) => error._tag === "Refused" && error.code === "NoGroup" })
  })
  /** A group that has ended leaves nothing here either. */
  const forget = (name: string): Effect.Effect<void> =>
    Effect.map(RcMap.has(map, name), (held) => {
      if (held) return
      wanted.delete(name)
      for (const [member, place] of places) if (place.name === name) places.delete(member)
      const groups = new Set([...places.values()].map(({ group }) => group))
      for (const group of origins.keys()) if (!groups.has(group)) origins.delete(group)
    })

  /** Takes a group's places over from its former driver; bundles that none of its workers has any use for go back. */
  const adopt = Effect.fnUntraced(function*({ bundles, group, lives, workers }: Adopted, placing: Placing) {
    const held = new Set(workers.map(({ place }) => place.name))
    // Whoever is new has joined later.
    origins.set(group, { members: 0, placing })
    for (const { place: { count, index, name, seat }, worker } of [...lives, ...workers]) {
      if (!held.has(name)) continue
      const place = { group, name, index, count, placing: { ...placing, placementGroup: undefined, bundles: undefined } }
      places.set(worker.slice(0, worker.lastIndexOf(" ")), place)
      wanted.set(name, place)
      const seats = inherited.get(name) ?? []
      seats[index] = seat
      inherited.set(name, seats)
    }
    const bridge = yield* Effect.orDie(link.bridge)
    yield* Effect.forEach(bundles, (name) => held.has(name) ? Effect.void : Effect.ignore(bridge.ask("release", { group: name })))
  })
  /** Keeps what is reserved under the name until the scope ends. */
  const hold = (name: string): Effect.Effect<void, never, Scope.Scope> =>
    Effect.andThen(Effect.addFinalizer(() => forget(name)), Effect.ignore(RcMap.get(map, name)))
  return { use, adopt, hold }
})

const seatIn = ({ seats }: Reservation, at: number): Saved["seat"] => {
  const { index, localRank, localWorldSize } = seats[at]!
  return { index, localRank, localWorldSize }
}

type Newcomer = Pick<Identity, "group" | "member" | "rank" | "epoch" | "generation" | "shape">

/** The place of a member that is new: in its group's placement group, in that of its row, or in one of its own if it joins later. */
const placeOf = ({ epoch, generation, group, member, rank, shape }: Newcomer, origin: Origin): Place => {
  const mesh: Mesh.Any = Mesh.make(shape)
  const joins = epoch > 0 || member >= origin.members
  const along = origin.placing.rows
  // A placement group that was given has no bundles for more than the group began with.
  const placing = joins ? { ...origin.placing, placementGroup: undefined, bundles: undefined } : origin.placing
  if (along === undefined) {
    return joins
      ? { group, placing, name: `${group}-member-${member}`, index: 0, count: 1 }
      : { group, placing, name: group, index: rank, count: mesh.ranks.length }
  }
  if (!Object.hasOwn(shape, along)) throw new RangeError(`placement by rows of ${along}: the mesh has ${Object.keys(shape).join(", ")}`)
  const row = Mesh.place(mesh, rank).coordinates[along]!
  const { ranks } = Mesh.slice(mesh, { [along]: row })
  const name = `${group}-${along}-${row}${joins ? `-${generation}` : ""}`
  return { group, placing, name, index: ranks.indexOf(rank), count: ranks.length }
}

/** A refusal of the bridge in words. */
export const refusedBy = (where: string, { code, detail }: Refused): RayError => {
  const known: Record<string, readonly [RayError["reason"], string]> = {
    Lost: ["Lost", "Look whether the cluster still runs; the next group starts a new bridge"],
    NoGroup: ["NoGroup", "Name one that exists, or leave it out to have one made"],
    Exists: ["Exists", "Give the group another name, or let whoever holds it end"]
  }
  const [reason, advice] = known[code] ?? ["Refused", "Ray's own words say why"]
  return new RayError({ reason, where, issue: detail, advice })
}
