"""From the request to end a guest to its end, in each state it can be in, beside a guest that spins.

The moment of the request is random within two slices. By a timer it is the moment at which the
timer was due, so what the timer is late counts; from another thread it is the moment before the post.
The end is when the task that ran the guest has its error, and the guest's store is gone.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable

import coop
from bench.figures import Figure, Line, Plan, Target, quantile
from bench.parts import ROOT, answer, run_part
from bench.rows.parked import PARKED
from coop.scheduler import scheduler

TRIALS, WITHIN_S = 100, 0.020
P99_MS = 2.0
SPIN = ROOT / "tests" / "guests" / "spin.wat"
STATES = {
    "spinning": "computing",
    "parked": "parked in poll_oneoff",
    "host": "in a host function that sleeps",
    "new": "configured, not started",
}

WAITING = """
(module
  (import "bench" "wait" (func $wait))
  (memory (export "memory") 1)
  (func (export "_start") (call $wait)))
"""


class AskingThread:
    """Another thread, which posts a cancel at a moment it is told.

    `ask` returns at once; `asked_ns` is the moment, once the guest is dead.
    """

    def __init__(self) -> None:
        self.asked_ns = 0
        self._owner = scheduler()
        self._wanted: queue.SimpleQueue[tuple[float, Callable[[], None]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            delay, cancel = self._wanted.get()
            time.sleep(delay)
            self.asked_ns = time.monotonic_ns()
            self._owner.post(cancel)

    def ask(self, delay: float, cancel: Callable[[], None]) -> None:
        """Have `cancel` called after `delay` seconds."""
        self._wanted.put((delay, cancel))


class AskingTask:
    """A task that cancels when its sleep is over."""

    def __init__(self) -> None:
        self.asked_ns = 0

    def ask(self, delay: float, cancel: Callable[[], None]) -> None:
        """Have `cancel` called after `delay` seconds."""
        self.asked_ns = time.monotonic_ns() + int(delay * 1e9)

        def run() -> None:
            coop.sleep((self.asked_ns - time.monotonic_ns()) / 1e9)
            cancel()

        coop.spawn(run)


def measure_coop(state: str, source: str, trials: int) -> list[float]:
    """Return p50 and p99 in milliseconds of a guest's way to its end."""

    @coop.host_function("bench", parks=True)
    def wait(_caller: coop.Caller) -> None:
        coop.sleep(3600)

    spin = coop.Module.from_file(SPIN)

    def make() -> coop.Guest:
        if state == "host":
            return coop.Guest(coop.Module.from_bytes(WAITING), imports=[wait])
        return coop.Guest(coop.Module.from_bytes(PARKED) if state == "parked" else spin)

    def main() -> list[float]:
        beside = coop.Guest(spin)
        coop.spawn(beside.run).observe()
        asker = AskingThread() if source == "thread" else AskingTask()
        delays = random.Random(1)
        took = [
            _trial(make(), asker, delays.random() * WITHIN_S, starts=state != "new") for _ in range(trials)
        ]
        beside.cancel()
        return [quantile(took, 0.5), quantile(took, 0.99)]

    found: list[float] = coop.run(main)
    return found


def _trial(guest: coop.Guest, asker: AskingThread | AskingTask, delay: float, *, starts: bool) -> float:
    """Have one guest cancelled, and return the milliseconds from the request to the end."""
    dead_ns = 0

    def run() -> None:
        nonlocal dead_ns
        try:
            guest.run()
        except coop.WasCancelled:
            dead_ns = time.monotonic_ns()

    def end() -> None:
        nonlocal dead_ns
        guest.cancel()
        dead_ns = time.monotonic_ns()

    if starts:
        task = coop.spawn(run)
        coop.pause()
        asker.ask(delay, guest.cancel)
        task.wait()
    else:
        asker.ask(delay, end)
        try:
            guest.wait()
        except coop.WasCancelled:
            pass
    assert dead_ns, "the guest ended, but not by the cancel"
    return (dead_ns - asker.asked_ns) / 1e6


def measure(plan: Plan) -> list[Line]:
    """Measure each state with each source of the request."""
    trials = plan.pick(TRIALS, TRIALS // 5)
    found: dict[tuple[str, str], list[list[float]]] = {}
    for turn in range(plan.rounds):
        for state, shown in STATES.items():
            for source in ("timer", "thread"):
                plan.say(f"cancel, round {turn + 1} of {plan.rounds}: {shown}, by a {source}")
                answered = run_part(__name__, "coop", state, source, trials)
                found.setdefault((state, source), []).append(answered)
    return [_line(state, source, answers) for (state, source), answers in found.items()]


def _line(state: str, source: str, answers: list[list[float]]) -> Line:
    p50 = Figure("ms", [answer[0] for answer in answers])
    p99 = Figure("ms", [answer[1] for answer in answers], f"p50 {p50.text}")
    by = "by a timer" if source == "timer" else "by another thread"
    what = f"cancel to dead, p99: {STATES[state]}, {by}"
    return Line(
        f"cancel {state}", what, "default, a guest spins beside", p99, {}, {}, Target.at_most(p99, P99_MS)
    )


if __name__ == "__main__":
    answer({"coop": measure_coop})
