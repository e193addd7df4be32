"""A guest that waits for one file after the other, and where its waiter stands meanwhile."""

import pytest

import coop
from coop.wasip1.state import Wasi
from tests.wasip1.script import OUT, POLLERS, Script
from tests.wasip1.test_given import conns

every_poller = pytest.mark.parametrize("poller", POLLERS)


def crowd() -> None:
    """Be ready all the time, so that a wait in place is out of the question."""
    while True:
        coop.pause()


@every_poller
@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "in a crowd"])
def test_a_guest_waits_for_two_connections_by_turns(is_alone: bool, poller: str):
    def main() -> list[bytes]:
        if not is_alone:
            coop.spawn(crowd)
        with conns() as (a, far_a), conns() as (b, far_b), Script(connections=[a, b]) as guest:

            def send() -> None:
                for number in range(6):
                    coop.sleep(0.002)
                    (far_a, far_b)[number % 2].sendall(b"%d" % number)

            coop.spawn(send)
            return [guest.read(3 + number % 2) for number in range(6)]

    assert coop.run(main, poller=poller) == [b"%d" % number for number in range(6)]


@every_poller
@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "in a crowd"])
def test_a_guest_reads_and_writes_by_turns_where_both_have_to_wait(is_alone: bool, poller: str):
    piece = b"x" * 4096

    def main() -> int:
        if not is_alone:
            coop.spawn(crowd)
        with conns() as (near, far), Script(connections=[near]) as guest:

            def drain() -> None:
                left = 2000 * len(piece)
                while left:
                    coop.sleep(0.0001)
                    left -= len(far.recv(1 << 20))
                far.sendall(b"done")

            coop.spawn(drain)
            put = 0
            while put < 2000 * len(piece):
                put += guest.write(3, piece[: 2000 * len(piece) - put])
            assert guest.read(3) == b"done"
            return put

    assert coop.run(main, poller=poller) == 2000 * len(piece)


@every_poller
@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "in a crowd"])
def test_a_guest_that_waits_does_not_try_meanwhile(
    is_alone: bool, poller: str, monkeypatch: pytest.MonkeyPatch
):
    """Were it not suspended, it would try all the time."""
    waits = []
    block_on = Wasi.block_on
    monkeypatch.setattr(Wasi, "block_on", lambda self, *what: (waits.append(what), block_on(self, *what))[1])

    def main() -> bytes:
        if not is_alone:
            coop.spawn(crowd)
        with conns() as (near, far), Script(connections=[near]) as guest:
            coop.spawn(lambda: (coop.sleep(0.02), far.sendall(b"x")))
            return guest.read(3)

    assert coop.run(main, poller=poller) == b"x"
    assert len(waits) == 1


@every_poller
def test_a_bad_address_is_told_at_once_or_when_bytes_have_come_and_takes_none_of_them(poller: str):
    def main() -> tuple[str, bytes]:
        coop.spawn(crowd)
        with conns() as (near, far), Script(connections=[near]) as guest:
            coop.spawn(lambda: (coop.sleep(0.01), far.sendall(b"x")))
            return guest.fd_read(3, 0xFFFFFFF0, 1, OUT), guest.read(3)

    assert coop.run(main, poller=poller) == ("FAULT", b"x")


@pytest.mark.parametrize("how", ["the guest ends", "fd_close", "fd_renumber"])
@every_poller
def test_nobody_stays_queued_at_a_connection_the_guest_has_left(how: str, poller: str):
    def main() -> tuple[int, int]:
        with conns() as (near, far):
            guest = Script(connections=[near])
            coop.spawn(lambda: (coop.sleep(0.002), far.sendall(b"x")))
            assert guest.read(3) == b"x"
            during = len(near._file.waiters)
            if how == "fd_close":
                assert guest.fd_close(3) == "SUCCESS"
            elif how == "fd_renumber":
                assert guest.fd_renumber(0, 3) == "SUCCESS"
            else:
                guest.guest.close()
            after = len(near._file.waiters)
            guest.guest.close()
            far.sendall(b"y")
            assert near.recv(9) == b"y"
            return during, after

    assert coop.run(main, poller=poller) == (1, 0)
