/** What a worker that is gone has left in its flight recorder, or in the place of it. */
import { FlightEvent } from "@phalanx/core/FlightRecorder"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import { type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { anyValue, mutateValue } from "../../../../test/harness/mutate.ts"
import type { Random } from "../../../../test/harness/random.ts"
import * as FlightRecording from "../../src/FlightRecording.ts"

interface Input {
  readonly events: number
  /** What somebody has written over it, and where. */
  readonly patches: ReadonlyArray<{ readonly at: number; readonly bytes: Uint8Array }>
}

const size = 256 * 64
const most = 64
const isEvent = Schema.is(FlightEvent)

const isPatch = (patch: any): boolean =>
  typeof patch === "object" && patch !== null && Number.isInteger(patch.at) && patch.at >= 0 && patch.bytes instanceof Uint8Array
  && patch.at + patch.bytes.length <= size

const patch = (random: Random) => ({
  at: random.once(2) ? random.below(300) * 64 % size + random.pick([0, 4, 8, 12, 16, 24]) : random.below(size),
  bytes: random.once(2)
    ? random.bytes(1 + random.below(8))
    : Uint8Array.from([255, 255, 255, 255, 255, 255, 255, 127].slice(0, 4 * (1 + random.below(2))))
})

export const recording: Decoder = {
  name: "flightRecording",
  slow: true,
  sample: (random): Input => ({ events: random.below(600), patches: [] }),
  mutate: (input: Input, random) =>
    random.once(6) || !Array.isArray(input.patches)
      ? { ...input, patches: random.once(2) ? mutateValue(input.patches, random) : [anyValue(random)] }
      : { ...input, patches: [...input.patches, patch(random)] },
  judge: ({ events, patches }: Input) => {
    if (!Number.isInteger(events) || events < 0 || events > 1000) return "no recording"
    const fd = FlightRecording.create()!
    try {
      const record = FlightRecording.open(fd)
      for (let id = 0; id < events; id++) record(id % 3 === 0 ? "request" : "answer", id, `method ${id}`)
      const written = Array.isArray(patches) ? patches.filter(isPatch) : []
      for (const { at, bytes } of written) Fs.writeSync(fd, bytes, 0, bytes.length, at)
      const read = FlightRecording.read(fd, most)
      holds(read.length <= most, `told ${read.length} entries`)
      for (const event of read) holds(isEvent(event) && event.text.length <= 40, "told an entry that is none")
      if (written.length > 0) return "scribbled over"
      holds(
        read.map(({ id }) => id).join() ===
          Array.from({ length: Math.min(events, most) }, (_, index) => Math.max(0, events - most) + index).join(),
        "lost an entry"
      )
      return "accepted"
    } finally {
      Fs.closeSync(fd)
    }
  }
}
