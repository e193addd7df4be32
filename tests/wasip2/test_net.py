"""TCP in sync style over the handles of WASI 0.2, as a runtime inside a guest would have it."""

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

import coop
from coop.engine import Limits
from coop.errors import Closed, DeadlineExceeded
from coop.scheduler import scheduler
from coop.sources import Clocks, SystemRandom
from coop.wasip2 import Network
from coop.wasip2.pollables import Pollable
from coop.wasip2.sockets.net import Net
from coop.wasip2.sockets.network import InstanceNetwork
from coop.wasip2.world import World
from coop.wit.interface import hold_of

POLLERS = ("hostpoll", "oneoff", "pollset")

pytestmark = pytest.mark.parametrize("poller", POLLERS)


def play(poller: str, act: Callable[[Net], Any], network: Network | None = None) -> Any:
    """Run a function with a network of its own."""

    def main() -> Any:
        world = World(
            scheduler(),
            Limits(),
            [],
            [],
            Clocks(),
            SystemRandom(),
            lambda _: pytest.fail("no stream is opened"),
            [],
            network or Network.all(),
        )
        try:
            found = act(Net(world))
            assert len(world.files) == 0, "something was not closed"
            return found
        finally:
            world.close()

    return coop.run(main, poller=poller)


def serve(listener: coop.Listener, count: int = 1) -> None:
    """Give back what comes, until the client ends."""
    for _ in range(count):
        with listener.accept() as conn:
            while data := conn.recv():
                conn.sendall(data)


@pytest.mark.seed("U9", "U16")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_dialled_connection_reads_and_writes(poller: str, host: str):
    def act(net: Net) -> bytes:
        with coop.listen((host, 0)) as listener, coop.TaskGroup() as group:
            group.spawn(serve, listener)
            with net.dial(host, listener.address[1]) as stream:
                assert stream.write(b"one") == 3
                return stream.read()

    assert play(poller, act) == b"one"


@pytest.mark.seed("U9")
def test_a_refused_connection_is_the_systems_error_and_leaves_nothing(poller: str):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        def act(net: Net) -> None:
            with pytest.raises(ConnectionRefusedError, match=f"dial 127.0.0.1:{port}"):
                net.dial("127.0.0.1", port)

        play(poller, act)


def test_what_is_not_allowed_is_told(poller: str):
    def act(net: Net) -> None:
        with pytest.raises(OSError, match=r"dial 127\.0\.0\.1:1: access-denied"):
            net.dial("127.0.0.1", 1)

    play(poller, act, Network(listen=["127.0.0.1:0"]))


@pytest.mark.seed("U10", "U11", "U16")
def test_a_listener_accepts_one_after_the_other(poller: str):
    def act(net: Net) -> list[bytes]:
        with net.listen("127.0.0.1", 0) as acceptor:
            found = []
            for text in (b"a", b"b"):
                with coop.connect(acceptor.address) as client:
                    client.sendall(text)
                    with acceptor.accept() as stream:
                        found.append(stream.read())
            return found

    assert play(poller, act) == [b"a", b"b"]


@pytest.mark.seed("U11")
def test_accepting_waits_for_a_client_while_others_run_and_ends_with_the_listener(poller: str):
    def act(net: Net) -> list[str]:
        order = []

        def come() -> None:
            order.append("another ran")
            coop.connect(acceptor.address).close()

        with net.listen("127.0.0.1", 0) as acceptor, coop.TaskGroup() as group:
            group.spawn(come)
            acceptor.accept().close()
            order.append("accepted")
        with pytest.raises(Closed, match="accept: use of closed network connection"):
            acceptor.accept()
        return order

    assert play(poller, act) == ["another ran", "accepted"]


@pytest.mark.seed("U10")
def test_a_port_in_use_is_an_error_and_leaves_nothing(poller: str):
    def act(net: Net) -> None:
        with coop.listen("127.0.0.1:0") as listener, pytest.raises(OSError, match=r"listen on 127\.0\.0\.1"):
            net.listen("127.0.0.1", listener.address[1])

    play(poller, act)


@pytest.mark.seed("U12")
def test_reading_waits_and_tells_the_end_as_nothing(poller: str):
    def act(net: Net) -> list[bytes]:
        def speak() -> None:
            with listener.accept() as conn:
                coop.sleep(0.02)
                conn.sendall(b"late")

        with coop.listen("127.0.0.1:0") as listener, coop.TaskGroup() as group:
            group.spawn(speak)
            with net.dial("127.0.0.1", listener.address[1]) as stream:
                assert stream.read(0) == b""
                return [stream.read(), stream.read()]

    assert play(poller, act) == [b"late", b""]


@pytest.mark.seed("U13")
def test_much_is_written_to_a_slow_reader_and_is_out_when_it_is_closed(poller: str):
    data = os.urandom(3_000_000)

    def act(net: Net) -> bytes:
        received = bytearray()

        def take() -> None:
            with listener.accept() as conn:
                while piece := conn.recv(100_000):
                    received.extend(piece)
                    coop.sleep(0.0005)

        with coop.listen("127.0.0.1:0") as listener, coop.TaskGroup() as group:
            group.spawn(take)
            with net.dial("127.0.0.1", listener.address[1]) as stream:
                assert stream.write(data) == len(data)
        return bytes(received)

    assert play(poller, act) == data


@pytest.mark.seed("T23", "U14")
def test_closing_drops_streams_before_the_socket_and_each_once(poller: str, monkeypatch):
    dropped: list[str] = []

    def act(net: Net) -> None:
        with coop.listen("127.0.0.1:0") as listener, coop.TaskGroup() as group:
            group.spawn(serve, listener)
            stream = net.dial("127.0.0.1", listener.address[1])
            for each in (*stream._others, stream._handle):
                kind = type(each)
                real = kind.drop
                monkeypatch.setattr(
                    kind, "drop", lambda self, real=real: (dropped.append(type(self).__name__), real(self))
                )
            handle = stream._handle
            stream.close()
            assert hold_of(handle).children == 0
            with pytest.raises(Closed, match="close: use of closed network connection"):
                stream.close()
            for use in (stream.read, lambda: stream.write(b"x")):
                with pytest.raises(Closed):
                    use()

    play(poller, act)
    assert dropped == ["TcpInput", "TcpOutput", "TcpSocket"]


@pytest.mark.seed("T23", "U11", "U15", "U16")
def test_a_deadline_ends_a_wait_and_one_that_is_past_begins_none(poller: str, monkeypatch):
    def act(net: Net) -> None:
        with net.listen("127.0.0.1", 0) as acceptor:
            began = scheduler().now_ns()
            acceptor.set_deadline(0.02)
            with pytest.raises(DeadlineExceeded, match="accept: i/o timeout"):
                acceptor.accept()
            assert scheduler().now_ns() - began >= 20_000_000
            monkeypatch.setattr(Pollable, "__init__", lambda *_: pytest.fail("something is waited for"))
            with pytest.raises(DeadlineExceeded):
                acceptor.accept()
            monkeypatch.undo()
            acceptor.set_deadline(None)
            with coop.connect(acceptor.address), acceptor.accept() as stream:
                stream.set_read_deadline(0.01)
                with pytest.raises(DeadlineExceeded, match="read: i/o timeout"):
                    stream.read()
                assert stream.write(b"x") == 1

    play(poller, act)


@pytest.mark.seed("U8")
def test_the_network_is_taken_once_when_it_is_first_needed(poller: str, monkeypatch):
    taken = []
    real = InstanceNetwork.instance_network
    monkeypatch.setattr(InstanceNetwork, "instance_network", lambda self: (taken.append(1), real(self))[1])

    def act(net: Net) -> None:
        assert taken == []
        for _ in range(3):
            with net.listen("127.0.0.1", 0):
                pass

    play(poller, act)
    assert taken == [1]
