"""Standard streams of every kind: what the guest reads and writes, who waits, and what is left as it was."""

import fcntl
import io
import os
import pty
import signal
import socket
import subprocess
import tempfile
import termios
import threading
import tty
from contextlib import ExitStack, contextmanager

import pytest

import coop
from tests.children import command, run_child, start_child
from tests.wasip1.script import DATA, OUT, POLLERS, Script, clock_sub, fd_sub, scripted

CLOCK, READ, WRITE = 0, 1, 2
NONBLOCK = 4
SEEK, TELL = 1 << 2, 1 << 5
CHARACTER_DEVICE, REGULAR, STREAM, UNKNOWN = 2, 4, 6, 0

every_poller = pytest.mark.parametrize("poller", POLLERS)


@contextmanager
def pipe():
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as reader, open(write_end, "wb", buffering=0) as writer:
        yield reader, writer


def read_all(guest: Script, fd: int = 0, size: int = 4096) -> list[bytes]:
    """Read to the end, and once more."""
    found = []
    while not found or found[-1]:
        found.append(guest.read(fd, size))
    assert guest.read(fd, size) == b""
    return found[:-1]


# -- what a guest reads


def test_nothing_is_empty_and_swallows_everything():
    def act(guest: Script):
        return read_all(guest), guest.write(1, b"gone"), guest.write(2, b"gone"), guest.fdstat(0)[0]

    assert scripted(act) == ([], 4, 4, UNKNOWN)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_bytes_are_read_to_their_end(kind):
    assert scripted(lambda guest: read_all(guest, size=3), stdin=kind(b"abcdefgh")) == [b"abc", b"def", b"gh"]


def test_bytes_are_those_of_the_start_whatever_becomes_of_them():
    given = bytearray(b"before")

    def act(guest: Script):
        given[:] = b"after!"
        return read_all(guest)

    assert scripted(act, stdin=given) == [b"before"]


def test_a_callable_is_asked_again_when_what_it_gave_is_used_up():
    chunks = [b"", b"defg", b"abc"]
    assert scripted(lambda guest: read_all(guest, size=3), stdin=chunks.pop) == [b"abc", b"def", b"g"]
    assert chunks == []


def test_a_callable_that_parks_holds_up_its_guest_alone():
    def main():
        order = []

        def slow():
            while order.count("tick") < 3:
                coop.sleep(0.001)
            return b"" if order[-1] == "read" else b"slow"

        with Script(stdin=slow) as guest, coop.TaskGroup() as group:
            group.spawn(lambda: [order.append("tick") or coop.pause() for _ in range(3)])
            order.append("reads")
            assert guest.read(0) == b"slow"
            order.append("read")
            assert guest.read(0) == b""
        return order

    assert coop.run(main) == ["reads", "tick", "tick", "tick", "read"]


def test_a_callable_is_not_asked_for_no_bytes():
    def act(guest: Script):
        return guest.fd_read(0, *guest.iovecs((DATA, 0)), OUT), guest.u32()

    assert scripted(act, stdin=lambda: pytest.fail("asked")) == ("SUCCESS", 0)


def test_what_a_callable_raises_comes_out_of_the_call_as_itself():
    def broken():
        raise ZeroDivisionError("on purpose")

    def act(guest: Script):
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            guest.read(0)

    scripted(act, stdin=broken)


def test_a_callable_that_returns_no_bytes_is_told_so():
    def act(guest: Script):
        with pytest.raises(TypeError, match="stdin: bytes wanted"):
            guest.read(0)

    scripted(act, stdin=lambda: "text")


@every_poller
def test_a_callable_that_parks_is_polled_beside_other_things(poller):
    """The function is called beside, so the clock goes on; what it gave is there for the read."""
    news = []

    def slow():
        while not news:
            coop.sleep(0.0005)
        return news.pop()

    def act(guest: Script):
        first = guest.poll(clock_sub(1, 2_000_000), fd_sub(2, READ, 0))
        look = guest.poll(clock_sub(1, 0), fd_sub(2, READ, 0))
        news.append(b"news")
        told = guest.poll(fd_sub(2, READ, 0))
        rest = [guest.read(0, 3), guest.poll(clock_sub(1, 0), fd_sub(2, READ, 0)), guest.read(0)]
        return [first, look], told, rest

    told = [(2, "SUCCESS", READ, 1, 0)]
    time_out = [(1, "SUCCESS", CLOCK, 0, 0)]
    expected = [time_out] * 2, told, [b"new", [*told, *time_out], b"s"]
    found = scripted(act, stdin=slow, poller=poller)
    assert found[:2] == expected[:2]
    assert (found[2][0], found[2][1][0][:3], found[2][2]) == (b"new", told[0][:3], b"s")


def test_a_callable_is_asked_once_however_often_a_guest_polls_and_reads():
    calls = []

    def slow():
        calls.append(1)
        coop.sleep(0.002)
        return b"x" if len(calls) == 1 else b""

    def act(guest: Script):
        for _ in range(3):
            guest.poll(clock_sub(1, 0), fd_sub(2, READ, 0))
        found = guest.read(0), guest.read(0), guest.read(0)
        return found, guest.poll(fd_sub(2, READ, 0))

    found, end = scripted(act, stdin=slow)
    assert (found, end[0][:3], len(calls)) == ((b"x", b"", b""), (2, "SUCCESS", READ), 2)


@pytest.mark.parametrize("error", [ZeroDivisionError, coop.Closed, coop.DeadlineExceeded, OSError])
@pytest.mark.parametrize("polls", [False, True])
@pytest.mark.parametrize("flags", [0, NONBLOCK])
def test_what_a_callable_raises_ends_the_guest_whoever_it_was_called_for(error, polls, flags):
    def broken():
        coop.pause()
        raise error("on purpose")

    def act(guest: Script):
        guest.fd_fdstat_set_flags(0, flags)
        if polls or flags:
            assert flags == 0 or guest.read(0) == "AGAIN"
            assert guest.poll(fd_sub(2, READ, 0))[0][:3] == (2, "SUCCESS", READ)
        with pytest.raises(error, match="on purpose"):
            guest.read(0)

    scripted(act, stdin=broken)


def test_a_guest_that_never_waits_is_told_to_come_again_while_a_callable_runs():
    early = []

    def slow():
        while len(early) < 2:
            coop.sleep(0.001)
        return b"here"

    def act(guest: Script):
        guest.fd_fdstat_set_flags(0, NONBLOCK)
        early.append(guest.read(0))
        early.append(guest.read(0))
        guest.poll(fd_sub(1, READ, 0))
        return early, guest.read(0)

    assert scripted(act, stdin=slow) == (["AGAIN", "AGAIN"], b"here")


def test_a_callable_in_progress_ends_with_the_guest_that_polled_it():
    begun, ended = [], []

    def endless():
        begun.append(True)
        try:
            coop.sleep(1000)
        finally:
            ended.append(True)

    def main():
        with Script(stdin=endless) as guest:
            while not begun:
                guest.poll(clock_sub(1, 1_000_000), fd_sub(2, READ, 0))
            assert not ended
        coop.pause()
        return list(ended)  # the end of the run would end it too

    assert coop.run(main) == [True]


@pytest.mark.parametrize("kind", ["callable", "file"])
def test_a_guest_that_always_finds_something_else_ready_hears_of_its_input_too(kind):
    """Its output is always ready, so its poll never waits."""
    with pipe() as (reader, writer):
        writer.write(b"input")

        def act(guest: Script):
            found = []
            while len(found) < 2:
                found = guest.poll(fd_sub(1, READ, 0), fd_sub(2, WRITE, 1))
                coop.pause()
            return guest.read(0)

        stdin = reader if kind == "file" else iter([b"input"]).__next__
        assert scripted(act, stdin=stdin, stdout=bytearray()) == b"input"


def test_what_a_guest_has_not_read_of_a_bytesio_stays_in_it():
    stream = io.BytesIO(b"abcdef")
    stream.seek(1)
    assert (
        scripted(lambda guest: (guest.read(0, 3), guest.poll(fd_sub(1, READ, 0))), stdin=stream)[0] == b"bcd"
    )
    assert stream.read() == b"ef"


@every_poller
@pytest.mark.parametrize("buffered", [False, True])
def test_a_file_that_blocks_holds_up_its_guest_alone(buffered, poller):
    with pipe() as (reader, writer):
        stream = io.BufferedReader(reader) if buffered else reader

        def act(guest: Script):
            coop.spawn(lambda: (coop.pause(), writer.write(b"late"), coop.pause(), writer.close()))
            return read_all(guest, size=3)

        assert scripted(act, stdin=stream, poller=poller) == [b"lat", b"e"]


def test_a_file_somebody_made_non_blocking_has_not_ended_while_it_has_nothing():
    with pipe() as (reader, writer):
        os.set_blocking(reader.fileno(), False)

        def act(guest: Script):
            coop.spawn(lambda: (coop.pause(), coop.pause(), writer.write(b"late"), writer.close()))
            return read_all(guest)

        assert scripted(act, stdin=reader) == [b"late"]


def test_a_guest_that_never_waits_gets_what_a_helper_thread_reads():
    with pipe() as (reader, writer):
        writer.write(b"soon")

        def act(guest: Script):
            guest.fd_fdstat_set_flags(0, NONBLOCK)
            answers = set()
            while "AGAIN" in answers or not answers:
                answers.discard("AGAIN")
                answers.add(guest.read(0))
                coop.sleep(0.0001)
            return answers

        assert scripted(act, stdin=reader) == {b"soon"}


def test_an_error_of_a_file_is_the_guests_errno():
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(5, "on purpose")

    def act(guest: Script):
        return guest.read(0), guest.read(0)

    assert scripted(act, stdin=Broken()) == ("IO", "IO")


def test_a_file_that_reads_no_bytes_is_told_so_and_nobody_else_ends(tmp_path):
    """As of a temporary file opened for text, whose class does not tell that it is one."""

    def main():
        with tempfile.NamedTemporaryFile("w+", dir=tmp_path) as file, Script(stdin=file) as guest:
            file.write("text")
            file.seek(0)
            with pytest.raises(TypeError, match=r"stdin: bytes wanted from .*, not str"):
                guest.read(0)
        return "went on"

    assert coop.run(main) == "went on"


@pytest.mark.parametrize("data", [bytearray(b"abc"), memoryview(b"abc")])
def test_a_file_may_read_what_is_as_good_as_bytes(data):
    class Reader:
        pieces = iter([data, None])

        def read(self, size: int) -> object:
            return next(self.pieces)

    assert scripted(lambda guest: read_all(guest, size=2), stdin=Reader()) == [b"ab", b"c"]


@pytest.mark.leaks_fds("the descriptor is closed when the helper thread has ended")
def test_a_guest_that_is_cancelled_does_not_wait_for_its_reader():
    with pipe() as (reader, writer):

        def main():
            with Script(stdin=reader) as guest:
                task = coop.spawn(guest.read, 0)
                coop.sleep(0.001)
                task.cancel()
                with pytest.raises(coop.WasCancelled):
                    task.wait()

        coop.run(main)
        helpers = [thread for thread in threading.enumerate() if thread.name == "coop helper"]
        writer.write(b"too late")
        for thread in helpers:
            thread.join(10)
        assert not any(thread.is_alive() for thread in helpers)


# -- where a guest writes


def test_a_callable_gets_each_write_whole_before_the_guest_goes_on():
    got = []

    def act(guest: Script):
        for data in (b"one", b"two"):
            assert guest.write(1, data) == 3
            got.append("guest")

    scripted(act, stdout=lambda data: (coop.pause(), got.append(data)))
    assert got == [b"one", "guest", b"two", "guest"]


def test_a_callable_that_parks_for_long_makes_nothing_pile_up():
    def main():
        got = []

        def slow(data):
            coop.sleep(0.0005)
            got.append(data)

        with Script(stdout=slow) as guest:
            for n in range(20):
                guest.write(1, b"%d" % n)
                assert len(got) == n + 1

    coop.run(main)


def test_what_a_writing_callable_raises_comes_out_of_the_call():
    def broken(data):
        raise ZeroDivisionError(data)

    def act(guest: Script):
        with pytest.raises(ZeroDivisionError):
            guest.write(1, b"x")

    scripted(act, stdout=broken)


def test_stdout_and_stderr_may_be_one_file_and_are_flushed_in_order():
    class Recorder(io.BytesIO):
        flushes = 0

        def flush(self):
            self.flushes += 1

    stream = Recorder()

    def act(guest: Script):
        guest.write(1, b"out ")
        guest.write(2, b"err ")
        guest.write(1, b"out")

    scripted(act, stdout=stream, stderr=stream)
    assert (stream.getvalue(), stream.flushes) == (b"out err out", 3)


def test_a_file_that_takes_a_little_at_a_time_gets_all():
    class Slow(io.RawIOBase):
        taken = b""

        def writable(self):
            return True

        def write(self, data):
            self.taken += bytes(data[:2])
            return min(len(data), 2)

    stream = Slow()
    assert scripted(lambda guest: guest.write(1, b"abcde"), stdout=stream) == 5
    assert stream.taken == b"abcde"


def test_an_error_of_a_written_file_is_the_guests_errno():
    with pipe() as (reader, writer):
        reader.close()
        assert scripted(lambda guest: (guest.write(1, b"x"), guest.write(1, b"y")), stdout=writer) == (
            "PIPE",
            "PIPE",
        )


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_slow_reader_of_a_file_holds_up_its_guest_alone_and_gets_every_byte(buffered, blocking):
    size = 400_000
    got = bytearray()
    with pipe() as (reader, writer):
        os.set_blocking(writer.fileno(), blocking)
        os.set_blocking(reader.fileno(), False)  # the guest may be cut short before its first byte
        stream = io.BufferedWriter(writer) if buffered else writer

        def main():
            with Script(stdout=stream) as guest:
                guest.guest.call("grow", 8)
                guest.memory.write(DATA, bytes(range(250)) * (size // 250))
                ticks = []

                def write():
                    assert guest.fd_write(1, *guest.iovecs((DATA, size)), OUT) == "SUCCESS"
                    return guest.u32()

                task = coop.spawn(write)
                while len(got) < size:
                    ticks.append(1)
                    coop.sleep(0.0001)
                    got.extend(reader.read(20_000) or b"")
                return task.wait(), len(ticks)

        count, ticks = coop.run(main)
    assert (count, bytes(got)) == (size, bytes(range(250)) * (size // 250))
    assert ticks > 10


TRAPS = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\0b\\00\\00\\00")
  (data (i32.const 16) "line\\0apart \\c3")
  (func $say (export "say") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64))))
  (func (export "fail") (call $say) unreachable)
  (func (export "_start") (call $say) unreachable))"""


@pytest.fixture(scope="module")
def traps():
    """Instantiated before a test looks for leaks: wasmtime keeps an image of its memory."""
    module = coop.Module.from_bytes(TRAPS)
    coop.run(lambda: coop.Guest(module).call("say"))
    return module


@pytest.mark.parametrize("how", ["run", "call", "later call", "cancel", "close"])
def test_a_part_of_a_line_is_not_lost_with_the_guest_that_wrote_it(how, traps):
    lines, half = [], "part \ufffd"

    def main():
        guest = coop.Guest(traps, stdout=coop.text(lines.append))
        if how not in {"run", "call"}:
            guest.call("say")
            assert lines == ["line"]
        if how == "cancel":
            guest.cancel()
        if how in {"cancel", "close"}:
            guest.close()
        else:
            with pytest.raises(coop.GuestTrap):
                guest.run() if how == "run" else guest.call("fail")
        return list(lines)

    again = [f"{half}line"] if how == "later call" else []
    assert coop.run(main) == ["line", *again, half]


@pytest.mark.parametrize("kind", ["bytearray", "callable", "BytesIO", "r", "b", "pipe", "socket"])
def test_what_a_guest_wrote_before_it_trapped_is_there_whatever_it_wrote_to(kind, traps, tmp_path):
    """`r` is a raw file, `b` a buffered one."""
    left, right = socket.socketpair()
    with (
        pipe() as (reader, writer),
        open(tmp_path / "r", "wb", buffering=0) as raw,
        open(tmp_path / "b", "wb") as buffered,
        left,
        right,
    ):
        got, stream = bytearray(), io.BytesIO()
        stdout = {"bytearray": got, "callable": got.extend, "BytesIO": stream, "r": raw, "b": buffered}
        stdout |= {"pipe": writer, "socket": left}
        with pytest.raises(coop.GuestTrap):
            coop.run(coop.Guest(traps, stdout=stdout[kind]).run)
        found = {
            "BytesIO": stream.getvalue,
            "r": (tmp_path / "r").read_bytes,
            "b": (tmp_path / "b").read_bytes,
            "pipe": lambda: reader.read(99),
            "socket": lambda: right.recv(99),
        }.get(kind, lambda: bytes(got))()
    assert found == b"line\npart \xc3"


# -- files of Python


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_regular_file_that_python_opened_is_read_where_it_stands_and_has_a_position(buffering, tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789")
    with (tmp_path / "f").open("rb", buffering=buffering) as stream:
        stream.seek(2)

        def act(guest: Script):
            first = guest.read(0, 3)
            assert guest.fd_pread(0, *guest.iovecs((DATA, 2)), 8, OUT) == "SUCCESS"
            second = guest.got(DATA, 2)
            assert guest.fd_seek(0, 1, 1, OUT) == "SUCCESS"
            return guest.fdstat(0)[0], first, second, guest.u64(), guest.read(0, 1)

        assert scripted(act, stdin=stream) == (REGULAR, b"234", b"89", 6, b"6")
        assert stream.read() == b"789"


def test_what_python_has_read_ahead_is_not_lost_to_the_guest(tmp_path):
    (tmp_path / "f").write_bytes(b"first\nsecond\n")
    with (tmp_path / "f").open("rb") as stream:
        assert stream.readline() == b"first\n"
        assert scripted(lambda guest: (guest.read(0), guest.fdstat(0)[0]), stdin=stream) == (
            b"second\n",
            UNKNOWN,
        )


@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_a_regular_file_that_python_writes_to_goes_on_where_python_stands(mode, tmp_path):
    (tmp_path / "f").write_bytes(b"old ")
    with (tmp_path / "f").open(mode) as stream:
        stream.write(b"before ")
        flags = scripted(lambda guest: (guest.write(1, b"guest "), guest.fdstat(1)[:2]), stdout=stream)[1]
        stream.write(b"after")
    assert flags == (REGULAR, 1 if mode == "ab" else 0)
    assert (tmp_path / "f").read_bytes() == (b"old " if mode == "ab" else b"") + b"before guest after"


def test_a_file_of_a_class_of_its_own_is_used_by_its_methods(tmp_path):
    class Shouting(io.FileIO):
        def write(self, data):
            return super().write(bytes(data).upper())

    with Shouting(tmp_path / "f", "wb") as stream:
        scripted(lambda guest: guest.write(1, b"quiet"), stdout=stream)
    assert (tmp_path / "f").read_bytes() == b"QUIET"


def is_terminal(guest: Script, fd: int) -> bool:
    """What wasi-libc's isatty looks at."""
    filetype, _, rights, _ = guest.fdstat(fd)
    return filetype == CHARACTER_DEVICE and not rights & (SEEK | TELL)


def test_a_file_of_python_is_a_terminal_if_what_is_behind_it_is_one():
    with (
        terminal() as (_, slave),
        pipe() as (reader, _),
        open(slave, "r+b", buffering=0, closefd=False) as both,
    ):

        def act(guest: Script):
            return [is_terminal(guest, fd) for fd in range(3)]

        assert scripted(act, stdin=both, stdout=both, stderr=b"".join) == [True, True, False]
        assert scripted(act, stdin=reader, stdout=io.BytesIO(), stderr=both) == [False, False, True]


@pytest.mark.parametrize("which", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize("wrong", [io.StringIO(), 7, "file"])
def test_what_cannot_be_a_stream_is_refused_by_name(which, wrong):
    with pytest.raises(TypeError, match=which):
        scripted(lambda guest: None, **{which: wrong})


# -- connections


@every_poller
def test_both_ends_on_one_connection_of_host_code(poller):
    def main():
        with coop.listen("127.0.0.1:0") as listener, coop.connect(listener.address[:2]) as client:
            with listener.accept() as served, Script(stdin=served, stdout=served) as guest:
                client.sendall(b"in")
                assert guest.read(0) == b"in"
                assert guest.write(1, b"out") == 3
                assert client.recv() == b"out"
                return guest.fdstat(0)[0], guest.fdstat(1)[0]

    assert coop.run(main, poller=poller) == (STREAM, STREAM)


# -- the process's own


ACT = """
    import coop, os, sys
    from tests.wasip1.script import Script, scripted
    def act(guest):
        found = []
        while not found or found[-1]:
            found.append(guest.read(0))
            if isinstance(found[-1], bytes):
                guest.write(1, found[-1].upper())
            else:
                break
        guest.write(2, repr((found, guest.fdstat(0)[0], guest.fdstat(1)[0])).encode())
    scripted(act, stdin="inherit", stdout="inherit", stderr="inherit")
"""


def inherit(stdin, stdout, script: str = ACT) -> tuple[object, bytes]:
    """Run a child on the given descriptors; what the guest said, and the child's stdout if that is a pipe."""
    with start_child(script, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE) as child:
        out, err = child.communicate(timeout=50)
    assert child.returncode == 0, err.decode()
    return eval(err), out


FACTS = """
    from tests.wasip1.script import DATA, OUT, clock_sub, fd_sub, scripted
    def facts(guest, fd, kind):
        filetype, _, rights, _ = guest.fdstat(fd)
        is_terminal = filetype == 2 and not rights & (1 << 2 | 1 << 5)
        guest.fd_filestat_get(fd, DATA)
        of_stat = guest.got(DATA + 16, 1)[0]
        polled = [event[:2] for event in guest.poll(clock_sub(1, 10_000_000), fd_sub(2, kind, fd))]
        seek = guest.fd_seek(fd, 0, 1, OUT)
        pread = guest.fd_pread(fd, *guest.iovecs((DATA, 2)), 1, OUT)
        return filetype, of_stat, is_terminal, polled, seek, pread, guest.got(DATA, guest.u32())
    def act(guest):
        guest.write(2, repr((facts(guest, 0, 1), facts(guest, 1, 2)[:-2])).encode())
    scripted(act, stdin="inherit", stdout="inherit", stderr="inherit")
"""


@contextmanager
def streams(kind: str, path):
    """A stdin and a stdout of one kind; there is nothing to read but from the file."""
    with ExitStack() as stack:
        if kind == "pipe":
            reader, _writer = stack.enter_context(pipe())
            _, out = stack.enter_context(pipe())
            yield reader, out
        elif kind == "terminal":
            _, slave = stack.enter_context(terminal())
            yield slave, slave
        elif kind == "socket":
            left, right = socket.socketpair()
            with left, right:
                yield left, left
        elif kind == "null":
            null = stack.enter_context(open(os.devnull, "r+b", buffering=0))
            yield null, null
        else:
            path.write_bytes(b"0123456789")
            file = stack.enter_context(path.open("r+b", buffering=0))
            yield file, file


@pytest.mark.parametrize(
    ("kind", "filetype", "is_terminal", "readable", "seek", "pread", "read"),
    [
        ("pipe", UNKNOWN, False, False, "SPIPE", "SPIPE", None),
        ("terminal", CHARACTER_DEVICE, True, False, "SPIPE", "SPIPE", None),
        ("socket", STREAM, False, False, "SPIPE", "SPIPE", None),
        ("null", CHARACTER_DEVICE, False, True, "SPIPE", "SPIPE", None),
        ("file", REGULAR, False, True, "SUCCESS", "SUCCESS", b"12"),
    ],
)
def test_a_guest_is_told_the_truth_about_what_it_inherits(
    kind, filetype, is_terminal, readable, seek, pread, read, tmp_path
):
    with streams(kind, tmp_path / "f") as (stdin, stdout):
        (of_stdin, of_stdout), _ = inherit(stdin, stdout, FACTS)
    *facts, data = of_stdin
    ready = (2, "SUCCESS")
    assert facts == [filetype, filetype, is_terminal, [ready if readable else (1, "SUCCESS")], seek, pread]
    assert read is None or data == read
    assert of_stdout == (filetype, filetype, is_terminal, [ready], seek)


def test_a_directory_as_stdin_is_no_way_into_it(tmp_path):
    script = f"""
        import os
        from tests.wasip1.script import DATA, OUT, scripted
        os.dup2(os.open({str(tmp_path)!r}, os.O_RDONLY), 0)
        def act(guest):
            found = guest.open(0, b"f"), guest.read(0), guest.fd_readdir(0, DATA, 100, 0, OUT)
            guest.write(2, repr((guest.fdstat(0)[0], *found)).encode())
        scripted(act, stdin="inherit", stderr="inherit")
    """
    (tmp_path / "f").touch()
    *found, listed = inherit(subprocess.DEVNULL, subprocess.DEVNULL, script)[0]
    assert (found, listed in {"BADF", "NOTDIR"}) == ([3, "NOTDIR", "ISDIR"], True)


SLOW = """
    import coop, os
    from tests.memory import forget_peak, peak
    from tests.wasip1.script import DATA, OUT, scripted
    def act(guest):
        guest.guest.call("grow", 256)
        guest.memory.write(DATA, bytes(range(250)) * 64_000)
        before = forget_peak()
        done = []
        def write():
            at = 0
            while at < SIZE:
                assert guest.fd_write(1, *guest.iovecs((DATA + at, SIZE - at)), OUT) == "SUCCESS"
                at += guest.u32()
            done.append(at)
        task = coop.spawn(write)
        while not done:
            coop.sleep(0.001)
            os.write(2, b".")
        task.wait()
        grown = peak() - before
        guest.write(2, b" %d" % grown)
    scripted(act, stdout="inherit", stderr="inherit")
"""


@pytest.mark.parametrize(
    ("kind", "size"), [("pipe", 4_000_000), ("terminal", 100_000), ("socket", 4_000_000)]
)
def test_a_slow_reader_of_an_inherited_stream_makes_the_guest_wait_and_nothing_grow(kind, size):
    """The reader takes the next piece only when it has heard another task of the child tick."""
    with pipe() as (reader, writer), terminal() as (master, slave):
        left, right = socket.socketpair()
        with left, right:
            tty.setraw(slave)
            out = {"pipe": writer, "terminal": slave, "socket": left}[kind]
            source = {"pipe": reader.fileno(), "terminal": master, "socket": right.fileno()}[kind]
            script = SLOW.replace("SIZE", str(size))
            with start_child(script, stdout=out, stderr=subprocess.PIPE) as child:
                got, said = bytearray(), b"."
                while len(got) < size:
                    if said.endswith(b"."):
                        said += child.stderr.read(1)
                    got += os.read(source, size // 30)
                said += child.stderr.read()
                assert child.wait(50) == 0, said
    assert got == (bytes(range(250)) * (size // 250))
    ticks, grown = said.split()
    assert len(ticks) > 10
    assert int(grown) < 2_000  # KiB


def test_pipes_are_inherited():
    with pipe() as (reader, writer):
        writer.write(b"abc")
        writer.close()
        assert inherit(reader, subprocess.PIPE) == (([b"abc", b""], UNKNOWN, UNKNOWN), b"ABC")


def test_every_packet_of_an_inherited_pipe_is_read_and_written():
    """One read takes one packet, so a short one is no sign that the pipe is empty."""
    with pipe() as (said, log), ExitStack() as stack:
        reader, writer, taker, giver = (
            stack.enter_context(open(fd, mode, buffering=0))
            for ends in (os.pipe2(os.O_DIRECT), os.pipe2(os.O_DIRECT))
            for fd, mode in zip(ends, ("rb", "wb"), strict=True)
        )
        for packet in (b"one", b"two", b"three"):
            writer.write(packet)
        with start_child(ACT, stdin=reader, stdout=giver, stderr=log) as child:
            found = [taker.read(100) for _ in range(3)]  # while the pipe is open: no end comes to its help
            writer.close()
            assert child.wait(50) == 0
        log.close()
        assert found == [b"ONE", b"TWO", b"THREE"]
        assert eval(said.read()) == ([b"one", b"two", b"three", b""], UNKNOWN, UNKNOWN)


ONE_END = """
    from tests.wasip1.script import fd_sub, scripted
    def act(guest):
        guest.poll(fd_sub(1, 2, 0), fd_sub(0, 1, 1))  # from here on it is known to the poller
        return guest.read(1), guest.write(0, b"x"), guest.read(0), guest.write(1, b"output")
    print(scripted(act, stdin="inherit", stdout="inherit"), flush=True)
"""


def test_an_inherited_end_of_a_pipe_does_only_what_this_end_can():
    """Nothing ever comes out of the end that is written: a read there, once polled, would wait for ever."""
    said = run_child(ONE_END, stdin=b"input", timeout=20).stdout
    assert said == b"output('BADF', 'BADF', b'input', 6)\n"


def test_the_master_of_a_terminal_is_inherited():
    """To open it anew, as is done with other terminals, would be to make a new one."""
    with terminal() as (master, slave):
        tty.setraw(slave)
        with start_child(ACT, stdin=master, stdout=master, stderr=subprocess.PIPE) as child:
            for line in (b"one\n", b"two\n"):
                os.write(slave, line)
                assert os.read(slave, 100) == line.upper()
            child.terminate()
            child.wait(50)


def test_files_are_inherited_with_their_positions(tmp_path):
    (tmp_path / "in").write_bytes(b"0123456789")
    (tmp_path / "out").write_bytes(b"before ")
    with (
        (tmp_path / "in").open("rb", buffering=0) as stdin,
        (tmp_path / "out").open("r+b", buffering=0) as stdout,
    ):
        stdin.seek(7)
        stdout.seek(7)
        assert inherit(stdin, stdout)[0] == ([b"789", b""], REGULAR, REGULAR)
        assert (stdin.tell(), stdout.tell()) == (10, 10)
    assert (tmp_path / "out").read_bytes() == b"before 789"


@pytest.mark.parametrize("how", ["inherited", "given"])
def test_a_file_is_only_read_as_stdin_and_only_written_as_the_others_however_it_is_open(how, tmp_path):
    script = f"""
        from tests.wasip1.script import DATA, OUT, scripted
        def act(guest):
            guest.put(DATA, b"NEW")
            iovecs = guest.iovecs((DATA, 3))
            found = [
                guest.fd_write(0, *iovecs, OUT), guest.fd_pwrite(0, *iovecs, 0, OUT),
                guest.fd_read(1, *iovecs, OUT), guest.fd_pread(1, *iovecs, 0, OUT),
            ]
            guest.write(1, guest.read(0))
            guest.write(2, repr(found).encode())
        folder = {str(tmp_path)!r}
        with open(folder + "/in", "r+b", 0) as stdin, open(folder + "/out", "r+b", 0) as stdout:
            if {how!r} == "inherited":
                import os
                os.dup2(stdin.fileno(), 0)
                os.dup2(stdout.fileno(), 1)
                stdin = stdout = "inherit"
            scripted(act, stdin=stdin, stdout=stdout, stderr="inherit")
    """
    (tmp_path / "in").write_bytes(b"secret")
    (tmp_path / "out").write_bytes(b"0123456789")
    assert inherit(subprocess.DEVNULL, subprocess.DEVNULL, script)[0] == ["BADF"] * 4
    assert (tmp_path / "in").read_bytes() == b"secret"
    assert (tmp_path / "out").read_bytes() == b"secret6789"


def test_a_file_inherited_for_appending_stays_so_whatever_the_guest_does(tmp_path):
    script = """
        from tests.wasip1.script import scripted
        def act(guest):
            flags = [guest.fdstat(1)[1]]
            for change in (4, 1, 0):
                assert guest.fd_fdstat_set_flags(1, change) == "SUCCESS"
                flags.append(guest.fdstat(1)[1])
                guest.write(1, b"x")
            guest.write(2, repr(flags).encode())
        scripted(act, stdout="inherit", stderr="inherit")
    """
    (tmp_path / "log").write_bytes(b"before")
    with (tmp_path / "log").open("ab", buffering=0) as stdout:
        before = fcntl.fcntl(stdout, fcntl.F_GETFL)
        assert inherit(subprocess.DEVNULL, stdout, script)[0] == [1, 4, 1, 0]
        assert fcntl.fcntl(stdout, fcntl.F_GETFL) == before
    assert (tmp_path / "log").read_bytes() == b"beforexxx"


def test_a_guest_may_append_to_an_inherited_file_that_was_not_opened_so(tmp_path):
    script = """
        from tests.wasip1.script import scripted
        def act(guest):
            guest.fd_fdstat_set_flags(1, 1)
            guest.write(1, b"end")
            guest.write(2, b"None")
        scripted(act, stdout="inherit", stderr="inherit")
    """
    (tmp_path / "log").write_bytes(b"before")
    with (tmp_path / "log").open("r+b", buffering=0) as stdout:
        before = fcntl.fcntl(stdout, fcntl.F_GETFL)
        inherit(subprocess.DEVNULL, stdout, script)
        assert fcntl.fcntl(stdout, fcntl.F_GETFL) == before
    assert (tmp_path / "log").read_bytes() == b"beforeend"


def test_dev_null_is_inherited():
    with open(os.devnull, "wb") as null:
        assert inherit(subprocess.DEVNULL, null)[0] == ([b""], CHARACTER_DEVICE, CHARACTER_DEVICE)


@pytest.mark.parametrize("blocking", [True, False])
def test_sockets_are_inherited_with_their_flags(blocking):
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(blocking)
        right.send(b"abc")
        right.shutdown(socket.SHUT_WR)
        assert inherit(left, left)[0] == ([b"abc", b""], STREAM, STREAM)
        assert (right.recv(9), os.get_blocking(left.fileno())) == (b"ABC", blocking)
        left.send(b"still open")
        assert right.recv(99) == b"still open"


CLOSED = """
from tests.wasip1.script import scripted
def act(guest):
    guest.write(2, repr((guest.read(0), guest.write(1, b"goes nowhere"))).encode())
scripted(act, stdin="inherit", stdout="inherit", stderr="inherit")
"""


def test_streams_closed_from_the_start_are_empty_and_swallow_everything():
    """Their numbers are given to whatever is opened first, which the guest must not get."""
    script = f"""
        import os, sys
        os.close(0)
        os.close(1)
        os.execv(sys.executable, {command(CLOSED)!r})
    """
    assert run_child(script).stderr == b"(b'', 12)"


def test_what_cannot_be_opened_a_second_time_is_read_and_written_by_a_helper_thread():
    script = """
        from tests.wasip1.script import scripted
        def act(guest):
            guest.write(2, repr((guest.read(0), guest.write(1, (7).to_bytes(8, "little")))).encode())
        scripted(act, stdin="inherit", stdout="inherit", stderr="inherit")
    """
    one, two = os.eventfd(5), os.eventfd(0)
    try:
        assert inherit(one, two, script)[0] == ((5).to_bytes(8, "little"), 8)
        assert os.eventfd_read(two) == 7
    finally:
        os.close(one)
        os.close(two)


def test_nobody_reads_an_inherited_pipe_any_more():
    script = """
        from tests.wasip1.script import scripted
        def act(guest):
            guest.write(2, repr(guest.write(1, b"x")).encode())
        scripted(act, stdout="inherit", stderr="inherit")
    """
    with pipe() as (reader, writer):
        reader.close()
        assert inherit(subprocess.DEVNULL, writer, script)[0] == "PIPE"


WAITS = """
    import coop, os, sys
    from tests.wasip1.script import scripted
    def act(guest):
        coop.spawn(lambda: (os.write(2, b"waits\\n"), coop.current().park("ever")))
        guest.read(0)
    scripted(act, stdin="inherit", stdout="inherit", stderr="inherit")
"""


@contextmanager
def terminal():
    master, slave = pty.openpty()
    try:
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, None])
def test_the_flags_of_inherited_streams_are_untouched_during_the_run_and_after_it(kind, how):
    with pipe() as (reader, writer), terminal() as (master, slave):
        left, right = socket.socketpair()
        with left, right:
            fd = {"pipe": reader.fileno(), "socket": left.fileno(), "terminal": slave}[kind]
            feed = {"pipe": writer.fileno(), "socket": right.fileno(), "terminal": master}[kind]
            settings = termios.tcgetattr(slave)
            with start_child(WAITS, stdin=fd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
                assert child.stderr.readline() == b"waits\n"
                during = fcntl.fcntl(fd, fcntl.F_GETFL)
                if how is None:
                    os.write(feed, b"line\n")
                else:
                    child.send_signal(how)
                child.wait(50)
                child.stderr.read()
            assert not during & os.O_NONBLOCK
            assert fcntl.fcntl(fd, fcntl.F_GETFL) == during
            assert termios.tcgetattr(slave) == settings


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_cat_still_works_on_the_terminal_after_a_guest(how):
    with terminal() as (master, slave):
        with start_child(WAITS, stdin=slave, stdout=slave, stderr=subprocess.PIPE) as child:
            assert child.stderr.readline() == b"waits\n"
            if how is None:
                os.write(master, b"first\n")
            else:
                child.send_signal(how)
            child.wait(50)
            child.stderr.read()
        cat = subprocess.Popen(["cat"], stdin=slave, stdout=slave, stderr=subprocess.PIPE)
        with cat:
            os.write(master, b"second\n\x04")
            assert cat.wait(50) == 0, cat.stderr.read()
        seen = b""
        while seen.count(b"second") < 2:  # once by echo, once by cat
            seen += os.read(master, 4096)


@every_poller
def test_a_line_of_a_terminal_is_read_as_it_comes(poller):
    script = ACT.replace('stderr="inherit")', f'stderr="inherit", poller="{poller}")')
    with terminal() as (master, slave):
        with start_child(script, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            for line in (b"one\n", b"two\n"):
                os.write(master, line)
                assert child.stdout.readline() == line.upper()
            os.write(master, b"\x04")
            assert child.wait(50) == 0
            assert eval(child.stderr.read()) == ([b"one\n", b"two\n", b""], CHARACTER_DEVICE, UNKNOWN)


def test_a_fifo_given_as_stdin_waits_for_more_than_its_first_writer(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    keep = os.open(tmp_path / "fifo", os.O_RDWR)
    try:
        with start_child(ACT, stdin=keep, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            for data in (b"a", b"b"):
                with open(tmp_path / "fifo", "wb") as writer:
                    writer.write(data)
                assert child.stdout.read(1) == data.upper()
    finally:
        os.close(keep)


def test_a_log_that_is_lent_to_append_to_can_neither_be_emptied_nor_backdated(tmp_path):
    log = tmp_path / "log"
    log.write_text("old line\n")
    before = log.stat()

    def act(guest: Script):
        return (
            guest.fd_filestat_set_size(1, 0),
            guest.fd_allocate(1, 0, 4096),
            [guest.fd_filestat_set_times(fd, 0, 0, 5) for fd in (0, 1)],
        )

    with log.open("rb") as readable, log.open("ab") as appended:
        answers = scripted(act, stdin=readable, stdout=appended)
    assert answers == ("NOTCAPABLE", "NOTCAPABLE", ["NOTCAPABLE"] * 2)
    assert (log.read_text(), log.stat().st_mtime_ns) == ("old line\n", before.st_mtime_ns)
