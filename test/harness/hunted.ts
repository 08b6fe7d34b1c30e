/** Tests that simulations find the bugs which are put in on purpose. */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Found, Mutant } from "./hunting.ts"
import { run } from "./program.ts"

class Hunt extends Context.Service<Hunt, Readonly<Record<string, Found>>>()("test/Hunt") {}

/** All that a program finds, once: one program that looks for all of them is warm after the first. */
const hunt = (program: string): Layer.Layer<Hunt> =>
  Layer.effect(
    Hunt,
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run(program)
      if (code !== 0) throw new Error(stderr)
      return JSON.parse(stdout)
    })
  )

/** A test for each bug. */
export const finds = (name: string, program: string, mutants: Readonly<Record<string, Mutant>>): void =>
  layer(hunt(program), { timeout: 300_000 })(name, (it) => {
    for (const [bug, { shows = "" }] of Object.entries(mutants)) {
      it.effect(`${shows === "" ? "" : `${shows}, `}SI-11: finds it when ${bug}`, () =>
        Effect.gen(function*() {
          const { violations } = (yield* Hunt)[bug]!
          assert.isTrue(violations.some((violation) => violation.startsWith(shows)), violations.join("\n"))
        }))
    }
  })
