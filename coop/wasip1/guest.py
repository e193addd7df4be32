"""A WASI preview 1 guest: what it is given, and how that becomes its descriptors.

Its life is `coop.guest`'s, and that of every kind.  Nothing is granted by default: no
argument, no environment, no directory, no socket, and null for its standard streams.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from coop.engine import Border, HostFunction, ImportTable, Instance, Limits, Memory, Module
from coop.errors import CoopError, LimitExceeded
from coop.fs import Grant, checked_grants
from coop.given import (
    AsksAhead,
    Stdio,
    checked_sockets,
    open_connection,
    open_listener,
    open_null,
    open_stdio,
)
from coop.guest import Life
from coop.net import Conn, Listener
from coop.net.address import Address
from coop.scheduler import Scheduler
from coop.slips import check_entries, check_kind, check_lists, check_program
from coop.sources import SYSTEM_CLOCKS, Clocks, RandomSource, SystemRandom
from coop.task import current
from coop.wasip1.errno import WasiError
from coop.wasip1.fdtable import Descriptor
from coop.wasip1.imports import SNAPSHOT1
from coop.wasip1.paths import preopened
from coop.wasip1.poll import Poll
from coop.wasip1.snapshot0 import SNAPSHOT0
from coop.wasip1.state import Wasi
from coop.wasip1.streams import descriptor

_TABLES, _BOTH_TABLES = (SNAPSHOT1,), (SNAPSHOT1, SNAPSHOT0)

# One for all guests: they have no state, and every object less is one that no collection walks.
_LIMITS, _RANDOM = Limits(), SystemRandom()


def _tables(module: Module) -> tuple[ImportTable, ...]:
    """Return what a module is offered: each table costs the start of its shim, and few want the older."""
    return _BOTH_TABLES if SNAPSHOT0.module in module.wanted_of else _TABLES


class Guest(Life[Instance]):
    """One guest of a module.

    args    -- its command line after the program's name
    name    -- argv[0], and its name in messages
    env     -- its environment
    dirs    -- the directories it may use, as `Dir` or `MemDir` values or host paths; numbered after the
               sockets
    listen  -- listeners it gets, from fd 3: addresses as `coop.listen` takes them (port 0: any free one),
               listening sockets or `coop.Listener`s
    connections -- connections it gets, after the listeners: addresses as `coop.connect` takes them,
               sockets, for datagrams too, or `coop.Conn`s
    stdin   -- what it reads: None (nothing), "inherit", bytes, a binary file, a callable that
               returns bytes (b"" at the end), a `coop.Channel` of bytes, or a socket
    stdout, stderr -- where it writes: None (nowhere), "inherit", a binary file, a bytearray, a
               callable that takes bytes, a `coop.Channel`, or a socket
    limits  -- what it may use; see `Limits`
    weight  -- its share of the processor while several guests compute
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
        weight: float = 1.0,
        imports: Sequence[HostFunction] = (),
        clocks: Clocks | None = None,
        random: RandomSource | None = None,
    ) -> None:
        check_kind("module", module, Module)
        check_lists(args=args, dirs=dirs, imports=imports)
        check_program(name, args, env, str, bytes)
        check_entries("imports", imports, HostFunction, "a function marked by coop.host_function")
        limits = limits or (Limits.for_server() if listen else _LIMITS)
        super().__init__(name or module.program, limits, weight, (stdin, stdout, stderr))
        self.module = module
        self.addresses: tuple[Any, ...] = ()  # of its listeners, in order; known when it has started
        self._args = (self.name, *args)
        self._env, self._dirs = dict(env or {}), tuple(checked_grants(dirs))
        self._listen, self._connections = checked_sockets(listen, connections)
        self._imports = tuple(imports)
        self._clocks, self._random = clocks or SYSTEM_CLOCKS, random or _RANDOM
        self._wasi: Wasi | None = None
        self._check_names()

    def _check_names(self) -> None:
        for text in self._args:
            if "\0" in os.fsdecode(text):
                raise ValueError(f"argument {text!r} contains a NUL byte")
        for key, value in self._env.items():
            if not key or "=" in key or "\0" in key + value:
                raise ValueError(
                    f"environment entry {key!r}: a name is not empty and has no '=', and nothing has a NUL"
                )

    # -- life

    def call(self, name: str, *args: Any) -> Any:
        """Call the export `name` in the current task; the guest stays alive between calls.

        The first call starts it (and runs `_initialize` if the module has that).
        Raises: GuestExit if it called proc_exit; otherwise as `run`.  After any error but
        LinkError for a wrong call the guest has ended.
        """
        return self._call(name, lambda instance: instance.call(name, args))

    @property
    def memory(self) -> Memory:
        """Its memory, checked: where texts and bytes are put before a call, and taken from after it.

        A guest that exports none has an empty one.
        Raises: CoopError before its start, which is `start` or the first `call`, and after its end;
        WrongThread.
        """
        self._belong("use the memory of")
        if self._instance is None:
            raise CoopError(f"memory of guest {self.name}: it is {self.state.value}")
        return self._instance.memory

    # -- inside

    def _make(self, owner: Scheduler) -> Instance:
        self.module.check_process()
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
        border.linkage(self.module, _tables(self.module), self._imports).require(self.module)
        self._open_descriptors(owner, wasi)
        # Asked for again: others may have run while a connection was made, and what no guest uses is closed.
        linkage = border.linkage(self.module, _tables(self.module), self._imports)
        instance = Instance(border, self.module, linkage, self.limits, wasi, self)
        wasi.instance, wasi.memory = instance, instance.memory
        return instance

    def _begin(self, instance: Instance) -> None:
        instance.start()
        if "_initialize" in self.module.exports:
            instance.call("_initialize", ())

    def _main(self, instance: Instance) -> int:
        if self.module.entry is not None:
            instance.call(self.module.entry, ())
        return 0

    def _open_descriptors(self, owner: Scheduler, wasi: Wasi) -> None:
        """Fill the table; a connection that takes long to make can be cancelled."""
        self._aide = task = current()
        try:
            self._fill_table(owner, wasi)
        finally:
            self._aide = None
            if (ended := self._cancel or self._error) is not None:
                task.forget_interrupt(ended)  # something else ended it first: no later park must hear of this
        if ended is not None:
            raise ended

    def _fill_table(self, owner: Scheduler, wasi: Wasi) -> None:
        """Open what the guest is given: standard streams, then sockets from 3, then directories."""
        null: Descriptor | None = None
        for number, (stream, what) in enumerate(zip(self._stdio, ("stdin", "stdout", "stderr"), strict=True)):
            if stream is not None:
                entry = descriptor(open_stdio(owner, stream, number, what), number)
            elif null is None:
                entry = null = descriptor(open_null())
            else:  # as if duplicated: every object less is one that no collection walks
                entry = null
                entry.file.retain()
            self._add(wasi, entry)
        stdin = wasi.fds[0].file
        wasi.poll.stdin = stdin if isinstance(stdin, AsksAhead) else None
        for place, listener in enumerate(self._listen):
            given, address = open_listener(owner, listener, f"listen[{place}]")
            self._add_socket(wasi, descriptor(given))
            self.addresses += (address,)
        for place, connection in enumerate(self._connections):
            given = open_connection(owner, connection, f"connections[{place}]")
            self._add_socket(wasi, descriptor(given))
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

    def _give_back(self) -> None:
        wasi, self._wasi = self._wasi, None
        if wasi is not None:
            wasi.close()
            if hasattr(wasi, "instance"):
                del wasi.instance
