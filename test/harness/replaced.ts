/** Loads modules of this project a second time, with a text of one shipped file replaced: a bug that is put in, a check that is taken out. */
import { readFileSync } from "node:fs"
import { registerHooks, stripTypeScriptTypes } from "node:module"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

/** Text of a file, and what stands there instead. */
export interface Replacement {
  /** From the project's root. */
  readonly file: string
  readonly from: string
  readonly to: string
}

const root = join(import.meta.dirname, "../..")
const ours = pathToFileURL(join(root, "packages")).href
const isOurs = (url: string): boolean => url.startsWith(ours) && !url.includes("/node_modules/")

/** How often the text stands in its file: anything but once, and it is not known which is meant. */
export const places = ({ file, from }: Replacement): number => readFileSync(join(root, file), "utf8").split(from).length - 1

/** What a module's address bears that is loaded for one replacement alone. */
const mark = "?replaced="
const split = (url: string): readonly [address: string, query: string] => {
  const at = url.indexOf(mark)
  return at < 0 ? [url, ""] : [url.slice(0, at), url.slice(at)]
}

/** Comes between Node and its modules. Gives what imports a module, and with it all of this project's that it needs, with the replacement of that number. */
export const make = (replacements: ReadonlyArray<Replacement>): (module: URL, index: number) => Promise<any> => {
  const stripped = new Map<string, string>()
  const textOf = (address: string): string => {
    const text = stripped.get(address) ?? stripTypeScriptTypes(readFileSync(new URL(address), "utf8"))
    stripped.set(address, text)
    return text
  }
  registerHooks({
    resolve: (specifier, context, next) => {
      const found = next(specifier, context)
      const [, query] = split(context.parentURL ?? "")
      return query === "" || !isOurs(found.url) ? found : { ...found, url: found.url + query }
    },
    load: (url, context, next) => {
      const [address, query] = split(url)
      if (query === "") return next(url, context)
      const { file, from, to } = replacements[Number(query.slice(mark.length))]!
      const source = fileURLToPath(address) === join(root, file)
        ? stripTypeScriptTypes(readFileSync(new URL(address), "utf8").replace(from, () => to))
        : textOf(address)
      return { format: "module", source, shortCircuit: true }
    }
  })
  return (module, index) => import(`${module.href}${mark}${index}`)
}
