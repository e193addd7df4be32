"""The examples run as a reader runs them: each guest, each poller, real clients, ^C at the end."""

import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import termios
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from tests.children import ROOT, run_child, start_child
from tests.guestbuild import c_guest, go_guest

PATIENCE_S = 200.0
EXAMPLES = ROOT / "examples"
POLLERS = ("hostpoll", "oneoff", "pollset")
BUILDERS = {"go": go_guest, "c": c_guest}

each_poller = pytest.mark.parametrize("poller", POLLERS)
each_guest = pytest.mark.parametrize(
    "language", ["wat", pytest.param("go", marks=pytest.mark.slow), pytest.param("c", marks=pytest.mark.slow)]
)


def guest(example: str, language: str) -> str:
    """What to give to --guest: a built file, or "wat"."""
    build = BUILDERS.get(language)
    return language if build is None else str(build(EXAMPLES / example / f"guest.{language}"))


class Example:
    """A host program that runs, and what it has printed."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child
        self.out = ""

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read lines of its output until one matches; the test's time limit ends what never comes."""
        while True:
            line = self.child.stdout.readline().decode()
            assert line, f"it ended without {pattern!r}, after:\n{self.out}"
            self.out += line
            found = re.search(pattern, line)
            if found:
                return found

    def port(self) -> int:
        """The port in what it tells the reader to type."""
        return int(self.read_until(r"nc 127\.0\.0\.1 (\d+)")[1])

    def interrupt(self) -> None:
        """Send ^C; it must say so, and end with status 0 and nothing on stderr."""
        self.child.send_signal(signal.SIGINT)
        self.ends()
        assert self.out.endswith("stopped\n")

    def ends(self) -> None:
        """Wait for its end; status 0 and nothing on stderr."""
        out, err = self.child.communicate(timeout=PATIENCE_S)
        self.out += out.decode()
        assert (self.child.returncode, err) == (0, b""), err.decode()


@contextmanager
def example(name: str, *args: str) -> Iterator[Example]:
    """Start `examples/NAME/host.py`."""
    command = [str(EXAMPLES / name / "host.py"), *args]
    with start_child(command, stderr=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}) as child:
        yield Example(child)


def echoes(port: int, text: bytes) -> None:
    """Send `text`, then the end, and check that it comes back, and the end after it."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        sender = Thread(target=lambda: (client.sendall(text), client.shutdown(socket.SHUT_WR)))
        sender.start()
        back = b""
        while data := client.recv(65536):
            back += data
        sender.join()
    assert back == text


def breaks_off(port: int) -> None:
    """Connect, send a little, and reset the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"abc")


@each_guest
@each_poller
def test_tcpecho_serves_many_clients_at_once_while_the_ticker_ticks(language, poller):
    args = ["--port=0", "--every=20", "--poller", poller, "--guest", guest("tcpecho", language)]
    with example("tcpecho", *args) as host:
        port = host.port()
        clients = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) for _ in range(20)]
        host.read_until("tick 2")  # while all of them are connected and say nothing
        for number, client in enumerate(clients):
            client.sendall(b"client %d\n" % number)
        for number, client in reversed(list(enumerate(clients))):
            assert client.recv(100) == b"client %d\n" % number
            client.close()
        echoes(port, bytes(range(256)) * 2000)
        host.interrupt()


@each_poller
def test_tcpecho_outlives_clients_that_break_off(poller):
    with example("tcpecho", "--port=0", "--poller", poller) as host:
        port = host.port()
        for _ in range(5):
            breaks_off(port)
        echoes(port, b"still there\n")
        host.interrupt()


@each_guest
@each_poller
def test_guest_per_client_gives_each_client_a_guest_of_its_own(language, poller):
    args = ["--port=0", "--poller", poller, "--guest", guest("guest_per_client", language)]
    with example("guest_per_client", *args) as host:
        port = host.port()
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as first:
            first.sendall(b"first\n")
            assert first.recv(100) == b"first\n"
            for number in range(2, 6):
                echoes(port, b"client %d\n" % number * 1000)
                host.read_until(f"client {number}: exit code 0")
            first.sendall(b"and on\n")
            assert first.recv(100) == b"and on\n"
        host.read_until("client 1: exit code 0")
        host.interrupt()


@each_poller
def test_guest_per_client_ends_only_the_guest_whose_client_breaks_off(poller):
    with example("guest_per_client", "--port=0", "--poller", poller) as host:
        port = host.port()
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as first:
            breaks_off(port)
            host.read_until(r"client \d+: exit code [01]")
            first.sendall(b"still here\n")
            assert first.recv(100) == b"still here\n"
        host.interrupt()


FEW_DESCRIPTORS = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@each_poller
def test_guest_per_client_outlives_more_clients_than_there_are_descriptors(poller):
    command = [
        "-c",
        FEW_DESCRIPTORS,
        str(EXAMPLES / "guest_per_client/host.py"),
        "--port=0",
        "--poller",
        poller,
    ]
    with start_child(command, stderr=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}) as child:
        host = Example(child)
        port = host.port()
        clients = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) for _ in range(60)]
        assert any(b"client not accepted" in line for line in child.stderr)
        for client in clients:
            client.close()
        echoes_in_the_end(host, port)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=PATIENCE_S)
        assert child.returncode == 0


def echoes_in_the_end(host: Example, port: int) -> None:
    """Check that a client is served once those that left have made room; one that comes too soon is not."""
    while True:
        assert host.child.poll() is None, "the server has ended"
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
            client.sendall(b"hello")
            try:
                if client.recv(5) == b"hello":
                    return
            except ConnectionResetError:
                pass  # its guest could not be started


@each_guest
@each_poller
def test_ticker_lets_every_guest_tick_at_its_own_pace(language, poller):
    with example("ticker", "--ticks=3", "--poller", poller, "--guest", guest("ticker", language)) as host:
        host.ends()
    for name in ("slow", "quick", "hasty"):
        said = [line for line in host.out.splitlines() if line.startswith(f"{name}: ")]
        assert said == [f"{name}: tick {n}" for n in (1, 2, 3)]
    # The slow guest's last tick is due at 1.5 s: by then the Python task has ticked at 0.3, 0.6, 0.9 and 1.2,
    # or a little later each time on a machine that stands still now and then.
    assert "host: tick 2" in host.out


def test_ticker_ends_on_interrupt():
    with example("ticker", "--ticks=0") as host:
        host.read_until("slow: tick 1")
        host.interrupt()


@pytest.mark.parametrize("name", ["tcpecho", "guest_per_client", "ticker", "service"])
def test_a_guest_that_is_still_being_read_can_be_interrupted(name, tmp_path: Path):
    pipe = tmp_path / "guest.wasm"
    os.mkfifo(pipe)
    with example(name, "--guest", str(pipe)) as host, pipe.open("wb", buffering=0) as writer:
        writer.write(b"\0")
        unread = array("i", [1])
        while unread[0]:  # then it waits for the rest
            fcntl.ioctl(writer, termios.FIONREAD, unread)
        host.interrupt()


def test_the_composition_can_be_interrupted():
    with example("composition") as host:
        host.read_until("front asks for the square of 30")
        host.child.send_signal(signal.SIGINT)
        host.ends()


@pytest.mark.parametrize("name", ["tcpecho", "guest_per_client"])
def test_an_address_in_use_is_one_line(name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with example(name, f"--port={port}") as host:
            _, err = host.child.communicate(timeout=PATIENCE_S)
    assert err.decode() == f"{name}: listen on 127.0.0.1:{port}: Address already in use\n"
    assert host.child.returncode == 1


@pytest.mark.parametrize("name", ["tcpecho", "guest_per_client", "ticker"])
def test_a_guest_that_was_not_built_is_told_how(name, tmp_path: Path):
    # A copy, since the file may well have been built beside the original.
    for path in EXAMPLES.rglob("*"):
        if path.suffix in (".py", ".wat"):
            copied = tmp_path / path.relative_to(EXAMPLES)
            copied.parent.mkdir(exist_ok=True)
            copied.write_bytes(path.read_bytes())
    script = tmp_path / name / "host.py"
    with start_child(
        [str(script), "--guest=go"], stderr=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}
    ) as child:
        _, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 1
    assert f"go build -o examples/{name}/guest-go.wasm examples/{name}/guest.go" in err.decode()


@each_poller
def test_one_component_calls_another_while_a_task_goes_on(poller):
    # On a machine that stands still meanwhile the answer may come before the tick: such a run tells nothing.
    assert any(ticks_go_on(poller) for _ in range(5))


def ticks_go_on(poller: str) -> bool:
    """Run the composition; whether the task ticked while the guests waited for either answer."""
    with example("composition", "--poller", poller) as host:
        host.ends()
    said = host.out.splitlines()
    first, second = (
        said.index("front asks for the square of 30"),
        said.index("front asks for the square of 50"),
    )
    assert said[-1] == "sum: 3400"
    return "tick" in said[first:second] and said[second:].count("tick") >= 2


def complaint(name: str, *args: str) -> str:
    """What an example says that ends at once: one line."""
    done = run_child([str(EXAMPLES / name / "host.py"), *args], expect=1)
    assert done.stderr.count(b"\n") == 1
    return done.stderr.decode().strip()


@pytest.mark.parametrize("name", ["guest_per_client", "service", "tcpecho", "ticker"])
def test_a_file_that_is_no_guest_is_one_line(name, tmp_path: Path):
    junk = tmp_path / "junk"
    junk.write_text("root:x:0:0")
    assert (
        complaint(name, "--guest", str(junk))
        == f"{name}: {junk}: not a wasm file (it starts with b'root:x:0')"
    )


def test_a_guest_that_lacks_something_or_traps_ends_the_ticker_in_words(tmp_path: Path):
    guest = tmp_path / "guest.wat"
    guest.write_text('(module (import "a" "b" (func)) (func (export "_start")))')
    assert complaint("ticker", "--guest", str(guest)) == f"ticker: {guest}: import a.b is not provided"
    guest.write_text('(module (func $deep unreachable) (func (export "_start") (call $deep)))')
    done = run_child([str(EXAMPLES / "ticker" / "host.py"), "--guest", str(guest)], expect=1)
    assert done.stderr.splitlines()[:2] == [
        b"ticker: wasm `unreachable` instruction executed",
        b"  at deep",
    ]


@pytest.mark.parametrize("name", ["guest_per_client", "tcpecho"])
def test_a_port_that_is_none_is_one_line(name):
    says = "address '127.0.0.1:99999': the port is a number from 0 to 65535"
    assert complaint(name, "--port", "99999") == f"{name}: {says}"
