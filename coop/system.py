"""Where coop runs, checked before anything else is imported: elsewhere there is one clear error."""

import platform
import select
import sys
import threading
from types import BuiltinFunctionType

from coop.errors import Unsupported

MACHINES = {"x86_64", "aarch64"}
"""Machines whose calling convention and epoll layout the code knows."""


def check_system(
    system: str, machine: str, implementation: str, version: tuple[int, ...], *, has_gil: bool = True
) -> None:
    """Raise Unsupported, with the reason in words, unless coop runs on such a system."""
    if system != "Linux":
        raise Unsupported(
            f"coop needs Linux (epoll, eventfd, openat2); this is {system or 'an unknown system'}"
        )
    if machine not in MACHINES:
        raise Unsupported(f"coop needs one of {', '.join(sorted(MACHINES))}; this is {machine or 'unknown'}")
    if implementation != "cpython":
        raise Unsupported(f"coop needs CPython (greenlet, ctypes callbacks); this is {implementation}")
    if (3, 14, 0) <= version < (3, 14, 1):
        raise Unsupported("coop needs a CPython that can be told of stacks, as 3.14.1 can; this is 3.14.0")
    if not has_gil:
        raise Unsupported("coop needs CPython's GIL, and this one runs without (-X gil=1 switches it on)")


def check_threads() -> None:
    """Raise Unsupported where threads and waits are no longer the system's, as gevent's patches have it."""
    # What takes their place is written in Python, or is a class.
    if not all(
        type(each) is BuiltinFunctionType for each in (threading.get_ident, getattr(select, "poll", None))
    ):
        raise Unsupported(
            "coop needs the system's own threads and waits; "
            "something like gevent has replaced those of Python in this process"
        )


check_system(
    platform.system(),
    platform.machine(),
    sys.implementation.name,
    sys.version_info[:3],
    has_gil=getattr(sys, "_is_gil_enabled", lambda: True)(),
)
