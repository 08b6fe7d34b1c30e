/**
 * Which calls a rank is in and which are over for it. Ranks say to each other by a mark of 24 bits for which call a message is, since that is what lanes have room for.
 */

/** Of an operation outside of a call: a worker's layer, a stream, what restores state. */
export const noCall = -1
/** The mark of `noCall`. */
export const noMark = 0
const marks = 0xffffff
export const markOf = (call: number): number => call === noCall ? noMark : call % marks + 1
/** Of so many calls before the newest one it is known that they are over. One with any other mark is still to come, however many calls of other ranks were made meanwhile. */
const remembered = 0x10000

export interface Calls {
  /** Requests come in the order of their calls: those before it that are not here are not coming. */
  readonly heard: (call: number) => void
  readonly ended: (call: number) => void
  /** This rank begins nothing for the call any more. */
  readonly isOver: (mark: number) => boolean
}

/** `changed` hears when more calls are over. */
export const make = (changed: () => void): Calls => {
  const open = new Set<number>()
  let newest = noMark
  return {
    heard: (call) => {
      if (call === noCall) return
      newest = markOf(call)
      open.add(newest)
      changed()
    },
    ended: (call) => {
      if (open.delete(markOf(call))) changed()
    },
    isOver: (mark) => mark !== noMark && newest !== noMark && !open.has(mark) && (newest - mark + marks) % marks < remembered
  }
}
