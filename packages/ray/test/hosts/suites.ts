/** What is tested on three hosts. Whoever lists tests sees the names; a program that is host 1 runs them. */
import * as Contract from "@phalanx/core/Contract"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { cluster, type Three } from "../../../../test/harness/threeHosts.ts"
import { transports } from "../transports.ts"
import { Duo, losses } from "./losses.ts"
import { apiece, nodes, Trio } from "./spread.ts"

/** Cases that share a layer, which is built for the first of them. */
export interface Suite {
  readonly name: string
  readonly layer: Layer.Layer<any, unknown, Three>
  readonly cases: ReadonlyArray<Case<any>>
}

interface Case<R> {
  readonly name: string
  /** With PHALANX_RAY `all` alone. */
  readonly seldom?: boolean
  /** What it gives is told, too. */
  readonly run: Effect.Effect<unknown, unknown, R>
}

const suite = <R>(
  name: string,
  layer: Layer.Layer<R, unknown, Three>,
  cases: ReadonlyArray<Case<R | Three>>
): Suite => ({ name, layer, cases })

/** One connection for all: a bridge takes a second of a processor to start. */
const mixed = cluster({ placing: { strategy: "spread" } })
const connection = (transport: "mixed" | "tcp") => transport === "mixed" ? mixed : cluster({ transport, placing: { strategy: "spread" } })

const lost = Layer.provideMerge(Duo.layer, mixed)

export const suites: ReadonlyArray<Suite> = [
  ...transports("mixed").map((transport) =>
    suite(
      `the contract, on three hosts over ${transport}`,
      // Each on its own connection: a layer is else built once for all suites.
      Layer.provideMerge(Layer.fresh(Contract.layerShared), connection(transport)),
      Contract.cases
    )
  ),
  suite("three hosts, a rank on each", Layer.provideMerge(Trio.layer, mixed), apiece),
  suite("three hosts", mixed, nodes),
  suite<Layer.Success<typeof lost>>("three hosts, some of them lost", lost, losses)
]
