"""Error codes as guests are told them, those too that no disk and no loopback gives.

What fails is made up where it cannot be had; the way from there to the guest is the real one.
"""

import errno
import socket
import threading

import pytest

import coop
from coop.fs.memdir import MemDirectory
from coop.wasip2 import Network
from coop.wasip2.failure import Error
from coop.wasip2.filesystem.errorcode import ERROR_CODE as FILE_CODES
from coop.wasip2.filesystem.errorcode import FROM_HOST
from coop.wasip2.http.errorcode import HttpFailure
from coop.wasip2.http.interfaces import Types as Http
from coop.wasip2.sockets.network import NetworkInterface
from coop.wit import Interface, function, parse_type
from coop.wit.types import Enum, Variant
from tests.engine.component_wat import call
from tests.wasip2.net import player
from tests.wasip2.places import PRELUDE as FILES
from tests.wasip2.web import PRELUDE as WEB
from tests.wasip2.web import raw_server, read_head


def test_every_code_of_a_file_system_reaches_the_guest_by_its_name(python, monkeypatch):
    kind = parse_type(FILE_CODES)
    assert isinstance(kind, Enum)
    numbers = {code: number for number, code in FROM_HOST.items()}
    left = [numbers[name] for name in kind.names]

    def fail(*_args):
        raise OSError(left.pop(0), "made up")

    def act(run):
        run(FILES)
        monkeypatch.setattr(MemDirectory, "make_directory", fail)
        return run(f"result = [tried(lambda: root.create_directory_at('x')) for _ in range({len(left)})]")

    assert python(act, dirs=[coop.MemDir()]) == list(kind.names)
    assert not left


# -- sockets

SYSTEM = {
    errno.EPERM: "access-denied",
    errno.EOPNOTSUPP: "not-supported",
    errno.EINVAL: "invalid-argument",
    errno.ENOBUFS: "out-of-memory",
    errno.ETIMEDOUT: "timeout",
    errno.EADDRINUSE: "address-in-use",
    errno.ENETUNREACH: "remote-unreachable",
    errno.EHOSTUNREACH: "remote-unreachable",
    errno.ECONNREFUSED: "connection-refused",
    errno.ECONNRESET: "connection-reset",
    errno.ECONNABORTED: "connection-aborted",
    errno.EIO: "unknown",
}
"""What the kernel may say to somebody who connects, and what the guest is told."""


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "later"])
def test_what_a_kernel_says_of_a_connection_reaches_the_guest_by_its_name(python, monkeypatch, at_once):
    if at_once:
        monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: left.pop(0), raising=False)
    else:
        real = socket.socket.getsockopt

        def told(sock, level, option, *more):
            if option == socket.SO_ERROR and level == socket.SOL_SOCKET:
                return left.pop(0)
            return real(sock, level, option, *more)

        monkeypatch.setattr(socket.socket, "getsockopt", told, raising=False)
    left = list(SYSTEM)
    found = player(python)(
        lambda run: run(f"""
listener, result = listening(), []
for _ in range({len(left)}):
    sock = new()
    sock.start_connect(net, listener.local_address())
    sock.subscribe().block()
    result.append(error(sock.finish_connect))
""")
    )
    assert found == list(SYSTEM.values())


def test_a_stream_s_error_has_a_name_for_those_who_know_of_the_network():
    """`network-error-code` is written by hand: what builds components of Python cannot import it."""
    codes = NetworkInterface.named()["error-code"]
    assert isinstance(codes, Enum)

    class Errors(Interface):
        name = "acme:test/errors"

        @function(parks=False)
        def make(self, number: int) -> Error:
            return Error(OSError(number, "made up") if number else ValueError("of another kind"))

    wat = f"""(component
      (import "wasi:io/error@0.2.0" (instance $io (export "error" (type (sub resource)))))
      (alias export $io "error" (type $error))
      (import "acme:test/errors" (instance $errors
        (alias outer 1 $error (type $e)) (export "error" (type $error (eq $e)))
        (export "make" (func (param "number" u32) (result (own $error))))))
      (import "wasi:sockets/network@0.2.0" (instance $network
        (alias outer 1 $error (type $e)) (export "error" (type $error (eq $e)))
        (type $names (enum {" ".join(f'"{name}"' for name in codes.names)}))
        (export "error-code" (type $code (eq $names)))
        (export "network-error-code"
          (func (param "err" (borrow $error)) (result (option $code))))))
      (core module $libc (memory (export "memory") 1))
      (core instance $libc (instantiate $libc))
      (alias core export $libc "memory" (core memory $memory))
      (core func $make (canon lower (func $errors "make")))
      (core func $ask (canon lower (func $network "network-error-code") (memory $memory)))
      (core module $m
        (import "h" "make" (func $make (param i32) (result i32)))
        (import "h" "ask" (func $ask (param i32 i32)))
        (import "libc" "memory" (memory 1))
        (func (export "ask") (param i32) (result i32)
          (call $ask (call $make (local.get 0)) (i32.const 16))
          (if (result i32) (i32.load8_u (i32.const 16))
            (then (i32.load8_u (i32.const 17))) (else (i32.const 255)))))
      (core instance $m (instantiate $m
        (with "h" (instance (export "make" (func $make)) (export "ask" (func $ask))))
        (with "libc" (instance $libc))))
      (func (export "ask") (param "number" u32) (result u8) (canon lift (core func $m "ask"))))"""
    for number, name in {**SYSTEM, errno.EMSGSIZE: "datagram-too-large"}.items():
        assert codes.names[call(wat, "ask", number, imports=[Errors()])] == name
    assert call(wat, "ask", 0, imports=[Errors()]) == 255


# -- http


@pytest.fixture
def web(python):
    """Run code in a guest that may connect anywhere, and look up every name."""

    def play(code: str, **given):
        network = Network(connect="*:*", names="*")
        return python(lambda run: [run(WEB), run(code)][1], network=network, **given)

    return play


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (errno.ECONNREFUSED, "ConnectionRefused"),
        (errno.ECONNRESET, "ConnectionTerminated"),
        (errno.ECONNABORTED, "ConnectionTerminated"),
        (errno.ETIMEDOUT, "ConnectionTimeout"),
        (errno.EHOSTUNREACH, "DestinationIpUnroutable"),
        (errno.ENETUNREACH, "DestinationIpUnroutable"),
        (errno.EMFILE, "ConnectionLimitReached"),
        (errno.EACCES, "DestinationIpProhibited"),
    ],
)
def test_what_a_kernel_says_of_a_request_reaches_the_guest_by_its_name(web, monkeypatch, number, name):
    def fail(*_args, **_more):
        raise OSError(number, "made up")

    monkeypatch.setattr("coop.wasip2.http.client.connect", fail)
    assert web("result = fetch('192.0.2.7:80')") == name


def test_a_name_that_takes_too_long_is_given_up(web, monkeypatch):
    def never(*_args, **_more):
        raise coop.DeadlineExceeded("made up")

    monkeypatch.setattr("coop.wasip2.http.client.resolve", never)
    assert web("result = fetch('a.example')") == "DnsTimeout"


def test_a_server_that_takes_nothing_is_given_up(web, monkeypatch):
    monkeypatch.setattr("coop.wasip2.http.client._TIMEOUT_S", 0.05)
    done = threading.Event()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        done.wait(20)

    with raw_server(serve) as authority:
        try:
            found = web(f"""
sent = request({authority!r}, "/", http.Method_Post())
body = sent.body()
future = outgoing_handler.handle(sent, options(connect=20_000, first_byte=20_000))
result = tried(write, body, bytes(16 << 20)), answer(future)
""")
        finally:
            done.set()
    assert found == ("Closed", "ConnectionWriteTimeout")


PAYLOADS = {
    "DNS-error": ("SERVFAIL", 7),
    "TLS-alert-received": (40, "handshake failure"),
    "HTTP-request-header-size": ("a", 1 << 20),
    "HTTP-request-trailer-size": ("b", None),
    "HTTP-response-header-size": (None, 5),
    "HTTP-response-trailer-size": (None, None),
    "HTTP-response-transfer-coding": "br",
    "HTTP-response-content-coding": None,
    "internal-error": "no",
}
"""What codes carry; a length if nothing is said, where they carry anything."""


def test_every_code_of_http_reaches_the_guest_by_its_name(web, monkeypatch):
    """Those too that nobody here gives."""
    kind = Http.named()["error-code"]
    assert isinstance(kind, Variant)
    codes = [(name, PAYLOADS.get(name, 1 << 30) if inner else None) for name, inner in kind.cases]
    assert len(codes) == 39
    left = list(codes)

    def fail(*_args, **_more):
        raise HttpFailure(*left.pop(0))

    monkeypatch.setattr("coop.wasip2.http.client.resolve", fail)
    found = web(f"""
def bare(value):
    "A record's fields, in order."
    return tuple(vars(value).values()) if hasattr(value, "__dict__") else value
result = []
for _ in range({len(codes)}):
    given = answer(outgoing_handler.handle(request("a.example"), None))
    result.append((given[0], bare(given[1])) if isinstance(given, tuple) else (given, None))
""")
    assert [(name.lower(), value) for name, value in found] == [
        (name.replace("-", "").lower(), value) for name, value in codes
    ]
    assert not left
