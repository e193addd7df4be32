"""wasi:cli from a guest: what it was given, and how it ends."""

import pytest

import coop
from coop.errors import GuestExit
from coop.wasip2 import Guest


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
