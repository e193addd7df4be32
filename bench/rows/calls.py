"""What a host call costs: a guest calls a function in a loop, and the time is divided by the number of calls.

The time is the thread's CPU time: the loop waits for nothing, so on an idle machine that is the time
on the wall, and on a busy one it leaves out what others computed. The loop's own nanosecond is not
subtracted. coop's guests run under `coop.run` with defaults, so slices end and timers are armed as they
always are. The peer is wasmtime-py: `Linker.define_func` without a scheduler around it, and its own
WASI, in Rust, for the WASI call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bench.figures import Figure, Line, Plan, Target, ratio
from bench.parts import answer, run_part

CALLS = 200_000
FAST_US, PARK_US = 0.5, 2.5

HOST_LOOP = """
(module
  (import "bench" "add" (func $add (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "loop") (param $n i32) (result i32)
    (local $sum i32)
    (loop $again
      (local.set $sum (call $add (local.get $sum) (i32.const 1)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
"""

CLOCK_LOOP = """
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "loop") (param $n i32) (result i32)
    (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum)
        (i32.add (i32.const 1) (call $now (i32.const 1) (i64.const 1) (i32.const 8)))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
"""


def per_call_us(loop: Callable[[int], Any], calls: int) -> float:
    """Time a loop of so many calls, and check that all were made."""
    loop(1000)
    begin = time.thread_time_ns()
    made = loop(calls)
    elapsed = time.thread_time_ns() - begin
    if made != calls:
        raise AssertionError(f"the loop counted {made} calls, not {calls}")
    return elapsed / calls / 1e3


def _add(_caller: object, a: int, b: int) -> int:
    return a + b


def coop_loops() -> dict[str, Callable[[int], Any]]:
    """Make guests, inside a run, whose loops call each kind of host function."""
    import coop

    def add_yielding(_caller: coop.Caller, a: int, b: int) -> int:
        coop.pause()
        return a + b

    def guest(call: Callable[..., int], *, parks: bool) -> Callable[[int], Any]:
        function = coop.HostFunction("bench", "add", ("i32", "i32"), ("i32",), call, parks)
        made = coop.Guest(coop.Module.from_bytes(HOST_LOOP), imports=[function])
        return lambda n: made.call("loop", n)

    clock = coop.Guest(coop.Module.from_bytes(CLOCK_LOOP))
    return {
        "fast": guest(_add, parks=False),
        "clock": lambda n: clock.call("loop", n),
        "park": guest(_add, parks=True),
        "yield": guest(add_yielding, parks=True),
    }


def measure_coop(calls: int) -> dict[str, float]:
    """Return each call's cost in microseconds."""
    import coop

    def main() -> dict[str, float]:
        return {name: per_call_us(loop, calls) for name, loop in coop_loops().items()}

    found: dict[str, float] = coop.run(main)
    return found


def measure_wasmtime(calls: int) -> dict[str, float]:
    """Return the same of wasmtime-py, which cannot park."""
    import wasmtime

    def loop(text: str, linker: wasmtime.Linker, store: wasmtime.Store) -> Callable[[int], Any]:
        instance = linker.instantiate(store, wasmtime.Module(store.engine, text))
        function = instance.exports(store)["loop"]
        assert isinstance(function, wasmtime.Func)
        return lambda n: function(store, n)

    store = wasmtime.Store()
    i32 = wasmtime.ValType.i32()
    linker = wasmtime.Linker(store.engine)
    linker.define_func("bench", "add", wasmtime.FuncType([i32, i32], [i32]), lambda a, b: a + b)
    fast = per_call_us(loop(HOST_LOOP, linker, store), calls)
    linker.define_wasi()
    store.set_wasi(wasmtime.WasiConfig())
    return {"define_func": fast, "wasi": per_call_us(loop(CLOCK_LOOP, linker, store), calls)}


def measure(plan: Plan) -> list[Line]:
    """Measure both sides in interleaved rounds."""
    calls = plan.pick(CALLS, CALLS // 10)
    found: dict[str, list[float]] = {}
    for turn in range(plan.rounds):
        for part in ("coop", "wasmtime"):
            plan.say(f"calls, round {turn + 1} of {plan.rounds}: {part}")
            for name, cost in run_part(__name__, part, calls).items():
                found.setdefault(name, []).append(cost)
    figures = {name: Figure("us", costs) for name, costs in found.items()}
    define_func = {"define_func": figures["define_func"]}

    def line(name: str, what: str, bound: float, peers: dict[str, Figure]) -> Line:
        coop = figures[name]
        ratios = {peer: ratio(coop, figure) for peer, figure in peers.items()}
        return Line(f"call {name}", what, "default", coop, peers, ratios, Target.at_most(coop, bound))

    return [
        line("fast", "host function, parks=False, (i32, i32) -> i32", FAST_US, define_func),
        line("clock", "clock_time_get of WASI", FAST_US, define_func | {"WASI in Rust": figures["wasi"]}),
        line("park", "host function, parks=True, returns at once: suspend, resume", PARK_US, define_func),
        line("yield", "the same, yields: also a turn of the scheduler, poller asked", PARK_US, define_func),
    ]


if __name__ == "__main__":
    answer({"coop": measure_coop, "wasmtime": measure_wasmtime})
