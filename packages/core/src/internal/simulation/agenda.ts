/**
 * What is to be done at which time: a binary heap. What is due at the same time is done in the order in which it was added.
 */
export interface Entry {
  readonly time: number
  readonly order: number
  task: (() => void) | undefined
}

export const make = () => {
  const heap: Array<Entry> = []
  let added = 0

  const before = (a: Entry, b: Entry): boolean => a.time < b.time || a.time === b.time && a.order < b.order
  const removeFirst = (): Entry => {
    const first = heap[0]!
    const last = heap.pop()!
    if (heap.length === 0) return first
    let place = 0
    for (;;) {
      let child = 2 * place + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (before(last, heap[child]!)) break
      heap[place] = heap[child]!
      place = child
    }
    heap[place] = last
    return first
  }

  return {
    add: (time: number, task: () => void): Entry => {
      const entry: Entry = { time, order: added++, task }
      let place = heap.length
      heap.push(entry)
      while (place > 0) {
        const parent = place - 1 >>> 1
        if (before(heap[parent]!, entry)) break
        heap[place] = heap[parent]!
        place = parent
      }
      heap[place] = entry
      return entry
    },
    cancel: (entry: Entry): void => {
      entry.task = undefined
    },
    /** When the first of it is due. */
    next: (): number | undefined => {
      while (heap.length > 0 && heap[0]!.task === undefined) removeFirst()
      return heap[0]?.time
    },
    /** Takes out the first, which `next` has found. */
    take: (): () => void => removeFirst().task!
  }
}
