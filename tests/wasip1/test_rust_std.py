"""Rust's std on this host: files, links, times, arguments, streams and a server, one line for each fact.

The same program runs on coop and as a program of this machine, and both must print the same, but for the
ways out of its directory.  Each half is skipped where there is no rustc for it.
"""

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import coop
from tests.children import ROOT
from tests.guestbuild import ToolchainMissing, native_rust, rust_guest
from tests.wasip1.script import POLLERS, loaded, run

pytestmark = pytest.mark.slow

SOURCE = ROOT / "tests" / "guests" / "std_suite.rs"
ARGUMENTS = ["a", "b c", ""]
VARIABLES = {"FACT_B": "2", "FACT_A": "x=y"}
STDIN = "one\n\ntwö"

FACTS = """\
argument: "a"
argument: "b c"
argument: ""
variables: [("FACT_A", "x=y"), ("FACT_B", "2")]
no such variable: Err(NotPresent)
line: "one"
line: ""
line: "twö"
read at the end: Some(0)
it is after 2020: Some(true)
a sleep lasts: true
time goes on: true
open what is not there: "NotFound"
read it: "0123456789"
its size: 10
make it anew: "AlreadyExists"
seek from the end: 9
the last four: "9abc"
seek before the start: "InvalidInput"
where it is: 13
read what is left: 3
it is: "012"
write three pieces: 5
all of it: "012defgh"
write what is open for reading: "refused"
it was changed just now: true
copy it: 8
the copy: "012defgh"
remove it again: "NotFound"
a large file: 800000
it is what was written: true
make it again: "AlreadyExists"
make one below nothing: "NotFound"
names: ["a/", "αβ name"]
names below: ["b/", "file"]
it is a directory: true
a file is none: false
a file and a slash: "refused"
remove what is not empty: "refused"
unlink a directory: "refused"
read a directory as a file: "refused"
the old name: "NotFound"
rename over a directory: "refused"
names after the moves: ["file", "moved/", "αβ name"]
many names: 300
all is gone: "NotFound"
where it leads: "file"
through it: "text"
it is a link: true
what it leads to is none: false
read a file as a link: "InvalidInput"
a second link: "AlreadyExists"
by the first name: "longer text"
by the second name: "longer text"
a link to nothing: "NotFound"
"""
WAYS_OUT = """\
look above: "PermissionDenied" "done"
a link that leads out: "done" "done"
through it: "PermissionDenied" "done"
a link to the host's root: "PermissionDenied" "done"
remove it: "NotFound" "done"
a thread: "refused" "done"
"""
END = """\
left in the directory: []
a table with a random key: 200
"""


def expected(place: str, *, number: int | None = None) -> list[str]:
    """All lines, in the sandbox or on the system; `number` is the descriptor of the server, if it is one."""
    column = ("sandbox", "system").index(place)
    ways = [line.rsplit(" ", 2) for line in WAYS_OUT.splitlines()]
    served = [] if number is None else [f"listening: {number}", 'the client said: "hello"']
    return [
        *FACTS.splitlines(),
        *(f"{place}: {what} {answers[column]}" for what, *answers in ways),
        *END.splitlines(),
        *served,
    ]


def built(build: Callable[[Path], Path]) -> Path:
    try:
        return build(SOURCE)
    except ToolchainMissing as missing:
        pytest.skip(str(missing))


@contextmanager
def client(listener: socket.socket) -> Iterator[socket.socket]:
    """One that has connected and said all it has to say; what it is told is looked at afterwards."""
    with socket.create_connection(listener.getsockname()) as sock:
        sock.settimeout(30)
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        yield sock
        assert sock.recv(100) == b"HELLO"
        assert sock.recv(100) == b""


def natively(folder: Path, env: dict[str, str], fds: tuple[int, ...] = ()) -> tuple[int, str, str]:
    done = subprocess.run(
        [built(native_rust), str(folder), *ARGUMENTS],
        input=STDIN,
        env={**VARIABLES, **env},
        pass_fds=fds,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_facts_are_what_this_machine_says(tmp_path):
    code, out, err = natively(tmp_path, {})
    assert out.splitlines() == expected("system")
    assert (code, err) == (7, "on stderr\n")


def test_a_program_of_this_machine_serves_a_client(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener, client(listener):
        number = listener.fileno()
        _, out, err = natively(tmp_path, {"LISTENER": str(number)}, (number,))
        assert (out.splitlines(), err) == (expected("system", number=number), "on stderr\n")


@pytest.fixture(scope="module")
def guest() -> coop.Module:
    """Built and loaded before the first test looks for leaks."""
    return loaded(built(rust_guest))


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize(
    "make", [coop.Dir, lambda _, guest: coop.MemDir(guest=guest)], ids=["real", "memory"]
)
def test_the_facts_are_the_same_on_coop_but_for_the_ways_out(make, poller, guest, tmp_path):
    given = [make(tmp_path, "/data")]
    code, out, err = run(
        guest, "/data", *ARGUMENTS, poller=poller, stdin=STDIN.encode(), env=VARIABLES, dirs=given
    )
    assert out.splitlines() == expected("sandbox")
    assert (code, err) == (7, "on stderr\n")


def test_a_guest_serves_a_client(guest):
    with socket.create_server(("127.0.0.1", 0)) as listener, client(listener):
        code, out, err = run(
            guest,
            *("/data", *ARGUMENTS),
            stdin=STDIN.encode(),
            env={**VARIABLES, "LISTENER": "3"},
            listen=[listener],
            dirs=[coop.MemDir(guest="/data")],
        )
        assert (code, out.splitlines(), err) == (7, expected("sandbox", number=3), "on stderr\n")
