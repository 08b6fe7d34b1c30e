import { assert, describe, it } from "@effect/vitest"
import * as Placement from "@phalanx/core/Placement"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** `"0:c 1:a"`: bundles and their nodes, each of one CPU unless it is said to hold something else. */
const bundles = (text: string, resources: Record<number, Placement.Resources> = {}): ReadonlyArray<Placement.Bundle> =>
  text.split(" ").filter((word) => word !== "").map((word) => {
    const [index, node] = word.split(":")
    return { index: Number(index), node: node!, resources: resources[Number(index)] ?? { CPU: 1, GPU: 1 } }
  })
const shown = (placed: ReadonlyArray<{ readonly index: number; readonly node: string }>) =>
  placed.map(({ index, node }) => `${index}${node}`).join(" ")

const node = (
  id: string,
  free: Placement.Resources,
  options: { readonly total?: Placement.Resources; readonly driver?: boolean } = {}
) => ({
  id,
  address: `10.0.0.${id.charCodeAt(0) - 96}`,
  driver: options.driver ?? id === "a",
  total: options.total ?? free,
  free
})
const cpus = (...amounts: ReadonlyArray<number>) => amounts.map((CPU) => ({ CPU }))

const refused = (result: Result.Result<unknown, Placement.PlacementError>) => {
  assert.isTrue(Result.isFailure(result))
  return Result.isFailure(result) ? result.failure : assert.fail()
}

describe("the order of bundles", () => {
  for (
    const [where, expected] of [
      ["0:c 1:a 2:b 3:c 4:a 5:b", "1a 4a 2b 5b 0c 3c"],
      ["0:b 1:b 2:a 3:a", "2a 3a 0b 1b"],
      ["0:c 1:b 2:c 3:b", "1b 3b 0c 2c"],
      ["0:a 1:a 2:a", "0a 1a 2a"],
      ["", ""]
    ] as const
  ) {
    it(`PL-1: with the driver on a, bundles ${where === "" ? "of an empty group" : where} come as ${expected === "" ? "none" : expected}`, () =>
      assert.strictEqual(shown(Placement.order(bundles(where), "a")), expected))
  }

  it("PL-2: bundles without what a worker asks for are left out: 0:a without a GPU, 1:b, 2:a come as 2a 1b", () => {
    const placed = Placement.seats(bundles("0:a 1:b 2:a", { 0: { CPU: 1 } }), { ranks: 2, driver: "a", asked: { GPU: 1 } })
    assert.strictEqual(shown(Result.getOrThrow(placed)), "2a 1b")
  })
})

describe("ranks and bundles", () => {
  it("PL-2: a group with more bundles than ranks gives the first ones, and its local sizes count ranks alone", () => {
    const placed = Result.getOrThrow(Placement.seats(bundles("0:b 1:a 2:a 3:a"), { ranks: 2, driver: "a" }))
    assert.deepStrictEqual(
      placed.map(({ index, localRank, localWorldSize, node, rank }) => [rank, index, node, localRank, localWorldSize]),
      [[0, 1, "a", 0, 2], [1, 2, "a", 1, 2]]
    )
  })

  it("PL-2: fewer bundles than ranks is an error with both numbers", () => {
    const error = refused(Placement.seats(bundles("0:a 1:a", { 1: { CPU: 1 } }), { ranks: 2, driver: "a", asked: { CPU: 1, GPU: 1 } }))
    assert.strictEqual(error.message, "1 of 2 bundles hold what a worker asks for (CPU 1, GPU 1), and there are 2 ranks")
  })

  it("PL-2: a bundle with devices for two workers is refused, one with more processors is not", () => {
    const error = refused(Placement.seats(bundles("0:a", { 0: { CPU: 1, GPU: 2 } }), { ranks: 1, driver: "a", asked: { GPU: 1 } }))
    assert.match(error.message, /^bundle 0 holds CPU 1, GPU 2, and its one worker asks for GPU 1: make more and smaller bundles/)
    for (const asked of [{ GPU: 2 }, { CPU: 1, GPU: 2 }]) {
      assert.isTrue(Result.isSuccess(Placement.seats(bundles("0:a", { 0: { CPU: 8, GPU: 2 } }), { ranks: 1, driver: "a", asked })))
    }
  })

  it("PL-3: bundles that are named go to the ranks in the order named", () => {
    const of = (...named: ReadonlyArray<number>) =>
      shown(Result.getOrThrow(Placement.seats(bundles("0:a 1:a 2:a 3:b"), { ranks: 2, driver: "a", bundles: named })))
    assert.deepStrictEqual([of(2, 3), of(3, 2), of(2, 1)], ["2a 3b", "3b 2a", "2a 1a"])
  })

  for (
    const [what, named, tag, message] of [
      ["a bundle that is named twice", [1, 1], "Repeated", "bundle 1 is named twice in 1, 1: one worker runs in a bundle"],
      ["one bundle too many", [0, 1, 2], "WrongCount", "3 bundles are named (0, 1, 2) for 2 ranks: name one for each rank"],
      ["no bundle", [], "WrongCount", "0 bundles are named () for 2 ranks: name one for each rank"],
      ["a bundle that there is not", [0, 4], "OutOfRange", "there is no bundle 4: the placement group has 0 … 3"],
      ["a negative number", [-1, 0], "OutOfRange", "there is no bundle -1: the placement group has 0 … 3"],
      ["a fraction", [0.5, 0], "OutOfRange", "there is no bundle 0.5: the placement group has 0 … 3"],
      ["a bundle that is too small", [0, 3], "TooSmall", "bundle 3 holds CPU 1, and a worker asks for CPU 1, GPU 1"]
    ] as const
  ) {
    it(`PL-3: ${what} is an error of its own`, () => {
      const group = bundles("0:a 1:a 2:a 3:b", { 3: { CPU: 1 } })
      const error = refused(Placement.seats(group, { ranks: 2, driver: "a", asked: { CPU: 1, GPU: 1 }, bundles: named }))
      assert.deepStrictEqual([error.reason._tag, error.message], [tag, message])
    })
  }

  it("PL-4: local ranks count the ranks of a node from 0, whichever bundles they have", () => {
    const placed = Placement.seats(bundles("0:a 1:b 2:a 3:b 4:b"), { ranks: 5, driver: "a", bundles: [4, 0, 1, 2, 3] })
    assert.deepStrictEqual(
      Result.getOrThrow(placed).map(({ localRank, localWorldSize, node }) => [node, localRank, localWorldSize]),
      [["b", 0, 3], ["a", 0, 2], ["b", 1, 3], ["a", 1, 2], ["b", 2, 3]]
    )
  })
})

describe("bundles and nodes", () => {
  const nodes = [node("c", { CPU: 4 }), node("b", { CPU: 2 }), node("a", { CPU: 2, GPU: 1 })]
  for (
    const [strategy, asked, expected] of [
      ["pack", cpus(1, 1), ["a", "a"]],
      ["pack", cpus(1, 1, 1, 1), ["a", "a", "b", "b"]],
      ["pack", cpus(2, 3), ["a", "c"]],
      ["pack", cpus(3, 1, 1), ["c", "a", "a"]],
      ["spread", cpus(1, 1, 1), ["a", "b", "c"]],
      ["spread", cpus(1, 1, 1, 1, 1, 1), ["a", "b", "c", "a", "b", "c"]],
      ["spread", cpus(4, 1), ["c", "a"]],
      ["strict-pack", cpus(1, 1), ["a", "a"]],
      ["strict-pack", cpus(1, 1, 1), ["c", "c", "c"]],
      ["strict-spread", cpus(1, 1, 1), ["a", "b", "c"]],
      ["strict-spread", cpus(1, 3, 2), ["b", "c", "a"]],
      ["strict-pack", [], []]
    ] as const
  ) {
    const what = asked.length === 0 ? "no bundles" : `CPU ${asked.map(({ CPU }) => CPU).join(", ")}`
    it(`PL-5: ${strategy} of ${what} goes to ${expected.join(", ") || "no node"}`, () =>
      assert.deepStrictEqual(Result.getOrThrow(Placement.fit(asked, strategy, nodes)), expected))
  }

  it("PL-5: devices and fractions count as any amount does", () => {
    assert.deepStrictEqual(Result.getOrThrow(Placement.fit([{ CPU: 1 }, { CPU: 1, GPU: 1 }, { CPU: 0.1 }], "spread", nodes)), [
      "b",
      "a",
      "c"
    ])
    const tenths = Array.from({ length: 10 }, () => ({ CPU: 0.1 }))
    assert.isTrue(Result.isSuccess(Placement.fit(tenths, "strict-pack", [node("a", { CPU: 1 })])))
    assert.isTrue(Result.isFailure(Placement.fit([...tenths, { CPU: 0.1 }], "strict-pack", [node("a", { CPU: 1 })])))
  })

  it("PL-5: what the first choice would leave no room for is laid otherwise", () => {
    // The driver's node is the only one with a GPU, and both bundles would fit there alone.
    assert.deepStrictEqual(Result.getOrThrow(Placement.fit([{ CPU: 2 }, { CPU: 1, GPU: 1 }], "pack", nodes)), ["b", "a"])
  })

  it("PL-6: what does not fit is told with what was asked and what every node has free", () => {
    const busy = [node("b", { CPU: 1 }, { total: { CPU: 4 } }), node("a", { CPU: 0 }, { total: { CPU: 2, GPU: 1 } })]
    const error = refused(Placement.fit([...cpus(2, 2), { GPU: 1 }], "strict-spread", busy))
    assert.strictEqual(
      error.message,
      "strict-spread of 2 × {CPU 2}, {GPU 1} does not fit: node a (10.0.0.1, the driver's) has CPU 0 of 2, GPU 0 of 1 free; " +
        "node b (10.0.0.2) has CPU 1 of 4, GPU 0 of 0 free"
    )
    assert.match(refused(Placement.fit(cpus(1), "pack", [])).message, /there is no node$/)
  })

  it("PL-6: many bundles on many nodes are judged in bounded time", () => {
    const many = "abcdefghijkl".split("").map((id, at) => node(id, { CPU: 7 + at % 3 }))
    const asked = cpus(...Array.from({ length: 45 }, (_, at) => 2 + at % 3))
    const began = performance.now()
    assert.isTrue(Result.isFailure(Placement.fit(asked, "pack", many)))
    assert.isBelow(performance.now() - began, 10_000)
  })

  const small = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))
  const instance = {
    strategy: Placement.Strategy,
    asked: Schema.Array(Schema.Struct({ CPU: small(3), GPU: small(1) })).check(Schema.isMaxLength(5)),
    free: Schema.Array(Schema.Struct({ CPU: small(6), GPU: small(2) })).check(Schema.isMaxLength(4)),
    driver: small(3)
  }
  /** Whether any of all arrangements keeps to the strategy, tried one by one. */
  const possible = (
    asked: ReadonlyArray<Placement.Resources>,
    strategy: Placement.Strategy,
    nodes: ReadonlyArray<Placement.Node>,
    placed: ReadonlyArray<string> = []
  ): boolean =>
    placed.length === asked.length
      ? keeps(asked, strategy, nodes, placed)
      : nodes.some(({ id }) => possible(asked, strategy, nodes, [...placed, id]))
  const keeps = (
    asked: ReadonlyArray<Placement.Resources>,
    strategy: Placement.Strategy,
    nodes: ReadonlyArray<Placement.Node>,
    placed: ReadonlyArray<string>
  ): boolean =>
    nodes.every(({ free, id }) =>
      ["CPU", "GPU"].every((name) =>
        asked.reduce((sum, resources, at) => sum + (placed[at] === id ? resources[name]! : 0), 0) <= free[name]!
      )
    ) && (strategy !== "strict-pack" || new Set(placed).size <= 1) &&
    (strategy !== "strict-spread" || new Set(placed).size === asked.length)

  it.prop("PL-5: every request that can be placed is placed as its strategy says, and every rank once", instance, (given) => {
    const nodes = given.free.map((free, at) => node("abcd"[at]!, free, { driver: at === given.driver }))
    const found = Placement.fit(given.asked, given.strategy, nodes)
    assert.strictEqual(Result.isSuccess(found), possible(given.asked, given.strategy, nodes))
    if (Result.isFailure(found)) return
    assert.isTrue(keeps(given.asked, given.strategy, nodes, found.success))
    const group = given.asked.map((resources, index) => ({ index, node: found.success[index]!, resources }))
    const ranks = Result.getOrThrow(Placement.seats(group, { ranks: group.length, driver: "abcd"[given.driver]! }))
    assert.deepStrictEqual(ranks.map(({ rank }) => rank), group.map((_, rank) => rank))
    assert.deepStrictEqual(ranks.map(({ index }) => index).toSorted(), group.map(({ index }) => index))
    for (const { id } of nodes) {
      const here = ranks.filter((seat) => seat.node === id)
      assert.deepStrictEqual(here.map(({ localRank }) => localRank), here.map((_, at) => at))
      assert.isTrue(here.every(({ localWorldSize }) => localWorldSize === here.length))
    }
    const driver = ranks.findIndex((seat) => seat.node === "abcd"[given.driver])
    assert.isAtMost(driver, 0)
  }, { arbitrary: { runs: 200 } })

  it.prop("PL-1: the order of bundles and their nodes depends on what is given, not on the order it is given in", instance, (given) => {
    const nodes = given.free.map((free, at) => node("abcd"[at]!, free, { driver: at === given.driver }))
    const found = Placement.fit(given.asked, given.strategy, nodes)
    const again = Placement.fit(given.asked, given.strategy, nodes.toReversed())
    assert.deepStrictEqual(Result.mapError(again, String), Result.mapError(found, String))
    const group = given.asked.map((resources, index) => ({ index, node: "dbca"[(index * 7 + given.driver) % 4]!, resources }))
    assert.deepStrictEqual(Placement.order(group.toReversed(), "b"), Placement.order(group, "b"))
  }, { arbitrary: { runs: 100 } })
})
