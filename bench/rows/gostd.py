"""The tests of Go's package os, start to end, beside wasmtime's own native host.

The binary is what `go test -c os` makes, run as Go's own script runs it: in the package's folder, with the
host's root as its root. Both hosts have its compiled form in their caches. Timed is the whole process,
Python's start and wasmtime's included; a test that fails on both hosts counts for neither.
"""

import os
import subprocess
import sys
import time

from bench.figures import Figure, Line, Plan, Target, ratio
from bench.parts import ROOT
from bench.peers import PeerFailed, wasmtime_program
from tests.guestbuild import go_test, goroot

MOST = 1.5
WORK_SECONDS = 300


def measure(plan: Plan) -> list[Line]:
    """Measure the whole run on both hosts, in turn."""
    plan.say("gostd: building")
    test = str(go_test("os"))
    folder = str(goroot() / "src" / "os")
    flags = ["--dir=/", "--env", f"PWD={folder}", "--env", f"PATH={os.environ.get('PATH', '')}"]
    flags += ["-W", "max-wasm-stack=8388608"]
    commands = {
        "coop": [sys.executable, "-m", "coop", "run", *flags, test, "-test.short"],
        "wasmtime": [str(wasmtime_program()), "run", *flags, test, "-test.short"],
    }
    order = list(commands)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for name in order:
        _run(name, commands[name], folder)  # fills the cache
    for turn in range(plan.rounds):
        for name in order[turn % 2 :] + order[: turn % 2]:
            plan.say(f"gostd, round {turn + 1} of {plan.rounds}: {name}")
            seconds[name].append(_run(name, commands[name], folder))
    coop, native = (Figure("s", seconds[name]) for name in order)
    reached = ratio(coop, native)
    target = Target(f"<= {MOST} of wasmtime", reached <= MOST)
    what = "the tests of Go's package os, start to end"
    return [
        Line("gostd", what, "coop run --dir=/", coop, {"wasmtime": native}, {"wasmtime": reached}, target)
    ]


def _run(name: str, command: list[str], folder: str) -> float:
    begin = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command,
        capture_output=True,
        timeout=WORK_SECONDS,
        check=False,
        cwd=folder,
        env=environment,
        text=True,
    )
    # Some tests look for files of Go's own tree that a package may leave out, and fail on every host.
    if done.returncode not in (0, 1) or ("--- FAIL" not in done.stdout and done.returncode):
        raise PeerFailed(f"{name}: ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return time.perf_counter() - begin
