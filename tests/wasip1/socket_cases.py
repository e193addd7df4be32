"""What each function refuses on sockets: the errno, and the arguments that get it; and the sockets."""

import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import coop
from tests.wasip1.errno_cases import GOOD, NONE, STREAM, Case
from tests.wasip1.script import DATA, END, IOVS, OUT, Script

LISTENER, BARE_LISTENER, IDLE, FULL, BARE, GONE, RESET, NEVER, LOOSE, SHORT, REFUSED, LATE = range(3, 15)
"""The sockets of every case: two listeners for which nobody waits, one without a right; a non-blocking
connection with nothing to read, one without room, one without any right, one whose peer has closed it, one
whose peer has reset it, and one that was never made; datagram sockets without a peer, with room for little,
and with a peer that is not there; and a connection whose deadline has passed, without room."""

NONBLOCK = 4
LONG = IOVS + 8
"""An iovec of more than a datagram may be; `GOOD` has 8 bytes."""


def of_sockets(*rest: Any) -> list[Case]:
    """The cases of a call for connections alone."""
    return [
        *[("BADF", (fd, *rest)) for fd in (NONE, 2**32 - 1)],
        *[("NOTSOCK", (STREAM, *rest)), ("NOTCONN", (LISTENER, *rest)), ("NOTCAPABLE", (BARE, *rest))],
    ]


RECEIVE, SEND = (GOOD, 1, 0, OUT, OUT + 8), (GOOD, 1, 0, OUT)
RECEIVED = {IDLE: "AGAIN", RESET: "CONNRESET", NEVER: "NOTCONN", REFUSED: "CONNREFUSED", LATE: "TIMEDOUT"}
SENT = {
    FULL: "AGAIN",
    GONE: "PIPE",
    RESET: "CONNRESET",
    NEVER: "PIPE",
    LOOSE: "DESTADDRREQ",
    REFUSED: "CONNREFUSED",
    LATE: "TIMEDOUT",
}

SOCKET_CASES: dict[str, list[Case]] = {
    "fd_read": [
        ("NOTCONN", (LISTENER, GOOD, 1, OUT)),
        *[(error, (fd, GOOD, 1, OUT)) for fd, error in RECEIVED.items()],
    ],
    "fd_write": [
        ("NOTCONN", (LISTENER, GOOD, 1, OUT)),
        *[(error, (fd, GOOD, 1, OUT)) for fd, error in SENT.items()],
        ("MSGSIZE", (SHORT, LONG, 1, OUT)),
    ],
    "sock_accept": [
        *[("BADF", (fd, 0, OUT)) for fd in (NONE, 2**32 - 1)],
        *[("NOTSOCK", (STREAM, 0, OUT)), ("INVAL", (IDLE, 0, OUT)), ("INVAL", (LOOSE, 0, OUT))],
        *[("INVAL", (LISTENER, flags, OUT)) for flags in (1, 8, 2**32 - 1)],
        *[("AGAIN", (LISTENER, 0, OUT)), ("NOTCAPABLE", (BARE_LISTENER, 0, OUT))],
        *[("FAULT", (LISTENER, 0, where)) for where in (END - 3, END, 2**32 - 1)],
    ],
    "sock_recv": [
        *of_sockets(*RECEIVE),
        *[(error, (fd, *RECEIVE)) for fd, error in RECEIVED.items()],
        *[("INVAL", (IDLE, GOOD, 1, flags, OUT, OUT + 8)) for flags in (4, 2**16, 2**32 - 1)],
        *[("FAULT", (IDLE, END - 7, 1, 0, OUT, OUT + 8)), ("FAULT", (IDLE, IOVS + 16, 1, 0, OUT, OUT + 8))],
        *[("FAULT", (IDLE, GOOD, 1, 0, END - 3, OUT)), ("FAULT", (IDLE, GOOD, 1, 0, OUT, END - 1))],
    ],
    "sock_send": [
        *of_sockets(*SEND),
        *[(error, (fd, *SEND)) for fd, error in SENT.items()],
        ("MSGSIZE", (SHORT, LONG, 1, 0, OUT)),
        *[("INVAL", (IDLE, GOOD, 1, flags, OUT)) for flags in (1, 2**16, 2**32 - 1)],
        *[("FAULT", (IDLE, END - 7, 1, 0, OUT)), ("FAULT", (IDLE, IOVS + 16, 1, 0, OUT))],
        ("FAULT", (IDLE, GOOD, 1, 0, END - 3)),
    ],
    "sock_shutdown": [
        *of_sockets(1),
        *[("NOTCONN", (NEVER, how)) for how in (1, 2, 3)],
        *[("INVAL", (IDLE, how)) for how in (0, 4, 2**32 - 1)],
    ],
}


def on_sockets(act: Callable[[Script], Any]) -> Any:
    """Run `act` on a guest that has the sockets, and return its result."""

    def main() -> Any:
        with ExitStack() as stack:
            listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
            connections = [
                *stack.enter_context(_pairs()),
                *stack.enter_context(_far_ends()),
                stack.enter_context(_late()),
            ]
            guest = stack.enter_context(Script(listen=listeners, connections=connections))
            _prepare(guest)
            return act(guest)

    return coop.run(main)


def _prepare(guest: Script) -> None:
    for fd in (IDLE, FULL, LATE):
        assert guest.fd_fdstat_set_flags(fd, NONBLOCK) == "SUCCESS"
    for fd in (FULL, LATE):
        while guest.send(fd, bytes(4096)) != "AGAIN":
            pass
    assert guest.fd_fdstat_set_flags(LATE, 0) == "SUCCESS"
    for fd in (BARE, BARE_LISTENER):
        assert guest.fd_fdstat_set_rights(fd, 0, 0) == "SUCCESS"
    guest.iovecs((DATA, 8), (0, END), (END - 4, 8))


@contextmanager
def _pairs() -> Iterator[list[socket.socket]]:
    """IDLE, FULL, BARE and GONE: Unix sockets, whose other ends live as long, but for the last one's."""
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(4)]
        for end in sum(pairs, ()):
            stack.enter_context(end)
        pairs[-1][1].close()
        yield [near for near, _ in pairs]


@contextmanager
def _far_ends() -> Iterator[list[socket.socket]]:
    """RESET, NEVER, LOOSE, SHORT and REFUSED: sockets whose other ends are not what they should be."""
    with ExitStack() as stack:
        never, loose, refused = (
            stack.enter_context(socket.socket(type=kind))
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_DGRAM)
        )
        short, far = socket.socketpair(type=socket.SOCK_DGRAM)
        stack.enter_context(short)
        stack.enter_context(far)
        short.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with socket.socket(type=socket.SOCK_DGRAM) as nobody:
            nobody.bind(("127.0.0.1", 0))
            refused.connect(nobody.getsockname())
        refused.send(b"to nobody")
        (asker := select.poll()).register(refused, 0)
        assert asker.poll(30_000)  # the error has come back
        yield [stack.enter_context(_reset()), never, loose, short, refused]


def _reset() -> socket.socket:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as far:
            near, _ = server.accept()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return near


@contextmanager
def _late() -> Iterator[coop.Conn]:
    with (
        coop.listen("127.0.0.1:0") as listener,
        coop.connect(listener.address) as near,
        listener.accept(),
    ):
        near.set_deadline(0)
        yield near
