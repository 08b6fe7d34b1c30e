/**
 * `phalanx generate`: starts ranks, asks them for the entries of some headwords, shows the text as it is written.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Failed } from "./internal/failed.ts"
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

/** What was given for them. */
export type Flags = Command.Command.Config.Infer<typeof flags>

/** Serves the prompts and shows the text. */
export const serve = Effect.fn("Generate.serve")(function*(given: Flags) {
  if (given.prompts.includes("") && !given.raw) {
    return yield* new Failed({ text: "An empty prompt is no headword; with --raw the model begins by itself" })
  }
  const shape = yield* Topology.resolve(given)
  // The other commands start faster without it.
  const { serve } = yield* Effect.promise(() => import("./internal/serving.ts"))
  return yield* Effect.mapError(serve(given, shape), (error) => new Failed({ text: error.message }))
}, Effect.scoped)

/** `phalanx generate [PROMPT…]`. */
export const command = Command.make(
  "generate",
  flags,
  Effect.fnUntraced(function*(given) {
    if (given.prompts.length === 0) return yield* new Failed({ text: "Give one headword or more: phalanx generate actor \"black hole\"" })
    yield* serve(given)
  })
).pipe(Command.withDescription("Write dictionary entries for headwords"))
