"""What one guest has: everything its interfaces work on."""

import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from coop.engine import Limits
from coop.errors import LimitExceeded
from coop.fs import Directory, Grant
from coop.given import Given
from coop.logs import Log
from coop.net.address import shown
from coop.netpoll.openfile import OpenFile
from coop.scheduler import Scheduler
from coop.sources import Clocks, RandomSource
from coop.task import Task
from coop.wasip2.filesystem.openfiles import OpenFiles
from coop.wasip2.sockets.policy import Network
from coop.wit import Interface

if TYPE_CHECKING:
    from coop.wasip2.writing import OutputStream

__all__ = ["Account", "World", "WorldInterface", "released"]

log = Log("coop.wasip2")


class Account:
    """How much of the host's memory one guest has in things of some kind, whoever holds them."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0


class World:
    """One guest's surroundings.

    owner          -- the scheduler it runs on
    limits         -- what it may use
    args, env      -- its command line and environment
    clocks, random -- where time and randomness come from
    open_stream    -- opens the standard stream of a number
    grants         -- the directories it may use
    directories    -- these, open, and their names for the guest
    files          -- all it has open
    network        -- what of the network it may use
    tls            -- whom it trusts when it speaks HTTPS; None: whom the system trusts
    requests       -- how many it has under way by HTTP; written by the sender of them
    fields         -- how much memory its headers and trailers take
    backlog        -- how much its streams and bodies have taken and not passed on yet
    unwritten      -- its handles of standard streams that have such a backlog; written by these
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
        network: Network | None,
    ) -> None:
        self.owner = owner
        self.limits = limits
        self.args = args
        self.env = env
        self.clocks = clocks
        self.random = random
        self.grants = grants
        self.network = network or Network()
        self.tls: ssl.SSLContext | None = None
        self.requests = 0
        self.fields, self.backlog = Account(), Account()
        self.unwritten: set[OutputStream] = set()
        self.files = OpenFiles(limits.fds)
        self.directories: list[tuple[Directory, str]] = []
        self._open_stream = open_stream
        self._streams: dict[int, Given] = {}
        self._tasks: dict[Task, Callable[[], object]] = {}
        self._refused: tuple[str, ...] = ()

    def open_directories(self) -> None:
        """Open what is granted.  Raises: OSError; what is open then is closed by `close`."""
        for grant in self.grants:
            if self.files.limit is not None and len(self.files) >= self.files.limit:
                raise LimitExceeded("fds", f"a guest is given more than {self.files.limit} directories")
            directory = grant.open(self.owner)
            self.files.add(directory)
            self.directories.append((directory, grant.guest_name))

    def stream(self, number: int) -> Given:
        """Return the standard stream of a number, 0 to 2; it is the world's to release."""
        found = self._streams.get(number)
        if found is None:
            found = self._streams[number] = self._open_stream(number)
            found.file.nonblock = True  # so that a function behind it is called beside the guest
        return found

    def await_output(self) -> None:
        """Park until what its standard streams have taken is written."""
        for stream in list(self.unwritten):
            stream.wait_until_written()

    def spawn(
        self, call: Callable[[], object], name: str, at_end: Callable[[], object] = lambda: None
    ) -> Task:
        """Run `call` on a task of its own, which ends with the guest.

        at_end -- called once after that, also if the guest ends before the task has begun
        """

        def run() -> None:
            try:
                call()
            finally:
                end = self._tasks.pop(task, None)
                if end is not None:
                    end()

        task = self.owner.spawn(run, name=name)
        self._tasks[task] = at_end
        return task

    def close(self) -> None:
        """End what goes on for the guest, and give its standard streams back."""
        while self._tasks:
            task, end = self._tasks.popitem()
            task.cancel()
            end()
        for given in self._streams.values():
            given.file.release()
        self._streams.clear()
        self.files.close()

    def network_refused(self, right: str, where: object) -> None:
        """Name in the log what of the network it may not use, once for each right that it lacks.

        The guest hears of it by an error, which many end with and do not repeat.

        right -- as `Network` spells it
        where -- an address, a name, or a kind of socket
        """
        if right not in self._refused:
            self._refused += (right,)
            guest = self.args[0] if self.args else ""
            log.warning("not allowed on the network", guest=guest, **{right: shown(where)})

    def bytes_per_call(self, length: int, most: int) -> int:
        """Return how many of `length` bytes one call may move."""
        limit = self.limits.bytes_per_call
        return min(length, most) if limit is None else min(length, most, limit)


class WorldInterface(Interface):
    """An interface of WASI, which every guest has an object of."""

    version = "0.2"

    def __init__(self, world: World) -> None:
        self.world = world


def released(file: OpenFile) -> None:
    """Release an open file that may be closed already."""
    if file.refs:
        file.release()
