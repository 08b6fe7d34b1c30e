/** What the bridge says and answers, a JSON object a line. */
import { Bundle, Node, type Resources } from "@phalanx/core/Placement"
import * as Schema from "effect/Schema"

/** Ray's names of the strategies. */
export const strategies = { "pack": "PACK", "spread": "SPREAD", "strict-pack": "STRICT_PACK", "strict-spread": "STRICT_SPREAD" } as const

/** What a worker has of its node. */
const Seat = Schema.Struct({
  /** The number of its bundle. */
  index: Schema.Natural,
  localRank: Schema.Natural,
  localWorldSize: Schema.Natural
})

/** Where a member belongs, as whoever takes its group over is told again. */
const Place = Schema.Struct({
  /** With which it was started. */
  rank: Schema.Natural,
  /** The placement group's name for the bridge, and which of how many it is there. */
  name: Schema.String,
  index: Schema.Natural,
  count: Schema.Natural,
  seat: Seat
})
export type Place = typeof Place.Type

const Adopted = Schema.Struct({
  group: Schema.String,
  /** Which driver of it this is. */
  driver: Schema.Natural,
  /** The names of all its placement groups. */
  bundles: Schema.Array(Schema.String),
  /** Those that run, and those whose end is still to be told. */
  workers: Schema.Array(Schema.Struct({ worker: Schema.String, pid: Schema.Int, address: Schema.String, place: Place })),
  /** The latest life of each member that there ever was, as far as agents know that are left. */
  lives: Schema.Array(Schema.Struct({ worker: Schema.String, place: Place }))
})
export type Adopted = typeof Adopted.Type

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
  claim: Nothing,
  adopt: Schema.Array(Adopted),
  attend: Nothing
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
  readonly release: { readonly group: string }
  readonly spawn: {
    readonly group: string
    readonly bundle: number
    readonly worker: string
    /** The group of Phalanx that it is of. */
    readonly owner: string
    readonly place: Place
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
  /** `line`: what its standard input gets. */
  readonly claim: { readonly worker: string; readonly line: string }
  /** These, or all whose driver is gone. */
  readonly adopt: { readonly groups: ReadonlyArray<string> | null }
  readonly attend: { readonly groups: ReadonlyArray<string> }
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
  event("replaced", { worker: Schema.String }),
  event("node", { node: Schema.String, address: Schema.String, alive: Schema.Boolean }),
  event("silent", { seconds: Schema.Finite }),
  event("heard", {})
]))
export type Line = typeof Line.Type
