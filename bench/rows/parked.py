"""Ten thousand guests that wait: what each costs in memory, to start and to cancel; and where it ends.

A guest is the smallest that waits as real ones do: `poll_oneoff` on a clock an hour away. Memory is
what is resident plus page tables (VmRSS and VmPTE), before and after. The peer is a thread for each
guest with wasmtime-py's own WASI, a thousand of them; those cannot be cancelled at all.

Starting and cancelling are timed in CPU time of the thread, which does nothing else meanwhile; what the
kernel does for it, mapping and unmapping, is in it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench.figures import Figure, Line, Plan, Target, ratio
from bench.parts import answer, run_part

GUESTS, THREADS = 10_000, 1_000
KIB, START_US, CANCEL_US = 45.0, 150.0, 40.0
CROWD = 100
"""Guests started together when the limit is looked for."""

# A subscription: the clock 1 (monotonic), an hour of 10^9 ns from now.
SLEEPER = """
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  {imports}
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3_000_000_000_000))
    {first}
    (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))
"""
PARKED = SLEEPER.format(imports="", first="")
# A thread that blocks cannot be asked whether it does; so it says when it is about to.
BLOCKED = SLEEPER.format(imports='(import "bench" "ready" (func $ready))', first="(call $ready)")


def resident_kib() -> int:
    """Return what this process has in memory, its page tables included."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return sum(int(fields[name].split()[0]) for name in ("VmRSS", "VmPTE"))


def measure_coop(count: int) -> dict[str, float]:
    """Start so many guests, cancel them all, and return what each cost."""
    import coop
    from coop.task import TaskState

    def main() -> dict[str, float]:
        module = coop.Module.from_bytes(PARKED)
        first = coop.spawn(coop.Guest(module).run)  # what is made once for all of them
        coop.pause()
        before = resident_kib()
        begin = time.thread_time_ns()
        guests = [coop.Guest(module) for _ in range(count)]
        tasks = [coop.spawn(guest.run) for guest in guests]
        while not all(task.state is TaskState.PARKED for task in tasks):
            coop.pause()
        started = time.thread_time_ns()
        after = resident_kib()
        for task in tasks:
            task.observe()  # or each end is logged as an error that nobody takes
        canceling = time.thread_time_ns()
        for guest in guests:
            guest.cancel()
        while not all(task.is_done for task in tasks):
            coop.pause()
        cancelled = time.thread_time_ns()
        first.cancel()
        return {
            "kib": (after - before) / count,
            "start_us": (started - begin) / count / 1e3,
            "cancel_us": (cancelled - canceling) / count / 1e3,
        }

    found: dict[str, float] = coop.run(main)
    return found


def measure_threads(count: int) -> dict[str, float]:
    """Do the same with wasmtime-py: a thread, a store and an instance for each guest."""
    import threading

    import wasmtime

    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, BLOCKED)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    ready = threading.Semaphore(0)
    linker.define_func("bench", "ready", wasmtime.FuncType([], []), ready.release)

    def run() -> None:
        store = wasmtime.Store(engine)
        store.set_wasi(wasmtime.WasiConfig())
        start = linker.instantiate(store, module).exports(store)["_start"]
        assert isinstance(start, wasmtime.Func)
        start(store)

    def start(number: int) -> None:
        for _ in range(number):
            threading.Thread(target=run, daemon=True).start()
        for _ in range(number):
            ready.acquire()

    start(1)
    before = resident_kib()
    begin = time.process_time_ns()
    start(count)
    return {
        "start_us": (time.process_time_ns() - begin) / count / 1e3,
        "kib": (resident_kib() - before) / count,
    }


def find_limit() -> dict[str, Any]:
    """Start guests until one is refused; then end them all, and start one more."""
    import coop

    def main() -> dict[str, Any]:
        module = coop.Module.from_bytes(PARKED)
        guests: list[coop.Guest] = []
        refusal: coop.CoopError | None = None
        while refusal is None:
            crowd = [coop.Guest(module) for _ in range(CROWD)]
            tasks = [coop.spawn(guest.run) for guest in crowd]
            for task in tasks:
                task.observe()
            coop.pause()
            for guest, task in zip(crowd, tasks, strict=True):
                if not task.is_done:
                    guests.append(guest)
                elif refusal is None and isinstance(task.error, coop.CoopError):
                    refusal = task.error
        for guest in guests:
            guest.cancel()
        coop.pause()
        again = coop.Guest(module)
        task = coop.spawn(again.run)
        task.observe()
        coop.pause()
        return {
            "guests": len(guests),
            "limit": getattr(refusal, "limit", ""),
            "error": f"{type(refusal).__name__}: {refusal}",
            "goes_on": not task.is_done,
        }

    found: dict[str, Any] = coop.run(main)
    return found


def measure(plan: Plan) -> list[Line]:
    """Measure both kinds of hosts in interleaved rounds, then look for the limit once."""
    count, threads = plan.pick(GUESTS, GUESTS // 10), plan.pick(THREADS, THREADS // 10)
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    for turn in range(plan.rounds):
        plan.say(f"parked, round {turn + 1} of {plan.rounds}: {count} guests of coop")
        ours.append(run_part(__name__, "coop", count))
        plan.say(f"parked, round {turn + 1} of {plan.rounds}: {threads} threads of wasmtime-py")
        theirs.append(run_part(__name__, "threads", threads))
    return [
        _line(f"memory of each of {count} parked guests", "KiB", "kib", KIB, ours, theirs),
        _line(f"start, until parked, each of {count}", "us", "start_us", START_US, ours, theirs),
        _line(f"cancel, until dead, each of {count}", "us", "cancel_us", CANCEL_US, ours, []),
        _limit(plan),
    ]


def _line(
    what: str,
    unit: str,
    key: str,
    bound: float,
    ours: list[dict[str, float]],
    theirs: list[dict[str, float]],
) -> Line:
    coop = Figure(unit, [found[key] for found in ours])
    threads = Figure(unit, [found[key] for found in theirs]) if theirs else None
    peers = {"thread per guest": threads} if threads else {}
    ratios = {name: ratio(coop, figure) for name, figure in peers.items()}
    row = f"parked {key.removesuffix('_us')}"
    return Line(row, what, "default", coop, peers, ratios, Target.at_most(coop, bound))


def _limit(plan: Plan) -> Line:
    plan.say("parked: guests until one is refused")
    found = run_part(__name__, "limit")
    coop = Figure("guests", [found["guests"]])
    target = Target("refused, not aborted; goes on after", found["limit"] == "guests" and found["goes_on"])
    setup = f"default; the error: {found['error']}"
    return Line("parked limit", "guests in one process until one is refused", setup, coop, {}, {}, target)


if __name__ == "__main__":
    answer({"coop": measure_coop, "threads": measure_threads, "limit": find_limit})
