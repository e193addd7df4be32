"""What TCP and UDP sockets of WASI 0.2 have in common: how they are made, counted, and set up."""

import socket
from typing import Any

from coop.wasip2.sockets.network import coded
from coop.wasip2.sockets.policy import Network
from coop.wasip2.world import World
from coop.wit import Err, Resource, function

__all__ = ["Socket", "is_bound_as_client", "make_socket"]

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_HOPS = {
    "ipv4": (socket.IPPROTO_IP, socket.IP_TTL),
    "ipv6": (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}
_MOST = (1 << 31) - 1
"""The largest number that an option of the kernel takes."""


def make_socket(world: World, kind: str, family: str) -> socket.socket:
    """Make a non-blocking socket, "tcp" or "udp".  Raises: Err, OSError."""
    if not world.network.may_use(kind):
        world.network_refused(kind, "any socket")
        raise Err("access-denied")
    world.files.check_room()
    sock = socket.socket(_FAMILIES[family], _KINDS[kind] | socket.SOCK_NONBLOCK)
    try:
        if family == "ipv6":
            # Otherwise it would be one of IPv4 as well, which WASI knows as two.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def is_bound_as_client(world: World, policy: Network, kind: str, where: tuple[Any, ...]) -> bool:
    """Say whether a socket may be bound to an address only as one who connects, or sends, binds it.

    Raises: Err if it may not be bound there at all.
    """
    host, port = where[:2]
    if getattr(policy, kind):
        if policy.may_listen(host, port):
            return False
        if policy.may_bind_as_client(host, port):
            return True
    world.network_refused("listen", where)
    raise Err("access-denied")


class Socket(Resource):
    """A socket of either kind.

    sock   -- the kernel's
    family -- "ipv4" or "ipv6"
    """

    __slots__ = ("family", "sock", "world")

    def __init__(self, world: World, sock: socket.socket, family: str) -> None:
        super().__init__()
        self.world = world
        self.sock = sock
        self.family = family

    def check_usable(self) -> None:
        """Raise Err if nothing can be set or asked any more."""

    def get(self, level: int, option: int) -> int:
        """Ask for an option.  Raises: Err, OSError."""
        self.check_usable()
        return self.sock.getsockopt(level, option)

    def set(self, level: int, option: int, value: int) -> None:
        """Set an option to what is not 0.  Raises: Err, OSError."""
        self.check_usable()
        if value == 0:
            raise Err("invalid-argument")
        self.sock.setsockopt(level, option, min(value, _MOST))

    def hops(self) -> int:
        """Return how many routers a packet may pass."""
        return self.get(*_HOPS[self.family])

    def set_hops(self, value: int) -> None:
        """Set how many routers a packet may pass."""
        self.set(*_HOPS[self.family], value)

    # -- what the guest calls

    @function("func() -> ip-address-family", parks=False)
    def address_family(self) -> str:
        """Return the family it was made for."""
        return self.family

    @function("func() -> result<u64, error-code>", parks=False)
    @coded
    def receive_buffer_size(self) -> int:
        """Return how many bytes the kernel keeps that were not read yet.  Linux counts its own twice."""
        return self.get(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2

    @function("func(value: u64) -> result<_, error-code>", parks=False)
    @coded
    def set_receive_buffer_size(self, value: int) -> None:
        """Set how many bytes the kernel keeps that were not read yet; it may keep less, or more."""
        self.set(socket.SOL_SOCKET, socket.SO_RCVBUF, value)

    @function("func() -> result<u64, error-code>", parks=False)
    @coded
    def send_buffer_size(self) -> int:
        """Return how many bytes the kernel keeps that were not sent yet."""
        return self.get(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2

    @function("func(value: u64) -> result<_, error-code>", parks=False)
    @coded
    def set_send_buffer_size(self, value: int) -> None:
        """Set how many bytes the kernel keeps that were not sent yet; it may keep less, or more."""
        self.set(socket.SOL_SOCKET, socket.SO_SNDBUF, value)
