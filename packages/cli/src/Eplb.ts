/**
 * `phalanx eplb FILE`: places the experts of other people's models, from the loads in a file. Nothing is started for it.
 */
import * as Eplb from "@phalanx/elastic/Eplb"
import * as ExpertMap from "@phalanx/elastic/ExpertMap"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Schema from "effect/Schema"
import { Failed } from "./internal/failed.ts"

const Count = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65_536 }))

/** What a plan is made of. */
const Inputs = Schema.Struct({
  /** Load of each logical expert, layer by layer. */
  weight: Schema.Array(Schema.Array(Schema.Finite)),
  numReplicas: Count,
  numGroups: Count,
  numNodes: Count,
  numRanks: Count,
  /** The logical expert in each slot so far, or -1. */
  oldPhy2log: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.Array(Schema.Int))))
})
const File = Schema.Struct({ rebalance: Schema.Array(Schema.Struct({ name: Schema.String, inputs: Inputs })) })

/** The plan of one entry: the expert in each slot, how many slots each expert has, and which. */
export interface Plan {
  readonly name: string
  readonly outputs: {
    readonly phy2log: ReadonlyArray<ReadonlyArray<number>>
    readonly logcnt: ReadonlyArray<ReadonlyArray<number>>
    readonly log2phy: ReadonlyArray<ReadonlyArray<ReadonlyArray<number>>>
  }
}

const outputs = Effect.fnUntraced(function*(inputs: typeof Inputs.Type) {
  const { numGroups: groups, numNodes: nodes, numRanks, numReplicas: physical, oldPhy2log, weight } = inputs
  const ranks = (count: number) => Array.from({ length: count }, (_, rank) => rank)
  // A map that is wider than the plan is one of more ranks, of which the first stay.
  const before = Math.ceil(((oldPhy2log?.[0]?.length ?? 0) * numRanks) / physical)
  const previous = oldPhy2log === null || oldPhy2log === undefined ? undefined : yield* ExpertMap.make(ranks(before), oldPhy2log)
  const map = yield* Eplb.rebalance(weight, { members: ranks(numRanks), physical, groups, nodes, previous })
  const { counts, slots } = ExpertMap.replicas(map, weight[0]!.length)
  return { phy2log: map.layers, logcnt: counts, log2phy: slots } satisfies Plan["outputs"]
})

/** The plans of a file's entries, in order. What is wrong with the file, or with an entry of it, is said with its name. */
export const plan = Effect.fnUntraced(function*(path: string) {
  const files = yield* FileSystem.FileSystem
  const text = yield* files.readFileString(path).pipe(Effect.mapError(({ message }) => new Failed({ text: `${path}: ${message}` })))
  const { rebalance } = yield* Schema.decodeEffect(Schema.fromJsonString(File))(text, { errors: "all" }).pipe(
    Effect.mapError(({ message }) => new Failed({ text: `${path}: ${message}` }))
  )
  return yield* Effect.forEach(rebalance, ({ inputs, name }) =>
    outputs(inputs).pipe(
      Effect.map((outputs): Plan => ({ name, outputs })),
      Effect.mapError(({ message }) => new Failed({ text: `${path}, "${name}": ${message}` }))
    ))
})

/** `phalanx eplb FILE`. */
export const command = Command.make(
  "eplb",
  {
    file: Argument.File("FILE", { mustExist: true }).pipe(Argument.withDescription(
      "JSON: { rebalance: [{ name, inputs: { weight, numReplicas, numGroups, numNodes, numRanks, oldPhy2log? } }] }"
    ))
  },
  Effect.fnUntraced(function*({ file }) {
    yield* Console.log(JSON.stringify({ rebalance: yield* plan(file) }))
  })
).pipe(Command.withDescription("Plan where experts go, from loads in a file"))
