/** piscina with as many threads as workers and as many tasks at once. It does not address a given worker, so that a fan-out may meet one of them twice. */
import { Piscina } from "piscina"
import { promises } from "../Sampling.ts"
import type { System } from "../System.ts"

const PiscinaPool: System = {
  start: async ({ bytes, workers }) => {
    const pool = new Piscina<Uint8Array, number>({
      filename: new URL("../../rivals/piscina.mjs", import.meta.url).href,
      minThreads: workers,
      maxThreads: workers
    })
    const all = (x: Uint8Array) => Promise.all(Array.from({ length: workers }, () => pool.run(x)))
    for (let count = 0; count < 20; count++) await all(new Uint8Array(8))
    const x = new Uint8Array(bytes).fill(120)
    return { pids: [], sample: promises(workers, bytes, () => all(x)), stop: () => pool.destroy() }
  }
}
export default PiscinaPool
