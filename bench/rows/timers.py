"""How late a sleeper wakes: alone, and beside a guest that computes without end.

The peer is the kernel: `time.sleep` in a thread with nothing else in the process. It is late as well,
by the machine's timer slack and by whoever else has the core, and nobody can be earlier.
"""

from __future__ import annotations

import time

from bench.figures import Figure, Line, Plan, Target, quantile, ratio
from bench.parts import ROOT, answer, run_part

SLEEPS, SLEEP_MS = 1000, 2
ALONE_P50_MS, BESIDE_P99_MS = 0.2, 15.0
SPIN = ROOT / "tests" / "guests" / "spin.wat"


def measure_coop(sleeps: int, beside: bool) -> list[float]:
    """Return p50 and p99 of a sleeping task's lateness in milliseconds."""
    import coop

    def main() -> list[float]:
        spinner = coop.Guest(coop.Module.from_file(SPIN))
        if beside:
            task = coop.spawn(spinner.run)
            task.observe()
            coop.sleep(0.05)
        late = []
        for _ in range(sleeps):
            begin = time.monotonic_ns()
            coop.sleep(SLEEP_MS / 1e3)
            late.append((time.monotonic_ns() - begin) / 1e6 - SLEEP_MS)
        spinner.cancel()
        return [quantile(late, 0.5), quantile(late, 0.99)]

    found: list[float] = coop.run(main)
    return found


def measure_kernel(sleeps: int) -> list[float]:
    """Return the same of a thread."""
    late = []
    for _ in range(sleeps):
        begin = time.monotonic_ns()
        time.sleep(SLEEP_MS / 1e3)
        late.append((time.monotonic_ns() - begin) / 1e6 - SLEEP_MS)
    return [quantile(late, 0.5), quantile(late, 0.99)]


def measure(plan: Plan) -> list[Line]:
    """Measure the three in interleaved rounds."""
    sleeps = plan.pick(SLEEPS, SLEEPS // 10)
    found: dict[str, list[list[float]]] = {"alone": [], "beside": [], "kernel": []}
    for turn in range(plan.rounds):
        plan.say(f"timers, round {turn + 1} of {plan.rounds}")
        found["alone"].append(run_part(__name__, "coop", sleeps, False))
        found["beside"].append(run_part(__name__, "coop", sleeps, True))
        found["kernel"].append(run_part(__name__, "kernel", sleeps))
    figures = {
        name: (Figure("ms", [p50 for p50, _ in each]), Figure("ms", [p99 for _, p99 in each]))
        for name, each in found.items()
    }

    def line(name: str, share: int, what: str, target: Target | None) -> Line:
        coop, kernel = figures[name][share], figures["kernel"][share]
        peers, ratios = {"time.sleep": kernel}, {"time.sleep": ratio(coop, kernel)}
        return Line(f"timer {name}", what, "default", coop, peers, ratios, target)

    alone, beside = figures["alone"], figures["beside"]
    return [
        line("alone", 0, "lateness of a 2 ms sleep, p50", Target.at_most(alone[0], ALONE_P50_MS)),
        line("alone", 1, "the same, p99", None),
        line("beside", 0, "lateness beside a guest that spins, p50", None),
        line("beside", 1, "the same, p99", Target.at_most(beside[1], BESIDE_P99_MS)),
    ]


if __name__ == "__main__":
    answer({"coop": measure_coop, "kernel": measure_kernel})
