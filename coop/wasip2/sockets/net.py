"""TCP in sync style over the handles of WASI 0.2: dial, listen, accept, read, write, close, deadlines.

A runtime that lives inside a guest, as TinyGo's does, has nothing but these handles; so here
stands what it builds on them, made of the same sockets, streams and pollables that guests get:

    try --> done? return
            not yet? subscribe, wait for the pollable, drop it, try again

It parks the task that calls, and nobody else.

1. The right to the network is taken once, when it is first needed.
2. A socket that could not be made ready is dropped before the error is told.
3. A deadline that is past is told before anything is tried or waited for.
4. Closing drops the streams before the socket, and each once; a second close is an error.
Source: TinyGo's src/syscall and its net package for wasip2.
"""

import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import NoReturn, Self, TypeVar

from coop.clock import NEVER_NS, to_ns
from coop.errors import Closed, DeadlineExceeded
from coop.wasip2.pollables import MomentPollable, Pollable, wait_for_any
from coop.wasip2.sockets.network import InstanceNetwork, NetworkRight, to_wit
from coop.wasip2.sockets.tcp import TcpCreateSocket, TcpSocket
from coop.wasip2.sockets.tcpstreams import TcpInput, TcpOutput
from coop.wasip2.world import World
from coop.wit import Case, Err, Later, Resource
from coop.wit.interface import hold_of

__all__ = ["Acceptor", "Net", "Stream"]

_T = TypeVar("_T")

_PIECE = 64 << 10


class Net:
    """The network as one guest's world has it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._right: NetworkRight | None = None

    def right(self) -> NetworkRight:
        """Return the handle of the network, taken once."""
        if self._right is None:
            self._right = InstanceNetwork(self.world).instance_network()
        return self._right

    def dial(self, host: str, port: int, *, timeout: float | None = None) -> "Stream":
        """Connect to an address.  Raises: OSError by the name of its error; DeadlineExceeded."""
        address = _address(host, port)
        handle = self._make(address)
        until_ns = _until(self.world, timeout)
        try:
            handle.start_connect(self.right(), address)
            source, sink = _retry(handle.finish_connect, handle.subscribe, self.world, until_ns, "dial")
        except BaseException as error:
            _give_up(handle)
            _tell(error, f"dial {host}:{port}")
        return Stream(self.world, handle, source, sink)

    def listen(self, host: str, port: int) -> "Acceptor":
        """Listen at an address; port 0 is any free one.  Raises: OSError by the name of its error."""
        address = _address(host, port)
        handle = self._make(address)
        try:
            handle.start_bind(self.right(), address)
            _retry(handle.finish_bind, handle.subscribe, self.world, NEVER_NS, "listen")
            handle.start_listen()
            _retry(handle.finish_listen, handle.subscribe, self.world, NEVER_NS, "listen")
        except BaseException as error:
            _give_up(handle)
            _tell(error, f"listen on {host}:{port}")
        return Acceptor(self.world, handle)

    def _make(self, address: Case) -> TcpSocket:
        try:
            return TcpCreateSocket(self.world).create_tcp_socket(address.name)
        except Err as error:
            _tell(error, "make a socket")


class _Handle:
    """What streams and listeners have in common: a socket, deadlines, and an end."""

    def __init__(self, world: World, handle: TcpSocket, others: Sequence[Resource]) -> None:
        self._world = world
        self._handle = handle
        self._others = others
        self._read_ns = self._write_ns = NEVER_NS
        self.is_closed = False

    @property
    def address(self) -> tuple[str, int]:
        """The local address and port."""
        return _spelled(self._handle.local_address())

    def set_deadline(self, seconds: float | None) -> None:
        """Let calls that begin from now on fail `seconds` from now; None: never."""
        self.set_read_deadline(seconds)
        self.set_write_deadline(seconds)

    def set_read_deadline(self, seconds: float | None) -> None:
        """The same for reading and accepting."""
        self._read_ns = _until(self._world, seconds)

    def set_write_deadline(self, seconds: float | None) -> None:
        """The same for writing."""
        self._write_ns = _until(self._world, seconds)

    def close(self) -> None:
        """Drop the handles, those of the streams first.  Raises: Closed the second time."""
        self._check("close")
        self.is_closed = True
        for each in self._others:
            _give_up(each)
        _give_up(self._handle)

    def _check(self, doing: str) -> None:
        if self.is_closed:
            raise Closed(f"{doing}: use of closed network connection")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.is_closed:
            self.close()


class Acceptor(_Handle):
    """A socket that listens."""

    def __init__(self, world: World, handle: TcpSocket) -> None:
        super().__init__(world, handle, ())

    def accept(self) -> "Stream":
        """Return the next connection.  Raises: Closed; DeadlineExceeded; OSError."""
        self._check("accept")
        try:
            found = _retry(self._handle.accept, self._handle.subscribe, self._world, self._read_ns, "accept")
        except Err as error:
            _tell(error, "accept")
        return Stream(self._world, *found)


class Stream(_Handle):
    """A connection."""

    def __init__(self, world: World, handle: TcpSocket, source: TcpInput, sink: TcpOutput) -> None:
        super().__init__(world, handle, (source, sink))
        self._source = source
        self._sink = sink

    def read(self, size: int = _PIECE) -> bytes:
        """Return up to `size` bytes, waiting for the first; b"" is the end.

        Raises: Closed; DeadlineExceeded; OSError.
        """
        self._check("read")
        while size:
            _require_time(self._world, self._read_ns, "read")
            try:
                data = _now(self._source.read(size))
            except Err as error:
                if error.value == Case("closed"):
                    return b""
                _tell(error, "read")
            if data:
                return data
            _wait(self._world, self._source.subscribe(), self._read_ns, "read")
        return b""

    def write(self, data: bytes) -> int:
        """Write all of `data` and return its length.

        Raises: Closed; DeadlineExceeded; OSError; the error's `sent` says how many bytes were taken.
        """
        self._check("write")
        view = memoryview(data)
        try:
            while view:
                _require_time(self._world, self._write_ns, "write")
                view = view[self._write_some(view) :]
        except OSError as error:
            error.sent = len(data) - len(view)  # type: ignore[attr-defined]
            raise
        return len(data)

    def _write_some(self, view: memoryview) -> int:
        """Write what is permitted, and return how much; wait if it is nothing."""
        try:
            permit = self._sink.check_write()
            if permit:
                piece = view[:permit]
                _now(self._sink.write(bytes(piece)))
                return len(piece)
        except Err as error:
            _tell(error, "write")
        _wait(self._world, self._sink.subscribe(), self._write_ns, "write")
        return 0

    def flush(self) -> None:
        """Wait until what was written is the kernel's.  Raises: Closed; OSError."""
        self._check("flush")
        try:
            _now(self._sink.blocking_flush())
        except Err as error:
            _tell(error, "flush")

    def close(self) -> None:
        """Write what is left, and drop the handles.  Raises: Closed the second time; OSError."""
        self._check("close")
        try:
            self.flush()
        finally:
            super().close()


def _retry(
    attempt: Callable[[], _T], subscribe: Callable[[], Pollable], world: World, until_ns: int, doing: str
) -> _T:
    """Try until it does not have to wait any more.  Raises: Err; DeadlineExceeded."""
    while True:
        _require_time(world, until_ns, doing)
        try:
            return attempt()
        except Err as error:
            if error.value != "would-block":
                raise
        _wait(world, subscribe(), until_ns, doing)


def _wait(world: World, pollable: Pollable, until_ns: int, doing: str) -> None:
    """Park until a pollable is ready, and drop it."""
    try:
        _require_time(world, until_ns, doing)
        wait_for_any(world.owner, [pollable, MomentPollable(world.owner, until_ns)])
    finally:
        _give_up(pollable)


def _require_time(world: World, until_ns: int, doing: str) -> None:
    if world.owner.now_ns() >= until_ns:
        raise DeadlineExceeded(f"{doing}: i/o timeout")


def _now(answer: _T | Later) -> _T:
    """Return an answer, waiting for it on this task."""
    if isinstance(answer, Later):
        found: _T = answer.call()
        return found
    return answer


def _give_up(thing: Resource) -> None:
    """Drop a handle."""
    hold_of(thing).leave()
    thing.drop()


def _until(world: World, seconds: float | None) -> int:
    return NEVER_NS if seconds is None else world.owner.now_ns() + to_ns(seconds)


def _address(host: str, port: int) -> Case:
    found = ip_address(host)
    return to_wit((host, port) if found.version == 4 else (host, port, 0, 0))


def _spelled(address: Case) -> tuple[str, int]:
    parts, port = address.value.address, address.value.port
    if address.name == "ipv4":
        return ".".join(map(str, parts)), port
    packed = b"".join(part.to_bytes(2, "big") for part in parts)
    return socket.inet_ntop(socket.AF_INET6, packed), port


def _tell(error: BaseException, doing: str) -> NoReturn:
    """Raise the system's error behind a result, or one that has its name."""
    if not isinstance(error, Err):
        raise error
    cause = error.__cause__
    if isinstance(cause, OSError):
        raise OSError(cause.errno, f"{doing}: {cause.strerror or cause}") from None
    raise OSError(f"{doing}: {error.value if isinstance(error.value, str) else error.value.name}") from None
