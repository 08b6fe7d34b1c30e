import { finds } from "../../../test/harness/hunted.ts"
import { mutants } from "./simulation/mutants.ts"

finds("the simulation of groups", "packages/core/test/simulation/hunt.ts", mutants)
