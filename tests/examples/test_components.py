"""The examples that are components, run as a reader runs them, and on native wasmtime."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.children import ROOT, command
from tests.components import python_component
from tests.guestbuild import ToolchainMissing, native_wasmtime

pytestmark = pytest.mark.slow
PATIENCE_S = 60.0
SWITCHES = "inherit-network,cli-exit-with-code,network-error-code"


@pytest.fixture(scope="module")
def echo() -> str:
    try:
        return str(python_component(ROOT / "examples" / "tcpecho" / "component.py", "command"))
    except ToolchainMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def ticker() -> str:
    try:
        return str(python_component(ROOT / "examples" / "ticker" / "component.py", "command"))
    except ToolchainMissing as missing:
        pytest.skip(str(missing))


@contextmanager
def serving(argv: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
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
                got += client.recv(65536)
            assert got == wanted
    for client in clients:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        client.close()


@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_the_echo_component_serves_many_clients(echo: str, poller: str):
    run = ["-m", "coop", "run", "--poller", poller, "--allow-listen", "127.0.0.1:0", echo, "127.0.0.1", "0"]
    with serving(command(run)) as (child, port):
        echoes(port)
        child.send_signal(signal.SIGINT)
        assert (child.wait(PATIENCE_S), child.stderr.read()) == (130, b"")


def test_the_echo_component_does_the_same_on_native_wasmtime(echo: str):
    with serving([str(native_wasmtime()), "run", "-S", SWITCHES, echo, "127.0.0.1", "0"]) as (_, port):
        echoes(port)


@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_the_ticker_component_ticks_as_on_native_wasmtime(ticker: str, poller: str):
    here = command(["-m", "coop", "run", "--poller", poller, ticker, "20", "4"])
    there = [str(native_wasmtime()), "run", "-S", SWITCHES, ticker, "20", "4"]
    said, took = [], []
    for argv in (here, there):
        began = time.monotonic()
        done = subprocess.run(argv, capture_output=True, check=True, cwd=ROOT, timeout=PATIENCE_S)
        took.append(time.monotonic() - began)
        said.append((done.stdout, done.stderr))
    assert said[0] == said[1] == (b"tick 1\ntick 2\ntick 3\ntick 4\n", b"")
    assert min(took) >= 0.08
