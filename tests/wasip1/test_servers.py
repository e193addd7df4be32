"""Real guests in Go, C and WAT that serve many clients at once, slow and rude ones too, beside a ticker."""

import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import coop
from tests.children import ROOT
from tests.guestbuild import c_guest, go_guest
from tests.wasip1.script import POLLERS, loaded

ECHO = ROOT / "examples" / "tcpecho"
TICKER = ROOT / "examples" / "ticker"
INETD = ROOT / "examples" / "guest_per_client"

BUILT: dict[str, Callable[[], Path]] = {
    "go": lambda: go_guest(ECHO / "guest.go"),
    "c": lambda: c_guest(ECHO / "guest.c"),
    "wat": lambda: ECHO / "guest.wat",
}


SLOW_GO, SLOW_C = pytest.param("go", marks=pytest.mark.slow), pytest.param("c", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[SLOW_GO, SLOW_C, "wat"])
def echo(request) -> coop.Module:
    return loaded(BUILT[request.param]())


@pytest.fixture(scope="module")
def go_echo() -> coop.Module:
    return loaded(BUILT["go"]())


@pytest.fixture(scope="module")
def wat_echo() -> coop.Module:
    return loaded(BUILT["wat"]())


@pytest.fixture(scope="module")
def ticker() -> coop.Module:
    return loaded(TICKER / "guest.wat")


@pytest.fixture(scope="module")
def backpressure() -> coop.Module:
    return loaded(c_guest(ROOT / "tests" / "guests" / "backpressure.c"))


@pytest.fixture(scope="module", params=[SLOW_C, "wat"])
def inetd(request) -> coop.Module:
    return loaded(c_guest(INETD / "guest.c") if request.param == "c" else INETD / "guest.wat")


def reset(sock: socket.socket) -> None:
    """Close so that the peer gets RST and not an orderly end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def started(guest: coop.Guest) -> tuple[str, int]:
    """Let a server of one task start, and return its address."""
    while not guest.addresses:
        coop.pause()
    host, port = guest.addresses[0]
    return host, port


def receive(conn: coop.Conn, size: int) -> bytes:
    got = bytearray()
    while len(got) < size and (data := conn.recv(size - len(got))):
        got += data
    return bytes(got)


def talk(address: tuple[str, int], number: int, rounds: int) -> int:
    """One client that checks its own bytes; messages of every size, sent and awaited in turn."""
    rng = random.Random(number)
    moved = 0
    with coop.connect(address) as conn:
        for _ in range(rounds):
            message = rng.randbytes(rng.choice((1, 10, 100, 1000, 5000)))
            conn.sendall(message)
            assert receive(conn, len(message)) == message, f"client {number} got other bytes back"
            moved += len(message)
        conn.shutdown()
        assert conn.recv() == b""
    return moved


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.seed("S12", "T26")
def test_many_clients_at_once_each_get_their_own_bytes_while_a_ticker_ticks(echo, ticker, poller):
    clients = 100 if poller == "hostpoll" else 10
    ticks: list[bytes] = []

    def main():
        ticking = coop.spawn(coop.Guest(ticker, stdout=ticks.append).run)
        guest = coop.Guest(echo, listen=["127.0.0.1:0"], stderr="inherit")
        server = coop.spawn(guest.run)
        address = started(guest)
        with coop.TaskGroup() as group:
            talks = [group.spawn(talk, address, number, 8) for number in range(clients)]
        while not ticks:
            coop.sleep(0.01)
        for task in (server, ticking):
            assert not task.is_done
            task.cancel()
        return [task.wait() for task in talks]

    assert len(coop.run(main, poller=poller)) == clients
    assert ticks[0] == b"tick 1\n"


@pytest.mark.slow
@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.seed("S12")
def test_the_ticker_inside_go_ticks_while_its_clients_are_served(poller, go_echo):
    said: list[bytes] = []

    def main():
        guest = coop.Guest(
            go_echo, listen=["127.0.0.1:0"], args=["tick=5ms"], stdout=said.append, stderr="inherit"
        )
        server = coop.spawn(guest.run)
        address = started(guest)
        with coop.TaskGroup() as group:
            for number in range(10):
                group.spawn(talk, address, number, 20)
        count = len(said)
        while len(said) < count + 3:
            coop.sleep(0.005)
        server.cancel()

    coop.run(main, poller=poller)
    assert b"".join(said).startswith(b"tick 1\ntick 2\n")


def test_clients_that_break_off_at_any_point_leave_the_others_alone(echo):
    def main():
        guest = coop.Guest(echo, listen=["127.0.0.1:0"], stderr="inherit")
        server = coop.spawn(guest.run)
        address = started(guest)

        def rude(number: int) -> None:
            sock = socket.create_connection(address)
            if number % 3:
                sock.sendall(b"x" * 1000 * (number % 3))
            coop.pause()
            reset(sock)

        with coop.TaskGroup() as group:
            for number in range(40):
                group.spawn(rude, number)
                group.spawn(talk, address, number, 3)
        assert not server.is_done
        server.cancel()

    coop.run(main)


@pytest.mark.parametrize("poller", POLLERS)
def test_a_client_that_never_reads_parks_only_its_own_stream(echo, poller):
    def main():
        guest = coop.Guest(echo, listen=["127.0.0.1:0"], stderr="inherit")
        server = coop.spawn(guest.run)
        address = started(guest)
        with coop.connect(address) as greedy:
            greedy.set_write_deadline(0.3)
            # Far more than all buffers on the way hold.
            with pytest.raises(coop.DeadlineExceeded) as stuck:
                greedy.sendall(bytes(range(256)) * (1 << 20))
            assert stuck.value.sent >= 1 << 20
            talk(address, 1, 20)
            # What it is owed comes in full, in order, as soon as it reads.
            start = receive(greedy, 1 << 20)
            assert start == bytes(range(256)) * 4096
        assert not server.is_done
        server.cancel()

    coop.run(main, poller=poller)


@pytest.mark.slow
@pytest.mark.parametrize("poller", POLLERS)
def test_a_c_guest_owes_64_mib_to_one_client_and_echoes_to_the_other_meanwhile(poller, backpressure):
    said = bytearray()
    owed = 64 << 20
    expected = bytes(range(251)) * 1000

    def main():
        guest = coop.Guest(backpressure, listen=["127.0.0.1:0"], stderr=said)
        server = coop.spawn(guest.run)
        address = started(guest)
        with coop.connect(address) as taker, coop.connect(address) as talker:
            while b"blocked" not in said:
                coop.sleep(0.001)
            for number in range(200):
                talker.sendall(b"%d" % number)
                assert talker.recv() == b"%d" % number
            assert said == b"blocked\n"
            buffer, at = bytearray(len(expected)), 0
            while at < owed:
                count = taker.recv_into(buffer)
                assert count, f"the stream ended after {at} bytes"
                # The byte at offset i is i modulo 251.
                where = at % 251
                whole = expected[where : where + count]
                assert buffer[: len(whole)] == whole
                at += count
            talker.close()
            code = server.wait()
            return at, code

    assert coop.run(main, poller=poller) == (owed, 0)
    assert said == b"blocked\ndone %d\n" % owed


def test_one_guest_per_client_with_both_streams_on_the_connection(inetd):
    def serve(conn: coop.Conn) -> None:
        with conn:
            assert coop.Guest(inetd, stdin=conn, stdout=conn).run() == 0

    def main():
        with coop.listen("127.0.0.1:0") as listener, coop.TaskGroup() as group:

            def accept() -> None:
                for _ in range(20):
                    group.spawn(serve, listener.accept())

            group.spawn(accept)
            for number in range(20):
                group.spawn(talk, listener.address[:2], number, 5)

    coop.run(main)


def test_a_server_that_is_cancelled_closes_its_clients(wat_echo):
    def main():
        guest = coop.Guest(wat_echo, listen=["127.0.0.1:0"])
        server = coop.spawn(guest.run)
        with coop.connect(started(guest)) as client:
            client.sendall(b"x")
            assert client.recv() == b"x"
            server.cancel()
            return client.recv()

    assert coop.run(main) == b""
