"""Those at the other ends of a guest's descriptors, and what the kernel says of these."""

import fcntl
import os
import random
import select
import socket
import struct
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

from coop.netpoll.openfile import OpenFile


class Peer:
    """Somebody at the other end of a stream, who does what a chance says."""

    def __init__(self, number: int) -> None:
        self.number = number
        os.set_blocking(number, False)

    def act(self, chance: random.Random) -> str:
        """Do something, as far as it goes, and say what."""
        what = chance.choice(("write", "write", "write", "read", "read all", "fill", "close", "other"))
        if chance.random() < 0.7 and what in ("close", "other"):
            what = "write"
        if self.number >= 0:
            with suppress(OSError):
                self._do(what, chance)
        return what

    def _do(self, what: str, chance: random.Random) -> None:
        if what == "write":
            os.write(self.number, b"x\n" * chance.choice((1, 2, 40, 3000)))
        elif what == "fill":
            for _ in range(200):  # a datagram is lost where there is no room, and never refused
                os.write(self.number, b"x" * 20000)
        elif what == "read":
            os.read(self.number, chance.choice((1, 10, 5000)))
        elif what == "read all":
            while os.read(self.number, 1 << 16):
                pass
        elif what == "close":
            self.close()
        else:
            self.other(chance)

    def other(self, chance: random.Random) -> None:
        """Do what only this kind can."""

    def close(self) -> None:
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)


class SocketPeer(Peer):
    """The far end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._family = sock.family
        super().__init__(sock.detach())

    def other(self, chance: random.Random) -> None:
        sock = socket.socket(fileno=os.dup(self.number))
        with sock:
            how = chance.choice(
                ("reset", "urgent", socket.SHUT_WR, socket.SHUT_WR, socket.SHUT_RD, socket.SHUT_RDWR)
            )
            if how == "urgent":
                if self._family == socket.AF_INET:  # Linux calls a Unix socket with such a byte readable
                    sock.send(b"!", socket.MSG_OOB)
                return
            if how != "reset":
                sock.shutdown(how)
                return
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


class FifoPeer(Peer):
    """One who opens an end of a FIFO now and then, and closes it again."""

    def __init__(self, path: Path, flags: int) -> None:
        self._path, self._flags = path, flags | os.O_NONBLOCK
        self.number = -1

    def act(self, chance: random.Random) -> str:
        if self.number >= 0:
            return super().act(chance)
        with suppress(OSError):
            self.number = os.open(self._path, self._flags)
        return "open"


class ClientPeer(Peer):
    """A client of a listener, who comes and goes."""

    def __init__(self, address: Any) -> None:
        self._address = address
        self.number = -1

    def act(self, chance: random.Random) -> str:
        if self.number >= 0:
            return super().act(chance)
        with socket.socket() as sock, suppress(ConnectionRefusedError):  # the guest may have closed it
            sock.connect(self._address)
            sock.setblocking(False)
            self.number = sock.detach()
        return "connect"


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a connection over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    return near, far


def udp_pair() -> tuple[socket.socket, socket.socket]:
    """Two sockets that send datagrams to each other."""
    near, far = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    for each in (near, far):
        each.bind(("127.0.0.1", 0))
    near.connect(far.getsockname())
    far.connect(near.getsockname())
    return near, far


def kernel(files: list[OpenFile]) -> dict[OpenFile, int]:
    """What poll(2) says of each, now."""
    asker = select.poll()
    numbers = {file.fd: file for file in files if file.fd >= 0}
    for number in numbers:
        asker.register(number, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    found = dict.fromkeys(files, 0)
    found.update({numbers[number]: events for number, events in asker.poll(0)})
    return found


def waiting(file: OpenFile) -> int:
    """How many bytes there are to read, as the kernel counts them; 1 where it cannot."""
    try:
        return int.from_bytes(fcntl.ioctl(file.fd, termios.FIONREAD, bytes(4)), "little")
    except OSError:
        return 1
