"""Places experts with numpy, from the rules of the algorithm: the yardstick of the bench `eplb`.

Reads {load, physical, groups, nodes, ranks} in JSON lines, answers each with {micros, map}. `item by item` packs as vLLM does, one item of one
layer after the other; `all layers at once` does the same for all layers in each step, which is as fast as numpy lets it be.
"""
import json
import sys
import time

import numpy as np


def order(weight):
    return np.argsort(-weight, axis=-1, kind="stable")


def pack_item_by_item(weight, packs):
    rows, items = weight.shape
    room = items // packs
    pack = np.tile(np.arange(items), (rows, 1))
    place = np.zeros((rows, items), dtype=np.int64)
    if room == 1:
        return pack, place
    heaviest = order(weight)
    for row in range(rows):
        sums = np.zeros(packs)
        taken = np.zeros(packs, dtype=np.int64)
        for item in heaviest[row]:
            lightest = int(np.argmin(sums))
            pack[row, item] = lightest
            place[row, item] = taken[lightest]
            taken[lightest] += 1
            sums[lightest] = np.inf if taken[lightest] == room else sums[lightest] + weight[row, item]
    return pack, place


def pack_all_layers_at_once(weight, packs):
    rows, items = weight.shape
    room = items // packs
    pack = np.tile(np.arange(items), (rows, 1))
    place = np.zeros((rows, items), dtype=np.int64)
    if room == 1:
        return pack, place
    heaviest = order(weight)
    each = np.arange(rows)
    sums = np.zeros((rows, packs))
    taken = np.zeros((rows, packs), dtype=np.int64)
    for turn in range(items):
        item = heaviest[:, turn]
        lightest = np.argmin(sums, axis=1)
        pack[each, item] = lightest
        place[each, item] = taken[each, lightest]
        taken[each, lightest] += 1
        sums[each, lightest] += weight[each, item]
        full = taken[each, lightest] == room
        sums[each[full], lightest[full]] = np.inf
    return pack, place


def replicate(weight, physical):
    rows, logical = weight.shape
    copies = np.tile(np.arange(physical), (rows, 1))
    counts = np.ones((rows, logical), dtype=np.int64)
    each = np.arange(rows)
    for slot in range(logical, physical):
        busiest = np.argmax(weight / counts, axis=1)
        copies[:, slot] = busiest
        counts[each, busiest] += 1
    return copies, counts


def inverse(permutation):
    result = np.empty_like(permutation)
    np.put_along_axis(result, permutation, np.broadcast_to(np.arange(permutation.shape[1]), permutation.shape), axis=1)
    return result


def rebalance(load, physical, groups, nodes, ranks, pack):
    if groups % nodes != 0:
        groups, nodes = 1, 1
    layers, logical = load.shape
    size = logical // groups
    sums = load.reshape(layers, groups, size).sum(axis=2)
    home, place = pack(sums, nodes)
    position = ((home * (groups // nodes) + place)[:, :, None] * size + np.arange(size)).reshape(layers, logical)
    resident = inverse(position)
    own = np.take_along_axis(load, resident, axis=1).reshape(layers * nodes, logical // nodes)
    copies, counts = replicate(own, physical // nodes)
    share = np.take_along_axis(own / counts, copies, axis=1)
    rank, place = pack(share, ranks // nodes)
    slot = inverse(rank * (physical // ranks) + place)
    expert = np.take_along_axis(copies, slot, axis=1).reshape(layers, nodes, -1)
    expert = (expert + (np.arange(nodes) * (logical // nodes))[None, :, None]).reshape(layers, physical)
    return np.take_along_axis(resident, expert, axis=1)


packings = {"item by item": pack_item_by_item, "all layers at once": pack_all_layers_at_once}

for line in sys.stdin:
    asked = json.loads(line)
    load = np.array(asked["load"], dtype=np.float32)
    start = time.perf_counter()
    result = rebalance(load, asked["physical"], asked["groups"], asked["nodes"], asked["ranks"], packings[asked["packing"]])
    micros = (time.perf_counter() - start) * 1e6
    print(json.dumps({"micros": micros, "map": result.tolist()}), flush=True)
