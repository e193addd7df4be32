"""What a host call and an echo cost while another Python thread computes all the time.

Time on the wall, since waiting for the GIL is what is measured. Two threads that share one GIL
fairly take twice as long each, so the cost is at least about 2 even if a call itself costs no more.

Who gives the GIL up gets it back 5 ms later, so what counts is how often a server does. The echo is that of
the example `guest_per_client`, beside gevent's, each with such a thread in its process, and without.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.beside import BEGINS_S
from bench.echoload import load_program, steady_load
from bench.figures import Figure, Line, Plan, Target, ratio
from bench.machine import measuring_cpus
from bench.parts import ROOT, answer, run_part
from bench.peers import GEVENT_ECHO, command_peer, gevent_name
from bench.rows.calls import coop_loops
from bench.rows.timers import BRIEF_WORK, SPIN

CALLS, MOST, LEAST = 200_000, 3.0, 0.4
KINDS = {
    "fast": "host function, parks=False",
    "clock": "clock_time_get of WASI",
    "park": "host function, parks=True, returns at once",
}


def _wall_us(loop: Callable[[int], Any], calls: int) -> float:
    loop(1000)
    begin = time.perf_counter_ns()
    loop(calls)
    return (time.perf_counter_ns() - begin) / calls / 1e3


@contextmanager
def _busy_thread() -> Iterator[None]:
    stop = threading.Event()

    def compute() -> None:
        count = 0
        while not stop.is_set():
            for _ in range(1000):
                count += 1

    busy = threading.Thread(target=compute)
    busy.start()
    try:
        yield
    finally:
        stop.set()
        busy.join()


def measure_brief(seconds: float) -> list[float]:
    """Return how many guests of some 5 ms a second has beside a sleeper: alone, and beside a busy thread."""
    import coop

    module = coop.Module.from_bytes(SPIN)
    ended = 0

    def come_and_go() -> None:
        nonlocal ended
        while True:
            with coop.Guest(module) as guest:
                guest.call("work", BRIEF_WORK)
            ended += 1

    def rate() -> float:
        before, begin = ended, time.perf_counter()
        while time.perf_counter() < begin + seconds:
            coop.sleep(0.001)
        return (ended - before) / (time.perf_counter() - begin)

    def main() -> list[float]:
        coop.spawn(come_and_go).observe()
        alone = rate()
        with _busy_thread():
            return [alone, rate()]

    found: list[float] = coop.run(main)
    return found


def measure_coop(calls: int) -> dict[str, list[float]]:
    """Return each kind of call's microseconds alone and beside a busy thread."""
    import coop

    def main() -> dict[str, list[float]]:
        loops = {name: loop for name, loop in coop_loops().items() if name in KINDS}
        alone = {name: _wall_us(loop, calls) for name, loop in loops.items()}
        with _busy_thread():
            beside = {name: _wall_us(loop, calls) for name, loop in loops.items()}
        return {name: [alone[name], beside[name]] for name in loops}

    found: dict[str, list[float]] = coop.run(main)
    return found


CLIENTS = 10
GUESTS = [str(ROOT / "examples" / "guest_per_client" / "host.py"), "--port", "0"]


def measure(plan: Plan) -> list[Line]:
    """Measure each kind of call alone and beside a thread, in one process a round; then the echo."""
    calls = plan.pick(CALLS, CALLS // 10)
    found: dict[str, list[list[float]]] = {}
    for turn in range(plan.rounds):
        plan.say(f"gil, round {turn + 1} of {plan.rounds}")
        for name, costs in run_part(__name__, "coop", calls).items():
            found.setdefault(name, []).append(costs)
    lines = [_line(name, what, found[name]) for name, what in KINDS.items()]
    return [*lines, _brief(plan), _echo(plan)]


def _brief(plan: Plan) -> Line:
    rates = []
    for turn in range(plan.rounds):
        plan.say(f"gil, guests that come and go, round {turn + 1} of {plan.rounds}")
        rates.append(run_part(__name__, "brief", 0.5 if plan.is_quick else 3.0))
    alone, beside = (Figure("guests/s", list(each)) for each in zip(*rates, strict=True))
    share = ratio(beside, alone)
    target = Target(f">= {LEAST:g} x alone", share >= LEAST)
    what = "guests that come, compute for 5 ms and go, beside a sleeper and a busy thread"
    return Line("gil brief", what, "default", beside, {"alone": alone}, {"alone": share}, target)


def _echo(plan: Plan) -> Line:
    plan.say("building the load generator")
    program, cpus = load_program(), measuring_cpus()
    load_cpu = cpus and cpus[1]
    gevent, python, beside = gevent_name(), sys.executable, [sys.executable, "-m", "bench.beside"]
    servers = {
        "coop": [*beside, *GUESTS],
        gevent: [*beside, *GEVENT_ECHO],
        "coop alone": [python, *GUESTS],
        f"{gevent} alone": [python, *GEVENT_ECHO],
    }
    found: dict[str, list[float]] = {name: [] for name in servers}
    for turn in range(plan.rounds):
        for name, command in servers.items():
            plan.say(f"gil, echo, round {turn + 1} of {plan.rounds}: {name}")
            seconds = 0.5 if plan.is_quick else 3.0
            with command_peer(name, command) as peer:  # one at a time, for each would take a processor
                rate, _ = steady_load(program, peer, CLIENTS, seconds, load_cpu, warmup=2 * BEGINS_S)
            found[name].append(rate)
    figures = {name: Figure("req/s", rates) for name, rates in found.items()}
    coop = figures.pop("coop")
    ratios = {name: ratio(coop, figure) for name, figure in figures.items()}
    target = Target(">= 1.0 of gevent", ratios[gevent] >= 1.0)
    what = f"a guest for each of {CLIENTS} clients, beside a busy thread"
    return Line("gil echo", what, "examples/guest_per_client, guest.wat", coop, figures, ratios, target)


def _line(name: str, what: str, costs: list[list[float]]) -> Line:
    alone = Figure("us", [cost[0] for cost in costs])
    beside = Figure("us", [cost[1] for cost in costs])
    times = ratio(beside, alone)
    target = Target(f"<= {MOST:g} x alone", times <= MOST)
    return Line(
        f"gil {name}",
        f"{what}, beside a busy thread",
        "default",
        beside,
        {"alone": alone},
        {"alone": times},
        target,
    )


if __name__ == "__main__":
    answer({"coop": measure_coop, "brief": measure_brief})
