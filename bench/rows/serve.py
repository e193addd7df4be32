"""HTTP requests answered by one component: `coop serve` beside `wasmtime serve`, with a fresh guest for each.

One client at a time asks over one connection that is kept; the component is a service of CPython.
`coop serve --reuse` keeps a guest, which native wasmtime 36 does not do; it stands below for itself.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.figures import Figure, Line, Plan, Target, ratio
from bench.parts import ROOT
from bench.peers import PeerFailed, wasmtime_program
from tests.components import SOURCES, python_component

REQUESTS, SHARE = 300, 0.5
PATIENCE_S = 60.0
SWITCHES = "cli,cli-exit-with-code,http,network-error-code"


@contextmanager
def server(command: Sequence[str], port: int) -> Iterator[http.client.HTTPConnection]:
    """Start a server and give a connection to it on which one request was answered."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            yield _connected(child, port)
        finally:
            child.terminate()


def _connected(child: subprocess.Popen[bytes], port: int) -> http.client.HTTPConnection:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and child.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            ask(connection)
        except OSError:
            connection.close()
            time.sleep(0.05)
        else:
            return connection
    raise PeerFailed(f"{child.args!r} did not answer")


def ask(connection: http.client.HTTPConnection) -> None:
    """Ask once, and check the answer."""
    connection.request("GET", "/")
    answer = connection.getresponse()
    if (answer.status, answer.read()) != (200, b"hello\n"):
        raise PeerFailed(f"port {connection.port} answered {answer.status}")


def per_second(command: Sequence[str], port: int, requests: int) -> float:
    """Return the requests a second that a server answers."""
    with server(command, port) as connection:
        for _ in range(requests // 10):
            ask(connection)
        begin = time.perf_counter()
        for _ in range(requests):
            ask(connection)
        took = time.perf_counter() - begin
        connection.close()
        return requests / took


def free_port() -> int:
    """Return a port that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def measure(plan: Plan) -> list[Line]:
    """Measure both sides in interleaved rounds."""
    service = str(python_component(SOURCES.parent.parent / "examples" / "service" / "guest.py", "service"))
    requests = plan.pick(REQUESTS, REQUESTS // 10)
    coop = [sys.executable, "-m", "coop", "serve"]
    native = [str(wasmtime_program()), "serve", "-S", SWITCHES]
    found: dict[str, list[float]] = {"fresh": [], "reuse": [], "native": []}
    for turn in range(plan.rounds):
        for name, command in (
            ("fresh", coop),
            ("reuse", [*coop, "--reuse", "1000000"]),
            ("native", native),
        ):
            plan.say(f"serve, round {turn + 1} of {plan.rounds}: {name}")
            port = free_port()
            address = f"127.0.0.1:{port}"
            found[name].append(per_second([*command, "--addr", address, service], port, requests))
    figures = {name: Figure("req/s", speeds) for name, speeds in found.items()}
    peers = {"wasmtime": figures["native"]}
    share = ratio(figures["fresh"], figures["native"])
    target = Target(f">= {SHARE} of wasmtime", share >= SHARE)
    return [
        Line(
            "serve fresh",
            "a request to a CPython service, a fresh guest for each",
            "coop serve",
            figures["fresh"],
            peers,
            {"wasmtime": share},
            target,
        ),
        Line(
            "serve reuse",
            "the same, one guest for all",
            "coop serve --reuse",
            figures["reuse"],
            peers,
            {"wasmtime": ratio(figures["reuse"], figures["native"])},
        ),
    ]
