/** What was found on Ray in words, in the layout of `vllm bench serve`. */
import type * as ControlPlane from "./ControlPlane.ts"
import type { Deaths } from "./RayDeaths.ts"
import type { Statistics } from "./Serving.ts"

/** What vLLM has published of its executors: milliseconds a token, on another machine with another model. */
const published = { processes: 40.95, rayV2: 41.11, ray: 45.88 }

const columns = 14
const width = 40 + 3 * columns

const heading = (text: string, fill: string): string => {
  const left = Math.floor((width - text.length) / 2)
  return fill.repeat(left) + text + fill.repeat(width - text.length - left)
}
const line = (label: string, ...values: ReadonlyArray<number | string>): string =>
  label.padEnd(40) + values.map((value) => (typeof value === "number" ? value.toFixed(2) : value).padStart(columns)).join("")

const block = (title: string, short: string, of: ReadonlyArray<Statistics>): ReadonlyArray<string> => [
  heading(title, "-"),
  line(`Mean ${short} (ms):`, ...of.map(({ mean }) => mean)),
  line(`Median ${short} (ms):`, ...of.map(({ median }) => median)),
  line(`P99 ${short} (ms):`, ...of.map(({ p99 }) => p99))
]

const ratio = ({ from, median, to }: ControlPlane.Comparison["rayByMachine"]): string =>
  `${median.toFixed(3)} (${from.toFixed(3)} – ${to.toFixed(3)} with 95 %)`

/** The comparison of the ways that steps go. */
export const comparison = (found: ControlPlane.Comparison, ways: ReadonlyArray<ControlPlane.Way>): string => {
  const served = ways.map((way) => found.served[way])
  return [
    heading(" Serving Benchmark Result ", "="),
    line("Steps carried by", "Phalanx,", "Phalanx", "Ray actor"),
    line("", "this machine", "on Ray", "calls"),
    line("Successful requests:", ...served.map(({ requests }) => String(requests))),
    line("Total generated tokens:", ...served.map(({ tokens }) => String(tokens))),
    ...block("Time to First Token", "TTFT", served.map(({ ttft }) => ttft)),
    ...block("Time per Output Token (excl. 1st token)", "TPOT", served.map(({ tpot }) => tpot)),
    line("vLLM's own mean TPOT, published (ms):", published.processes, published.rayV2, published.ray),
    ...block("Inter-token Latency", "ITL", served.map(({ itl }) => itl)),
    heading("", "="),
    `Phalanx on Ray ÷ on this machine, TPOT:    ${ratio(found.rayByMachine)}; vLLM's: ${
      (published.rayV2 / published.processes).toFixed(3)
    }`,
    `Ray actor calls ÷ Phalanx on Ray, TPOT:    ${ratio(found.actorsByRay)}; vLLM's: ${(published.ray / published.rayV2).toFixed(3)}`,
    `A fan-out of 256 bytes to actors that answer at once: mean ${found.bare.mean.toFixed(2)} ms, median ${
      found.bare.median.toFixed(2)
    } ms, p99 ${found.bare.p99.toFixed(2)} ms`,
    `Group ready on a warm Ray cluster: ${(found.ready / 1000).toFixed(2)} s`
  ].join("\n")
}

/** The section of `RESULTS.md`. */
export const section = (machine: string, rounds: number, text: string): string =>
  [
    "## ray",
    "`pnpm bench:ray`, on a Ray cluster of one node: the model's decode loop with its steps carried in three ways, in paired rounds, and deaths.",
    `- Machine: ${machine}\n- ${rounds} paired rounds of eight requests each way`,
    `\`\`\`\n${text}\n\`\`\``
  ].join("\n\n") + "\n"

/** The deaths. */
export const deaths = ({ agent, count, worker }: Deaths): string =>
  [
    `From SIGKILL until the call in flight has failed, ${count} times each:`,
    `  a worker: median ${worker.median.toFixed(1)} ms, p99 ${worker.p99.toFixed(1)} ms`,
    `  its agent: median ${agent.median.toFixed(1)} ms, p99 ${agent.p99.toFixed(1)} ms`
  ].join("\n")
