"""Load for echo servers, from a compiled program on a core of its own."""

import json
import os
import subprocess
from pathlib import Path

from bench.machine import cpu_seconds
from bench.parts import ROOT
from bench.peers import Peer, PeerFailed
from tests.guestbuild import native_go

__all__ = ["load", "load_program"]


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
    command = [str(program), "-addr", peer.address, "-conns", str(conns), "-seconds", str(seconds)]
    before, was = cpu_seconds(peer.pid), os.sched_getaffinity(0)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        command += ["-warmup", "0", "-idle", str(idle)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        os.sched_setaffinity(0, was)
    if done.returncode != 0:
        raise PeerFailed(f"load {peer.name}: {done.stderr.strip() or done.returncode}")
    report = json.loads(done.stdout)
    return report["rps"], (cpu_seconds(peer.pid) - before) / report["requests"] * 1e6
