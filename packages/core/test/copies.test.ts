import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type * as Schema from "effect/Schema"
import { registerHooks } from "node:module"

const mark = "?copy"

/** A protocol of another copy of `effect`, as a project has that links to Phalanx and has installed its own. */
const copy = async () => {
  const hooks = registerHooks({
    resolve: (specifier, context, next) => {
      const found = next(specifier, context)
      return context.parentURL?.endsWith(mark) === true && found.url.startsWith("file:") ? { ...found, url: found.url + mark } : found
    }
  })
  const load = (name: string) => import(/* @vite-ignore */ `${import.meta.resolve(name)}${mark}`)
  try {
    const { make }: typeof Rpc = await load("effect/rpc/Rpc")
    const group: typeof RpcGroup = await load("effect/rpc/RpcGroup")
    const { Int }: typeof Schema = await load("effect/Schema")
    return group.make(make("add", { payload: { n: Int } }))
  } finally {
    hooks.deregister()
  }
}

describe("two copies of effect", () => {
  it.effect("are told from each other when a group is made, not by calls that are refused", () =>
    Effect.gen(function*() {
      const protocol = yield* Effect.promise(copy)
      const exit = yield* Effect.exit(WorkerGroup.make(protocol, { mesh: Mesh.make({ dp: 1 }), entry: new URL("file:///none.ts") }))
      assert.isTrue(exit._tag === "Failure" && /method add are of another copy of `effect`/.test(Cause.pretty(exit.cause)), String(exit))
    }).pipe(Effect.provide(Cluster.layerMemory)))
})
