"""Steps of a group by one call of a Ray actor for each rank, as executors on Ray did them before message queues.

An actor hands what it gets to its rank's worker by a ring in shared memory, and the answer back by another (`ring.py`). Standard input brings a letter, a length and bytes: `S` has all ranks make a step,
and their answers follow, in the order of steps; `B` times that many fan-outs of 256 bytes to the same actors, which answer at once, and answers with the
times in microseconds. A dot is said when all actors are connected. The end of standard input is the end. Arguments: the word `phalanx`, the cluster's address, for each rank a file
that tells of its rings.
"""
import asyncio
import collections
import json
import os
import queue
import struct
import sys
import threading
import time

out = os.fdopen(os.dup(1), "wb", buffering=0)
os.dup2(2, 1)

import ray  # noqa: E402  (what it prints at its import belongs to standard error)

import ring  # noqa: E402


@ray.remote(num_cpus=0)
class Rank:
    async def connect(self, path):
        with open(path) as file:
            told = json.load(file)
        self.waiting, self.early, self.turn, self.is_gone = collections.deque(), {}, 0, False
        self.asked, self.answers = ring.Writer(told["asked"]), ring.Reader(told["answers"])
        loop = asyncio.get_running_loop()
        self.answers.listen(loop, lambda data: self.waiting.popleft().set_result(data), self.end)
        # A worker that is killed closes nothing.
        worker = os.pidfd_open(self.asked.load(self.asked.at.pid))
        loop.add_reader(worker, lambda: (loop.remove_reader(worker), self.end()))

    def end(self):
        self.is_gone = True
        for answer in [*self.waiting, *(answer for _, answer in self.early.values())]:
            answer.set_exception(ConnectionError("the worker is gone"))
        self.waiting.clear()
        self.early.clear()

    async def step(self, number, data):
        if self.is_gone:
            raise ConnectionError("the worker is gone")
        answer = asyncio.get_running_loop().create_future()
        # Ray may start the second of two calls before the first one. A step reaches the worker in its turn, without waiting for the answer to the one before it.
        self.early[number] = data, answer
        while self.turn in self.early:
            data, its = self.early.pop(self.turn)
            self.turn += 1
            self.waiting.append(its)
            self.asked.publish(data)
        return await answer

    async def echo(self, data):
        return data


def answer(asked):
    """Answers in the order of what was asked: a step's calls are under way, a fan-out to be timed begins when it is its turn."""
    try:
        while True:
            it = asked.get()
            for data in [time_echo(it)] if isinstance(it, int) else ray.get(it):
                out.write(struct.pack("<I", len(data)) + data)
    except Exception as error:
        print(error, file=sys.stderr)
        os._exit(1)


def time_echo(count):
    times, data = [], bytes(256)
    for _ in range(count):
        began = time.perf_counter_ns()
        ray.get([rank.echo.remote(data) for rank in ranks])
        times.append((time.perf_counter_ns() - began) / 1000)
    return json.dumps(times).encode()


ray.init(address=sys.argv[2], log_to_driver=False, logging_level="ERROR")
ranks = [Rank.remote() for _ in sys.argv[3:]]
ray.get([rank.connect.remote(path) for rank, path in zip(ranks, sys.argv[3:])])
out.write(b".")
asked = queue.SimpleQueue()
threading.Thread(target=answer, args=(asked,), daemon=True).start()
steps = 0
while head := sys.stdin.buffer.read(5):
    kind, length = struct.unpack("<cI", head)
    if kind == b"S":
        data = sys.stdin.buffer.read(length)
        asked.put([rank.step.remote(steps, data) for rank in ranks])
        steps += 1
    else:
        asked.put(length)
os._exit(0)
