"""Very many bare guests that wait: what each costs a host that only does what must be done.

Each runs in a greenlet, from which it is switched away when it is suspended. It waits for nothing, and it is
ended by an exception in its greenlet, which unwinds its fiber and gives its memory back.
"""

import time
from typing import Any

from greenlet import getcurrent, greenlet

import coop
from bench.bareguest import BareGuest, new_linker
from bench.machine import resident_kib
from bench.parts import answer
from coop.engine.capi import held

# It is suspended at the call after `wait`.
GUEST = """
(module
  (import "bare" "wait" (func $wait))
  (memory (export "memory") 1)
  (func $park)
  (func (export "_start") (loop $again (call $wait) (call $park) (br $again))))
"""


class Killed(BaseException):
    """Ends a guest."""


class Sleeper(BareGuest):
    """A guest and its greenlet."""

    running: "Sleeper"

    def __init__(self, module: Any, linker: int, hub: greenlet) -> None:
        super().__init__(module, linker)
        self.to_hub = hub.switch
        self.greenlet = greenlet(self.run, hub)

    def run(self) -> None:
        """Run until it is killed."""
        Sleeper.running = self
        try:
            while not held.wasmtime_call_future_poll(self.future):
                self.to_hub()
        except Killed:
            self.end()


def _wait(_env: int, _caller: int, _at: int) -> int:
    Sleeper.running.suspend()
    return 0


def measure(count: int) -> dict[str, float]:
    """Start so many and end them all; return what each cost, as the row `parked` does for coop."""
    hub, module = getcurrent(), coop.Module.from_bytes(GUEST)
    linker, kept = new_linker(module, wait=(0, 0, _wait))
    Sleeper(module, linker, hub).greenlet.switch()  # what is made once for all of them
    before = resident_kib()
    begin = time.thread_time_ns()
    guests = [Sleeper(module, linker, hub) for _ in range(count)]
    for guest in guests:
        guest.greenlet.switch()
    started = time.thread_time_ns()
    after = resident_kib()
    canceling = time.thread_time_ns()
    for guest in guests:
        guest.greenlet.throw(Killed)
    cancelled = time.thread_time_ns()
    assert kept
    return {
        "kib": (after - before) / count,
        "start_us": (started - begin) / count / 1e3,
        "cancel_us": (cancelled - canceling) / count / 1e3,
    }


if __name__ == "__main__":
    answer({"bare": measure})
