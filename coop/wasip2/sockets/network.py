"""wasi:sockets/network and instance-network: the right to a network, addresses, and errors by name."""

import errno as codes
import socket
from collections.abc import Callable
from functools import wraps
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

from coop.wasip2.failure import Error
from coop.wasip2.io import ErrorInterface
from coop.wasip2.sockets.policy import Network
from coop.wasip2.world import WorldInterface
from coop.wit import Case, Err, Resource, function

__all__ = [
    "INTERFACES",
    "Network",
    "NetworkInterface",
    "NetworkRight",
    "check_family",
    "check_remote",
    "check_unicast",
    "coded",
    "error_code",
    "ip_to_wit",
    "to_kernel",
    "to_wit",
]

_F = TypeVar("_F", bound=Callable[..., Any])

_CODES = {
    codes.EACCES: "access-denied",
    codes.EPERM: "access-denied",
    codes.EOPNOTSUPP: "not-supported",
    codes.ENOPROTOOPT: "not-supported",
    codes.EPFNOSUPPORT: "not-supported",
    codes.EAFNOSUPPORT: "not-supported",
    codes.EPROTONOSUPPORT: "not-supported",
    codes.EPROTOTYPE: "not-supported",
    codes.ESOCKTNOSUPPORT: "not-supported",
    codes.EINVAL: "invalid-argument",
    codes.ENOMEM: "out-of-memory",
    codes.ENOBUFS: "out-of-memory",
    codes.ETIMEDOUT: "timeout",
    codes.EALREADY: "concurrency-conflict",
    codes.EAGAIN: "would-block",
    codes.EINTR: "would-block",
    codes.EISCONN: "invalid-state",
    codes.ENOTCONN: "invalid-state",
    codes.EDESTADDRREQ: "invalid-state",
    codes.EMFILE: "new-socket-limit",
    codes.ENFILE: "new-socket-limit",
    codes.EADDRNOTAVAIL: "address-not-bindable",
    codes.EADDRINUSE: "address-in-use",
    codes.EHOSTUNREACH: "remote-unreachable",
    codes.EHOSTDOWN: "remote-unreachable",
    codes.ENETUNREACH: "remote-unreachable",
    codes.ENETDOWN: "remote-unreachable",
    codes.ENONET: "remote-unreachable",
    codes.ECONNREFUSED: "connection-refused",
    codes.ECONNRESET: "connection-reset",
    codes.ECONNABORTED: "connection-aborted",
    codes.EMSGSIZE: "datagram-too-large",
    # The resolver's own numbers are below zero.
    socket.EAI_NONAME: "name-unresolvable",
    socket.EAI_NODATA: "name-unresolvable",
    socket.EAI_ADDRFAMILY: "name-unresolvable",
    socket.EAI_AGAIN: "temporary-resolver-failure",
    socket.EAI_FAIL: "permanent-resolver-failure",
    socket.EAI_MEMORY: "out-of-memory",
}
"""The system's errors by the names WIT has for them; any other is `unknown`."""


def error_code(error: OSError) -> str:
    """Return the name of an error of the system, or of the resolver."""
    return _CODES.get(error.errno or 0, "unknown")


def coded(call: _F) -> _F:
    """Make an error of the system that `call` raises its result."""

    @wraps(call)
    def run(*args: Any) -> Any:
        try:
            return call(*args)
        except OSError as error:
            raise Err(error_code(error)) from error

    return cast(_F, run)


# -- addresses


class _V4(NamedTuple):
    port: int
    address: tuple[int, ...]


class _V6(NamedTuple):
    port: int
    flow_info: int
    address: tuple[int, ...]
    scope_id: int


def ip_to_wit(host: str) -> Case:
    """Return an address without a port; one of IPv4 in the disguise of IPv6 comes out as what it is."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is None:
            packed = address.packed
            return Case("ipv6", tuple(packed[i] << 8 | packed[i + 1] for i in range(0, 16, 2)))
        address = mapped
    return Case("ipv4", tuple(address.packed))


def to_wit(found: tuple[Any, ...]) -> Case:
    """Return an address that the kernel gave, as `socket.getsockname` does."""
    family, address = ip_to_wit(found[0])
    return Case(
        family, _V4(found[1], address) if len(found) == 2 else _V6(found[1], found[2], address, found[3])
    )


def to_kernel(given: Case) -> tuple[Any, ...]:
    """Return an address of the guest's as `socket.connect` takes it.  Raises: Err."""
    where = given.value
    host = str(_ip(given))
    if given.name == "ipv4":
        return host, where.port
    if where.flow_info > 0xFFFFF:  # 20 bits are all that a packet has for it
        raise Err("invalid-argument")
    return host, where.port, where.flow_info, where.scope_id


def _ip(given: Case) -> IPv4Address | IPv6Address:
    parts = given.value.address
    if given.name == "ipv4":
        return IPv4Address(bytes(parts))
    return IPv6Address(b"".join(part.to_bytes(2, "big") for part in parts))


def check_family(given: Case, family: str) -> None:
    """Raise Err unless the address suits a socket of a family, "ipv4" or "ipv6".

    IPv6's two ways to spell an address of IPv4 suit neither.
    """
    address = _ip(given)
    if given.name != family:
        raise Err("invalid-argument")
    if isinstance(address, IPv6Address) and (
        address.ipv4_mapped is not None or (1 < int(address) < 1 << 32)  # 0 and 1 are "any" and "loopback"
    ):
        raise Err("invalid-argument")


def check_unicast(given: Case) -> None:
    """Raise Err for the address of a group, or of everybody."""
    address = _ip(given)
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        raise Err("invalid-argument")


def check_remote(given: Case) -> None:
    """Raise Err unless the address is one that somebody can be reached at."""
    if _ip(given).is_unspecified or given.value.port == 0:
        raise Err("invalid-argument")


# -- interfaces


class NetworkRight(Resource):
    """wasi:sockets/network network: the right to use what the guest may use of the network."""

    __slots__ = ("policy",)

    def __init__(self, policy: Network) -> None:
        super().__init__()
        self.policy = policy


class NetworkInterface(WorldInterface):
    """wasi:sockets/network."""

    name = "wasi:sockets/network"
    resources: ClassVar = {"network": NetworkRight}
    uses: ClassVar = {"error": ErrorInterface}
    types: ClassVar = {
        "error-code": "enum {unknown, access-denied, not-supported, invalid-argument, out-of-memory, "
        "timeout, concurrency-conflict, not-in-progress, would-block, invalid-state, new-socket-limit, "
        "address-not-bindable, address-in-use, remote-unreachable, connection-refused, connection-reset, "
        "connection-aborted, datagram-too-large, name-unresolvable, temporary-resolver-failure, "
        "permanent-resolver-failure}",
        "ip-address-family": "enum {ipv4, ipv6}",
        "ipv4-address": "tuple<u8, u8, u8, u8>",
        "ipv6-address": "tuple<u16, u16, u16, u16, u16, u16, u16, u16>",
        "ip-address": "variant {ipv4(ipv4-address), ipv6(ipv6-address)}",
        "ipv4-socket-address": "record {port: u16, address: ipv4-address}",
        "ipv6-socket-address": "record {port: u16, flow-info: u32, address: ipv6-address, scope-id: u32}",
        "ip-socket-address": "variant {ipv4(ipv4-socket-address), ipv6(ipv6-socket-address)}",
    }

    @function("func(err: borrow<error>) -> option<error-code>", parks=False)
    def network_error_code(self, error: Error) -> str | None:
        """Say what a stream's error is called here; nothing if it is none of the system's."""
        return error_code(error.cause) if isinstance(error.cause, OSError) else None


class InstanceNetwork(WorldInterface):
    """wasi:sockets/instance-network."""

    name = "wasi:sockets/instance-network"
    uses: ClassVar = {"network": NetworkInterface}

    @function("func() -> network", parks=False)
    def instance_network(self) -> NetworkRight:
        """Return the right to what the guest may use."""
        return NetworkRight(self.world.network)


INTERFACES: tuple[type[WorldInterface], ...] = (NetworkInterface, InstanceNetwork)
