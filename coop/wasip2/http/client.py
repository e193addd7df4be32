"""wasi:http, sending: a request of a guest over a connection of its own, on a task beside the guest.

    guest writes --> pipe --> task that sends   --> connection
    guest reads  <-- pipe <-- task that receives <-- connection

1. Where a request may go is for the guest's `Network` to say: a name must be one that may be
   looked up, and the address it stands for one that may be connected to.
2. `h11` writes and reads HTTP; nothing of the guest's reaches the connection past it.
3. Everything ends with the guest.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import h11

from coop.clock import to_ns
from coop.errors import DeadlineExceeded, GuestTrap
from coop.net import Conn, connect
from coop.net.resolve import resolve
from coop.net.tls import TlsConn
from coop.stint import Stint
from coop.task import Task
from coop.wasip2.http.bodies import IncomingBody, Outcome, OutgoingBody
from coop.wasip2.http.errorcode import HttpFailure, as_os_error
from coop.wasip2.http.fields import Fields, received
from coop.wasip2.http.machine import Machine
from coop.wasip2.http.messages import (
    FutureIncomingResponse,
    IncomingResponse,
    OutgoingRequest,
    RequestOptions,
)
from coop.wasip2.http.pipe import Pipe
from coop.wasip2.sockets.policy import ascii_name, is_address
from coop.wasip2.world import World

__all__ = ["send"]

_BODILESS = ("GET", "HEAD")
_PIECE = 64 << 10
_HEADERS_MOST = 64 << 10

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
    if request.sent is not None and request.sent.trailers.is_known:
        request.sent.trailers.get()  # one that was given up, or is shorter than was promised
    most = world.limits.fds
    if most is not None and world.requests + len(world.files) >= most:
        raise HttpFailure("connection-limit-reached")
    exchange = _Exchange(world, request, options, target)
    exchange.begin()
    return FutureIncomingResponse(world, exchange.answer, exchange.cancel)


def _target(request: OutgoingRequest) -> _Target:
    scheme = "HTTPS" if request.protocol is None else request.protocol.name
    if scheme == "other":
        raise HttpFailure("HTTP-protocol-error")
    if "CONNECT" in (request.verb.name.upper(), request.verb.value):
        raise HttpFailure("HTTP-request-method-invalid")  # no tunnels
    if not request.host:
        raise HttpFailure("HTTP-request-URI-invalid")
    host, colon, port = request.host.rpartition(":")
    if not colon or host.startswith("[") != host.endswith("]"):
        host, port = request.host, ""
    default = 443 if scheme == "HTTPS" else 80
    number = int(port) if port else default
    if not 0 < number <= 65535:
        raise HttpFailure("HTTP-request-URI-invalid")
    return _Target(host.strip("[]").removesuffix("."), number, request.host, scheme == "HTTPS")


def _check_name(world: World, target: _Target) -> None:
    network = world.network
    if not network.tcp:
        world.network_refused("tcp", "any socket")
        raise HttpFailure("HTTP-request-denied")
    if is_address(target.host):
        if not network.may_connect(target.host, target.port):
            world.network_refused("connect", (target.host, target.port))
            raise HttpFailure("HTTP-request-denied")
        return
    try:
        name = ascii_name(target.host)
    except ValueError:
        raise HttpFailure("HTTP-request-URI-invalid") from None
    if not network.may_look_up(name):
        world.network_refused("names", name)
        raise HttpFailure("HTTP-request-denied")


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Exchange:
    """One request and its answer.

    answer -- an `IncomingResponse`, or why there is none
    """

    def __init__(
        self, world: World, request: OutgoingRequest, options: RequestOptions, target: _Target
    ) -> None:
        self.answer = Outcome("the answer to a request")
        self._world = world
        self._request = request
        self._options = options
        self._target = target
        self._http = Machine(h11.CLIENT, _HEADERS_MOST)
        self._conn: Conn | TlsConn | None = None
        self._tasks: list[Task] = []
        self._stint = Stint(world.owner)
        self._pipe = Pipe("an incoming body")
        self._pipe.on_abandon = self.cancel
        self._trailers = Outcome("the end of an incoming body")
        self._is_delimited = False  # the answer says where it ends, and not the connection's end alone
        self._is_cancelled = self._is_begun = False

    def begin(self) -> None:
        """Do all of it on a task beside the guest."""
        self._world.requests += 1
        self._tasks.append(
            self._world.spawn(self._run, f"request to {self._target.authority}", at_end=self._end)
        )

    def cancel(self) -> None:
        """End it: nobody waits for the answer, or reads it, any more."""
        self._is_cancelled = True
        self._fail(HttpFailure("connection-terminated"))
        if self._is_begun:  # a task that never begins never ends either
            for task in self._tasks:
                task.cancel()

    def _end(self) -> None:
        """Give everything back, whatever has happened; it must not park."""
        self._world.requests -= 1
        self._fail(HttpFailure("connection-terminated"))
        for task in self._tasks:
            task.cancel()
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()

    def _fail(self, error: BaseException) -> None:
        """Let the guest know, if it has not been told another end yet."""
        failure = _failure(error)
        self.answer.fail(failure)
        self._trailers.fail(failure)
        self._pipe.end(as_os_error(failure))
        if self._request.sent is not None:
            self._request.sent.pipe.abandon()

    def _run(self) -> None:
        """Send, receive, and let the guest know how it went."""
        self._is_begun = True
        if self._is_cancelled:
            return
        try:
            self._connect()
            body = self._body()
            self._send_head(body)
            if body is None:
                self._send(h11.EndOfMessage())
            else:
                self._tasks.append(self._world.spawn(self._send_body, name="a request's body"))
            self._receive()
            self._send_the_rest()
        except Exception as error:
            self._fail(error)

    # -- the connection

    def _connect(self) -> None:
        network, target, owner = self._world.network, self._target, self._world.owner
        until_ns = owner.now_ns() + to_ns(_seconds(self._options.connect_ns))
        try:
            found = resolve(target.host, target.port, until_ns=until_ns, whom=self._world)
        except DeadlineExceeded:
            raise HttpFailure("DNS-timeout") from None
        allowed = [where[4][0] for where in found if network.may_connect(where[4][0], target.port)]
        if not allowed:
            for where in found[:1]:
                self._world.network_refused("connect", (where[4][0], target.port))
            raise HttpFailure("destination-IP-prohibited")
        try:
            conn = _connect_any(allowed, target.port, lambda: (until_ns - owner.now_ns()) / 1e9)
            self._conn = conn
            if target.is_tls:
                self._conn = tls = TlsConn(conn, self._world.tls or _context(), target.host)
                conn.set_deadline((until_ns - owner.now_ns()) / 1e9)
                tls.handshake()
                conn.set_deadline(None)
        except DeadlineExceeded:
            raise HttpFailure("connection-timeout") from None

    # -- sending

    def _send(self, event: Any) -> None:
        data = self._http.send(event)
        if data and self._conn is not None:
            self._conn.set_write_deadline(_TIMEOUT_S)
            try:
                self._conn.sendall(data)
            except DeadlineExceeded:
                raise HttpFailure("connection-write-timeout") from None

    @property
    def _verb(self) -> str:
        verb = self._request.verb
        return verb.value if verb.name == "other" else verb.name.upper()

    def _body(self) -> OutgoingBody | None:
        """Return the body that is to be sent, if there is one.

        Guests ask for the body of a GET as well, if only to finish it; and there are servers that refuse one
        with an empty body in pieces.  So it has one if it was promised, or if something was written by now.
        """
        body, verb = self._request.sent, self._verb
        if body is None or verb not in _BODILESS or self._request.fields.has("content-length"):
            return body
        if not body.pipe.is_empty:
            return body
        body.pipe.abandon()
        return None

    def _send_head(self, body: OutgoingBody | None) -> None:
        request, verb = self._request, self._verb
        headers = [(b"host", self._target.authority.encode())]
        headers += [(name.encode(), value) for name, value in request.fields.pairs()]
        if not request.fields.has("content-length"):
            if body is not None:
                headers.append((b"transfer-encoding", b"chunked"))
            elif verb in ("POST", "PUT", "PATCH"):
                headers.append((b"content-length", b"0"))
        path = request.target or "/"
        if path.startswith("?"):
            path = "/" + path
        self._send(h11.Request(method=verb, target=path, headers=headers))

    def _send_body(self) -> None:
        body = self._request.sent
        assert body is not None
        try:
            while data := body.pipe.take_waiting(_PIECE):
                self._send(h11.Data(data=data))
            if body.pipe.is_abandoned:
                return
            trailers: Any = body.trailers.wait("send") or ()
            if self._request.fields.has("content-length"):
                trailers = ()  # they have no place behind a body of a known length
            self._send(h11.EndOfMessage(headers=[(name.encode(), value) for name, value in trailers]))
        except Exception as error:
            body.pipe.abandon()
            if body.pipe.error is None and isinstance(error, OSError):
                return  # an answer may come all the same: a server that has heard enough says so
            # Half a request is left there, and waiting for more would be for nothing.
            self._fail(error)
            self.cancel()

    def _send_the_rest(self) -> None:
        """Let the guest end its body, as others do: a server may answer before it has heard all of it."""
        self._pipe.on_abandon = None  # it has all of the answer, and may drop it
        for task in self._tasks[1:]:
            task.wait()

    # -- receiving

    def _receive(self) -> None:
        self._set_read_deadline(self._options.first_byte_ns)
        while True:
            event = self._next()
            if isinstance(event, h11.Response):
                if not event.http_version.startswith(b"1."):
                    raise HttpFailure("HTTP-protocol-error")
                self._begin(event)
            elif isinstance(event, h11.Data):
                try:
                    self._pipe.put_all(bytes(event.data))
                except BrokenPipeError:
                    return  # the guest has heard enough
            elif isinstance(event, h11.EndOfMessage):
                self._finish(event)
                return
            elif not isinstance(event, h11.InformationalResponse):
                raise HttpFailure("HTTP-response-incomplete")

    def _next(self) -> Any:
        assert self._conn is not None
        self._stint.step()  # a piece may hold very many chunks, or heads
        is_begun = self._http.their_state is h11.SEND_BODY
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if is_begun:
                self._set_read_deadline(self._options.between_bytes_ns)
            try:
                data = self._conn.recv(_PIECE)
            except DeadlineExceeded:
                raise HttpFailure("connection-read-timeout") from None
            if not data and not is_begun:
                has_some = bool(self._http.trailing_data[0])
                raise HttpFailure("HTTP-response-incomplete" if has_some else "connection-terminated")
            self._http.receive_data(data)
        return event

    def _set_read_deadline(self, duration_ns: int | None) -> None:
        assert self._conn is not None
        self._conn.set_read_deadline(_seconds(duration_ns))

    def _begin(self, event: h11.Response) -> None:
        fields = self._fields(event.headers)
        body = IncomingBody(self._world, self._pipe, self._trailers)
        names = {name for name, _ in event.headers}
        self._is_delimited = bool(names & {b"content-length", b"transfer-encoding"})
        self.answer.set(IncomingResponse(event.status_code, fields, body))

    def _finish(self, event: h11.EndOfMessage) -> None:
        if isinstance(self._conn, TlsConn) and self._conn.was_cut and not self._is_delimited:
            raise HttpFailure("HTTP-response-incomplete")
        self._trailers.set(self._fields(event.headers) if received(event.headers) else None)
        self._pipe.end()

    def _fields(self, headers: Any) -> Fields:
        """Return what came as the guest's.  Raises: HttpFailure if it has too much already."""
        try:
            return Fields(received(headers), immutable=True, account=self._world.fields)
        except GuestTrap:
            raise HttpFailure("HTTP-response-header-section-size") from None


def _connect_any(hosts: list[str], port: int, left: Callable[[], float]) -> Conn:
    """Connect to one of some addresses; `left` says how many seconds there are for it."""
    error: OSError | None = None
    for host in hosts:
        try:
            return connect((host, port), timeout=left())
        except OSError as failed:
            error = failed
    assert error is not None
    raise error


def _seconds(duration_ns: int | None) -> float:
    return _TIMEOUT_S if duration_ns is None else duration_ns / 1e9


def _failure(error: BaseException) -> BaseException:
    """Return an error whose code says what went wrong in HTTP or TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return HttpFailure("TLS-certificate-error")
    if isinstance(error, ssl.SSLEOFError):
        return HttpFailure("connection-terminated")
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if "ALERT" in reason:
            return HttpFailure("TLS-alert-received", (None, reason.lower().replace("_", " ")))
        return HttpFailure("TLS-protocol-error")
    if isinstance(error, h11.LocalProtocolError):
        return HttpFailure("internal-error", str(error))
    if isinstance(error, h11.RemoteProtocolError):
        hint = error.error_status_hint
        if hint == 431:
            return HttpFailure("HTTP-response-header-section-size")
        if hint == 501:
            return HttpFailure("HTTP-response-transfer-coding")
        if "closed connection" in str(error):
            return HttpFailure("HTTP-response-incomplete")
        return HttpFailure("HTTP-protocol-error")
    return error
