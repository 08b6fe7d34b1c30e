/**
 * A rank's turn: requests have it one at a time, in the order in which they came. It is held by a request's id until that leaves.
 */
export interface Turn {
  /** Begins now, or when those before have left. */
  readonly enter: (id: number, begin: () => void) => void
  /** Takes back a request that waits; whether it did. */
  readonly withdraw: (id: number) => boolean
  /** Passes the turn on, if this request has it. */
  readonly leave: (id: number) => void
}

export const make = (): Turn => {
  const waiting: Array<{ readonly id: number; readonly begin: () => void }> = []
  let holder: number | undefined
  let passing = false

  return {
    enter: (id, begin) => {
      if (holder !== undefined || waiting.length > 0) return void waiting.push({ id, begin })
      holder = id
      begin()
    },
    withdraw: (id) => {
      const index = waiting.findIndex((request) => request.id === id)
      if (index >= 0) waiting.splice(index, 1)
      return index >= 0
    },
    leave: (id) => {
      if (holder !== id) return
      holder = undefined
      // A request that ends at once leaves while it is being begun: the loop below goes on, so that a long row of them does not nest.
      if (passing) return
      passing = true
      for (let next = waiting.shift(); next !== undefined; next = holder === undefined ? waiting.shift() : undefined) {
        holder = next.id
        next.begin()
      }
      passing = false
    }
  }
}
