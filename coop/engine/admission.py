"""How many guests this process can hold, asked before the system says it.

Each guest takes a few memory maps: its fiber's stack with a guard, its memory with
its reservation.  At the system's limit of maps, `malloc` fails somewhere in the
middle of something, and the process aborts.  So a guest that would come near the
limit is refused while there is still room to say so.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from coop.errors import LimitExceeded

if TYPE_CHECKING:
    from coop.engine.border import Border

_RESERVE = 1 << 11
"""Maps kept free for everything else the process does: threads, libraries, malloc."""

_MAPS_PER_GUEST = 8
"""What a guest may take at most; most take five."""

_RECOUNT = 500
"""Guests started between two looks at how many maps there really are."""


def _max_maps() -> int:
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return 65530


def _count_maps() -> int:
    try:
        with open("/proc/self/maps", "rb") as maps:
            return maps.read().count(b"\n")
    except OSError:
        return 0


class _Account:
    """Maps known to be used, and guests started since they were counted."""

    def __init__(self) -> None:
        self.limit = _max_maps() - _RESERVE
        self.used = 0
        self.since = 0
        self.recount = 0


_account = _Account()


def admit(border: "Border") -> None:
    """Let one more guest in.

    Raises: LimitExceeded("guests") if its memory maps might not fit.
    """
    account = _account
    account.since += 1
    if account.since > account.recount:
        account.used = _count_maps()
        account.since = 1
        # Count often near the limit and seldom far from it: looking is slow with many maps.
        account.recount = max(0, min((account.limit - account.used) // (2 * _MAPS_PER_GUEST), 4 * _RECOUNT))
    if account.used + account.since * _MAPS_PER_GUEST > account.limit:
        raise LimitExceeded(
            "guests",
            f"{len(border.instances)} guests and all else use {account.used} of the "
            f"{account.limit + _RESERVE} memory maps of this process (sysctl vm.max_map_count)",
        )
