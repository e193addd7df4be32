"""How many guests this process can hold, asked before the system says it.

Two things run out.  *Memory maps*: a guest's memory takes two, and four if it begins with
data; its stack, which is a slot of an arena, none, or two where guards split maps; the heap of
what it throws, if it may throw, is another memory.  At the
system's limit of maps `malloc` fails somewhere in the middle of something, and the process
aborts.  *Address space*: each memory reserves 4 GiB of it, of 128 TiB on x86-64 or what RLIMIT_AS
allows.  A dense guest takes no maps, and a slot for its memory and its stack.

So a guest that would come near a limit is refused while there is still room to say so.
Counting maps is slow where there are many.  So what is left is counted, then every guest
is charged with the most it may take, until that much is gone; then it is counted again.  Where
there is no /proc, nobody can count, and it is for the system to refuse.

A third thing is asked before each call: frames of Python, for what the guest calls.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from coop.engine.arena import ALL, UNTOLD, address_space_left
from coop.errors import LimitExceeded

if TYPE_CHECKING:
    from coop.engine.border import Border
    from coop.engine.config import Engine

_RESERVE = 1 << 11
"""Maps kept free for everything else the process does: threads, libraries, malloc."""

_MAPS_OF_MEMORY = 4
"""Of a memory that wasmtime maps: what it has, what it may grow into, and an image of its data between."""

_MAPS_BESIDES = 4
"""What else a guest may cost, `malloc`'s own maps among it."""

_SPACE_OF_MEMORY = (4 << 30) + (64 << 20)
"""The reservation, and what wasmtime guards around it."""

_HEADROOM = 16
"""Python frames that must be free before a guest runs.  A host call that found none would fail before
its first instruction, where no exception can be caught."""

_LOOK_SHARE = 20
"""A refusal holds without another look for so many times as long as the look took."""


def _max_maps() -> int:
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_bytes())
    except (OSError, ValueError):
        return 65530


def _count_maps() -> int:
    try:
        with open("/proc/self/maps", "rb") as maps:
            return maps.read().count(b"\n")
    except UNTOLD:
        return 0


class _Room:
    """What may still be charged before somebody has to look: `maps`, and bytes of address `space`.

    limit, used   -- maps that the system allows, and how many there were at the last look
    full_until_ns -- until then a refusal holds without another look
    """

    def __init__(self) -> None:
        self.limit = _max_maps()
        self.used = self.maps = self.space = self.full_until_ns = 0

    def charge(self, maps: int, space: int) -> bool:
        """Take so much; False if that is more than there is."""
        if self.maps < maps or self.space < space:
            begin_ns = time.monotonic_ns()
            if begin_ns >= self.full_until_ns:
                self._look()
                now_ns = time.monotonic_ns()
                if self.maps < maps or self.space < space:
                    self.full_until_ns = now_ns + _LOOK_SHARE * (now_ns - begin_ns)
            if self.maps < maps or self.space < space:
                return False
        self.maps -= maps
        self.space -= space
        return True

    def _look(self) -> None:
        # Both or none: without a descriptor to spare neither is known.
        used, space = _count_maps(), address_space_left()
        self.used, self.maps, self.space = used, self.limit - _RESERVE - used, space


_room = _Room()


def admit(border: "Border", engine: "Engine", memories: int) -> None:
    """Let one more guest in, which has so many memories at most.

    Of address space it is charged with one of them, and with the heap of its exceptions: where that
    runs out, wasmtime only says so.

    Raises: LimitExceeded("guests") if its maps or its address space might not fit.
    """
    room, heaps = _room, int(engine.exceptions)
    if engine.memories is None:
        maps, space = (memories + heaps) * _MAPS_OF_MEMORY + _MAPS_BESIDES, (1 + heaps) * _SPACE_OF_MEMORY
    else:
        maps = 1 + 2 * (memories + heaps) * engine.memories.splits
        space = (1 + heaps) * engine.memories.need()
    if not room.charge(maps + 2 * engine.stacks.splits, space + engine.stacks.need()):
        if room.space < space:
            what = f"have all of the address space that it may use (RLIMIT_AS, or {ALL >> 30} GiB)"
        else:
            of = f"the {room.limit} memory maps of this process (sysctl vm.max_map_count)"
            what = f"use {room.used} of {of}"
        raise LimitExceeded("guests", f"{len(border.instances)} guests and all else {what}")


def left() -> None:
    """Take notice that a guest has ended: there may be room again."""
    _room.full_until_ns = 0


def require_frames(count: int = _HEADROOM) -> None:
    """Raise RecursionError unless so many more frames fit."""
    if count:
        require_frames(count - 1)
