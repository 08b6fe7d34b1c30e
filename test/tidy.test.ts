/** The house rules that a program can see, over every file of the tree that is not generated or installed. */
import { assert, describe, it } from "@effect/vitest"
import { existsSync, globSync, readFileSync, statSync } from "node:fs"
import { basename, dirname, join, matchesGlob } from "node:path"

const root = join(import.meta.dirname, "..")
const generated = ["**/node_modules", "**/.git", "**/dist", "docs/api", "**/*.tsbuildinfo"]
const largest = 1 << 20

/** Path, from the root, → text; what is binary or larger than 1 MiB is not a text. */
const texts = new Map(
  globSync("**/{*,.*}", { cwd: root, exclude: generated })
    .filter((path) => {
      const stat = statSync(join(root, path), { throwIfNoEntry: false })
      return stat !== undefined && stat.isFile() && stat.size <= largest
    })
    .sort()
    .map((path) => [path, readFileSync(join(root, path), "utf8")] as const)
    .filter(([, text]) => !text.includes("\0"))
)

const select = (...globs: ReadonlyArray<string>) => [...texts.keys()].filter((path) => globs.some((glob) => matchesGlob(path, glob)))
const code = select("**/*.{ts,js,mjs}")
const tests = select("**/*.test.ts", "test/**/*.ts", "packages/*/test/**/*.ts")
const packages = globSync("packages/*", { cwd: root }).map((path) => basename(path)).sort()
const examples = globSync("examples/*", { cwd: root }).map((path) => basename(path)).sort()

/** `path:line: text` of each line that the pattern finds in the files; `allowed` gives the reason for the paths it forgives. */
const find = (paths: ReadonlyArray<string>, pattern: RegExp, allowed: Record<string, string> = {}) =>
  paths.flatMap((path) =>
    allowed[path] !== undefined
      ? []
      : texts.get(path)!.split("\n").flatMap((line, index) => pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])
  )

const none = (found: ReadonlyArray<string>) => assert.deepStrictEqual(found, [])

/** The modules that a file imports, re-exports or loads later. */
const imports = (path: string) =>
  [
    ...texts.get(path)!.matchAll(
      /^(?:import|export)\b[^"\n{]*(?:\{[^}"]*\})?[^"\n]*\bfrom "([^"]+)"|^import "([^"]+)"|\bimport\("([^"]+)"\)/gm
    )
  ].map(([, from, bare, later]) => from ?? bare ?? later!)

/** The files that it starts, as workers or programs. */
const starts = (path: string) => [...texts.get(path)!.matchAll(/\bnew URL\("(\.[^"]+)", import\.meta\.url/g)].map(([, file]) => file!)

describe("the tree", () => {
  it("holds no path of one machine", () => none(find([...texts.keys()], /(?<![\w.$}~-])\/(?:root|home|tmp|work|Users)\//, temporary)))

  it("holds no registry host, not even in the lockfile", () =>
    none(find([...texts.keys()], /\bregistry\.[a-z]+\.[a-z]|\/\/[\w.-]*(?:registry|artifactory|nexus|mirror)|\btarball:/)))

  it("leaves nothing to be done later", () => none(find(code, /\b(?:T[O]DO|F[I]XME|X[X]X)\b/)))

  it("does not speak of how it was written", () =>
    none(find(
      select("**/*.{ts,js,mjs,md,json,yaml}", ".ci/*").filter((path) => path !== "pnpm-lock.yaml"),
      /\bissues? #?\d|\bth(?:is|e (?:last|next)) [s]ession\b|\bshared\/(?:reference|model|hooks)\b|\b[D]ESIGN\.md\b|\b(?:helper|coding|AI) [a]gents?\b/i
    )))

  it("holds only relative links that lead somewhere", () =>
    none(
      select("**/*.md").flatMap((path) =>
        [...texts.get(path)!.matchAll(/\]\((?!\w+:|#)([^)#\s]+)[^)]*\)/g)]
          .filter(([, target]) => !existsSync(join(root, dirname(path), target!)))
          .map(([, target]) => `${path}: ${target}`)
      )
    ))

  it("has no code file longer than 400 lines, except those that may only shrink", () =>
    none(code.flatMap((path) => {
      const lines = texts.get(path)!.split("\n").length - 1
      const bound = long[path] ?? 400
      if (lines > bound) return [`${path} has ${lines} lines, ${bound} are allowed`]
      return path in long && lines <= 400 ? [`${path} has only ${lines} lines: take it off the list`] : []
    })))
})

/** In these time is a world's own, and passes when nobody can do anything. */
const virtual = [
  "packages/core/test/Simulation.test.ts",
  "packages/core/test/World.test.ts",
  "packages/elastic/test/simulation/elastic.ts",
  "packages/elastic/test/simulation/journal.ts",
  "packages/elastic/test/simulation/oracle.ts",
  "packages/elastic/test/simulation/seats.ts"
]

describe("tests", () => {
  it("all run", () => none(find(tests, /\.(?:only|skip|todo)\b\s*[(.]/)))

  it("wait on conditions, never for a time", () =>
    none(find(tests.filter((path) => !virtual.includes(path)), /\b[s]etTimeout\s*\(|\bEffect\.[s]leep\s*\(/)))
})

describe("floors", () => {
  it("import only from the floors below, as their packages say", () =>
    none(packages.flatMap((name) => {
      const below = floors[name]
      if (below === undefined) return [`packages/${name} has no floor`]
      const { dependencies = {}, devDependencies = {} } = JSON.parse(texts.get(`packages/${name}/package.json`)!)
      const declared = Object.keys({ ...dependencies, ...devDependencies })
      const imported = code.filter((path) => path.startsWith(`packages/${name}/`)).flatMap(imports)
      return [...new Set([...declared, ...imported])]
        .flatMap((module) => /^@phalanx\/([a-z]+)/.exec(module)?.[1] ?? [])
        .filter((other) => other !== name && !below.includes(other))
        .map((other) => `${name} → ${other}`)
    })))

  it("keep core on effect alone", () =>
    none(
      select("packages/core/src/**/*.ts").flatMap((path) =>
        imports(path).filter((module) => !/^(?:effect\/|\.)/.test(module)).map((module) => `${path} → ${module}`)
      )
    ))

  it("are entered through what they export, never through internal/ or a path; tests, scripts and whoever needs more hosts may use the harness", () => {
    const leaves = (path: string, module: string) => {
      const file = join(dirname(path), module)
      if (file.startsWith("test/harness/") && (path.endsWith(".test.ts") || /^(?:scripts|examples\/ray-hosts)\/|\/test\//.test(path))) {
        return false
      }
      const [home, target] = [path, file].map((file) => /^(?:packages\/)?[^/]+/.exec(file)![0])
      return home !== target && target !== "scripts"
    }
    none(code.flatMap((path) =>
      imports(path)
        .filter((module) => module.startsWith(".") ? leaves(path, module) : /^@phalanx\/[a-z]+\/(?:internal|src)\//.test(module))
        .map((module) => `${path} → ${module}`)
    ))
  })

  it("export nothing from internal/ that nobody imports", () => {
    const users = new Map<string, Array<string>>()
    for (const path of code) {
      for (const module of [...imports(path), ...starts(path)].filter((module) => module.startsWith("."))) {
        const target = join(dirname(path), module)
        users.set(target, [...users.get(target) ?? [], path])
      }
    }
    none(
      select("packages/*/src/internal/**/*.ts").flatMap((path) => {
        const own = texts.get(path)!
        const others = users.get(path)
        if (others === undefined) return [`nobody imports ${path}`]
        return [...own.matchAll(/^export (?:declare |abstract |async )*(const|let|function\*?|class|interface|type|enum) (\w+)/gm)]
          .filter(([, kind, name]) => {
            const word = new RegExp(`\\b${name}\\b`, "g")
            // A type may be exported for the sake of a signature in its own file; then it stands there twice.
            if (/interface|type/.test(kind!) && own.match(word)!.length > 1) return false
            return !others.some((other) => texts.get(other)!.match(word))
          })
          .map(([, , name]) => `${path}: ${name}`)
      })
    )
  })
})

describe("README", () => {
  it("of each package is there", () =>
    none(
      packages.flatMap((name) => ["package.json", "README.md"].map((file) => `packages/${name}/${file}`)).filter((path) => !texts.has(path))
    ))

  it("at the root has each package in its table", () =>
    none(packages.filter((name) => !new RegExp(`^\\|[^\\n]*\\(packages/${name}/?\\)`, "m").test(texts.get("README.md") ?? ""))))

  it("of each example is there, with its program and its test", () =>
    none(
      examples.flatMap((name) =>
        ["README.md", "main.ts", "*.test.ts"].filter((file) => select(`examples/${name}/${file}`).length === 0).map((file) =>
          `examples/${name}/${file}`
        )
      )
    ))
})

/** Which packages each floor stands on. `bench` looks at all of them, and nothing looks at it. */
const floors: Record<string, ReadonlyArray<string>> = {
  core: [],
  queue: ["core"],
  node: ["core", "queue"],
  ray: ["core", "queue", "node"],
  elastic: ["core", "queue", "node"],
  moe: ["core", "elastic"],
  cli: ["core", "queue", "node", "ray", "elastic", "moe"],
  bench: ["core", "queue", "node", "ray", "elastic", "moe"]
}

/** Files that may name a temporary folder, and why. */
const temporary: Record<string, string> = {}

/** Code files of more than 400 lines: the number they may have, which only goes down. */
const long: Record<string, number> = {
  "packages/core/test/Collectives.test.ts": 488,
  "packages/queue/test/tcpQueues.test.ts": 494
}
