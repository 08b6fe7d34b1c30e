/** What the writers of this thread's process keep because there was no room for it, seen from outside. */
import { Writer } from "../../src/internal/writer.ts"
import type { SimulatedMemory } from "./memory.ts"

let writers = new Set<Writer>()

const { append } = Writer.prototype
Writer.prototype.append = function(this: Writer, ...args) {
  writers.add(this)
  return append.apply(this, args)
}

/** Forgets the former process. */
export const forget = (): void => {
  writers = new Set()
}

export const waitingBytes = (): number => {
  let bytes = 0
  for (const writer of writers) {
    // What a lane kept that is closed by now, nobody keeps.
    if (!(writer.ring.memory as SimulatedMemory).isPresent()) continue
    for (const rest of writer.waiting) bytes += rest.data.length - rest.sent
  }
  return bytes
}
