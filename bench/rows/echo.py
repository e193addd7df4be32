"""Go's TCP echo server: requests a second, and CPU time per request.

Beside its peers stands a server, `bench.bareecho`, that answers a guest's reads and writes by as little
Python as can be.

Every server runs for the whole row, pinned to one core; the load generator, a Go program that
checks every byte, runs on another. A round asks each server in turn, and each round begins with
another one. Before the first round every server is warmed up once.

CPU time per request is the server process's own, user and system, and so says least about what
else the machine does: where requests a second and CPU time disagree, trust the latter.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

from bench.echoload import load, load_program
from bench.figures import Figure, Line, Plan, Target, number, ratio
from bench.machine import measuring_cpus
from bench.parts import ROOT
from bench.peers import Peer, command_peer, gevent_echo, native_wasmtime
from tests.guestbuild import go_guest

CONNECTIONS = (1, 10, 100)
OF_NATIVE, OF_GEVENT = 1.0, 1.0
BARE = [sys.executable, "-m", "bench.bareecho"]


def measure(plan: Plan) -> list[Line]:
    """Measure all servers at each number of connections."""
    plan.say("building the guest and the load generator")
    guest = go_guest(ROOT / "examples" / "tcpecho" / "guest.go")
    program = load_program()
    cpus = measuring_cpus()
    server_cpu, load_cpu = cpus or (None, None)
    with ExitStack() as stack:
        coop_command = [sys.executable, "-m", "coop", "run", "--tcplisten", "127.0.0.1:0", str(guest)]
        peers = [
            stack.enter_context(command_peer("coop", coop_command, cpu=server_cpu)),
            stack.enter_context(native_wasmtime(guest, cpu=server_cpu)),
            stack.enter_context(gevent_echo(cpu=server_cpu)),
            stack.enter_context(command_peer("bare handlers", [*BARE, str(guest)], cpu=server_cpu)),
        ]
        for peer in peers:
            load(program, peer, 10, 0.5, load_cpu)
        setup = "coop run --tcplisten, " + ("server and load on a core each" if cpus else "one core for all")
        return [_line(plan, program, peers, conns, load_cpu, setup) for conns in CONNECTIONS]


def _line(plan: Plan, program: Path, peers: list[Peer], conns: int, load_cpu: int | None, setup: str) -> Line:
    rates: dict[str, list[float]] = {peer.name: [] for peer in peers}
    costs: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for turn in range(plan.rounds):
        first = turn % len(peers)
        for peer in peers[first:] + peers[:first]:
            plan.say(f"echo, {conns} connections, round {turn + 1} of {plan.rounds}: {peer.name}")
            rate, cost = load(program, peer, conns, 0.5 if plan.is_quick else 2.0, load_cpu)
            rates[peer.name].append(rate)
            costs[peer.name].append(cost)
    figures = {
        name: Figure("req/s", rates[name], f"{number(Figure('', costs[name]).median)} us CPU")
        for name in rates
    }
    coop = figures.pop("coop")
    ratios = {name: ratio(coop, figure) for name, figure in figures.items()}
    native, gevent, _ = ratios.values()
    target = Target(
        f">= {OF_NATIVE} of wasmtime, >= {OF_GEVENT} of gevent", native >= OF_NATIVE and gevent >= OF_GEVENT
    )
    what = f"Go's tcpecho, 64 bytes, {conns} connection{'s' * (conns > 1)}"
    return Line(f"echo {conns}", what, setup, coop, figures, ratios, target)
