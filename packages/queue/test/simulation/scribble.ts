/** What a process that has gone mad writes: into its own lanes and words, never into what is another's. */
import { random } from "../fixtures/random.ts"
import { Cell, Lane, laneWords, Status, type World } from "./world.ts"

/** A piece as a writer makes it, of bytes that are not MessagePack. */
const notAFrame = (
  tags: number
): ReadonlyArray<number> => [4, 4, 0, 4 ^ 4 ^ 0x50484c58, ...Array.from({ length: tags }, () => -1), 0xc1c1c1c1 | 0, 0]

export const scribble = (world: World, seat: number, variant: number): void => {
  const { arenaInts, cells, lanes, rung, status } = world
  const next = random(variant)
  const all = Array.from({ length: cells[Cell.lanes]! }, (_, index) => index * laneWords)
  const written = all.filter((at) => lanes[at + Lane.writer] === seat && lanes[at + Lane.reader]! >= 0)
  const read = all.filter((at) => lanes[at + Lane.reader] === seat)
  const what = next(4)
  if (what < 2 && written.length > 0) {
    const at = written[next(written.length)]!
    const first = lanes[at + Lane.data]! / 4
    const units = lanes[at + Lane.capacity]! / 4
    const position = arenaInts[lanes[at + Lane.written]!]!
    const words = what === 0 ? notAFrame(lanes[at + Lane.named]!) : Array.from({ length: 2 + 2 * next(units / 2) }, () => next(2 ** 31) | 0)
    words.forEach((word, index) => arenaInts[first + ((position + index) & (units - 1))] = word)
    arenaInts[lanes[at + Lane.written]!] = (position + words.length) | 0
  } else {
    for (const at of read) if (next(2) === 0) arenaInts[lanes[at + Lane.consumed]!] = next(2) === 0 ? next(2 ** 31) : next(5000)
    for (const at of written) {
      if (next(3) === 0) arenaInts[lanes[at + Lane.wantsRoom]!] = next(2 ** 31)
      if (next(3) === 0) arenaInts[lanes[at + Lane.writerParked]!] = next(1000)
    }
  }
  for (let other = 0; other < rung.length; other++) if (status[other] === Status.asleep) rung[other] = 1
}
