"""The two ends of a queue of Phalanx in shared memory, in Python: as packages/queue/WIRE.md has them, with one reader and frames of one piece.

Words that both ends use are loaded, stored and compared by the functions of libatomic that compilers call for C's `atomic_load` and so on, in the order
`seq_cst`, which is that of JavaScript's Atomics too. They have no lock for four aligned bytes: each is the one instruction that Node's are. Plain
bytes are copied by Python before or after such a call, and neither a compiler nor a processor moves them across it. Python alone has neither a
compare-exchange nor the fence between storing one word and loading another. Node itself is linked with libatomic, so that it is where Node is.
"""
import ctypes
import mmap
import os
import struct
from types import SimpleNamespace

# PyDLL keeps the interpreter's lock: a call is shorter than giving that up and getting it back.
atomic = ctypes.PyDLL("libatomic.so.1")
SEQ_CST = 5
load_word, store_word, exchange_word = (getattr(atomic, f"__atomic_{name}_4") for name in ("load", "store", "compare_exchange"))
load_word.argtypes, load_word.restype = [ctypes.c_void_p, ctypes.c_int], ctypes.c_uint32
store_word.argtypes, store_word.restype = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int], None
exchange_word.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint32), ctypes.c_uint32, ctypes.c_int, ctypes.c_int]
exchange_word.restype = ctypes.c_bool

UNITS = 2**32


def open_bell(path):
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)


class Ended(Exception):
    """The other end has closed the queue, or it was never this end's."""


class End:
    """A queue by its handle and its places, both as Node told them."""

    def __init__(self, told):
        self.handle, self.at = SimpleNamespace(**told["handle"]), SimpleNamespace(**told["places"])
        self.capacity = self.handle.capacity
        with open(self.path(self.handle.segment), "r+b") as file:
            self.bytes = mmap.mmap(file.fileno(), 0)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))
        self.bell = None

    def path(self, name):
        return os.path.join(self.handle.folder, name)

    def load(self, place):
        return load_word(self.base + place, SEQ_CST)

    def store(self, place, value):
        store_word(self.base + place, value % UNITS, SEQ_CST)

    def exchange(self, place, expected, value):
        """Whether the word held what was expected, and so was replaced."""
        return exchange_word(self.base + place, ctypes.c_uint32(expected), value % UNITS, SEQ_CST, SEQ_CST)

    def size(self, length):
        """Units of four bytes that a piece takes."""
        return (self.at.header + self.at.tags + (length + 7) // 8 * 8) // 4

    def offset(self, position):
        return position * 4 % self.capacity

    def ring(self, parked, name):
        """Wakes the other end if it sleeps. Rung before the word is taken down, so that nobody sleeps on if this process ends in between."""
        seen = self.load(parked)
        count = seen % (1 << self.at.countBits)
        if count == 0:
            return
        if self.bell is None:
            self.bell = open_bell(self.path(name()))
        try:
            os.write(self.bell, b"\0")
        except BlockingIOError:
            pass  # A full FIFO wakes its reader as well as one more byte would.
        self.exchange(parked, seen, seen - count)


class Writer(End):
    """The writing end, once a reader has attached. Its room is to be larger than all that is ever under way."""

    def __init__(self, told):
        super().__init__(told)
        self.position = self.load(self.at.written)

    def reader_bell(self):
        return self.bytes[self.at.bell : self.bytes.find(b"\0", self.at.bell)].decode()

    def publish(self, data):
        length = len(data)
        room = self.capacity // 4 - (self.position - self.load(self.at.consumed)) % UNITS
        if length > self.capacity // 4 or self.size(length) > room:
            raise BufferError(f"{length} bytes do not fit into a ring of {self.capacity} with {room * 4} free")
        piece = struct.pack("<IIII", length, length, 0, length ^ length ^ self.at.seal) + bytes(self.at.tags) + data
        start = self.offset(self.position)
        straight = min(len(piece), self.capacity - start)
        ring = self.at.data
        self.bytes[ring + start : ring + start + straight] = piece[:straight]
        self.bytes[ring : ring + len(piece) - straight] = piece[straight:]
        self.position = (self.position + self.size(length)) % UNITS
        self.store(self.at.written, self.position)
        self.ring(self.at.parked, self.reader_bell)


class Reader(End):
    """The reading end: hands frames on from the event loop, which sleeps until its doorbell rings."""

    def __init__(self, told):
        super().__init__(told)
        self.position, self.sleeps = self.load(self.at.consumed), 0
        # The queue's maker removes what is named after the segment, whoever has made it.
        name = f"{self.handle.segment}-{os.getpid()}"
        os.mkfifo(self.path(name), 0o600)
        self.own_bell = open_bell(self.path(name))
        self.bytes[self.at.bell : self.at.bell + len(name) + 1] = name.encode() + b"\0"
        self.store(self.at.pid, os.getpid())
        if not self.exchange(self.at.state, self.at.open, self.at.attached):
            raise Ended
        self.ring_writer()

    def ring_writer(self):
        self.ring(self.at.writerParked, lambda: self.handle.bell)

    def copy(self, position, length):
        start = self.offset(position)
        straight = min(length, self.capacity - start)
        ring = self.at.data
        return self.bytes[ring + start : ring + start + straight] + self.bytes[ring : ring + length - straight]

    def move(self, position):
        if not self.exchange(self.at.consumed, self.position, position):
            raise Ended
        self.position = position

    def is_closed(self):
        return self.load(self.at.phase) == self.at.closed or self.load(self.at.state) != self.at.attached

    def take(self):
        """The next frame, if there is one."""
        written = self.load(self.at.written)
        if written == self.position:
            return None
        length, total, begin, check = struct.unpack("<IIII", self.copy(self.position, self.at.header))
        # What was read is a header only if this reader still stood before it.
        self.move(self.position)
        size = self.size(length)
        if check != length ^ total ^ begin ^ self.at.seal or length != total or begin != 0 or size > (written - self.position) % UNITS:
            raise ValueError("bytes that are no frame of one piece: the ring's layout is another one")
        data = self.copy(self.position + (self.at.header + self.at.tags) // 4, length)
        self.move((self.position + size) % UNITS)
        if self.load(self.at.wantsRoom) != 0:
            self.ring_writer()
        return data

    def look(self, deliver):
        try:
            os.read(self.own_bell, 4096)
        except BlockingIOError:
            pass
        while True:
            self.store(self.at.parked, 0)
            # Before looking, so that what was published before the end is found.
            closed = self.is_closed()
            while (data := self.take()) is not None:
                deliver(data)
            if closed:
                raise Ended
            # The word first and then another look: either this end sees what was published, or the writer sees that it has to ring.
            self.sleeps += 1
            self.store(self.at.parked, self.sleeps << self.at.countBits | 1)
            if self.load(self.at.written) == self.position and not self.is_closed():
                return

    def listen(self, loop, deliver, end):
        """Delivers what comes, and tells of the end."""

        def look():
            try:
                self.look(deliver)
            except Exception as error:
                loop.remove_reader(self.own_bell)
                end()
                if not isinstance(error, Ended):
                    raise

        loop.add_reader(self.own_bell, look)
        look()
