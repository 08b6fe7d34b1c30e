/**
 * Does to a stage what a fault says, and notes in which state it found its victim.
 */
import type { Frame } from "../../MessageQueues.ts"
import * as Fault from "../../testing/Fault.ts"
import { fenceOf, Kind } from "../frame.ts"
import type { Network } from "./network.ts"
import { type Actor, actorOf, type Arm, type Stage, tell, violate } from "./stage.ts"

/** What a member was doing when a fault came. */
const stateOf = (stage: Stage, member: number): string => {
  if (stage.ending) return "ending"
  const actor = actorOf(stage, member)
  if (actor === undefined) return "starting"
  if (actor.gone !== undefined) return "gone"
  if (actor.ready === undefined) return actor.incarnation === 0 ? "starting" : "restarting"
  if (actor.process.state === "stopped") return "stopped"
  const { open, streams } = actor.line.seen
  if (open.size >= stage.window.requests) return "full"
  if (streams.size > 0) return "streaming"
  return open.size > 0 ? "busy" : "idle"
}

export const apply = (stage: Stage, network: Network, fault: Fault.Fault): void => {
  const { world } = stage
  const state = "member" in fault ? stateOf(stage, fault.member) : stage.ending ? "ending" : "busy"
  const pair = `${fault._tag} / ${state}`
  stage.coverage.set(pair, (stage.coverage.get(pair) ?? 0) + 1)
  stage.faults.push({ millis: world.millis, fault, state })
  tell(stage, () => `** ${Fault.describe(fault)} (${state})`)
  const actor = "member" in fault ? actorOf(stage, fault.member) : undefined
  const alive = actor !== undefined && actor.gone === undefined ? actor : undefined
  const doom = (actor: Actor): void => void (actor.doom ??= Fault.describe(fault))
  const until = (millis: number, task: () => void): void => {
    stage.lasting++
    world.after(millis, () => {
      stage.lasting--
      task()
    })
  }
  const kill = (): void => {
    if (alive === undefined) return
    doom(alive)
    alive.die({ _tag: "Killed", signal: "SIGKILL" })
  }
  const arm = (member: number, arm: Arm): void => {
    stage.arms.set(member, [...stage.arms.get(member) ?? [], arm])
    kill()
  }
  /** `limit`: the silence after which it is taken for dead. */
  const stop = (millis: number, limit: number, computes: boolean): void => {
    if (alive === undefined || alive.process.state === "stopped") return
    // It may have been silent for a beat before, which is a tenth of a deadline at most.
    if (millis >= limit * 0.9) doom(alive)
    const began = world.millis
    const watched = alive.ready !== undefined
    if (computes) alive.computesSince = world.millis
    alive.process.stop()
    until(millis, () => {
      const late = world.millis - Math.max(began, stage.opened) - limit * 1.2 - stage.stalled
      if (late > 0 && watched && alive.told === undefined && !stage.ending && alive.act === stage.acts - 1) {
        violate(stage, `SI-7: ${alive.name} was silent for ${millis} ms, and nobody noticed`)
      }
      alive.computesSince = undefined
      alive.process.resume()
    })
  }

  switch (fault._tag) {
    case "Kill":
      return kill()
    case "Exit":
      if (alive === undefined) return
      doom(alive)
      return alive.die({ _tag: "Exited", code: fault.code }, ["Error: a fault that was asked for"])
    case "Freeze":
      return stop(fault.millis, stage.silence?.frozen ?? Infinity, false)
    case "Block":
      return stop(fault.millis, stage.silence?.unresponsive ?? Infinity, true)
    case "Slow":
      alive?.process.slow(fault.turn)
      return until(fault.millis, () => alive?.process.slow(0))
    case "Cut": {
      if (alive === undefined) return
      const { line } = alive
      const lanes = [line.requests, line.control, line.replies]
      for (const lane of lanes) lane.cut()
      if (fault.millis > Fault.deadline) {
        doom(alive)
        return until(Fault.deadline, () => network.lose(line, `nothing came for ${Fault.deadline} ms`, true))
      }
      return until(fault.millis, () => lanes.forEach((lane) => lane.mend()))
    }
    case "Part": {
      const lanes = network.between(fault.member, fault.other)
      for (const lane of lanes) lane.cut()
      if (fault.millis > Fault.deadline) {
        return until(Fault.deadline, () => network.part(fault.member, fault.other, `nothing came for ${Fault.deadline} ms`))
      }
      return until(fault.millis, () => lanes.forEach((lane) => lane.mend()))
    }
    case "Delay": {
      if (alive === undefined) return
      const { control, replies, requests } = alive.line
      for (const lane of [requests, control, replies]) lane.delay += fault.latency
      return until(fault.millis, () => [requests, control, replies].forEach((lane) => lane.delay -= fault.latency))
    }
    case "Double":
      if (alive !== undefined) alive.line.doublesUntil = world.millis + fault.millis
      return until(fault.millis, () => {})
    case "Echo":
      return echo(network, fault.member)
    case "Stray":
      if (alive === undefined) return
      doom(alive)
      alive.deafUntil = world.millis + fault.millis
      network.lose(alive.line, "its node is out of reach", false)
      return until(fault.millis, () => alive.die({ _tag: "Killed", signal: "SIGKILL" }))
    case "Garble":
      if (alive === undefined) return
      doom(alive)
      return network.inject(fault.member, ["junk"], false)
    case "NoSpawn":
      return arm(fault.member, { _tag: "Spawn" })
    case "NoSetup":
      return arm(fault.member, { _tag: "Setup" })
    case "SlowSetup":
      return arm(fault.member, { _tag: "Slow", millis: fault.millis })
    case "Stall": {
      const { driver } = stage
      driver.stop()
      stage.stalled += fault.millis
      return until(fault.millis, () => driver.resume())
    }
    case "Jump":
      return world.jump(fault.millis)
  }
}

/** Frames that a fence must keep out: what former lives had said, and answers and interrupts that only their fence tells from good ones. */
const echo = (network: Network, member: number): void => {
  const hub = network.hub()
  const line = hub?.lines.get(member)
  if (hub === undefined || line === undefined) return
  const { mark } = fenceOf(hub.options.secret, 0)
  const epoch = line.seen.last[0]?.[2] as number ?? 0
  const id = [...line.seen.open.keys()][0] ?? 0
  const answer = [Kind.Success, mark, epoch, member, line.incarnation, id, null]
  const stale: Array<Frame> = [
    ...hub.past.filter((said) => said.member === member).map(({ frame }) => frame),
    answer.with(1, mark + 1),
    // Not the next ones, which may have begun until these arrive.
    answer.with(2, epoch + 1000),
    answer.with(4, line.incarnation + 1000)
  ]
  for (const frame of stale) network.inject(member, frame, true)
  const interrupt = [Kind.Interrupt, mark, epoch, line.incarnation, id]
  for (const frame of [interrupt.with(1, mark + 1), interrupt.with(3, line.incarnation + 1)]) {
    line.inbox?.post(() => line.subscriber?.receive(frame))
  }
}
