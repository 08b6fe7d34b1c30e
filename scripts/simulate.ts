/**
 * Simulates groups, groups that change their size, and the ring and doorbell below them, from seeds: `--seeds N` (default 2000) from `--from N` (default 1), or `--seed N` for one, told line
 * by line. `--kind group`, `elastic` or `ring` leaves the others out. With `--json` the last line is `{"seeds","failures"}`; exit code 1 if anything failed.
 */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

/** Programs that take the same arguments, print what they find, and end with a line of JSON. */
const kinds = {
  group: new URL("../packages/core/test/simulation/main.ts", import.meta.url),
  elastic: new URL("../packages/elastic/test/simulation/main.ts", import.meta.url),
  ring: new URL("../packages/queue/test/simulation/main.ts", import.meta.url)
}

const args = process.argv.slice(2).filter((arg, index) => index > 0 || arg !== "--")
const { values } = parseArgs({
  args,
  options: {
    seed: { type: "string" },
    seeds: { type: "string", default: "2000" },
    from: { type: "string", default: "1" },
    kind: { type: "string" },
    json: { type: "boolean", default: false }
  }
})

const wrong = [values.seed, values.seeds, values.from].find((value) => value !== undefined && !/^\d+$/.test(value))
if (wrong !== undefined || values.kind !== undefined && !(values.kind in kinds)) {
  process.stderr.write(
    wrong === undefined
      ? `There is no kind "${values.kind}": there are ${Object.keys(kinds).join(", ")}.\n`
      : `"${wrong}" is no number of seeds.\n`
  )
  process.exit(2)
}

/** Passes on what a program prints, but for its last line, which it returns. */
const run = (program: URL): Promise<{ readonly seeds: number; readonly failures: number }> =>
  new Promise((resolve, reject) => {
    const seeds = values.seed === undefined ? ["--seeds", values.seeds, "--from", values.from] : ["--seed", values.seed]
    const child = spawn(process.execPath, [fileURLToPath(program), ...seeds, "--json"], { stdio: ["ignore", "pipe", "inherit"] })
    let last = ""
    let rest = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n")
      rest = lines.pop()!
      for (const line of lines) {
        if (last !== "") process.stdout.write(`${last}\n`)
        last = line
      }
    })
    child.on("error", reject)
    child.on("close", (code) => {
      try {
        resolve(JSON.parse(last))
      } catch {
        reject(new Error(`${fileURLToPath(program)} ended with ${code} and said: ${last}`))
      }
    })
  })

let failures = 0
for (const [name, program] of Object.entries(kinds)) {
  if (values.kind !== undefined && values.kind !== name) continue
  const began = performance.now()
  const tally = await run(program)
  failures += tally.failures
  process.stdout.write(`${name}: ${tally.seeds} seeds, ${tally.failures} failures, ${((performance.now() - began) / 1000).toFixed(1)} s\n`)
}
if (values.json) process.stdout.write(`${JSON.stringify({ seeds: values.seed === undefined ? Number(values.seeds) : 1, failures })}\n`)
if (failures > 0) process.exitCode = 1
