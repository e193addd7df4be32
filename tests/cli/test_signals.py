"""^C and SIGTERM, from every state; and a terminal that is as it was."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.children import start_child
from tests.cli.guests import CAT, SAYS_AND_SPINS, TCPECHO, save

PATIENCE_S = 100.0

both = pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
pollers = pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])


def read_until(fd: int, wanted: bytes) -> bytes:
    """Read a descriptor until something was seen."""
    seen, until = b"", time.monotonic() + PATIENCE_S
    while wanted not in seen:
        ready, _, _ = select.select([fd], [], [], max(until - time.monotonic(), 0))
        assert ready, f"{wanted!r} did not come, but {seen!r}"
        data = os.read(fd, 65536)
        assert data, f"{wanted!r} did not come, but {seen!r} and the end"
        seen += data
    return seen


@both
@pollers
def test_a_spinning_guest_ends_at_once(tmp_path, number, status, poller):
    args = ["-m", "coop", "run", "--poller", poller, save(tmp_path, SAYS_AND_SPINS)]
    with start_child(args, stderr=subprocess.PIPE) as child:
        read_until(child.stdout.fileno(), b"spinning\n")
        child.send_signal(number)
        assert child.wait(PATIENCE_S) == status
        assert child.stderr.read() == b""


@both
@pollers
def test_a_parked_guest_ends_at_once(number, status, poller):
    args = ["-m", "coop", "run", "--poller", poller, str(CAT)]
    with start_child(args, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        os.write(child.stdin.fileno(), b"hello\n")
        read_until(child.stdout.fileno(), b"hello\n")
        child.send_signal(number)
        assert child.wait(PATIENCE_S) == status
        assert child.stderr.read() == b""


@both
def test_a_server_ends_at_once(number, status):
    with start_child(
        ["-m", "coop", "--tcplisten=127.0.0.1:0", str(TCPECHO)], stderr=subprocess.PIPE
    ) as child:
        told = read_until(child.stderr.fileno(), b"\n")
        child.send_signal(number)
        assert child.wait(PATIENCE_S) == status
        assert told.startswith(b"listening on 127.0.0.1:")
        assert child.stderr.read() == b""


def large_guest(lines: int = 80_000) -> str:
    """A guest with one function that takes seconds to compile; one function is compiled by one thread."""
    body = "\n".join(
        f"(i32.store offset={i * 4} (local.get {i % 7})"
        f" (i32.add (i32.load offset={i} (local.get {i * 3 % 7})) (local.get {i * 5 % 7})))"
        for i in range(lines)
    )
    return f"""(module (memory (export "memory") 1) (func (export "_start"))
      (func (export "f") (param i32 i32 i32 i32 i32 i32 i32) {body}))"""


@both
@pytest.mark.slow
def test_a_compile_is_given_up_at_once(tmp_path, number, status):
    guest = save(tmp_path, large_guest())
    with terminal() as (master, slave):
        args = ["-m", "coop", "run", "-C", "cache=n", guest]
        with start_child(args, stdout=subprocess.PIPE, stderr=slave) as child:
            read_until(master, b"compiling guest.wat")
            child.send_signal(number)
            assert child.wait(PATIENCE_S) == status
            assert child.stdout.read() == b""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "serve"])
def test_a_component_is_shown_as_a_module_is_while_it_compiles(tmp_path, command):
    guest = save(tmp_path, f"(component (core {large_guest()[1:]})")
    with terminal() as (master, slave):
        args = ["-m", "coop", command, "-C", "cache=n", guest]
        with start_child(args, stdout=subprocess.PIPE, stderr=slave) as child:
            read_until(master, b"compiling guest.wat")
            child.send_signal(signal.SIGTERM)
            assert child.wait(PATIENCE_S) == 143


@pytest.mark.slow
def test_a_long_compile_says_nothing_in_a_pipe(tmp_path):
    args = ["-m", "coop", "run", "-C", "cache=n", save(tmp_path, large_guest())]
    with start_child(args, stderr=subprocess.PIPE) as child:
        out, err = child.communicate(timeout=PATIENCE_S * 2)
    assert (child.returncode, out, err) == (0, b"", b"")


# -- the terminal


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal: the side of the user, and the side of the programs."""
    master, slave = pty.openpty()
    try:
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


def state(slave: int) -> tuple[int, list]:
    """What a program could have changed for everybody: the open file's flags and the terminal's settings."""
    return fcntl.fcntl(slave, fcntl.F_GETFL), termios.tcgetattr(slave)


def cat_works(master: int, slave: int) -> None:
    """Start cat on the terminal and type a line and the end of input."""
    with subprocess.Popen(["cat"], stdin=slave, stdout=slave, stderr=slave) as cat:
        try:
            os.write(master, b"meow\n")
            read_until(master, b"meow\r\nmeow\r\n")  # the echo, and cat's own
            os.write(master, b"\x04")
            assert cat.wait(PATIENCE_S) == 0
        finally:
            cat.kill()


@pytest.mark.parametrize("end", ["end of input", "SIGKILL", "SIGINT", "SIGTERM"])
@pollers
def test_a_terminal_is_as_it_was_and_cat_works_on_it(end, poller):
    with terminal() as (master, slave):
        before = state(slave)
        args = ["-m", "coop", "run", "--poller", poller, str(CAT)]
        with start_child(args, stdin=slave, stdout=slave, stderr=slave, new_session=True) as child:
            os.write(master, b"hello\n")
            read_until(master, b"hello\r\nhello\r\n")
            assert state(slave) == before, "while it runs"
            if end == "end of input":
                os.write(master, b"\x04")
            else:
                child.send_signal(signal.Signals[end])
            wanted = {"end of input": 0, "SIGKILL": -9, "SIGINT": 130, "SIGTERM": 143}[end]
            assert child.wait(PATIENCE_S) == wanted
        assert state(slave) == before
        cat_works(master, slave)


@pytest.mark.slow
def test_a_spinner_leaves_the_terminal_as_it_was(tmp_path):
    with terminal() as (master, slave):
        before = state(slave)
        args = ["-m", "coop", "run", "-C", "cache=n", save(tmp_path, large_guest())]
        with start_child(args, stdout=slave, stderr=slave) as child:
            shown = read_until(master, b"compiling guest.wat")
            shown += read_until(master, b"\x1b[?25h")  # the cursor is shown again
            assert child.wait(PATIENCE_S) == 0
        assert b"\x1b[?25l" in shown
        assert state(slave) == before
