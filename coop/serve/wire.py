"""The bytes of one client's connection: what `h11` makes of them, and what it is owed at the end.

1. One piece is sent at a time, whichever task has it.
2. A client that waits for an answer sends nothing before it has all of it.  So a request that comes
   sooner was pipelined: it is not served, the connection ends after the answer.
3. What came is read before the connection is closed, or the kernel would take the answer back.
"""

import re
from contextlib import suppress
from typing import Any

import h11

from coop.net import Conn
from coop.net.tls import TlsConn
from coop.netpoll.contract import WRITE
from coop.netpoll.kernelfiles import SocketFile
from coop.netpoll.polldesc import PollDesc
from coop.serve.heads import has_body, reason
from coop.wasip2.http.machine import Machine

__all__ = ["Wire"]

_PIECE = 64 << 10

_UNREAD = (h11.IDLE, h11.SEND_BODY, h11.ERROR)
"""What a client is in while there is more of its request to read, or it is none.

Among the others is that of one that asked for another protocol and has not been answered.
"""

_NOTHING = (b"", b"\r", b"\r\n")
_EMPTY_BYTES = 256
"""Of empty lines before a request: one is usual, and none has a meaning."""
_EMPTY_LINES = re.compile(rb"(?:\r\n)*")

_LINGER_S = 2.0
_LINGER_BYTES = 64 << 20
"""How long a client may take to read the last answer while what it sends is thrown away, and how much."""


class Wire:
    """A client's connection as HTTP.

    stream   -- what is read and written; for deadlines
    http     -- the machine that knows whose turn it is; another one after each `begin_next`
    moved    -- bytes that were sent
    is_begun -- whether something of the next request has come
    was_waiting -- whether the client still waited to be told to send its body when the answer began, and so
                may never send it
    """

    def __init__(self, conn: Conn, stream: Conn | TlsConn, head_bytes: int, pause_seconds: float) -> None:
        self.stream = stream
        self.http = Machine(h11.SERVER, head_bytes)
        self.moved = 0
        self.is_begun = self.was_waiting = False
        self._conn = conn
        self._head_bytes = head_bytes
        self._pause_seconds = pause_seconds
        self._turn = PollDesc(-1, "the turn to send")  # an answer and "100 Continue" come of two tasks
        self._turn.ready = WRITE
        self._half = b""  # of an empty line before a request
        self._empty = 0  # bytes of such lines
        self._left: int | None = None  # bytes the answer lacks; None: they are not known
        self._is_whole = False  # nothing of the answer is left to send, as far as the client can tell
        self._is_early = True  # what came last came before that

    @property
    def is_read(self) -> bool:
        """Whether all of a request was read."""
        return self.http.their_state not in _UNREAD

    @property
    def has_more(self) -> bool:
        """Whether the next request has begun to come behind this one; one empty line is none."""
        return self.is_read and self.http.trailing_data[0] not in _NOTHING

    @property
    def is_pipelined(self) -> bool:
        """Whether the next request came before the answer to this one was sent whole.

        While a body is read nobody can tell, so the answer's head may have left before it is known.
        """
        return self._is_early and self.has_more

    # -- what comes in

    def receive(self) -> bytes:
        """Wait for a piece and let `http` have it; return it, b"" at the end."""
        data = self.stream.recv(_PIECE)
        # When it is told apart from a body, the answer may have been sent: so it is noted now.
        self._is_early = not self._is_whole
        if data and not self.is_begun:
            self._begin(data)
        else:
            self.http.receive_data(data)
        return data

    def is_left(self) -> bool:
        """Whether the client sends no more, though what it has sent may not be received yet."""
        return self._conn.openfile.is_left()

    def _begin(self, data: bytes) -> None:
        """Take the first piece of a request, without empty lines.

        Some clients send one behind a body (RFC 9112, 2.2); `h11` takes it for a request without a line.
        """
        data = self._half + data
        found = _EMPTY_LINES.match(data)
        assert found is not None
        data = data[found.end() :]
        self._empty += found.end()
        if self._empty > _EMPTY_BYTES:
            raise h11.RemoteProtocolError("too many empty lines before a request")
        self._half = data if data == b"\r" else b""
        if data and not self._half:
            self.is_begun, self._empty = True, 0
            self.http.receive_data(data)

    def begin_next(self) -> None:
        """Turn to the next request, of which a part may have come."""
        data, is_ended = self.http.trailing_data
        self._is_whole, self._is_early, self._left = False, True, None
        self.http.start_next_cycle()
        self.is_begun = bool(data)
        if data.startswith(b"\r"):
            self.http = Machine(h11.SERVER, self._head_bytes)
            self.is_begun = False
            self._begin(data)
            if is_ended:
                self.http.receive_data(b"")

    # -- what goes out

    def send(self, event: Any) -> None:
        """Send an event.  Raises: h11.LocalProtocolError; OSError."""
        self._turn.wait(WRITE, "write")
        self._turn.block(WRITE)
        try:
            if isinstance(event, h11.InformationalResponse) and not self._may_inform():
                return
            if isinstance(event, h11.Response):
                self.was_waiting = self.http.they_are_waiting_for_100_continue  # it forgets that now
            data = self.http.send(event)
            self._count(event)
            if data:
                self.stream.set_write_deadline(self._pause_seconds)
                self.stream.sendall(data)
                self.moved += len(data)
        finally:
            self._turn.notify(WRITE)

    def _may_inform(self) -> bool:
        return self.http.they_are_waiting_for_100_continue and self.http.our_state is h11.SEND_RESPONSE

    def _count(self, event: Any) -> None:
        """Note when the last of an answer goes out: from there on the client may have it and ask again.

        That is before the guest has ended its body, if the length was told.
        """
        if isinstance(event, h11.Response):
            lengths = [int(value) for name, value in event.headers if name == b"content-length"]
            self._left = lengths[0] if lengths else None
            if not has_body(self.http.method.decode(), event.status_code):
                self._left = 0
        elif isinstance(event, h11.Data) and self._left is not None:
            self._left -= len(event.data)
        if self._left == 0 or isinstance(event, h11.EndOfMessage):
            self._is_whole = True

    def refuse(self, status: int, words: str) -> bool:
        """Answer without a guest, for the last time; whether that was still possible."""
        if self.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return False
        body = f"{words}\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        # A head that never came whole can be one for HEAD all the same, and the answer to that has no body.
        method = self.http.method + b" " if self.http.method else self.http.trailing_data[0][:5]
        is_head = bool(method) and b"HEAD ".startswith(method)
        self.send(h11.Response(status_code=status, headers=headers, reason=reason(status)))
        if not is_head:
            self.send(h11.Data(data=body))
        self.send(h11.EndOfMessage())
        return True

    # -- the end

    def linger(self) -> None:
        """Read on for a moment: to close with bytes unread would take the answer back from the client."""
        if self.is_read and not self.has_more:
            return
        self.stream.shutdown()
        self._conn.set_read_deadline(_LINGER_S)
        left = _LINGER_BYTES
        while left > 0 and (data := self._conn.recv(_PIECE)):
            left -= len(data)

    def reset(self) -> None:
        """End in a way that cannot be taken for the end of a body."""
        file = self._conn.openfile
        assert isinstance(file, SocketFile)
        with suppress(OSError):
            file.reset_at_end()
            self._conn.close()

    def close(self) -> None:
        """Close it; without `linger` before it, what the client has not taken may be lost."""
        with suppress(OSError):
            self.stream.close()
