"""The preloaded library from Python's side: makes one system call of this process fail.

The library is `failing.c`, which says what it does; a child gets it by `environment()`.
"""

import ctypes
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guestbuild import c_library

SHORT = -1
"""Fewer bytes than asked, in place of an errno."""

HOWS = {
    "EINTR": errno.EINTR,
    "EAGAIN": errno.EAGAIN,
    "ENOMEM": errno.ENOMEM,
    "EMFILE": errno.EMFILE,
    "EIO": errno.EIO,
    "short": SHORT,
}


def environment() -> dict[str, str]:
    """What a child must find in its environment to be able to fail.

    Raises: ToolchainMissing, BuildFailed.
    """
    return {"LD_PRELOAD": str(c_library(Path(__file__).with_name("failing.c")))}


class Failing:
    """The library, as loaded into this process."""

    def __init__(self) -> None:
        library = ctypes.PyDLL(None)
        self._arm, self._disarm = library.fail_arm, library.fail_disarm
        self._exempt = library.fail_exempt
        self._name, self._counted = library.fail_name, library.fail_counted
        self._arm.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_long)
        self._disarm.restype = ctypes.c_long
        self._counted.argtypes = (ctypes.c_long,)
        self._name.restype = self._counted.restype = ctypes.c_char_p

    @contextmanager
    def armed(self, nth: int, how: int, *, in_a_row: int = 1) -> Iterator[None]:
        """Count while the block runs; the call number `nth` (0: none) fails in the way `how`."""
        self._arm(nth, how, in_a_row)
        try:
            yield
        finally:
            self._disarm()

    @classmethod
    def idle(cls) -> "Failing":
        """One that neither arms nor exempts: for what runs while another one is armed."""
        found = cls()
        found._arm = found._disarm = found._exempt = lambda *_: 0
        return found

    @contextmanager
    def exempt(self) -> Iterator[None]:
        """What this thread calls in the block passes uncounted; for the other end of a wire."""
        self._exempt(1)
        try:
            yield
        finally:
            self._exempt(0)

    @property
    def failed(self) -> str:
        """The name of the call that failed since the last arming; empty if none did."""
        return (self._name() or b"").decode()

    def names(self) -> list[str]:
        """The calls counted since the last arming, in order."""
        return [(self._counted(nth) or b"?").decode() for nth in range(1, self._disarm() + 1)]
