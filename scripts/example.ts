/** Runs one of the programs in `examples/` by its name, or lists them. */
import { globSync, readFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"

const folder = join(import.meta.dirname, "../examples")
const names = globSync("*/main.ts", { cwd: folder }).map(dirname).sort()

/** The first sentence of the README below its heading, up to a colon. */
const summary = (name: string) =>
  /^(?!#)\S[^]*?(?=[.:](?:\s|$))/m.exec(readFileSync(join(folder, name, "README.md"), "utf8"))?.[0].replaceAll("\n", " ") ?? ""

const width = Math.max(...names.map(({ length }) => length))
const list = () => names.map((name) => `  ${name.padEnd(width)}  ${summary(name)}\n`).join("")

const [name, ...args] = process.argv.slice(2).filter((arg, index) => index > 0 || arg !== "--")

if (name === undefined) {
  process.stdout.write(`Run one with \`pnpm ${basename(import.meta.filename, ".ts")} NAME\`:\n${list()}`)
} else if (!names.includes(name)) {
  process.stderr.write(`There is no example "${name}". There are:\n${list()}`)
  process.exitCode = 1
} else {
  // The example takes this process over, so that a signal reaches it and nobody else.
  process.execve!(process.execPath, [process.execPath, join(folder, name, "main.ts"), ...args], process.env)
}
