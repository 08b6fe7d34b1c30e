/** Sections of `RESULTS.md` that commands of their own measure: `bench all` leaves them as they are. */

/** Their names, in their order. */
export const names = ["ray", "soak"] as const

/** Where a section begins, and where the next one does. */
const find = (results: string, name: string): readonly [number, number] | undefined => {
  const from = results.indexOf(`## ${name}\n`)
  if (from < 0) return undefined
  const next = results.indexOf("\n## ", from)
  return [from, next < 0 ? results.length : next + 1]
}

/** The section of that name, if there is one. */
export const of = (results: string, name: string): string | undefined => {
  const found = find(results, name)
  return found && `${results.slice(...found).trimEnd()}\n`
}

/** Results with the section in the place of the former one of its name, or at the end. */
export const into = (results: string, name: string, section: string): string => {
  const found = find(results, name)
  if (found === undefined) return `${results.trimEnd()}\n\n${section}`
  const [from, next] = found
  const after = results.slice(next)
  return `${results.slice(0, from)}${section}${after === "" ? "" : `\n${after}`}`
}
