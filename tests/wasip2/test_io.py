"""wasi:io from a guest: streams, and polls of them."""

import fcntl
import os
import socket
import tempfile
import termios
from typing import Any, cast

import pytest

import coop
from coop.errors import GuestTrap
from coop.fs.hostfile import DiskFile
from coop.netpoll import POLLERS
from coop.netpoll.kernelfiles import SocketFile
from coop.scheduler import scheduler
from coop.wasip2.filesystem import descriptors
from coop.wasip2.pollables import FilePollable
from coop.wasip2.reading import FileInput


def test_what_a_guest_writes_arrives(python):
    out = bytearray()
    permit = python(
        lambda run: run(
            "s = stdout.get_stdout(); s.blocking_write_and_flush(b'hi'); result = s.check_write()"
        ),
        stdout=out,
    )
    assert (out, permit) == (b"hi", 1 << 20)


def test_a_write_that_nobody_asked_for_is_taken_where_there_is_room(python):
    out = bytearray()
    python(lambda run: run("s = stdout.get_stdout(); s.write(b'x'); s.write_zeroes(2)"), stdout=out)
    assert out == b"x\0\0"


@pytest.mark.parametrize(("call", "what"), [("write(b'x')", "bytes"), ("write_zeroes(1)", "zeroes")])
def test_a_write_beyond_the_permit_ends_the_guest(python, call, what):
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        pytest.raises(GuestTrap, match=f"write of 1 {what} to a stream that permitted 0") as caught,
    ):
        python(
            lambda run: run(f"""
out = stdout.get_stdout()
while permit := out.check_write():
    out.write(bytes(permit))
out.{call}
"""),
            stdout=ours,
        )
    assert caught.value.frames


def receive(sock: socket.socket, size: int) -> bytes:
    """Take what has come, if something has, and let the others run."""
    coop.sleep(0.0005)
    try:
        return sock.recv(size, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


PIECES = {
    "for letter in b'abc': out.write(bytes([letter]) * 300_000)": [b"a", b"b", b"c"],
    "out.write(b'a' * 600_000); out.write_zeroes(300_000)": [b"a", b"a", b"\0"],
}


@pytest.mark.parametrize(("code", "pieces"), PIECES.items())
def test_a_permit_may_be_spent_in_pieces_however_slowly_they_are_read(python, code, pieces):
    ours, theirs = socket.socketpair()
    got = bytearray()

    def act(run):
        task = coop.spawn(run, f"out = stdout.get_stdout(); out.check_write()\n{code}\nout.blocking_flush()")
        while not task.is_done or len(got) < 900_000:
            got.extend(receive(theirs, 20_000))
            assert not task.is_done or task.error is None
        task.wait()

    with ours, theirs:
        python(act, stdout=ours)
    assert bytes(got) == b"".join(piece * 300_000 for piece in pieces)


def test_what_is_spliced_spends_the_permit(python):
    """What is written without another goes behind it, or not at all."""
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(GuestTrap, match="permitted 0"):
        python(
            lambda run: run("""
source, out = stdin.get_stdin(), stdout.get_stdout()
for _ in range(4):
    out.blocking_splice(source, 65536)
while True:
    out.write(b'b' * 300_000)
"""),
            stdin=b"a" * 262_144,
            stdout=ours,
        )


def test_all_that_a_guest_has_written_and_nobody_read_has_a_bound(python):
    """Each stream has a permit, and there may be very many of one file: beyond the bound a write waits."""
    ours, theirs = socket.socketpair()
    count, got = 100, 0

    def act(run):
        nonlocal got
        run("pass")
        world = run.guest.world
        task = coop.spawn(
            run,
            f"""
outs = [stdout.get_stdout() for _ in range({count})]
permits = [out.check_write() for out in outs]
for out in outs: out.write_zeroes(1 << 20)
for out in outs: out.blocking_flush()
""",
        )
        while world.backlog.used <= 64 << 20:
            coop.sleep(0.005)
        coop.sleep(0.05)
        kept = world.backlog.used
        while got < count << 20:
            got += len(receive(theirs, 1 << 20))
        task.wait()
        return kept, world.backlog.used

    with ours, theirs:
        kept, left = python(act, stdout=ours)
    assert 64 << 20 < kept <= 65 << 20
    assert left == 0


def test_a_guest_that_ends_with_bytes_unwritten_gives_its_output_back(python):
    ours, theirs = socket.socketpair()

    def fill(run):
        run("""
out = stdout.get_stdout()
while permit := out.check_write():
    out.write(bytes(permit))
out.__exit__(None, None, None)
""")

    with ours, theirs:
        python(fill, stdout=ours)
        ours.close()
        while theirs.recv(1 << 20):
            pass


# -- writing with a flush


@pytest.mark.parametrize(
    ("call", "most"),
    [("blocking_write_and_flush", "bytes(4096)"), ("blocking_write_zeroes_and_flush", "4096")],
)
def test_a_write_with_a_flush_waits_for_room_and_needs_no_permit(python, call, most):
    """The peer takes nothing until the guest has parked."""
    ours, theirs = socket.socketpair()

    def act(run):
        run("""
out = stdout.get_stdout()
while permit := out.check_write():
    out.write(bytes(permit))
""")
        theirs.setblocking(False)
        guest = coop.spawn(run, f"out.{call}({most})")
        coop.sleep(0.002)
        assert not guest.is_done
        taken = 0
        while not guest.is_done:
            try:
                taken += len(theirs.recv(1 << 20))
            except BlockingIOError:
                coop.pause()
        guest.wait()
        return taken

    with ours, theirs:
        assert python(act, stdout=ours) > 4096


@pytest.mark.parametrize("call", ["write_and_flush(bytes(4097))", "write_zeroes_and_flush(4097)"])
def test_a_write_with_a_flush_has_a_length_of_its_own(python, call):
    name = f"blocking-{call.partition('(')[0].replace('_', '-')}"
    with pytest.raises(GuestTrap, match=f"{name} of 4097 bytes; 4096 are allowed"):
        python(lambda run: run(f"stdout.get_stdout().blocking_{call}"))


def test_zeroes_are_written_as_many_as_were_asked_for(python):
    out = bytearray()
    python(
        lambda run: run("""
s = stdout.get_stdout()
s.blocking_write_zeroes_and_flush(0)
s.blocking_write_zeroes_and_flush(4096)
s.write_zeroes(s.check_write())
s.flush()
s.blocking_flush()
"""),
        stdout=out,
    )
    assert out == bytes(4096 + (1 << 20))


def test_a_flush_takes_the_permit_away_until_it_is_done(python):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = python(
            lambda run: run("""
out = stdout.get_stdout()
while permit := out.check_write():
    out.write(bytes(permit))
out.flush()
result = out.check_write(), out.subscribe().ready()
"""),
            stdout=ours,
        )
    assert found == (0, False)


def test_a_peer_that_is_gone_is_the_end_of_a_stream_by_every_call(python):
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        found = python(
            lambda run: run("""
out, source = stdout.get_stdout(), stdin.get_stdin()
def said(call, *args):
    try:
        return call(*args)
    except Err as error:
        return type(error.value).__name__
result = [said(out.blocking_write_and_flush, b"x")] + [said(call, *args) for call, *args in (
    (out.check_write,), (out.write, b"x"), (out.write_zeroes, 1), (out.flush,), (out.blocking_flush,),
    (out.blocking_write_and_flush, b"x"), (out.blocking_write_zeroes_and_flush, 1),
    (out.splice, source, 1), (out.blocking_splice, source, 1),
)]
"""),
            stdin=b"more",
            stdout=ours,
        )
    assert found == ["StreamError_Closed"] * 10


# -- reading


@pytest.mark.parametrize("poller", POLLERS)
def test_what_is_not_there_yet_is_waited_for_by_the_blocking_calls_alone(python, poller):
    ours, theirs = socket.socketpair()

    def act(run):
        def speak():
            for each in (b"skipped", b"read", b"moved"):
                theirs.sendall(each)
                while any(fcntl.ioctl(ours, termios.FIONREAD, bytes(4))):
                    coop.sleep(0.001)
            theirs.shutdown(socket.SHUT_WR)

        run("""
source, out = stdin.get_stdin(), stdout.get_stdout()
at_once = source.read(9), source.skip(9), out.splice(source, 9)
""")
        speaker = coop.spawn(speak)
        found = run("""
waited = source.blocking_skip(9), source.blocking_read(9), out.blocking_splice(source, 9)
ends = []
for call in (source.read, source.skip, source.blocking_read, source.blocking_skip):
    source.subscribe().block()
    try:
        ends.append(call(9))
    except Err as error:
        ends.append(type(error.value).__name__)
for call in (out.splice, out.blocking_splice):
    try:
        ends.append(call(source, 9))
    except Err as error:
        ends.append(type(error.value).__name__)
result = at_once, waited, ends
""")
        speaker.wait()
        return found

    out = bytearray()
    with ours, theirs:
        found = python(act, stdin=ours, stdout=out, poller=poller)
    assert found == ((b"", 0, 0), (7, b"read", 5), ["StreamError_Closed"] * 6)
    assert out == b"moved"


def test_a_splice_moves_no_more_than_there_is_room_for(python):
    """What the sink does not take stays in the source."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = python(
            lambda run: run("""
source, out = stdin.get_stdin(), stdout.get_stdout()
while permit := out.check_write():
    out.write(bytes(permit))
result = out.splice(source, 4), source.blocking_read(9)
"""),
            stdin=b"here",
            stdout=ours,
        )
    assert found == (0, b"here")


# -- polls and handles


def test_a_poll_tells_every_index_that_is_ready_and_takes_one_pollable_twice(python):
    found = python(
        lambda run: run("""
now, never = monotonic_clock.subscribe_duration(0), monotonic_clock.subscribe_duration(10 ** 18)
result = poll.poll([never, now, never, now])
""")
    )
    assert found == [1, 3]


def test_a_pollable_that_a_list_names_again_and_again_is_asked_once_a_look(python, monkeypatch):
    asked = []
    is_ready = FilePollable.is_ready
    monkeypatch.setattr(FilePollable, "is_ready", lambda each: asked.append(each) or is_ready(each))
    ours, theirs = socket.socketpair()

    with ours, theirs:
        theirs.send(b"here")
        found = python(
            lambda run: run(
                "s = stdin.get_stdin(); p = s.subscribe(); result = poll.poll([p] * 100); del p, s"
            ),
            stdin=ours,
        )
    assert (found, len(asked)) == (list(range(100)), 1)


LOOKS = {"a look": "pollable.ready()", "a poll of what is ready": "0 in poll.poll([pollable, now])"}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("form", ["socket", "function", "file"])
@pytest.mark.parametrize("poller", POLLERS)
def test_a_guest_that_only_looks_hears_of_what_it_is_given_to_read(python, poller, form, look):
    ours, theirs = socket.socketpair()
    code = f"""
source, now = stdin.get_stdin(), monotonic_clock.subscribe_duration(0)
pollable = source.subscribe()
while not ({LOOKS[look]}):
    pass
result = source.read(9)
"""

    def act(run):
        coop.spawn(lambda: (coop.sleep(0.005), theirs.send(b"here")))
        return run(code)

    with ours, theirs, ours.makefile("rb") as file:
        stdin = {"socket": ours, "function": lambda: coop.sleep(0.005) or b"here", "file": file}[form]
        limits = coop.Limits(wall_time=20, cpu_time=None)
        assert python(act, stdin=stdin, poller=poller, limits=limits) == b"here"


def test_a_poll_of_nothing_ends_the_guest(python):
    with pytest.raises(GuestTrap, match="poll of an empty list would never return"):
        python(lambda run: run("poll.poll([])"))


@pytest.mark.parametrize(
    ("stream", "what"), [("stdin.get_stdin()", "FileInput"), ("stdout.get_stdout()", "StandardOutput")]
)
def test_a_stream_is_not_dropped_before_its_pollable(python, stream, what):
    with pytest.raises(GuestTrap, match=f"a {what} is given up while 1 made of it are in use"):
        python(lambda run: run(f"s = {stream}; kept = s.subscribe(); s.__exit__(None, None, None)"))
    assert python(
        lambda run: run(f"""
s = {stream}
kept = s.subscribe()
kept.__exit__(None, None, None)
result = s.__exit__(None, None, None) is None
""")
    )


def test_who_looks_at_frames_keeps_no_read_from_ending(kept_frames):
    """On the host's side the buffer of a read is cut to what came, while views of it may be kept."""
    ends = socket.socketpair()
    with tempfile.TemporaryFile() as disk:
        disk.write(b"from the disk")
        disk.flush()
        file = DiskFile(os.dup(disk.fileno()), os.fstat(disk.fileno()).st_mode, "a file")
        try:
            assert descriptors._read(file, 100, 5) == (b"the disk", False)
        finally:
            file.release()

    def main() -> bytes | None:
        stream = FileInput(cast(Any, None), SocketFile(ends[0], poller=scheduler().poller))
        try:
            return stream.take(100)
        finally:
            stream.file.release()

    with ends[1]:
        ends[1].sendall(b"from the socket")
        assert coop.run(main) == b"from the socket"
