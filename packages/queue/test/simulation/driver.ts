/** The driver of a simulated group: the shipping publisher, and what a group does with it. */
import type { Frame, Publisher } from "@phalanx/core/MessageQueues"
import * as Layout from "../../src/internal/layout.ts"
import { open } from "../../src/internal/shmDriver.ts"
import { State } from "./ledger.ts"
import type { Message } from "./plan.ts"
import { bytesOf, group, isIntact, type Process, secret } from "./process.ts"
import { Cell, handleOf, Lane, lives, seats, Status } from "./world.ts"
import { waitingBytes } from "./writers.ts"

const frameKinds = { request: 0, control: 1 } as const

export class Driver {
  readonly process: Process
  private readonly publisher: Publisher
  /** The life that each rank's lanes belong to, if they are open. */
  private readonly current = new Map<number, number>()
  private readonly incarnations = new Map<number, number>()
  /** The lives whose answers to a request have not come, by its number. */
  private readonly calls = new Map<number, Set<number>>()
  private told = 0

  constructor(process: Process) {
    this.process = process
    const { plan } = process
    process.machine.nextKind = "group"
    this.publisher = process.do(open(process.layer, {
      group,
      secret,
      ranks: plan.ranks,
      receive: (rank, frame) => this.hear(rank, frame),
      lost: (rank, issue) => this.lose(rank, issue),
      awaited: () => this.awaited()
    }))
    for (let rank = 0; rank < plan.ranks; rank++) this.connect(rank)
    plan.messages.forEach((message, id) => process.loop.at(message.at, () => this.send(message, id)))
    process.loop.outside = { due: () => this.nextExit(), run: () => this.hearExits() }
    process.accesses.onLap = (consumed) => this.lapped(consumed)
    process.accesses.onMove = (consumed) => {
      // One that has gone mad may have unmarked its own.
      const at = process.ledger.laneOf(consumed)
      if (at >= 0 && process.accesses.world.lanes[at + Lane.reader]! > 0) {
        process.scheduler.fail("RG-3: the driver moves a reader's consumed word by a store")
      }
    }
    process.loop.onMail = () => this.close()
  }

  private freeSeat(): number {
    const { exits, lifeOf, status } = this.process.accesses.world
    for (let seat = 1; seat < seats; seat++) {
      if (status[seat] === Status.free || (status[seat] === Status.dead && exits[lifeOf[seat]!] === 0)) return seat
    }
    return -1
  }

  private connect(rank: number): void {
    const { ledger, machine, plan, sizes } = this.process
    const { world } = this.process.accesses
    const seat = this.freeSeat()
    if (seat < 0 || world.cells[Cell.lives]! + 1 >= lives) return
    const former = this.current.get(rank)
    const incarnation = this.incarnations.get(rank) ?? 0
    this.incarnations.set(rank, incarnation + 1)
    if (former !== undefined) {
      ledger.close(former)
      for (const id of this.calls.keys()) this.settle(id, former)
    }
    const life = ledger.connect(rank, seat, incarnation)
    machine.nextKind = "rank"
    machine.nextOf = rank
    const handle = this.process.do(this.publisher.connect(rank, incarnation))
    this.current.set(rank, life)
    const file = machine.find((handle.data as { readonly lanes: string }).lanes)
    const memory = machine.memory(file)
    const base = machine.base(file) / 4
    const state = base + Layout.rank.state
    const parked = { driver: machine.base(0) / 4 + Layout.group.driverParked, worker: base + Layout.rank.parked }
    const ring = Layout.group.ring(memory, plan.ringBytes, plan.ranks).geometry
    ledger.addLane({
      writer: 0,
      reader: seat,
      written: machine.base(0) / 4 + ring.written,
      consumed: base + Layout.rank.consumed,
      wantsRoom: machine.base(0) / 4 + ring.wantsRoom,
      readerParked: parked.worker,
      writerParked: parked.driver,
      data: machine.base(0) + ring.data,
      capacity: ring.capacity,
      named: ring.tags,
      rank,
      state
    })
    for (const name of ["control", "private", "reply"] as const) {
      const lane = Layout.rank[name](memory, sizes)
      const { capacity, data, wantsRoom, written } = lane.ring.geometry
      const isReply = name === "reply"
      ledger.addLane({
        writer: isReply ? seat : 0,
        reader: isReply ? 0 : seat,
        written: base + written,
        consumed: base + lane.consumed.index,
        wantsRoom: base + wantsRoom,
        readerParked: isReply ? parked.driver : parked.worker,
        writerParked: isReply ? parked.worker : parked.driver,
        data: base * 4 + data,
        capacity,
        named: 0,
        rank,
        state
      })
    }
    this.process.accesses.settle()
    world.putText(handleOf(life), JSON.stringify(handle))
    world.generation[seat]!++
    world.rung[seat] = 0
    world.mail[seat] = 0
    world.status[seat] = Status.running
  }

  private send(message: Message, id: number): void {
    const { ledger, scheduler } = this.process
    const bytes = bytesOf(id, message.bytes)
    if (message.kind === "replace") {
      const [rank] = message.ranks as [number]
      const life = this.current.get(rank)
      if (life === undefined || this.freeSeat() < 0) return
      scheduler.cover("replace", this.process.accesses.world.lifeOf.indexOf(life))
      return this.connect(rank)
    }
    const ranks = message.ranks.filter((rank) => this.current.has(rank))
    for (const rank of ranks) ledger.publishes(this.current.get(rank)!, message.kind, id)
    const frame: Frame = [frameKinds[message.kind], id, bytes]
    if (message.kind === "control") { for (const rank of ranks) this.publisher.control(rank, frame) }
    else this.publisher.publish(this.publisher.pack(frame), ranks)
    if (message.answer >= 0 && ranks.length > 0) this.calls.set(id, new Set(ranks.map((rank) => this.current.get(rank)!)))
    this.look()
    this.bound()
  }

  /** As a group's: after so many answers somebody has something to do. Some callers want to know of each. */
  private awaited(): number {
    let least = Infinity
    for (const [id, lives] of this.calls) least = Math.min(least, id % 4 === 0 ? 1 : lives.size)
    return least === Infinity ? 0 : least
  }

  /** Tells the publisher when `awaited` has another answer. */
  private look(): void {
    const awaited = this.awaited()
    if (awaited !== this.told) this.publisher.look?.()
    this.told = awaited
  }

  private settle(id: number, life: number): void {
    const left = this.calls.get(id)
    left?.delete(life)
    if (left?.size === 0) this.calls.delete(id)
  }

  /** What a transport keeps is no more than what is on its way to those who live, with a few bytes of packing. */
  private bound(): void {
    const { ledger, scheduler } = this.process
    const most = 1024 + ledger.underWay() * (longestMessage + 64)
    const bytes = waitingBytes()
    if (bytes > most) scheduler.fail(`${bytes} bytes wait in the driver, but at most ${most} are on their way to anybody`)
  }

  private hear(rank: number, frame: Frame): void {
    const { ledger, plan, scheduler } = this.process
    const [kind, life, id, bytes] = frame as [number, number, number, unknown]
    if (kind !== 2 || this.current.get(rank) !== life) {
      scheduler.fail(`MQ-1: rank ${rank} answered as life ${life}, which is not its current one`)
    }
    if (ledger.state(life) === State.mad) return
    ledger.hears(life, id)
    this.settle(id, life)
    if (!isIntact(bytes, id, plan.messages[id]!.answer)) scheduler.fail(`MQ-1: answer ${id} of rank ${rank} has other bytes than were sent`)
  }

  private lose(rank: number, issue: string): void {
    const { ledger, scheduler } = this.process
    const life = this.current.get(rank)!
    scheduler.note("told", 0, rank, 0, life)
    if (ledger.state(life) !== State.mad) scheduler.fail(`MQ-4: rank ${rank} was lost, though it had done nothing wrong: ${issue}`)
    this.forget(rank, life)
  }

  private forget(rank: number, life: number): void {
    const { ledger, loop, plan } = this.process
    this.current.delete(rank)
    ledger.close(life)
    for (const id of this.calls.keys()) this.settle(id, life)
    this.look()
    if (plan.restarts) loop.at(loop.now + 300, () => this.current.has(rank) || this.connect(rank))
  }

  /** A reader's word was marked. */
  private lapped(consumed: number): void {
    const { accesses: { world }, ledger, scheduler } = this.process
    const at = ledger.laneOf(consumed)
    const seat = at < 0 ? -1 : world.lanes[at + Lane.reader]!
    if (seat > 0 && world.cells[Cell.stage] === 0 && ledger.isCurrent(world.lifeOf[seat]!)) scheduler.cover("lap", seat)
  }

  private nextExit(): number {
    const { exits } = this.process.accesses.world
    let least = Infinity
    for (let life = 1; life < lives; life++) if (exits[life]! > 0 && exits[life]! < least) least = exits[life]!
    return least
  }

  private hearExits(): void {
    const { accesses: { world: { exits } }, ledger, loop } = this.process
    for (let life = 1; life < lives; life++) {
      if (exits[life] === 0 || exits[life]! > loop.now) continue
      exits[life] = 0
      const rank = ledger.rank(life)
      this.process.do(this.publisher.drain(rank, ledger.incarnation(life)))
      if (this.current.get(rank) !== life) continue
      this.publisher.disconnect(rank)
      this.forget(rank, life)
      // A group tells the others, whose exchanges cannot end any more.
      if (this.process.plan.rounds > 0) { for (const other of this.current.keys()) this.publisher.control(other, [3]) }
      this.bound()
    }
  }

  private close(): void {
    const { loop, scheduler } = this.process
    const bytes = waitingBytes()
    if (bytes > 0 && this.process.ledger.underWay() === 0) {
      scheduler.fail(`${bytes} bytes still wait in the driver, though everything has been read`)
    }
    this.process.close()
    loop.stop()
  }
}

const longestMessage = 6000
