"""What components cost: host calls, a start of a CPython, and streams.

Calls are made by a component in WAT, in CPU time of the thread, as in `calls`. A CPython of 18 MB is loaded
from the cache, and started, up to where it could be called. A stream is read in pieces by the guest from a
source in memory; the figure is what the border moves, since the source costs nothing. The echo server is the
example `tcpecho`, on one connection, beside native wasmtime.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time
from typing import Any, ClassVar

from bench.figures import Figure, Line, Plan, Target, ratio
from bench.parts import ROOT, answer, run_part
from bench.peers import PeerFailed, wasmtime_program
from bench.rows.calls import per_call_us
from tests.components import command, python_component, script

CALLS, STARTS, ECHOES = 100_000, 50, 3000
ECHO_TIMES = 2.5
SWITCHES = "inherit-network,cli-exit-with-code,network-error-code"
SCALAR_US, BORROW_US, START_MS, LOAD_MS = 2.0, 2.5, 1.0, 100.0
READ_BYTES = 16 << 20

GUEST = """
(component
  (import "bench:calls/host" (instance $host
    (export "add" (func (param "a" u32) (param "b" u32) (result u32)))
    (export "counter" (type $counter (sub resource)))
    (export "[constructor]counter" (func (result (own $counter))))
    (export "[method]counter.add" (func (param "self" (borrow $counter)) (param "by" u32) (result u32)))))
  (alias export $host "counter" (type $counter))
  (core func $add (canon lower (func $host "add")))
  (core func $new (canon lower (func $host "[constructor]counter")))
  (core func $count (canon lower (func $host "[method]counter.add")))
  (core module $m
    (import "host" "add" (func $add (param i32 i32) (result i32)))
    (import "host" "new" (func $new (result i32)))
    (import "host" "count" (func $count (param i32 i32) (result i32)))
    (func (export "scalars") (param $n i32) (result i32)
      (local $sum i32)
      (loop $again
        (local.set $sum (call $add (local.get $sum) (i32.const 1)))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum))
    (func (export "borrows") (param $n i32) (result i32)
      (local $sum i32) (local $counter i32)
      (local.set $counter (call $new))
      (loop $again
        (local.set $sum (call $count (local.get $counter) (i32.const 1)))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $sum)))
  (core instance $i (instantiate $m (with "host" (instance
    (export "add" (func $add)) (export "new" (func $new)) (export "count" (func $count))))))
  (func (export "scalars") (param "n" u32) (result u32) (canon lift (core func $i "scalars")))
  (func (export "borrows") (param "n" u32) (result u32) (canon lift (core func $i "borrows"))))
"""


def measure_calls(calls: int) -> dict[str, float]:
    """Return the microseconds of a call with scalars, and of one with a borrowed handle."""
    import coop
    from coop.wit import Interface, Resource, function

    class Counter(Resource):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        @function("func(by: u32) -> u32", parks=False)
        def add(self, by: int) -> int:
            self.count += by
            return self.count

    class Host(Interface):
        name = "bench:calls/host"
        resources: ClassVar = {"counter": Counter}

        @function("func(a: u32, b: u32) -> u32", parks=False)
        def add(self, a: int, b: int) -> int:
            return a + b

        @function("func() -> counter", name="[constructor]counter", parks=False)
        def new(self) -> Counter:
            return Counter()

    def main() -> dict[str, float]:
        guest = coop.ComponentGuest(coop.Component.from_bytes(GUEST), imports=[Host()])
        with guest:
            return {
                name: per_call_us(lambda n, name=name: guest.call("", name, n), calls)
                for name in ("scalars", "borrows")
            }

    found: dict[str, float] = coop.run(main)
    return found


def measure_start(wasm: str, starts: int) -> float:
    """Return the milliseconds of a guest's start, all others of its component having been started before."""
    import coop

    component = coop.Component.from_file(wasm)

    def start() -> None:
        with coop.ComponentGuest(component) as guest:
            guest.start()

    def main() -> float:
        start()
        begin = time.perf_counter_ns()
        for _ in range(starts):
            start()
        return (time.perf_counter_ns() - begin) / starts / 1e6

    took: float = coop.run(main)
    return took


def measure_load(wasm: str) -> float:
    """Return the milliseconds until a component is at hand whose compiled form is in the cache."""
    import coop

    coop.load(wasm)
    begin = time.perf_counter_ns()
    coop.load(wasm)
    return (time.perf_counter_ns() - begin) / 1e6


def measure_read(wasm: str, piece: int, total: int) -> float:
    """Return the megabytes a second that a guest reads from a stream in pieces of so many bytes."""
    import coop

    code = f"""
s = stdin.get_stdin()
count = 0
while count < {total}:
    count += len(s.blocking_read({piece}))
result = count
"""
    component = coop.Component.from_file(wasm)

    def main() -> float:
        with coop.ComponentGuest(component, stdin=bytes(total)) as guest:
            guest.call("", "run", "pass")
            begin = time.perf_counter_ns()
            text = guest.call("", "run", code)
            took = time.perf_counter_ns() - begin
        if text != str(total):
            raise AssertionError(f"the guest read {text} bytes of {total}")
        return total / took * 1e3

    speed: float = coop.run(main)
    return speed


def echo_us(command: list[str], requests: int) -> float:
    """Return the median of the microseconds that 64 bytes take to a server and back.

    command -- starts an echo server that says "... on HOST:PORT" in its first line
    Raises: PeerFailed.
    """
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        try:
            assert child.stdout is not None
            said = child.stdout.readline().decode(errors="replace").strip()
            port = said.rpartition(":")[2]
            if not port.isdecimal():
                raise PeerFailed(f"{' '.join(command)}: a port wanted in its first line, not {said!r}")
            with socket.create_connection(("127.0.0.1", int(port))) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                took = [_echo_ns(client) for _ in range(requests)]
            return statistics.median(took[requests // 10 :]) / 1e3
        finally:
            child.kill()


def _echo_ns(client: socket.socket) -> int:
    begin = time.perf_counter_ns()
    client.sendall(b"x" * 64)
    if client.recv(100) != b"x" * 64:
        raise PeerFailed("the echo is not what was sent")
    return time.perf_counter_ns() - begin


def measure(plan: Plan) -> list[Line]:
    """Measure in rounds."""
    echo = str(python_component(ROOT / "examples" / "tcpecho" / "component.py", "command"))
    servers = {
        "echo": [sys.executable, "-m", "coop", "run", "--allow-listen", "127.0.0.1:0"],
        "native": [str(wasmtime_program()), "run", "-S", SWITCHES],
    }
    requests = plan.pick(ECHOES, ECHOES // 10)
    hello, runner = str(command("hello.py")), str(script())
    calls, starts = plan.pick(CALLS, CALLS // 10), plan.pick(STARTS, 5)
    total = plan.pick(READ_BYTES, READ_BYTES // 16)
    found: dict[str, list[float]] = {}

    def note(name: str, value: Any) -> None:
        found.setdefault(name, []).append(value)

    for turn in range(plan.rounds):
        plan.say(f"components, round {turn + 1} of {plan.rounds}")
        for name, cost in run_part(__name__, "calls", calls).items():
            note(name, cost)
        note("load", run_part(__name__, "load", hello))
        note("start", run_part(__name__, "start", hello, starts))
        for name, command_line in servers.items():
            note(name, echo_us([*command_line, echo, "127.0.0.1", "0"], requests))
        for piece in (4096, 65536):
            note(f"read {piece}", run_part(__name__, "read", runner, piece, total))

    def line(name: str, what: str, unit: str, bound: float | None = None) -> Line:
        figure = Figure(unit, found[name])
        target = None if bound is None else Target.at_most(figure, bound)
        return Line(f"comp {name}", what, "default", figure, {}, {}, target)

    here, there = Figure("us", found["echo"]), Figure("us", found["native"])
    times = ratio(here, there)
    target = Target(f"<= {ECHO_TIMES} of wasmtime", times <= ECHO_TIMES)
    what = "64 bytes to a CPython that echoes and back, median"
    return [
        Line("comp echo", what, "coop run", here, {"wasmtime": there}, {"wasmtime": times}, target),
        line("scalars", "host function of a component, (u32, u32) -> u32", "us", SCALAR_US),
        line("borrows", "method of a component's resource, (borrow, u32) -> u32", "us", BORROW_US),
        line("load", "a CPython of 18 MB, from the cache", "ms", LOAD_MS),
        line("start", "start and end of a CPython of 18 MB, compiled", "ms", START_MS),
        line("read 4096", "a CPython reads a stream in pieces of 4 KiB", "MB/s"),
        line("read 65536", "a CPython reads a stream in pieces of 64 KiB", "MB/s"),
    ]


if __name__ == "__main__":
    answer({"calls": measure_calls, "load": measure_load, "start": measure_start, "read": measure_read})
