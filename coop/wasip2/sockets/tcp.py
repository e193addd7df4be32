"""wasi:sockets/tcp and tcp-create-socket.

A socket goes through these states; what takes time is started, waited for, and finished:

    unbound -> bind in progress -> bound -> listen in progress -> listening
    unbound or bound -> connect in progress -> connected

1. What is started while something else is in progress is a `concurrency-conflict`; in a state that
   does not allow it, it is an `invalid-state`; what is finished without a start is `not-in-progress`.
2. A connection that fails leaves the socket closed: nothing can be asked of it any more.
3. The right to an address is looked at before anything else, the address itself last.
4. The kernel's socket is watched only once it connects or listens; before, it reports a hangup.
"""

import errno as codes
import os
import socket
from enum import Enum
from typing import Any, ClassVar

from coop.net.address import shown
from coop.netpoll.contract import READ, STALE_WRITE, WRITE
from coop.netpoll.listenerfile import ListenerFile
from coop.netpoll.openfile import OpenFile
from coop.netpoll.polldesc import PollDesc
from coop.wasip2.clocks import MonotonicClock
from coop.wasip2.io import Poll, Streams
from coop.wasip2.pollables import Pollable
from coop.wasip2.sockets.base import is_bound_as_client, make_socket
from coop.wasip2.sockets.keepalive import KeepAlive
from coop.wasip2.sockets.network import (
    NetworkInterface,
    NetworkRight,
    check_family,
    check_remote,
    check_unicast,
    coded,
    to_kernel,
    to_wit,
)
from coop.wasip2.sockets.tcpstreams import Connection, Idle, TcpInput, TcpOutput
from coop.wasip2.world import World, WorldInterface, released
from coop.wit import Case, Err, function

__all__ = ["INTERFACES", "TcpSocket"]

_BACKLOG = 128
_MOST_BACKLOG = (1 << 31) - 1


class State(Enum):
    """Where a socket is in its life."""

    UNBOUND = "unbound"
    BINDING = "bind in progress"
    BOUND = "bound"
    LISTEN_STARTED = "listen in progress"
    LISTENING = "listening"
    CONNECTING = "connect in progress"
    CONNECTED = "connected"
    CLOSED = "closed"


_IN_PROGRESS = {State.BINDING, State.LISTEN_STARTED, State.CONNECTING}
_UNNAMED = {State.UNBOUND, State.BINDING, State.CLOSED}
"""States in which a socket has no address of its own."""

_PENDING_ERRORS = {
    *(codes.ECONNRESET, codes.ENETDOWN, codes.EPROTO, codes.ENOPROTOOPT, codes.EHOSTDOWN, codes.ENONET),
    *(codes.EHOSTUNREACH, codes.EOPNOTSUPP, codes.ENETUNREACH),
}
"""What Linux's accept says of a connection that has failed before it was accepted."""

_SHUT = {"receive": (True, False), "send": (False, True), "both": (True, True)}


class TcpSocket(KeepAlive):
    """wasi:sockets/tcp tcp-socket."""

    __slots__ = ("_backlog", "_file", "_input", "_is_client", "_output", "_trouble", "state")

    def __init__(self, world: World, sock: socket.socket, family: str, file: Idle | Connection) -> None:
        super().__init__(world, sock, family)
        self.state = State.UNBOUND
        self._backlog = _BACKLOG
        self._file: Idle | Connection | ListenerFile = file
        self._input: TcpInput | None = None
        self._output: TcpOutput | None = None
        self._trouble: OSError | None = None
        self._is_client = False

    # -- states

    def check_usable(self) -> None:
        """Raise Err if its connection has failed."""
        if self.state is State.CLOSED:
            raise Err("invalid-state")

    def _check_start(self, *wanted: State) -> None:
        if self.state in _IN_PROGRESS:
            raise Err("concurrency-conflict")
        if self.state not in wanted:
            raise Err("invalid-state")

    def _check_finish(self, started: State) -> None:
        if self.state is not started:
            raise Err("not-in-progress")

    def waited_for(self) -> tuple[OpenFile, int] | None:
        """Return the file and mode of what is in progress; None if nothing is, or it can be finished."""
        if self.state is State.CONNECTING:
            return (self._file, WRITE) if self._trouble is None else None
        return (self._file, READ) if self.state is State.LISTENING else None

    def _go_on_as(self, file: Connection | ListenerFile) -> None:
        """Replace the file of a socket that was idle."""
        idle, self._file = self._file, file
        assert isinstance(idle, Idle)
        idle.give_way()

    # -- bind

    @function(
        "func(network: borrow<network>, local-address: ip-socket-address) -> result<_, error-code>",
        parks=False,
    )
    @coded
    def start_bind(self, network: NetworkRight, address: Case) -> None:
        """Bind the socket; a port that was in use a moment ago is free."""
        where = to_kernel(address)
        is_client = is_bound_as_client(self.world, network.policy, "tcp", where)
        self._check_start(State.UNBOUND)
        check_unicast(address)
        check_family(address, self.family)
        # A port may be taken again while old connections linger on it.  One that the kernel chooses shall be
        # nobody else's, but later its connections linger too.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, where[1] != 0)
        self.sock.bind(where)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._is_client = is_client
        self.state = State.BINDING

    @function("func() -> result<_, error-code>", parks=False)
    def finish_bind(self) -> None:
        """Finish, which takes no time."""
        self._check_finish(State.BINDING)
        self.state = State.BOUND

    # -- connect

    @function(
        "func(network: borrow<network>, remote-address: ip-socket-address) -> result<_, error-code>",
        parks=False,
    )
    @coded
    def start_connect(self, network: NetworkRight, address: Case) -> None:
        """Begin to connect."""
        where = to_kernel(address)
        policy = network.policy
        if not (policy.tcp and policy.may_connect(where[0], where[1])):
            self.world.network_refused("connect", where)
            raise Err("access-denied")
        self._check_start(State.UNBOUND, State.BOUND)
        check_unicast(address)
        check_remote(address)
        check_family(address, self.family)
        is_bound = self.state is State.BOUND
        self.state = State.CLOSED
        found = self.sock.connect_ex(where)
        if found == codes.EAGAIN or (found == codes.EADDRNOTAVAIL and not is_bound):
            found = codes.EADDRINUSE  # it is a port that the kernel has none of
        if found in (0, codes.EINPROGRESS):
            file = Connection(self.world, self.sock, f"connection to {shown(where)}")
            file.ready = 0
            self._go_on_as(file)
        else:
            self._trouble = OSError(found, os.strerror(found))
        self.state = State.CONNECTING

    @function("func() -> result<tuple<input-stream, output-stream>, error-code>", parks=False)
    @coded
    def finish_connect(self) -> tuple[TcpInput, TcpOutput]:
        """Return the streams of the connection once it is there."""
        self._check_finish(State.CONNECTING)
        trouble, file = self._trouble, self._file
        if trouble is None:
            file.ready |= WRITE | STALE_WRITE  # so that the kernel is asked
            if not file.level(WRITE):
                raise Err("would-block")
            number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            trouble = OSError(number, os.strerror(number)) if number else None
        if trouble is not None:
            self.state = State.CLOSED
            raise trouble
        return self._streams()

    def _streams(self) -> tuple[TcpInput, TcpOutput]:
        """Go on as a connection."""
        file = self._file
        assert isinstance(file, Connection)
        file.retain()
        self._input = TcpInput(self.world, file, self)
        file.retain()
        self._output = TcpOutput(self.world, file, self)
        self.state = State.CONNECTED
        return self._input, self._output

    # -- listen and accept

    @function("func() -> result<_, error-code>", parks=False)
    def start_listen(self) -> None:
        """Begin to listen."""
        self._check_start(State.BOUND)
        if self._is_client:
            self.world.network_refused("listen", self.sock.getsockname())
            raise Err("access-denied")
        self.state = State.LISTEN_STARTED

    @function("func() -> result<_, error-code>", parks=False)
    @coded
    def finish_listen(self) -> None:
        """Listen."""
        self._check_finish(State.LISTEN_STARTED)
        self.state = State.CLOSED
        self.sock.listen(self._backlog)
        owner = self.world.owner
        what = f"listener {shown(self.sock.getsockname())}"
        listener = ListenerFile(self.sock, what, poller=owner.poller, timers=owner.timers)
        self.world.files.add(listener)
        self._go_on_as(listener)
        self.state = State.LISTENING

    @function("func() -> result<tuple<tcp-socket, input-stream, output-stream>, error-code>", parks=False)
    @coded
    def accept(self) -> tuple["TcpSocket", TcpInput, TcpOutput]:
        """Return the next connection that waits, as a socket and its streams."""
        listener, world = self._file, self.world
        if not isinstance(listener, ListenerFile):
            raise Err("invalid-state")
        world.files.check_room()
        try:
            sock = listener.try_accept()
        except OSError as error:
            if error.errno in _PENDING_ERRORS:
                raise Err("connection-aborted") from error
            raise
        if sock is None:
            raise Err("would-block")
        try:
            accepted = TcpSocket(world, sock, self.family, Connection(world, sock, _what(sock)))
        except BaseException:
            sock.close()
            raise
        return (accepted, *accepted._streams())

    @function("func() -> bool", parks=False)
    def is_listening(self) -> bool:
        """Whether it listens."""
        return self.state is State.LISTENING

    @function("func(value: u64) -> result<_, error-code>", parks=False)
    @coded
    def set_listen_backlog_size(self, value: int) -> None:
        """Set how many connections may wait to be accepted; the kernel may allow fewer."""
        if value == 0:
            raise Err("invalid-argument")
        if self.state in (State.CONNECTING, State.CONNECTED, State.CLOSED):
            raise Err("invalid-state")
        self._backlog = min(value, _MOST_BACKLOG)
        if self.state is State.LISTENING:
            self.sock.listen(self._backlog)

    # -- what can be asked

    @function("func() -> result<ip-socket-address, error-code>", parks=False)
    @coded
    def local_address(self) -> Case:
        """Return the address it is bound to."""
        if self.state in _UNNAMED:
            raise Err("invalid-state")
        return to_wit(self.sock.getsockname())

    @function("func() -> result<ip-socket-address, error-code>", parks=False)
    @coded
    def remote_address(self) -> Case:
        """Return the address it is connected to."""
        if self.state is not State.CONNECTED:
            raise Err("invalid-state")
        return to_wit(self.sock.getpeername())

    @function("func() -> result<u8, error-code>", parks=False)
    @coded
    def hop_limit(self) -> int:
        """Return how many routers a packet may pass."""
        return self.hops()

    @function("func(value: u8) -> result<_, error-code>", parks=False)
    @coded
    def set_hop_limit(self, value: int) -> None:
        """Set how many routers a packet may pass."""
        self.set_hops(value)

    @function("func() -> pollable", parks=False)
    def subscribe(self) -> Pollable:
        """Make a pollable that is ready when what is in progress, whatever that is by then, can go on."""
        return _SocketPollable(self)

    # -- the end

    @function("func(shutdown-type: shutdown-type) -> result<_, error-code>", parks=False)
    def shutdown(self, how: str) -> None:
        """End one direction or both; what was written before goes out first."""
        if self._input is None or self._output is None:
            raise Err("invalid-state")
        receive, send = _SHUT[how]
        if receive:
            self._input.end()
        if send:
            self._output.end()

    def drop(self) -> None:
        """Close it; a connection goes on while its streams have something to send."""
        released(self._file)


def _what(sock: socket.socket) -> str:
    try:
        return f"connection {shown(sock.getpeername())}"
    except OSError:
        return "connection whose peer is gone"


class _SocketPollable(Pollable):
    """Ready when what is in progress on a socket can go on, or nothing is in progress."""

    __slots__ = ("_socket",)

    def __init__(self, socket: TcpSocket) -> None:
        super().__init__(socket.world.owner, socket)
        self._socket = socket

    def is_ready(self) -> bool:
        """Ask the socket, whose state may be another than it was."""
        found = self._socket.waited_for()
        return found is None or found[0].level(found[1]) != 0

    def source(self) -> tuple[PollDesc, int] | None:
        """Wait for the socket's file."""
        return self._socket.waited_for()


class TcpInterface(WorldInterface):
    """wasi:sockets/tcp."""

    name = "wasi:sockets/tcp"
    resources: ClassVar = {"tcp-socket": TcpSocket}
    uses: ClassVar = {
        "input-stream": Streams,
        "output-stream": Streams,
        "pollable": Poll,
        "duration": MonotonicClock,
        "network": NetworkInterface,
        "error-code": NetworkInterface,
        "ip-socket-address": NetworkInterface,
        "ip-address-family": NetworkInterface,
    }
    types: ClassVar = {"shutdown-type": "enum {receive, send, both}"}


class TcpCreateSocket(WorldInterface):
    """wasi:sockets/tcp-create-socket."""

    name = "wasi:sockets/tcp-create-socket"
    uses: ClassVar[Any] = {
        "network": NetworkInterface,
        "error-code": NetworkInterface,
        "ip-address-family": NetworkInterface,
        "tcp-socket": TcpInterface,
    }

    @function("func(address-family: ip-address-family) -> result<tcp-socket, error-code>", parks=False)
    @coded
    def create_tcp_socket(self, family: str) -> TcpSocket:
        """Make a socket."""
        sock = make_socket(self.world, "tcp", family)
        return TcpSocket(self.world, sock, family, Idle(self.world, sock))


INTERFACES: tuple[type[WorldInterface], ...] = (TcpInterface, TcpCreateSocket)
