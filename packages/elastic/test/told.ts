/** Groups that do as they are told, and what to look for afterwards. */
import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { ResizeError } from "../src/ElasticError.ts"
import type { Resize } from "../src/Resizable.ts"
import * as Group from "./group.ts"

export const refused = (issue: string, final = false) => new ResizeError({ issue, advice: "Try something else", final })
export const four = { to: { dp: 4, tp: 1 } }

/** A group whose parts do as they are told, and a latch for a part to stop in. */
export const told = (
  meanwhile: (part: Group.Part, resize: Resize) => Effect.Effect<void, ResizeError> = () => Effect.void,
  name?: string
) => {
  const store = Group.memory(Group.begin(2))
  return { store, group: Group.make(store, meanwhile, name) }
}

/** Stops in a part until the latch opens. */
export const stopIn = (part: Group.Part, latch: Deferred.Deferred<void>, entered: { now: boolean }) => (now: Group.Part) =>
  now === part ? Effect.andThen(Effect.sync(() => void (entered.now = true)), Deferred.await(latch)) : Effect.void

export const isAsBefore = (store: Group.Store) => {
  const { prepared, remains, serving } = store.read()
  assert.deepStrictEqual({ prepared, remains, serving }, { prepared: null, remains: [], serving: Group.begin(2).serving })
}
