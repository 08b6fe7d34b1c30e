/**
 * Decides where ranks run: which node holds which bundle of resources, and which rank gets which bundle. Everything here is a pure
 * function of plain data; reserving what was decided is the cluster's work.
 *
 * - PL-1: bundles come in one order: those of the driver's node first, then by node, then by number.
 * - PL-2: ranks take the bundles that can hold a worker in that order, one worker a bundle.
 * - PL-3: bundles that are named are given to ranks as named; repeats, a wrong count, a number that there is not, and a bundle that is
 *   too small are errors of their own.
 * - PL-4: a rank's local rank is its place among the ranks of its node.
 * - PL-5: bundles are laid on nodes as the strategy says, within what is free, on the driver's node first.
 * - PL-6: what does not fit is told with what was asked and what every node has free.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** Amounts by name: `{ CPU: 1, GPU: 1 }`, `memory` in bytes, or names of the cluster's own. A name that is missing is none of it. */
export const Resources = Schema.Record(Schema.String, Schema.Finite)
export type Resources = typeof Resources.Type

/** A machine that a cluster offers, and what of it is free. */
export const Node = Schema.Struct({
  id: Schema.String,
  /** How it is reached: an IP address. */
  address: Schema.String,
  /** Whether the driver runs on it. */
  driver: Schema.Boolean,
  total: Resources,
  free: Resources
})
export type Node = typeof Node.Type

/** Resources that are reserved together on one node. */
export const Bundle = Schema.Struct({
  /** Its number in its placement group. */
  index: Schema.Int,
  /** The id of its node. */
  node: Schema.String,
  resources: Resources
})
export type Bundle = typeof Bundle.Type

/**
 * How bundles are laid on nodes. `pack`: on few; `spread`: evenly on many; `strict-pack`: all on one or not at all; `strict-spread`: each
 * on a node of its own or not at all.
 */
export const Strategy = Schema.Literals(["pack", "spread", "strict-pack", "strict-spread"])
export type Strategy = typeof Strategy.Type

/** Where one rank runs. */
export interface Seat extends Bundle {
  readonly rank: number
  /** Its place among the ranks of its node, from 0. */
  readonly localRank: number
  /** How many ranks its node runs. */
  readonly localWorldSize: number
}

/** Ranks could not be given bundles, or bundles no nodes. */
export class PlacementError extends Schema.TaggedError<PlacementError>()("PlacementError", {
  reason: Schema.TaggedUnion({
    /** A bundle is named twice, and one worker runs in a bundle. */
    Repeated: { bundles: Schema.Array(Schema.Number), bundle: Schema.Number },
    /** As many bundles must be named as there are ranks. */
    WrongCount: { bundles: Schema.Array(Schema.Number), ranks: Schema.Int },
    /** There is no such bundle. */
    OutOfRange: { bundle: Schema.Number, count: Schema.Int },
    /** The bundle that was named does not hold what a worker asks for. */
    TooSmall: { bundle: Schema.Int, holds: Resources, asked: Resources },
    /** The bundle has devices of which its one worker would leave some unused. */
    TooLarge: { bundle: Schema.Int, holds: Resources, asked: Resources },
    /** Fewer bundles can hold a worker than there are ranks. */
    TooFew: { usable: Schema.Int, count: Schema.Int, ranks: Schema.Int, asked: Resources },
    /** The nodes do not have what was asked for, at least not now. */
    DoesNotFit: { strategy: Strategy, asked: Schema.Array(Resources), nodes: Schema.Array(Node) }
  })
}) {
  override get message(): string {
    return describe(this.reason)
  }
}

const describe = (reason: PlacementError["reason"]): string => {
  switch (reason._tag) {
    case "Repeated":
      return `bundle ${reason.bundle} is named twice in ${list(reason.bundles)}: one worker runs in a bundle`
    case "WrongCount":
      return `${reason.bundles.length} bundles are named (${list(reason.bundles)}) for ${reason.ranks} ranks: name one for each rank`
    case "OutOfRange":
      return reason.count === 0
        ? `there is no bundle ${reason.bundle}: the placement group has none`
        : `there is no bundle ${reason.bundle}: the placement group has 0 … ${reason.count - 1}`
    case "TooSmall":
      return `bundle ${reason.bundle} holds ${amounts(reason.holds)}, and a worker asks for ${amounts(reason.asked)}`
    case "TooLarge":
      return `bundle ${reason.bundle} holds ${amounts(reason.holds)}, and its one worker asks for ${
        amounts(reason.asked)
      }: make more and smaller bundles, or let a worker ask for all of it`
    case "TooFew":
      return `${reason.usable} of ${reason.count} bundles hold what a worker asks for (${
        amounts(reason.asked)
      }), and there are ${reason.ranks} ranks`
    case "DoesNotFit": {
      const names = [...new Set(reason.asked.flatMap(Object.keys))]
      return `${reason.strategy} of ${bundles(reason.asked)} does not fit: ${
        reason.nodes.length === 0 ? "there is no node" : reason.nodes.map((node) => `${name(node)} has ${free(node, names)}`).join("; ")
      }`
    }
  }
}
const list = (numbers: ReadonlyArray<number>): string => numbers.join(", ")
const amounts = (resources: Resources): string =>
  Object.entries(resources).map(([name, amount]) => `${name} ${amount}`).join(", ") || "nothing"
const name = ({ address, driver, id }: Node): string => `node ${id} (${address}${driver ? ", the driver's" : ""})`
const free = (node: Node, names: ReadonlyArray<string>): string =>
  names.map((name) => `${name} ${node.free[name] ?? 0} of ${node.total[name] ?? 0}`).join(", ") + " free"
/** `2 × {CPU 1}, {CPU 1, GPU 1}` */
const bundles = (asked: ReadonlyArray<Resources>): string => {
  const counts = new Map<string, number>()
  for (const resources of asked) counts.set(amounts(resources), (counts.get(amounts(resources)) ?? 0) + 1)
  return [...counts].map(([text, count]) => `${count === 1 ? "" : `${count} × `}{${text}}`).join(", ") || "no bundles"
}

const fail = <A = never>(reason: PlacementError["reason"]): Result.Result<A, PlacementError> => Result.fail(new PlacementError({ reason }))

/** Clusters count in ten-thousandths. */
const slack = 1e-6
const holds = (resources: Resources, asked: Resources): boolean =>
  Object.entries(asked).every(([name, amount]) => (resources[name] ?? 0) + slack >= amount)

/** What several workers of one bundle could share; of anything else a worker has its own. */
const shared: ReadonlySet<string> = new Set(["CPU", "memory", "object_store_memory"])
const wastes = (resources: Resources, asked: Resources): boolean =>
  Object.entries(asked).some(([name, amount]) => amount > 0 && !shared.has(name) && (resources[name] ?? 0) + slack >= 2 * amount)

const compare = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0

/** The order in which ranks take bundles: the driver's node first, then by the node's id, then by the bundle's number. */
export const order = <B extends { readonly index: number; readonly node: string }>(
  bundles: ReadonlyArray<B>,
  driver: string
): ReadonlyArray<B> =>
  bundles.toSorted((a, b) => Number(b.node === driver) - Number(a.node === driver) || compare(a.node, b.node) || a.index - b.index)

/** Gives each of `ranks` ranks, 0 first, a bundle of a placement group. */
export const seats = (bundles: ReadonlyArray<Bundle>, options: {
  readonly ranks: number
  /** The id of the driver's node. */
  readonly driver: string
  /** What one worker asks for. Bundles that hold less are left out. Default: nothing. */
  readonly asked?: Resources | undefined
  /** Which bundle each rank gets, by number, instead of the order of bundles. */
  readonly bundles?: ReadonlyArray<number> | undefined
}): Result.Result<ReadonlyArray<Seat>, PlacementError> => {
  const { asked = {}, ranks } = options
  const chosen = options.bundles === undefined
    ? inOrder(bundles, ranks, options.driver, asked)
    : named(bundles, options.bundles, ranks, asked)
  return Result.flatMap(chosen, (chosen) => {
    const large = chosen.find((bundle) => wastes(bundle.resources, asked))
    return large === undefined
      ? Result.succeed(local(chosen))
      : fail({ _tag: "TooLarge", bundle: large.index, holds: large.resources, asked })
  })
}

const inOrder = (bundles: ReadonlyArray<Bundle>, ranks: number, driver: string, asked: Resources) => {
  const usable = order(bundles.filter((bundle) => holds(bundle.resources, asked)), driver)
  return usable.length < ranks
    ? fail<ReadonlyArray<Bundle>>({ _tag: "TooFew", usable: usable.length, count: bundles.length, ranks, asked })
    : Result.succeed(usable.slice(0, ranks))
}

const named = (bundles: ReadonlyArray<Bundle>, numbers: ReadonlyArray<number>, ranks: number, asked: Resources) => {
  if (numbers.length !== ranks) return fail<ReadonlyArray<Bundle>>({ _tag: "WrongCount", bundles: numbers, ranks })
  const chosen: Array<Bundle> = []
  for (const [at, number] of numbers.entries()) {
    if (numbers.indexOf(number) !== at) return fail<ReadonlyArray<Bundle>>({ _tag: "Repeated", bundles: numbers, bundle: number })
    const bundle = bundles.find(({ index }) => index === number)
    if (bundle === undefined) return fail<ReadonlyArray<Bundle>>({ _tag: "OutOfRange", bundle: number, count: bundles.length })
    if (!holds(bundle.resources, asked)) {
      return fail<ReadonlyArray<Bundle>>({ _tag: "TooSmall", bundle: number, holds: bundle.resources, asked })
    }
    chosen.push(bundle)
  }
  return Result.succeed(chosen)
}

const local = (chosen: ReadonlyArray<Bundle>): ReadonlyArray<Seat> => {
  const sizes = new Map<string, number>()
  const ranked = chosen.map((bundle, rank) => {
    const localRank = sizes.get(bundle.node) ?? 0
    sizes.set(bundle.node, localRank + 1)
    return { ...bundle, rank, localRank }
  })
  return ranked.map((seat) => ({ ...seat, localWorldSize: sizes.get(seat.node)! }))
}

/** A node while bundles are laid on it. */
interface Room {
  readonly node: Node
  readonly free: Record<string, number>
  count: number
}

/** A search that takes longer is given up: the bundles then count as not fitting. */
const longestSearch = 5000

/**
 * The id of a node for each bundle asked for, by what is free. Finds a way if there is one, unless bundles and nodes of many kinds make the
 * search longer than 5000 steps.
 */
export const fit = (
  asked: ReadonlyArray<Resources>,
  strategy: Strategy,
  nodes: ReadonlyArray<Node>
): Result.Result<ReadonlyArray<string>, PlacementError> => {
  const sorted = nodes.toSorted((a, b) => Number(b.driver) - Number(a.driver) || compare(a.id, b.id))
  const rooms = sorted.map((node): Room => ({ node, free: { ...node.free }, count: 0 }))
  // The largest first: what is small finds room between what is large.
  const sequence = asked.map((resources, index) => ({ resources, index, text: amounts(resources) }))
    .sort((a, b) => total(b.resources) - total(a.resources) || compare(a.text, b.text) || a.index - b.index)
  const placed: Array<string> = Array.from(asked, () => "")
  const dead = new Set<string>()
  let steps = 0

  const lay = (at: number): boolean => {
    const bundle = sequence[at]
    if (bundle === undefined) return true
    const state = `${at} ${rooms.map((room) => `${room.count > 0} ${amounts(room.free)}`).sort().join(";")}`
    if (dead.has(state) || ++steps > longestSearch) return false
    for (const room of candidates(rooms, bundle.resources, strategy)) {
      take(room, bundle.resources, 1)
      placed[bundle.index] = room.node.id
      if (lay(at + 1)) return true
      take(room, bundle.resources, -1)
    }
    dead.add(state)
    return false
  }
  return lay(0) ? Result.succeed(placed) : fail({ _tag: "DoesNotFit", strategy, asked, nodes: sorted })
}

const total = (resources: Resources): number => Object.values(resources).reduce((sum, amount) => sum + amount, 0)

const take = (room: Room, resources: Resources, sign: 1 | -1): void => {
  for (const [name, amount] of Object.entries(resources)) room.free[name] = Math.round(((room.free[name] ?? 0) - sign * amount) * 1e6) / 1e6
  room.count += sign
}

/** The nodes that a bundle may go to, the best first. */
const candidates = (rooms: ReadonlyArray<Room>, asked: Resources, strategy: Strategy): ReadonlyArray<Room> => {
  const able = rooms.filter((room) => holds(room.free, asked))
  switch (strategy) {
    case "pack":
      return able.toSorted((a, b) => Number(b.node.driver) - Number(a.node.driver) || Number(b.count > 0) - Number(a.count > 0))
    case "spread":
      return able.toSorted((a, b) => a.count - b.count)
    case "strict-pack":
      return rooms.some((room) => room.count > 0) ? able.filter((room) => room.count > 0) : able
    case "strict-spread":
      return able.filter((room) => room.count === 0)
  }
}
