"""Requests that come before the answer to the one before: the first is answered whole, and is the last."""

import http.client
import shutil
import socket
import ssl
import subprocess
from contextlib import closing

import pytest

from tests.serve.certificate import make_certificate
from tests.serve.conftest import exchange, get

CHUNKED = get("/gate", "Transfer-Encoding: chunked", method="POST")


class Client:
    """A client that says bytes as they are, and waits for others."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""

    def until(self, end: bytes) -> bytes:
        """Return what comes up to `end`, which has to come."""
        while end not in self.rest:
            data = self.sock.recv(65536)
            assert data, self.rest
            self.rest += data
        found, _, self.rest = self.rest.partition(end)
        return found + end

    def to_the_end(self) -> bytes:
        """Return what comes until the server has closed."""
        while data := self.sock.recv(65536):
            self.rest += data
        return self.rest

    def ask(self, request: bytes, *body: bytes, end: bytes) -> bytes:
        self.sock.sendall(request)
        for piece in body:
            self.sock.sendall(piece)
        return self.until(end)


@pytest.fixture
def talk(serve):
    """Let a function talk to a server as a `Client`, and return what it returns."""

    def play(act, **given):
        def client(address):
            with socket.create_connection(address, timeout=20) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return act(Client(sock))

        return serve(client, **given)

    return play


# -- what is refused


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_only_the_first_of_requests_sent_at_once_is_answered(serve, method: str):
    first = get("/hello", "Content-Length: 3" if method == "POST" else "X: y", method=method)
    many = first + (b"abc" if method == "POST" else b"") + get("/none") * 50
    answer = serve(lambda address: exchange(address, many))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert answer.endswith(b"\r\n\r\n" if method == "HEAD" else b"6\r\nhello\n\r\n0\r\n\r\n")


def test_what_came_with_the_end_of_a_body_is_refused_after_a_head_that_left(talk, logged):
    def act(client):
        client.ask(CHUNKED, b"1\r\nx\r\n", end=b"first\r\n")
        client.sock.sendall(b"0\r\n\r\n" + get("/hello"))
        return client.to_the_end()

    assert talk(act) == b"6\r\nsecond\r\n0\r\n\r\n"
    (line,) = (line for line in logged if line["event"] == "request")
    assert (line["status"], line["pipelined"]) == (200, "refused")


def test_one_that_comes_while_the_guest_works_is_refused(talk, logged):
    def act(client):
        client.sock.sendall(get("/slow"))
        client.sock.sendall(get("/hello"))
        return client.to_the_end()

    answer = talk(act)
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"4\r\nslow\r\n0\r\n\r\n")
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert [line.get("pipelined") for line in logged if line["event"] == "request"] == ["refused"]


def test_a_request_that_asks_for_another_protocol_is_as_others(serve):
    upgrade = get("/hello", "Connection: upgrade", "Upgrade: h2c")
    answer = serve(lambda address: exchange(address, upgrade + get("/none")))
    assert answer.count(b"HTTP/1.1") == 1
    assert b"\r\nconnection: close\r\n" in answer.lower()


def test_a_client_that_goes_on_sending_gets_the_whole_answer(talk):
    def act(client):
        client.sock.sendall(get("/large"))
        for _ in range(100):
            client.sock.sendall(get("/hello") * 1000)
        return client.to_the_end()  # and no reset

    answer = talk(act)
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.count(b"x") >= 1_000_000
    assert answer.endswith(b"0\r\n\r\n")


def test_it_is_refused_over_tls_as_well(serve, tmp_path):
    cert, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    trusts = ssl.create_default_context(cafile=cert)

    def client(address):
        with socket.create_connection(address, timeout=20) as sock:
            with trusts.wrap_socket(sock, server_hostname="localhost") as tls:
                tls.sendall(get("/hello") * 3)
                return Client(tls).to_the_end()  # which the server's goodbye tells

    answer = serve(client, context=context)
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert answer.endswith(b"hello\n\r\n0\r\n\r\n")


# -- what is not


def test_a_client_that_waits_is_served_whatever_its_bodies_are(talk, logged):
    def act(client):
        counted = get("/echo", "Content-Length: 4", method="POST")
        told = get("/echo", "Content-Length: 4", "Expect: 100-continue", method="POST")
        chunked = get("/echo", "Transfer-Encoding: chunked", method="POST")
        for _ in range(3):
            client.ask(counted + b"abcd", end=b"abcd\r\n0\r\n\r\n")
            client.ask(counted, b"ab", b"cd", end=b"abcd\r\n0\r\n\r\n")
            client.ask(told, end=b"HTTP/1.1 100 Continue\r\n\r\n")
            client.ask(b"abcd", end=b"abcd\r\n0\r\n\r\n")
            client.ask(chunked, b"2\r\nab\r\n", b"2\r\ncd\r\n0\r\nx: y\r\n\r\n", end=b"abcd\r\n0\r\n\r\n")
            client.ask(get("/204"), end=b"\r\n\r\n")
            client.ask(get("/304"), end=b"\r\n\r\n")
            client.ask(get("/hello", method="HEAD"), end=b"\r\n\r\n")
        return client.ask(get("/hello", "Connection: close"), end=b"hello\n\r\n0\r\n\r\n")

    assert talk(act, reuse=100)
    lines = [line for line in logged if line["event"] == "request"]
    assert len(lines) == 22
    assert not any("pipelined" in line for line in lines)


@pytest.mark.parametrize(("method", "end"), [("GET", b"told"), ("HEAD", b"\r\n\r\n")])
def test_who_has_all_that_was_promised_need_not_wait_for_the_guest(talk, method: str, end: bytes):
    def act(client):
        client.ask(get("/told", method=method), end=end)
        return client.ask(get("/hello"), end=b"hello\n\r\n0\r\n\r\n")

    assert talk(act).startswith(b"HTTP/1.1 200 OK\r\n")


def test_who_has_the_answer_before_all_of_its_body_was_sent_goes_on(talk):
    def act(client):
        client.ask(get("/hello", "Content-Length: 4", method="POST"), b"ab", end=b"hello\n\r\n0\r\n\r\n")
        return client.ask(b"cd" + get("/hello"), end=b"hello\n\r\n0\r\n\r\n")

    assert talk(act).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "pieces", [[b"\r\n"], [b"\r", b"\n"], [b"\r\n\r\n"], [b"\r\n", b"\r", b"\n\r", b"\n"]]
)
def test_empty_lines_before_a_request_are_passed_over(talk, pieces: list[bytes]):
    def act(client):
        client.sock.sendall(pieces[0])
        request = get("/echo", "Content-Length: 2", method="POST")
        for _ in range(3):
            client.ask(*pieces[1:], request + b"ab", end=b"ab\r\n0\r\n\r\n")
            client.sock.sendall(pieces[0])
        return client.ask(*pieces[1:], get("/hello"), end=b"hello\n\r\n0\r\n\r\n")

    assert talk(act).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("pieces", [[b"\r\n"], [b"\r", b"\n"]])
def test_an_empty_line_behind_a_body_is_no_request(talk, pieces: list[bytes]):
    def act(client):
        request = get("/echo", "Content-Length: 2", method="POST")
        for _ in range(3):
            client.ask(request, b"ab" + pieces[0], *pieces[1:], end=b"ab\r\n0\r\n\r\n")
        return client.ask(get("/hello"), end=b"hello\n\r\n0\r\n\r\n")

    assert talk(act).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("data", [b"\r", b"\n", b" \r\n", b"\r\r\n"])
def test_other_bytes_before_a_request_are_none(serve, data: bytes):
    assert serve(lambda address: exchange(address, data + get("/hello"))).startswith(b"HTTP/1.1 400 ")


def test_empty_lines_alone_end_quietly(serve):
    for data in (b"\r\n", b"\r", b"\r\n\r\n\r"):
        assert serve(lambda address, data=data: exchange(address, data)) == b""


def test_ordinary_clients_keep_their_connection(serve):
    curl = shutil.which("curl")

    def client(address):
        with closing(http.client.HTTPConnection(*address, timeout=20)) as connection:
            ports = set()
            for body in (b"x", b"y" * 300_000, iter([b"one", b"two"])):
                connection.request("POST", "/echo", body, encode_chunked=not isinstance(body, bytes))
                ports.add(connection.sock.getsockname())
                connection.getresponse().read()
        if curl is None:
            return len(ports), None
        place = f"http://{address[0]}:{address[1]}"
        urls = [f"{place}/{path}" for path in ("hello", "echo", "told", "304", "seen")]
        args = [curl, "-sS", "--max-time", "30", "-d", "z" * 5000, "-w", "%{num_connects}"]
        done = [subprocess.run([*args, *urls], capture_output=True, check=True).stdout]
        args += ["-H", "Expect: 100-continue"]
        args += [f"{place}/echo", f"{place}/echo"]
        done += [subprocess.run(args, capture_output=True, check=True).stdout]
        return len(ports), done

    ports, said = serve(client)
    assert ports == 1
    if said is None:
        pytest.skip("curl is not installed")
    body = b"z" * 5000
    assert said == [b"hello\n1" + body + b"0told00" + b"10", body + b"1" + body + b"0"]
