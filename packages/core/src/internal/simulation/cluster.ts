/**
 * `Cluster` whose workers are simulated processes. They boot, run the real worker, hear SIGTERM as `@phalanx/node` does, and die as the simulation says.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RpcServer from "effect/rpc/RpcServer"
import type * as Scope from "effect/Scope"
import { type Claim, Claims } from "../../Claim.ts"
import type * as Cluster from "../../Cluster.ts"
import { MessageQueues } from "../../MessageQueues.ts"
import type { Process } from "../../testing/World.ts"
import * as Worker from "../../Worker.ts"
import { type Death, SpawnError } from "../../WorkerError.ts"
import { Streaming } from "../streaming.ts"
import type { Network } from "./network.ts"
import { type Actor, type Arm, type Stage, tell } from "./stage.ts"

/** Milliseconds from SIGTERM to SIGKILL. */
const grace = 2000

/** `keeps`: workers outlive their driver. */
export const make = (stage: Stage, network: Network, keeps: boolean): Cluster.Cluster["Service"] => {
  const { world } = stage
  let pids = 1000

  const start = (entry: Worker.Worker<any, unknown>, identity: Cluster.Identity, arms: ReadonlyArray<Arm>) => {
    const { incarnation, member, rank } = identity
    const name = `member ${member}${incarnation === 0 ? "" : `, incarnation ${incarnation}`}`
    const process = world.process(name)
    /** Who waits for its end: of drivers that have fallen nothing goes on. */
    const waiting: Array<{ readonly driver: Process; readonly tell: () => void }> = []
    const end = Effect.callback<Cluster.End>((resume) => {
      const tell = () => resume(Effect.succeed(actor.end!))
      if (actor.reported) tell()
      else waiting.push({ driver: stage.driver, tell })
    })
    /** Whoever is driver by then. One that falls before it has a turn has not been told. */
    const report = (): void =>
      stage.driver.inbox().post(() => {
        actor.reported = true
        network.record()
        for (const { driver, tell } of waiting.splice(0)) if (driver === stage.driver) tell()
      })
    const claims: Array<Claim> = []
    let hear = (claim: Claim): void => void claims.push(claim)
    const signals = process.inbox()
    let terminated = false
    let interrupt: (() => void) | undefined
    const actor: Actor = {
      name,
      act: stage.acts - 1,
      member,
      rank,
      incarnation,
      pid: ++pids,
      process,
      born: world.millis,
      line: network.line(identity.handle)!,
      ready: undefined,
      gone: undefined,
      told: undefined,
      doom: arms.some(({ _tag }) => _tag === "Setup") ? "its set-up fails" : undefined,
      deafUntil: 0,
      computesSince: undefined,
      stderr: [],
      end: undefined,
      reported: false,
      claim: (claim) => world.after(0.2 + world.draw.below(20) / 10, () => signals.post(() => hear(claim))),
      die: (death: Death, stderr: ReadonlyArray<string> = []) => {
        if (actor.gone !== undefined) return
        actor.gone = world.millis
        actor.stderr.push(...stderr)
        process.end()
        tell(stage, () => `${name} is gone: ${JSON.stringify(death)}`)
        // What it had handed over before still arrives; of what it had not, nothing does.
        if (!actor.line.astray) actor.line.replies.lose(() => world.draw.chance(0.9))
        world.after(0.2 + world.draw.below(20) / 10, () => {
          actor.end = { death, stderr: [...actor.stderr] }
          report()
        })
      }
    }
    stage.actors.push(actor)
    actor.line.actor = actor
    tell(stage, () => `${name} starts`)

    const main = Worker.run(armed(entry, arms), identity, "simulated").pipe(
      Effect.provideService(MessageQueues, network.queues),
      Effect.provideService(Streaming, Effect.succeed(RpcServer)),
      Effect.provideService(
        Claims,
        keeps
          ? (next) => {
            hear = next
            claims.splice(0).forEach(next)
          }
          : undefined
      ),
      Effect.catchTag("SpawnError", (error) => Effect.delay(Effect.fail(error), grace)),
      (effect) =>
        Effect.withFiber<void, unknown>((fiber) => {
          interrupt = () => fiber.interruptUnsafe()
          return effect
        })
    )
    world.after(5 + world.draw.below(40), () =>
      process.run(main, (exit) =>
        actor.die(
          terminated
            ? { _tag: "Killed", signal: "SIGTERM" }
            : { _tag: "Exited", code: exit._tag === "Success" ? 0 : 1 },
          exit._tag === "Success" ? [] : [String(exit.cause)]
        )))

    const kill = (signal: "SIGTERM" | "SIGKILL"): void => {
      if (actor.gone !== undefined) return
      if (world.millis < actor.deafUntil) return world.after(actor.deafUntil - world.millis, () => kill(signal))
      if (signal === "SIGKILL") return actor.die({ _tag: "Killed", signal })
      signals.post(() => {
        if (terminated) return
        terminated = true
        world.after(grace, () => actor.die({ _tag: "Killed", signal: "SIGKILL" }))
        if (interrupt === undefined) actor.die({ _tag: "Killed", signal })
        else interrupt()
      })
    }
    return { actor, end, kill, report }
  }
  type Started = ReturnType<typeof start>
  /** Of the present group. */
  const started: Array<Started> = []

  const stop = ({ actor, end, kill }: Started): Effect.Effect<void> =>
    Effect.suspend(() => {
      actor.doom ??= "its group ends"
      kill("SIGTERM")
      world.after(grace, () => kill("SIGKILL"))
      return Effect.asVoid(end)
    })

  const processOf = ({ actor, end, kill }: Started): Cluster.Process => ({
    node: "simulated",
    pid: actor.pid,
    end,
    stderr: Effect.sync(() => [...actor.stderr]),
    vitals: Effect.sync((): Cluster.Vitals => ({
      state: actor.gone !== undefined
        ? "gone"
        : actor.process.state === "stopped" && actor.computesSince === undefined
        ? "stopped"
        : "alive",
      cpuMillis: actor.process.spent + (actor.computesSince === undefined ? 0 : world.millis - actor.computesSince)
    })),
    kill: (signal) => Effect.sync(() => kill(signal))
  })
  const held = (begun: Effect.Effect<Started>): Effect.Effect<Cluster.Process, never, Scope.Scope> =>
    Effect.map(Effect.acquireRelease(begun, stop), processOf)

  const adopt: NonNullable<Cluster.Cluster["Service"]["adopt"]> = () =>
    Effect.sync((): Cluster.Adopted => {
      const { record: { epoch, members, mesh }, secret } = stage.orphan!
      stage.orphan = undefined
      stage.adopting = true
      return {
        secret,
        driver: stage.falls,
        epoch,
        shape: mesh,
        members,
        workers: started.filter(({ actor }) => !actor.reported).map((begun) => ({
          member: begun.actor.member,
          incarnation: begun.actor.incarnation,
          rank: begun.actor.rank,
          process: held(Effect.sync(() => {
            if (begun.actor.end !== undefined) begun.report()
            return begun
          })),
          claim: (claim) => Effect.sync(() => begun.actor.claim(claim))
        })),
        lives: started.map(({ actor: { incarnation, member } }) => ({ member, incarnation })),
        settled: Effect.void
      }
    })

  return {
    spawn: ({ entry, identity }) =>
      Effect.suspend(() => {
        const arms = stage.arms.get(identity.member) ?? []
        stage.arms.delete(identity.member)
        if (arms.some(({ _tag }) => _tag === "Spawn")) {
          tell(stage, () => `member ${identity.member} cannot be started`)
          stage.unborn.add(`${stage.acts - 1}.${identity.member}.${identity.incarnation}`)
          return Effect.fail(
            new SpawnError({
              rank: identity.rank,
              node: "simulated",
              entry: "a worker value",
              phase: "start",
              issue: "no process could be made",
              advice: "Nothing is wrong: a fault was asked for",
              stderr: []
            })
          )
        }
        return Effect.sync(() => {
          const begun = start(entry as Worker.Worker<any, unknown>, identity, arms)
          if (started[0]?.actor.act !== begun.actor.act) started.length = 0
          started.push(begun)
          network.record()
          return begun
        }).pipe(held)
      }),
    ...(keeps ? { adopt } : {})
  }
}

/** The worker with what its next set-up is to suffer. */
const armed = (worker: Worker.Worker<any, unknown>, arms: ReadonlyArray<Arm>): Worker.Worker<any, unknown> => {
  if (arms.length === 0) return worker
  const suffer = Effect.forEach(
    arms,
    (arm) => arm._tag === "Slow" ? Effect.sleep(arm.millis) : Effect.fail("a fault in its set-up"),
    { discard: true }
  )
  return Worker.make(worker.protocol, Layer.provide(worker.layer, Layer.effectDiscard(suffer)))
}
