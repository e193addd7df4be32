"""A guest for each client: what a sandbox of its own costs a busy client in speed, and an idle one in memory.

The example `guest_per_client` with its smallest guest, which reads and writes its standard streams, beside
gevent's echo server, which has a greenlet for each client and no sandbox. All clients are busy at once, and
the load generator checks every byte.

The bare loop beside it, `bench.bareloop`, does what any such server in Python must do, and nothing else.

Rates and CPU time are taken when every client has its guest; what a start costs is another row's. Memory is
what is resident plus page tables, in a server of its own for each round, before the clients came and when
each has had one message echoed.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from bench.echoload import connected, load, load_program, steady_load
from bench.figures import Figure, Line, Plan, Target, number, ratio
from bench.machine import many_files, measuring_cpus, resident_kib
from bench.parts import ROOT
from bench.peers import Peer, command_peer, gevent_echo

OF_GEVENT = {100: 0.85, 1000: 0.6}
CROWD, KIB = 1000, 45.0
SPARE_FILES = 100
SERVER = [sys.executable, str(ROOT / "examples" / "guest_per_client" / "host.py"), "--port", "0"]
SETUP = "examples/guest_per_client, guest.wat, "


def _coop(cpu: int | None) -> AbstractContextManager[Peer]:
    return command_peer("coop", SERVER, cpu=cpu)


def measure(plan: Plan) -> list[Line]:
    """Measure both servers with clients that are busy, then with clients that wait."""
    plan.say("building the load generator")
    program = load_program()
    cpus = measuring_cpus()
    server_cpu, load_cpu = cpus or (None, None)
    setup = SETUP + ("server and load on a core each" if cpus else "one core for all")
    with ExitStack() as stack:
        stack.enter_context(many_files(max(OF_GEVENT) + SPARE_FILES))
        peers = [stack.enter_context(start(server_cpu)) for start in (_coop, _gevent, _bare)]
        for peer in peers:
            load(program, peer, 10, 0.5, load_cpu)
        lines = [_busy(plan, program, peers, conns, load_cpu, setup) for conns in OF_GEVENT]
    with many_files(CROWD + SPARE_FILES):
        return [*lines, _memory(plan, server_cpu)]


def _gevent(cpu: int | None) -> AbstractContextManager[Peer]:
    return gevent_echo(cpu=cpu)


def _bare(cpu: int | None) -> AbstractContextManager[Peer]:
    return command_peer("bare loop", [sys.executable, "-m", "bench.bareloop"], cpu=cpu)


def _busy(plan: Plan, program: Path, peers: list[Peer], conns: int, load_cpu: int | None, setup: str) -> Line:
    found: dict[str, list[tuple[float, float]]] = {peer.name: [] for peer in peers}
    for turn in range(plan.rounds):
        first = turn % len(peers)
        for peer in peers[first:] + peers[:first]:
            plan.say(f"clients, {conns} busy, round {turn + 1} of {plan.rounds}: {peer.name}")
            seconds = 0.5 if plan.is_quick else 3.0
            found[peer.name].append(steady_load(program, peer, conns, seconds, load_cpu, warmup=1.0))
    figures = {
        name: Figure(
            "req/s", [rate for rate, _ in runs], f"{number(Figure('', [us for _, us in runs]).median)} us CPU"
        )
        for name, runs in found.items()
    }
    coop = figures.pop("coop")
    ratios = {name: ratio(coop, figure) for name, figure in figures.items()}
    of_gevent, _ = ratios.values()
    bound = OF_GEVENT[conns]
    target = Target(f">= {bound} of gevent", of_gevent >= bound)
    what = f"a guest for each of {conns} clients, all busy"
    return Line(f"clients {conns}", what, setup, coop, figures, ratios, target)


def _memory(plan: Plan, server_cpu: int | None) -> Line:
    clients = plan.pick(CROWD, CROWD // 10)
    found: dict[str, list[float]] = {}
    for turn in range(plan.rounds):
        for start in (_coop, _gevent):
            with start(server_cpu) as peer:
                plan.say(f"clients, memory, round {turn + 1} of {plan.rounds}: {peer.name}")
                with connected(peer, 1):
                    pass  # what is made once for all of them
                before = resident_kib(peer.pid)
                with connected(peer, clients):
                    used = resident_kib(peer.pid) - before
            found.setdefault(peer.name, []).append(used / clients)
    figures = {name: Figure("KiB", each) for name, each in found.items()}
    coop = figures.pop("coop")
    ratios = {name: ratio(coop, figure) for name, figure in figures.items()}
    what = f"memory of each of {clients} clients that have echoed once"
    return Line("clients memory", what, SETUP + "default", coop, figures, ratios, Target.at_most(coop, KIB))
