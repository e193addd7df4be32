"""One client: its requests, one after the other.

`h11` reads and writes HTTP/1.1; here stand the waits, the limits, and what happens when either
side gives up.

1. A client that is slow with a head, a body or with taking the answer loses its connection.
2. A request that comes before the answer to the one before it is refused: the answer is the last.
3. A body that the guest does not finish ends the connection without its last piece, so that nobody
   takes it for whole.
4. A client that goes away takes its guest along: at once if the connection is reset, after
   `pause_seconds` without a byte if it only says that it will send nothing more, or while the
   guest does not read what it has sent.
"""

import time
from contextlib import suppress
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import h11

from coop.clock import to_ns
from coop.errors import DeadlineExceeded, WasCancelled
from coop.logs import Log
from coop.net import Conn
from coop.net.tls import TlsConn
from coop.netpoll.contract import WRITE
from coop.netpoll.openfile import BLOCKED
from coop.scheduler import scheduler
from coop.serve.exchange import Exchange
from coop.serve.heads import Head, has_body, objection, reason
from coop.serve.wire import Wire
from coop.stint import Stint
from coop.task import Task
from coop.wasip2.http.errorcode import HttpFailure
from coop.wasip2.http.fields import Fields, received
from coop.wasip2.http.machine import Machine
from coop.wasip2.http.messages import OutgoingResponse
from coop.wasip2.http.pipe import Pipe, PipePollable
from coop.wasip2.pollables import MomentPollable, wait_for_any

if TYPE_CHECKING:
    from coop.serve.server import Server

__all__ = ["Connection"]

_PIECE = 64 << 10

_UNWANTED = 256 << 10
"""Bytes of a body that nobody wants which are read all the same, so that the connection can go on."""

_UNSENT_S = 2.0
"""How long a guest may write a body that is not sent, as behind the answer to HEAD, before it is ended."""

_MOST_WORDS = 200
"""Characters of why a request is refused; they may name all that it said."""

log = Log("coop.serve")


class Connection:
    """One connection of a client.

    is_idle -- whether it waits for a request, so that a server that ends need not wait for it
    """

    def __init__(self, server: "Server", conn: Conn, stream: Conn | TlsConn, peer: str, scheme: str) -> None:
        """Take a client of `server`; `stream` is `conn`, or TLS over it, and `scheme` "HTTP" or "HTTPS"."""
        self.is_idle = True
        self._server = server
        self._limits = server.limits
        self._stream = stream
        self._peer = peer
        self._scheme = scheme
        self._wire = Wire(conn, stream, self._limits.head_bytes, self._limits.pause_seconds)
        self._stint = Stint(scheduler())  # of the reader, whom a piece of very many chunks keeps busy
        self._reader: Task | None = None
        self._exchange: Exchange | None = None
        self._is_delimited = True  # the client can tell where the answer ends before the connection does
        self._is_cut = False  # the request's body broke off
        self._sent = self._status = 0

    @property
    def _http(self) -> Machine:
        return self._wire.http

    def run(self) -> None:
        """Answer requests until either side has enough."""
        try:
            while self._serve_one():
                self._wire.begin_next()
                self.is_idle = not self._wire.is_begun
            # Who lingers is not idle: a server that ends waits, so that the answer arrives.
            self.is_idle = False
            self._wire.linger()
        except (OSError, h11.ProtocolError, HttpFailure) as error:
            log.debug("connection lost", peer=self._peer, error=str(error))
            if not self._is_delimited and self._http.our_state is h11.SEND_BODY:
                self._wire.reset()
        finally:
            if self._exchange is not None:
                self._exchange.cancel()
            if self._reader is not None:
                self._reader.cancel()
            self._wire.close()

    # -- one request

    def _serve_one(self) -> bool:
        """Read and answer one request; whether another may follow."""
        try:
            event = self._read_head()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint or 400, str(error))
            return False
        except DeadlineExceeded:
            if self._wire.is_begun:
                self._refuse(408, "the head of the request took too long")
            return False
        if event is None:
            return False
        self.is_idle = False
        refused = objection(event, self._limits.head_bytes, self._limits.body_bytes)
        if refused is None:
            try:
                head = Head.of(event, self._scheme)
            except ValueError as error:
                refused = 400, str(error)
        if refused is not None:
            self._refuse(*refused)
            return False
        self._answer_and_tell(head)
        return self._may_go_on()

    def _refuse(self, status: int, words: str) -> None:
        words = words[:_MOST_WORDS]
        log.info("request refused", peer=self._peer, status=status, error=words)
        self._wire.refuse(status, words)

    def _answer_and_tell(self, head: Head) -> None:
        began = time.monotonic()
        self._sent = self._status = 0
        words = "request cut short"
        try:
            self._answer(head)
            words = "request"
        finally:
            log.info(
                words,
                peer=self._peer,
                method=head.method,
                target=head.target,
                status=self._status,
                bytes=self._sent,
                ms=round((time.monotonic() - began) * 1e3, 1),
                **({"pipelined": "refused"} if self._wire.is_pipelined else {}),
            )

    def _read_head(self) -> h11.Request | None:
        """Return the next request's head; None if the client has left."""
        is_begun = self._wire.is_begun
        self._set_head_deadline(is_begun=is_begun)
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                return None
            self._wire.receive()
            if self._wire.is_begun and not is_begun:
                # From here on it is one time for all of the head, however slowly it drips in.
                is_begun, self.is_idle = True, False
                self._set_head_deadline(is_begun=True)

    def _set_head_deadline(self, *, is_begun: bool) -> None:
        limits = self._limits
        self._stream.set_read_deadline(limits.head_seconds if is_begun else limits.idle_seconds)

    def _answer(self, head: Head) -> None:
        waits = self._http.they_are_waiting_for_100_continue
        exchange = self._exchange = Exchange(
            self._server.instances, head, self._tell_to_go_on if waits else None
        )
        self._is_cut = False
        exchange.begin()
        self._reader = scheduler().spawn(lambda: self._read(exchange), name="a request's body")
        try:
            try:
                response = exchange.wait_for_answer()
                event = self._head_of(head, response)
            except (HttpFailure, h11.LocalProtocolError) as error:
                tell = log.debug if exchange.is_cancelled else log.warning
                tell("request failed", peer=self._peer, error=str(error))
                if self._wire.refuse(500, "the request could not be answered"):
                    self._status = 500
            else:
                self._send_response(head, response, event)
        finally:
            exchange.let_answer_go()
        self._exchange = None
        self._stop_reading(exchange)

    # -- what comes in

    def _tell_to_go_on(self) -> None:
        """Tell a client that waits for it that its body is wanted."""
        scheduler().spawn(self._send_continue, name="100 Continue")

    def _send_continue(self) -> None:
        with suppress(OSError):  # whoever reads hears of it too
            self._wire.send(h11.InformationalResponse(status_code=100, headers=[], reason=reason(100)))
            self._stream.set_read_deadline(self._limits.pause_seconds)

    def _read(self, exchange: Exchange) -> None:
        """Read a body, and then hear of it if the client goes away."""
        try:
            try:
                self._read_body(exchange)
            except BrokenPipeError:  # the guest wants no more of it
                exchange.trailers.fail(HttpFailure("connection-terminated"))
                self._read_unwanted()
            self._watch(exchange)
        except (DeadlineExceeded, h11.ProtocolError, HttpFailure) as error:
            self._is_cut = True
            exchange.cut(_failure(error))
            self._expect_little(exchange)
        except OSError:
            exchange.cancel()

    def _read_body(self, exchange: Exchange) -> None:
        size = 0
        while not isinstance(event := self._next_of_body(self._limits.pause_seconds), h11.EndOfMessage):
            size += len(event.data)
            if size > self._limits.body_bytes:
                raise HttpFailure("HTTP-request-body-size", size)
            self._hand_on(exchange, memoryview(event.data))
        trailers = received(event.headers)
        exchange.trailers.set(Fields(trailers, immutable=True) if trailers else None)
        exchange.body.end()

    def _hand_on(self, exchange: Exchange, data: memoryview) -> None:
        """Put a piece of a body where the guest reads it, unless the client goes away before it does.

        Nothing is received meanwhile that would tell.
        """
        pipe, owner = exchange.body, scheduler()
        while data:
            if (count := pipe.put(data)) != BLOCKED:
                data = data[count:]
                continue
            moved = self._wire.moved
            patience = MomentPollable(owner, owner.now_ns() + to_ns(self._limits.pause_seconds))
            wait_for_any(owner, [PipePollable(owner, pipe.desc, WRITE), patience])
            is_idle = patience.is_ready() and moved == self._wire.moved
            if is_idle and not pipe.desc.ready & WRITE and self._wire.is_left():
                raise ConnectionResetError("the client is gone")

    def _read_unwanted(self) -> None:
        left = _UNWANTED
        self._stream.set_read_deadline(self._limits.pause_seconds)
        while left > 0 and not isinstance(event := self._next_of_body(None), h11.EndOfMessage):
            left -= len(event.data)

    def _next_of_body(self, pause: float | None) -> Any:
        """Return the next event; `pause` is how long it may take, None: what was set before."""
        self._stint.step()
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if pause is not None:
                is_told = not self._http.they_are_waiting_for_100_continue
                self._stream.set_read_deadline(pause if is_told else None)
            self._wire.receive()
        if not isinstance(event, (h11.Data, h11.EndOfMessage)):
            raise h11.RemoteProtocolError("the client closed connection within a body")
        return event

    def _watch(self, exchange: Exchange) -> None:
        """Wait for the client's end, or for its next request, which is kept for later."""
        self._stream.set_read_deadline(None)
        while self._exchange is exchange and self._wire.is_read and not self._wire.has_more:
            if not self._wire.receive():
                self._expect_little(exchange)
                return

    def _expect_little(self, exchange: Exchange) -> None:
        """Give up on a client that sends no more and is sent nothing either for a while."""
        while self._exchange is exchange:
            moved = self._wire.moved
            scheduler().sleep_ns(to_ns(self._limits.pause_seconds))
            if moved == self._wire.moved:
                exchange.cancel()
                return

    def _stop_reading(self, exchange: Exchange) -> None:
        """End the reader: now, or when it has read a body that is small or in demand."""
        reader, http = self._reader, self._http
        if reader is None:
            return
        if (
            http.their_state is not h11.SEND_BODY
            or self._is_cut
            or self._wire.was_waiting
            or self._server.is_ending
        ):
            reader.cancel()
            # A guest that reads on when it has answered would wait for ever.
            exchange.cut(HttpFailure("connection-terminated"))
        while not reader.is_done:
            if http.their_state is not h11.SEND_BODY:
                reader.cancel()
            with suppress(WasCancelled):
                reader.wait()
        self._reader = None

    # -- the answer

    def _head_of(self, head: Head, response: OutgoingResponse) -> h11.Response:
        """Return the head of an answer.  Raises: h11.LocalProtocolError for one that cannot be sent."""
        headers = [(name.encode(), value) for name, value in response.fields.pairs()]
        if response.status == 204:
            headers = [entry for entry in headers if entry[0] != b"content-length"]
        if not response.fields.has("date"):
            headers.append((b"date", formatdate(usegmt=True).encode()))
        waits = self._http.they_are_waiting_for_100_continue
        if self._server.is_ending or waits or self._wire.is_pipelined or self._is_cut:
            headers.append((b"connection", b"close"))
        has_length = response.fields.has("content-length")
        if response.sent is None and has_body(head.method, response.status):
            # Whatever was promised, there is none: a client would wait for it.
            headers = [entry for entry in headers if entry[0] != b"content-length"]
            headers.append((b"content-length", b"0"))
            has_length = True
        self._is_delimited = has_length or self._http.their_http_version != b"1.0"
        return h11.Response(status_code=response.status, headers=headers, reason=reason(response.status))

    def _send_response(self, head: Head, response: OutgoingResponse, event: h11.Response) -> None:
        self._status = response.status
        self._wire.send(event)
        body = response.sent
        if body is None:
            self._wire.send(h11.EndOfMessage())
            return
        if not has_body(head.method, response.status):
            self._throw_away(body.pipe)
            self._wire.send(h11.EndOfMessage())
            return
        while data := body.pipe.take_waiting(_PIECE):
            self._wire.send(h11.Data(data=data))
            self._sent += len(data)
        trailers: Any = body.trailers.wait("the end of a body") or ()
        if body.pipe.is_abandoned:
            raise ConnectionResetError("the client is gone")  # what it left there was not sent
        if response.fields.has("content-length") or self._http.their_http_version == b"1.0":
            trailers = ()  # there is no place for them
        self._wire.send(h11.EndOfMessage(headers=[(name.encode(), value) for name, value in trailers]))

    def _throw_away(self, pipe: Pipe) -> None:
        """Let a guest write what is not sent.  It may be endless, and the client has its answer."""
        exchange, owner = self._exchange, scheduler()
        assert exchange is not None
        timer = owner.timers.set(owner.now_ns() + to_ns(_UNSENT_S), exchange.cancel)
        left = _UNWANTED
        try:
            while left > 0 and (data := pipe.take_waiting(_PIECE)):
                left -= len(data)
        finally:
            timer.cancel()
        if left <= 0:
            exchange.cancel()

    def _may_go_on(self) -> bool:
        http = self._http
        is_done = http.our_state is h11.DONE and http.their_state is h11.DONE
        return is_done and not self._server.is_ending and not self._wire.is_pipelined


def _failure(error: BaseException) -> HttpFailure:
    """Return what a guest is told of a body that did not come."""
    if isinstance(error, HttpFailure):
        return error
    is_late = isinstance(error, DeadlineExceeded)
    return HttpFailure("connection-read-timeout" if is_late else "HTTP-protocol-error")
