import { assert, describe, it } from "@effect/vitest"
import * as FlightRecording from "@phalanx/queue/FlightRecording"
import { closeSync, writeSync } from "node:fs"

const recorded = <A>(body: (fd: number) => A): A => {
  const fd = FlightRecording.create()!
  try {
    return body(fd)
  } finally {
    closeSync(fd)
  }
}

describe.runIf(process.platform === "linux")("FlightRecording", () => {
  it("FR-1: keeps the last 256 entries, the oldest first, and texts of 40 bytes", () =>
    recorded((fd) => {
      const record = FlightRecording.open(fd)
      for (let id = 0; id < 1000; id++) record("request", id, `method ${id} ${"x".repeat(50)}`)
      const read = FlightRecording.read(fd, 1000)
      assert.deepStrictEqual(read.map(({ id }) => id), Array.from({ length: 256 }, (_, i) => 744 + i))
      assert.deepStrictEqual(read[0]!.text, `method 744 ${"x".repeat(50)}`.slice(0, 40))
      assert.deepStrictEqual(FlightRecording.read(fd, 2).map(({ id }) => id), [998, 999])
    }))

  it("FR-2: what is half written, or no recorder's, is left out", () =>
    recorded((fd) => {
      const record = FlightRecording.open(fd)
      for (const id of [1, 2, 3, 4]) record("answer", id, "add")
      // As a kill in the middle of the second entry leaves it, and a worker that scribbles.
      writeSync(fd, new Uint8Array(4), 0, 4, 64)
      writeSync(fd, Uint8Array.of(255, 255, 255, 255), 0, 4, 128 + 4)
      writeSync(fd, Uint8Array.of(77), 0, 1, 192)
      assert.deepStrictEqual(FlightRecording.read(fd, 64).map(({ id }) => id), [1])
    }))
})
