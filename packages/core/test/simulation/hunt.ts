/** Looks for one of the bugs that are put into a group: `hunt.ts NAME`. */
import { main } from "../../../../test/harness/hunting.ts"
import { mutants } from "./mutants.ts"

await main(mutants, () => import("./group.ts"))
