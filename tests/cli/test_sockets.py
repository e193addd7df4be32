"""Sockets and read-only directories on the command line: what the guest gets, and what is left behind."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from coop import CoopError
from coop.cli.passed import take_passed
from tests.children import ROOT, run_child, start_child
from tests.cli.guests import ARGS_ENV, PREOPENS, TCPECHO, TICKER, complaint, coop, save

PATIENCE_S = 50

#: Copies what comes on fd 3 to stdout until its end, then says "bye" on fd 3.
LISTENS_TO_3 = """(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "bye")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 1024))
    (loop $next
      (i32.store (i32.const 4) (i32.const 1000))
      (if (call $read (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 4)) (then unreachable))
      (if (i32.load (i32.const 4)) (then
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br $next))))
    (i32.store (i32.const 0) (i32.const 512))
    (i32.store (i32.const 4) (i32.const 3))
    (drop (call $write (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 8)))))"""

#: Ends with the errno of making the file "new" in its first directory.
CREATES = """(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "new")
  (func (export "_start")
    (call $exit (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 1)
      (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 8)))))"""

ROFS = 69


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A directory to be in: the name of a Unix socket is short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@contextmanager
def serving(args: Sequence[object], until: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A command that runs until the block ends; begins when its log says `until`, and gives that line."""
    command = ["-m", "coop", "run", *map(str, args)]
    with start_child(command, stderr=subprocess.PIPE, cwd=Path.cwd()) as child:
        assert child.stderr is not None
        lines = []
        while not lines or not re.search(until, lines[-1]):
            lines.append(child.stderr.readline().decode())
            assert lines[-1], "".join(lines)
        yield child, lines[-1]


def end(child: subprocess.Popen[bytes], number: signal.Signals) -> int:
    child.send_signal(number)
    child.communicate(timeout=PATIENCE_S)
    return child.returncode


def echoed(client: socket.socket) -> bytes:
    client.settimeout(PATIENCE_S)
    client.sendall(b"hello")
    return client.recv(99)


def dial(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client


# -- Unix listeners


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_guest_serves_on_a_unix_socket_whose_file_goes_with_it(folder, number, status):
    with serving(["-v", "--unixlisten", "s", TCPECHO], r"listening .*unix:s") as (child, line):
        assert "fd=3" in line
        with dial("s") as client:
            assert echoed(client) == b"hello"
        assert end(child, number) == status
    assert os.listdir() == []


def test_an_abstract_name_has_no_file(folder):
    name = f"coop-cli-{os.getpid()}"
    with serving(["-v", f"--unixlisten=@{name}", TCPECHO], "listening") as (child, _):
        with dial(f"\0{name}") as client:
            assert echoed(client) == b"hello"
        assert os.listdir() == []
        assert end(child, signal.SIGTERM) == 143


def test_what_a_killed_server_left_is_taken_over_and_what_is_in_use_is_not(folder):
    guest = save(folder, PREOPENS)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        listener.listen()
        assert complaint(["run", "--unixlisten", "s", guest], 1, cwd=folder) == (
            "listen on unix:s: Address already in use"
        )
    assert os.path.exists("s")
    assert coop("run", "--unixlisten", "s", guest, cwd=folder).stdout == b"socket:3\n"
    assert not os.path.exists("s")


def test_a_file_that_is_no_socket_is_not_replaced(folder):
    guest = save(folder, PREOPENS)
    line = complaint(["run", "--unixlisten", guest, guest], 1, cwd=folder)
    assert line == f"listen on unix:{guest}: a file that is no socket is there"
    assert Path(guest).read_text() == PREOPENS


# -- connections


@contextmanager
def server_of(address: str) -> Iterator[socket.socket]:
    family = {"/": socket.AF_UNIX, "[": socket.AF_INET6}.get(address[0], socket.AF_INET)
    with socket.socket(family) as server:
        server.bind(address if family == socket.AF_UNIX else (address.strip("[]"), 0))
        server.listen()
        server.settimeout(PATIENCE_S)
        yield server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "/unix"])
def test_a_guest_is_given_a_connection(folder, host):
    guest = save(folder, LISTENS_TO_3)
    with server_of(
        str(folder / "s") if host == "/unix" else host.replace("localhost", "127.0.0.1")
    ) as server:
        unix = host == "/unix"
        where = server.getsockname() if unix else f"{host}:{server.getsockname()[1]}"
        option = "--unixconnect" if unix else "--tcpconnect"
        with start_child(["-m", "coop", "run", option, where, guest]) as child:
            peer, _ = server.accept()
            with peer:
                peer.settimeout(PATIENCE_S)
                peer.sendall(b"from the server")
                peer.shutdown(socket.SHUT_WR)
                said = peer.recv(99), peer.recv(99)
            out, _ = child.communicate(timeout=PATIENCE_S)
    assert (said, out, child.returncode) == ((b"bye", b""), b"from the server", 0)


def test_connections_that_cannot_be_made_are_named(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = [
            complaint(["run", option, where, TICKER], 1)
            for option, where in (
                ("--tcpconnect", address),
                ("--unixconnect", "no/such"),
            )
        ]
    assert told[0] == f"connect to {address}: Connection refused"
    assert told[1] == "connect to unix:no/such: No such file or directory"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_connects_can_be_ended(folder, number, status):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent, ExitStack() as stack:
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(silent.getsockname())
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        with serving(["-vv", "--tcpconnect", where, TICKER], r"park .*connection to") as (child, _):
            assert end(child, number) == status


# -- sockets that a service manager passed

MANAGER = """
import fcntl, os, sys
given, pid, *rest = sys.argv[1:]
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in given.split(",") if fd]
for place, fd in enumerate(high, 3):
    os.dup2(fd, place)
    os.set_inheritable(place, True)
os.environ.setdefault("LISTEN_FDS", str(len(high)))
if pid:
    os.environ["LISTEN_PID"] = str(os.getpid()) if pid == "ours" else pid
os.execv(sys.executable, [sys.executable, "-X", "faulthandler", "-W", "error", "-m", "coop", "run", *rest])
"""


def passing(socks: Sequence[int], *args: object, pid: str = "ours") -> list[str]:
    """The command line of a process that becomes `coop run` with descriptors from 3 on."""
    return ["-c", MANAGER, ",".join(map(str, socks)), pid, *map(str, args)]


@pytest.mark.parametrize("flag", ["--listen-fds", "-Slistenfd"])
def test_sockets_that_were_passed_come_first_and_their_names_reach_the_guest(folder, flag):
    (folder / "in").mkdir()
    save(folder, PREOPENS, "preopens.wat")
    save(folder, ARGS_ENV, "env.wat")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.socket(socket.AF_UNIX) as two:
        two.bind("s")
        two.listen()
        fds = [one.fileno(), two.fileno()]
        args = ["--tcplisten", "127.0.0.1:0", flag, "--dir", "in", "-v"]
        done = run_child(passing(fds, *args, "preopens.wat"), cwd=folder, pass_fds=fds)
        names = {"LISTEN_FDNAMES": "web:admin"}
        env = run_child(passing(fds, flag, "env.wat"), cwd=folder, pass_fds=fds, env=names)
        assert [os.get_blocking(fd) for fd in fds] == [True, True]
        port = one.getsockname()[1]
    assert done.stdout.decode().splitlines() == ["socket:3", "socket:4", "socket:5", "in"]
    log = done.stderr.decode()
    assert re.search(rf"listening .*127\.0\.0\.1:{port}.* fd=3", log)
    assert re.search(r"listening .*unix:s.* fd=4", log)
    assert re.search(r"listening on 127\.0\.0\.1:\d+ \(fd 5\)", log)
    assert env.stdout.partition(b"\n")[2] == b"LISTEN_FDS=2\0LISTEN_FDNAMES=web:admin\0"


def test_a_guest_serves_on_a_socket_that_was_passed(folder):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fds = [listener.fileno()]
        with start_child(passing(fds, "--listen-fds", TCPECHO), pass_fds=fds) as child:
            with socket.create_connection(listener.getsockname()) as client:
                assert echoed(client) == b"hello"
            assert end(child, signal.SIGTERM) == 143
        assert os.get_blocking(listener.fileno())


def test_a_connection_that_was_passed_is_the_guests(folder):
    guest = save(folder, LISTENS_TO_3)
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{taken.getsockname()[1]}"
        ours.sendall(b"hello")
        ours.shutdown(socket.SHUT_WR)
        fds = [theirs.fileno()]
        done = run_child(passing(fds, "--listen-fds", "--tcpconnect", nowhere, guest), pass_fds=fds, expect=1)
        assert b"connect to" in done.stderr
        done = run_child(passing(fds, "--listen-fds", guest), pass_fds=fds)
        assert (done.stdout, ours.recv(9)) == (b"hello", b"bye")
        done = run_child(passing(fds, "--listen-fds", "--unixlisten=s", guest), pass_fds=fds, expect=2)
    assert b"a connection was passed, and cannot stand beside sockets that listen" in done.stderr


def test_sockets_that_were_passed_are_not_given_unless_the_command_line_says_so(folder):
    guest = save(folder, PREOPENS)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fds = [listener.fileno()]
        assert run_child(passing(fds, guest), pass_fds=fds).stdout == b""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"LISTEN_FDS": None}, "no sockets were passed (LISTEN_FDS is not set)"),
        ({"LISTEN_PID": None}, "the sockets are for another process (LISTEN_PID is None, not 77)"),
        ({"LISTEN_PID": "78"}, "the sockets are for another process (LISTEN_PID is 78, not 77)"),
        ({"LISTEN_PID": "⁷"}, "the sockets are for another process"),
        ({"LISTEN_FDS": "0"}, "LISTEN_FDS is '0', a number from 1 to 1024 wanted"),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS is '-1', a number from 1 to 1024 wanted"),
        ({"LISTEN_FDS": "9" * 30}, "a number from 1 to 1024 wanted"),
        ({"LISTEN_FDNAMES": "a:b"}, "LISTEN_FDNAMES 'a:b' does not name 1 sockets"),
    ],
)
def test_variables_that_are_wrong_are_told(changes: Mapping[str, str | None], says: str):
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "77", **changes}
    with pytest.raises(CoopError) as caught:
        take_passed({name: value for name, value in environ.items() if value is not None}, 77)
    assert str(caught.value).startswith("--listen-fds: ")
    assert says in str(caught.value)


def test_to_ask_for_sockets_that_nobody_passed_is_an_error():
    assert complaint(["run", "--listen-fds", TICKER], 1) == (
        "--listen-fds: no sockets were passed (LISTEN_FDS is not set)"
    )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: socket.socket(type=socket.SOCK_DGRAM), "fd 3 is no stream socket"),
        (Path("/dev/null").open, "fd 3 is no socket"),
    ],
)
def test_what_is_no_stream_socket_cannot_be_passed(make, says):
    with make() as file:
        fds = [file.fileno()]
        done = run_child(passing(fds, "--listen-fds", TICKER), pass_fds=fds, expect=1)
    assert done.stderr.decode() == f"coop: --listen-fds: {says}\n"


def test_more_sockets_than_there_are_are_told():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fds = [listener.fileno()]
        env = {"LISTEN_FDS": "90"}
        done = run_child(passing(fds, "--listen-fds", TICKER), pass_fds=fds, env=env, expect=1)
    assert re.fullmatch(rb"coop: --listen-fds: fd \d+ is (not open|no socket)\n", done.stderr)


def test_listeners_and_connections_are_not_passed_together():
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listener:
        fds = [listener.fileno(), theirs.fileno()]
        done = run_child(passing(fds, "--listen-fds", TICKER), pass_fds=fds, expect=1)
    assert b"listening sockets and connections cannot be passed together" in done.stderr


# -- directories


def test_a_directory_may_be_given_for_reading_only(folder):
    guest = save(folder, CREATES)
    (folder / "in").mkdir()
    coop("run", "--dir", "in::/data::ro", guest, cwd=folder, expect=ROFS)
    assert os.listdir("in") == []
    coop("run", "--dir", "in::/data", guest, cwd=folder)
    assert os.listdir("in") == ["new"]


def test_the_help_tells_of_every_way_to_give_a_socket():
    text = coop("run", "--help").stdout.decode()
    for option in ("--tcplisten", "--unixlisten", "--listen-fds", "--tcpconnect", "--unixconnect"):
        assert f"\n  {option} " in text
    assert "HOST[::GUEST[::ro]]" in text
