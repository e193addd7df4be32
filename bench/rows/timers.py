"""How late a sleeper wakes and a client is answered: alone, and beside guests that compute without end.

The peer of the sleeper is the kernel: `time.sleep` in a thread with nothing else in the process. It is late
as well, by the machine's timer slack and by whoever else has the core, and nobody can be earlier. The client
is a process of its own, which asks Go's echo server every 2 ms. Guests may also come, compute for a few
milliseconds and go, one after the other, as where each request has its own. What a computing guest loses is
seen from the time that a fixed amount of work takes it, alone and beside the sleeper.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable

from bench.figures import Figure, Line, Plan, Target, quantile, ratio
from bench.parts import ROOT, answer, run_part

SLEEPS, SLEEP_MS, SPINNERS, WORK, BRIEF_WORK = 1000, 2, (1, 4), 2_000_000_000, 7_000_000
ALONE_P50_MS, ALONE_P99_MS, BESIDE_P50_MS, BESIDE_P99_MS, LOSS = 0.15, 0.5, 0.3, 1.0, 10.0
SPIN = """(module (memory (export "memory") 1)
  (func $work (param $n i64)
    (loop $l (br_if $l (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0)))))
  (func (export "work") (param $n i64) (call $work (local.get $n)))
  (func (export "_start") (call $work (i64.const 0))))"""
CLIENT = f"""
import json, socket, sys, time
took = []
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(int(sys.argv[2])):
        time.sleep({SLEEP_MS / 1e3})
        begin = time.monotonic_ns()
        client.sendall(b"x" * 64)
        assert client.recv(100) == b"x" * 64
        took.append((time.monotonic_ns() - begin) / 1e6)
print(json.dumps(took))
"""


def measure_coop(sleeps: int, spinners: int) -> list[float]:
    """Return p50 and p99 of a sleeping task's lateness in milliseconds."""
    import coop

    def main() -> list[float]:
        _spin(spinners)
        return _lateness(sleeps, coop.sleep)

    found: list[float] = coop.run(main)
    return found


def _lateness(sleeps: int, sleep: Callable[[float], None]) -> list[float]:
    late = []
    for _ in range(sleeps):
        begin = time.monotonic_ns()
        sleep(SLEEP_MS / 1e3)
        late.append((time.monotonic_ns() - begin) / 1e6 - SLEEP_MS)
    return [quantile(late, 0.5), quantile(late, 0.99)]


def _spin(spinners: int) -> None:
    """Start so many guests that compute until the run ends, and let each use up a slice."""
    import coop

    module = coop.Module.from_bytes(SPIN)
    for _ in range(spinners):
        coop.spawn(coop.Guest(module).run).observe()
    coop.sleep(0.02 * spinners)


def measure_brief(sleeps: int) -> list[float]:
    """Return the same beside guests of some 5 ms each, of which one begins when the last has ended."""
    import coop

    module = coop.Module.from_bytes(SPIN)

    def come_and_go() -> None:
        while True:
            with coop.Guest(module) as guest:
                guest.call("work", BRIEF_WORK)

    def main() -> list[float]:
        coop.spawn(come_and_go).observe()
        return _lateness(sleeps, coop.sleep)

    found: list[float] = coop.run(main)
    return found


def measure_echo(requests: int, spinners: int) -> list[float]:
    """Return p50 and p99 of the milliseconds that a client waits for its echo."""
    import json

    import coop
    from tests.guestbuild import go_guest

    server = coop.load(go_guest(ROOT / "examples" / "tcpecho" / "guest.go"))

    def main() -> list[float]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            coop.spawn(coop.Guest(server, listen=[listener]).run).observe()
            _spin(spinners)
            port = listener.getsockname()[1]
            client = [sys.executable, "-c", CLIENT, str(port), str(requests)]
            done = coop.run_in_thread(lambda: subprocess.run(client, capture_output=True, check=True))
            took = json.loads(done.stdout)
            return [quantile(took, 0.5), quantile(took, 0.99)]

    found: list[float] = coop.run(main)
    return found


def measure_loss(work: int, spinners: int) -> float:
    """Return by how many percent so many guests get on more slowly beside a sleeper than without it."""
    import coop

    module = coop.Module.from_bytes(SPIN)

    def spin(*, beside: bool) -> float:
        guests = [coop.Guest(module) for _ in range(spinners)]
        sleeper = coop.spawn(lambda: [coop.sleep(SLEEP_MS / 1e3) for _ in range(1_000_000)] if beside else [])
        sleeper.observe()
        begin = time.monotonic_ns()
        tasks = [coop.spawn(guest.call, "work", work // spinners) for guest in guests]
        for task in tasks:
            task.wait()
        took = time.monotonic_ns() - begin
        sleeper.cancel()
        return took

    def main() -> float:
        spin(beside=False)
        alone = spin(beside=False)
        return 100.0 * (1.0 - alone / spin(beside=True))

    found: float = coop.run(main)
    return found


def measure_kernel(sleeps: int) -> list[float]:
    """Return p50 and p99 of the lateness of a thread's sleep."""
    return _lateness(sleeps, time.sleep)


def measure(plan: Plan) -> list[Line]:
    """Measure all in interleaved rounds."""
    sleeps, work = plan.pick(SLEEPS, SLEEPS // 10), plan.pick(WORK, WORK // 10)
    found: dict[str, list[list[float]]] = {}
    lost: dict[int, list[float]] = {count: [] for count in SPINNERS}
    for turn in range(plan.rounds):
        plan.say(f"timers, round {turn + 1} of {plan.rounds}")
        found.setdefault("kernel", []).append(run_part(__name__, "kernel", sleeps))
        found.setdefault("brief", []).append(run_part(__name__, "brief", sleeps))
        for count in (0, *SPINNERS):
            found.setdefault(f"sleep {count}", []).append(run_part(__name__, "coop", sleeps, count))
            found.setdefault(f"echo {count}", []).append(run_part(__name__, "echo", sleeps, count))
        for count in SPINNERS:
            lost[count].append(run_part(__name__, "loss", work, count))
    figures = {
        name: (Figure("ms", [p50 for p50, _ in each]), Figure("ms", [p99 for _, p99 in each]))
        for name, each in found.items()
    }
    return [
        *_pair(figures, "sleep 0", "lateness of a 2 ms sleep", (ALONE_P50_MS, ALONE_P99_MS), peer="kernel"),
        *_pair(figures, "brief", "lateness beside guests that come, compute for 5 ms and go", None),
        *_pair(figures, "echo 0", "an echo of Go's tcpecho, asked every 2 ms", None),
        *(
            line
            for count in SPINNERS
            for line in (
                *_pair(figures, f"sleep {count}", f"lateness beside {_guests(count)}", _BESIDE),
                *_pair(figures, f"echo {count}", f"an echo beside {_guests(count)}", _BESIDE),
                _loss(count, lost[count]),
            )
        ),
    ]


_BESIDE = (BESIDE_P50_MS, BESIDE_P99_MS)


def _guests(count: int) -> str:
    return "a guest that spins" if count == 1 else f"{count} guests that spin"


def _pair(
    figures: dict[str, tuple[Figure, Figure]],
    name: str,
    what: str,
    bounds: tuple[float, float] | None,
    *,
    peer: str = "",
) -> list[Line]:
    lines = []
    for share, label in enumerate(("p50", "p99")):
        coop = figures[name][share]
        peers = {"time.sleep": figures[peer][share]} if peer else {}
        ratios = {each: ratio(coop, theirs) for each, theirs in peers.items()}
        target = None if bounds is None else Target.at_most(coop, bounds[share])
        lines.append(Line(f"timer {name}", f"{what}, {label}", "default", coop, peers, ratios, target))
    return lines


def _loss(count: int, percents: list[float]) -> Line:
    figure = Figure("%", percents)
    what = f"what {_guests(count)} {'loses' if count == 1 else 'lose'} beside a 2 ms sleeper"
    return Line(f"timer loss {count}", what, "default", figure, {}, {}, Target.at_most(figure, LOSS))


if __name__ == "__main__":
    answer(
        {
            "coop": measure_coop,
            "brief": measure_brief,
            "kernel": measure_kernel,
            "echo": measure_echo,
            "loss": measure_loss,
        }
    )
