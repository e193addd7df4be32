"""wasi:sockets/udp and udp-create-socket.

1. A socket has one pair of streams at a time, with one peer or with everybody; a second pair
   while one of the first is in use is a mistake of the guest and ends it.
2. Each send has to be permitted by a `check-send` of its own, for so many datagrams.
3. Neither stream ever answers `would-block`: what cannot be done now is no datagram, and none sent.
"""

import ctypes
import os
import socket
from typing import Any, ClassVar

from coop.errors import GuestTrap
from coop.netpoll.contract import READ, STALE_READ, WRITE
from coop.netpoll.kernelfiles import NO_ROOM, SocketFile
from coop.wasip2.io import Poll
from coop.wasip2.pollables import FilePollable, Pollable, ReadyPollable
from coop.wasip2.sockets.base import Socket, is_bound_as_client, make_socket
from coop.wasip2.sockets.network import (
    NetworkInterface,
    NetworkRight,
    check_family,
    check_remote,
    coded,
    to_kernel,
    to_wit,
)
from coop.wasip2.world import World, WorldInterface, released
from coop.wit import Case, Err, Resource, function

__all__ = ["INTERFACES", "UdpSocket"]

_LARGEST = 65535
"""Bytes of the largest datagram there could be; the kernel takes less."""

_BATCH = 16
"""How many datagrams one call moves."""

_ENOUGH = 64 << 10
"""Bytes after which one call receives no more: on their way to the guest nobody else runs."""

_libc = ctypes.CDLL(None, use_errno=True)
_UNSPECIFIED = bytes(16)
"""An address of no family, which takes an association back; Python's own connect knows none."""


class DatagramFile(SocketFile):
    """A socket whose datagrams come and go with addresses."""

    __slots__ = ()

    def try_receive(self) -> tuple[bytes, tuple[Any, ...]] | None:
        """Receive a datagram and where it is from, or None if none is there.  Raises: OSError."""
        if not (self.ready & READ or self.worth_trying(READ)):
            return None
        try:
            found = self.sock.recvfrom(_LARGEST)
        except BlockingIOError:
            self.ready &= ~READ
            return None
        self.ready |= STALE_READ
        return found

    def try_send(self, data: bytes, where: tuple[Any, ...] | None) -> bool:
        """Send a datagram, to the peer or to an address; False if there is no room.  Raises: OSError."""
        if not (self.ready & WRITE or self.worth_trying(WRITE)):
            return False
        try:
            if where is None:
                self.sock.send(data)
            else:
                self.sock.sendto(data, where)
        except BlockingIOError:
            self.ready &= NO_ROOM
            return False
        return True

    def disconnect(self, here: tuple[Any, ...]) -> None:
        """Be without a peer again, at the address that it was bound to."""
        if _libc.connect(self.fd, _UNSPECIFIED, len(_UNSPECIFIED)) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        if self.sock.getsockname()[1] == 0:
            # Linux gives a port back that it has chosen itself.  A socket that was bound to no address in
            # particular had one of its own while it had a peer, so that is not to be asked for here.
            self.sock.bind(here)


class UdpSocket(Socket):
    """wasi:sockets/udp udp-socket."""

    __slots__ = ("_is_binding", "_is_bound", "_local", "file", "is_client", "remote", "streams")

    def __init__(self, world: World, sock: socket.socket, family: str) -> None:
        super().__init__(world, sock, family)
        owner = world.owner
        self.file = DatagramFile(sock, poller=owner.poller, timers=owner.timers)
        world.files.add(self.file)
        self.remote: tuple[Any, ...] | None = None
        self.streams = 0
        self.is_client = False
        self._local: tuple[Any, ...] = ()  # set with `_is_binding`
        self._is_binding = self._is_bound = False

    @function(
        "func(network: borrow<network>, local-address: ip-socket-address) -> result<_, error-code>",
        parks=False,
    )
    @coded
    def start_bind(self, network: NetworkRight, address: Case) -> None:
        """Bind the socket."""
        where = to_kernel(address)
        is_client = is_bound_as_client(self.world, network.policy, "udp", where)
        if self._is_binding:
            raise Err("concurrency-conflict")
        if self._is_bound:
            raise Err("invalid-state")
        check_family(address, self.family)
        self.sock.bind(where)
        self._local = self.sock.getsockname()
        self.is_client = is_client
        self._is_binding = True

    @function("func() -> result<_, error-code>", parks=False)
    def finish_bind(self) -> None:
        """Finish, which takes no time."""
        if not self._is_binding:
            raise Err("not-in-progress")
        self._is_binding, self._is_bound = False, True

    @function(
        "func(remote-address: option<ip-socket-address>) -> "
        "result<tuple<incoming-datagram-stream, outgoing-datagram-stream>, error-code>",
        parks=False,
    )
    @coded
    def stream(self, remote: Case | None) -> tuple["Incoming", "Outgoing"]:
        """Return streams to and from one peer, or everybody."""
        if self.streams:
            raise GuestTrap("streams are made of a UDP socket while others of it are in use")
        if not self._is_bound:
            raise Err("invalid-state")
        if self.remote is not None:
            self.file.disconnect(self._local)
            self.remote = None
        if remote is not None:
            self._connect(remote)
        return Incoming(self), Outgoing(self)

    def _connect(self, remote: Case) -> None:
        where = to_kernel(remote)
        if not self.world.network.may_connect(where[0], where[1]):
            self.world.network_refused("connect", where)
            raise Err("access-denied")
        check_remote(remote)
        check_family(remote, self.family)
        self.sock.connect(where)
        self.remote = where

    @function("func() -> result<ip-socket-address, error-code>", parks=False)
    @coded
    def local_address(self) -> Case:
        """Return the address it is bound to."""
        if not self._is_bound:
            raise Err("invalid-state")
        return to_wit(self.sock.getsockname())

    @function("func() -> result<ip-socket-address, error-code>", parks=False)
    @coded
    def remote_address(self) -> Case:
        """Return the address of the one peer its streams are for."""
        if self.remote is None:
            raise Err("invalid-state")
        return to_wit(self.sock.getpeername())

    @function("func() -> result<u8, error-code>", parks=False)
    @coded
    def unicast_hop_limit(self) -> int:
        """Return how many routers a packet may pass."""
        return self.hops()

    @function("func(value: u8) -> result<_, error-code>", parks=False)
    @coded
    def set_unicast_hop_limit(self, value: int) -> None:
        """Set how many routers a packet may pass."""
        self.set_hops(value)

    @function("func() -> pollable", parks=False)
    def subscribe(self) -> Pollable:
        """Make a pollable that is ready: nothing about the socket itself takes time."""
        return ReadyPollable(self.world.owner, self)

    def drop(self) -> None:
        """Close the socket."""
        released(self.file)


class _Stream(Resource):
    """Either stream; it counts for its socket until it is dropped."""

    __slots__ = ("_socket",)

    def __init__(self, socket: UdpSocket) -> None:
        super().__init__(socket)
        self._socket = socket
        socket.streams += 1

    def drop(self) -> None:
        """Count no more."""
        self._socket.streams -= 1


class Incoming(_Stream):
    """wasi:sockets/udp incoming-datagram-stream."""

    __slots__ = ()

    @function("func(max-results: u64) -> result<list<incoming-datagram>, error-code>", parks=False)
    @coded
    def receive(self, most: int) -> list[tuple[bytes, Case]]:
        """Return the datagrams that are there, `most` of them, or fewer."""
        found: list[tuple[bytes, Case]] = []
        size = 0
        for _ in range(min(most, _BATCH)):
            try:
                datagram = self._socket.file.try_receive()
            except OSError:
                if found:
                    break  # what went wrong is told once; the kernel has more to say if it stays so
                raise
            if datagram is None:
                break
            data, where = datagram
            if self._is_wanted(where):
                found.append((data, to_wit(where)))
                size += len(data)
            if size >= _ENOUGH:
                break
        return found

    def _is_wanted(self, where: tuple[Any, ...]) -> bool:
        """Whether a datagram is for the guest: one may have come before there was a peer."""
        host = where[0].partition("%")[0]
        socket = self._socket
        remote = socket.remote
        if remote is not None:
            return (host, where[1]) == remote[:2]
        return not socket.is_client or socket.world.network.may_connect(host, where[1])

    @function("func() -> pollable", parks=False)
    def subscribe(self) -> Pollable:
        """Make a pollable that is ready when there is something to receive."""
        return FilePollable(self._socket.world.owner, self._socket.file, READ, self)


class Outgoing(_Stream):
    """wasi:sockets/udp outgoing-datagram-stream."""

    __slots__ = ("_permit",)

    def __init__(self, socket: UdpSocket) -> None:
        super().__init__(socket)
        self._permit: int | None = None

    @function("func() -> result<u64, error-code>", parks=False)
    def check_send(self) -> int:
        """Permit a send of so many datagrams; 0 while there is no room."""
        self._permit = _BATCH if self._socket.file.level(WRITE) else 0
        return self._permit

    @function("func(datagrams: list<outgoing-datagram>) -> result<u64, error-code>", parks=False)
    @coded
    def send(self, datagrams: list[Any]) -> int:
        """Send datagrams until one cannot be, and return how many were; an error is that of the first."""
        permit, self._permit = self._permit, None
        if permit is None or len(datagrams) > permit:
            raise GuestTrap(f"send of {len(datagrams)} datagrams to a stream that permitted {permit or 0}")
        for i, datagram in enumerate(datagrams):
            try:
                if not self._send(datagram):
                    return i
            except (OSError, Err):
                if i:
                    return i
                raise
        return len(datagrams)

    def _send(self, datagram: Any) -> bool:
        data, given = datagram
        if len(data) > _LARGEST:
            raise Err("datagram-too-large")
        socket = self._socket
        where = None if given is None else to_kernel(given)
        remote = socket.remote
        if remote is not None:
            if where is not None and where != remote:
                raise Err("invalid-argument")
            return socket.file.try_send(data, None)
        if where is None:
            raise Err("invalid-argument")
        if not socket.world.network.may_connect(where[0], where[1]):
            socket.world.network_refused("connect", where)
            raise Err("access-denied")
        check_remote(given)
        check_family(given, socket.family)
        return socket.file.try_send(data, where)

    @function("func() -> pollable", parks=False)
    def subscribe(self) -> Pollable:
        """Make a pollable that is ready when a send would be permitted."""
        return FilePollable(self._socket.world.owner, self._socket.file, WRITE, self)


class UdpInterface(WorldInterface):
    """wasi:sockets/udp."""

    name = "wasi:sockets/udp"
    resources: ClassVar = {
        "udp-socket": UdpSocket,
        "incoming-datagram-stream": Incoming,
        "outgoing-datagram-stream": Outgoing,
    }
    uses: ClassVar = {
        "pollable": Poll,
        "network": NetworkInterface,
        "error-code": NetworkInterface,
        "ip-socket-address": NetworkInterface,
        "ip-address-family": NetworkInterface,
    }
    types: ClassVar = {
        "incoming-datagram": "record {data: list<u8>, remote-address: ip-socket-address}",
        "outgoing-datagram": "record {data: list<u8>, remote-address: option<ip-socket-address>}",
    }


class UdpCreateSocket(WorldInterface):
    """wasi:sockets/udp-create-socket."""

    name = "wasi:sockets/udp-create-socket"
    uses: ClassVar[Any] = {
        "network": NetworkInterface,
        "error-code": NetworkInterface,
        "ip-address-family": NetworkInterface,
        "udp-socket": UdpInterface,
    }

    @function("func(address-family: ip-address-family) -> result<udp-socket, error-code>", parks=False)
    @coded
    def create_udp_socket(self, family: str) -> UdpSocket:
        """Make a socket."""
        sock = make_socket(self.world, "udp", family)
        try:
            return UdpSocket(self.world, sock, family)
        except BaseException:
            sock.close()
            raise


INTERFACES: tuple[type[WorldInterface], ...] = (UdpInterface, UdpCreateSocket)
