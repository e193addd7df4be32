"""wasi:http, sending: a request of a guest over a connection of its own, on a task beside the guest.

    guest writes --> pipe --> task that sends   --> connection
    guest reads  <-- pipe <-- task that receives <-- connection

1. Where a request may go is for the guest's `Network` to say: a name must be one that may be
   looked up, and the address it stands for one that may be connected to.
2. `h11` writes and reads HTTP; nothing of the guest's reaches the connection past it.
3. Everything ends with the guest.
"""

import ssl
from dataclasses import dataclass
from functools import cache
from typing import Any

import h11

from coop.errors import DeadlineExceeded
from coop.net import Conn, connect
from coop.resolve import resolve
from coop.tls import TlsConn
from coop.wasip2.http.bodies import IncomingBody, Outcome
from coop.wasip2.http.errorcode import HttpFailure
from coop.wasip2.http.fields import Fields
from coop.wasip2.http.messages import (
    FutureIncomingResponse,
    IncomingResponse,
    OutgoingRequest,
    RequestOptions,
)
from coop.wasip2.http.pipe import Pipe
from coop.wasip2.policy import ascii_name, is_address
from coop.wasip2.world import World

__all__ = ["send"]

_PIECE = 64 << 10
_HEADERS_MOST = 256 << 10

_TIMEOUT_S = 600.0
"""For everything that the guest has set no time for."""


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a request goes.

    authority -- as the guest wrote it
    """

    host: str
    port: int
    authority: str
    is_tls: bool


def send(world: World, request: OutgoingRequest, options: RequestOptions) -> FutureIncomingResponse:
    """Begin to send a request.  Raises: HttpFailure for one that cannot or may not be sent."""
    target = _target(request)
    _check_name(world, target)
    answer = Outcome("the answer to a request")
    exchange = _Exchange(world, request, options, target, answer)
    task = world.spawn(exchange.run, name=f"request to {target.authority}")
    return FutureIncomingResponse(world, answer, task.cancel)


def _target(request: OutgoingRequest) -> _Target:
    scheme = "HTTPS" if request.protocol is None else request.protocol.name
    if scheme == "other":
        raise HttpFailure("HTTP-protocol-error")
    if not request.host:
        raise HttpFailure("HTTP-request-URI-invalid")
    host, colon, port = request.host.rpartition(":")
    if not colon or host.startswith("[") != host.endswith("]"):
        host, port = request.host, ""
    default = 443 if scheme == "HTTPS" else 80
    number = int(port) if port else default
    if number > 65535:
        raise HttpFailure("HTTP-request-URI-invalid")
    return _Target(host.strip("[]"), number, request.host, scheme == "HTTPS")


def _check_name(world: World, target: _Target) -> None:
    network = world.network
    if network is None:
        raise HttpFailure("HTTP-request-denied")
    if is_address(target.host):
        if not network.may_connect(target.host, target.port):
            raise HttpFailure("HTTP-request-denied")
        return
    try:
        name = ascii_name(target.host)
    except ValueError:
        raise HttpFailure("HTTP-request-URI-invalid") from None
    if not network.may_look_up(name):
        raise HttpFailure("HTTP-request-denied")


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        world: World,
        request: OutgoingRequest,
        options: RequestOptions,
        target: _Target,
        answer: Outcome,
    ) -> None:
        self._world = world
        self._request = request
        self._options = options
        self._target = target
        self._answer = answer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEADERS_MOST)
        self._conn: Conn | TlsConn | None = None
        self._pipe = Pipe("an incoming body")
        self._trailers = Outcome("the end of an incoming body")

    def run(self) -> None:
        """Send, receive, and let the guest know how it went."""
        try:
            self._connect()
            self._send_head()
            if self._request.sent is None:
                self._send(h11.EndOfMessage())
            else:
                self._world.spawn(self._send_body, name="a request's body")
            self._receive()
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            if self._conn is not None:
                self._conn.close()

    def _fail(self, error: BaseException) -> None:
        failure = _failure(error)
        self._answer.fail(failure)
        self._trailers.fail(failure)
        self._pipe.end(_as_os_error(failure))
        if self._request.sent is not None:
            self._request.sent.pipe.abandon()

    # -- the connection

    def _connect(self) -> None:
        network, target = self._world.network, self._target
        seconds = _seconds(self._options.connect_ns)
        try:
            found = resolve(target.host, target.port)
            allowed = [where[4][0] for where in found if network.may_connect(where[4][0], target.port)]
            if not allowed:
                raise HttpFailure("destination-IP-prohibited")
            conn = _connect_any(allowed, target.port, seconds)
        except DeadlineExceeded:
            raise HttpFailure("connection-timeout") from None
        self._conn = conn
        if target.is_tls:
            self._conn = tls = TlsConn(conn, _context(), target.host)
            conn.set_deadline(seconds)
            tls.handshake()
            conn.set_deadline(None)

    # -- sending

    def _send(self, event: Any) -> None:
        data = self._http.send(event)
        if data and self._conn is not None:
            self._conn.sendall(data)

    def _send_head(self) -> None:
        request = self._request
        headers = [(b"host", self._target.authority.encode())]
        headers += [(name.encode(), value) for name, value in request.fields.pairs()]
        verb = request.verb.value if request.verb.name == "other" else request.verb.name.upper()
        if not request.fields.has("content-length"):
            if request.sent is not None:
                headers.append((b"transfer-encoding", b"chunked"))
            elif verb in ("POST", "PUT", "PATCH"):
                headers.append((b"content-length", b"0"))
        try:
            event = h11.Request(method=verb, target=request.target or "/", headers=headers)
        except h11.LocalProtocolError as error:
            raise HttpFailure("internal-error", str(error)) from None
        self._send(event)

    def _send_body(self) -> None:
        body = self._request.sent
        assert body is not None
        try:
            while data := body.pipe.take_waiting(_PIECE):
                self._send(h11.Data(data=data))
            trailers: Any = body.trailers.wait("send")
            self._send(h11.EndOfMessage(headers=[(n.encode(), v) for n, v in trailers or ()]))
        except Exception as error:
            body.pipe.abandon()
            # An answer may come all the same: a server that has heard enough says so.
            if self._http.our_state is not h11.ERROR and isinstance(error, OSError):
                return
            self._fail(error)
            if self._conn is not None:
                self._conn.close()

    # -- receiving

    def _receive(self) -> None:
        waits = _seconds(self._options.first_byte_ns)
        pauses = _seconds(self._options.between_bytes_ns)
        while True:
            event = self._next(waits)
            if isinstance(event, h11.Response):
                waits = pauses
                self._begin(event)
            elif isinstance(event, h11.Data):
                try:
                    self._pipe.put_all(bytes(event.data))
                except BrokenPipeError:
                    return  # the guest has heard enough
            elif isinstance(event, h11.EndOfMessage):
                trailers = _fields(event.headers)
                self._trailers.set(Fields(trailers, immutable=True) if trailers else None)
                self._pipe.end()
                return
            elif isinstance(event, h11.ConnectionClosed):
                raise HttpFailure("HTTP-response-incomplete")

    def _next(self, seconds: float) -> Any:
        assert self._conn is not None
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._conn.set_read_deadline(seconds)
            try:
                self._http.receive_data(self._conn.recv(_PIECE))
            except DeadlineExceeded:
                is_late = self._answer.is_known
                raise HttpFailure("connection-read-timeout" if is_late else "HTTP-response-timeout") from None
        return event

    def _begin(self, event: h11.Response) -> None:
        fields = Fields(_fields(event.headers), immutable=True)
        body = IncomingBody(self._world, self._pipe, self._trailers)
        self._answer.set(IncomingResponse(event.status_code, fields, body))


def _connect_any(hosts: list[str], port: int, seconds: float) -> Conn:
    error: OSError | None = None
    for host in hosts:
        try:
            return connect((host, port), timeout=seconds)
        except OSError as failed:
            error = failed
    assert error is not None
    raise error


def _fields(headers: Any) -> list[tuple[str, bytes]]:
    return [(name.decode("latin-1"), bytes(value)) for name, value in headers]


def _seconds(duration_ns: int | None) -> float:
    return _TIMEOUT_S if duration_ns is None else min(duration_ns / 1e9, _TIMEOUT_S)


def _failure(error: BaseException) -> BaseException:
    if isinstance(error, ssl.SSLCertVerificationError):
        return HttpFailure("TLS-certificate-error")
    if isinstance(error, ssl.SSLError):
        return HttpFailure("TLS-protocol-error")
    if isinstance(error, (h11.RemoteProtocolError, h11.LocalProtocolError)):
        return HttpFailure("HTTP-protocol-error")
    return error


def _as_os_error(failure: BaseException) -> OSError:
    """Return what the stream of a body ends with; the code is found behind it."""
    if isinstance(failure, OSError):
        return failure
    error = OSError(str(failure))
    error.__cause__ = failure
    return error
