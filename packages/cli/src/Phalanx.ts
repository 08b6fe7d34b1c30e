/**
 * The command line: `phalanx generate`, `demo`, `eplb`, `status` and `doctor`.
 */
import * as Command from "effect/cli/Command"
import * as Demo from "./Demo.ts"
import * as Doctor from "./Doctor.ts"
import * as Eplb from "./Eplb.ts"
import * as Generate from "./Generate.ts"
import * as Status from "./Status.ts"

/** The whole command. */
export const command = Command.make("phalanx").pipe(
  Command.withDescription("Ranked worker processes that serve a mixture-of-experts language model"),
  Command.withSubcommands([Generate.command, Demo.command, Eplb.command, Status.command, Doctor.command])
)

/** Runs the command on arguments. `--` right after `demo` is what package managers put before a script's own arguments, so it is left out. */
export const run = (argv: ReadonlyArray<string>) =>
  Command.runWith(command, { version: "0.1.0" })(argv[0] === "demo" && argv[1] === "--" ? argv.toSpliced(1, 1) : argv)
