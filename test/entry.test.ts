import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")
const pretend = "data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.20.2'}})"

describe("under a Node that is too old", () => {
  for (const file of ["packages/cli/requireNode.mjs", "packages/cli/phalanx.mjs"]) {
    it(`${file} says which one is needed, and ends with 1`, () => {
      const { status, stderr, stdout } = spawnSync(process.execPath, ["--import", pretend, file], { cwd: root, encoding: "utf8" })
      assert.match(stderr, /^Phalanx needs Node 26 or newer, but this is Node 20\.20\.2 \(.*\)\. Run `npx -y pnpm@[\d.]+ install` .*\n$/)
      assert.strictEqual(stdout, "")
      assert.strictEqual(status, 1)
    })
  }

  it("every script of the workspace that runs TypeScript asks first", () => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly scripts: Record<string, string> }
    for (const [name, command] of Object.entries(scripts)) {
      if (/\.ts\b|\bvitest\b/.test(command)) assert.match(command, /^node packages\/cli\/requireNode\.mjs && /, name)
    }
  })

  it("the version of pnpm that it names is the one of the workspace", () => {
    const { packageManager } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly packageManager: string }
    assert.include(readFileSync(join(root, "packages/cli/requireNode.mjs"), "utf8"), `npx -y ${packageManager} install`)
  })
})
