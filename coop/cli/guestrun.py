"""One guest from its file to its exit status: load, listen, run, and hear signals meanwhile.

Compiling a large module takes seconds inside wasmtime, which hears no signal.  So the
file is loaded in a helper thread while the main thread only waits, and ^C or
SIGTERM ends the program at once.
"""

import errno
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import coop
from coop.cli import modulerun
from coop.cli.plan import TERMINATED, Plan, Terminated, Termination

if TYPE_CHECKING:
    from coop.engine.component import Component

SPINNER_AFTER_S = 0.5
"""A load that takes longer than this is shown on a terminal."""


def run_plan(plan: Plan) -> int:
    """Run the guest and return the exit status of the program.

    Raises: UsageError; what `coop.load` and `coop.Guest.run` raise.
    """
    with Termination() as termination:
        try:
            run = _prepare(plan, load(plan))
            return int(
                coop.run(run, termination, poller=plan.poller, trace=plan.trace, timeline=plan.timeline)
            )
        except (Terminated, coop.WasCancelled):
            if not termination.was_sent:
                raise
            return TERMINATED


def _prepare(plan: Plan, code: "coop.Module | Component") -> Callable[[Termination], int]:
    if isinstance(code, coop.Module):
        return modulerun.prepare(plan, code)
    from coop.cli import componentrun  # its import takes as long as half of coop's

    return componentrun.prepare(plan, code)


def load(plan: Plan) -> "coop.Module | Component":
    """Load the file of a plan, in a thread, so that ^C ends it.  Raises: as `coop.load` does; OSError."""
    outcome: list[coop.Module | Component | BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            more: dict[str, Any] = {"dense": plan.dense, "exceptions": plan.exceptions}
            if plan.max_wasm_stack is not None:
                more["max_wasm_stack"] = plan.max_wasm_stack
            outcome.append(coop.load(plan.path, cache=plan.use_cache, **more))
        except BaseException as error:
            outcome.append(error)
        done.set()

    # A daemon: one that is given up by ^C must not hold the process.
    thread = threading.Thread(target=read, name="load", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"start a thread to load {plan.path}: {error}") from None
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
