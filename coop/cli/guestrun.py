"""One guest from its file to its exit status: load, listen, run, and hear signals meanwhile.

Compiling a large module takes seconds inside wasmtime, which hears no signal.  So the
file is loaded in a helper thread while the main thread only waits, and ^C or
SIGTERM ends the program at once.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Self

import click

import coop
from coop.address import shown as shown_address
from coop.cli.values import argument, shown
from coop.logs import Log
from coop.scheduler import Scheduler, scheduler

SPINNER_AFTER_S = 0.5
"""A load that takes longer than this is shown on a terminal."""

BAD_USAGE, TIMED_OUT, INTERRUPTED, TRAPPED, TERMINATED = 2, 124, 130, 134, 143
"""Exit statuses that coop itself makes, besides 0 and 1."""

log = Log("coop.cli")


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a command line asked for.

    argv0   -- the guest's own name; None: its file's
    listen, connect -- addresses, or sockets that were passed to us
    invoke  -- the export to call with `args`; None: the guest's `_start`
    trace   -- whether every park and wait is logged
    """

    path: str
    args: Sequence[str]
    argv0: str | None
    dirs: Sequence[coop.Dir]
    env: Mapping[str, str]
    listen: Sequence[str | socket.socket]
    connect: Sequence[str | socket.socket]
    limits: coop.Limits
    max_wasm_stack: int | None
    use_cache: bool
    invoke: str | None
    poller: str
    trace: bool


class UsageError(Exception):
    """The command line asks for what cannot be meant."""


class Terminated(BaseException):
    """SIGTERM came while no guest was running."""


class Termination:
    """While it lasts, SIGTERM ends the guest instead of the process; where nobody else handles it.

    was_sent -- whether SIGTERM came
    """

    def __init__(self) -> None:
        self.was_sent = False
        self._is_ours = False
        self._owner: Scheduler | None = None
        self._guest: coop.Guest | None = None

    def __enter__(self) -> Self:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_sigterm)
            self._is_ours = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def will_end(self, owner: Scheduler, guest: coop.Guest) -> None:
        """Have SIGTERM cancel `guest` from now on."""
        self._owner, self._guest = owner, guest

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        self.was_sent = True
        if self._owner is None or self._guest is None:
            raise Terminated
        # An exception raised here could be lost in a host call of the guest.
        self._owner.post(self._guest.cancel)


def run_plan(plan: Plan) -> int:
    """Run the guest and return the exit status of the program.

    Raises: UsageError; what `coop.Module.from_file` and `coop.Guest.run` raise.
    """
    with Termination() as termination:
        try:
            module = _load(plan)
            arguments = _arguments(plan, module)
            return int(
                coop.run(_main, plan, module, arguments, termination, poller=plan.poller, trace=plan.trace)
            )
        except (Terminated, coop.WasCancelled):
            if not termination.was_sent:
                raise
            return TERMINATED


def _load(plan: Plan) -> coop.Module:
    outcome: list[coop.Module | BaseException] = []
    done = threading.Event()

    def load() -> None:
        try:
            more: dict[str, Any] = {}
            if plan.max_wasm_stack is not None:
                more["max_wasm_stack"] = plan.max_wasm_stack
            outcome.append(coop.Module.from_file(plan.path, cache=plan.use_cache, **more))
        except BaseException as error:
            outcome.append(error)
        done.set()

    # A daemon: one that is given up by ^C must not hold the process.
    thread = threading.Thread(target=load, name="load", daemon=True)
    thread.start()
    if not done.wait(SPINNER_AFTER_S):
        with _spinner(f"compiling {os.path.basename(plan.path)}"):
            done.wait()
    thread.join()
    found = outcome[0]
    if isinstance(found, BaseException):
        raise found
    return found


def _spinner(words: str) -> ExitStack:
    stack = ExitStack()
    if sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        stack.enter_context(Console(stderr=True).status(Text(words)))
    return stack


def _arguments(plan: Plan, module: coop.Module) -> list[int | float]:
    """Return the arguments of the export to call; a check of what the guest must have, too."""
    name = plan.invoke or "_start"
    signature = module.exports.get(name)
    if signature is None:
        others = sorted(name for name, kind in module.exports.items() if kind is not None)
        raise coop.LinkError(
            f"{plan.path}: {name} {'is no function' if name in module.exports else 'is not exported'}"
            f" (--invoke NAME calls another export; {', '.join(others) or 'there is none'})"
        )
    params = signature[0]
    if plan.invoke is None:
        return []
    if len(params) != len(plan.args):
        wanted = f"({', '.join(params)})"
        raise UsageError(f"--invoke {name}: it takes {len(params)} arguments {wanted}, not {len(plan.args)}")
    values = []
    for number, (kind, text) in enumerate(zip(params, plan.args, strict=True), 1):
        try:
            values.append(argument(kind, text))
        except ValueError as error:
            raise UsageError(f"--invoke {name}: argument {number}: {error}") from None
    return values


def _main(plan: Plan, module: coop.Module, arguments: Sequence[Any], termination: Termination) -> int:
    guest = coop.Guest(
        module,
        args=() if plan.invoke is not None else plan.args,
        name=plan.argv0,
        env=plan.env,
        dirs=plan.dirs,
        listen=plan.listen,
        connections=plan.connect,
        stdin="inherit",
        stdout="inherit",
        stderr="inherit",
        limits=plan.limits,
    )
    termination.will_end(scheduler(), guest)
    with guest:
        guest.start()
        _tell_sockets(plan, guest.addresses)
        if plan.invoke is None:
            return guest.run()
        try:
            _print_results(module, plan.invoke, guest.call(plan.invoke, *arguments))
        except coop.GuestExit as error:
            return error.code
        return 0


def _tell_sockets(plan: Plan, addresses: Sequence[Any]) -> None:
    """Log the guest's sockets; say where it listens if nobody could know, so that clients find it."""
    for fd, (asked, address) in enumerate(zip(plan.listen, addresses, strict=True), 3):
        if isinstance(asked, str) and asked.endswith(":0") and isinstance(address, tuple):
            click.echo(f"listening on {shown_address(address)} (fd {fd})", err=True)
        else:
            log.info("listening", address=shown_address(address), fd=fd)
    for fd, asked in enumerate(plan.connect, 3 + len(addresses)):
        log.info("connected", address=asked if isinstance(asked, str) else "passed to us", fd=fd)


def _print_results(module: coop.Module, name: str, result: Any) -> None:
    signature = module.exports[name]
    assert signature is not None
    kinds = signature[1]
    values = result if len(kinds) > 1 else (result,)
    for kind, value in zip(kinds, values, strict=False):
        click.echo(shown(kind, value))
