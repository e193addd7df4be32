"""What one more costs when there are many already: a wake, a start and an echo, from ten to ten thousand.

`wake`  -- guests parked in `poll_oneoff`, all woken by timers that have come due, until all wait again.
`start` -- as many guests started together until all are parked; small crowds again and again, so that each
           size has about a thousand starts.
`echo`  -- Go's echo server with so many connections, ten of them busy and the rest idle. Were all of them
           busy, they would share each poll, and that it grows would not be seen.

All is CPU time, with the kernel's share: of the thread for guests, of the server for an echo. What nobody
waits for, the poller's short look before it sleeps, is not in it, except for an echo.
"""

from __future__ import annotations

import statistics
import sys
import time

from bench.echoload import connected, load, load_program
from bench.figures import Figure, Line, Plan, Target, ratio
from bench.machine import many_files, measuring_cpus
from bench.parts import ROOT, answer, run_part
from bench.peers import command_peer
from bench.rows.parked import SLEEPER, measure_coop
from tests.guestbuild import go_guest

SIZES, QUICK_SIZES = (10, 100, 1_000, 10_000), (10, 100)
BASE, FACTOR = 100, 2.0
"""The largest size may cost so many times what this one does."""
STARTS, WAKES, BURSTS, BUSY = 1_000, 20_000, (3, 25), 10
SPARE_FILES = 100
WHAT = {
    "wake": "wake one of {} parked guests, until it waits again",
    "start": "start, until parked, each of {}",
    "echo": f"an echo of Go's tcpecho with {{}} connections, {BUSY} of them busy",
}

# Wait until a moment of the monotonic clock (1 at 40: an absolute one), say so, and go on to the next moment.
AGAIN = """
    (i64.store (i32.const 24) (i64.const %d))
    (i32.store16 (i32.const 40) (i32.const 1))
    (loop $again
      (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
      (call $ready)
      (i64.store (i32.const 24) (i64.add (i64.load (i32.const 24)) (i64.const %d)))
      (br $again))
"""


def measure_wake(count: int) -> float:
    """Return the CPU microseconds of a wake: the median of several bursts.

    The thread is blocked until the moment of a burst, so that all of its timers come due in one turn and no
    time for looking is counted.
    """
    import coop

    woken, wanted, period_ns = 0, 0, 50_000_000 + count * 150_000
    due_ns = time.monotonic_ns() + 200_000_000 + count * 1_000_000
    imports = '(import "bench" "ready" (func $ready))'
    text = SLEEPER.format(imports=imports, first=AGAIN % (due_ns, period_ns))

    @coop.host_function("bench", parks=False)
    def ready(_caller: coop.Caller) -> None:
        nonlocal woken
        woken += 1

    def burst() -> float:
        nonlocal wanted, due_ns
        wanted += count
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        begin = time.thread_time_ns()
        while woken < wanted:
            coop.pause()
        due_ns += period_ns
        return (time.thread_time_ns() - begin) / count / 1e3

    def main() -> float:
        module = coop.Module.from_bytes(text, cache=False)
        for _ in range(count):
            coop.spawn(coop.Guest(module, imports=[ready]).run).observe()
        coop.pause()
        coop.pause()
        burst()
        few, many = BURSTS
        return statistics.median(burst() for _ in range(max(few, min(many, WAKES // count))))

    found: float = coop.run(main)
    return found


def measure_start(count: int) -> float:
    """Return the CPU microseconds of a start: the median of several crowds."""
    return statistics.median(crowd["start_us"] for crowd in measure_coop(count, max(2, STARTS // count)))


def measure_echo(count: int, seconds: float) -> float:
    """Return the server's CPU microseconds for an echo."""
    guest, program = go_guest(ROOT / "examples" / "tcpecho" / "guest.go"), load_program()
    server_cpu, load_cpu = measuring_cpus() or (None, None)
    command = [sys.executable, "-m", "coop", "run", "--tcplisten", "127.0.0.1:0", str(guest)]
    with many_files(count + SPARE_FILES), command_peer("coop", command, cpu=server_cpu) as peer:
        load(program, peer, BUSY, 0.5, load_cpu)
        with connected(peer, count - BUSY):
            return load(program, peer, BUSY, seconds, load_cpu)[1]


def measure(plan: Plan) -> list[Line]:
    """Measure each quantity at each size, round by round."""
    plan.say("building the guest and the load generator")
    go_guest(ROOT / "examples" / "tcpecho" / "guest.go")
    load_program()
    sizes = QUICK_SIZES if plan.is_quick else SIZES
    found: dict[tuple[str, int], list[float]] = {}
    for turn in range(plan.rounds):
        for quantity in WHAT:
            for size in sizes:
                plan.say(f"growth, round {turn + 1} of {plan.rounds}: {quantity}, {size}")
                found.setdefault((quantity, size), []).append(_once(plan, quantity, size))
    figures = {key: Figure("us", samples) for key, samples in found.items()}
    return [_line(quantity, size, figures) for quantity, size in figures]


def _once(plan: Plan, quantity: str, size: int) -> float:
    if quantity != "echo":
        return float(run_part(__name__, quantity, size))
    return measure_echo(size, 0.5 if plan.is_quick else 3.0)


def _line(quantity: str, size: int, figures: dict[tuple[str, int], Figure]) -> Line:
    figure, base = figures[quantity, size], figures[quantity, BASE]
    peers = {} if size <= BASE else {f"with {BASE}": base}
    ratios = {name: ratio(figure, peer) for name, peer in peers.items()}
    target = None
    if size == SIZES[-1]:
        (of_base,) = ratios.values()
        target = Target(f"<= {FACTOR:g} x with {BASE}", of_base <= FACTOR)
    what = WHAT[quantity].format(size)
    return Line(f"growth {quantity} {size}", what, "default", figure, peers, ratios, target)


if __name__ == "__main__":
    answer({"wake": measure_wake, "start": measure_start})
