/** What a simulated process has: its accesses, its machine, its loop, its host, and the ledger. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type Host, Host as HostReference, make } from "../../src/internal/host.ts"
import type { Resolved } from "../../src/internal/shmOptions.ts"
import type { Sizes } from "./labels.ts"
import { Ledger } from "./ledger.ts"
import { Loop, use } from "./loop.ts"
import { SimulatedMachine } from "./machine.ts"
import { Accesses } from "./memory.ts"
import type { Plan } from "./plan.ts"
import type { Scheduler } from "./scheduler.ts"

export const group = "simulated"
export const secret = "00"

export class Process {
  readonly scheduler: Scheduler
  readonly plan: Plan
  readonly life: number
  readonly accesses: Accesses
  readonly loop: Loop
  readonly machine: SimulatedMachine
  readonly ledger: Ledger
  readonly layer: Resolved
  readonly sizes: Sizes
  private readonly host: Host
  private readonly scope = Scope.makeUnsafe()

  /** Of a life of a rank, or of the driver, whose life is 0. */
  constructor(scheduler: Scheduler, plan: Plan, life: number) {
    this.life = life
    this.scheduler = scheduler
    this.plan = plan
    this.accesses = new Accesses(scheduler, plan.isWeak)
    this.loop = new Loop(this.accesses)
    this.layer = { folder: "/simulated", ringBytes: plan.ringBytes, laneBytes: plan.laneBytes, spinMicros: plan.spin }
    const lane = plan.laneBytes
    this.sizes = { ring: plan.ringBytes, ranks: plan.ranks, control: Math.max(4096, lane / 4), private: lane, reply: lane }
    const pid = 1000 + life
    this.machine = new SimulatedMachine(this.accesses, this.sizes, pid, this.loop.onRing)
    this.host = make(this.machine, pid)
    this.ledger = new Ledger(scheduler, plan)
    scheduler.watch = this.ledger
    const rank = life === 0 ? -1 : this.ledger.rank(life)
    scheduler.begin(plan.faults.filter((fault) => fault.rank === rank))
    use(this.loop)
  }

  /** Runs what does not suspend, in the scope of this process. */
  do<A, E>(effect: Effect.Effect<A, E, Scope.Scope>): A {
    return Effect.runSync(effect.pipe(Effect.provideService(HostReference, this.host), Scope.provide(this.scope)))
  }

  close(): void {
    Effect.runSync(Scope.close(this.scope, Exit.void))
  }
}

const longest = 1 << 14
const patterns = Array.from(
  { length: 61 },
  (_, id) => Uint8Array.from({ length: longest }, (_, index) => (index * 7 + id * 13) ^ (index >>> 8))
)

/** The bytes that message `id` of this length has. */
export const bytesOf = (id: number, length: number): Uint8Array => patterns[id % patterns.length]!.subarray(0, length)

export const isIntact = (bytes: unknown, id: number, length: number): boolean =>
  bytes instanceof Uint8Array && bytes.length === length && Buffer.compare(bytes, bytesOf(id, length)) === 0
