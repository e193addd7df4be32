"""The examples in C and Go as components, through the adapter for preview 1, here and on native wasmtime."""

import re
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.children import ROOT, command, start_child
from tests.components import SOURCES
from tests.examples.both import (
    HERE,
    PATIENCE_S,
    POLLERS,
    SWITCHES,
    THERE,
    Outcome,
    built,
    echoes,
    native,
    run,
    serving,
)
from tests.guestbuild import c_guest, go_guest
from tests.jcobuild import adapted, c_component

pytestmark = pytest.mark.slow
EXAMPLES = ROOT / "examples"
TRAPPED = 134
BUILDERS = {"c": c_guest, "go": go_guest}


@pytest.fixture(scope="module", params=["c", "go"])
def ticker(request) -> str:
    source = EXAMPLES / "ticker" / f"guest.{request.param}"
    return built(lambda: adapted(BUILDERS[request.param](source)))


@pytest.fixture(scope="module")
def c_ticker() -> str:
    return built(lambda: adapted(c_guest(EXAMPLES / "ticker" / "guest.c")))


@pytest.fixture(scope="module")
def echo() -> str:
    folder = EXAMPLES / "tcpecho"
    return built(c_component, folder / "component.c", folder / "world.wit")


@pytest.fixture(scope="module")
def program() -> str:
    return built(lambda: adapted(c_guest(SOURCES / "program.c")))


@pytest.mark.parametrize("args", [("20", "3"), ("x",)], ids=" ".join)
def test_the_adapted_ticker_does_what_it_does_on_native_wasmtime(ticker: str, args: tuple[str, ...]):
    there = run(THERE, ticker, *args)
    for poller in POLLERS if args[0] == "20" else POLLERS[:1]:
        assert run(HERE, "--poller", poller, ticker, *args) == there
    wanted = b"tick 1\ntick 2\ntick 3\n" if args[0] == "20" else b""
    # The adapter's `exit` knows well and badly only: the guest's own status of 2 is a 1 by then.
    assert (there.status, there.out) == (len(args) % 2, wanted)


@pytest.mark.parametrize("poller", POLLERS)
def test_the_host_of_the_ticker_takes_a_component(c_ticker: str, poller: str):
    argv = [str(EXAMPLES / "ticker" / "host.py"), "--ticks=2", "--poller", poller, "--guest", c_ticker]
    with start_child(argv, stderr=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}) as child:
        out, err = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, err) == (0, b"")
    lines = out.decode().splitlines()
    for name in ("slow", "quick", "hasty"):
        assert [line for line in lines if line.startswith(name)] == [f"{name}: tick 1", f"{name}: tick 2"]


@pytest.mark.parametrize("poller", POLLERS)
def test_the_echo_component_in_c_serves_many_clients(echo: str, poller: str):
    argv = ["-m", "coop", "run", "--poller", poller, "--allow-listen", "127.0.0.1:0", echo, "127.0.0.1", "0"]
    with serving(command(argv)) as (child, port):
        echoes(port)
        does_not_wait_for_one_that_does_not_read(port)
        child.send_signal(signal.SIGINT)
        assert (child.wait(PATIENCE_S), child.stderr.read()) == (130, b"")


def test_the_echo_component_in_c_does_the_same_on_native_wasmtime(echo: str):
    argv = [*native("run"), "-S", SWITCHES, "-S", "tcp", echo, "127.0.0.1", "0"]
    with serving(argv) as (_, port):
        echoes(port)
        does_not_wait_for_one_that_does_not_read(port)


def does_not_wait_for_one_that_does_not_read(port: int) -> None:
    """Fill all that lies between us and the guest, then let another client in, then read."""
    where = ("127.0.0.1", port)
    with closing(socket.create_connection(where, timeout=PATIENCE_S)) as full:
        full.setblocking(False)
        sent = 0
        while True:
            try:
                sent += full.send(b"x" * 65536)
            except BlockingIOError:
                break
        echoes(port)
        full.settimeout(PATIENCE_S)
        full.shutdown(socket.SHUT_WR)
        back = 0
        while data := full.recv(65536):
            back += len(data)
        assert back == sent > 65536


@pytest.mark.parametrize("args", [("127.0.0.1",), ("localhost", "0")], ids=" ".join)
def test_the_echo_component_in_c_refuses_what_it_cannot_use(echo: str, args: tuple[str, ...]):
    refused = Outcome(1, b"", b"usage: tcpecho ADDRESS PORT\n")
    assert run(HERE, echo, *args) == run(THERE, echo, *args) == refused


def test_the_echo_component_in_c_may_not_listen_unless_it_is_told(echo: str):
    assert run(THERE, echo, "127.0.0.1", "0") == Outcome(1, b"", b"start-bind: error-code 1\n")
    # The guest is told the same here, and whoever runs it is told more.
    warning = f"coop: warning: not allowed on the network guest={Path(echo).name!r} ".encode()
    elsewhere = run(HERE, "--allow-listen", "127.0.0.2:0", echo, "127.0.0.1", "0")
    assert elsewhere == Outcome(1, b"", warning + b"listen='127.0.0.1:0'\nstart-bind: error-code 1\n")
    # Without any network coop gives no socket, where native wasmtime gives one that can do nothing.
    nowhere = run(HERE, echo, "127.0.0.1", "0")
    assert nowhere == Outcome(1, b"", warning + b"tcp='any socket'\ncreate-tcp-socket: error-code 1\n")


@pytest.mark.parametrize("poller", POLLERS)
def test_the_host_of_the_echo_server_takes_a_component(echo: str, poller: str):
    argv = [str(EXAMPLES / "tcpecho" / "host.py"), "--port=0", "--every=20", "--poller", poller]
    with start_child(
        [*argv, "--guest", echo], stderr=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}
    ) as child:
        out = ""
        while not (found := re.search(r"nc 127\.0\.0\.1 (\d+)", out)):
            out += child.stdout.readline().decode()
        echoes(int(found[1]))
        while b"tick" not in (line := child.stdout.readline()):
            assert line
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, out.splitlines()[-1], err) == (0, b"stopped", b"")


@pytest.mark.parametrize(
    "args",
    [
        ("args", "one", "two words", "", "gr\u00fc\u00df"),
        ("env",),
        ("exit", "0"),
        ("exit", "7"),
        ("stdin",),
        ("sleep",),
        ("unknown",),
    ],
    ids=" ".join,
)
def test_a_program_for_preview_1_is_the_same_through_the_adapter(program: str, args: tuple[str, ...]):
    given = ("--env", "T_A=1", "--env", "T_B=two words", program, *args)
    stdin = b"a line\n\n" + b"x" * 200 + b"\nno newline"
    here, there = (run(host, *given, stdin=stdin) for host in (HERE, THERE))
    assert here == there
    assert here.status == (1 if args in {("exit", "7"), ("unknown",)} else 0)
    assert here.out or args == ("unknown",)


def test_files_are_the_same_through_the_adapter(program: str, tmp_path: Path):
    ended = []
    for host in (HERE, THERE):
        folder = tmp_path / host
        folder.mkdir()
        ended.append(run(host, "--dir", "given::work", program, "files", "work", cwd=prepared(folder)))
        assert sorted(path.name for path in (folder / "given").iterdir()) == ["made", "moved"]
        assert (folder / "given" / "moved").read_text() == "by the guest"
    assert ended[0] == ended[1]
    assert (ended[0].status, ended[0].err) == (0, b"")
    assert ended[0].out.endswith(b"outside: Operation not permitted\n")


def prepared(folder: Path) -> Path:
    (folder / "given").mkdir()
    (folder / "outside").write_text("not to be seen")
    return folder


@pytest.mark.parametrize("what", ["abort", "accept"])
def test_a_program_traps_through_the_adapter_where_it_does_on_native_wasmtime(program: str, what: str):
    # The adapter has no sock_accept: that is why the echo server in C imports wasi:sockets.
    here, there = (run(host, program, what) for host in (HERE, THERE))
    assert here.status == there.status == TRAPPED
    assert here.out == there.out == b""
    assert b"wasm `unreachable` instruction executed" in here.err
    assert b"wasm `unreachable` instruction executed" in there.err
