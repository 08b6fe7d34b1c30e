/** Two bare pipes: the same bytes there and back, no frames, no codec, callbacks only. The floor for anything that goes through the kernel. */
import { end, start } from "../internal/child.ts"
import { callbacks } from "../Sampling.ts"
import { buffer, type System } from "../System.ts"

const Pipe: System = {
  start: async ({ bytes }) => {
    const child = await start("pipe.mjs", { args: [String(bytes)], pipes: true })
    const x = buffer(bytes)
    let got = 0
    let answer: ((answers: ReadonlyArray<number>) => void) | undefined
    child.stdout!.on("data", (part: Buffer) => {
      got += part.length
      if (got >= bytes) answer?.([got])
    })
    return {
      pids: [child.pid!],
      sample: callbacks(1, bytes, (answered) => {
        got = 0
        answer = answered
        child.stdin!.write(x)
      }),
      stop: () => end([child])
    }
  }
}
export default Pipe
