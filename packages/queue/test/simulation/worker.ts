/** A rank of a simulated group: the shipping subscriber, which answers, and its lanes to the other ranks. */
import type { Frame, Handle, PeerLanes, Subscriber } from "@phalanx/core/MessageQueues"
import { QueueError } from "@phalanx/core/QueueError"
import * as Layout from "../../src/internal/layout.ts"
import { peers } from "../../src/internal/shmPeers.ts"
import { attach } from "../../src/internal/shmWorker.ts"
import { State } from "./ledger.ts"
import { bytesOf, group, isIntact, type Process, secret } from "./process.ts"
import { Cell, handleOf, peerHandleOf, Status } from "./world.ts"

export class Worker {
  readonly process: Process
  readonly life: number
  readonly rank: number
  private readonly subscriber: Subscriber | undefined
  private exchange: Exchange | undefined

  constructor(process: Process) {
    const { life } = process
    this.process = process
    this.life = life
    const { ledger, loop, plan, scheduler } = process
    this.rank = ledger.rank(life)
    const handle: Handle = JSON.parse(scheduler.world.text(handleOf(life)))
    loop.onMail = () => this.hearMail()
    try {
      this.subscriber = process.do(attach(process.layer, handle, {
        receive: (frame) => this.receive(frame),
        lost: (issue) => this.lose(issue)
      }))
    } catch (cause) {
      // It was too late: its lanes are closed.
      if (!(cause instanceof QueueError) || ledger.isCurrent(life)) throw cause
      loop.stop()
      return
    }
    ledger.enter(life, State.attached)
    // Each rank's first life, which is also its number after the driver's.
    if (plan.rounds > 0 && life <= plan.ranks) this.exchange = new Exchange(this)
  }

  private receive(frame: Frame): void {
    const { ledger, loop, plan, scheduler } = this.process
    const [kind, id, bytes] = frame as [number, number, unknown]
    if (kind === 3) return
    ledger.takes(this.life, kind === 0 ? "request" : "control", id)
    const message = plan.messages[id]!
    if (!isIntact(bytes, id, message.bytes)) scheduler.fail(`MQ-1: message ${id} has other bytes on rank ${this.rank} than were sent`)
    if (kind !== 0 || message.answer < 0) return
    // Some answer at once, some later.
    if (id % 3 === 0) loop.soon(() => this.answer(id, message.answer))
    else this.answer(id, message.answer)
  }

  private answer(id: number, length: number): void {
    this.process.ledger.answers(this.life, id)
    this.subscriber?.send([2, this.life, id, bytesOf(id, length)], id % 5 !== 0)
  }

  private lose(issue: string): void {
    const { ledger, loop, scheduler } = this.process
    scheduler.note("told", 0, this.rank, 1, this.life)
    const isMad = scheduler.world.status[0] === Status.dead
    if (!isMad && issue !== "the driver closed this rank's lanes" && issue !== "replaced by a later incarnation of this rank") {
      scheduler.fail(`MQ-4: rank ${this.rank} lost its driver, which had done nothing wrong: ${issue}`)
    }
    ledger.enter(this.life, State.ended)
    loop.stop()
  }

  /** The other ranks are there, or it is time to leave. */
  private hearMail(): void {
    const { ledger, loop, scheduler } = this.process
    if (scheduler.world.cells[Cell.stage] === 0) return this.exchange?.begin()
    ledger.enter(this.life, State.ended)
    loop.stop()
  }
}

/** Exchanges of one message with every other rank, one after the other. */
class Exchange {
  private readonly worker: Worker
  private readonly process: Process
  private readonly file: number
  private readonly connect: (handles: ReadonlyArray<Handle>) => PeerLanes
  private lanes: PeerLanes | undefined
  private readonly got: Array<number>
  private done = 0
  private missing = 0
  private isOut = false

  constructor(worker: Worker) {
    this.worker = worker
    const { process, rank } = worker
    this.process = process
    const { layer, machine, plan } = process
    const { world } = process.accesses
    this.got = Array.from({ length: plan.ranks }, () => 0)
    machine.nextKind = "peers"
    machine.nextOf = rank
    const made = process.do(peers(layer, {
      group,
      secret,
      rank,
      ranks: plan.ranks,
      receive: (from, _channel, sequence, bytes) => this.receive(from, sequence, bytes),
      lost: (from, issue) => {
        if (process.ledger.state(1 + from) === State.mad) return
        process.scheduler.fail(`MQ-4: rank ${rank} lost rank ${from}, which had done nothing wrong: ${issue}`)
      },
      awaited: () => this.missing
    }))
    this.file = machine.find((made.handle.data as { readonly segment: string }).segment)
    this.connect = (handles) => process.do(made.connect(handles))
    world.putText(peerHandleOf(worker.life), JSON.stringify(made.handle))
    process.accesses.settle()
    if (++world.cells[Cell.joined]! === plan.ranks) { for (let seat = 1; seat <= plan.ranks; seat++) world.mail[seat] = 1 }
  }

  begin(): void {
    if (this.lanes !== undefined) return
    const { accesses: { world }, ledger, machine, plan } = this.process
    const handles = Array.from({ length: plan.ranks }, (_, rank): Handle => JSON.parse(world.text(peerHandleOf(1 + rank))))
    try {
      this.lanes = this.connect(handles)
    } catch (cause) {
      // Another rank has ended already, and has taken its lanes along.
      if (!(cause instanceof QueueError) || cause.issue !== "ENOENT") throw cause
      return
    }
    const own = machine.base(this.file) / 4
    handles.forEach((handle, from) => {
      if (from === this.worker.rank || !ledger.isLive(1 + from)) return
      const file = machine.find((handle.data as { readonly segment: string }).segment)
      if (file < 0) return
      const base = machine.base(file) / 4
      const { consumed, ring } = Layout.peers.lane(machine.memory(file), plan.ranks, plan.laneBytes, this.worker.rank)
      ledger.addLane({
        writer: 1 + from,
        reader: 1 + this.worker.rank,
        written: base + ring.geometry.written,
        consumed: base + consumed.index,
        wantsRoom: base + ring.geometry.wantsRoom,
        readerParked: own + Layout.peers.parked,
        writerParked: base + Layout.peers.parked,
        data: base * 4 + ring.geometry.data,
        capacity: ring.geometry.capacity,
        named: 0,
        rank: this.worker.rank,
        state: 0
      })
    })
    this.next()
  }

  private length(round: number, from: number, to: number): number {
    const draw = (round * 31 + from * 17 + to * 7 + this.process.plan.seed) % 11
    return draw === 0 ? 5000 : draw < 3 ? 900 : draw * 8
  }

  private receive(from: number, round: number, bytes: Uint8Array): void {
    const { scheduler } = this.process
    const { rank } = this.worker
    if (round !== this.got[from] || round > this.done + 1) {
      scheduler.fail(`MQ-1: rank ${rank} got exchange ${round} of rank ${from}, where ${this.got[from]} was due`)
    }
    if (!isIntact(bytes, round, this.length(round, from, rank))) {
      scheduler.fail(`MQ-1: what rank ${rank} got of rank ${from} in exchange ${round} has other bytes than were sent`)
    }
    this.got[from]!++
    if (this.isOut && round === this.done && --this.missing === 0) this.end()
  }

  private next(): void {
    const { plan } = this.process
    const { rank } = this.worker
    if (this.done === plan.rounds) return
    const others = Array.from({ length: plan.ranks }, (_, to) => to).filter((to) => to !== rank)
    this.isOut = true
    this.missing = others.filter((from) => this.got[from] === this.done).length
    for (const to of others) this.lanes!.send(to, 0, this.done, bytesOf(this.done, this.length(this.done, rank, to)))
    if (this.missing === 0) this.end()
    else this.lanes!.look?.()
  }

  private end(): void {
    this.isOut = false
    this.done++
    this.process.ledger.round(this.worker.life)
    this.process.loop.soon(() => this.next())
  }
}
