/**
 * Holds the written promises to the tests. In PARITY.md every row `| id | words | test |` names tests that exist, several separated by
 * ` · `, or says `does not apply: why`, which needs the row's mark `[C]` or `[H]`, or the words `upstream workaround`. In SEMANTICS.md every label
 * that begins a line (`QU-1`) stands in the title of a test, and no test bears a label that is not there.
 */
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"

/** What does not fit, one sentence each. `tests` are full names, groups and title joined by ` > `. */
export const disagreements = (parity: string, semantics: string, tests: ReadonlyArray<string>): Array<string> => {
  const found: Array<string> = []
  const names = new Set(tests.flatMap((test) => {
    const parts = test.split(" > ")
    return parts.map((_, index) => parts.slice(index).join(" > "))
  }))

  const ids = new Set<string>()
  for (const line of parity.split("\n")) {
    if (!line.startsWith("|") || /^\|[\s:|-]+\|$/.test(line) || /^\|\s*id\s*\|/i.test(line)) continue
    const cells = line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim().replaceAll("\\|", "|"))
    const [id = "", words = "", shown = ""] = cells
    if (cells.length !== 3 || id === "" || words === "" || shown === "") {
      found.push(`PARITY.md: not a row of three cells: ${line}`)
      continue
    }
    if (ids.has(id)) found.push(`PARITY.md: ${id} stands twice`)
    ids.add(id)
    const excuse = /^does not apply\b:?\s*(.*)$/i.exec(shown)
    if (excuse !== null) {
      if (excuse[1] === "") found.push(`PARITY.md: ${id} gives no reason why it does not apply`)
      else if (!/\[[CH]\]|upstream workaround/i.test(line)) {
        found.push(`PARITY.md: ${id} may not be set aside: it is neither [C] nor [H] nor an upstream workaround`)
      }
      continue
    }
    for (const name of shown.split(" · ").map((name) => name.trim().replace(/^`(.*)`$/, "$1"))) {
      if (!names.has(name)) found.push(`PARITY.md: ${id} names a test that does not exist: ${name}`)
    }
  }
  if (ids.size === 0) found.push("PARITY.md has no rows")

  const promised = [...semantics.matchAll(/^[\s>*|#-]*`?([A-Z]{2}-\d+)\b/gm)].map(([, label]) => label!)
  const shown = new Set(tests.flatMap((test) => test.match(/\b[A-Z]{2}-\d+\b/g) ?? []))
  if (promised.length === 0) found.push("SEMANTICS.md has no labels")
  for (const label of new Set(promised)) {
    if (promised.indexOf(label) !== promised.lastIndexOf(label)) found.push(`SEMANTICS.md: ${label} stands twice`)
    if (!shown.has(label)) found.push(`SEMANTICS.md: no test bears ${label}`)
  }
  for (const label of shown) {
    if (!promised.includes(label)) found.push(`a test bears ${label}, which SEMANTICS.md does not define`)
  }
  return found
}

if (import.meta.main) {
  const root = join(import.meta.dirname, "..")
  // Vitest itself lists them, and by loading the files, so that titles made by a contract suite or in a loop count like any other.
  const { status, stderr, stdout } = spawnSync("vitest", ["list", "--json", "--staticParse=false"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 26
  })
  if (status !== 0) {
    process.stderr.write(`The tests could not be listed:\n${stderr}${stdout}`)
    process.exit(1)
  }
  const tests = (JSON.parse(stdout) as ReadonlyArray<{ readonly name: string }>).map(({ name }) => name)
  const text = (file: string) => existsSync(join(root, file)) ? readFileSync(join(root, file), "utf8") : ""
  const found = disagreements(text("PARITY.md"), text("SEMANTICS.md"), tests)
  process.stdout.write(found.map((line) => `${line}\n`).join(""))
  if (found.length > 0) process.exitCode = 1
}
