/** Looks for the bugs that are put into what changes a group's size: `hunt.ts [NAME]`. */
import { main } from "../../../../test/harness/hunting.ts"
import { mutants } from "./mutants.ts"

await main(mutants, new URL("elastic.ts", import.meta.url))
