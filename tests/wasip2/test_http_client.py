"""wasi:http/outgoing-handler from a guest, against servers of other make, well and badly behaved."""

import http.server
import socket
import ssl
import struct
import threading
import time
from contextlib import contextmanager, suppress

import pytest

import coop
from coop.wasip2 import Network
from tests.serve.certificate import make_certificate
from tests.wasip2.web import PRELUDE, raw_server, read_head

LOOPBACK = Network(connect="127.0.0.1:*")
OK = b"HTTP/1.1 200 OK\r\n"


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what was asked."""

    protocol_version = "HTTP/1.1"
    timeout = 20

    def do_GET(self) -> None:
        size = int(self.headers.get("content-length", 0))
        body = self.rfile.read(size) or b"%s %s" % (self.command.encode(), self.path.encode())
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.server.trailers = []
            while (line := self.rfile.readline()) != b"\r\n":
                self.server.trailers.append(line)
        self.send_response(200)
        self.send_header("x-host", self.headers["host"])
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_POST = do_HEAD = do_PUT = do_GET  # noqa: N815 - names of the base

    def log_message(self, *_args) -> None:
        pass


@contextmanager
def echo_server(context: ssl.SSLContext | None = None):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.handle_error = lambda *_: None
        server.daemon_threads = False  # the end waits for them, which have connections to close
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def web(python):
    """Run code with the names of `tests.wasip2.web` in a guest that may connect to the loopback."""

    def play(code: str, network: Network | None = LOOPBACK, **given):
        return python(lambda run: [run(PRELUDE), run(code)][1], network=network, **given)

    return play


def fetched(web, serve, *, more: str = ""):
    """What the guest gets from a raw server."""
    with raw_server(serve) as authority:
        return web(f"result = fetch({authority!r}{more})")


def saying(data: bytes, *, stays: bool = False):
    """Return a server that answers with these bytes, whatever is asked; one that stays waits for the end."""

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        with suppress(ConnectionError):  # the client may have heard enough before it has all
            sock.sendall(data)
            if stays:
                sock.recv(1)

    return serve


# -- what goes well


def test_a_request_is_answered(web):
    with echo_server() as server:
        port = server.server_port
        found = web(f"""
response = answer(outgoing_handler.handle(request("127.0.0.1:{port}", "/a?b=c"), None))
host = response.headers().get("x-host")
result = host, whole(response)
""")
    assert found == ([f"127.0.0.1:{port}".encode()], (200, b"GET /a?b=c", "closed", None))


@pytest.mark.parametrize(("path", "sent"), [(None, b"/"), ("", b"/"), ("?q", b"/?q"), ("/", b"/")])
def test_a_path_always_begins_with_a_slash(web, path, sent):
    with echo_server() as server:
        found = web(f"result = fetch('127.0.0.1:{server.server_port}', {path!r})")
    assert found[1] == b"GET " + sent


@pytest.mark.parametrize("size", [0, 1, 300_000])
@pytest.mark.parametrize("counted", [True, False])
def test_bodies_go_both_ways(web, size: int, counted: bool):
    headers = f"[('content-length', b'{size}')]" if counted else "[('x', b'y')]"
    with echo_server() as server:
        found = web(f"""
sent = request("127.0.0.1:{server.server_port}", "/e", http.Method_Post(), {headers})
body = sent.body()
future = outgoing_handler.handle(sent, None)
data = bytes(i % 251 for i in range({size}))
write(body, data)
status, back, end, _ = whole(answer(future))
result = status, back == data or back, end
""")
    assert found == (200, True if size else b"POST /e" if counted else True, "closed")


@pytest.mark.parametrize("method", ["Get", "Head"])
@pytest.mark.parametrize("end", ["http.OutgoingBody.finish(body, None)", "drop(body)", ""])
def test_a_body_that_nobody_writes_is_none_where_few_expect_one(web, method: str, end: str):
    asked: list[bytes] = []

    def serve(sock: socket.socket) -> None:
        asked.append(read_head(sock))
        sock.sendall(OK + b"content-length: 0\r\n\r\n")

    with raw_server(serve) as authority:
        found = web(f"""
sent = request({authority!r}, "/", http.Method_{method}())
body = sent.body()
future = outgoing_handler.handle(sent, None)
{end}
status = answer(future).status()
result = status, type(tried(http.OutgoingBody.finish, body, None)).__name__ if {not end!r} else ""
""")
    assert found == (200, "" if end else "NoneType")
    assert b"transfer-encoding" not in asked[0].lower()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", ["Get", "Post"])
def test_a_body_that_is_written_is_sent_whatever_the_method(web, method: str, when: str):
    begin = "future = outgoing_handler.handle(sent, None)"
    with echo_server() as server:
        found = web(f"""
sent = request("127.0.0.1:{server.server_port}", "/", http.Method_{method}())
body = sent.body()
stream = body.write()
{begin if when == "after" else ""}
stream.check_write()
stream.write(b"abc")
{begin if when == "before" else ""}
drop(stream)
http.OutgoingBody.finish(body, None)
result = whole(answer(future))
""")
    assert found == (200, b"abc", "closed", None)


def test_trailers_go_both_ways(web):
    with echo_server() as server:
        web(f"""
sent = request("127.0.0.1:{server.server_port}", "/e", http.Method_Post())
body = sent.body()
future = outgoing_handler.handle(sent, None)
write(body, b"abc", fields(("x-sum", b"6")))
result = whole(answer(future))
""")
        assert server.trailers == [b"x-sum: 6\r\n"]
    trailed = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n"
    assert fetched(web, saying(trailed)) == (200, b"abc", "closed", [("x-sum", b"6")])


def test_an_answer_to_head_has_no_body(web):
    with echo_server() as server:
        found = web(f"result = fetch('127.0.0.1:{server.server_port}', method=http.Method_Head())")
    assert found == (200, b"", "closed", None)


def test_a_body_without_a_length_ends_with_the_connection(web):
    assert fetched(web, saying(b"HTTP/1.0 200 OK\r\n\r\nabc")) == (200, b"abc", "closed", None)


def test_what_comes_before_the_answer_is_passed_over(web):
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 3
    found = fetched(web, saying(hints + OK + b"content-length: 1\r\n\r\nx"))
    assert found == (200, b"x", "closed", None)


def test_fields_of_the_connection_are_not_the_guests(web):
    data = OK + b"connection: close\r\nkeep-alive: 1\r\ncontent-length: 0\r\nx-y: z\r\n\r\n"
    with raw_server(saying(data)) as authority:
        found = web(f"""
response = answer(outgoing_handler.handle(request({authority!r}), None))
result = response.headers().entries()
""")
    assert found == [("content-length", b"0"), ("x-y", b"z")]


def test_many_requests_at_once_are_polled_together(web):
    with echo_server() as server:
        found = web(f"""
futures = [
    outgoing_handler.handle(request("127.0.0.1:{server.server_port}", f"/{{i}}"), None) for i in range(20)
]
left, result = dict(enumerate(futures)), []
while left:
    keys = list(left)
    pollables = [left[k].subscribe() for k in keys]
    ready = [keys[i] for i in poll.poll(pollables)]
    drop(*pollables)
    for k in ready:
        result.append((k, whole(left.pop(k).get().value.value)[1]))
""")
    assert sorted(found) == [(i, b"GET /%d" % i) for i in range(20)]


def test_a_slow_reader_slows_the_server_down(web):
    sent = []

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(OK + b"content-length: 33554432\r\n\r\n")
        sock.settimeout(0.5)
        try:
            for _ in range(512):
                sock.sendall(bytes(65536))
                sent.append(65536)
        except OSError:
            pass

    with raw_server(serve) as authority:
        web(f"""
response = answer(outgoing_handler.handle(request({authority!r}), None))
body = response.consume()
stream = body.stream()
stream.blocking_read(10)
monotonic_clock.subscribe_duration(800_000_000).block()
""")
    assert sum(sent) < 32 << 20


def test_a_slow_server_slows_the_guest_down(web):
    got = []

    def serve(sock: socket.socket) -> None:
        got.append(len(read_head(sock)))
        time.sleep(0.5)
        while data := sock.recv(65536):
            got.append(len(data))
            if data.endswith(b"0\r\n\r\n"):
                break
        sock.sendall(OK + b"content-length: 0\r\n\r\n")

    with raw_server(serve) as authority:
        found = web(f"""
sent = request({authority!r}, "/", http.Method_Post())
body = sent.body()
began = monotonic_clock.now()
future = outgoing_handler.handle(sent, None)
write(body, bytes(16 << 20))
result = monotonic_clock.now() - began, whole(answer(future))
""")
    assert found[0] > 300_000_000
    assert found[1] == (200, b"", "closed", None)
    assert sum(got) > 16 << 20


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_a_server_that_answers_early_hears_the_rest(web, more: str):
    got, has_all = [], threading.Event()

    def early(sock: socket.socket) -> None:
        data = read_head(sock)
        sock.sendall(OK + more.encode() + b"content-length: 2\r\n\r\nok")
        while not data.endswith(b"\r\n0\r\n\r\n") and (piece := sock.recv(65536)):
            data += piece
        got.append(data.count(b"x"))
        has_all.set()
        got.append(sock.recv(10))

    def late(sock: socket.socket) -> None:
        has_all.wait(20)
        saying(OK + b"content-length: 0\r\n\r\n")(sock)

    with raw_server(early) as authority, raw_server(late) as other:
        found = web(f"""
sent = request({authority!r}, "/", http.Method_Post())
body = sent.body()
response = answer(outgoing_handler.handle(sent, None))
found = whole(response)
drop(response)
write(body, b"x" * (2 << 20))
fetch({other!r})
result = found
""")
    assert found == (200, b"ok", "closed", None)
    assert got == [2 << 20, b""]


def test_a_server_that_answers_early_and_leaves_ends_the_body(web):
    with raw_server(saying(OK + b"content-length: 2\r\n\r\nok")) as authority:
        found = web(f"""
sent = request({authority!r}, "/", http.Method_Post())
body = sent.body()
found = whole(answer(outgoing_handler.handle(sent, None)))
stream = body.write()
try:
    while True:
        stream.blocking_write_and_flush(bytes(4096))
except Err as error:
    result = found, code(error)
""")
    assert found == ((200, b"ok", "closed", None), "Closed")


def test_what_was_written_just_before_the_end_is_not_lost(web):
    with echo_server() as server:
        found = web(f"""
sent = request("127.0.0.1:{server.server_port}", "/e", http.Method_Post(), [("content-length", b"65536")])
body = sent.body()
stream = body.write()
first = stream.check_write()
stream.write(bytes(65535))
second = stream.check_write()
stream.write(bytes(1))
third = stream.check_write()
drop(stream)
http.OutgoingBody.finish(body, None)
back = whole(answer(outgoing_handler.handle(sent, None)))
result = first, second, third, len(back[1])
""")
    assert found == (65536, 1, 0, 65536)


# -- what goes wrong at the other end


def resetting(sock: socket.socket) -> None:
    read_head(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("serve", "code"),
    [
        (saying(b""), "ConnectionTerminated"),
        (resetting, "ConnectionTerminated"),
        (saying(b"HTTP/1.1 200 "), "HttpResponseIncomplete"),
        (saying(b"nonsense\r\n\r\n"), "HttpProtocolError"),
        (saying(OK + b"content-length: x\r\n\r\n"), "HttpProtocolError"),
        (saying(OK + b"content-length: 0\r\nx: a\x01b\r\n\r\n"), "HttpProtocolError"),
        (saying(OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n"), "HttpProtocolError"),
        (saying(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"), "HttpProtocolError"),
        (saying(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"), "HttpProtocolError"),
        (saying(OK + b"Transfer-Encoding: gzip\r\n\r\n"), "HttpResponseTransferCoding"),
        (saying(OK + b"x: " + b"y" * 600_000), "HttpResponseHeaderSectionSize"),
        (saying(OK + b"x:\n" * 5_000 + b"\n"), "HttpResponseHeaderSectionSize"),
    ],
)
def test_an_answer_that_does_not_come_has_a_code(web, serve, code: str):
    assert fetched(web, serve) == code


@pytest.mark.parametrize(
    ("data", "some", "code"),
    [
        (OK + b"content-length: 9\r\n\r\nabc", b"abc", "HttpResponseIncomplete"),
        (CHUNKED + b"3\r\nabc\r\n", b"abc", "HttpResponseIncomplete"),
        (CHUNKED + b"3\r\nabc\r\nz\r\n", b"abc", "HttpProtocolError"),
        (CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n", b"abc", "HttpProtocolError"),
    ],
)
def test_a_body_that_breaks_off_is_not_taken_for_whole(web, data: bytes, some: bytes, code: str):
    assert fetched(web, saying(data)) == (200, some, code, code)


def test_a_body_cut_by_a_reset_is_not_taken_for_whole(web):
    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nabc")
        time.sleep(0.3)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert fetched(web, serve) == (200, b"abc", "ConnectionTerminated", "ConnectionTerminated")


def test_nobody_listening_is_connection_refused(web):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert web(f"result = fetch('127.0.0.1:{port}')") == "ConnectionRefused"


@pytest.mark.parametrize(
    ("serve", "timeouts", "expected"),
    [
        (saying(b"", stays=True), "first_byte=100", "ConnectionReadTimeout"),
        (saying(b"HTTP/1.1 100 Continue\r\n\r\n", stays=True), "first_byte=100", "ConnectionReadTimeout"),
        (
            saying(OK + b"content-length: 9\r\n\r\nabc", stays=True),
            "between_bytes=100",
            (200, b"abc", "ConnectionReadTimeout", "ConnectionReadTimeout"),
        ),
    ],
)
def test_a_server_that_pauses_too_long_is_given_up(web, serve, timeouts: str, expected):
    began = time.monotonic()
    assert fetched(web, serve, more=f", given=options({timeouts})") == expected
    assert time.monotonic() - began < 10


def test_an_answer_that_drips_has_one_time_for_its_head(web):
    def serve(sock: socket.socket) -> None:
        read_head(sock)
        try:
            for _ in range(30):
                sock.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
                time.sleep(0.1)
        except OSError:
            pass

    assert fetched(web, serve, more=", given=options(first_byte=400)") == "ConnectionReadTimeout"


def test_a_server_that_is_slow_but_in_time_is_heard(web):
    def serve(sock: socket.socket) -> None:
        read_head(sock)
        for piece in (OK, b"content-length: 2\r\n\r\n", b"a", b"b"):
            time.sleep(0.1)
            sock.sendall(piece)

    more = ", given=options(connect=20_000, first_byte=20_000, between_bytes=20_000)"
    assert fetched(web, serve, more=more) == (200, b"ab", "closed", None)


def test_connecting_takes_no_longer_than_it_may(web):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = [socket.socket() for _ in range(4)]
        try:
            for other in others:
                other.setblocking(False)
                other.connect_ex(full.getsockname())
            time.sleep(0.1)
            port = full.getsockname()[1]
            found = web(f"result = fetch('127.0.0.1:{port}', given=options(connect=200))")
        finally:
            for other in others:
                other.close()
    assert found == "ConnectionTimeout"


# -- the guest gives up


def gone(sock: socket.socket) -> None:
    """Expect the client to leave."""
    read_head(sock)
    try:
        assert sock.recv(1000) == b""
    except ConnectionResetError:
        pass


def test_dropping_the_future_ends_the_request(web):
    with raw_server(gone) as authority:
        web(f"""
future = outgoing_handler.handle(request({authority!r}), None)
monotonic_clock.subscribe_duration(200_000_000).block()
drop(future)
monotonic_clock.subscribe_duration(50_000_000).block()
""")


def test_dropping_a_future_at_once_ends_the_request_and_frees_the_writer(web):
    found = web("""
sent = request("127.0.0.1:1", "/", http.Method_Post())
body = sent.body()
drop(outgoing_handler.handle(sent, None))
stream = body.write()
result = tried(stream.blocking_write_and_flush, b"x")
""")
    assert found == "Closed"


def test_dropping_the_body_of_an_answer_ends_the_request_while_the_guest_lives(web):
    has_left = threading.Event()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(OK + b"content-length: 9\r\n\r\nabc")
        try:
            assert sock.recv(1000) == b""
        except ConnectionResetError:
            pass
        has_left.set()

    def late(sock: socket.socket) -> None:
        assert has_left.wait(20)
        saying(OK + b"content-length: 0\r\n\r\n")(sock)

    with raw_server(serve) as authority, raw_server(late) as other:
        web(f"""
response = answer(outgoing_handler.handle(request({authority!r}), None))
drop(response)
fetch({other!r})
""")


def test_a_request_whose_body_is_given_up_ends_at_once(web):
    with raw_server(gone) as authority:
        found = web(f"""
sent = request({authority!r}, "/", http.Method_Post())
body = sent.body()
future = outgoing_handler.handle(sent, None)
monotonic_clock.subscribe_duration(100_000_000).block()
drop(body)
result = answer(future)
""")
    assert found == ("InternalError", "the body was dropped before it was finished")


def test_a_guest_that_ends_leaves_nothing_behind(web):
    with raw_server(gone, clients=3) as authority:
        web(f"""
kept = [outgoing_handler.handle(request({authority!r}), None) for _ in range(3)]
monotonic_clock.subscribe_duration(200_000_000).block()
""")


def test_requests_under_way_count_as_open_files(web):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        authority = f"127.0.0.1:{silent.getsockname()[1]}"
        found = web(
            f"result = [tried(outgoing_handler.handle, request({authority!r}), None) for _ in range(9)][-1]",
            limits=coop.Limits(fds=8),
        )
    assert found == "ConnectionLimitReached"


# -- where a request may go


def test_nothing_is_allowed_unless_it_is_named(web):
    code = "result = tried(outgoing_handler.handle, request('127.0.0.1:1'), None)"
    assert web(code, None) == "HttpRequestDenied"
    assert web(code, Network(connect="127.0.0.1:2")) == "HttpRequestDenied"
    assert web(code, Network(connect="127.0.0.1:1", tcp=False)) == "HttpRequestDenied"
    assert web("result = fetch('127.0.0.1:1')", Network(connect="127.0.0.1:1")) == "ConnectionRefused"


def test_a_name_has_to_be_allowed_and_so_has_what_it_stands_for(web):
    code = "result = tried(outgoing_handler.handle, request('localhost:1'), None)"
    assert web(code, LOOPBACK) == "HttpRequestDenied"
    fetch = "result = fetch('localhost:1')"
    assert web(fetch, Network(names="localhost")) == "DestinationIpProhibited"
    assert web(fetch, Network(names="localhost", connect="192.0.2.1:*")) == "DestinationIpProhibited"
    both = Network(names="localhost", connect=["127.0.0.1:1", "[::1]:1"])
    assert web(fetch, both) == "ConnectionRefused"


@pytest.mark.parametrize("host", ["127.1", "0x7f.0.0.1", "2130706433"])
def test_an_address_in_other_spelling_is_judged_as_what_it_is(web, host: str):
    assert web(f"result = fetch('{host}:1')", Network(names="*")) == "DestinationIpProhibited"


def test_a_name_that_is_none_is_a_dns_error(web):
    found = web("result = fetch('no-such-name.invalid')", Network(names="*", connect="*:*"))
    assert found == "DestinationUnavailable" or "DnsError" in str(found)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("r.set_authority(None)", "HttpRequestUriInvalid"),
        ("r.set_authority('127.0.0.1:99999')", "HttpRequestUriInvalid"),
        ("r.set_authority('127.0.0.1:0')", "HttpRequestUriInvalid"),
        ("r.set_authority('a..b')", "HttpRequestUriInvalid"),
        ("r.set_scheme(http.Scheme_Other('ftp'))", "HttpProtocolError"),
        ("r.set_method(http.Method_Connect())", "HttpRequestMethodInvalid"),
        ("r.set_method(http.Method_Other('CONNECT'))", "HttpRequestMethodInvalid"),
    ],
)
def test_a_request_that_cannot_be_sent_is_refused_at_once(web, change: str, code: str):
    found = web(f"""
r = request("127.0.0.1:1")
{change}
result = tried(outgoing_handler.handle, r, None)
""")
    assert found == code


# -- HTTPS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def server_context(certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def https(web, authority: str, network=None, **given):
    network = network or Network(names="*", connect="127.0.0.1:*")
    return web(f"result = fetch({authority!r}, scheme=http.Scheme_Https())", network, **given)


def test_https_works_with_a_certificate_that_the_embedder_trusts(web, certificate, server_context):
    trusts = ssl.create_default_context(cafile=certificate[0])
    with echo_server(server_context) as server:
        found = https(web, f"localhost:{server.server_port}", tls=trusts)
    assert found == (200, b"GET /", "closed", None)


def test_a_certificate_that_nobody_vouches_for_is_refused(web, server_context):
    with echo_server(server_context) as server:
        assert https(web, f"localhost:{server.server_port}") == "TlsCertificateError"


def test_a_certificate_of_another_host_is_refused(web, certificate, server_context):
    trusts = ssl.create_default_context(cafile=certificate[0])
    with echo_server(server_context) as server:
        assert https(web, f"127.0.0.1:{server.server_port}", tls=trusts) == "TlsCertificateError"


def test_a_server_without_tls_is_a_protocol_error(web):
    with raw_server(lambda sock: [sock.recv(1), sock.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")]) as authority:
        assert https(web, authority) == "TlsProtocolError"


def test_a_server_that_leaves_during_the_handshake_is_gone(web):
    with raw_server(lambda sock: sock.recv(65536)) as authority:
        assert https(web, authority) == "ConnectionTerminated"


def test_an_alert_of_the_server_is_told(web, certificate, server_context):
    server_context.maximum_version = ssl.TLSVersion.TLSv1_2
    trusts = ssl.create_default_context(cafile=certificate[0])
    trusts.minimum_version = ssl.TLSVersion.TLSv1_3
    with echo_server(server_context) as server:
        found = https(web, f"localhost:{server.server_port}", tls=trusts)
    assert found[0] == "TlsAlertReceived" if isinstance(found, tuple) else "TlsAlertReceived" in found
    assert "protocol version" in str(found)


def test_a_handshake_takes_no_longer_than_connecting_may(web):
    def serve(sock: socket.socket) -> None:
        with suppress(ConnectionError):
            while sock.recv(65536):
                pass

    with raw_server(serve) as authority:
        found = web(f"result = fetch({authority!r}, given=options(connect=200), scheme=http.Scheme_Https())")
    assert found == "ConnectionTimeout"


def test_a_body_that_only_the_connection_ends_needs_a_goodbye_of_tls(web, certificate, server_context):
    trusts = ssl.create_default_context(cafile=certificate[0])

    def serve(sock: socket.socket, *, says_goodbye: bool) -> None:
        with server_context.wrap_socket(sock, server_side=True) as secured:
            read_head(secured)
            secured.sendall(b"HTTP/1.0 200 OK\r\n\r\nabc")
            if says_goodbye:
                secured.unwrap()

    network = Network(names="*", connect="127.0.0.1:*")
    ends = []
    for says_goodbye in (True, False):
        with raw_server(lambda sock, says=says_goodbye: serve(sock, says_goodbye=says)) as authority:
            authority = authority.replace("127.0.0.1", "localhost")
            ends.append(https(web, authority, network, tls=trusts)[1:3])
    assert ends == [(b"abc", "closed"), (b"abc", "HttpResponseIncomplete")]
