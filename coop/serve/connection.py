"""One client: its requests, one after the other.

`h11` reads and writes HTTP/1.1; here stand the waits, the limits, and what happens when either
side gives up.

1. A client that is slow with a head, a body or with taking the answer loses its connection.
2. A request that comes while another is being answered is not read: the connection ends after
   that answer, and says so.
3. A body that the guest does not finish ends the connection without its last piece, so that nobody
   takes it for whole.
"""

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import h11

from coop.errors import CoopError, DeadlineExceeded
from coop.logs import Log
from coop.scheduler import scheduler
from coop.serve.exchange import Exchange, Head
from coop.task import Task
from coop.wasip2.http.errorcode import HttpFailure
from coop.wasip2.http.fields import Fields
from coop.wasip2.http.messages import OutgoingResponse

if TYPE_CHECKING:
    from coop.serve.server import Server

__all__ = ["Connection"]

_PIECE = 64 << 10
_BODILESS = (204, 304)

log = Log("coop.serve")


class Stream(Protocol):
    """A connection, with TLS or without."""

    def recv(self, size: int = ...) -> bytes: ...
    def sendall(self, data: bytes) -> None: ...
    def set_read_deadline(self, seconds: float | None) -> None: ...
    def set_write_deadline(self, seconds: float | None) -> None: ...
    def close(self) -> None: ...


class Connection:
    """One connection of a client.

    is_idle -- whether it waits for a request, so that a server that ends need not wait for it
    """

    def __init__(self, server: "Server", stream: Stream, peer: str, scheme: str) -> None:
        self.is_idle = True
        self._server = server
        self._limits = server.limits
        self._stream = stream
        self._peer = peer
        self._scheme = scheme
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_bytes)
        self._reader: Task | None = None
        self._exchange: Exchange | None = None
        self._sent = 0

    def run(self) -> None:
        """Answer requests until either side has enough."""
        try:
            while self._serve_one():
                self._http.start_next_cycle()
                self.is_idle = True
        except (OSError, h11.ProtocolError) as error:
            log.debug("connection lost", peer=self._peer, error=str(error))
        finally:
            if self._exchange is not None:
                self._exchange.cancel()
            if self._reader is not None:
                self._reader.cancel()
            self._stream.close()

    # -- one request

    def _serve_one(self) -> bool:
        """Read and answer one request; whether another may follow."""
        try:
            event = self._read_head()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint or 400, str(error))
            return False
        except DeadlineExceeded:
            if self._http.trailing_data[0]:
                self._refuse(408, "the head of the request took too long")
            return False
        if event is None:
            return False
        self.is_idle = False
        head = Head.of(event, self._scheme)
        refused = self._objection(event)
        if refused is not None:
            self._refuse(*refused)
            return False
        began = time.monotonic()
        status = self._answer(head)
        took_ms = round((time.monotonic() - began) * 1e3, 1)
        log.info(
            "request",
            peer=self._peer,
            method=head.method,
            target=head.target,
            status=status,
            bytes=self._sent,
            ms=took_ms,
        )
        return self._may_go_on()

    def _objection(self, event: h11.Request) -> tuple[int, str] | None:
        """Return why a request is not even shown to a guest, as a status and words; None if it is."""
        # What came at once `h11` has not measured.
        size = len(event.target) + sum(len(name) + len(value) + 4 for name, value in event.headers)
        if size > self._limits.head_bytes:
            return 431, "the head of the request is too long"
        if event.http_version not in (b"1.0", b"1.1"):
            return 505, "HTTP/1.1 is spoken here"
        if event.method == b"CONNECT":
            return 501, "no tunnels are made here"
        return None

    def _read_head(self) -> h11.Request | None:
        """Return the next request's head; None if the client has left."""
        self._stream.set_read_deadline(self._limits.idle_seconds)
        is_begun = False
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                return None
            data = self._stream.recv(_PIECE)
            if data and not is_begun:
                # From here on it is one time for all of the head, however slowly it drips in.
                is_begun = True
                self._stream.set_read_deadline(self._limits.head_seconds)
            self._http.receive_data(data)

    def _answer(self, head: Head) -> int:
        self._sent = 0
        waits = self._http.they_are_waiting_for_100_continue
        exchange = self._exchange = Exchange(
            self._server.instances, head, self._tell_to_go_on if waits else None
        )
        exchange.begin()
        self._reader = scheduler().spawn(lambda: self._read_body(exchange), name="a request's body")
        try:
            response = exchange.wait_for_answer()
        except CoopError as error:
            return self._send_failure(error)
        try:
            self._send_response(head, response)
        finally:
            if response.sent is not None:
                response.sent.pipe.abandon()
        self._exchange = None
        return response.status

    def _tell_to_go_on(self) -> None:
        """Tell a client that waits for it that its body is wanted."""
        scheduler().spawn(self._send_continue, name="100 Continue")

    def _send_continue(self) -> None:
        if self._http.they_are_waiting_for_100_continue and self._http.our_state is h11.SEND_RESPONSE:
            self._send(h11.InformationalResponse(status_code=100, headers=[]))

    def _read_body(self, exchange: Exchange) -> None:
        size = 0
        try:
            while not isinstance(event := self._next_of_body(), h11.EndOfMessage):
                size += len(event.data)
                if size > self._limits.body_bytes:
                    raise HttpFailure("HTTP-request-body-size", size)
                exchange.body.put_all(bytes(event.data))
            trailers = [(name.decode("latin-1"), bytes(value)) for name, value in event.headers]
            exchange.trailers.set(Fields(trailers, immutable=True) if trailers else None)
            exchange.body.end()
        except BrokenPipeError:
            exchange.trailers.fail(HttpFailure("connection-terminated"))  # the guest wants no more of it
        except (OSError, h11.ProtocolError, HttpFailure) as error:
            exchange.trailers.fail(error)
            exchange.body.end(OSError(str(error)))
        finally:
            self._reader = None

    def _next_of_body(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._stream.set_read_deadline(self._limits.pause_seconds)
            data = self._stream.recv(_PIECE)
            self._http.receive_data(data)
        if not isinstance(event, (h11.Data, h11.EndOfMessage)):
            raise ConnectionResetError("the client is gone")
        return event

    # -- the answer

    def _send(self, event: Any) -> None:
        data = self._http.send(event)
        if data:
            self._stream.set_write_deadline(self._limits.pause_seconds)
            self._stream.sendall(data)

    def _send_response(self, head: Head, response: OutgoingResponse) -> None:
        headers = [(name.encode(), value) for name, value in response.fields.pairs()]
        if not response.fields.has("date"):
            headers.append((b"date", formatdate(usegmt=True).encode()))
        if self._must_end():
            headers.append((b"connection", b"close"))
        has_body = head.method != "HEAD" and response.status not in _BODILESS
        if response.sent is None and has_body and not response.fields.has("content-length"):
            headers.append((b"content-length", b"0"))
        self._send(
            h11.Response(status_code=response.status, headers=headers, reason=_reason(response.status))
        )
        if response.sent is None:
            self._send(h11.EndOfMessage())
            return
        while data := response.sent.pipe.take_waiting(_PIECE):
            if has_body:
                self._send(h11.Data(data=data))
                self._sent += len(data)
        trailers: Any = response.sent.trailers.wait("the end of a body")
        self._send(h11.EndOfMessage(headers=[(name.encode(), value) for name, value in trailers or ()]))

    def _send_failure(self, error: CoopError) -> int:
        log.warning("request failed", peer=self._peer, error=str(error))
        self._refuse(500, "the request could not be answered")
        self._exchange = None
        return 500

    def _refuse(self, status: int, words: str) -> None:
        """Answer by ourselves, and end the connection."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{words}\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        self._send(h11.Response(status_code=status, headers=headers, reason=_reason(status)))
        self._send(h11.Data(data=body))
        self._send(h11.EndOfMessage())

    def _must_end(self) -> bool:
        """Whether this answer is the connection's last."""
        return self._server.is_ending or bool(self._http.trailing_data[0])

    def _may_go_on(self) -> bool:
        http = self._http
        if self._must_end() or http.our_state is not h11.DONE or http.their_state is not h11.DONE:
            return False
        return not http.trailing_data[0]


def _reason(status: int) -> bytes:
    """Return the words that stand behind a status for people."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
