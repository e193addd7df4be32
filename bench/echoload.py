"""Load for echo servers, from a compiled program on a core of its own."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.machine import cpu_seconds, pinned
from bench.parts import ROOT
from bench.peers import Peer, PeerFailed
from tests.guestbuild import native_go

__all__ = ["connected", "load", "load_program", "steady_load"]

MESSAGE = b"x" * 64
PATIENCE_S = 20.0


def load_program() -> Path:
    """Return the load generator, built if it is not."""
    return native_go(ROOT / "bench" / "load")


def load(
    program: Path, peer: Peer, conns: int, seconds: float, cpu: int | None, *, idle: int = 0
) -> tuple[float, float]:
    """Return requests a second and the server's CPU microseconds per request.

    Without a warm-up of the load generator's own, all that the server computes is for requests that count -
    and for connections that lie idle, if there are any.
    """
    before = cpu_seconds(peer.pid)
    report = _finish(
        peer, _start(program, peer, conns, cpu, "-seconds", seconds, "-warmup", 0, "-idle", idle)
    )
    return report["rps"], (cpu_seconds(peer.pid) - before) / report["requests"] * 1e6


def steady_load(
    program: Path, peer: Peer, conns: int, seconds: float, cpu: int | None, *, warmup: float
) -> tuple[float, float]:
    """Return requests a second and the server's CPU microseconds per request, once all connections are open.

    What opening them costs falls into the warm-up, and CPU time is read in the middle half of the rest.
    """
    running = _start(program, peer, conns, cpu, "-seconds", seconds, "-warmup", warmup)
    time.sleep(warmup + seconds / 4)
    begin, before = time.monotonic(), cpu_seconds(peer.pid)
    time.sleep(seconds / 2)
    used, took = cpu_seconds(peer.pid) - before, time.monotonic() - begin
    rate = _finish(peer, running)["rps"]
    return rate, used / (rate * took) * 1e6


def _start(program: Path, peer: Peer, conns: int, cpu: int | None, *options: object) -> subprocess.Popen[str]:
    command = [str(program), "-addr", peer.address, "-conns", str(conns), *map(str, options)]
    with pinned(cpu):
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(peer: Peer, running: subprocess.Popen[str]) -> dict[str, Any]:
    with running:
        said, complaint = running.communicate()
    if running.returncode != 0:
        raise PeerFailed(f"load {peer.name}: {complaint.strip() or running.returncode}")
    report: dict[str, Any] = json.loads(said)
    return report


@contextmanager
def connected(peer: Peer, conns: int) -> Iterator[None]:
    """Hold so many connections open, each of which has had one message echoed and now lies idle.

    What the server computes for opening them is over when the block begins.
    Raises: PeerFailed.
    """
    with ExitStack() as stack:
        for number in range(1, conns + 1):
            try:
                conn = socket.create_connection(("127.0.0.1", peer.port), PATIENCE_S)
                stack.enter_context(conn)
                conn.sendall(MESSAGE)
                echoed = conn.recv(len(MESSAGE), socket.MSG_WAITALL)
            except OSError as error:
                raise PeerFailed(f"connect {number} of {conns} to {peer.name}: {error}") from error
            if echoed != MESSAGE:
                raise PeerFailed(f"connect {number} of {conns} to {peer.name}: not echoed: {echoed!r}")
        yield
