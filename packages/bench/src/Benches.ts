/** Every bench by its name, in the order in which `all` runs them. */
import type { Bench } from "./Bench.ts"
import { Abort } from "./benches/Abort.ts"
import { Broadcast } from "./benches/Broadcast.ts"
import { Call } from "./benches/Call.ts"
import { Death } from "./benches/Death.ts"
import { Decode } from "./benches/Decode.ts"
import { FanOut } from "./benches/FanOut.ts"
import { Frozen } from "./benches/Frozen.ts"
import { Hop } from "./benches/Hop.ts"
import { Idle } from "./benches/Idle.ts"
import { Kept } from "./benches/Kept.ts"
import { Loss } from "./benches/Loss.ts"
import { Memory } from "./benches/Memory.ts"
import { Parked } from "./benches/Parked.ts"
import { Placing } from "./benches/Placing.ts"
import { Policy } from "./benches/Policy.ts"
import { Rebalanced } from "./benches/Rebalanced.ts"
import { Restart } from "./benches/Restart.ts"
import { Scaling } from "./benches/Scaling.ts"
import { Start } from "./benches/Start.ts"

/** All benches, in the order in which `all` runs them. */
export const benches: ReadonlyArray<Bench> = [
  Hop,
  Call,
  FanOut,
  Broadcast,
  Parked,
  Idle,
  Start,
  Memory,
  Death,
  Loss,
  Kept,
  Restart,
  Frozen,
  Abort,
  Policy,
  Decode,
  Placing,
  Scaling,
  Rebalanced
]
