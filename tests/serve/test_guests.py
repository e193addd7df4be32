"""Guests that answer late, twice, too much or not at all, and clients that leave them in the middle."""

import signal
import socket
import struct
import time

import pytest

import coop
from coop.scheduler import scheduler
from coop.serve import Instances, Server
from coop.wasip2 import Guest
from tests.serve.conftest import exchange, get

KERNELS_ROOM = 32 << 20
"""More than the kernel holds of a connection that nobody reads."""

BAD = ("warning", "error")


def troubles(logged) -> list[str]:
    """What was logged that may surprise."""
    return [line["event"] for line in logged if line["level"] in BAD]


# -- what a guest answers


def test_a_guest_that_traps_before_its_answer_is_a_500_and_is_told_of(watched, logged):
    assert watched().run(lambda address: exchange(address, get("/trap"))).startswith(b"HTTP/1.1 500 ")
    assert troubles(logged) == ["handler trapped", "request failed"]
    assert [line["status"] for line in logged if line["event"] == "request"] == [500]


def test_what_is_asked_behind_a_request_does_not_change_how_it_fails(watched):
    asked = get("/trap") + get("/hello", method="HEAD")
    answer = watched().run(lambda address: exchange(address, asked))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"\r\n\r\nthe request could not be answered\n")


def test_a_guest_that_traps_within_its_answer_cuts_it(watched, logged):
    answer = watched().run(lambda address: exchange(address, get("/broken")))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"4\r\nhalf\r\n")
    assert troubles(logged) == ["handler trapped"]
    assert [line["event"] for line in logged if "status" in line] == ["request cut short"]


def test_a_second_answer_ends_the_guest_and_leaves_the_first(watched, logged):
    answer = watched().run(lambda address: exchange(address, get("/twice")))
    assert answer.endswith(b"4\r\nonce\r\n0\r\n\r\n")
    assert troubles(logged) == ["handler trapped"]


def test_no_more_is_sent_than_was_promised(watched):
    answer = watched().run(lambda address: exchange(address, get("/more")))
    assert b"\r\ncontent-length: 4\r\n" in answer.lower()
    assert answer.endswith(b"\r\n\r\nmore")


def test_what_a_guest_wrote_arrives_after_its_end_however_slowly_it_is_taken(watched):
    """Nothing of the guest runs when its handler has returned; what it wrote by then is sent to the end."""
    server = watched()

    def client(address):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(20)
            sock.connect(address)
            sock.sendall(get("/large", "Connection: close"))
            received = b""
            while data := sock.recv(10_000):
                received += data
        return received

    answer = server.run(client)
    assert answer.count(b"x") == 1_000_000 + answer.count(b"text")
    assert answer.endswith(b"\r\n0\r\n\r\n")


def test_a_guest_cannot_put_a_line_into_a_head(watched):
    answer = watched().run(lambda address: exchange(address, get("/inject")))
    assert answer.endswith(b"\r\nHeaderError_InvalidSyntax\r\n0\r\n\r\n")
    assert b"x-two" not in answer


@pytest.mark.parametrize(
    ("trailers", "found"),
    [(b"", b"None"), (b"X-Sum: 42\r\n", b"[('x-sum', b'42')]"), (b"Connection: close\r\n", b"None")],
)
def test_trailers_of_a_request_reach_the_guest(watched, trailers: bytes, found: bytes):
    data = get("/sum", "Transfer-Encoding: chunked", "Connection: close", method="POST")
    data += b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n"
    assert b"3 " + found in watched().run(lambda address: exchange(address, data))


def test_very_many_trailers_are_none(watched):
    data = get("/sum", "Transfer-Encoding: chunked", "Connection: close", method="POST")
    data += b"3\r\nabc\r\n0\r\n" + b"X:\n" * 5_000 + b"\r\n"
    answer = watched().run(lambda address: exchange(address, data))
    assert answer.startswith(b"HTTP/1.1 500 ")  # the guest was told, and did not expect it


# -- clients that leave


def leave(sock: socket.socket, *, at_once: bool) -> None:
    if at_once:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_a_guest_hears_that_a_body_broke_off(watched, logged):
    def client(address):
        data = get("/reads", "Content-Length: 100", method="POST") + b"some"
        with socket.create_connection(address, timeout=20) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
        return exchange(address, get("/told-of"))

    answer = watched(pause_seconds=20.0).run(client, reuse=10)
    assert b"StreamError_LastOperationFailed" in answer
    assert "handler trapped" not in troubles(logged)


@pytest.mark.parametrize("path", ["/reads", "/writes"])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_client_that_vanishes_is_no_trouble(watched, logged, path: str, at_once: bool):
    server = watched(pause_seconds=0.2)

    def client(address):
        sock = socket.create_connection(address, timeout=20)
        sock.sendall(get(path, "Content-Length: 100", method="POST") + b"some")
        if path == "/writes":
            assert sock.recv(1000)
        leave(sock, at_once=at_once)

    server.run(client)
    assert server.alive() == 0
    assert troubles(logged) == []


def test_a_client_that_asked_for_another_protocol_takes_its_guest_along_too(watched):
    server = watched()

    def client(address):
        sock = socket.create_connection(address, timeout=20)
        sock.sendall(get("/hang", "Connection: upgrade", "Upgrade: h2c"))
        until = time.monotonic() + 20
        while not server.alive() and time.monotonic() < until:
            time.sleep(0.02)
        leave(sock, at_once=True)

    server.run(client)
    assert server.alive() == 0


def test_a_client_that_takes_nothing_parks_the_guest_and_nothing_grows(watched, logged):
    def client(address):
        with socket.create_connection(address, timeout=20) as sock:
            sock.sendall(get("/endless"))
            until = time.monotonic() + 20
            while not any("status" in line for line in logged):
                assert time.monotonic() < until
                time.sleep(0.02)

    server = watched(pause_seconds=1.0)
    server.run(client)
    (line,) = (line for line in logged if "status" in line)
    assert line["event"] == "request cut short"
    assert line["bytes"] < KERNELS_ROOM


# -- the end of a server


def test_idle_connections_are_closed_when_the_server_ends_and_do_not_hold_it_up(component):
    def main():
        server = Server(Instances(lambda: Guest(component)))
        address = server.listen("127.0.0.1:0")
        task = coop.spawn(server.run)
        sock = coop.run_in_thread(kept_alive, address)
        server.stop()
        task.wait()
        with sock:
            return coop.run_in_thread(sock.recv, 10)

    def kept_alive(address):
        sock = socket.create_connection(address, timeout=20)
        sock.sendall(get("/told"))
        received = b""
        while not received.endswith(b"told"):
            received += sock.recv(1000)
        sock.sendall(get("/told"))  # the server is idle again, or about to be
        while received.count(b"\r\n\r\ntold") < 2:
            received += sock.recv(1000)
        return sock

    assert coop.run(main) == b""


def test_a_server_whose_task_is_cancelled_keeps_no_guest(watched):
    kept = watched()

    def main():
        server = Server(Instances(kept.make, reuse=10))
        with coop.connect(server.listen("127.0.0.1:0")) as client:
            task = coop.spawn(server.run)
            client.sendall(get("/"))
            client.recv()
            assert kept.alive() == 1
            task.cancel()  # the client's connection is idle, and open
            with pytest.raises(coop.WasCancelled):
                task.wait()
        return kept.alive()

    assert coop.run(main) == 0


@pytest.mark.parametrize("where", ["another thread", "a signal's handler", "the hub"])
def test_a_server_may_be_stopped_from_anywhere(component, where: str):
    server = Server(Instances(lambda: Guest(component)))

    def main():
        server.listen("127.0.0.1:0")
        task = coop.spawn(server.run)
        coop.pause()
        if where == "another thread":
            coop.run_in_thread(server.stop)
        elif where == "a signal's handler":
            signal.raise_signal(signal.SIGUSR1)
        else:
            scheduler().post(server.stop)
        task.wait()
        return server.is_ending

    before = signal.signal(signal.SIGUSR1, lambda *_: server.stop())
    try:
        assert coop.run(main)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_a_server_cannot_do_it_refuses_in_words(component):
    server = Server(Instances(lambda: Guest(component)))
    with pytest.raises(TypeError, match=r"^instances: a coop\.HttpGuests wanted, not function$"):
        Server(lambda: Guest(component))
    with pytest.raises(coop.BugError, match="does not listen: call its `listen` before"):
        coop.run(server.run)

    def main():
        server.listen("127.0.0.1:0")
        with pytest.raises(coop.BugError, match=r":1234: a server listens at one address, and once"):
            server.listen("127.0.0.1:1234")
        server.stop()
        server.run()

    coop.run(main)


@pytest.mark.parametrize(
    ("make", "options", "error", "words"),
    [
        ("component", {}, TypeError, "make: a function to call wanted, not Guest"),
        (Guest, {"reuse": 0}, ValueError, "reuse: 0 is not 1 or more"),
        (Guest, {"reuse": "3"}, TypeError, "reuse: a whole number wanted, not str"),
        (Guest, {"idle": -1}, ValueError, "idle: -1 is not 0 or more"),
    ],
)
def test_what_cannot_keep_guests_is_told_where_it_is_asked_for(component, make, options, error, words):
    with pytest.raises(error, match=words):
        Instances(Guest(component) if make == "component" else make, **options)


def test_what_makes_no_guest_is_named():
    def main():
        instances = Instances(lambda: None)
        with pytest.raises(TypeError, match=r"^make: a coop\.ComponentGuest wanted, not NoneType$"):
            instances.take()

    coop.run(main)
