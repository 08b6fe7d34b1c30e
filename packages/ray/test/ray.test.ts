/** All that is tested on the shared cluster, in one file: its parts look at what is left in the cluster, so they run one after the other. */
import { layer } from "@effect/vitest"
import { Another } from "../../../test/harness/Another.ts"
import { describe } from "../../../test/harness/ray.ts"
import { calls } from "./calls.ts"
import { carrying, Pair } from "./cluster.ts"
import { contract } from "./contract.ts"
import { deaths, rows } from "./deaths.ts"
import { driver } from "./driver.ts"
import { errors } from "./errors.ts"
import { placement, placementOfOne } from "./placement.ts"

const timeout = 120_000

describe("Ray", () => {
  contract()
  // A bridge and a group take a second of a processor each to start.
  layer(Another.layer(/^(?:scouts|driven|rows|mine)/), { timeout, excludeTestServices: true })("beside another driver", (it) => {
    it.layer(carrying, { timeout })("with one bridge", (it) => {
      it.layer(Pair.layer, { timeout })("and one group", (it) => {
        calls(it)
        placementOfOne(it)
        deaths(it)
      })
      placement(it)
      rows(it)
      errors(it)
    })
    driver(it)
  })
})
