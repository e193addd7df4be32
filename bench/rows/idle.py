"""Thousands of connections that lie idle beside ten that are busy.

Go passes its whole table of connections with every `poll_oneoff`, so what lies idle costs something with
each poll. Beside coop's own rate without idle connections stands native wasmtime's with them; and an echo
server of coop's own, in Python on the host, for which the poller alone matters.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from bench.echoload import load, load_program
from bench.figures import Figure, Line, Plan, Target, ratio
from bench.machine import many_files, measuring_cpus
from bench.parts import ROOT
from bench.peers import command_peer, native_wasmtime
from tests.guestbuild import go_guest

BUSY, IDLE, SPARE_FILES = 10, 5000, 100
OF_ALONE, OF_NATIVE, HOST_OF_ALONE = 0.5, 20.0, 0.9


def measure(plan: Plan) -> list[Line]:
    """Measure both servers with idle connections and without, and native wasmtime with them."""
    guest, program = go_guest(ROOT / "examples" / "tcpecho" / "guest.go"), load_program()
    idle = plan.pick(IDLE, IDLE // 10)
    server_cpu, load_cpu = measuring_cpus() or (None, None)
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        stack.enter_context(many_files(BUSY + idle + SPARE_FILES))
        coop = [sys.executable, "-m", "coop", "run", "--tcplisten", "127.0.0.1:0", str(guest)]
        ours = stack.enter_context(command_peer("coop", coop, cpu=server_cpu))
        host = stack.enter_context(
            command_peer("host", [sys.executable, "-m", "bench.hostecho"], cpu=server_cpu)
        )
        native = stack.enter_context(native_wasmtime(guest, cpu=server_cpu))
        for peer in (ours, host, native):
            load(program, peer, BUSY, 0.5, load_cpu)
        for turn in range(plan.rounds):
            for name, peer, count in (
                ("alone", ours, 0),
                ("beside", ours, idle),
                ("host alone", host, 0),
                ("host beside", host, idle),
                ("native", native, idle),
            ):
                plan.say(f"idle, round {turn + 1} of {plan.rounds}: {name}")
                seconds = 0.5 if plan.is_quick else 3.0
                rate, _ = load(program, peer, BUSY, seconds, load_cpu, idle=count)
                found.setdefault(name, []).append(rate)
    return _lines({name: Figure("req/s", rates) for name, rates in found.items()}, idle, native.name)


def _lines(figures: dict[str, Figure], idle: int, native: str) -> list[Line]:
    peers = {"coop, none idle": figures["alone"], native: figures["native"]}
    ratios = {name: ratio(figures["beside"], figure) for name, figure in peers.items()}
    of_alone, of_native = ratios.values()
    host = {"none idle": figures["host alone"]}
    of_host = {"none idle": ratio(figures["host beside"], figures["host alone"])}
    return [
        Line(
            "idle guest",
            f"Go's tcpecho, {BUSY} busy and {idle} idle connections",
            "coop run",
            figures["beside"],
            peers,
            ratios,
            Target(
                f">= {OF_ALONE} without idle ones, >= {OF_NATIVE:g} of wasmtime",
                of_alone >= OF_ALONE and of_native >= OF_NATIVE,
            ),
        ),
        Line(
            "idle host",
            f"echo in Python on the host, {BUSY} busy and {idle} idle connections",
            "default",
            figures["host beside"],
            host,
            of_host,
            Target(f">= {HOST_OF_ALONE} without idle ones", of_host["none idle"] >= HOST_OF_ALONE),
        ),
    ]
