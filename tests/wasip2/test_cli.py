"""wasi:cli from a guest: what it was given, and how it ends."""

import socket

import pytest

import coop
from coop.engine.component import Component
from coop.errors import GuestExit, GuestTrap, LimitExceeded, WasCancelled
from coop.wasip2 import Guest
from tests.components import command
from tests.guestbuild import ToolchainMissing


def test_a_guest_knows_what_it_was_given(python):
    found = python(
        lambda run: run("""
result = [
    environment.get_arguments(), environment.get_environment(), environment.initial_cwd(),
]
"""),
        name="me",
        args=["one", "", "gr\u00fc\u00df"],
        env={"B": "2", "A": "x=y", "EMPTY": ""},
    )
    assert found == [["me", "one", "", "gr\u00fc\u00df"], [("B", "2"), ("A", "x=y"), ("EMPTY", "")], None]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"args": ["one", "\udcff"]}, r"an argument is '\\udcff', which is no text"),
        ({"name": "\udcff"}, r"an argument is '\\udcff', which is no text"),
        ({"env": {"A": "\udcff"}}, r"a variable is 'A=\\udcff', which is no text"),
        ({"env": {"\udcff": "a"}}, r"a variable is '\\udcff=a', which is no text"),
    ],
)
def test_what_no_string_can_say_is_refused_before_the_guest_starts(component, given, words):
    with pytest.raises(ValueError, match=words):
        Guest(component, **given)


def test_nothing_is_given_by_default(python):
    found = python(
        lambda run: run("""
def ended(call, *args):
    try:
        return call(*args)
    except Err as error:
        return type(error.value).__name__
out = stdout.get_stdout()
out.blocking_write_and_flush(b"to nowhere")
result = [
    len(environment.get_arguments()), environment.get_environment(),
    ended(stdin.get_stdin().blocking_read, 1), out.check_write() > 0,
    terminal_stdin.get_terminal_stdin(), terminal_stdout.get_terminal_stdout(),
    terminal_stderr.get_terminal_stderr(),
]
""")
    )
    assert found == [1, [], "StreamError_Closed", True, None, None, None]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("exit(Ok(None))", 0),
        ("exit(Err(None))", 1),
        ("exit_with_code(0)", 0),
        ("exit_with_code(7)", 7),
        ("exit_with_code(255)", 255),
    ],
)
def test_a_guest_ends_itself_with_a_code_and_is_not_called_again(python, call, code):
    out = bytearray()

    def act(run):
        run("stdout.get_stdout().write(b'before')")
        with pytest.raises(GuestExit) as caught:
            run(f"exit.{call}")
        return caught.value.code, run.guest.state.value

    assert python(act, stdout=out) == (code, "ended")
    assert out == b"before"


def test_every_handle_of_a_standard_stream_is_the_same_stream(python):
    out = bytearray()

    def act(run):
        return run("""
for each in (stdout.get_stdout(), stdout.get_stdout()):
    each.blocking_write_and_flush(b"x")
    each.__exit__(None, None, None)
one, two = stdin.get_stdin(), stdin.get_stdin()
result = one.blocking_read(2), two.blocking_read(2)
""")

    assert python(act, stdin=b"abcd", stdout=out) == (b"ab", b"cd")
    assert out == b"xx"


def test_channels_are_standard_streams(component):
    def main():
        asked, answers = coop.Channel(2), coop.Channel(3)
        with coop.ComponentGuest(component, stdin=asked, stdout=answers) as guest:
            asked.send(b"ques")
            asked.send(b"tion")
            asked.close()
            guest.call(
                "",
                "run",
                """
source = stdin.get_stdin()
for _ in range(2):
    stdout.get_stdout().blocking_write_and_flush(source.blocking_read(100))
try:
    source.blocking_read(1)
except Err as error:
    result = type(error.value).__name__
    stdout.get_stdout().blocking_write_and_flush(result.encode())
""",
            )
        return [answers.receive() for _ in range(3)]

    assert coop.run(main) == [b"ques", b"tion", b"StreamError_Closed"]


# -- what a command leaves unwritten

SIZE = 1_000_000


@pytest.fixture(scope="module")
def program() -> Component:
    try:
        found = Component.from_file(command("program.py"))
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    coop.run(Guest(found, args=["args"]).run)  # wasmtime opens the image of its memory for the first guest
    return found


def unflushed(program, act, *end: str, **given):
    """Act on the task of a command that has written to a full socket, and on that socket's other side."""
    ours, theirs = socket.socketpair()
    said = bytearray()

    def main():
        args = ["unflushed", str(SIZE), *end]
        guest = Guest(program, args=args, stdout=ours, stderr=said, **given)
        task = coop.spawn(guest.run)
        while not said.startswith(b"written") and not task.is_done:
            coop.sleep(0.001)
        return act(guest, task, theirs)

    with ours, theirs:
        return coop.run(main)


def read_all(task, sock) -> int:
    """Read slowly, and count, until the task has ended and nothing is left."""
    count = 0
    while True:
        is_done = task.is_done
        try:
            count += len(sock.recv(20_000, socket.MSG_DONTWAIT))
        except BlockingIOError:
            if is_done:
                return count
        coop.sleep(0.0005)


@pytest.mark.parametrize("end", [(), ("exit",), ("trap",)])
def test_what_a_command_wrote_arrives_however_it_ends_and_slowly_it_is_read(program, end):
    def act(_guest, task, sock):
        assert not task.is_done
        count = read_all(task, sock)
        if end == ("trap",):
            with pytest.raises(GuestTrap, match="blocking-write-and-flush of 4097 bytes"):
                task.wait()
        else:
            assert task.wait() == len(end)
        return count

    assert unflushed(program, act, *end) == SIZE


def test_a_command_whose_output_nobody_reads_is_cancelled(program):
    def act(guest, task, _sock):
        guest.cancel()
        with pytest.raises(WasCancelled):
            task.wait()
        return guest.state.value

    assert unflushed(program, act, limits=coop.Limits(wall_time=60)) == "ended"


def test_a_command_whose_output_nobody_reads_meets_its_limit(program):
    def act(guest, task, _sock):
        with pytest.raises(LimitExceeded, match="has run for"):
            task.wait()
        return guest.state.value

    assert unflushed(program, act, limits=coop.Limits(wall_time=1)) == "ended"
