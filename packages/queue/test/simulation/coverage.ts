/** Which faults have met processes at what. */
import { faults, phases } from "./world.ts"

/** Counts as the threads keep them: the driver's, then the workers', by fault and by phase. */
export type Coverage = ReadonlyArray<number>

export const add = (sums: Coverage, more: Coverage): Coverage => more.map((count, index) => count + (sums[index] ?? 0))

interface Pair {
  readonly role: "driver" | "worker"
  readonly fault: typeof faults[number]
  readonly phase: typeof phases[number]
  readonly count: number
}

export const pairs = (coverage: Coverage): ReadonlyArray<Pair> =>
  (["driver", "worker"] as const).flatMap((role, place) =>
    faults.flatMap((fault, column) =>
      phases.map((phase, row) => ({ role, fault, phase, count: coverage[(place * faults.length + column) * phases.length + row] ?? 0 }))
    )
  )

/** A table: for each role, what it was at by what befell it. */
export const table = (coverage: Coverage): ReadonlyArray<string> => {
  const all = pairs(coverage)
  const width = 2 + Math.max(...phases.map((phase) => phase.length))
  const line = (head: string, cells: ReadonlyArray<string | number>): string =>
    head.padEnd(width) + cells.map((cell) => `${cell}`.padStart(9)).join("")
  return ["driver", "worker"].flatMap((role) => [
    line(role, faults),
    ...phases.map((phase) => line(`  ${phase}`, all.filter((pair) => pair.role === role && pair.phase === phase).map(({ count }) => count)))
  ])
}
