/** Looks for the bugs that are put into a group: `hunt.ts [NAME]`. */
import { main } from "../../../../test/harness/hunting.ts"
import { mutants } from "./mutants.ts"

await main(mutants, new URL("group.ts", import.meta.url))
