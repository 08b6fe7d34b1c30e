/** One layer of the map that moves the fewest experts. */
import * as ExpertMap from "../ExpertMap.ts"

/**
 * `width` slots for each member, given the experts that it holds. As many different experts as possible stay where they are, then as many
 * copies as there is room for beside the experts that nobody could keep; those, and copies for the slots that are left, go to whoever has least to do.
 */
export const layer = (weights: ReadonlyArray<number>, held: ReadonlyArray<ReadonlySet<number>>, width: number): ReadonlyArray<number> => {
  const slots = held.map(() => [] as Array<number>)
  const counts = weights.map(() => 0)
  const heaviest = weights.map((_, expert) => expert).toSorted((a, b) => weights[b]! - weights[a]!)

  const put = (expert: number, member: number): void => {
    slots[member]!.push(expert)
    counts[expert]!++
  }
  const busy = (member: number): number => slots[member]!.reduce((sum, expert) => sum + weights[expert]! / counts[expert]!, 0)
  const byBusiness = (members: ReadonlyArray<number>): ReadonlyArray<number> =>
    members.map((member) => [member, busy(member)] as const).toSorted(([, a], [, b]) => a - b).map(([member]) => member)
  const holders = weights.map((_, expert) => held.flatMap((own, member) => own.has(expert) ? [member] : []))
  const hasRoom = (member: number): boolean => slots[member]!.length < width

  /** Keeps an expert with one of its holders, making room by moving others to theirs: an augmenting path. */
  const keep = (expert: number, tried: Set<number>): boolean => {
    for (const member of byBusiness(holders[expert]!.filter((member) => !tried.has(member)))) {
      if (tried.has(member)) continue // deeper in the path of another of them
      tried.add(member)
      if (hasRoom(member)) {
        put(expert, member)
        return true
      }
      for (const [slot, other] of slots[member]!.entries()) {
        counts[other]!--
        if (keep(other, tried)) {
          slots[member]!.splice(slot, 1, expert)
          counts[expert]!++
          return true
        }
        counts[other]!++
      }
    }
    return false
  }
  const lost = heaviest.filter((expert) => !keep(expert, new Set()))

  /** One more copy of what has the most to do a copy, with the least busy of those who may take it. */
  const copy = (takers: (expert: number) => ReadonlyArray<number>): boolean => {
    let most = -1
    let found: { readonly expert: number; readonly takers: ReadonlyArray<number> } | undefined
    for (const expert of heaviest) {
      const share = weights[expert]! / counts[expert]!
      if (share <= most) continue
      const able = takers(expert).filter((member) => hasRoom(member) && !slots[member]!.includes(expert))
      if (able.length === 0) continue
      most = share
      found = { expert, takers: able }
    }
    if (found !== undefined) put(found.expert, byBusiness(found.takers)[0]!)
    return found !== undefined
  }
  const free = (): number => slots.reduce((sum, own) => sum + width - own.length, 0)
  const everyone = held.map((_, member) => member)
  while (free() > lost.length && copy((expert) => counts[expert] === 0 ? [] : holders[expert]!));
  for (const expert of lost) put(expert, byBusiness(everyone.filter(hasRoom))[0]!)
  while (copy(() => everyone));
  return slots.flatMap((own) => [...own, ...Array.from({ length: width - own.length }, () => ExpertMap.empty)])
}
