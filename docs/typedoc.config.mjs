import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"

const packages = join(import.meta.dirname, "../packages")

/** @type {import("typedoc").TypeDocOptions} */
export default {
  name: "Phalanx",
  entryPoints: [`${packages}/*/src/*.ts`],
  exclude: [`${packages}/cli/src/bin.ts`, `${packages}/bench/src/main.ts`],
  tsconfig: join(import.meta.dirname, "../tsconfig.json"),
  out: join(import.meta.dirname, "api"),
  readme: "none",
  // The types are checked by the project's own TypeScript.
  skipErrorChecking: true,
  treatWarningsAsErrors: true,
  treatValidationWarningsAsErrors: true,
  validation: { invalidLink: true, notDocumented: true, notExported: false },
  requiredToBeDocumented: ["Class", "Interface", "Function", "Variable", "TypeAlias", "Namespace", "Enum"],
  // Without this list only the package of the configuration would have to be documented.
  packagesRequiringDocumentation: globSync("*/package.json", { cwd: packages }).map((file) =>
    JSON.parse(readFileSync(join(packages, file), "utf8")).name
  ),
  excludeExternals: true,
  excludeInternal: true,
  excludePrivate: true,
  disableGit: true,
  disableSources: true,
  hideGenerator: true
}
