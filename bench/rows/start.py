"""How long a guest takes to load and start once its compiled form is in the cache.

A small one, Go's echo server of 3 MB, up to its first answer to a client; and a large one, the go command
itself, ten times as large, up to its end: it is asked for nothing and says how it is used.

Each round fills a cache directory of its own and then loads in a new process, so that nothing is in memory
but the file. Timed is what a user waits for beyond Python's own start: the import of coop (a note), the
module, and the guest.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.figures import Figure, Line, Plan, Target, ratio
from bench.parts import ROOT, PartFailed, answer, run_part
from tests.guestbuild import go_command, go_guest, goroot

SMALL_MS, LARGE_MS = 50.0, 300.0


def measure_coop(wasm: str, cache: str) -> list[float]:
    """Return the milliseconds of the import, and those of loading and starting until it has answered."""
    begin = time.perf_counter_ns()
    import coop

    imported = time.perf_counter_ns()

    def main() -> int:
        module = coop.Module.from_file(wasm, cache=cache)
        server = coop.Guest(module, listen=["127.0.0.1:0"])
        task = coop.spawn(server.run)
        while not server.addresses:
            coop.pause()
        with coop.connect(server.addresses[0]) as client:
            client.sendall(b"x")
            client.recv()
            answered = time.perf_counter_ns()
        task.cancel()
        return answered

    started: int = coop.run(main)
    return [(imported - begin) / 1e6, (started - imported) / 1e6]


def measure_large(wasm: str, cache: str, root: str) -> list[float]:
    """Return the milliseconds of the import, and those of loading and running to the end."""
    begin = time.perf_counter_ns()
    import coop

    imported = time.perf_counter_ns()
    module = coop.Module.from_file(wasm, cache=cache)
    said = bytearray()
    guest = coop.Guest(module, env={"GOROOT": root}, dirs=[coop.Dir(root)], stdout=said, stderr=said)
    coop.run(guest.run)
    if b"usage" not in said.lower():
        raise PartFailed(f"the go command said {said.decode(errors='replace')!r}")
    return [(imported - begin) / 1e6, (time.perf_counter_ns() - imported) / 1e6]


def measure(plan: Plan) -> list[Line]:
    """Measure the first start, which compiles, and the second."""
    small = str(go_guest(ROOT / "examples" / "tcpecho" / "guest.go"))
    large = str(go_command("cmd/go"))
    size = Path(large).stat().st_size // 10**6
    return [
        _line(plan, "Go guest of 3 MB, from the cache to its first answer", SMALL_MS, "coop", small),
        _line(
            plan, f"Go guest of {size} MB, from the cache to its end", LARGE_MS, "large", large, str(goroot())
        ),
    ]


def _line(plan: Plan, what: str, most_ms: float, part: str, wasm: str, *arguments: str) -> Line:
    first, second, imports = [], [], []
    for turn in range(plan.rounds):
        plan.say(f"start, {what}, round {turn + 1} of {plan.rounds}")
        with tempfile.TemporaryDirectory() as folder:
            cache = str(Path(folder) / "cache")
            first.append(run_part(__name__, part, wasm, cache, *arguments)[1])
            imported, started = run_part(__name__, part, wasm, cache, *arguments)
        second.append(started)
        imports.append(imported)
    figure = Figure("ms", second, f"importing coop: {Figure('ms', imports).text}")
    compiled = Figure("ms", first)
    ratios = {"first start": ratio(figure, compiled)}
    target = Target.at_most(figure, most_ms)
    return Line("start", what, "default", figure, {"first start": compiled}, ratios, target)


if __name__ == "__main__":
    answer({"coop": measure_coop, "large": measure_large})
