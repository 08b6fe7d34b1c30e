/**
 * Who belongs to a group: the members of one epoch. A member keeps its `id` for life; its `rank` is its dense index in one epoch, which a restart does not change and a
 * resize may.
 */
import type * as Mesh from "./Mesh.ts"

/** One member, as it is now. */
export interface Member {
  readonly id: number
  readonly rank: number
  readonly incarnation: number
  readonly node: string
  /** `undefined` where workers are no processes. */
  readonly pid: number | undefined
}

/** One membership of a group. */
export interface Membership<D extends string> {
  /** 0 at the start; each resize raises it by one. */
  readonly epoch: number
  readonly mesh: Mesh.Mesh<D>
  /** In rank order. */
  readonly members: ReadonlyArray<Member>
}
