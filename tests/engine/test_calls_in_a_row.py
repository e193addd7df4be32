"""Guests whose host calls stand one behind the other: between them no loop begins anew, and no function."""

import time

import pytest

import coop
from coop.engine.component import Component
from coop.wit import Interface, function
from tests.engine.wat import module

CALLS = 20
LATE_NS = 40_000_000
"""Longer than two slices."""

CORE = f"""(module
  (import "h o\\"st" "w\u00e4it" (func $wait (param i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "go") {"(drop (call $wait (i64.const 7)))" * CALLS}))"""
COMPONENT = f"""(component
  (import "acme:demo/waits" (instance $waits (export "wait" (func (param "n" u64) (result u64)))))
  (core func $wait (canon lower (func $waits "wait")))
  (core module $m
    (import "h" "wait" (func $wait (param i64) (result i64)))
    (func (export "go") {"(drop (call $wait (i64.const 7)))" * CALLS}))
  (core instance $i (instantiate $m (with "h" (instance (export "wait" (func $wait))))))
  (func (export "go") (canon lift (core func $i "go"))))"""
SETTING = f"""(module
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "go") {"(drop (call $get (i32.const 0) (i32.const 8192)))" * 20_000}))"""


class Waits(Interface):
    name = "acme:demo/waits"

    def __init__(self, seen: list[str], takes_ns: int = LATE_NS) -> None:
        self.seen = seen
        self.takes_ns = takes_ns

    @function("func(n: u64) -> u64", parks=False)
    def wait(self, number):
        return compute(self.seen, number, self.takes_ns)


class PerhapsWaits(Waits):
    @function("func(n: u64) -> u64", parks=None)
    def wait(self, number):
        return compute(self.seen, number)


def compute(seen: list[str], number: int, takes_ns: int = LATE_NS) -> int:
    assert number == 7
    seen.append("call")
    end = time.monotonic_ns() + takes_ns
    while time.monotonic_ns() < end:
        pass
    return number


def guest(kind: str, seen: list[str], **options):
    if kind != "core":
        interface = Waits(seen) if kind == "component" else PerhapsWaits(seen)
        return coop.ComponentGuest(Component.from_bytes(COMPONENT), imports=[interface], **options)
    wait = coop.host_function('h o"st', "w\u00e4it", params=["i64"], results=["i64"], parks=False)
    return coop.Guest(module(CORE), imports=[wait(lambda _, number: compute(seen, number))], **options)


def go(kind: str, made) -> None:
    made.call("go") if kind == "core" else made.call("", "go")


KINDS = pytest.mark.parametrize("kind", ["core", "component", "component that may answer later"])


@KINDS
def test_others_run_between_calls_in_a_row(kind: str):
    seen: list[str] = []

    def beside():
        while True:
            coop.pause()
            seen.append("beside")

    def main():
        other = coop.spawn(beside)
        with guest(kind, seen) as made:
            go(kind, made)
        other.cancel()

    coop.run(main)
    assert seen.count("call") == CALLS
    first, last = seen.index("call"), len(seen) - seen[::-1].index("call")
    assert "beside" in seen[first:last]


@KINDS
def test_calls_in_a_row_meet_the_limit_of_time(kind: str):
    seen: list[str] = []

    def main():
        with guest(kind, seen, limits=coop.Limits(cpu_time=LATE_NS * 2.5e-9)) as made:
            with pytest.raises(coop.LimitExceeded, match="cpu_time"):
                go(kind, made)

    coop.run(main)
    assert seen.count("call") < CALLS


def test_calls_in_a_row_are_not_charged_with_what_the_guest_did_between_parks():
    def main() -> tuple[float, float]:
        me, waits = coop.current(), Waits([], takes_ns=100_000)
        with coop.ComponentGuest(Component.from_bytes(COMPONENT), imports=[waits]) as made:
            while made.cpu_time < 0.3:
                made.call("", "go")
                coop.sleep(0.011)  # longer than a slice, of which none ends while it runs
            before, owed = made.cpu_time, me.virtual_ns
            waits.takes_ns = LATE_NS // 10
            made.call("", "go")
            return made.cpu_time - before, (me.virtual_ns - owed) / 1e9

    used, owed = coop.run(main)
    assert 0 < owed <= used + 1e-6


def test_calls_of_wasi_in_a_row_meet_the_limit_of_time():
    def main():
        env = {f"NAME{i}": "x" * 20 for i in range(500)}
        with coop.Guest(module(SETTING), env=env, limits=coop.Limits(wall_time=0.05)) as made:
            with pytest.raises(coop.LimitExceeded, match="wall_time"):
                made.call("go")

    coop.run(main)


def test_a_guest_may_import_from_very_many_modules():
    names = [f"m{i}" for i in range(40)]
    imports = [coop.host_function(name, "f", results=["i32"], parks=False)(lambda _: 1) for name in names]
    text = "\n".join(f'(import "{name}" "f" (func ${name} (result i32)))' for name in names)
    total = " ".join(f"call ${name} i32.add" for name in names)
    code = (
        f'(module {text} (memory (export "memory") 1) (func (export "go") (result i32) i32.const 0 {total}))'
    )

    def main():
        with coop.Guest(module(code), imports=imports) as made:
            return made.call("go")

    assert coop.run(main) == len(names)
