/** Steps of which the median is taken. */
const lately = 20

/** The time from step to step, in milliseconds: a median of the last ones, none before the second. */
export const make = () => {
  const replies: Array<number> = []
  return {
    /** A step's replies were in. */
    step: (at: number): void => {
      if (replies.push(at) > lately + 1) replies.shift()
    },
    millis: (): number | undefined => {
      const gaps = replies.slice(1).map((at, i) => at - replies[i]!).sort((a, b) => a - b)
      return gaps[Math.floor(gaps.length / 2)]
    }
  }
}
