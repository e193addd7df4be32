"""wasi:io from a guest: streams, and polls of them."""

import socket

import pytest

from coop.errors import GuestTrap


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
