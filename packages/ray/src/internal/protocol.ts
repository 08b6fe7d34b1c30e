/** What the bridge says and answers, a JSON object a line. */
import { Bundle, Node, type Resources } from "@phalanx/core/Placement"
import * as Schema from "effect/Schema"

/** Ray's names of the strategies. */
export const strategies = { "pack": "PACK", "spread": "SPREAD", "strict-pack": "STRICT_PACK", "strict-spread": "STRICT_SPREAD" } as const

const Bundles = Schema.Array(Bundle)
const Nothing = Schema.Unknown

/** What each method answers. */
export const answers = {
  nodes: Schema.Array(Node),
  reserve: Bundles,
  use: Bundles,
  release: Nothing,
  spawn: Schema.Struct({ pid: Schema.Int, agent: Schema.Int, node: Schema.String, address: Schema.String }),
  signal: Nothing,
  look: Schema.Struct({ stat: Schema.String, flight: Schema.Uint8ArrayFromBase64 }),
  /** Whether there is a worker whose end will be told. */
  stop: Schema.Boolean,
  adopt: Schema.Array(Schema.Struct({
    group: Schema.String,
    workers: Schema.Array(Schema.Struct({ worker: Schema.String, pid: Schema.Int, address: Schema.String }))
  }))
}
export type Answers = { readonly [M in keyof typeof answers]: typeof answers[M]["Type"] }

/** What each method is asked with. */
export interface Params {
  readonly nodes: {}
  readonly reserve: {
    readonly group: string
    readonly bundles: ReadonlyArray<Resources>
    readonly strategy: typeof strategies[keyof typeof strategies]
    /** For each bundle, the address of the node that it has to lie on, or null. */
    readonly pins: ReadonlyArray<string | null>
    /** Seconds to wait for room; null for ever. */
    readonly patience: number | null
  }
  readonly use: { readonly group: string; readonly name: string | null; readonly id: string | null }
  /** `keep`: the bundles are somebody else's. */
  readonly release: { readonly group: string; readonly keep: boolean }
  readonly spawn: {
    readonly group: string
    readonly bundle: number
    readonly worker: string
    readonly command: ReadonlyArray<string>
    readonly env: Readonly<Record<string, string>>
    readonly defaults: Readonly<Record<string, string>>
    readonly cwd: string | null
    /** The first line of the worker's standard input, but for what only its host knows. */
    readonly line: Readonly<Record<string, unknown>>
    /** A folder of this machine that lies in the agent's own folder there. */
    readonly away: string | null
    /** Bytes of its flight recorder. */
    readonly flight: number
    /** What the paths of its queues' files begin with. */
    readonly files: string
    /** Seconds. */
    readonly timeout: number
  }
  readonly signal: { readonly worker: string; readonly number: number }
  readonly look: { readonly worker: string }
  readonly stop: { readonly worker: string; readonly grace: number }
  readonly adopt: {}
}

const event = <const Name extends string, const Fields extends Schema.Struct.Fields>(name: Name, fields: Fields) =>
  Schema.Struct({ event: Schema.Literal(name), ...fields })

/** Every line that the bridge may say. */
export const Line = Schema.fromJsonString(Schema.Union([
  Schema.Struct({ id: Schema.Int, result: Schema.Unknown }),
  Schema.Struct({
    id: Schema.Int,
    error: Schema.Struct({ code: Schema.String, detail: Schema.String, nodes: Schema.optionalKey(Schema.Array(Node)) })
  }),
  event("ready", { ray: Schema.String, node: Schema.String, address: Schema.String }),
  event("fatal", { code: Schema.String, detail: Schema.String }),
  event("output", { worker: Schema.String, stream: Schema.Literals(["stdout", "stderr", "words"]), text: Schema.String }),
  event("exit", { worker: Schema.String, code: Schema.Int, flight: Schema.Uint8ArrayFromBase64 }),
  event("lost", { worker: Schema.String, detail: Schema.String }),
  event("node", { node: Schema.String, address: Schema.String, alive: Schema.Boolean }),
  event("silent", { seconds: Schema.Finite }),
  event("heard", {})
]))
export type Line = typeof Line.Type
