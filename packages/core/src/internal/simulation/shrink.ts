/**
 * Finds a smaller plan that still fails: leaves out halves, then quarters, down to single parts, as long as the rest fails.
 */

/** `parts` without as many as can be left out. `fails` says whether what is left still fails; at most `budget.left` questions are asked. */
export const list = <A>(
  parts: ReadonlyArray<A>,
  fails: (kept: ReadonlyArray<A>) => boolean,
  budget: { left: number }
): ReadonlyArray<A> => {
  let kept = parts
  for (let size = Math.ceil(kept.length / 2); size >= 1;) {
    let shrank = false
    for (let from = 0; from < kept.length && budget.left > 0;) {
      const rest = [...kept.slice(0, from), ...kept.slice(from + size)]
      budget.left--
      if (fails(rest)) {
        kept = rest
        shrank = true
      } else {
        from += size
      }
    }
    if (budget.left === 0) break
    // Once nothing single can be left out, nothing can.
    if (size === 1 && !shrank) break
    size = size === 1 ? 1 : Math.ceil(size / 2)
  }
  return kept
}
