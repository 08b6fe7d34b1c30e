/** What a group may ask for of its places. */
import type * as Placement from "@phalanx/core/Placement"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"

/** Where the workers of a group are to run; all of it is optional. */
export interface Placing {
  /** What one worker asks for. Default `{ CPU: 1 }`. */
  readonly resources?: Placement.Resources | undefined
  /** How bundles are laid on nodes. Default `pack`. */
  readonly strategy?: Placement.Strategy | undefined
  /** Which bundle each rank gets, by number. Default: the order of `Placement`. */
  readonly bundles?: ReadonlyArray<number> | undefined
  /**
   * A placement group that exists, by its name in the namespace or its id; it is left as it is. Default: that of PHALANX_PLACEMENT_GROUP (an id,
   * which an actor of Ray may tell a driver that it runs), else one that is made for the group. Members that join later are not in it.
   */
  readonly placementGroup?: { readonly name: string } | { readonly id: string } | undefined
  /** The dimension along which the group is resized: each coordinate of it gets a placement group of its own, given up alone. Default: one for all. */
  readonly rows?: string | undefined
  /** The addresses of the only nodes to be used. Default: all. */
  readonly nodes?: ReadonlyArray<string> | undefined
  /** For how long to wait until there is room; `"Infinity"` for ever. Default 3 seconds: Ray takes one to see what was just freed. */
  readonly wait?: Duration.Input | undefined
}

/** What the groups that an effect starts ask for, where it differs from what their layer says. */
export const Wanted = Context.Reference<Placing>("@phalanx/ray/RayCluster/Wanted", { defaultValue: () => ({}) })
