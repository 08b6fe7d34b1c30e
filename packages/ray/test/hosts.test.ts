import { layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Hosts from "../../../test/harness/hosts.ts"
import { describe } from "../../../test/harness/ray.ts"
import { Host1 } from "./hosts/Host1.ts"
import { suites } from "./hosts/suites.ts"
import { isAll } from "./transports.ts"

describe("Ray on three hosts", () => {
  layer(Host1.layer, { timeout: 120_000, excludeTestServices: true })((it) => {
    for (const { cases, name: suite } of suites) {
      for (const { name, seldom = false } of cases) {
        it.effect.skipIf(seldom && !isAll)(`${suite} > ${name}`, () => Effect.flatMap(Host1, ({ run }) => run(suite, name)))
      }
    }
  })
}, Hosts.obstacle)
