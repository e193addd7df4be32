"""File work of a C guest beside wasmtime's own native host: seconds measured by the guest itself.

Both run the same module over the same empty directory, in turn, each round beginning with the other one.
What is timed lies between two readings of the clock inside the guest, so neither the start of Python nor that
of wasmtime counts. The bulk file is written twice and the second time is taken: making its pages is the
kernel's work.
Lines are printed into a pipe that a thread of this process empties.
"""

import subprocess
import sys
import tempfile

from bench.figures import Figure, Line, Plan, Target, ratio
from bench.parts import ROOT
from bench.peers import PeerFailed, wasmtime_program
from tests.guestbuild import c_guest

MIB = 1 << 20
WORK_SECONDS = 300

Commands = dict[str, list[str]]
Found = dict[str, list[dict[str, int]]]


def measure(plan: Plan) -> list[Line]:
    """Measure bulk reads and writes, small files, and unbuffered lines."""
    guest = str(c_guest(ROOT / "bench" / "guests" / "files.c"))
    with tempfile.TemporaryDirectory(prefix="coop-bench-") as folder:
        commands = {
            "coop": [sys.executable, "-m", "coop", "run", "--dir", f"{folder}::/", guest],
            "wasmtime": [str(wasmtime_program()), "run", "--dir", f"{folder}::/", guest],
        }
        size = plan.pick(256, 16) * MIB
        lines = []
        for piece, share in ((65536, 0.8), (4096, 0.35)):
            found = _rounds(plan, commands, ["bulk", str(piece), str(size)])
            what = f"{size // MIB} MB file in {piece // 1024} KiB pieces"
            lines += [
                _line(f"{part} {what}", found, part, "MB/s", size / MIB, share) for part in ("write", "read")
            ]
        small, prints = plan.pick(1000, 100), plan.pick(100_000, 5000)
        found = _rounds(plan, commands, ["small", str(small)])
        lines.append(_line(f"open, stat, close {small} files", found, "small", "files/s", small, 0.35))
        found = _rounds(plan, commands, ["print", str(prints)])
        lines.append(_line(f"print {prints} lines unbuffered", found, "print", "lines/s", prints, 0.35))
    return lines


def _line(what: str, found: Found, part: str, unit: str, amount: float, share: float) -> Line:
    """Make a line of one part: `amount` is how much of `unit`, without its "/s", was done."""
    figures = {
        name: Figure(unit, [amount / times[part] * 1e9 for times in rounds]) for name, rounds in found.items()
    }
    coop, native = figures["coop"], figures["wasmtime"]
    reached = ratio(coop, native)
    target = Target(f">= {share} of wasmtime", reached >= share)
    return Line("files", what, "coop run --dir", coop, {"wasmtime": native}, {"wasmtime": reached}, target)


def _rounds(plan: Plan, commands: Commands, arguments: list[str]) -> Found:
    """Run every command once a round; return the nanoseconds of each part, round by round."""
    found: Found = {name: [] for name in commands}
    order = list(commands)
    for turn in range(plan.rounds):
        for name in order[turn % 2 :] + order[: turn % 2]:
            plan.say(f"files, {' '.join(arguments)}, round {turn + 1} of {plan.rounds}: {name}")
            found[name].append(_run(name, [*commands[name], *arguments]))
    return found


def _run(name: str, command: list[str]) -> dict[str, int]:
    done = subprocess.run(command, capture_output=True, timeout=WORK_SECONDS, check=False, cwd=ROOT)
    said = done.stderr.decode(errors="replace")
    if done.returncode != 0:
        raise PeerFailed(f"{name} {' '.join(command[-3:])}: ended with {done.returncode}: {said[-2000:]}")
    return {part: int(ns) for part, ns in (line.split() for line in said.splitlines())}
