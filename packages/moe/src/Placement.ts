/**
 * Which rank holds which expert while nothing has been rebalanced: contiguous blocks, as even as the numbers allow.
 */

/** The rank of `ranks` that holds an expert of `experts`. */
export const owner = (expert: number, experts: number, ranks: number): number => Math.floor((expert * ranks) / experts)

/** The experts that a rank of `ranks` holds, in order. Ranks beyond the number of experts hold none. */
export const resident = (rank: number, experts: number, ranks: number): ReadonlyArray<number> =>
  Array.from({ length: experts }, (_, e) => e).filter((e) => owner(e, experts, ranks) === rank)

/** The same as slots: of one layer, those of a rank together, as many for each; −1 where a rank has one expert fewer than others. */
export const slots = (experts: number, ranks: number): ReadonlyArray<number> => {
  const width = Math.ceil(experts / ranks)
  return Array.from({ length: ranks }, (_, rank) => {
    const own = resident(rank, experts, ranks)
    return Array.from({ length: width }, (_, slot) => own[slot] ?? -1)
  }).flat()
}
