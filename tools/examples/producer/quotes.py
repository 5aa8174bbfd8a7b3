#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""quotes.py [PATH] [TICKS]: the same from Python, without an extension module. The layout is that of ringcast_record.h;
libatomic (Debian: libatomic1) gives ctypes the memory orders that it asks for."""
import ctypes
import errno
import mmap
import os
import socket
import struct
import sys
import time

BYTES_AT, SKIP = 4096, 0xFFFFFFFF
HEAD, TAIL, STATE = 0, 128, 256
ASLEEP, GONE = 1, 2
ACQUIRE, SEQ_CST = 2, 5

libatomic = ctypes.CDLL("libatomic.so.1")
load_8, load_4, store_8 = (libatomic["__atomic_" + name] for name in ("load_8", "load_4", "store_8"))
load_8.restype = ctypes.c_uint64
load_4.restype = ctypes.c_uint32


class Producer:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(5)
        self.socket.connect(path)
        self.ring_size, (memory, self.wake_fd) = self.answer(2)
        self.memory = mmap.mmap(memory, BYTES_AT + self.ring_size)
        os.close(memory)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.head = 0

    def answer(self, descriptors=0):
        data, received, _, _ = socket.recv_fds(self.socket, 256, descriptors)
        if len(data) != 256:
            raise EOFError("the server has let go of this producer")
        result, version, ring_size, words = struct.unpack("=iIQ240s", data)
        if result < 0:
            raise OSError(-result, words.split(b"\0")[0].decode())
        if version != 1:
            raise OSError(errno.EPROTO, "this is no server for this version of the protocol")
        return (ring_size, received) if descriptors else result

    def topic(self, name):
        """Registers a topic, once; returns its number."""
        self.socket.send(struct.pack("=I", 1) + name.encode())
        return self.answer()

    def check(self):
        """Raises EOFError when the server is no more."""
        try:
            gone = not self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            gone = False
        if gone:
            raise EOFError("the server has let go of this producer")

    def put(self, data):
        at = BYTES_AT + self.head % self.ring_size
        self.memory[at:at + len(data)] = data

    def publish(self, topic, payload, time_ns=0):
        """Publishes bytes that are UTF-8. Returns False when the ring is full."""
        whole = (24 + len(payload) + 7) & ~7
        left = self.ring_size - self.head % self.ring_size
        tail = load_8(ctypes.c_void_p(self.base + TAIL), ACQUIRE)
        if whole > self.ring_size // 4:
            raise ValueError("larger than a quarter of the ring")
        if (whole if whole <= left else left + whole) > self.ring_size - (self.head - tail):
            self.check()
            return False
        if whole > left:  # a record does not wrap: another one fills the rest of the ring
            self.put(struct.pack("=II", left, SKIP))
            self.head += left
        self.put(struct.pack("=IIIHHQ", 24 + len(payload), topic, 0, 0, 0, time_ns) + payload)
        self.head += whole
        # First the head, then a look whether the server sleeps: in this order one of the two sees the other.
        store_8(ctypes.c_void_p(self.base + HEAD), ctypes.c_uint64(self.head), SEQ_CST)
        state = load_4(ctypes.c_void_p(self.base + STATE), SEQ_CST)
        if state == GONE:
            raise EOFError("the server has let go of this producer")
        if state == ASLEEP:  # it says AWAKE again itself
            os.write(self.wake_fd, struct.pack("=Q", 1))
        return True


def main():
    producer = Producer(sys.argv[1] if len(sys.argv) > 1 else "/tmp/quotes.sock")
    topic = producer.topic("quote.EURUSD")
    for tick in range(int(sys.argv[2]) if len(sys.argv) > 2 else 10):
        while not producer.publish(topic, b'{"tick":%d}' % tick, time.time_ns()):
            time.sleep(0.0001)


main()
