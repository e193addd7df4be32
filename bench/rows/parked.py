"""Very many guests that wait: what each costs in memory, to start and to cancel; and where it ends.

A guest is the smallest that waits as real ones do: `poll_oneoff` on a clock an hour away. Memory is
what is resident plus page tables (VmRSS and VmPTE), before and after. The peer is a thread for each
guest with wasmtime-py's own WASI, a thousand of them; those cannot be cancelled at all. Beside them stand
bare guests, `bench.bareparked`, for which a host in Python does what it must and nothing else.

A generation is a crowd that starts and is cancelled; the later ones meet what the earlier left behind. The
crowd that is woken has timers due at one moment, and all of it waits again at the end of the time.

Starting and cancelling are timed in CPU time of the thread, which does nothing else meanwhile; what the
kernel does for it, mapping and unmapping, is in it.
"""

from __future__ import annotations

import time
from typing import Any

from bench.figures import Figure, Line, Plan, Target, ratio
from bench.machine import resident_kib
from bench.parts import answer, run_part

GUESTS, DENSE_GUESTS, THREADS = 30_000, 100_000, 1_000
GENERATION, GENERATIONS = 10_000, (1, 2, 10)
KIB, START_US, CANCEL_US, WAKE_MS = 45.0, 150.0, 40.0, 200.0
NOISE = 1.1
"""What a later generation may cost of the first one before it counts as dearer."""
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

# Before that, wait until a moment of the clock (1 at 40: an absolute one), and say so.
WOKEN = """
    (i64.store (i32.const 24) (i64.const %d))
    (i32.store16 (i32.const 40) (i32.const 1))
    (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
    (i64.store (i32.const 24) (i64.const 3_000_000_000_000))
    (i32.store16 (i32.const 40) (i32.const 0))
    (call $ready)
"""


def measure_coop(count: int, generations: int = 1, dense: bool = False) -> list[dict[str, float]]:
    """Start so many guests and cancel them all, again and again; return what each of a generation cost."""
    import coop

    def main() -> list[dict[str, float]]:
        module = coop.Module.from_bytes(PARKED, dense=dense)
        first = coop.spawn(coop.Guest(module).run)  # what is made once for all of them
        coop.pause()
        before = resident_kib()
        found = [_generation(module, count, before) for _ in range(generations)]
        first.cancel()
        return found

    found: list[dict[str, float]] = coop.run(main)
    return found


def _generation(module: Any, count: int, before: int) -> dict[str, float]:
    """Start and cancel a crowd.

    before -- what the process had in memory before the first one
    """
    import coop
    from coop.task import TaskState

    begin = time.thread_time_ns()
    guests = [coop.Guest(module) for _ in range(count)]
    tasks = [coop.spawn(guest.run) for guest in guests]
    for task in tasks:
        task.observe()  # or each end is logged as an error that nobody takes
    coop.pause()
    while any(task.state is TaskState.READY for task in tasks):
        coop.pause()
    started = time.thread_time_ns()
    refused = [task.error for task in tasks if task.is_done]
    if refused:
        raise RuntimeError(f"{len(refused)} of {count} guests have ended: {refused[0]}")
    after = resident_kib()
    canceling = time.thread_time_ns()
    for guest in guests:
        guest.cancel()
    while not all(task.is_done for task in tasks):
        coop.pause()
    cancelled = time.thread_time_ns()
    del guests, tasks, guest, task
    return {
        "kib": (after - before) / count,
        "start_us": (started - begin) / count / 1e3,
        "cancel_us": (cancelled - canceling) / count / 1e3,
        "left_kib": (resident_kib() - before) / count,
    }


def measure_wake(count: int) -> float:
    """Have the timers of so many parked guests come due at once; return milliseconds until all wait again."""
    import coop

    woken = 0

    @coop.host_function("bench", parks=False)
    def ready(_caller: coop.Caller) -> None:
        nonlocal woken
        woken += 1

    def main() -> float:
        due_ns = time.monotonic_ns() + 2_000_000_000 + count * 1_000_000
        module = coop.Module.from_bytes(BLOCKED.replace("(call $ready)", WOKEN % due_ns), cache=False)
        for _ in range(count):
            coop.spawn(coop.Guest(module, imports=[ready]).run).observe()
        coop.pause()
        coop.pause()
        assert not woken
        coop.sleep((due_ns - time.monotonic_ns()) / 1e9)  # set last, so it is the last to be woken
        while woken < count:
            coop.pause()
        return (time.monotonic_ns() - due_ns) / 1e6

    found: float = coop.run(main)
    return found


def measure_threads(count: int) -> dict[str, float]:
    """Start so many with wasmtime-py, a thread, a store and an instance for each; return what each cost."""
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
    """Measure the kinds of hosts in interleaved rounds, then look for the limit once."""
    count, threads = plan.pick(GUESTS, GUESTS // 10), plan.pick(THREADS, THREADS // 10)
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    bare: list[dict[str, float]] = []
    for turn in range(plan.rounds):
        plan.say(f"parked, round {turn + 1} of {plan.rounds}: {count} guests of coop")
        ours += run_part(__name__, "coop", count)
        plan.say(f"parked, round {turn + 1} of {plan.rounds}: {threads} threads of wasmtime-py")
        theirs.append(run_part(__name__, "threads", threads))
        plan.say(f"parked, round {turn + 1} of {plan.rounds}: {count} bare guests")
        bare.append(run_part("bench.bareparked", "bare", count))
    alone = {"bare guest": bare}
    both = {"thread per guest": theirs, **alone}
    return [
        _line(f"memory of each of {count} parked guests", "KiB", "kib", KIB, ours, both),
        _line(f"start, until parked, each of {count}", "us", "start_us", START_US, ours, both),
        _line(f"cancel, until dead, each of {count}", "us", "cancel_us", CANCEL_US, ours, alone),
        _limit(plan),
        *_generations(plan),
        _wake(plan),
        *_dense(plan),
    ]


def _line(
    what: str,
    unit: str,
    key: str,
    bound: float,
    ours: list[dict[str, float]],
    theirs: dict[str, list[dict[str, float]]],
) -> Line:
    coop = Figure(unit, [found[key] for found in ours])
    peers = {name: Figure(unit, [found[key] for found in rounds]) for name, rounds in theirs.items()}
    ratios = {name: ratio(coop, figure) for name, figure in peers.items()}
    row = f"parked {key.removesuffix('_us')}"
    return Line(row, what, "default", coop, peers, ratios, Target.at_most(coop, bound))


def _generations(plan: Plan) -> list[Line]:
    count = plan.pick(GENERATION, GENERATION // 10)
    rounds: list[list[dict[str, float]]] = []
    for turn in range(plan.rounds):
        plan.say(f"parked, round {turn + 1} of {plan.rounds}: {GENERATIONS[-1]} generations of {count}")
        rounds.append(run_part(__name__, "coop", count, GENERATIONS[-1]))
    lines = []
    for number in GENERATIONS:
        figure = Figure(
            "us",
            [found[number - 1]["start_us"] + found[number - 1]["cancel_us"] for found in rounds],
            f"left behind: {Figure('KiB', [found[number - 1]['left_kib'] for found in rounds]).text}",
        )
        peers = {"the first": lines[0].coop} if lines else {}
        ratios = {name: ratio(figure, first) for name, first in peers.items()}
        target = Target(f"<= {NOISE} of the first", ratios["the first"] <= NOISE) if lines else None
        what = f"start and cancel, each of {count}, generation {number}"
        lines.append(Line("parked generation", what, "default", figure, peers, ratios, target))
    return lines


def _wake(plan: Plan) -> Line:
    count = plan.pick(GENERATION, GENERATION // 10)
    plan.say(f"parked: waking {count} at once")
    woken = Figure("ms", [run_part(__name__, "wake", count) for _ in range(plan.rounds)])
    what = f"wake {count} at once, until all wait again"
    return Line("parked wake", what, "default", woken, {}, {}, Target.at_most(woken, WAKE_MS))


def _dense(plan: Plan) -> list[Line]:
    count = plan.pick(DENSE_GUESTS, DENSE_GUESTS // 100)
    plan.say(f"parked: {count} dense guests")
    (found,) = run_part(__name__, "coop", count, 1, True)
    lines = []
    for key, what, unit in (
        ("kib", "memory", "KiB"),
        ("start_us", "start, until parked,", "us"),
        ("cancel_us", "cancel, until dead,", "us"),
    ):
        figure = Figure(unit, [found[key]])
        target = Target(f"{count} at once", True) if not lines else None
        lines.append(
            Line("parked dense", f"{what} each of {count} dense guests", "dense", figure, {}, {}, target)
        )
    return lines


def _limit(plan: Plan) -> Line:
    plan.say("parked: guests until one is refused")
    found = run_part(__name__, "limit")
    coop = Figure("guests", [found["guests"]])
    target = Target("refused, not aborted; goes on after", found["limit"] == "guests" and found["goes_on"])
    setup = f"default; the error: {found['error']}"
    return Line("parked limit", "guests in one process until one is refused", setup, coop, {}, {}, target)


if __name__ == "__main__":
    answer({"coop": measure_coop, "threads": measure_threads, "limit": find_limit, "wake": measure_wake})
