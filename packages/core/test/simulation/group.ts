/** The contract of a group, simulated: `run` and `explain` by seed. */
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import type * as Draw from "@phalanx/core/testing/Draw"
import * as Simulation from "@phalanx/core/testing/Simulation"
import { Effect } from "effect"
import { type Ledger, Load, makeWorker } from "./load.ts"
import * as oracle from "./oracle.ts"
import * as steps from "./steps.ts"

const restart = (draw: Draw.Draw, scope: "one" | "all" | "rest") =>
  Supervision.restart({
    max: draw.pick([2, 5, 100]),
    per: draw.pick([500, 60_000]),
    backoff: draw.pick([1, 20, 100]),
    scope,
    calls: draw.pick(["wait", "wait", "fail"] as const)
  })

const policy = (draw: Draw.Draw): Supervision.Supervision<steps.Dimensions> => {
  switch (draw.weighted({ escalate: 2, one: 5, all: 1, rest: 1, shrink: 2, choose: 1 })) {
    case "escalate":
      return Supervision.escalate
    case "one":
      return restart(draw, "one")
    case "all":
      return restart(draw, "all")
    case "rest":
      return restart(draw, "rest")
    case "shrink":
      return Supervision.shrink({ along: "dp" })
    case "choose": {
      const otherwise = restart(draw, "one")
      return Supervision.choose((died) => died.reason === "exit" ? Supervision.shrink({ along: "dp" }) : otherwise)
    }
  }
}

export const simulation: Simulation.Simulation<typeof Load, steps.Dimensions> = Simulation.make("group", {
  protocol: Load,
  meshes: [Mesh.make({ dp: 2, tp: 2 }), Mesh.make({ dp: 2, tp: 2 }), Mesh.make({ dp: 2, tp: 2 }), Mesh.make({ dp: 3, tp: 2 })],
  smaller: [Mesh.make({ dp: 1, tp: 1 }), Mesh.make({ dp: 1, tp: 2 }), Mesh.make({ dp: 2, tp: 1 }), Mesh.make({ dp: 2, tp: 2 })],
  steps: 200,
  faults: 6,
  play: ({ act, draw, millis }) => {
    const ledger: Ledger = { entries: [], lives: [], order: 0 }
    const calls = new Map<number, steps.Call>()
    const supervision = policy(draw)
    const restores = draw.chance(0.3)
    return {
      worker: makeWorker(ledger, millis, act),
      options: {
        supervision,
        window: { requests: draw.pick([2, 4, 16, 64]) },
        heartbeat: draw.pick([undefined, false, { every: 100, frozen: 500, unresponsive: 800 }] as const),
        ...(restores ? { restore: ({ actor }) => actor.call.restore() } : {})
      },
      step: (draw, index) => {
        const call = steps.draw(draw, index)
        calls.set(index, call)
        return {
          does: steps.describe(call),
          run: (group) => Effect.suspend(() => steps.run(call, group, millis()))
        }
      },
      check: (run) => oracle.check(run, { ledger, calls, supervision, restores })
    }
  }
})

export const run = (seed: number): Simulation.Outcome => Simulation.run(simulation, seed)

export const explain = (seed: number): ReadonlyArray<string> => Simulation.explain(simulation, run(seed))
