/**
 * Who is where in a group of another size: a pure function of the mesh that there is and of what is asked for.
 */
import * as Mesh from "../Mesh.ts"
import type { Change } from "../Standby.ts"

/** The next mesh, for each of its ranks the rank of now that has it (none: one that joins), and the ranks of now that leave. */
export interface Reshaping {
  readonly mesh: Mesh.Any
  readonly ranks: ReadonlyArray<number | undefined>
  readonly leaving: ReadonlyArray<number>
}

/** `leave` has ranks. What cannot be is told in words. */
export const plan = (mesh: Mesh.Any, to: Change<string>["to"], leave: ReadonlyArray<number>): Reshaping | string => {
  const shape = mesh.shape as Readonly<Record<string, number>>
  const sizes = Object.entries(to ?? {}).filter((entry): entry is [string, number] => entry[1] !== undefined)
  for (const [name, size] of sizes) {
    if (!(name in shape)) return `the mesh has no dimension ${name}, only ${Object.keys(shape).join(", ")}`
    if (!Number.isSafeInteger(size) || size < 1) return `${name} cannot be ${size}`
  }
  const changed = sizes.filter(([name, size]) => shape[name] !== size).map(([name]) => name)
  if (changed.length > 1) return `${changed.join(" and ")} cannot change at once`
  if (changed.length + leave.length === 0) return "it is of that size already"

  const along = changed[0] ?? Object.keys(shape).find((name) => rowsOf(mesh, name, leave) !== undefined)
  const rows = along === undefined ? undefined : rowsOf(mesh, along, leave)
  if (along === undefined || rows === undefined) {
    return `ranks ${leave.join(", ")} are no whole slices of ${JSON.stringify(shape)} that others outlive`
  }
  const size = Object.fromEntries(sizes)[along] ?? shape[along]! - rows.size
  const staying = Array.from({ length: shape[along]! }, (_, row) => row).filter((row) => !rows.has(row)).slice(0, size)
  const next = Mesh.make({ ...shape, [along]: size })
  const ranks = next.ranks.map((rank) => {
    const { coordinates } = Mesh.place(next, rank)
    const row = staying[coordinates[along]!]
    return row === undefined ? undefined : Mesh.rankAt(mesh, { ...coordinates, [along]: row })
  })
  return { mesh: next, ranks, leaving: mesh.ranks.filter((rank) => !ranks.includes(rank)) }
}

/** The coordinates along a dimension whose slices are these ranks and no others, if there are such, and some are left. */
const rowsOf = (mesh: Mesh.Any, along: string, ranks: ReadonlyArray<number>): ReadonlySet<number> | undefined => {
  const rows = new Set(ranks.map((rank) => Mesh.place(mesh, rank).coordinates[along]!))
  const size = mesh.shape[along]!
  const inRows = mesh.ranks.filter((rank) => rows.has(Mesh.place(mesh, rank).coordinates[along]!))
  return inRows.length === ranks.length && (rows.size < size || ranks.length === 0) ? rows : undefined
}
