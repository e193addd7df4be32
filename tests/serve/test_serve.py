"""`coop.serve` and its clients: what a request says, what an answer is, and who gives up when."""

import http.client
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

import coop
from coop.serve import Instances, Server
from coop.wasip2 import Guest
from tests.serve.conftest import exchange


def ask(address, method: str, path: str, body: bytes | None = None, **headers: str):
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_a_request_is_answered(serve):
    status, body, headers = serve(lambda address: ask(address, "GET", "/hello"))
    assert (status, body) == (200, b"hello\n")
    assert headers["content-type"] == "text/plain"
    assert "date" in headers


def test_a_guest_is_told_what_was_asked(serve):
    status, body, _ = serve(
        lambda address: ask(address, "PATCH", "/head", b"", **{"X-One": "1", "Upgrade": "x"})
    )
    first, *fields = body.decode().splitlines()
    assert (status, first.split()[0], first.split()[1]) == (200, "Method_Patch()", "Scheme_Http()")
    assert "x-one: 1" in fields
    assert not any(line.startswith(("host:", "upgrade:", "connection:")) for line in fields)


@pytest.mark.parametrize("size", [0, 1, 5000, 300_000])
def test_a_body_comes_back(serve, size: int):
    data = bytes(i % 251 for i in range(size))
    assert serve(lambda address: ask(address, "POST", "/echo", data))[:2] == (200, data)


def test_a_chunked_body_comes_back(serve):
    def client(address):
        with closing(http.client.HTTPConnection(*address, timeout=20)) as connection:
            connection.request("POST", "/echo", iter([b"one", b"two" * 5000]), encode_chunked=True)
            return connection.getresponse().read()

    assert serve(client) == b"one" + b"two" * 5000


def test_trailers_follow_a_body(serve):
    head = b"GET /trailers HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTE: trailers\r\n\r\n"
    answer = serve(lambda address: exchange(address, head))
    assert answer.endswith(b"4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n")


def test_a_head_request_has_no_body(serve):
    status, body, headers = serve(lambda address: ask(address, "HEAD", "/hello"))
    assert (status, body, headers["content-type"]) == (200, b"", "text/plain")


def test_a_connection_carries_many_requests(serve):
    def client(address):
        with closing(http.client.HTTPConnection(*address, timeout=20)) as connection:
            bodies = []
            for _ in range(5):
                connection.request("GET", "/hello")
                bodies.append(connection.getresponse().read())
            return bodies

    assert serve(client) == [b"hello\n"] * 5


@pytest.mark.parametrize(("reuse", "seen"), [(1, [b"1"] * 5), (3, [b"1", b"2", b"3", b"1", b"2"])])
def test_each_request_has_a_fresh_guest_unless_it_may_be_used_again(component, reuse: int, seen: list[bytes]):
    def main():
        instances = Instances(lambda: Guest(component), reuse=reuse)
        server = Server(instances)
        address = server.listen("127.0.0.1:0")
        found = []
        with coop.TaskGroup() as group:
            group.spawn(server.run)
            for _ in range(5):
                found.append(coop.run_in_thread(ask, address, "GET", "/seen")[1])
                while len(instances._idle) < len(instances._served):
                    coop.pause()  # a guest may return from its handler after its answer has come
            server.stop()
        return found

    assert coop.run(main) == seen


def test_clients_are_served_at_once(serve):
    def client(address):
        with ThreadPoolExecutor(8) as pool:
            return [f.result()[:2] for f in [pool.submit(ask, address, "GET", "/hello") for _ in range(24)]]

    assert serve(client) == [(200, b"hello\n")] * 24


@pytest.mark.parametrize("path", ["/trap", "/silent"])
def test_a_guest_that_fails_is_a_500_and_the_server_goes_on(serve, path: str):
    def client(address):
        return [ask(address, "GET", each)[:2] for each in (path, "/hello")]

    assert serve(client) == [(500, b"the request could not be answered\n"), (200, b"hello\n")]


def test_a_body_that_is_not_finished_is_not_taken_for_whole(serve):
    def client(address):
        with pytest.raises(http.client.IncompleteRead):
            ask(address, "GET", "/short")
        return ask(address, "GET", "/hello")[0]

    assert serve(client) == 200


def test_a_client_that_waits_is_told_to_go_on(serve):
    def client(address):
        with socket.create_connection(address, timeout=20) as sock:
            sock.sendall(
                b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
            )
            first = sock.recv(1000)
            sock.sendall(b"abc")
            return first, sock.recv(1000)

    first, second = serve(client)
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no host
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X:\n" * 5_000 + b"\r\n", 431),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ],
)
def test_what_is_no_request_is_refused_in_words(serve, data: bytes, status: int):
    answer = serve(lambda address: exchange(address, data))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]


@pytest.mark.parametrize("target", [b"/none?x=1#y/head", b"http://a/none?x=1#", b"/none?x=1##/../?"])
def test_a_fragment_is_none_of_the_guests_business(serve, target: bytes):
    asked = b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert b"\r\nno /none?x=1\n\r\n" in serve(lambda address: exchange(address, asked))


def test_a_client_that_drips_its_head_loses_its_connection(serve):
    def client(address):
        began = time.monotonic()
        with socket.create_connection(address, timeout=20) as sock:
            sock.settimeout(0.05)
            received = b""
            for byte in b"GET /hello HTTP/1.1\r\n" + b"X: y\r\n" * 1000:
                try:
                    sock.sendall(bytes([byte]))
                    received += sock.recv(1000)
                except TimeoutError:
                    continue
                except OSError:
                    break
                if received:
                    break
        return received, time.monotonic() - began

    received, took = serve(client, head_seconds=0.5)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert took < 10


@pytest.mark.parametrize("begin", [b"HEAD /hello HTTP/1.1\r\n", b"HEAD ", b"HEA", b"H"])
def test_a_head_request_that_never_came_whole_is_refused_without_a_body(serve, begin: bytes):
    def client(address):
        with socket.create_connection(address, timeout=20) as sock:
            sock.sendall(begin)
            received = b""
            while data := sock.recv(1000):
                received += data
        return received

    answer = serve(client, head_seconds=0.1)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.endswith(b"\r\n\r\n")


def test_a_client_that_asks_nothing_loses_its_connection(serve):
    def client(address):
        with socket.create_connection(address, timeout=20) as sock:
            return sock.recv(10)

    assert serve(client, idle_seconds=0.2) == b""


def test_a_body_that_is_too_long_is_cut(serve):
    assert (
        serve(lambda address: ask(address, "POST", "/echo", b"x" * 50_000), body_bytes=10_000)[1]
        != b"x" * 50_000
    )


def test_more_clients_than_allowed_wait(serve):
    def client(address):
        with socket.create_connection(address, timeout=20) as first:
            first.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            assert first.recv(10000)
            with socket.create_connection(address, timeout=20) as second:
                second.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                second.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    second.recv(10)
                first.close()
                second.settimeout(20)
                return second.recv(10)

    assert serve(client, connections=1) == b"HTTP/1.1 2"
