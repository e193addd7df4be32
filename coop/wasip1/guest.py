"""A WASI preview 1 guest: a value with a life.

    configured -> running -> ended: an exit code, a trap, a limit, a cancel

Nothing is granted by default: no argument, no environment, no directory, no
socket, and null for its standard streams.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from coop.address import Address
from coop.clock import to_ns
from coop.engine import Border, HostFunction, ImportTable, Instance, Limits, Module
from coop.errors import BugError, Busy, Cancelled, CoopError, GuestExit, LimitExceeded, WasCancelled
from coop.fs import Dir, Grant
from coop.logs import Log
from coop.net import Conn, Listener
from coop.scheduler import Scheduler, scheduler
from coop.task import Task, current
from coop.text import text as text_stream
from coop.timers import Timer
from coop.wasip1.ends import tell_end
from coop.wasip1.errno import WasiError
from coop.wasip1.fdtable import Descriptor
from coop.wasip1.imports import SNAPSHOT1
from coop.wasip1.paths import preopened
from coop.wasip1.poll import Poll
from coop.wasip1.pystreams import AsksAhead
from coop.wasip1.snapshot0 import SNAPSHOT0
from coop.wasip1.sources import Clocks, RandomSource, SystemRandom
from coop.wasip1.state import Wasi
from coop.wasip1.stdio import Stdio, open_stdio
from coop.wasip1.streams import checked_sockets, open_connection, open_listener

log = Log("coop.wasip1")

_TABLES, _BOTH_TABLES = (SNAPSHOT1,), (SNAPSHOT1, SNAPSHOT0)


def _tables(module: Module) -> tuple[ImportTable, ...]:
    """Return what a module is offered: each table costs the start of its shim, and few want the older."""
    wants_old = any(wanted.module == SNAPSHOT0.module for wanted in module.imports)
    return _BOTH_TABLES if wants_old else _TABLES


class GuestState(Enum):
    """Where a guest is in its life."""

    CONFIGURED = "configured"
    STARTED = "started"
    ENDED = "ended"


class Guest:
    """One guest of a module.

    args    -- its command line after the program's name
    name    -- argv[0], and its name in messages
    env     -- its environment
    dirs    -- the directories it may use, as `Dir` values or host paths; numbered after the sockets
    listen  -- listeners it gets, from fd 3: addresses as `coop.listen` takes them (port 0: any free one),
               listening sockets or `coop.Listener`s
    connections -- connections it gets, after the listeners: addresses as `coop.connect` takes them,
               sockets, for datagrams too, or `coop.Conn`s
    stdin   -- what it reads: None (nothing), "inherit", bytes, a binary file, a callable that
               returns bytes (b"" at the end), or a socket
    stdout, stderr -- where it writes: None (nowhere), "inherit", a binary file, a bytearray, a
               callable that takes bytes, or a socket
    limits  -- what it may use; see `Limits`
    imports -- host functions it may import besides WASI
    clocks, random -- where its time and its randomness come from; see `coop.wasip1.Clocks`, `RandomSource`
    """

    def __init__(
        self,
        module: Module,
        *,
        args: Sequence[str | bytes] = (),
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        dirs: Sequence[Grant | str | os.PathLike[str]] = (),
        listen: Sequence[Address | socket.socket | Listener] = (),
        connections: Sequence[Address | socket.socket | Conn] = (),
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        limits: Limits | None = None,
        imports: Sequence[HostFunction] = (),
        clocks: Clocks | None = None,
        random: RandomSource | None = None,
    ) -> None:
        self.module = module
        self.name = name or os.path.basename(module.name)
        self.limits = limits or (Limits.for_server() if listen else Limits())
        self.state = GuestState.CONFIGURED
        self.addresses: list[Any] = []  # of its listeners, in order; filled when it starts
        self._args = [self.name, *args]
        self._env = dict(env or {})
        self._dirs = [Dir(entry) if isinstance(entry, (str, os.PathLike)) else entry for entry in dirs]
        self._listen, self._connections = checked_sockets(listen, connections)
        self._stdio, self._imports = (stdin, stdout, stderr), tuple(imports)
        self._clocks, self._random = clocks or Clocks(), random or SystemRandom()
        self._instance: Instance | None = None
        self._owner: Scheduler | None = None
        self._wasi: Wasi | None = None
        self._timer: Timer | None = None
        self._cancel: Cancelled | None = None
        self._opener: Task | None = None
        self._is_busy, self._is_new, self._cpu_ns = False, True, 0
        self._waiters: list[Task] = []
        self._code: int | None = None
        self._error: BaseException | None = None
        self._check_names()

    def _check_names(self) -> None:
        names = [entry.guest_name for entry in self._dirs]
        for guest_name in names:
            if names.count(guest_name) > 1:
                raise ValueError(f"two directories have the guest name {guest_name!r}")
        for text in self._args:
            if "\0" in os.fsdecode(text):
                raise ValueError(f"argument {text!r} contains a NUL byte")
        for key, value in self._env.items():
            if not key or "=" in key or "\0" in key + value:
                raise ValueError(
                    f"environment entry {key!r}: a name is not empty and has no '=', and nothing has a NUL"
                )

    def __repr__(self) -> str:
        return f"<Guest {self.name} {self.state.value}>"

    # -- life

    def start(self) -> None:
        """Open what the guest is given and make it; then `addresses` are known, and `run` or `call` go on.

        Nothing of the guest runs but its start section and its `_initialize`.  Connecting may park.
        Raises: as `call`.
        """
        self._raise_if_cancelled()
        if self.state is not GuestState.CONFIGURED:
            raise CoopError(f"start {self.name}: it is {self.state.value}")
        self._attempt(lambda _: None)

    def run(self) -> int:
        """Run the guest's `_start` in the current task until it ends, and return its exit code.

        Raises: GuestTrap; LimitExceeded; LinkError; WasCancelled if somebody cancelled the guest; OSError
        for a directory, listener or connection that cannot be had; ValueError for one that is none;
        whatever a host function raised.
        """
        self._raise_if_cancelled()
        if self._opener is not None:
            raise Busy(f"run {self.name}: it is being started")
        if self.state is GuestState.ENDED or not self._is_new:
            raise CoopError(f"run {self.name}: it is {self.state.value}; a guest runs once")
        try:
            self._is_new = False
            self._use(lambda instance: instance.call("_start", ()))
        except GuestExit as error:
            self._code = error.code
        except BaseException as error:
            self._error = error
            if error is self._cancel:
                self._raise_if_cancelled()
            raise
        else:
            self._code = 0
        finally:
            self._end()
            self._give_last_lines()
        return self._code

    def call(self, name: str, *args: Any) -> Any:
        """Call the export `name` in the current task; the guest stays alive between calls.

        The first call starts it (and runs `_initialize` if the module has that).
        Raises: GuestExit if it called proc_exit; otherwise as `run`.  After any error but
        LinkError for a wrong call the guest has ended.
        """
        self._raise_if_cancelled()
        if self.state is GuestState.ENDED:
            raise CoopError(f"call {name}: guest {self.name} has ended")
        self._is_new = False
        return self._attempt(lambda instance: instance.call(name, args))

    def _attempt(self, act: Callable[[Instance], Any]) -> Any:
        """Do something with the guest, which ends if that leaves nothing to go on with."""
        try:
            return self._use(act)
        except BaseException as error:
            if not self._is_busy and (self._instance is None or self._instance.is_dead):
                self._error = error
                self._end()
                self._give_last_lines()
            if error is self._cancel:
                self._raise_if_cancelled()
            raise

    def wait(self) -> int:
        """Park until the guest has ended, and return its exit code.

        Raises: what it ended with; WasCancelled if it was cancelled; WrongThread from another thread.
        """
        if self._owner is not None:
            self._owner.check_owner(f"wait for guest {self.name}")
        while self.state is not GuestState.ENDED:
            task = current()
            self._waiters.append(task)
            try:
                task.park(f"the end of guest {self.name}")
            finally:
                if task in self._waiters:
                    self._waiters.remove(task)
        if isinstance(self._error, Cancelled):
            raise WasCancelled(f"guest {self.name} was cancelled") from self._error
        if self._error is not None:
            raise self._error
        return self._code or 0

    def _raise_if_cancelled(self) -> None:
        if self._cancel is not None:
            raise WasCancelled(f"guest {self.name} was cancelled") from self._cancel

    def cancel(self) -> None:
        """End the guest, in whatever state it is: computing, waiting, or not started.

        Callable from any thread once the guest has started; from another one it takes
        effect when the guest's own thread comes to it, within a slice.
        """
        owner = self._owner
        if owner is not None and not owner.is_here():
            owner.post(self.cancel)
            return
        if self.state is GuestState.ENDED or self._cancel is not None:
            return
        self._cancel = Cancelled(f"guest {self.name} was cancelled")
        if self._opener is not None:
            self._opener.interrupt(self._cancel)
        elif not (self._instance is not None and self._instance.stop(self._cancel)) and not self._is_busy:
            self._error = self._cancel
            self._end()

    def close(self) -> None:
        """End the guest if it has not ended, and give back all it holds; for guests that are called."""
        if self._owner is not None:
            self._owner.check_owner(f"close guest {self.name}")
        if self._is_busy:
            raise BugError(f"close guest {self.name}: it is in a call; cancel it")
        if self.state is not GuestState.ENDED:
            self._code = self._code or 0
            self._end()
        self._give_last_lines()

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def cpu_time(self) -> float:
        """Seconds it has computed so far."""
        return (self._instance.cpu_ns if self._instance is not None else self._cpu_ns) / 1e9

    # -- inside

    def _use(self, act: Callable[[Instance], Any]) -> Any:
        if self._owner is not None:
            self._owner.check_owner(f"use guest {self.name}")
        if self._is_busy:
            raise Busy(f"guest {self.name} is in a call already")
        self._is_busy = True
        try:
            if self._cancel is not None:
                raise self._cancel
            if self._instance is None:
                self._start(scheduler())
            instance = self._instance
            assert instance is not None
            return act(instance)
        finally:
            self._is_busy = False

    def _give_last_lines(self) -> None:
        """End the texts, which hold back a line without a newline; other streams are their owner's to end."""
        for stream in self._stdio:
            if isinstance(stream, text_stream):
                stream.close()

    def _start(self, owner: Scheduler) -> None:
        self._owner = owner
        self.module.check_process()
        if owner.before_guest is not None:
            owner.before_guest()
        border = owner.resource(Border, lambda: Border(owner))
        wasi = self._wasi = Wasi(
            owner,
            self.limits,
            [os.fsencode(text) for text in self._args],
            [os.fsencode(f"{key}={value}") for key, value in self._env.items()],
            self._clocks,
            self._random,
        )
        wasi.poll = Poll(wasi)
        linkage = border.linkage(self.module.engine, _tables(self.module), self._imports)
        linkage.require(self.module)
        self._open_descriptors(owner, wasi)
        instance = self._instance = Instance(border, self.module, linkage, self.limits, wasi, self)
        instance.on_run_end = self._end
        wasi.instance, wasi.memory = instance, instance.memory
        self.state = GuestState.STARTED
        try:
            if self.limits.wall_time is not None:
                due_ns = owner.now_ns() + to_ns(self.limits.wall_time)
                self._timer = owner.timers.set(due_ns, self._wall_time_is_over)
            log.info("guest started", guest=self.name, module=self.module.name)
            instance.start()
        except BaseException:
            # Half made, it must not be called again: wasmtime ends the process for an instance that is none.
            instance.close()
            raise
        if "_initialize" in self.module.exports:
            instance.call("_initialize", ())

    def _open_descriptors(self, owner: Scheduler, wasi: Wasi) -> None:
        """Fill the table; a connection that takes long to make can be cancelled."""
        self._opener = current()
        try:
            self._fill_table(owner, wasi)
        finally:
            self._opener = None

    def _fill_table(self, owner: Scheduler, wasi: Wasi) -> None:
        """Open what the guest is given: standard streams, then sockets from 3, then directories."""
        for number, (stream, what) in enumerate(zip(self._stdio, ("stdin", "stdout", "stderr"), strict=True)):
            self._add(wasi, open_stdio(owner, stream, number, what))
        stdin = wasi.fds[0].file
        wasi.poll.stdin = stdin if isinstance(stdin, AsksAhead) else None
        for place, listener in enumerate(self._listen):
            entry, address = open_listener(owner, listener, f"listen[{place}]")
            self._add_socket(wasi, entry)
            self.addresses.append(address)
        for place, connection in enumerate(self._connections):
            self._add_socket(wasi, open_connection(owner, connection, f"connections[{place}]"))
        for grant in self._dirs:
            self._add(wasi, preopened(grant.open(owner), grant.guest_name))

    def _add_socket(self, wasi: Wasi, entry: Descriptor) -> None:
        entry.preopen = b"socket:%d" % len(wasi.fds)
        self._add(wasi, entry)

    def _add(self, wasi: Wasi, entry: Descriptor) -> None:
        try:
            wasi.fds.add(entry)
        except WasiError:
            entry.file.release()
            raise LimitExceeded("fds", f"guest {self.name} is given more than {self.limits.fds}") from None

    def _wall_time_is_over(self) -> None:
        error = LimitExceeded("wall_time", f"guest {self.name} has run for {self.limits.wall_time} s")
        if self._instance is None or not self._instance.stop(error):
            self._error = error
            self._end()

    def _end(self) -> None:
        if self.state is GuestState.ENDED:
            return
        self.state = GuestState.ENDED
        if self._timer is not None:
            self._timer.cancel()
        # Each leads back to the other; apart, they go with the guest and not with a collection.
        instance, self._instance = self._instance, None
        wasi, self._wasi = self._wasi, None
        if instance is not None:
            self._cpu_ns = instance.cpu_ns
            instance.close()
        if wasi is not None:
            wasi.close()
            if instance is not None:
                del wasi.instance
        waiters, self._waiters = self._waiters, []
        for task in waiters:
            task.wake()
        tell_end(self.name, self._code, self._error, () if instance is None else instance.sizes.ended)
