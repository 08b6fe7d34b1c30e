/**
 * Gives requests to other owners so that all have equally many, and moves no more than that takes.
 *
 * `stays` are the requests of each owner that remains or joins, `homeless` those of owners that leave, `known` how many each is to get anyway.
 */
export const share = (
  stays: ReadonlyArray<ReadonlyArray<number>>,
  homeless: ReadonlyArray<number>,
  known: ReadonlyArray<number>
): ReadonlyMap<number, number> => {
  const homes = new Map<number, number>()
  const counts = stays.map((ids, owner) => ids.length + known[owner]!)
  const least = (): number => counts.indexOf(Math.min(...counts))
  const give = (id: number, owner: number): void => {
    homes.set(id, owner)
    counts[owner]!++
  }
  for (const id of homeless) give(id, least())
  const movable = stays.map((ids) => [...ids])
  while (true) {
    const most = movable.reduce((best, ids, owner) => ids.length > 0 && (best < 0 || counts[owner]! > counts[best]!) ? owner : best, -1)
    if (most < 0 || counts[most]! - counts[least()]! < 2) return homes
    counts[most]!--
    give(movable[most]!.pop()!, least())
  }
}
