import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Capacity from "../src/Capacity.ts"
import { vectors } from "./vectors.ts"

describe("capacity", () => {
  it.effect("EP-3: fixedSlots keeps every rank's number of slots, and refuses what is too small with the least size", () =>
    Effect.gen(function*() {
      assert.strictEqual(vectors.redundancyFormula.length, 10)
      for (
        const { curDp: from, minimum, newDp: to, newRedundant, numExperts: logical, numRedundant, rejected } of vectors.redundancyFormula
      ) {
        const asked = Capacity.fixedSlots({ logical, physical: logical + numRedundant, from, to })
        if (rejected) {
          const error = yield* Effect.flip(asked)
          assert.strictEqual(error.minimum, minimum)
          assert.match(error.message, new RegExp(`^${to} ranks? ha\\w+ \\d+ slots for ${logical} experts. Keep ${minimum} ranks or more$`))
        } else assert.strictEqual((yield* asked) - logical, newRedundant)
      }
    }))

  it.effect("EP-3: fit takes the least slots that give every rank as many, at any size", () =>
    Effect.gen(function*() {
      const slots = (to: number, redundant?: number) => Capacity.fit({ logical: 32, redundant, physical: 32, from: 4, to })
      assert.deepStrictEqual(yield* Effect.all([slots(4), slots(3), slots(2), slots(1)]), [32, 33, 32, 32])
      assert.deepStrictEqual(yield* Effect.all([slots(4, 1), slots(3, 4), slots(5, 8)]), [36, 36, 40])
    }))
})
