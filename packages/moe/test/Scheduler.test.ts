import { assert, describe, it } from "@effect/vitest"
import type { Plan } from "@phalanx/moe/Moe"
import { greedy } from "@phalanx/moe/Sampling"
import * as Scheduler from "@phalanx/moe/Scheduler"

const limits = { requests: 2, rows: 8, chunk: 4, context: 512 }
const opening = (id: number, bytes: number, maxTokens = 3) => ({ id, tokens: new Uint8Array(bytes), maxTokens, sampling: greedy })
const runs = (plan: Plan | undefined) => plan?.parts.map((part) => part.run.map(({ id, take }) => [id, take]))

describe("Scheduler", () => {
  it("SC-1: opens requests in order, each where the fewest run", () => {
    const scheduler = Scheduler.make(2, limits)
    for (const id of [0, 1, 2, 3, 4]) scheduler.submit(opening(id, 2))
    const plan = scheduler.plan()!
    assert.deepStrictEqual(plan.parts.map((part) => part.open.map(({ id }) => id)), [[0, 2], [1, 3]])
    assert.deepStrictEqual(scheduler.running(), [2, 2])
    assert.strictEqual(scheduler.waiting(), 1)
  })
  it("SC-2: a long prompt advances by chunks, and writers go first", () => {
    const scheduler = Scheduler.make(1, limits)
    scheduler.submit(opening(0, 2))
    assert.deepStrictEqual(runs(scheduler.plan()), [[[0, 2]]])
    scheduler.submit(opening(1, 10))
    assert.deepStrictEqual(runs(scheduler.plan()), [[[0, 1], [1, 4]]])
    assert.deepStrictEqual(runs(scheduler.plan()), [[[0, 1], [1, 4]]])
    assert.deepStrictEqual(runs(scheduler.plan()), [[[1, 2]]])
  })
  it("SC-3: plans ahead without replies, never past the limits it knows", () => {
    const scheduler = Scheduler.make(1, limits)
    scheduler.submit(opening(0, 1, 3))
    assert.deepStrictEqual([1, 2, 3, 4].map(() => runs(scheduler.plan())), [[[[0, 1]]], [[[0, 1]]], [[[0, 1]]], undefined])
    const full = Scheduler.make(1, { ...limits, rows: 600, chunk: 600 })
    full.submit(opening(0, 511, 100))
    assert.deepStrictEqual([1, 2, 3].map(() => runs(full.plan())), [[[[0, 511]]], [[[0, 1]]], undefined])
  })
  it("SC-4: a request ends with byte 0, at its limit, or where the context is full, and later bytes are left out", () => {
    const scheduler = Scheduler.make(1, { ...limits, requests: 4 })
    scheduler.submit(opening(0, 1))
    scheduler.submit(opening(1, 1, 2))
    scheduler.submit(opening(2, 512))
    scheduler.plan()
    assert.deepStrictEqual(scheduler.receive([[0, 7], [1, 8], [2, 9]]).map(({ finish }) => finish), [undefined, undefined, "length"])
    assert.deepStrictEqual(scheduler.receive([[0, 0], [1, 8]]).map(({ finish }) => finish), ["stop", "length"])
    assert.deepStrictEqual(scheduler.receive([[0, 5], [1, 5]]), [])
    assert.deepStrictEqual(scheduler.running(), [0])
  })
  it("SC-5: a cancelled request is closed in the next plan, or leaves the queue", () => {
    const scheduler = Scheduler.make(1, { ...limits, requests: 1 })
    scheduler.submit(opening(0, 1))
    scheduler.submit(opening(1, 1))
    scheduler.plan()
    scheduler.cancel(1)
    assert.strictEqual(scheduler.waiting(), 0)
    scheduler.cancel(0)
    assert.deepStrictEqual(scheduler.plan()?.close, [0])
    assert.strictEqual(scheduler.plan(), undefined)
    assert.deepStrictEqual(scheduler.receive([[0, 5]]), [])
  })
  it("SC-6: no step exceeds the limit of rows", () => {
    const scheduler = Scheduler.make(2, { requests: 16, rows: 8, chunk: 4, context: 512 })
    for (let id = 0; id < 40; id++) scheduler.submit(opening(id, 1 + (id * 7) % 30, 1 + id % 9))
    let served = 0
    for (let plan = scheduler.plan(); plan !== undefined; plan = scheduler.plan()) {
      for (const part of plan.parts) assert.isAtMost(part.run.reduce((sum, { take }) => sum + take, 0), 8)
      served += scheduler.receive(plan.parts.flatMap((part) => part.run.map(({ id }) => [id, 1] as const))).filter((t) => t.finish).length
    }
    assert.strictEqual(served, 40)
  })
  it("SC-7: rolls back to what has come: steps are planned again, and what an owner has lost is opened again with its bytes", () => {
    const scheduler = Scheduler.make(2, limits)
    for (const id of [0, 1]) scheduler.submit(opening(id, 5, 9))
    scheduler.plan()
    scheduler.plan()
    scheduler.receive([[0, 65], [1, 66]])
    scheduler.plan()
    assert.deepStrictEqual(scheduler.kept(), [[{ id: 0, received: 1 }], [{ id: 1, received: 1 }]])
    scheduler.rollBack(new Set([1]))
    const plan = scheduler.plan()!
    assert.deepStrictEqual(runs(plan), [[[0, 1]], [[1, 4]]])
    const [again] = plan.parts[1]!.open
    assert.deepStrictEqual([again!.id, again!.maxTokens, [...again!.tokens]], [1, 8, [0, 0, 0, 0, 0, 66]])
    assert.deepStrictEqual(runs(scheduler.plan()), [[[0, 1]], [[1, 2]]])
  })
  it("SC-7: what was to be closed or dropped in steps that were lost is closed again, and what was called off since is, too", () => {
    const scheduler = Scheduler.make(1, { ...limits, requests: 1 })
    for (const id of [0, 1, 2]) scheduler.submit({ ...opening(id, 1), name: `${id}` })
    assert.deepStrictEqual(scheduler.plan()!.keep.map(({ id }) => id), [1, 2])
    scheduler.receive([[0, 65]])
    scheduler.cancel(1)
    scheduler.drop(77)
    assert.deepStrictEqual(scheduler.plan()!.close, [1, 77])
    scheduler.rollBack(new Set())
    scheduler.cancel(2)
    const again = scheduler.plan()!
    assert.deepStrictEqual([again.close, again.keep], [[1, 77, 2], []])
    scheduler.receive([[0, 66]])
    scheduler.rollBack(new Set())
    assert.deepStrictEqual(scheduler.plan()!.close, [])
  })
  it("SC-8: goes on with fewer owners: requests move with theirs, and those of one that is gone are opened again", () => {
    const scheduler = Scheduler.make(3, limits)
    for (const id of [0, 1, 2]) scheduler.submit(opening(id, 2, 9))
    scheduler.plan()
    scheduler.receive([[0, 65], [1, 66], [2, 67]])
    scheduler.resize(2, [0, undefined, 1])
    scheduler.rollBack(new Set())
    assert.deepStrictEqual(scheduler.kept().map((kept) => kept.map(({ id }) => id)), [[0], [2]])
    const plan = scheduler.plan()!
    assert.deepStrictEqual(plan.parts.map(({ open }) => open.map(({ id, tokens }) => [id, ...tokens])), [[[1, 0, 0, 66]], []])
    assert.deepStrictEqual(runs(plan), [[[0, 1], [1, 3]], [[2, 1]]])
  })
})
