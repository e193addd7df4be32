"""How late a sleeper wakes beside a guest that works on a disk without end.

One process a round, in which one guest after the other runs beside the sleeper. The note has the rest of the
spread, and how much the guest got done meanwhile: a guest that stood still would disturb nobody.
What the disk is slow to do depends on the disk; in a file system that is memory nothing is ever cold, and
syncing costs nothing.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.figures import Figure, Line, Plan, Target, number, quantile, ratio
from bench.parts import ROOT, PartFailed, answer, run_part
from tests.guestbuild import c_guest

SLEEP_MS, BESIDE_MS, MOST_P99_MS = 2, 900, 15.0
ENTRIES, COLD_BYTES = 100_000, 32 << 20
WORK = {
    "idle": ("a guest that sleeps", ""),
    "sync": ("a guest that syncs every 64 KiB it writes", "syncs"),
    "cold": ("a guest that reads 64 KiB pieces that are not cached", "reads"),
    "list": ("a guest that lists {} entries", "listings"),
    "bulk": ("a guest that writes 16 MiB by one call and cuts the file", "writes"),
}
P50, P99, MOST, DONE = range(4)


def measure_coop(wasm: str, folder: str, beside_ms: int) -> dict[str, list[float]]:
    """Return for each kind of work p50, p99 and maximum of the lateness in ms, and the work done a second."""
    import coop

    module = coop.Module.from_file(wasm)
    cold = os.open(Path(folder) / "cold", os.O_RDONLY)
    return {work: coop.run(_beside, module, folder, work, cold, beside_ms) for work in WORK}


def _beside(module: Any, folder: str, work: str, cold: int, beside_ms: int) -> list[float]:
    import coop

    done = 0

    @coop.host_function("bench", "did", parks=False)
    def did(caller: coop.Caller) -> None:
        nonlocal done
        done += 1

    @coop.host_function("bench", "forget")
    def forget(caller: coop.Caller) -> None:
        coop.run_in_thread(os.posix_fadvise, cold, 0, 0, os.POSIX_FADV_DONTNEED)

    os.posix_fadvise(cold, 0, 0, os.POSIX_FADV_DONTNEED)
    dirs, imports = [coop.Dir(folder, "/")], [did, forget]
    guest = coop.Guest(module, args=[work], dirs=dirs, stderr="inherit", imports=imports)
    task = coop.spawn(guest.run)
    task.observe()
    coop.sleep(0.05)
    done, begun, late = 0, time.monotonic_ns(), []
    now = begun
    while now < begun + beside_ms * 1_000_000:
        begin = time.monotonic_ns()
        coop.sleep(SLEEP_MS / 1e3)
        now = time.monotonic_ns()
        late.append((now - begin) / 1e6 - SLEEP_MS)
    rate = done / (now - begun) * 1e9
    if task.is_done:
        raise PartFailed(f"the guest that was to {work} ended with {task.wait()}")
    guest.cancel()
    return [quantile(late, 0.5), quantile(late, 0.99), max(late), rate]


def measure(plan: Plan) -> list[Line]:
    """Make what is read and listed, then measure every kind of work in each round."""
    wasm, entries = str(c_guest(ROOT / "bench" / "guests" / "disk.c")), plan.pick(ENTRIES, ENTRIES // 10)
    found: dict[str, list[list[float]]] = {work: [] for work in WORK}
    with tempfile.TemporaryDirectory(prefix="coop-bench-") as folder:
        plan.say(f"disk: making {entries} files")
        _prepare(Path(folder), entries)
        for turn in range(plan.rounds):
            plan.say(f"disk, round {turn + 1} of {plan.rounds}")
            beside_ms = plan.pick(BESIDE_MS, BESIDE_MS // 3)
            for work, spread in run_part(__name__, "coop", wasm, folder, beside_ms).items():
                found[work].append(spread)
    idle = _p99(found["idle"])
    return [_line(work, found[work], idle, entries) for work in WORK]


def _prepare(folder: Path, entries: int) -> None:
    (folder / "many").mkdir()
    many = os.open(folder / "many", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number_ in range(entries):
            os.close(os.open(f"entry-{number_}", os.O_CREAT | os.O_WRONLY, dir_fd=many))
    finally:
        os.close(many)
    with (folder / "cold").open("wb") as file:
        file.write(os.urandom(COLD_BYTES))
        file.flush()
        os.fsync(file.fileno())  # only what is on the disk can be forgotten


def _p99(rounds: list[list[float]], note: str = "") -> Figure:
    return Figure("ms", [spread[P99] for spread in rounds], note)


def _line(work: str, rounds: list[list[float]], idle: Figure, entries: int) -> Line:
    what, unit = WORK[work]
    p50, most = Figure("ms", [spread[P50] for spread in rounds]), max(spread[MOST] for spread in rounds)
    note = f"p50 {p50.text}, at most {number(most)} ms"
    what = f"lateness of a 2 ms sleep beside {what.format(entries)}, p99"
    if work == "idle":
        return Line("disk idle", what, "default", _p99(rounds, note))
    did = statistics.median(spread[DONE] for spread in rounds)
    figure = _p99(rounds, f"{note}; {number(did)} {unit}/s")
    target = Target.at_most(figure, MOST_P99_MS)
    ratios = {"idle": ratio(figure, idle)}
    return Line(f"disk {work}", what, "default", figure, {"idle": idle}, ratios, target)


if __name__ == "__main__":
    answer({"coop": measure_coop})
