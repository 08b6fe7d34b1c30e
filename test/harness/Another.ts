/** A driver of Ray that is none of Phalanx's. */
import type * as Placement from "@phalanx/core/Placement"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { head } from "./ray.ts"

/** What Ray's control service knows of the actors and placement groups of these tests. */
export interface Known {
  /** Exit code, standard output and standard error of a program that was run. */
  readonly driven: readonly [code: number, stdout: string, stderr: string] | null
  readonly actors: ReadonlyArray<{ readonly name: string; readonly pid: number }>
  readonly groups: ReadonlyArray<{ readonly id: string; readonly name: string; readonly strategy: string; readonly state: string }>
}

/** Other tests may use the same cluster at the same time. */
const only = (names: RegExp, { actors, driven, groups }: Known): Known => {
  const isOurs = ({ name }: { readonly name: string }) => names.test(name)
  return { driven, actors: actors.filter(isOurs), groups: groups.filter(isOurs) }
}

/** Asks Ray itself, and may make and remove placement groups first. */
export class Another extends Context.Service<Another, {
  readonly ask: (
    order?: {
      readonly make?: ReadonlyArray<Placement.Resources>
      readonly remove?: string
      readonly drive?: ReadonlyArray<string>
      readonly env?: Readonly<Record<string, string>>
      readonly name?: string
    }
  ) => Effect.Effect<Known>
}>()("@phalanx/test/Another") {
  /** One that tells of what has some names. */
  static readonly layer = (names: RegExp) =>
    Layer.effect(
      this,
      Effect.map(
        Effect.acquireRelease(
          Effect.map(head, (head) => {
            const script = fileURLToPath(new URL("./another_driver.py", import.meta.url))
            const env = { ...process.env, RAY_AUTH_MODE: "token", RAY_AUTH_TOKEN: head.token }
            return spawn(head.python, [script, "phalanx", head.address], { stdio: ["pipe", "pipe", "inherit"], env })
          }),
          (child) => Effect.sync(() => child.kill("SIGKILL"))
        ),
        (child) => {
          const answers = createInterface({ input: child.stdout })
          return Another.of({
            ask: (order = {}) =>
              Effect.callback((resume) => {
                const onExit = (code: number | null) => resume(Effect.die(new Error(`another driver of Ray ended with ${code}`)))
                child.once("exit", onExit)
                answers.once("line", (line) => {
                  child.off("exit", onExit)
                  resume(Effect.succeed(only(names, JSON.parse(line))))
                })
                child.stdin.write(`${JSON.stringify(order)}\n`)
              })
          })
        }
      )
    )
}
