import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { fileURLToPath } from "node:url"
import { Another } from "../../test/harness/Another.ts"
import { describe, environment } from "../../test/harness/ray.ts"

describe("examples/ray", () => {
  layer(Another.layer(/^(?:example|ray)/), { timeout: 60_000, excludeTestServices: true })((it) => {
    it.effect("RY-1, RY-2: prints on Ray what hello prints on this machine, and a driver that an actor of Ray runs takes the actor's placement group", () =>
      Effect.gen(function*() {
        const { ask } = yield* Another
        const made = yield* ask({ make: Array.from({ length: 5 }, () => ({ CPU: 1 })), name: "example" })
        const { driven, groups } = yield* ask({
          drive: [process.execPath, fileURLToPath(new URL("main.ts", import.meta.url))],
          env: yield* environment,
          name: "example"
        })
        assert.deepStrictEqual([driven![0], driven![2]], [0, ""])
        assert.match(driven![1], /^\[ 0, 1, 22, 33 \]\nRay 2\.60\.\d+, node 127\.0\.0\.2: \d+ CPUs are reserved\n$/)
        assert.deepStrictEqual(groups.map(({ id }) => id), made.groups.map(({ id }) => id))
        yield* ask({ remove: groups[0]!.id })
      }))
  })
})
