"""What the tests of components share: a guest runs on coop and on native wasmtime, in the same way."""

import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.children import ROOT, command
from tests.guestbuild import ToolchainMissing
from tests.native import native

PATIENCE_S = 200.0
POLLERS = ("hostpoll", "oneoff", "pollset")
#: Native wasmtime 36 has what became stable later behind switches, which coop takes and ignores.
SWITCHES = "inherit-network,cli-exit-with-code,network-error-code"
HERE, THERE = "coop", "wasmtime"


class Outcome(NamedTuple):
    """How a program ended, and what it said."""

    status: int
    out: bytes
    err: bytes


def built(build: Callable[..., Path], *given: object) -> str:
    """Build a guest, or skip the test and say what is missing."""
    try:
        return str(build(*given))
    except ToolchainMissing as missing:
        pytest.skip(str(missing))


def run(host: str, *args: str, stdin: bytes = b"", cwd: Path = ROOT) -> Outcome:
    """Run a guest to its end on one of the hosts; `args` are options, the guest and what is its own."""
    argv = command(["-m", "coop", "run"]) if host == HERE else native("run")
    done = subprocess.run(
        [*argv, *args], input=stdin, capture_output=True, check=False, cwd=cwd, timeout=PATIENCE_S
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@contextmanager
def serving(argv: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start an echo server, and give it with its port."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline().decode()
            assert line.startswith("serving on 127.0.0.1:"), line
            yield child, int(line.rpartition(":")[2])
        finally:
            child.kill()


def echoes(port: int) -> None:
    """Talk in turn on several connections, then end one after the other."""
    clients = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) for _ in range(5)]
    for text in (b"first", b"second" * 500):
        for i, client in enumerate(clients):
            client.sendall(b"%d" % i + text)
        for i, client in enumerate(clients):
            wanted, got = b"%d" % i + text, b""
            while len(got) < len(wanted):
                got += (more := client.recv(65536))
                assert more, f"connection {i} ended after {got[:20]!r}"
            assert got == wanted
    for client in clients:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        client.close()
