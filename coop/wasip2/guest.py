"""A WASI 0.2 guest: a component with a life.

    configured -> started -> ended: an exit code, a trap, a limit, a cancel

Nothing is granted by default: no argument, no environment, no directory, no network,
and null for its standard streams.
"""

import os
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from coop.engine import Border, Limits
from coop.engine.component import Component, ComponentInstance, ComponentLinkage
from coop.errors import CoopError, GuestExit, GuestTrap
from coop.fs import Grant, checked_grants
from coop.given import Given, Stdio, open_stdio
from coop.guest import Life
from coop.scheduler import Scheduler
from coop.slips import check_context, check_entries, check_kind, check_lists, check_program
from coop.sources import SYSTEM_CLOCKS, Clocks, RandomSource, SystemRandom
from coop.task import current
from coop.wasip2.interfaces import INTERFACES
from coop.wasip2.sockets.policy import Network
from coop.wasip2.world import World
from coop.wit import Err, Interface

__all__ = ["Guest"]

_RUN = "wasi:cli/run"


class Guest(Life[ComponentInstance]):
    """One guest of a component.

    args    -- its command line after the program's name
    name    -- its first argument, and its name in messages
    env     -- its environment
    dirs    -- the directories it may use, as `Dir` or `MemDir` values or host paths
    network -- what of the network it may use, as a `Network`; None: nothing
    tls     -- whom it trusts, and what it shows, when it sends requests by HTTPS; None: as
               `ssl.create_default_context` does
    stdin   -- what it reads: None (nothing), "inherit", bytes, a binary file, a callable that
               returns bytes (b"" at the end), a `coop.Channel` of bytes, or a socket
    stdout, stderr -- where it writes: None (nowhere), "inherit", a binary file, a bytearray, a
               callable that takes bytes, a `coop.Channel`, or a socket
    limits  -- what it may use; see `Limits`
    weight  -- its share of the processor while several guests compute
    imports -- interfaces it may import besides WASI's, which they stand before; see `coop.wit`
    clocks, random -- where its time and its randomness come from
    """

    def __init__(
        self,
        component: Component,
        *,
        args: Sequence[str] = (),
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        dirs: Sequence[Grant | str | os.PathLike[str]] = (),
        network: Network | None = None,
        tls: ssl.SSLContext | None = None,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        limits: Limits | None = None,
        weight: float = 1.0,
        imports: Sequence[Interface] = (),
        clocks: Clocks | None = None,
        random: RandomSource | None = None,
    ) -> None:
        check_kind("component", component, Component)
        check_lists(args=args, dirs=dirs, imports=imports)
        check_program(name, args, env, str)
        check_entries("imports", imports, Interface, "an object of a coop.wit.Interface")
        if network is not None:
            check_kind("network", network, Network)
        check_context("tls", tls, ssl.PROTOCOL_TLS_SERVER, "client")
        stdio = (stdin, stdout, stderr)
        may_listen = network is not None and bool(network.listen)
        limits = limits or (Limits.for_server() if may_listen else Limits())
        super().__init__(name or component.program, limits, weight, stdio)
        self.component = component
        self._args = [self.name, *args]
        self._env = list((env or {}).items())
        self._dirs = checked_grants(dirs)
        self._network, self._tls = network, tls
        self._imports = tuple(imports)
        self._clocks, self._random = clocks or SYSTEM_CLOCKS, random or SystemRandom()
        self._world: World | None = None
        self._check_strings()

    def _check_strings(self) -> None:
        """Raise ValueError for what no string of WIT can say: bytes of the system's that are no UTF-8."""
        given = [
            *(("an argument is", text) for text in self._args),
            *(("a variable is", f"{name}={value}") for name, value in self._env),
            *(("a directory has the guest name", grant.guest_name) for grant in self._dirs),
        ]
        for words, text in given:
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{words} {text!r}, which is no text") from None

    def call(self, interface: str, function: str, *args: Any) -> Any:
        """Call an exported function in the current task; the guest stays alive between calls.

        interface -- the interface it is in, with its version or without; "" for one that stands alone
        Values look as `coop.wit.values` says.  The first call starts the guest.
        Raises: Err if the result is an error; GuestExit if it ended itself; otherwise as `run`.  After
        any error but Err and LinkError for a wrong call the guest has ended.
        """
        return self._call(function, lambda instance: instance.call(interface, function, args))

    @property
    def world(self) -> World:
        """What its interfaces work on; for host code that makes resources for it.  It has to be started."""
        if self._world is None:
            raise CoopError(f"guest {self.name} is {self.state.value}")
        return self._world

    # -- inside

    def _make(self, owner: Scheduler) -> ComponentInstance:
        component = self.component
        component.check_process()
        border = owner.resource(Border, lambda: Border(owner))
        kinds = (*(type(each) for each in self._imports), *INTERFACES)
        key = (component.address, kinds)
        linkage = border.keep_linkage(key, lambda: ComponentLinkage(border, component, kinds))
        world = self._world = World(
            owner,
            self.limits,
            self._args,
            self._env,
            self._clocks,
            self._random,
            lambda number: self._open_stream(owner, number),
            self._dirs,
            self._network,
        )
        world.tls = self._tls
        world.open_directories()
        state = [*self._imports, *(kind(world) for kind in INTERFACES)]
        return ComponentInstance(border, component, linkage, self.limits, state, self)

    def _open_stream(self, owner: Scheduler, number: int) -> Given:
        return open_stdio(owner, self._stdio[number], number, ("stdin", "stdout", "stderr")[number])

    def _begin(self, instance: ComponentInstance) -> None:
        instance.start()

    def _main(self, instance: ComponentInstance) -> int:
        code = 0
        try:
            instance.call(_RUN, "run", ())
        except Err:
            code = 1
        except (GuestExit, GuestTrap):
            self._await_output()
            raise
        self._await_output()
        return code

    def _await_output(self) -> None:
        """Let nothing be lost of what a command has written: a pipe may be read slowly.

        Raises: what ends the guest meanwhile: a cancel, or the limit of time.
        """
        assert self._world is not None
        self._aide = task = current()
        try:
            self._world.await_output()
        finally:
            self._aide = None
            if (ended := self._cancel or self._error) is not None:
                task.forget_interrupt(ended)
        if ended is not None:
            raise ended

    def _give_back(self) -> None:
        world, self._world = self._world, None
        if world is not None:
            world.close()
