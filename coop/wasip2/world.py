"""What one guest has: everything its interfaces work on."""

import errno as codes
from collections.abc import Callable, Sequence
from typing import Any

from coop.engine import Limits
from coop.errors import GuestTrap
from coop.fs import Grant
from coop.given import Given
from coop.netpoll.openfile import OpenFile
from coop.scheduler import Scheduler
from coop.sources import Clocks, RandomSource
from coop.task import Task
from coop.wit import Interface

__all__ = ["World", "WorldInterface", "trap"]


class World:
    """One guest's surroundings.

    owner          -- the scheduler it runs on
    limits         -- what it may use
    args, env      -- its command line and environment
    clocks, random -- where time and randomness come from
    open_stream    -- opens the standard stream of a number
    grants         -- the directories it may use
    network        -- what of the network it may use
    """

    def __init__(
        self,
        owner: Scheduler,
        limits: Limits,
        args: Sequence[str],
        env: Sequence[tuple[str, str]],
        clocks: Clocks,
        random: RandomSource,
        open_stream: Callable[[int], Given],
        grants: Sequence[Grant],
        network: Any,
    ) -> None:
        self.owner = owner
        self.limits = limits
        self.args = args
        self.env = env
        self.clocks = clocks
        self.random = random
        self.grants = grants
        self.network = network
        self._open_stream = open_stream
        self._streams: dict[int, Given] = {}
        self._tasks: dict[Task, None] = {}

    def stream(self, number: int) -> Given:
        """Return the standard stream of a number, 0 to 2; it is the world's to release."""
        found = self._streams.get(number)
        if found is None:
            found = self._streams[number] = self._open_stream(number)
            found.file.nonblock = True  # so that a function behind it is called beside the guest
        return found

    def spawn(self, call: Callable[[], object], name: str) -> Task:
        """Run `call` on a task of its own, which ends with the guest."""

        def run() -> None:
            try:
                call()
            finally:
                self._tasks.pop(task, None)

        task = self.owner.spawn(run, name=name)
        self._tasks[task] = None
        return task

    def close(self) -> None:
        """End what goes on for the guest, and give its standard streams back."""
        for task in list(self._tasks):
            task.cancel()
        for given in self._streams.values():
            given.file.release()
        self._streams.clear()

    def bytes_per_call(self, length: int, most: int) -> int:
        """Return how many of `length` bytes one call may move."""
        limit = self.limits.bytes_per_call
        return min(length, most) if limit is None else min(length, most, limit)


class WorldInterface(Interface):
    """An interface of WASI, which every guest has an object of."""

    version = "0.2"

    def __init__(self, world: World) -> None:
        self.world = world


def trap(what: str) -> GuestTrap:
    """Return the error that ends a guest for having broken a rule of the interface."""
    return GuestTrap(what)


def code_of(error: OSError) -> str:
    """Return the system's name of an error, such as EPIPE; for messages."""
    return codes.errorcode.get(error.errno or 0, "EIO")


def is_gone(error: OSError) -> bool:
    """Whether the peer of a stream has gone, which for a stream is its end and no failure."""
    return error.errno in (codes.EPIPE, codes.ECONNRESET, codes.ESHUTDOWN, codes.ENOTCONN)


def released(file: OpenFile) -> None:
    """Release an open file that may be closed already."""
    if file.refs:
        file.release()
