/** All that is tested on the shared cluster, in one file: its parts look at what is left in the cluster, so they run one after the other. */
import { layer } from "@effect/vitest"
import * as Layer from "effect/Layer"
import { describe } from "../../../test/harness/ray.ts"
import { calls } from "./calls.ts"
import { Another, cluster } from "./cluster.ts"
import { contract } from "./contract.ts"
import { deaths } from "./deaths.ts"
import { driver } from "./driver.ts"
import { errors } from "./errors.ts"
import { placement } from "./placement.ts"

describe("Ray", () => {
  contract()
  // A bridge takes a second of a processor to start.
  layer(Layer.merge(cluster(), Another.layer), { timeout: 120_000, excludeTestServices: true })("with one bridge", (it) => {
    calls(it)
    placement(it)
    deaths(it)
  })
  driver()
  errors()
})
