import { assert, describe, it } from "@effect/vitest"
import { MappedMemory } from "../src/internal/memory.ts"
import { Requests } from "../src/internal/requests.ts"
import { Assembly, LAPPED, Reader, Ring } from "../src/internal/ring.ts"
import { Writer } from "../src/internal/writer.ts"
import { random } from "./fixtures/random.ts"

const seeds = Array.from({ length: 25 }, (_, seed) => seed)

interface Plan {
  readonly ranks: number
  readonly ringBytes: number
  readonly laneBytes: number
}

/** A memory in which the other side may act before any atomic access. */
class InterruptedMemory extends MappedMemory {
  interrupt: (() => void) | undefined

  private before(): void {
    const { interrupt } = this
    if (interrupt === undefined) return
    this.interrupt = undefined
    interrupt()
    this.interrupt = interrupt
  }

  override load(word: number): number {
    this.before()
    return super.load(word)
  }

  override store(word: number, value: number): void {
    this.before()
    super.store(word, value)
  }

  override compareExchange(word: number, expected: number, value: number): number {
    this.before()
    return super.compareExchange(word, expected, value)
  }
}

/** A group in one memory: the request ring, and for each rank its place in it and a private lane. Positions begin just below their wrap. */
const makeGroup = ({ laneBytes, ranks, ringBytes }: Plan) => {
  const data = 4096
  const memory = new InterruptedMemory(new ArrayBuffer(data + ringBytes + ranks * laneBytes))
  const start = -64
  const ring = new Ring(memory, { written: 0, wantsRoom: 1, data, capacity: ringBytes, tags: 2 })
  memory.store(0, start)
  const requests = new Requests(ring, 50)
  const workers = Array.from({ length: ranks }, (_, rank) => {
    const consumed = { memory, index: 16 + rank * 8 }
    const laneConsumed = { memory, index: 16 + rank * 8 + 1 }
    const lane = new Ring(memory, {
      written: 16 + rank * 8 + 2,
      wantsRoom: 16 + rank * 8 + 3,
      data: data + ringBytes + rank * laneBytes,
      capacity: laneBytes,
      tags: 0
    })
    const connect = () => requests.connect(rank, consumed, new Writer(lane, laneConsumed))
    connect()
    const assembly = new Assembly(2 ** 31, 256)
    return {
      rank,
      consumed,
      connect,
      private: new Reader(lane, laneConsumed, assembly),
      ring: new Reader(ring, consumed, assembly, rank),
      got: [] as Array<Uint8Array>
    }
  })
  return { memory, requests, ring, workers }
}
type Worker = ReturnType<typeof makeGroup>["workers"][number]

/** What a worker does when it looks, and stops doing after so many frames. */
const look = (worker: Worker, limit: number): void => {
  const keep = () => worker.got.push(worker.ring.assembly.own())
  const word = worker.ring.load()
  let left = limit
  for (let taken = worker.private.take(); taken !== "empty"; taken = worker.private.take()) {
    assert.notStrictEqual(taken, "junk")
    if (taken === "frame") {
      keep()
      if (--left <= 0) return
    }
  }
  if ((word & LAPPED) !== 0) return
  worker.ring.position = word
  for (let taken = worker.ring.take(); left > 0 && (taken === "frame" || taken === "part"); taken = worker.ring.take()) {
    if (taken === "frame") {
      keep()
      left--
    }
    if (left === 0) return
  }
}

const frame = (number: number, length: number): Uint8Array => {
  const bytes = new Uint8Array(Math.max(4, length)).fill(number)
  new DataView(bytes.buffer).setUint32(0, number)
  return bytes
}

const sameFrames = (worker: Worker, expected: ReadonlyArray<Uint8Array>, what: string) => {
  assert.strictEqual(worker.got.length, expected.length, `${what}, rank ${worker.rank}: number of frames`)
  for (let index = 0; index < expected.length; index++) {
    assert.strictEqual(Buffer.compare(worker.got[index]!, expected[index]!), 0, `${what}, rank ${worker.rank}, frame ${index}`)
  }
}

describe("the ring", () => {
  it.each(seeds)(
    "RG-1 RG-2 RG-3 MQ-1: every rank gets the frames that name it, once, in order; readers stop and go, are lapped and come back (seed %i)",
    (seed) => {
      const next = random(seed)
      const ranks = 1 + next(5)
      const group = makeGroup({ ranks, ringBytes: 4096 << next(3), laneBytes: 4096 })
      const expected: Array<Array<Uint8Array>> = Array.from({ length: ranks }, () => [])
      let now = 1
      let laps = 0
      const frozen = new Set<number>()
      for (let number = 0; number < 1500; number++) {
        const kind = next(20)
        const bytes = frame(number, kind === 0 ? next(40_000) : kind < 4 ? next(3000) : next(120))
        const to = Array.from({ length: ranks }, (_, rank) => rank).filter(() => next(3) > 0)
        for (const rank of to) expected[rank]!.push(bytes)
        group.requests.publish(bytes, to, () => now)
        if (next(60) === 0) frozen.add(next(ranks))
        if (next(40) === 0) frozen.clear()
        for (const worker of group.workers) if (!frozen.has(worker.rank) && next(2) === 0) look(worker, 1 + next(4))
        now += next(12)
        group.requests.flush(now)
        laps += [...group.requests.ranks.values()].filter((rank) => rank.lapped).length
      }
      for (let round = 0; round < 20_000 && group.workers.some((worker) => worker.got.length < expected[worker.rank]!.length); round++) {
        for (const worker of group.workers) look(worker, 8)
        now += 1
        group.requests.flush(now)
      }
      for (const worker of group.workers) sameFrames(worker, expected[worker.rank]!, `seed ${seed}`)
      if (ranks > 1 && seed === 24) assert.isAbove(laps, 0)
    }
  )

  it.each(seeds)("MQ-1: the same while the other side acts between any two atomic accesses (seed %i)", (seed) => {
    const next = random(1000 + seed)
    const ranks = 2 + next(2)
    const { memory, requests, workers } = makeGroup({ ranks, ringBytes: 4096, laneBytes: 4096 })
    const expected: Array<Array<Uint8Array>> = Array.from({ length: ranks }, () => [])
    let number = 0
    let laps = 0
    // Time leaps, so that whoever keeps the ring full is lapped at once.
    let now = 0
    const write = () => {
      const bytes = frame(number++, next(8) === 0 ? next(6000) : next(400))
      const to = Array.from({ length: ranks }, (_, rank) => rank).filter(() => next(3) > 0)
      for (const rank of to) expected[rank]!.push(bytes)
      requests.publish(bytes, to, () => now)
      now += 100
      requests.flush(now)
      laps += [...requests.ranks.values()].filter((rank) => rank.lapped).length
    }
    const lookAtOne = () => look(workers[next(next(2) === 0 ? 1 : ranks)]!, 1 + next(6))
    for (let step = 0; step < 4000; step++) {
      const writes = number < 1500 && next(3) === 0
      memory.interrupt = () => {
        if (next(6) > 0) return
        if (writes) lookAtOne()
        else if (number < 1500) write()
      }
      if (writes) write()
      else lookAtOne()
    }
    memory.interrupt = undefined
    for (let round = 0; round < 20_000 && workers.some((worker) => worker.got.length < expected[worker.rank]!.length); round++) {
      for (const worker of workers) look(worker, 8)
      requests.flush(now++)
    }
    for (const worker of workers) sameFrames(worker, expected[worker.rank]!, `seed ${seed}`)
    assert.isAbove(laps, 0)
  })

  it("RG-3: a rank that was disconnected has nothing more of the ring, though frames for its next incarnation lie there", () => {
    const { requests, workers: [former] } = makeGroup({ ranks: 1, ringBytes: 4096, laneBytes: 4096 })
    requests.publish(frame(1, 100), [0], () => 0)
    look(former!, 1)
    assert.strictEqual(former!.got.length, 1)
    requests.publish(frame(2, 100), [0], () => 0)
    requests.disconnect(0)
    look(former!, 1)
    assert.strictEqual(former!.ring.take(), "moved")
    assert.strictEqual(former!.got.length, 1)
  })

  it("MQ-3: a rank that does not read is lapped 50 ms after the ring is full, not before, and delays the others no longer", () => {
    const { requests, workers } = makeGroup({ ranks: 2, ringBytes: 4096, laneBytes: 4096 })
    const [quick, slow] = workers as [Worker, Worker]
    for (let number = 0; number < 100; number++) requests.publish(frame(number, 200), [0, 1], () => 1000)
    look(quick, 1000)
    const before = quick.got.length
    requests.flush(1049)
    look(quick, 1000)
    assert.strictEqual(quick.got.length, before)
    assert.isFalse(requests.ranks.get(1)!.lapped)
    for (let round = 0; round < 10; round++) {
      requests.flush(1050)
      look(quick, 1000)
    }
    assert.strictEqual(quick.got.length, 100)
    assert.isTrue(requests.ranks.get(1)!.lapped)
    assert.strictEqual(requests.due(1050), undefined)
    for (let round = 0; round < 100; round++) {
      look(slow, 3)
      requests.flush(1060)
    }
    assert.strictEqual(slow.got.length, 100)
    assert.isFalse(requests.ranks.get(1)!.lapped)
    requests.publish(frame(100, 200), [0, 1], () => 1100)
    look(slow, 1)
    assert.strictEqual(new DataView(slow.got[100]!.buffer).getUint32(0), 100)
  })

  it.each(seeds)("MQ-1: a frame that has room at once goes into the ring from wherever its parts lie (seed %i)", (seed) => {
    const next = random(2000 + seed)
    const { requests, workers } = makeGroup({ ranks: 2, ringBytes: 16384, laneBytes: 4096 })
    const expected: Array<Uint8Array> = []
    let put = 0
    for (let number = 0; number < 300; number++) {
      const whole = frame(number, next(4) === 0 ? next(9000) : next(300))
      const length = next(whole.length)
      const cut = length + next(whole.length - length)
      const more = [whole.subarray(length, cut), whole.subarray(cut)].filter((part) => part.length > 0)
      expected.push(whole)
      if (requests.takes(whole.length, more.length)) {
        // As an encoder's memory, it goes on behind the frame's first part.
        requests.put(new Uint8Array([...whole.subarray(0, length), 1, 2, 3]), length, more, [0, 1])
        assert.isEmpty(requests.writer.waiting)
        put++
      } else {
        requests.publish(whole, [0, 1], () => 0)
      }
      for (const worker of workers) if (next(3) > 0) look(worker, 1 + next(4))
      requests.flush(0)
    }
    for (let round = 0; round < 1000; round++) {
      for (const worker of workers) look(worker, 8)
      requests.flush(0)
    }
    for (const worker of workers) sameFrames(worker, expected, `seed ${seed}`)
    assert.isAbove(put, 20)
  })

  it("nobody is lapped while everybody is equally far behind", () => {
    const { requests, workers } = makeGroup({ ranks: 2, ringBytes: 4096, laneBytes: 4096 })
    for (let number = 0; number < 50; number++) requests.publish(frame(number, 200), [0, 1], () => 0)
    requests.flush(10_000)
    assert.isFalse([...requests.ranks.values()].some((rank) => rank.lapped))
    for (let round = 0; round < 50; round++) {
      for (const worker of workers) look(worker, 5)
      requests.flush(10_000)
    }
    for (const worker of workers) assert.strictEqual(worker.got.length, 50)
  })

  it("a rank that no frame names keeps no room", () => {
    const { requests, workers } = makeGroup({ ranks: 2, ringBytes: 4096, laneBytes: 4096 })
    for (let number = 0; number < 500; number++) {
      requests.publish(frame(number, 200), [0], () => 0)
      look(workers[0]!, 10)
    }
    assert.strictEqual(workers[0]!.got.length, 500)
    requests.publish(frame(500, 200), [1], () => 0)
    look(workers[1]!, 10)
    assert.strictEqual(workers[1]!.got.length, 1)
  })

  it("what a rank read of the ring while it was lapped is void: its compare-exchange fails", () => {
    const { memory, requests, workers } = makeGroup({ ranks: 2, ringBytes: 4096, laneBytes: 4096 })
    const slow = workers[1]!
    requests.publish(frame(0, 100), [0, 1], () => 0)
    // Between its copy of the frame and its compare-exchange the writer laps it.
    const read = memory.read.bind(memory)
    memory.read = (...args) => {
      read(...args)
      memory.read = read
      for (let number = 1; number < 60; number++) requests.publish(frame(number, 200), [0, 1], () => 1)
      look(workers[0]!, 100)
      requests.flush(100)
    }
    assert.strictEqual(slow.ring.take(), "moved")
    for (let round = 0; round < 60; round++) {
      look(slow, 2)
      look(workers[0]!, 100)
      requests.flush(101)
    }
    assert.deepStrictEqual(slow.got.map((bytes) => new DataView(bytes.buffer).getUint32(0)), Array.from({ length: 60 }, (_, i) => i))
  })

  it("a rank that is connected again reads what is published from then on, though a frame for the former one was half in the ring", () => {
    const { requests, workers } = makeGroup({ ranks: 2, ringBytes: 4096, laneBytes: 4096 })
    requests.publish(frame(1, 20_000), [0, 1], () => 0)
    requests.disconnect(1)
    workers[1]!.connect()
    requests.publish(frame(2, 100), [1], () => 0)
    for (let round = 0; round < 50; round++) {
      for (const worker of workers) look(worker, 5)
      requests.flush(round)
    }
    assert.deepStrictEqual(workers.map((worker) => worker.got.map((bytes) => bytes.length)), [[20_000], [100]])
  })

  it.each(seeds)(
    "MQ-4: bytes that no writer made are told as junk, or leave the reader waiting, but are never a frame (seed %i)",
    (seed) => {
      const next = random(seed)
      const { memory, ring, workers } = makeGroup({ ranks: 1, ringBytes: 4096, laneBytes: 4096 })
      const words = Array.from({ length: 1024 }, () => (next(2) === 0 ? next(2 ** 32) : next(3000)) | 0)
      words.forEach((word, index) => memory.set(1024 + index, word))
      ring.publish((ring.written() + 512) | 0)
      assert.strictEqual(workers[0]!.ring.take(), "junk")
    }
  )
})
