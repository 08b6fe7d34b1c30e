/**
 * Tries every decoder with inputs near its corpus, each in a process of its own, so that one that never ends or takes the process with it is told
 * like any other. `--seconds` for all together (10), `--seed` (1), `--decoder` for one alone, `--keep` to add inputs with an outcome of their own to
 * the corpus, `--json` for the result alone on the last line. An input that breaks a decoder is added to its corpus. Exit code 1 if there are any.
 */
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { globSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { parseArgs } from "node:util"
import { campaign, type Decoder, examine, type Failure, isAccepted, keep, type Report, samples, shrunk, signature } from "./harness/fuzz.ts"
import { read, write } from "./harness/mutate.ts"

const root = join(import.meta.dirname, "..")

const { values } = parseArgs({
  args: process.argv.slice(2).filter((arg) => arg !== "--"),
  options: {
    seconds: { type: "string", default: "10" },
    seed: { type: "string", default: "1" },
    decoder: { type: "string" },
    keep: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    // Of the process of one decoder: its module, and the file where it says what it is about to try.
    module: { type: "string" },
    trying: { type: "string" }
  }
})
const seed = Number(values.seed)

const load = async (module: string): Promise<ReadonlyArray<Decoder>> => Object.values(await import(join(root, module)))
const corpusOf = (module: string, decoder: string): string => join(root, dirname(module), "..", "corpus", decoder)

/** The name of a file. */
const slug = (outcome: string): string =>
  signature(outcome).toLowerCase().replace(/[^a-z0-9#]+/g, "-").replace(/#/g, "n").replace(/^-|-$/g, "").slice(0, 60) || "empty"

/** The process of one decoder. */
const alone = async (module: string, name: string, trying: string): Promise<void> => {
  const decoder = (await load(module)).find((each) => each.name === name)!
  const known = samples(corpusOf(module, name))
  const fd = openSync(trying, "w")
  const found: Array<readonly [input: unknown, outcome: string]> = []
  const report = await campaign(decoder, {
    seed,
    seconds: Number(values.seconds),
    corpus: known.map(({ input }) => input),
    trying: (input) => {
      const text = `${write(input)}\n`
      writeSync(fd, text, 0)
    },
    interesting: (input, outcome) => found.push([input, outcome])
  })
  const kept: Array<readonly [file: string, outcome: string, input: string]> = []
  if (values.keep) {
    for (const { file, input } of known) {
      const { issue, outcome } = await examine(decoder, input)
      if (issue === undefined) kept.push([file, outcome, write(input)])
    }
    // What is taken is kept as it is: it shows what the encoder writes.
    for (const [input, outcome] of found) {
      kept.push([slug(outcome), outcome, write(isAccepted(outcome) ? input : await shrunk(decoder, input, outcome))])
    }
  }
  process.stdout.write(
    JSON.stringify({ ...report, failures: report.failures.map((failure) => ({ ...failure, input: write(failure.input) })), kept })
  )
  await decoder.close?.()
}

/** What its process may take for one input before it is taken for lost. */
const patienceMillis = 60_000

const run = (folder: string, seconds: number) => (module: string, name: string): Promise<Report> =>
  new Promise((resolve) => {
    const trying = join(folder, name)
    writeFileSync(trying, "")
    const child = spawn(
      process.execPath,
      ["--max-old-space-size=1024", import.meta.filename, "--module", module, "--decoder", name, "--trying", trying]
        .concat(["--seconds", String(seconds), "--seed", String(seed)], values.keep ? ["--keep"] : []),
      { stdio: ["ignore", "pipe", "pipe"] }
    )
    let said = ""
    let complaint = ""
    child.stdout.on("data", (chunk) => said += chunk)
    child.stderr.on("data", (chunk) => complaint = (complaint + chunk).slice(-2000))
    let last = ""
    const watch = setInterval(() => {
      const now = readFileSync(trying, "utf8")
      if (now === last) child.kill("SIGKILL")
      last = now
    }, patienceMillis)
    child.on("close", (code, signal) => {
      clearInterval(watch)
      const [input = ""] = readFileSync(trying, "utf8").split("\n")
      const lost = (issue: string): Report => ({
        decoder: name,
        inputs: 0,
        accepted: 0,
        outcomes: 0,
        failures: [{ decoder: name, issue, input: input === "" ? undefined : read(input) }]
      })
      if (code !== 0) {
        return resolve(lost(signal === "SIGKILL" ? "never ended" : `took its process with it (${signal ?? code}): ${complaint}`))
      }
      const { kept, ...report } = JSON.parse(said)
      for (const [file, outcome, input] of kept) keep(corpusOf(module, name), file, outcome, read(input))
      resolve({ ...report, failures: report.failures.map((failure: Failure) => ({ ...failure, input: read(failure.input as string) })) })
    })
  })

const all = async (): Promise<void> => {
  const modules = globSync("packages/*/test/fuzz/*.ts", { cwd: root }).sort()
  const decoders: Array<readonly [module: string, name: string]> = []
  for (const module of modules) {
    for (const decoder of await load(module)) {
      if (typeof decoder?.judge === "function" && (values.decoder ?? decoder.name) === decoder.name) decoders.push([module, decoder.name])
    }
  }
  const folder = mkdtempSync(join(tmpdir(), "phalanx-fuzz-"))
  const lanes = Math.min(availableParallelism(), decoders.length)
  const one = run(folder, Number(values.seconds) * lanes / decoders.length)
  const reports: Array<Report> = []
  const waiting = decoders.slice()
  await Promise.all(Array.from({ length: lanes }, async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [module, name] = next
      const report = await one(module, name)
      reports.push(report)
      if (!values.json) {
        process.stdout.write(
          `${
            name.padEnd(20)
          } ${report.inputs} inputs, ${report.accepted} taken, ${report.outcomes} outcomes, ${report.failures.length} failures\n`
        )
      }
      for (const { input, issue } of report.failures) {
        const file = `broke-${createHash("sha256").update(write(input)).digest("hex").slice(0, 8)}`
        keep(corpusOf(module, name), file, "", input)
        if (!values.json) process.stdout.write(`  ${issue}\n  ${join(corpusOf(module, name), file)}: ${write(input).slice(0, 400)}\n`)
      }
    }
  }))
  rmSync(folder, { recursive: true })
  const sum = (count: (report: Report) => number) => reports.reduce((total, report) => total + count(report), 0)
  const failures = sum((report) => report.failures.length)
  process.stdout.write(`${JSON.stringify({ decoders: reports.length, inputs: sum((report) => report.inputs), failures })}\n`)
  if (failures > 0) process.exitCode = 1
}

await (values.module === undefined ? all() : alone(values.module, values.decoder!, values.trying!))
