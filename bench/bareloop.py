"""What a guest for each client costs at least: an echo server that does only what must be done.

Its guests are bare, they can only read and write, and nobody else can run. But whoever gives each client a
sandbox and a greenlet in Python makes these system calls, crosses the border this often and switches this
often. What the example `guest_per_client` takes beyond it is coop's own work.
"""

import select
import socket
import struct
from typing import Any

from greenlet import getcurrent, greenlet

import coop
from bench.bareguest import BareGuest, new_linker
from coop.engine.capi import held
from coop.engine.marshal import space

GUEST = """(module
  (import "bare" "read" (func $try (param i32 i32) (result i32)))
  (import "bare" "write" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $park)
  (func $read (result i32) (local $count i32)
    (loop $again
      (local.set $count (call $try (i32.const 1024) (i32.const 64512)))
      (if (i32.eq (local.get $count) (i32.const -1)) (then (call $park) (br $again))))
    (local.get $count))
  (func (export "_start") (local $count i32)
    (loop $next
      (local.set $count (call $read))
      (if (local.get $count)
        (then (drop (call $write (i32.const 1024) (local.get $count))) (br $next))))))
"""
EVENTS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET

_unpack = struct.Struct("<I12xI12x").unpack_from
_pack = struct.Struct("<i").pack_into


class Client(BareGuest):
    """One client: its connection, its guest, and the greenlet on which that runs."""

    def __init__(self, sock: socket.socket, module: Any, linker: int, hub: greenlet) -> None:
        super().__init__(module, linker)
        sock.setblocking(False)
        self.sock, self.recv_into, self.send = sock, sock.recv_into, sock.send
        self.is_ready = True
        self.hub, self.switch = hub, greenlet(self.run, hub).switch

    def run(self) -> None:
        """Poll the guest until it ends, and give it back."""
        poll, future, to_hub = held.wasmtime_call_future_poll, self.future, self.hub.switch
        while True:
            Server.client = self
            if poll(future):
                break
            to_hub()
        self.end()
        self.sock.close()


class Server:
    """The loop, and the two functions that its guests import."""

    client: Client  # whose guest runs now

    def read(self, _env: int, _caller: int, at: int) -> int:
        """Receive, unless it is known that nothing is there: then the guest's next call suspends it."""
        client = self.client
        if not client.is_ready:
            client.suspend()
            _pack(space, at, -1)
            return 0
        where, room = _unpack(space, at)
        try:
            count = client.recv_into(client.view[where : where + room])
        except BlockingIOError:
            client.is_ready = False
            return self.read(_env, _caller, at)
        if 0 < count < room:
            client.is_ready = False
        _pack(space, at, count)
        return 0

    def write(self, _env: int, _caller: int, at: int) -> int:
        """Send."""
        client = self.client
        where, count = _unpack(space, at)
        _pack(space, at, client.send(client.view[where : where + count], socket.MSG_NOSIGNAL))
        return 0

    def serve(self, listener: socket.socket) -> None:
        """Accept and echo for ever."""
        module = coop.Module.from_bytes(GUEST)
        # wasmtime calls what is kept for as long as the server runs.
        linker, self.kept = new_linker(module, read=(2, 1, self.read), write=(2, 1, self.write))
        clients: dict[int, Client] = {}
        epoll, hub = select.epoll(), getcurrent()
        epoll.register(listener, select.EPOLLIN)
        while True:
            for fd, _ in epoll.poll(-1, 256):
                client = clients.get(fd)
                if client is None:
                    sock = listener.accept()[0]
                    client = clients[sock.fileno()] = Client(sock, module, linker, hub)
                    epoll.register(sock, EVENTS)
                client.is_ready = True
                client.switch()


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as bound:
        Server().serve(bound)
