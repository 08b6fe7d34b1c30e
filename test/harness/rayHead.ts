/**
 * The Ray cluster that all tests of a run share: started when the first of them asks, so that a run without any, or a list of them, starts none.
 * Whoever connects to the socket is told, in a line, how to reach it.
 */
import * as Python from "@phalanx/ray/Python"
import * as RayHead from "@phalanx/ray/RayHead"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TestProject } from "vitest/node"

declare module "vitest" {
  interface ProvidedContext {
    readonly ray: {
      /** The socket's path. */
      readonly path: string
      /** Nothing is run: a list of tests is the same on every machine. */
      readonly listing: boolean
    }
  }
}

export default async (project: TestProject) => {
  const scope = Scope.makeUnsafe()
  const start = Effect.gen(function*() {
    const { path: python } = yield* Python.find()
    return { python, ...(yield* RayHead.make({ python, gpus: 4, resources: { seat: 64 } })) }
  }).pipe(Scope.provide(scope))
  let head: Promise<string> | undefined
  const server = createServer((socket) => {
    head ??= Effect.runPromise(start).then(JSON.stringify, (error) => JSON.stringify({ error: String(error) }))
    void head.then((line) => socket.end(`${line}\n`))
  })
  const path = join(tmpdir(), `phalanx-test-${process.pid}`)
  await new Promise<void>((resolve) => server.listen(path, resolve))
  project.provide("ray", { path, listing: process.argv.includes("list") })
  return async () => {
    server.close()
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
