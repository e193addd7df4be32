"""Addresses of streams: as text, and as the kernel takes them.

    "HOST:PORT", "[::1]:80"   TCP; an IPv6 address stands in brackets
    "unix:PATH"               a Unix socket, named by its file
    "unix:@NAME"              a Unix socket of Linux's abstract names, which have no file

A TCP address may also be the tuple that `socket.getsockname` gives.
"""

import os
from typing import Any

Address = str | tuple[Any, ...]

UNIX = "unix:"

_LONGEST = 107
"""Bytes of a Unix socket's name; the kernel's field has one more, for a NUL."""


_LAST_PORT = 65535
_DIGITS = 5
"""Of a port; zeroes in front count."""


def parse_address(text: str) -> tuple[str, int]:
    """Split "HOST:PORT" ("[::1]:80" for IPv6).

    Raises: ValueError that says what is wrong with it.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"address {text!r}: an IPv6 address stands in brackets")
    if not colon or not host:
        raise ValueError(f"address {text!r}: HOST:PORT wanted")
    if not is_port(port):
        raise ValueError(f"address {text!r}: the port is a number from 0 to 65535")
    return host, int(port)


def is_port(text: str) -> bool:
    """Whether a text is the number of a port."""
    # Python takes no text of thousands of digits for a number, and says so in words of its own.
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) <= _LAST_PORT


def host_and_port(address: Address) -> tuple[str, int]:
    """Return the two parts of a TCP address of either form.

    Raises: TypeError for what is no address; ValueError that says what is wrong with one.
    """
    if isinstance(address, str):
        return parse_address(address)
    if not isinstance(address, (tuple, list)):
        raise TypeError(f'address {address!r}: "HOST:PORT" or a tuple of both wanted')
    if len(address) < 2:
        raise ValueError(f"address {address!r}: host and port wanted")
    host, port = address[:2]
    if not isinstance(host, str) or not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"address {address!r}: a text and a number wanted")
    if not host:
        raise ValueError(f"address {address!r}: the host is missing")
    if not 0 <= port <= _LAST_PORT:  # the resolver takes others for other ports
        raise ValueError(f"address {address!r}: the port is a number from 0 to {_LAST_PORT}")
    return host, port


def unix_name(address: Address) -> str | None:
    """Return what the kernel takes for a "unix:" address, or None for an address of TCP.

    Raises: ValueError that says what is wrong with it.
    """
    if not isinstance(address, str) or not address.startswith(UNIX):
        return None
    name = address.removeprefix(UNIX)
    if name in ("", "@"):
        raise ValueError(f"address {address!r}: unix:PATH or unix:@NAME wanted")
    if "\0" in name:
        raise ValueError(f"address {address!r} contains a NUL byte")
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:
        raise ValueError(f"address {address!r}: no file system has such a name") from None
    if size > _LONGEST:
        raise ValueError(f"address {address!r}: the name of a Unix socket has {_LONGEST} bytes at most")
    return "\0" + name[1:] if name.startswith("@") else name


def spelled(found: Any) -> Any:
    """Return what `getsockname` or `getpeername` gave as an address to connect to.

    Tuples are left as they are; "" is a Unix socket without a name.
    """
    if not isinstance(found, (bytes, str)) or not found:
        return found or ""
    name = os.fsdecode(found)
    return f"{UNIX}@{name[1:]}" if name.startswith("\0") else UNIX + name


def shown(address: Any) -> str:
    """Return an address of either form as text for a message."""
    if isinstance(address, (tuple, list)) and len(address) >= 2:
        host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
        return f"{host}:{address[1]}"
    return str(address) or "a Unix socket without a name"
