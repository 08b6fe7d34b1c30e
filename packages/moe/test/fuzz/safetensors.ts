/** The header of a file of weights that somebody else has written. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { mutateBytes, mutateValue } from "../../../../test/harness/mutate.ts"
import type { Random } from "../../../../test/harness/random.ts"
import * as Safetensors from "../../src/Safetensors.ts"

const file = Path.join(Fs.mkdtempSync(Path.join(Os.tmpdir(), "phalanx-header-")), "model")
process.once("exit", () => Fs.rmSync(Path.dirname(file), { recursive: true, force: true }))

interface Input {
  /** What stands where the header's length does; its own length if it is missing. */
  readonly length?: number
  readonly header: string
  /** Bytes of data. */
  readonly data: number
}

const sizes = { I8: 1, F32: 4 }

const header = (random: Random): Input => {
  let at = 0
  const tensors = random.list(random.below(5), (index) => {
    const dtype = random.pick(["I8", "F32"] as const)
    const shape = random.list(random.below(4), () => random.below(5))
    const begin = at
    at += shape.reduce((product, size) => product * size, sizes[dtype])
    return [index === 0 && random.once(8) ? random.pick(["__proto__", "", "constructor"]) : `layers.${index}.weight`, {
      dtype,
      shape,
      data_offsets: [begin, at]
    }] as const
  })
  const metadata = random.once(2) ? [["__metadata__", { format: "pt" }] as const] : []
  return { header: JSON.stringify(Object.fromEntries([...metadata, ...tensors])), data: at }
}

/** A tensor somewhere else, or a second one in the same place. */
const move = (header: Record<string, any>, random: Random): Record<string, any> => {
  const names = Object.keys(header).filter((name) => Array.isArray(header[name]?.data_offsets))
  if (names.length === 0) return header
  const by = random.below(33) - 16
  const name = random.pick(names)
  if (random.once(2)) return { ...header, again: header[name] }
  return { ...header, [name]: { ...header[name], data_offsets: header[name].data_offsets.map((offset: number) => offset + by) } }
}

const mutateHeader = (text: string, random: Random): string => {
  if (random.once(3)) return new TextDecoder("latin1").decode(mutateBytes(Buffer.from(text, "latin1"), random))
  try {
    const header = JSON.parse(text)
    return JSON.stringify(random.once(3) ? move(header, random) : mutateValue(header, random)) ?? ""
  } catch {
    return text.slice(0, random.below(text.length + 1))
  }
}

export const safetensors: Decoder = {
  name: "safetensors",
  slow: true,
  sample: header,
  mutate: (input: Input, random) =>
    random.once(8)
      ? { ...input, length: random.pick([0, 1, 7, 2 ** 24, 2 ** 24 + 1, 2 ** 32, 2 ** 53 - 1]) }
      : random.once(4)
      ? { ...input, data: random.below(200) }
      : { ...input, header: mutateHeader(String(input.header), random) },
  judge: async (input: Input) => {
    const text = Buffer.from(String(input.header), "latin1")
    if (!Number.isInteger(input.data) || input.data < 0 || input.data > 1000) return "no file"
    const head = Buffer.alloc(8)
    head.writeBigUInt64LE(BigInt(Number.isSafeInteger(input.length) && input.length! >= 0 ? input.length! : text.length))
    Fs.writeFileSync(file, Buffer.concat([head, text, Buffer.alloc(input.data)]))
    const exit = await Effect.runPromiseExit(
      Effect.scoped(Effect.map(Safetensors.open(file), ({ metadata, tensors }) => ({ metadata, tensors })))
    )
    if (Exit.isFailure(exit)) {
      const error = Exit.findErrorOption(exit)
      holds(error._tag === "Some" && error.value._tag === "WeightsError", `failed with ${exit.cause}`)
      const { issue } = (error as any).value
      holds(issue.length < 2000, `an issue of ${issue.length} characters`)
      return issue.replace(/\s+/g, " ").slice(0, 120)
    }
    // The tensors lie one behind the other, and nothing else is there.
    const { metadata, tensors } = exit.value
    const told = Object.keys(JSON.parse(text.toString()))
    holds(
      told.filter((name) => name !== "__metadata__").every((name) => tensors.has(name)) &&
        tensors.size === told.length - (told.includes("__metadata__") ? 1 : 0),
      "took other tensors than the header names"
    )
    holds(Object.values(metadata).every((value) => typeof value === "string"), "took metadata that are no text")
    let at = 0
    for (
      const { data_offsets: [begin, end], dtype, shape } of [...tensors.values()].sort((a, b) =>
        a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1]
      )
    ) {
      holds(
        begin === at && end - begin === shape.reduce((product, size) => product * size, sizes[dtype]),
        "took a tensor that its bytes do not hold"
      )
      at = end
    }
    holds(at === input.data, "took a file with bytes of no tensor")
    return "accepted"
  }
}
