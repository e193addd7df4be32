"""fd_renumber: onto anything that is open, and onto nothing else."""

import os
import socket

import pytest

import coop
from tests.wasip1.places import READ
from tests.wasip1.script import OUT, POLLERS, Script, clock_sub, fd_sub, scripted


def test_a_descriptor_takes_the_place_of_another_which_is_closed(any_place):
    def act(guest: Script):
        f, g = guest.open(3, b"f"), guest.open(3, b"dir/g")
        assert guest.fd_renumber(f, g) == "SUCCESS"
        return guest.read(g), guest.read(f), guest.open(3, b"f") == f

    assert any_place.run(act) == (b"inside", "BADF", True)


def test_position_rights_and_flags_move_with_it(any_place):
    def act(guest: Script):
        f, g = guest.open(3, b"f", fdflags=1), guest.open(3, b"dir/g")
        guest.read(f, 3)
        before = guest.fdstat(f)
        assert guest.fd_renumber(f, g) == "SUCCESS"
        return guest.fdstat(g) == before, guest.read(g)

    assert any_place.run(act) == (True, b"ide")


@pytest.mark.parametrize("fd", [0, 1, 2, 3, 4])
def test_renumbering_a_descriptor_to_itself_changes_nothing(fd, any_place):
    def act(guest: Script):
        assert guest.open(3, b"f") == 4
        before = [guest.fdstat(n) for n in range(5)]
        assert guest.fd_renumber(fd, fd) == "SUCCESS"
        return [guest.fdstat(n) for n in range(5)] == before, guest.read(4)

    assert any_place.run(act) == (True, b"inside")


@pytest.mark.parametrize("to", [5, 6, 50, 2**31, 2**32 - 2, 2**32 - 1])
def test_no_number_is_made_up(to, any_place):
    """Native wasmtime takes any number; preview 1's test suite wants this."""

    def act(guest: Script):
        fd, other = guest.open(3, b"f"), guest.open(3, b"f")
        guest.fd_close(other)
        return guest.fd_renumber(fd, to), guest.read(fd), guest.open(3, b"f") == other

    assert any_place.run(act) == ("BADF", b"inside", True)


def test_a_granted_directory_can_be_moved_and_is_found_there(any_place):
    def act(guest: Script):
        assert guest.open(3, b"f") == 4
        assert guest.fd_renumber(3, 4) == "SUCCESS"
        found = guest.fd_prestat_get(4, OUT), guest.u32(OUT + 4), guest.fd_prestat_get(3, OUT)
        return found, guest.read(guest.open(4, b"f"))

    assert any_place.run(act) == (("SUCCESS", 1, "BADF"), b"inside")


def everything(tmp_path) -> tuple[dict[str, object], list[socket.socket]]:
    """Options that open one of each: streams, a listener, a connection, a directory and a FIFO below it."""
    ends = list(socket.socketpair())
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "f").write_bytes(b"x")
    options = {
        "stdin": b"in",
        "stdout": lambda data: None,
        "stderr": bytearray(),
        "listen": ["127.0.0.1:0"],
        "connections": ends[:1],
        "dirs": [tmp_path],
    }
    return options, ends


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("to", range(9))
def test_a_file_goes_over_anything_that_is_open(to, poller, tmp_path):
    """Whatever is displaced closes; a poll that had named it looks at what is there now."""
    options, ends = everything(tmp_path)

    def act(guest: Script):
        opened = [
            guest.open(5, b"fifo", rights=READ | 1 << 27),
            guest.open(5, b"f"),
            guest.open(5, b".", oflags=2),
        ]
        assert opened == [6, 7, 8]
        f = guest.open(5, b"f", rights=READ | 1 << 6 | 1 << 27)
        before = guest.poll(*(fd_sub(fd, 1, fd) for fd in range(9)), fd_sub(9, 2, f))
        assert guest.fd_renumber(f, to) == "SUCCESS"
        after = guest.poll(fd_sub(1, 1, to), fd_sub(2, 2, to))
        return len(before) > 2, [event[1] for event in after], guest.read(to), guest.fd_close(f)

    try:
        assert scripted(act, poller=poller, **options) == (True, ["SUCCESS"] * 2, b"x", "BADF")
    finally:
        for end in ends:
            end.close()


@pytest.mark.parametrize("poller", POLLERS)
def test_the_peer_of_a_displaced_connection_sees_its_end(poller, place):
    """Of a listener too: who connects afterwards is refused."""

    def main():
        with Script(listen=["127.0.0.1:0"], dirs=[place.grant()]) as guest:
            (address,) = guest.guest.addresses
            with socket.create_connection(address) as client:
                fd, f = guest.accept(3), guest.open(4, b"f")
                assert guest.fd_renumber(f, fd) == "SUCCESS"
                ended = client.recv(1)
            assert guest.fd_renumber(fd, 3) == "SUCCESS"
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address).close()
            return ended, guest.read(3)

    assert coop.run(main, poller=poller) == (b"", b"inside")


def test_a_connection_moved_to_another_number_still_wakes_its_guest():
    left, right = socket.socketpair()

    def act(guest: Script):
        guest.fd_fdstat_set_flags(3, 4)
        assert guest.read(3) == "AGAIN"
        guest.fd_fdstat_set_flags(3, 0)
        assert guest.fd_renumber(3, 0) == "SUCCESS"
        coop.spawn(right.send, b"hello")
        event = guest.poll(fd_sub(7, 1, 0))
        return event[0][:3], guest.read(0)

    with left, right:
        assert scripted(act, connections=[left]) == ((7, "SUCCESS", 1), b"hello")


def test_what_was_polled_and_displaced_is_kept_nowhere(host_place):
    """A guest that does so again and again must not fill the host's memory."""
    os.mkfifo(host_place.root / "fifo")

    def act(guest: Script):
        for _ in range(20):
            fifo = guest.open(3, b"fifo", rights=READ | 1 << 27)
            assert guest.poll(fd_sub(1, 1, fifo), clock_sub(2, 1000))[0][0] == 2
            assert guest.fd_renumber(guest.open(3, b"f"), fifo) == "SUCCESS"
            assert guest.fd_close(fifo) == "SUCCESS"
        return len(guest.guest._wasi.poll._watched)

    assert host_place.run(act) == 0
