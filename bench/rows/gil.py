"""What a host call costs while another Python thread computes all the time.

Time on the wall, since waiting for the GIL is what is measured. Two threads that share one GIL
fairly take twice as long each, so the cost is at least about 2 even if a call itself costs no more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from bench.figures import Figure, Line, Plan, Target, ratio
from bench.parts import answer, run_part
from bench.rows.calls import coop_loops

CALLS, MOST = 200_000, 3.0
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


def measure_coop(calls: int) -> dict[str, list[float]]:
    """Return each kind of call's microseconds alone and beside a busy thread."""
    import coop

    stop = threading.Event()

    def compute() -> None:
        count = 0
        while not stop.is_set():
            for _ in range(1000):
                count += 1

    def main() -> dict[str, list[float]]:
        loops = {name: loop for name, loop in coop_loops().items() if name in KINDS}
        alone = {name: _wall_us(loop, calls) for name, loop in loops.items()}
        busy = threading.Thread(target=compute)
        busy.start()
        try:
            beside = {name: _wall_us(loop, calls) for name, loop in loops.items()}
        finally:
            stop.set()
            busy.join()
        return {name: [alone[name], beside[name]] for name in loops}

    found: dict[str, list[float]] = coop.run(main)
    return found


def measure(plan: Plan) -> list[Line]:
    """Measure each kind alone and beside a thread, in one process a round."""
    calls = plan.pick(CALLS, CALLS // 10)
    found: dict[str, list[list[float]]] = {}
    for turn in range(plan.rounds):
        plan.say(f"gil, round {turn + 1} of {plan.rounds}")
        for name, costs in run_part(__name__, "coop", calls).items():
            found.setdefault(name, []).append(costs)
    return [_line(name, what, found[name]) for name, what in KINDS.items()]


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
    answer({"coop": measure_coop})
