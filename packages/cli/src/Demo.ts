/**
 * `phalanx demo`: four processes write the entries of a few headwords, or of the user's own.
 */
import * as Command from "effect/cli/Command"
import * as Generate from "./Generate.ts"

const headwords = ["actor", "happy", "river", "Einstein", "phalanx"]

/** `phalanx demo [PROMPT…]`. */
export const command = Command.make(
  "demo",
  Generate.flags,
  (given) => Generate.serve({ ...given, prompts: given.prompts.length === 0 ? headwords : given.prompts })
).pipe(Command.withDescription("Four processes write a few dictionary entries"))
