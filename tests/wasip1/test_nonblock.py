"""Go's own two host tests, in our words: eight FIFOs read at once, and a TCP echo that finds its listener."""

import os
import select
import socket
from pathlib import Path

import pytest

import coop
from tests.children import ROOT
from tests.guestbuild import go_guest
from tests.wasip1.script import POLLERS, loaded

GUESTS = ROOT / "tests" / "guests"
FIFOS = 8

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nonblock() -> coop.Module:
    return loaded(go_guest(GUESTS / "nonblock.go"))


@pytest.fixture(scope="module")
def echo_once() -> coop.Module:
    return loaded(go_guest(GUESTS / "echo_once.go"))


class Lines:
    """A guest's stderr, cut into lines, for a task that waits for them one by one."""

    def __init__(self) -> None:
        self._data = b""
        self._waiter: coop.Task | None = None

    def __call__(self, data: bytes) -> None:
        self._data += data
        if self._waiter is not None:
            self._waiter.wake()

    @property
    def is_empty(self) -> bool:
        return not self._data

    def next(self) -> bytes:
        """Park until there is a whole line."""
        self._waiter = coop.current()
        while b"\n" not in self._data:
            self._waiter.park("a line of the guest")
        self._waiter = None
        line, _, self._data = self._data.partition(b"\n")
        return line


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("mode", ["open", "fd"])
@pytest.mark.seed("N1", "N2", "N3", "N4", "N5")
def test_eight_fifos_opened_in_order_and_written_in_reverse_answer_as_they_are_written(
    mode: str, poller: str, nonblock: coop.Module, tmp_path: Path
):
    """Only a guest none of whose reads blocks its module can answer in this order."""
    names = [f"fifo{n}" for n in range(FIFOS)]
    held = []
    for name in names:
        os.mkfifo(tmp_path / name)
        held.append(os.open(tmp_path / name, os.O_RDWR))
    stderr = Lines()

    def main():
        args = [mode, *(f"/fifos/{name}" for name in names)]
        guest = coop.Guest(nonblock, args=args, dirs=[coop.Dir(tmp_path, "/fifos")], stderr=stderr)
        task = coop.spawn(guest.run)
        assert stderr.next() == b"waiting"
        for name, fd in reversed(list(zip(names, held, strict=True))):
            assert stderr.is_empty
            os.write(fd, f"/fifos/{name}\n".encode())
            assert stderr.next() == f"/fifos/{name}".encode()
        return task.wait()

    try:
        assert coop.run(main, poller=poller) == 0
    finally:
        for fd in held:
            os.close(fd)
    assert stderr.is_empty


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.seed("N6", "T26")
def test_go_finds_its_listener_behind_nothing_and_before_a_directory(poller, echo_once, tmp_path):
    def main():
        guest = coop.Guest(echo_once, listen=["127.0.0.1:0"], dirs=[tmp_path], stderr="inherit")
        task = coop.spawn(guest.run)
        while not guest.addresses:
            coop.pause()
        with coop.connect(guest.addresses[0][:2]) as client:
            client.sendall(b"hello")
            got = b""
            while data := client.recv():
                got += data
        return got, task.wait()

    assert coop.run(main, poller=poller) == (b"hello", 0)


@pytest.mark.seed("N6")
def test_go_passes_by_a_connection_and_finds_a_listener_behind_it(echo_once):
    left, right = socket.socketpair()

    def main():
        with coop.listen("127.0.0.1:0") as listener:
            guest = coop.Guest(echo_once, listen=[listener], connections=[left], stderr="inherit")
            task = coop.spawn(guest.run)
            with coop.connect(listener.address[:2]) as client:
                client.sendall(b"x")
                return client.recv(), task.wait()

    with left, right:
        assert coop.run(main) == (b"x", 0)
        assert select.select([right], [], [], 0)[0] == []


@pytest.mark.seed("N6")
def test_without_a_listener_go_comes_to_the_end_of_the_descriptors(echo_once, tmp_path):
    said = bytearray()
    assert coop.run(lambda: coop.Guest(echo_once, dirs=[tmp_path], stderr=said).run()) == 1
    assert b"no listener below fd 4" in said
