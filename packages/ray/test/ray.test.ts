/** All that is tested on the shared cluster, in one file: its parts look at what is left in the cluster, so they run one after the other. */
import { describe } from "../../../test/harness/ray.ts"
import { calls } from "./calls.ts"
import { contract } from "./contract.ts"
import { deaths } from "./deaths.ts"
import { driver } from "./driver.ts"
import { errors } from "./errors.ts"
import { placement } from "./placement.ts"

describe("Ray", () => {
  contract()
  calls()
  placement()
  deaths()
  driver()
  errors()
})
