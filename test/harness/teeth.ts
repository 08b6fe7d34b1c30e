/**
 * Decoders that lack one of their checks, each loaded a second time with that text replaced, and how many inputs it takes until somebody notices. A
 * program of its own, since it comes between Node and the modules: writes the list with what was found, as JSON.
 */
import { dirname, join } from "node:path"
import { pathToFileURL } from "node:url"
import { campaign, type Decoder, samples } from "./fuzz.ts"
import * as replaced from "./replaced.ts"

export interface Gap {
  readonly decoder: string
  /** What is missing, in words. */
  readonly missing: string
  /** The module that has the decoder, and the file that has the check. */
  readonly module: string
  readonly file: string
  readonly check: string
  readonly instead: string
}

/** What came of a gap. */
export interface Found {
  /** How often its check stands in its file. */
  readonly places: number
  readonly inputs: number
  /** Missing if nothing was noticed. */
  readonly issue?: string
}

const queue = (module: string, file: string) => ({
  module: `packages/queue/test/fuzz/${module}.ts`,
  file: `packages/queue/src/${file}.ts`
})
const core = (module: string, file: string) => ({
  module: `packages/core/test/fuzz/${module}.ts`,
  file: `packages/core/src/internal/${file}.ts`
})
const node = (module: string, file: string) => ({
  module: `packages/node/test/fuzz/${module}.ts`,
  file: `packages/node/src/internal/${file}.ts`
})

export const gaps: ReadonlyArray<Gap> = [
  {
    decoder: "messagePack",
    missing: "the check that nothing comes after a frame",
    ...queue("frames", "internal/decoder"),
    check: "position === end ? result : refuse(`${end - position} bytes after its end`)",
    instead: "result"
  },
  {
    decoder: "messagePack",
    missing: "the bound on how deep arrays lie in each other",
    ...queue("frames", "internal/decoder"),
    check: "if (depth++ === maxDepth) refuse(tooDeep)\n  const result: Array",
    instead: "const result: Array"
  },
  {
    decoder: "messagePack",
    missing: "the refusal of keys __proto__",
    ...queue("frames", "internal/decoder"),
    check: "name === proto ? refuse(protoKey) : name",
    instead: "name"
  },
  {
    decoder: "messagePack",
    missing: "the refusal of integers that no number holds",
    ...queue("frames", "internal/decoder"),
    check: "Number.isSafeInteger(integer) ? integer : refuse(\"an integer that no number holds\")",
    instead: "integer"
  },
  {
    decoder: "packing",
    missing: "the refusal of what is not plain data",
    ...queue("frames", "internal/encoder"),
    check: "if (kind !== \"[object Object]\") refuse(kind.slice(\"[object \".length, -1))",
    instead: ""
  },
  {
    decoder: "groupHandle",
    missing: "the check that a ring's length is a power of two",
    ...queue("handles", "internal/shmOptions"),
    check: "powerOfTwo(bytes) === bytes",
    instead: "true"
  },
  {
    decoder: "ringLane",
    missing: "the check that a piece ends where the writer stands",
    ...queue("rings", "internal/ring"),
    check: "&& this.size(piece.length) <= distance(position, written)",
    instead: ""
  },
  {
    decoder: "ringLane",
    missing: "the bound on memory that a header's word is worth",
    ...queue("rings", "internal/ring"),
    check: "fresh(Math.min(total, onTrust))",
    instead: "fresh(total)"
  },
  {
    decoder: "zmqLink",
    missing: "the check that only what was sent is acknowledged",
    ...queue("links", "internal/zmqLink"),
    check: "if (received > this.last)",
    instead: "if (false)"
  },
  {
    decoder: "zmqLink",
    missing: "the check that the next message is the next",
    ...queue("links", "internal/zmqLink"),
    check: "if (sequence === this.received + 1) {",
    instead: "if (sequence > this.received) {"
  },
  {
    decoder: "flightRecording",
    missing: "the check that a text fits its entry",
    ...queue("recordings", "FlightRecording"),
    check: "|| length > textBytes",
    instead: ""
  },
  {
    decoder: "readReply",
    missing: "the check whose frame it is",
    ...core("frames", "frame"),
    check: "|| from !== member",
    instead: ""
  },
  {
    decoder: "readDriver",
    missing: "the check that headers are pairs of strings",
    ...core("frames", "frame"),
    check: "(headers === null || isHeaders(headers))",
    instead: "true"
  },
  {
    decoder: "collectives",
    missing: "the check that all ranks are in the same operation",
    ...core("collectives", "communicatorSide"),
    check: "if (!this.matches(code, mark, bytes)) return this.mismatch(place, code, mark, bytes)",
    instead: ""
  },
  {
    decoder: "collectives",
    missing: "the bound on communicators that are not split",
    ...core("collectives", "collectives"),
    check: "unsplit.size < mostUnsplit",
    instead: "true"
  },
  {
    decoder: "spawnLine",
    missing: "the check that the entry is a URL",
    ...node("texts", "spawnLine"),
    check: "URL.canParse(url)",
    instead: "true"
  },
  {
    decoder: "inquiryQuestion",
    missing: "the question for the secret",
    ...node("inquiries", "inquiry"),
    check: "same(question.secret, secret)",
    instead: "true"
  },
  {
    decoder: "claimLine",
    missing: "the comparison of what a claim is proved by",
    ...node("texts", "proof"),
    check: " && Crypto.timingSafeEqual(Buffer.from(given, \"latin1\"), Buffer.from(expected))",
    instead: ""
  },
  {
    decoder: "lastWords",
    missing: "the check that a last word is a reason",
    ...node("texts", "listener"),
    check: "if (isReason(text)) reason = text",
    instead: "reason = text"
  },
  {
    decoder: "keeperSetup",
    missing: "the check that a time is not negative",
    ...node("keeping", "keeping"),
    check: "Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))",
    instead: "Schema.Finite"
  },
  {
    decoder: "keeperChallenge",
    missing: "the check of what is to be proved about",
    ...node("keeping", "keeping"),
    check: "Schema.Struct({ nonce: Nonce })",
    instead: "Schema.Struct({ nonce: Schema.String })"
  },
  {
    decoder: "keeperHello",
    missing: "the check that a proof is one",
    ...node("keeping", "keeping"),
    check: "proof: Proof,\n  /** How",
    instead: "proof: Schema.String,\n  /** How"
  },
  {
    decoder: "keeperWelcome",
    missing: "the check that a later driver has a number",
    ...node("keeping", "keeping"),
    check: "replacedBy: Schema.Natural",
    instead: "replacedBy: Schema.Finite"
  },
  {
    decoder: "fromDriver",
    missing: "the check which signals kill",
    ...node("keeping", "keeping"),
    check: "Schema.Literals([\"SIGTERM\", \"SIGKILL\"])",
    instead: "Schema.String"
  },
  {
    decoder: "fromKeeper",
    missing: "the check which streams are printed on",
    ...node("keeping", "keeping"),
    check: "Schema.Literals([\"stdout\", \"stderr\"])",
    instead: "Schema.String"
  },
  {
    decoder: "keeperLines",
    missing: "the bound on a line's length",
    ...node("keeping", "keeping"),
    check: " || rest.length > longest",
    instead: ""
  },
  {
    decoder: "safetensors",
    missing: "the check that tensors do not overlap",
    module: "packages/moe/test/fuzz/safetensors.ts",
    file: "packages/moe/src/Safetensors.ts",
    check: "if (begin < expected)",
    instead: "if (false)"
  }
]

const root = join(import.meta.dirname, "../..")
/** Inputs until a gap must have been found. */
export const within = 5000

/** For each gap, how many inputs found it, and what they found. */
const main = async (): Promise<void> => {
  const replacements = gaps.map(({ check, file, instead }) => ({ file, from: check, to: instead }))
  const load = replaced.make(replacements)
  const found: Array<Found> = []
  for (const [index, { decoder: name, module }] of gaps.entries()) {
    const places = replaced.places(replacements[index]!)
    const decoders: ReadonlyArray<Decoder> = Object.values(await load(pathToFileURL(join(root, module)), index))
    const decoder = decoders.find((each) => each.name === name)!
    const corpus = samples(join(root, dirname(module), "../corpus", name)).map(({ input }) => input)
    const { failures, inputs } = await campaign(decoder, { seed: 1, inputs: within, corpus, first: true })
    found.push({ places, inputs, ...(failures[0] === undefined ? {} : { issue: failures[0].issue }) })
    await decoder.close?.()
  }
  process.stdout.write(JSON.stringify(found), () => process.exit(0))
}

if (import.meta.main) await main()
