"""The agent: an actor in a bundle that starts worker processes and tells what becomes of them.

It is pickled by value, so that a host needs no file of this project to run it.
"""
import asyncio
import base64
import codecs
import collections
import fcntl
import glob
import json
import os
import signal
import subprocess
import threading
import time

import ray
from ray.util import remove_placement_group

# Events that are kept for a bridge that does not ask; beyond, the workers' output waits in their pipes.
KEPT = 100
# Seconds that an exit waits for what the process printed last: whoever inherited the pipes may hold them open for ever.
LAST_WORDS = 0.05

# What a worker's queues have in this host's memory is removed when the worker has ended. When this process is gone, and its workers with it, somebody
# else has to: a shell that is told of each worker, and begins when nobody is left to tell it of more. It is nobody's child, since Ray kills those of
# an actor. A process that nobody has reaped has no program any more. A number is another process's soon enough, so it does not wait for ever.
TIDY = """
exec 3<&0
{
  known=
  while read -r pid files; do known="$known$pid $files
"; done
  printf %s "$known" | while read -r pid files; do
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
      [ -e "/proc/$pid/exe" ] || break
      sleep 0.25
    done
    rm -f -- "$files"*-"$pid"
  done
} <&3 3<&- >/dev/null 2>&1 &
"""


def end_group(pid):
    """Ends what is left of a worker's process group; its number is nobody else's while the group has members."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def high(descriptor):
    """The descriptor under another number, which the ones that a worker finds things at do not clash with."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


def make_recorder(size):
    """Memory without a name, in which a worker keeps what it did last. None where there is none to be had."""
    try:
        recorder = high(os.memfd_create("phalanx-flight"))
        os.write(recorder, bytes(size))
        return recorder
    except (AttributeError, OSError):
        return None


def remove_files(files, pid):
    """What a worker's queues have left in memory; `files` is what their paths begin with."""
    for path in glob.glob(f"{glob.escape(files)}*-{pid}"):
        try:
            os.unlink(path)
        except OSError:
            pass


class Worker:
    """A process of this agent, from when its name is first heard until its end was. `code` is None while it runs."""

    def __init__(self):
        self.place = None
        self.process = None
        self.recorder = None
        self.files = None
        self.ended = asyncio.Event()
        self.code = None

    def send(self, number):
        if self.process is None or self.code is not None:
            return
        if number == signal.SIGKILL:
            end_group(self.process.pid)
        else:
            self.process.send_signal(number)

    def says_its_last(self):
        """What is left in its pipes is little, and nobody hears it after the news of its end."""
        return self.code is not None and not self.ended.is_set()

    def flight(self, size):
        return "" if self.recorder is None else base64.b64encode(os.pread(self.recorder, size, 0)).decode()

    def forget(self):
        """What it did is told, or it never did anything."""
        if self.recorder:
            os.close(self.recorder)
            self.recorder = None


class PhalanxAgent:
    """Of one group. `driver` is a number, by which its drivers are told apart, and the job of Ray that is its bridge; what a former one asks changes nothing."""

    def __init__(self, ttl, group, driver, keep):
        self.ttl, self.group, self.driver, self.keep = ttl, group, driver, keep
        self.workers = {}
        # By member: its latest life here, and its place.
        self.lives = {}
        self.events = collections.deque()
        self.count = 0
        self.news = asyncio.Condition()
        self.heard = time.monotonic()
        self.tidier = None
        if ttl:
            threading.Thread(target=self.expire, daemon=True).start()

    def expire(self):
        """Its driver has not asked for `ttl` seconds: ends everything. A detached placement group outlives its actors, so it is removed here."""
        while time.monotonic() - self.heard < self.ttl:
            time.sleep(min(1, self.ttl / 4))
        for worker in self.workers.values():
            worker.send(signal.SIGKILL)
        if not self.keep and (group := ray.util.get_current_placement_group()):
            remove_placement_group(group)
        os._exit(0)

    def tidy_after(self, worker, files):
        worker.files = files
        if self.tidier is None:
            shell = subprocess.Popen(["/bin/sh", "-c", TIDY, "phalanx"], stdin=subprocess.PIPE, start_new_session=True)
            shell.wait()
            self.tidier = shell.stdin
        try:
            self.tidier.write(f"{worker.process.pid} {files}\n".encode())
            self.tidier.flush()
        except BrokenPipeError:
            self.tidier = None  # Whoever ended it: the next worker gets another one.

    async def start(self, driver, name, place, command, env, defaults, cwd, line, away, flight, files):
        """Starts a worker in its place and writes `line`, with what only this host knows, to its standard input.

        What lies in the driver's folder `away` lies in this process's own folder here; `flight` is the size of a recorder,
        `files` what the paths of the files of its queues begin with.
        """
        if driver != self.driver:
            raise RuntimeError("another driver has taken the group over")
        worker = self.workers.setdefault(name, Worker())
        if worker.ended.is_set():
            raise RuntimeError(f"{name} was given up before it was started")
        worker.place = place
        self.lives[name.split(" ")[1]] = {"worker": name, "place": place}
        address = ray.util.get_node_ip_address()
        if away:
            command, line = (json.loads(json.dumps(each).replace(away, os.getcwd())) for each in (command, line))
        # What Ray gives its own processes, the cluster's token above all, is not for workers.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        worker.recorder, self.flight = make_recorder(flight), flight
        heard, words = os.pipe()
        words = high(words)
        found = [words] + ([worker.recorder] if worker.recorder else [])
        # A shell puts them at the numbers where a worker finds them; it is this process's child that the worker becomes.
        shell = 'exec "$@" ' + " ".join(f"{at}<>/dev/fd/{descriptor}" for at, descriptor in enumerate(found, 3))
        try:
            worker.process = process = subprocess.Popen(
                ["/bin/sh", "-c", shell, "phalanx", *command, str(os.getpid())],
                cwd=cwd,
                env=defaults | inherited | env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=found,
                start_new_session=True,
            )
        except Exception:
            os.close(heard)
            worker.forget()
            raise
        finally:
            os.close(words)
        self.tidy_after(worker, files)
        # Left open: its end tells the worker that this process is gone.
        known_here = {"node": address, "queues": line["queues"] | {"host": address}}
        if worker.recorder:
            known_here["flight"] = 4
        try:
            process.stdin.write(json.dumps(line | known_here).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # It has ended already, which is told by its exit.
        pipes = {"stdout": process.stdout, "stderr": process.stderr, "words": os.fdopen(heard, "rb", 0)}
        pumps = [asyncio.ensure_future(self.pump(name, worker, kind, pipe)) for kind, pipe in pipes.items()]
        loop = asyncio.get_running_loop()
        exited = loop.create_future()
        threading.Thread(target=lambda: loop.call_soon_threadsafe(exited.set_result, process.wait()), daemon=True).start()
        worker.reaper = asyncio.ensure_future(self.reap(name, worker, exited, pumps))
        return {
            "pid": process.pid,
            "agent": os.getpid(),
            "node": ray.get_runtime_context().get_node_id(),
            "address": address,
        }

    async def pump(self, name, worker, kind, pipe):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        decoder = codecs.getincrementaldecoder("utf8")("replace")
        while chunk := await reader.read(65536):
            async with self.news:
                await self.news.wait_for(lambda: len(self.events) < KEPT or worker.says_its_last())
            await self.tell(name, kind, decoder.decode(chunk))

    async def reap(self, name, worker, exited, pumps):
        worker.code = await exited
        async with self.news:
            self.news.notify_all()
        end_group(worker.process.pid)
        remove_files(worker.files, worker.process.pid)
        await asyncio.wait(pumps, timeout=LAST_WORDS)
        worker.ended.set()
        await self.tell(name, "exit", {"code": worker.code, "flight": worker.flight(self.flight)})
        worker.forget()

    async def tell(self, name, kind, value):
        async with self.news:
            self.count += 1
            self.events.append((self.count, name, kind, value))
            self.news.notify_all()

    async def listen(self, driver, after):
        """The events after that number, once there are any; those up to it are forgotten. None to one that is not its driver any more."""
        async with self.news:
            if driver != self.driver:
                return None
            self.heard = time.monotonic()
            while self.events and self.events[0][0] <= after:
                _, name, kind, _ = self.events.popleft()
                if kind == "exit":
                    self.workers.pop(name, None)
            self.news.notify_all()
            await self.news.wait_for(lambda: self.events or driver != self.driver)
            return list(self.events) if driver == self.driver else None

    async def signal(self, driver, name, number):
        if driver == self.driver and name in self.workers:
            self.workers[name].send(number)

    async def claim(self, driver, name, line):
        """Writes a line to a worker's standard input, by which it hears of another driver."""
        worker = self.workers.get(name)
        if driver != self.driver or worker is None or worker.process is None or worker.code is not None:
            return
        try:
            worker.process.stdin.write(line.encode() + b"\n")
            worker.process.stdin.flush()
        except BrokenPipeError:
            pass  # It ends, which is told by its exit.

    async def look(self, name):
        """What the kernel says of a worker's process, and what the worker did last."""
        worker = self.workers.get(name)
        if worker is None or worker.process is None or worker.code is not None:
            return {"stat": "", "flight": ""}
        with open(f"/proc/{worker.process.pid}/stat", encoding="latin1") as stat:
            return {"stat": stat.read(), "flight": worker.flight(self.flight)}

    async def stop(self, driver, name, grace):
        """SIGTERM, the grace, SIGKILL; answers whether there was a process. A worker that is not started yet never will be."""
        if driver != self.driver:
            return False
        worker = self.workers.setdefault(name, Worker())
        if worker.process is None:
            worker.ended.set()
            return False
        for number in (signal.SIGTERM, signal.SIGKILL):
            worker.send(number)
            try:
                await asyncio.wait_for(worker.ended.wait(), grace)
                break
            except asyncio.TimeoutError:
                pass
        return True

    async def touch(self, driver):
        """Keeps a detached agent alive."""
        if driver == self.driver:
            self.heard = time.monotonic()

    async def who(self):
        """What another driver has to know of it: its driver, its workers that run or of whose end nobody has heard, and all that it ever had."""
        address = ray.util.get_node_ip_address()
        bundles = ray.util.get_current_placement_group()
        return {
            "group": self.group,
            "driver": self.driver,
            "bundles": bundles and bundles.id.hex(),
            "keep": self.keep,
            "workers": [
                {"worker": name, "pid": worker.process.pid, "address": address, "place": worker.place}
                for name, worker in self.workers.items()
                if worker.process
            ],
            "lives": list(self.lives.values()),
        }

    async def take(self, driver, ttl):
        """Has another driver from now on, unless there is one that is as late."""
        async with self.news:
            if driver[0] <= self.driver[0]:
                return False
            self.driver, self.ttl, self.heard = driver, ttl or self.ttl, time.monotonic()
            self.news.notify_all()
            return True
