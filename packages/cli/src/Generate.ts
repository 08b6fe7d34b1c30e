/**
 * `phalanx generate`: starts ranks, asks them for the entries of some headwords, shows the text as it is written.
 */
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import type { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { pathToFileURL } from "node:url"
import { Failed } from "./internal/failed.ts"
import * as Json from "./internal/json.ts"
import * as Live from "./internal/live.ts"
import * as Plain from "./internal/plain.ts"
import type { View } from "./internal/view.ts"
import * as Topology from "./Topology.ts"

/** The flags that `generate` and `demo` share. */
export const flags = {
  prompts: Argument.String("prompt").pipe(Argument.withDescription("Headwords whose entries are to be written"), Argument.variadic()),
  ...Topology.flags,
  maxTokens: Flag.Int("max-tokens").pipe(
    Flag.withSchema(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))),
    Flag.withDescription("Most bytes to write for a prompt"),
    Flag.withDefault(400)
  ),
  cluster: Flag.Literals("cluster", ["node", "ray"]).pipe(
    Flag.withDescription("Processes of this machine, or a Ray cluster: that of RAY_ADDRESS, else one of one node for the purpose"),
    Flag.withDefault("node")
  ),
  transport: Flag.Literals("transport", ["shm", "tcp", "mixed", "memory"]).pipe(
    Flag.withDescription("Shared memory, ZeroMQ over TCP, both by what each rank can see, or all ranks as fibers of this process"),
    Flag.optional
  ),
  weights: Flag.File("weights", { mustExist: true }).pipe(
    Flag.withDescription("Another file of weights than the one that comes along"),
    Flag.optional
  ),
  raw: Flag.Boolean("raw").pipe(
    Flag.withDescription("Take prompts as they are; else each is a headword, and gets the line feed that ends one"),
    Flag.withDefault(false)
  ),
  temperature: Flag.Finite("temperature").pipe(Flag.withDescription("0 is greedy; above, bytes are drawn"), Flag.withDefault(0)),
  seed: Flag.Int("seed").pipe(Flag.withDescription("What drawn bytes depend on besides their position"), Flag.withDefault(0)),
  kill: Flag.Int("kill").pipe(
    Flag.withDescription("Kill this rank's process in mid-sentence; it is started again, and the text goes on"),
    Flag.optional
  ),
  json: Flag.Boolean("json").pipe(Flag.withDescription("One JSON object a line"), Flag.withDefault(false))
}
type Flags = Command.Command.Config.Infer<typeof flags>

/** Bytes that are written, of all entries together, when `--kill` strikes. */
const beforeKill = 60

/** Serves the prompts and shows the text. */
export const serve = Effect.fn("Generate.serve")(function*(given: Flags) {
  if (given.prompts.includes("") && !given.raw) {
    return yield* new Failed({ text: "An empty prompt is no headword; with --raw the model begins by itself" })
  }
  const shape = yield* Topology.resolve(given)
  const view: View = given.json ? Json.make() : process.stdout.isTTY ? yield* Live.make(process.stdout, given.prompts) : Plain.make()
  return yield* write(given, shape, view).pipe(
    Effect.provide(Layer.unwrap(clusterOf(given))),
    Effect.mapError((error) => new Failed({ text: error.message }))
  )
}, Effect.scoped)

const clusterOf = Effect.fnUntraced(function*(given: Flags) {
  const of = (layer: Layer.Layer<Cluster.Cluster | MessageQueues, { readonly message: string }>) => layer
  const transport = Option.getOrUndefined(given.transport)
  if (given.cluster === "node") {
    return of(transport === "memory" ? Cluster.layerMemory : NodeCluster.layerWith({ transport }))
  }
  if (transport === "shm" || transport === "memory") {
    return yield* new Failed({ text: `--transport ${transport}: a Ray cluster may span machines; give mixed or tcp` })
  }
  // Loaded by those who ask for it.
  const { layer } = yield* Effect.promise(() => import("@phalanx/ray/RayCluster"))
  return of(layer({ transport }))
})

const write = Effect.fnUntraced(function*(given: Flags, shape: { readonly dp: number; readonly tp: number }, view: View) {
  const began = performance.now()
  const weights = given.weights._tag === "Some" ? pathToFileURL(given.weights.value) : undefined
  const victim = Option.getOrUndefined(given.kill)
  if (victim !== undefined && (victim < 0 || victim >= shape.dp * shape.tp)) {
    return yield* new Failed({ text: `--kill ${victim}: the ranks are 0 … ${shape.dp * shape.tp - 1}` })
  }
  const ranks = yield* WorkerGroup.make(Moe.Moe, {
    name: "moe",
    mesh: Mesh.make(shape),
    entry: Moe.entry({ weights }),
    supervision: Supervision.restart({ max: 3, per: "1 minute" })
  })
  yield* ranks.events.pipe(
    Stream.runForEach((event) => {
      if (event._tag === "Died") view.died(event.died, performance.now() - began)
      return event._tag === "Restarted"
        // If it has died again meanwhile, there is an event of that, too.
        ? Effect.ignore(Effect.map(ranks.at(event.rank).call.describe(), (rank) => view.restarted(rank, performance.now() - began)))
        : Effect.void
    }),
    Effect.forkScoped
  )
  view.ready(yield* ranks.call.describe(), { ...shape, transport: ranks.transport, millis: performance.now() - began })
  const steps = { count: 0, millis: 0 }
  const generator = yield* Generator.make({
    ranks,
    onStep: (step) => {
      steps.count++
      steps.millis += step.replied - step.published
      view.step(step.replies)
    }
  })
  const writing = performance.now()
  let first: number | undefined
  let total = 0
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const kill = (rank: number): void => void run(ranks.kill(rank))
  const one = Effect.fnUntraced(function*(word: string, index: number) {
    const bytes: Array<number> = []
    const prompt = given.raw ? new TextEncoder().encode(word) : Generator.headword(word)
    yield* Stream.runForEach(
      generator.stream({ prompt, maxTokens: given.maxTokens, sampling: { temperature: given.temperature, seed: given.seed } }),
      (event) =>
        Effect.sync(() => {
          if (event._tag === "End") return view.end(index, { prompt: word, bytes, finish: event.finish })
          first ??= performance.now()
          if (++total === beforeKill && victim !== undefined) kill(victim)
          bytes.push(event.byte)
          view.byte(index, event.byte)
        })
    )
  })
  const watch = Effect.forever(Effect.andThen(Effect.map(generator.load, view.load), Effect.sleep("250 millis")))
  yield* Effect.raceFirst(Effect.forEach(given.prompts, one, { concurrency: "unbounded", discard: true }), watch)
  const usage = yield* ranks.call.usage()
  view.summary({
    prompts: given.prompts.length,
    bytes: total,
    seconds: (performance.now() - writing) / 1000,
    firstByteMillis: (first ?? performance.now()) - writing,
    startMillis: writing - began,
    steps: steps.count,
    stepMillis: steps.count === 0 ? 0 : steps.millis / steps.count,
    sent: usage.map(({ sent }) => sent)
  })
})

/** `phalanx generate [PROMPT…]`. */
export const command = Command.make(
  "generate",
  flags,
  Effect.fnUntraced(function*(given) {
    if (given.prompts.length === 0) return yield* new Failed({ text: "Give one headword or more: phalanx generate actor \"black hole\"" })
    yield* serve(given)
  })
).pipe(Command.withDescription("Write dictionary entries for headwords"))
