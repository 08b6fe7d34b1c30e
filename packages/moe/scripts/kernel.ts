/**
 * Builds src/internal/kernel.wasm from kernel/*.ts. With `--check` it only compares, and ends with 1 if the bytes differ.
 */
import * as asc from "assemblyscript/asc"
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
/** The compiled kernel that the package ships. */
export const target = fileURLToPath(new URL("../src/internal/kernel.wasm", import.meta.url))

/** Compiles the kernel in memory; the same source and compiler give the same bytes. */
export const build = async (): Promise<Uint8Array> => {
  let wasm: Uint8Array | undefined
  const flags = "-O3 --noAssert --runtime stub --importMemory --noExportMemory --enable simd --use abort="
  const { error, stderr } = await asc.main(["kernel/index.ts", "-o", "kernel.wasm", ...flags.split(" ")], {
    readFile: (name, base) => {
      try {
        return readFileSync(new URL(name, new URL(`${base}/`, `file://${root}`)), "utf8")
      } catch {
        return null
      }
    },
    writeFile: (_, contents) => {
      wasm = contents as Uint8Array
    },
    listFiles: () => null
  })
  if (error !== null || wasm === undefined) throw new Error(`the kernel does not compile: ${stderr.toString()}`, { cause: error })
  return wasm
}

if (import.meta.main) {
  const wasm = await build()
  if (!process.argv.includes("--check")) writeFileSync(target, wasm)
  else if (!readFileSync(target).equals(wasm)) {
    process.stderr.write("kernel.wasm differs from its source: run pnpm --filter @phalanx/moe kernel\n")
    process.exitCode = 1
  }
}
