"""How long Go's echo server of 3 MB takes to load and start once its compiled form is in the cache.

Each round fills a cache directory of its own and then loads in a new process, so that nothing is in memory
but the file. Timed is what a user waits for beyond Python's own start: the import of coop (a note), the
module, and the guest up to its first answer to a client.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.figures import Figure, Line, Plan, Target, ratio
from bench.parts import ROOT, answer, run_part
from tests.guestbuild import go_guest

MOST_MS = 50.0


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


def measure(plan: Plan) -> list[Line]:
    """Measure the first start, which compiles, and the second."""
    wasm = str(go_guest(ROOT / "examples" / "tcpecho" / "guest.go"))
    first, second, imports = [], [], []
    for turn in range(plan.rounds):
        plan.say(f"start, round {turn + 1} of {plan.rounds}")
        with tempfile.TemporaryDirectory() as folder:
            cache = str(Path(folder) / "cache")
            first.append(run_part(__name__, "coop", wasm, cache)[1])
            imported, started = run_part(__name__, "coop", wasm, cache)
        second.append(started)
        imports.append(imported)
    figure = Figure("ms", second, f"importing coop: {Figure('ms', imports).text}")
    compiled = Figure("ms", first)
    return [
        Line(
            "start",
            "Go guest of 3 MB, from the cache to its first answer",
            "default",
            figure,
            {"first start": compiled},
            {"first start": ratio(figure, compiled)},
            Target.at_most(figure, MOST_MS),
        )
    ]


if __name__ == "__main__":
    answer({"coop": measure_coop})
