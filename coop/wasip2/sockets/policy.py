"""What of the network a guest may use: nothing but what is named.

    Network(connect=["192.0.2.7:443", "10.0.0.0/8:*"], listen=["127.0.0.1:8080"], names=["*.example.org"])

A place is "HOST:PORT".  HOST is an address, a range of addresses ("10.0.0.0/8",
"[fd00::/8]"), or "*"; PORT is a number or "*".  IPv6 stands in brackets.

1. A name that may be looked up is not a place that may be connected to: what it resolves to is
   judged as any other address.
2. A socket is bound where `listen` says.  Whoever may connect at all may also bind to any address
   and no port in particular, as clients of UDP must; what is bound so does not listen, and hears
   only from where it may connect to.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from coop.net.address import is_port
from coop.slips import check_entries

__all__ = ["Network", "ascii_name", "is_address"]

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NUMBERS = re.compile(r"[0-9.]*")
_LONGEST_NAME = 253
_LONGEST_ADDRESS = 45  # of IPv6 with its last part as one of IPv4


class _Place(NamedTuple):
    """Where a guest may go; None stands for any."""

    hosts: IPv4Network | IPv6Network | None
    port: int | None

    def covers(self, host: IPv4Address | IPv6Address, port: int) -> bool:
        return (self.hosts is None or host in self.hosts) and self.port in (None, port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What of the network a guest may use.

    connect -- places it may connect and send datagrams to, as texts; one or several
    listen  -- places it may bind sockets to, and so listen at; port 0, any free one, is a port as others
    names   -- names it may look up: "www.example.org", all below one as "*.example.org", all as "*"
    tcp, udp -- whether it may use these at all
    Raises: ValueError that names the entry that is none; TypeError for what is no list of texts, or neither
    True nor False.
    """

    connect: str | Iterable[str] = ()
    listen: str | Iterable[str] = ()
    names: str | Iterable[str] = ()
    tcp: bool = True
    udp: bool = True
    _connect: tuple[_Place, ...] = field(init=False, repr=False, compare=False)
    _listen: tuple[_Place, ...] = field(init=False, repr=False, compare=False)
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("tcp", "udp"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"network {name}: True or False wanted, not {getattr(self, name)!r}")
        for name, read in (("connect", _place), ("listen", _place), ("names", _pattern)):
            given = getattr(self, name)
            if not isinstance(given, (str, Iterable)) or isinstance(given, (bytes, bytearray)):
                raise TypeError(f"network {name}: a text or a list wanted, not {type(given).__name__}")
            entries = (given,) if isinstance(given, str) else tuple(given)
            check_entries(f"network {name}", entries, str, "a text")
            object.__setattr__(self, name, entries)
            object.__setattr__(self, f"_{name}", tuple(read(name, entry) for entry in entries))

    @classmethod
    def all(cls) -> "Network":
        """Return the right to everything that the host itself may do."""
        return cls(connect="*:*", listen="*:*", names="*")

    def may_use(self, kind: str) -> bool:
        """Whether there is anything it may do with sockets of a kind, "tcp" or "udp"."""
        return bool(getattr(self, kind) and (self._connect or self._listen))

    def may_connect(self, host: str, port: int) -> bool:
        """Whether it may connect, or send, to an address."""
        return _is_covered(self._connect, host, port)

    def may_listen(self, host: str, port: int) -> bool:
        """Whether it may bind to an address, and listen there."""
        return _is_covered(self._listen, host, port)

    def may_bind_as_client(self, host: str, port: int) -> bool:
        """Whether it may bind to an address as one who only connects, or sends, may."""
        return bool(self._connect) and port == 0 and ip_address(host).is_unspecified

    def may_look_up(self, name: str) -> bool:
        """Whether it may look a name up, which is spelled as `ascii_name` does."""
        return any(
            each in ("*", name) or (each.startswith("*.") and name.endswith(each[1:])) for each in self._names
        )


def ascii_name(name: str) -> str:
    """Return the name of a host as it is looked up: in ASCII, lower case, without a dot at the end.

    Raises: ValueError if it is none.
    """
    found = ""
    if len(name) <= _LONGEST_NAME + 1:  # in ASCII it is no shorter
        try:
            found = name.encode("idna").decode("ascii").lower().removesuffix(".")
        except UnicodeError:
            pass
    if len(found) > _LONGEST_NAME or _NAME.fullmatch(found) is None:
        raise ValueError(f"{name[: _LONGEST_NAME + 1]!r} is no host's name")
    return found


def is_address(text: str) -> bool:
    """Whether a text is an address and no name."""
    if len(text) > _LONGEST_ADDRESS:
        return False  # without the time that `ipaddress` takes for a text of a guest's, of any length
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # the name of an interface is the host's own


def _is_covered(places: tuple[_Place, ...], host: str, port: int) -> bool:
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        # The kernel takes it for one of IPv4, and no range of IPv6 is meant to say so.
        places = tuple(place for place in places if place.hosts is None)
    return any(place.covers(address, port) for place in places)


def _place(name: str, text: str) -> _Place:
    where = f"network {name} {text!r}"
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port:
        raise ValueError(f"{where}: HOST:PORT wanted, each may be *")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{where}: an IPv6 address stands in brackets")
    if port != "*" and not is_port(port):
        raise ValueError(f"{where}: the port is a number from 0 to 65535, or *")
    if "%" in host:  # a range has none, and would never cover an address that has
        raise ValueError(f"{where}: the name of an interface has no place here")
    try:
        hosts = None if host == "*" else ip_network(host)
    except ValueError as error:
        is_name = _NAME.fullmatch(host.lower()) and not _NUMBERS.fullmatch(host)
        why = ", not a name: those that may be looked up are allowed apart" if is_name else f": {error}"
        raise ValueError(f"{where}: an address, a range of them or * wanted{why}") from None
    return _Place(hosts, None if port == "*" else int(port))


def _pattern(name: str, text: str) -> str:
    if text == "*":
        return text
    rest = text.removeprefix("*.")
    try:
        return text[: len(text) - len(rest)] + ascii_name(rest)
    except ValueError:
        raise ValueError(f"network {name} {text!r}: a name, *.NAME or * wanted") from None
