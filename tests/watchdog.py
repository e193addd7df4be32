"""Ends a run of the tests in which one hangs: a process beside it, which is told what runs.

What hangs may be a guest or a poll that holds the GIL, so nothing in the process itself is sure to
work.  The watchdog counts seconds that it has slept through; a machine that was paused meanwhile, and whose
clock has jumped, makes no test take longer.

    python tests/watchdog.py PID     on stdin a line for each test, its limit and its name, and an empty one
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_S = 10
"""How long the run has for the stacks of its threads, before it is killed."""


class Watchdog:
    """The run's side."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", __file__, str(os.getpid())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0)

    def tell(self, line: str) -> None:
        """Say what runs from now on: "limit name", or nothing."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def close(self) -> None:
        """Let the watchdog go."""
        self._process.communicate()


def watch(pid: int) -> None:
    """Count how long each test takes, until stdin ends or one has taken too long."""
    limit, name, slept, said = 0.0, "", 0, b""
    while True:
        if select.select([0], [], [], 1.0)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, said = (said + data).split(b"\n")
            if lines:
                slept = 0
                number, _, name = lines[-1].decode().partition(" ")
                limit = float(number or "inf")
            continue
        slept += 1
        if name and slept >= limit:
            end(pid, f"Timeout: {name} has run for {limit:.0f} s")
            return


def end(pid: int, why: str) -> None:
    """End the run, and say why before and after it shows where it stands, which may be long."""
    below = "".join(f"  {line}\n" for line in family(pid))
    say(f"\n{why}\n")
    os.kill(pid, signal.SIGABRT)  # by which faulthandler, in C, shows where every thread stands
    for _ in range(GRACE_S * 10):
        time.sleep(0.1)
        if os.getppid() != pid:
            break
    else:
        os.kill(pid, signal.SIGKILL)
    say(f"{why}\n{below}")


def say(text: str) -> None:
    """Print to stderr, at once."""
    sys.stderr.write(text)
    sys.stderr.flush()


def family(pid: int) -> list[str]:
    """A line for a process and each below it: number, what it does, where in the kernel, command."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:  # it grows meanwhile
        found += [child for child, parent in parents.items() if parent == each and child != os.getpid()]
    lines = []
    for each in found:
        with contextlib.suppress(OSError):
            state = (Path(f"/proc/{each}/stat").read_text().rpartition(")")[2]).split()[0]
            where = Path(f"/proc/{each}/wchan").read_text()
            command = Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            lines.append(f"{each} {state} {where} {' '.join(command.split())[:80]}")
    return lines


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the tests
    try:
        watch(int(sys.argv[1]))
    except ProcessLookupError:
        pass  # the run has ended by itself
