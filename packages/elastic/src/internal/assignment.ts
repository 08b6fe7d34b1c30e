/** Who gets what, at the least total cost. */

/**
 * A column for each row, no two the same, at the least sum of costs: the Hungarian method, in the cube of the number of rows. Costs are finite;
 * the table is square.
 */
export const assign = (cost: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<number> => {
  const n = cost.length
  // Row and column 0 are the method's own; `row[column]` is who has a column so far.
  const rowPotential = new Float64Array(n + 1)
  const columnPotential = new Float64Array(n + 1)
  const row = new Int32Array(n + 1)
  for (let next = 1; next <= n; next++) {
    const slack = new Float64Array(n + 1).fill(Infinity)
    const before = new Int32Array(n + 1)
    const seen = new Uint8Array(n + 1)
    row[0] = next
    let column = 0
    do {
      seen[column] = 1
      let nearest = 0
      let delta = Infinity
      for (let other = 1; other <= n; other++) {
        if (seen[other]) continue
        const reduced = cost[row[column]! - 1]![other - 1]! - rowPotential[row[column]!]! - columnPotential[other]!
        if (reduced < slack[other]!) {
          slack[other] = reduced
          before[other] = column
        }
        if (slack[other]! < delta) {
          delta = slack[other]!
          nearest = other
        }
      }
      for (let other = 0; other <= n; other++) {
        if (seen[other]) {
          rowPotential[row[other]!]! += delta
          columnPotential[other]! -= delta
        } else slack[other]! -= delta
      }
      column = nearest
    } while (row[column] !== 0)
    for (; column !== 0; column = before[column]!) row[column] = row[before[column]!]!
  }
  const columns = cost.map(() => 0)
  for (let column = 1; column <= n; column++) columns[row[column]! - 1] = column - 1
  return columns
}
