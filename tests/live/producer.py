# SPDX-License-Identifier: MIT
"""A producer as the layout in ringcast_record.h describes it, written anew from that description, with every wrong
thing that a test may want to do. libatomic gives ctypes the memory orders."""
import ctypes
import mmap
import os
import socket
import struct

BYTES_AT, SKIP = 4096, 0xFFFFFFFF
HEAD, TAIL, REFUSED, REASON, STATE = 0, 128, 136, 144, 256
AWAKE, ASLEEP, GONE = 0, 1, 2
BINARY = 1
ACQUIRE, SEQ_CST = 2, 5


class Refused(Exception):
    def __init__(self, code, words):
        super().__init__(code, words)
        self.code, self.words = code, words


libatomic = ctypes.CDLL("libatomic.so.1")
load_8, load_4, store_8 = (libatomic["__atomic_" + name] for name in ("load_8", "load_4", "store_8"))
load_8.restype = ctypes.c_uint64
load_4.restype = ctypes.c_uint32


class Producer:
    def __init__(self, path, limit=10):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(limit)
        self.socket.connect(path)
        try:
            self.ring_size, descriptors = self.hear(2)
        except BaseException:
            self.socket.close()
            raise
        self.memory_fd, self.wake_fd = descriptors
        self.memory = mmap.mmap(self.memory_fd, BYTES_AT + self.ring_size)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.head = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()
        os.close(self.memory_fd)
        os.close(self.wake_fd)
        self.memory = self.base = None

    def hear(self, count=0):
        data, descriptors, _, _ = socket.recv_fds(self.socket, 4096, count)
        if not data:
            raise EOFError("the server has let go")
        result, version, ring_size, text = struct.unpack("=iIQ240s", data)
        if result < 0:
            raise Refused(result, text.split(b"\0")[0].decode())
        assert version == 1 and len(descriptors) == count, (version, descriptors)
        return (ring_size, descriptors) if count else result

    def topic(self, name):
        self.socket.send(struct.pack("=I", 1) + (name.encode() if isinstance(name, str) else name))
        return self.hear()

    def load(self, at):
        return load_8(ctypes.c_void_p(self.base + at), ACQUIRE)

    def state(self):
        return load_4(ctypes.c_void_p(self.base + STATE), SEQ_CST)

    def put(self, at, data):
        at = BYTES_AT + at % self.ring_size
        self.memory[at:at + len(data)] = data

    def write(self, topic, payload, flags=0, time_ns=0, size=None, key_size=0):
        """Writes a record that nobody sees yet; False when there is no room. `size` lies about the length."""
        payload = payload.encode() if isinstance(payload, str) else payload
        whole = (24 + len(payload) + 7) & ~7
        left = self.ring_size - self.head % self.ring_size
        if (whole if whole <= left else left + whole) > self.ring_size - (self.head - self.load(TAIL)):
            return False
        if whole > left:
            self.put(self.head, struct.pack("=II", left, SKIP))
            self.head += left
        self.put(self.head, struct.pack("=IIIHHQ", 24 + len(payload) if size is None else size, topic, flags, key_size, 0,
                                        time_ns) + payload)
        self.head += whole
        return True

    def show(self, head=None):
        head = self.head if head is None else head
        store_8(ctypes.c_void_p(self.base + HEAD), ctypes.c_uint64(head), SEQ_CST)
        if self.state() == ASLEEP:
            self.knock()

    def knock(self):
        os.write(self.wake_fd, struct.pack("=Q", 1))

    def publish(self, topic, payload, **more):
        written = self.write(topic, payload, **more)
        if written:
            self.show()
        return written

    def is_let_go(self):
        self.socket.settimeout(10)
        try:
            return self.socket.recv(4096) == b""
        except ConnectionResetError:
            return True
