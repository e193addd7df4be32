"""What the engine's tests share: modules from text, and children that run code with them at hand."""

import subprocess
import textwrap
from collections.abc import Callable
from functools import partial
from typing import Any

import coop
from coop.clock import ManualClock
from tests.children import run_child
from tests.fakes import run_by

PRELUDE = """
import coop, gc, os, random, signal, sys, threading

def module(text, **kwargs):
    return coop.Module.from_bytes(text, cache=False, **kwargs)

def call(text, name="go", *args, imports=(), limits=None):
    with coop.Guest(module(text), imports=imports, limits=limits) as guest:
        return guest.call(name, *args)

def run_call(*args, **kwargs):
    return coop.run(lambda: call(*args, **kwargs))
"""


def module(text: str, **kwargs: Any) -> coop.Module:
    """Compile WAT, not cached."""
    return coop.Module.from_bytes(text, cache=False, **kwargs)


def call(
    text: str,
    *args: Any,
    name: str = "go",
    imports: tuple[coop.HostFunction, ...] = (),
    limits: coop.Limits | None = None,
) -> Any:
    """Call one export of a guest of its own, in a run of its own."""

    def main() -> Any:
        with coop.Guest(module(text), imports=imports, limits=limits) as guest:
            return guest.call(name, *args)

    return coop.run(main)


def by_hand(main: Callable[[ManualClock], Any]) -> Any:
    """Run `main` with a clock that it turns itself, so that no time-out is over before it says so."""
    clock = ManualClock()
    return run_by(clock, partial(main, clock))


def in_child(code: str, **kwargs: Any) -> subprocess.CompletedProcess[bytes]:
    """Run code that might end the process in a child, with PRELUDE before it; a crash fails the test."""
    return run_child(PRELUDE + textwrap.dedent(code), **kwargs)
