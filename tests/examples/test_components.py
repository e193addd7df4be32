"""The examples that are components, run as a reader runs them, and on native wasmtime."""

import select
import signal
import socket
import subprocess
import time

import pytest

from tests.children import ROOT, command
from tests.components import python_component
from tests.examples.both import (
    HERE,
    PATIENCE_S,
    SWITCHES,
    THERE,
    Outcome,
    built,
    echoes,
    native,
    run,
    serving,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def echo() -> str:
    return built(python_component, ROOT / "examples" / "tcpecho" / "component.py", "command")


@pytest.fixture(scope="module")
def ticker() -> str:
    return built(python_component, ROOT / "examples" / "ticker" / "component.py", "command")


@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_the_echo_component_serves_many_clients(echo: str, poller: str):
    argv = ["-m", "coop", "run", "--poller", poller, "--allow-listen", "127.0.0.1:0", echo, "127.0.0.1", "0"]
    with serving(command(argv)) as (child, port):
        echoes(port)
        child.send_signal(signal.SIGINT)
        assert (child.wait(PATIENCE_S), child.stderr.read()) == (130, b"")


def test_the_echo_component_does_the_same_on_native_wasmtime(echo: str):
    with serving([*native("run"), "-S", SWITCHES, echo, "127.0.0.1", "0"]) as (_, port):
        echoes(port)


@pytest.mark.parametrize("args", [(), ("127.0.0.1",), ("localhost", "0"), ("127.0.0.1", "x")], ids=" ".join)
def test_the_echo_component_says_how_it_is_used(echo: str, args: tuple[str, ...]):
    assert run(HERE, echo, *args) == Outcome(1, b"", b"usage: tcpecho ADDRESS PORT\n")


def test_the_echo_component_says_where_it_could_not_listen(echo: str):
    done = run(HERE, "--allow-listen", "127.0.0.2:0", echo, "127.0.0.1", "0")
    assert done.status == 1
    assert b"not allowed on the network" in done.err
    assert done.err.endswith(b"\nlisten on 127.0.0.1:0: ACCESS_DENIED\n")


@pytest.mark.parametrize("args", [("20",), ("20", "x")], ids=" ".join)
def test_the_ticker_component_says_how_it_is_used(ticker: str, args: tuple[str, ...]):
    assert run(HERE, ticker, *args) == Outcome(1, b"", b"usage: ticker MILLISECONDS TICKS\n")


@pytest.mark.parametrize("host", [HERE, THERE])
def test_a_client_that_does_not_read_holds_up_itself_alone(echo: str, host: str):
    here = command(["-m", "coop", "run", "--allow-listen", "127.0.0.1:0"])
    argv = here if host == HERE else [*native("run"), "-S", SWITCHES]
    with serving([*argv, echo, "127.0.0.1", "0"]) as (_, port):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as deaf:
            deaf.setblocking(False)
            while select.select([], [deaf], [], 1.0)[1]:  # until the server takes no more of it
                deaf.send(bytes(65536))
            echoes(port)
        echoes(port)


@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_the_ticker_component_ticks_as_on_native_wasmtime(ticker: str, poller: str):
    here = command(["-m", "coop", "run", "--poller", poller, ticker, "20", "4"])
    there = [*native("run"), "-S", SWITCHES, ticker, "20", "4"]
    said, took = [], []
    for argv in (here, there):
        began = time.monotonic()
        done = subprocess.run(argv, capture_output=True, check=True, cwd=ROOT, timeout=PATIENCE_S)
        took.append(time.monotonic() - began)
        said.append((done.stdout, done.stderr))
    assert said[0] == said[1] == (b"tick 1\ntick 2\ntick 3\ntick 4\n", b"")
    assert min(took) >= 0.08
