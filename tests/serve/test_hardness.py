"""Clients and guests that misbehave or give up, and what is left of them: nothing."""

import http.client
import os
import socket
import ssl
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import h11
import pytest

import coop
from coop.serve import Instances, ServeLimits, Server
from coop.wasip2 import Guest
from tests.serve.certificate import make_certificate
from tests.serve.conftest import exchange, get


def asked(address, data: bytes, wait: float = 0.1) -> socket.socket:
    """A connection on which a request was sent a moment ago."""
    sock = socket.create_connection(address, timeout=20)
    sock.sendall(data)
    time.sleep(wait)
    return sock


def await_guest(server) -> None:
    """Wait until a guest of a watched server is at work on a request."""
    until = time.monotonic() + 60
    while not server.alive():
        assert time.monotonic() < until
        coop.sleep(0.01)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# -- who gives up


@pytest.mark.parametrize("leave", [reset, socket.socket.close])
@pytest.mark.parametrize("path", ["/hang", "/half", "/endless", "/echo", "/slow", "/spin", "/late"])
@pytest.mark.parametrize("wait", [0.0, 0.3])
def test_nothing_is_left_of_a_client_that_leaves(watched, path: str, leave, wait: float):
    data = get(path, "Content-Length: 100", method="POST") if path == "/echo" else get(path)
    server = watched(pause_seconds=0.3)
    server.run(lambda address: leave(asked(address, data, wait)))
    assert server.alive() == 0


@pytest.mark.parametrize("leave", [reset, socket.socket.close])
@pytest.mark.parametrize("path", ["/hang", "/half", "/spin"])
def test_nothing_is_left_of_a_client_whose_body_was_not_read(watched, path: str, leave):
    data = get(path, "Content-Length: 100000", method="POST") + b"x" * 100_000
    server = watched(pause_seconds=0.3)
    server.run(lambda address: leave(asked(address, data)))
    assert server.alive() == 0


@pytest.mark.parametrize("path", ["/hang", "/half", "/spin", "/endless"])
def test_a_guest_that_never_ends_is_ended_with_the_server(watched, path: str):
    server = watched()
    kept = []

    def main():
        running = Server(Instances(server.make), limits=ServeLimits())
        address = running.listen("127.0.0.1:0")
        task = coop.spawn(running.run, 0.3)
        kept.append(coop.run_in_thread(asked, address, get(path)))
        await_guest(server)
        began = time.monotonic()
        running.stop()
        task.wait()
        return time.monotonic() - began

    try:
        assert 0.2 < coop.run(main) < 5
        assert server.alive() == 0
    finally:
        kept[0].close()


def test_a_server_that_is_full_ends_too(watched):
    server = watched(connections=1)

    def main():
        running = Server(Instances(server.make), limits=ServeLimits(connections=1))
        address = running.listen("127.0.0.1:0")
        task = coop.spawn(running.run, 0.2)
        sock = coop.run_in_thread(asked, address, get("/hang"))
        await_guest(server)
        running.stop()
        task.wait()
        return sock

    coop.run(main).close()
    assert server.alive() == 0


def test_requests_in_progress_are_answered_before_the_server_ends(watched):
    server = watched()

    def main():
        running = Server(Instances(server.make))
        address = running.listen("127.0.0.1:0")
        task = coop.spawn(running.run)
        idle = coop.run_in_thread(asked, address, b"")
        sock = coop.run_in_thread(asked, address, get("/slow"))
        await_guest(server)
        running.stop()
        task.wait()
        with sock, idle:
            return coop.run_in_thread(sock.recv, 1000), coop.run_in_thread(idle.recv, 10)

    answer, nothing = coop.run(main)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert nothing == b""


def test_a_client_that_comes_as_the_server_ends_does_not_hold_it_up(component):
    def main():
        running = Server(Instances(lambda: Guest(component)))
        address = running.listen("127.0.0.1:0")
        task = coop.spawn(running.run)
        coop.pause()
        with socket.create_connection(address):
            coop.pause()
            running.stop()
            began = time.monotonic()
            task.wait()
            return time.monotonic() - began

    assert coop.run(main) < 3


LONG_ENOUGH = coop.Limits(wall_time=3)
"""For a guest to begin its answer, also on a machine that has much else to do."""


@pytest.mark.parametrize(
    ("limits", "path"),
    [(coop.Limits(wall_time=0.3), "/hang"), (coop.Limits(cpu_time=0.3), "/spin")],
)
def test_a_limit_reached_before_the_answer_is_a_500(watched, limits, path: str):
    server = watched()
    server.given = {"limits": limits}
    assert server.run(lambda address: exchange(address, get(path))).startswith(b"HTTP/1.1 500 ")
    assert server.alive() == 0


def test_a_limit_reached_within_the_answer_cuts_it(watched):
    server = watched()
    server.given = {"limits": LONG_ENOUGH}
    answer = server.run(lambda address: exchange(address, get("/half")))
    assert answer.endswith(b"4\r\nhalf\r\n")


def test_a_cut_answer_to_an_old_client_is_a_reset(watched):
    server = watched()
    server.given = {"limits": LONG_ENOUGH}
    with pytest.raises(ConnectionResetError):
        server.run(lambda address: exchange(address, get("/half", version="1.0")))


@pytest.mark.parametrize(("path", "status"), [("/refuse", 500), ("/dropped", 500), ("/odd", 500)])
def test_an_answer_that_is_none_is_a_500(watched, path: str, status: int):
    answer = watched().run(lambda address: exchange(address, get(path, "Connection: close")))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


def test_what_a_guest_keeps_of_one_request_does_no_harm_to_the_next(watched):
    def client(address):
        return [exchange(address, get(path, "Connection: close")) for path in ("/kept", "/seen", "/hello")]

    kept, *others = watched().run(client, reuse=10)
    assert kept.startswith(b"HTTP/1.1 200 ")
    assert kept.endswith(b"\r\n0\r\n\r\n")  # the handler is done, so its body is, as on native wasmtime
    assert [each.split(b"\r\n\r\n", 1)[1] for each in others] == [
        *(b"1\r\n2\r\n0\r\n\r\n", b"6\r\nhello\n\r\n0\r\n\r\n")
    ]


def test_what_a_guest_leaves_shorter_than_it_promised_is_not_taken_for_whole(watched):
    def client(address):
        short = http.client.HTTPConnection(*address, timeout=20)
        short.request("GET", "/kept-short")
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            short.getresponse().read()
        short.close()
        return exchange(address, get("/hello", "Connection: close"))

    assert watched().run(client, reuse=10).endswith(b"hello\n\r\n0\r\n\r\n")


# -- bodies that nobody wants


def test_the_answer_reaches_a_client_whose_large_body_is_not_read(serve):
    def client(address):
        answers = []
        for _ in range(5):
            with socket.create_connection(address, timeout=20) as sock:
                with suppress(OSError):
                    sock.sendall(get("/hello", "Content-Length: 3000000", method="POST"))
                    sock.sendall(bytes(3_000_000))
                answers.append(sock.recv(1000)[:15])
        return answers

    assert serve(client) == [b"HTTP/1.1 200 OK"] * 5


def test_a_connection_goes_on_after_a_small_body_that_was_not_read(serve):
    def client(address):
        connection = http.client.HTTPConnection(*address, timeout=20)
        try:
            statuses = []
            for _ in range(3):
                connection.request("POST", "/hello", b"x" * 100_000)
                response = connection.getresponse()
                response.read()
                statuses.append((response.status, connection.sock is not None))
            return statuses
        finally:
            connection.close()

    assert serve(client) == [(200, True)] * 3


def test_a_client_that_waits_to_go_on_is_answered_and_left(serve):
    answer = serve(
        lambda address: exchange(
            address, get("/hello", "Content-Length: 5", "Expect: 100-continue", method="POST")
        )
    )
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in answer.lower()


def expectant(path: str, address: tuple[str, int]) -> bytes:
    """Ask to be told to go on, send neither the body nor an end, and return the answer."""
    data = get(path, "Content-Length: 5", "Expect: 100-continue", method="POST")
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(data)
        return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.mark.parametrize("path", ["/hello", "/trap"])
def test_the_server_closes_when_it_has_answered_a_client_that_was_not_told_to_go_on(serve, path: str):
    answer = serve(lambda address: expectant(path, address))
    assert answer.startswith((b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 500 Internal"))


def test_a_guest_that_reads_when_it_has_answered_does_not_wait_for_a_body_that_never_comes(watched):
    answer = watched().run(lambda address: expectant("/afterwards", address))
    assert answer.endswith(b"\r\n5\r\nearly\r\n0\r\n\r\n")


def test_a_body_that_is_announced_too_long_is_a_413(serve):
    data = get("/echo", "Content-Length: 10001", method="POST") + bytes(10001)
    answer = serve(lambda address: exchange(address, data), body_bytes=10_000)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_in_chunks_that_is_too_long_ends_its_connection_at_once(serve):
    data = get("/echo", "Transfer-Encoding: chunked", method="POST") + b"1000\r\n" + bytes(4096) + b"\r\n"
    began = time.monotonic()
    answer = serve(lambda address: exchange(address, data + b"2000\r\n" + bytes(8192)), body_bytes=10_000)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert time.monotonic() - began < 10, "the client is not waited for"


def test_a_body_of_single_bytes_costs_no_more_than_its_length(serve):
    data = get("/echo", "Transfer-Encoding: chunked", "Connection: close", method="POST")
    data += b"1\r\nx\r\n" * 60_000 + b"0\r\n\r\n"
    began = time.monotonic()
    answer = serve(lambda address: exchange(address, data))
    assert answer.count(b"x") >= 60_000
    assert time.monotonic() - began < 20


def test_a_client_that_does_not_take_the_answer_loses_its_connection(watched):
    server = watched(pause_seconds=0.3)

    def client(address):
        until = time.monotonic() + 60
        with asked(address, get("/endless")):
            while not any(guest.state.value == "ended" for guest in server.guests):
                assert time.monotonic() < until
                time.sleep(0.02)
            return server.alive()

    assert server.run(client) == 0


# -- framing


def both(serve, request: bytes) -> tuple[bytes, bytes]:
    """Send a request and, when the head of its answer is there, another one; return the head and the rest."""

    def client(address):
        with socket.create_connection(address, timeout=20) as sock:
            sock.sendall(request)
            received = b""
            while b"\r\n\r\n" not in received:
                received += sock.recv(65536)
            sock.sendall(get("/hello", "Connection: close"))
            while data := sock.recv(65536):
                received += data
        return received.split(b"\r\n\r\n", 1)

    return tuple(serve(client))


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_none(serve, status: int):
    first, rest = both(serve, get(f"/{status}"))
    assert first.startswith(f"HTTP/1.1 {status} ".encode())
    assert rest.startswith(b"HTTP/1.1 200 OK")
    assert (b"content-length" in first) == (status == 304)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_trailers_that_have_no_place_are_left_out(serve, version: str):
    for path in ("/counted", "/trailers")[: 2 if version == "1.0" else 1]:
        data = get(path, "Connection: close", version=version)
        answer = serve(lambda address, data=data: exchange(address, data))
        assert answer.endswith(b"\r\n\r\nbody")


def test_a_head_request_gets_the_length_and_no_body(serve):
    first, rest = both(serve, get("/counted", method="HEAD"))
    assert b"content-length: 4" in first
    assert rest.startswith(b"HTTP/1.1 200 OK")


def test_a_length_without_a_body_is_not_promised(serve):
    first, rest = both(serve, get("/bodiless"))
    assert b"content-length: 0" in first
    assert rest.startswith(b"HTTP/1.1 200 OK")
    first, rest = both(serve, get("/bodiless", method="HEAD"))
    assert b"content-length: 4" in first


def test_a_length_is_no_trailer(serve):
    answer = serve(lambda address: exchange(address, get("/misplaced")))
    assert answer.endswith(b"\r\n0\r\nx-sum: 42\r\n\r\n")


@pytest.mark.parametrize("path", ["/endless", "/half"])
def test_a_body_that_is_not_sent_and_never_ends_holds_nobody_up(watched, path: str):
    server = watched()

    def client(address):
        with socket.create_connection(address, timeout=20) as sock:
            sock.sendall(get(path, method="HEAD"))
            received = sock.recv(65536)
            sock.sendall(get("/hello", "Connection: close"))
            while data := sock.recv(65536):
                received += data
        return received

    first, rest = server.run(client).split(b"\r\n\r\n", 1)
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert rest.startswith(b"HTTP/1.1 200 OK")
    assert server.alive() == 0  # of those that answered too


@pytest.mark.parametrize(
    "head",
    [
        get("/echo", "Content-Length: 5", "Transfer-Encoding: chunked", method="POST") + b"0\r\n\r\n",
        get("/echo", "Transfer-Encoding: chunked", method="POST", version="1.0") + b"0\r\n\r\n",
        get("/echo", "Transfer-Encoding: chunked, chunked", method="POST") + b"0\r\n\r\n",
        get("/echo", "Transfer-Encoding : chunked", method="POST") + b"0\r\n\r\n",
        get("/echo", "Content-Length: +5", method="POST") + b"abcde",
        get("/echo", "Content-Length: 5", "Content-Length: 6", method="POST") + b"abcde",
        get("/echo", "Host: b"),
        get("http://[/x"),
        get("http:///x"),
        get("ftp://a/x"),
        get("hello"),
        get("*"),
        get("http://u:p@a/x"),
        get("/hello").replace(b"Host: a", b"Host: a b"),
        get("/hello").replace(b"Host: a", b"Host: u@a"),
        get("/hello", "X: a\x00b"),
        get("/hello", "X: a\x01b"),
        get("/hello", "X: a\x7fb", method="HEAD"),
    ],
)
def test_a_request_that_two_servers_could_take_differently_is_refused(serve, head: bytes):
    answer = serve(lambda address: exchange(address, head + get("/hello")))
    assert answer[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 501"}
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("size", [b"-1", b"0x3", b"g", b"", b"fffffffffffffffffffffffff", b" 3"])
def test_an_odd_chunk_is_no_body_and_no_next_request(serve, size: bytes):
    data = get("/echo", "Transfer-Encoding: chunked", method="POST") + size + b"\r\nabc\r\n0\r\n\r\n"
    answer = serve(lambda address: exchange(address, data + get("/hello")))
    assert b"abc" not in answer
    assert b"hello" not in answer


def test_a_proxys_request_names_its_host_itself(serve):
    answer = serve(
        lambda address: exchange(
            address, b"GET http://b.example:8?x=y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
    )
    assert b"no /?x=y" in answer


# -- many


def test_two_hundred_requests_leave_nothing_behind(watched):
    server = watched(pause_seconds=0.3)
    fds = len(os.listdir("/proc/self/fd"))

    def one(address, i: int) -> None:
        path = ("/hello", "/echo", "/large", "/hang", "/half", "/trap", "/late", "/short")[i % 8]
        with suppress(OSError):
            sock = asked(address, get(path, "Content-Length: 9", method="POST"), 0.02 * (i % 3))
            try:
                if i % 5 == 0:
                    reset(sock)
                elif i % 5 < 3 and path not in {"/hang", "/half"}:
                    sock.sendall(b"123456789")
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(65536):
                        pass
            finally:
                sock.close()

    def client(address):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: one(address, i), range(200)))

    server.run(client)
    assert server.alive() == 0
    assert len(server.guests) > 100
    assert len(os.listdir("/proc/self/fd")) <= fds


def test_h11_understands_every_answer(serve):
    def client(address):
        found = []
        for path in ("/hello", "/large", "/trailers", "/counted", "/204", "/nowhere"):
            machine = h11.Connection(h11.CLIENT)
            with socket.create_connection(address, timeout=20) as sock:
                head = h11.Request(method="GET", target=path, headers=[("Host", "a")])
                sock.sendall(machine.send(head) + machine.send(h11.EndOfMessage()))
                events, size = [], 0
                while not events or not isinstance(events[-1], h11.EndOfMessage):
                    event = machine.next_event()
                    if event is h11.NEED_DATA:
                        machine.receive_data(sock.recv(65536))
                        continue
                    size += len(event.data) if isinstance(event, h11.Data) else 0
                    events.append(event)
                found.append((events[0].status_code, size, list(events[-1].headers)))
        return found

    assert serve(client) == [
        (200, 6, []),
        (200, 1_000_000, []),
        (200, 4, [(b"x-sum", b"42")]),
        (200, 4, []),
        (204, 0, []),
        (404, 12, []),
    ]


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def test_https_is_served(serve, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    trusts = ssl.create_default_context(cafile=certificate[0])
    data = os.urandom(300_000)

    def client(address):
        connection = http.client.HTTPSConnection("localhost", address[1], timeout=20, context=trusts)
        try:
            found = []
            for _ in range(3):
                connection.request("POST", "/echo", data)
                found.append(connection.getresponse().read() == data)
            connection.request("GET", "/head")
            return found, connection.getresponse().read().split()[:2]
        finally:
            connection.close()

    assert serve(client, context=context) == ([True] * 3, [b"Method_Get()", b"Scheme_Https()"])


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01"])
def test_a_client_without_tls_gets_nothing_and_holds_nothing_up(serve, certificate, said: bytes):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def client(address):
        with socket.create_connection(address, timeout=20) as sock:
            sock.sendall(said)
            return b"HTTP" in sock.recv(1000)

    assert serve(client, context=context, head_seconds=0.3) is False


# -- clients that send without a pause


def test_a_client_that_sends_empty_lines_and_nothing_else_is_refused(serve):
    found = serve(lambda address: exchange(address, b"\r\n" * 150))
    assert found.startswith(b"HTTP/1.1 400 ")
    assert b"empty lines" in found


def test_empty_lines_within_reason_are_none_of_anybodys_business(serve):
    found = serve(lambda address: exchange(address, b"\r\n" * 100 + get("/head", "Connection: close")))
    assert found.startswith(b"HTTP/1.1 200 ")


def test_a_refusal_does_not_say_all_that_was_sent(serve, logged):
    answer = serve(lambda address: exchange(address, get("/head", "\x01" * 60_000)))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert len(answer) < 1000
    assert all(len(str(line)) < 1000 for line in logged)


@pytest.mark.parametrize(("end", "status"), [("[", 400), ("#", 404), (":1:", 400)])
def test_a_target_is_taken_apart_at_once_however_long(serve, end: str, status: int):
    data = get("http://" + "a" * 100_000 + end)  # an expression that tries all ways to part it takes a minute
    answer = serve(lambda address: exchange(address, data), head_bytes=1 << 20)
    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_a_head_of_blanks_that_takes_long_to_find_illegal_is_refused_at_once(serve):
    data = get("/head", "X:" + " " * 60_000 + "\x00")
    assert b"blanks in a row" in serve(lambda address: exchange(address, data))


@pytest.mark.parametrize("path", ["/sum", "/refuse"])
def test_a_body_in_very_many_chunks_keeps_nobody_waiting(component, monkeypatch, path: str):
    """A piece of it is ten thousand events, none of which parks who reads it."""
    data = get(path, "Transfer-Encoding: chunked", "Connection: close", method="POST")
    data += b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    events, next_event = 0, h11.Connection.next_event

    def counted(connection: h11.Connection):
        nonlocal events
        events += 1
        return next_event(connection)

    monkeypatch.setattr(h11.Connection, "next_event", counted)

    def main() -> int:
        server = Server(Instances(lambda: Guest(component)), limits=ServeLimits())
        address = server.listen("127.0.0.1:0")
        with coop.TaskGroup() as group:
            group.spawn(server.run)
            most = last = 0
            client = group.spawn(coop.run_in_thread, exchange, address, data)
            while not client.is_done:
                coop.pause()
                most, last = max(most, events - last), events
            assert client.wait().startswith(b"HTTP/1.1 ")
            server.stop()
        return most

    most = coop.run(main)
    assert events > 20_000
    assert most < 5_000
