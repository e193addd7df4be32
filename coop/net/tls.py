"""TLS over a connection of host code: the `ssl` module encrypts, the connection moves the bytes.

`ssl` wants to block on a socket or to be fed from memory; it is fed here, so that
whatever it waits for parks the task.

1. One task may read and another write at the same time, as on a plain connection.
2. Closing sends what TLS says at the end, if that can be sent at once.
"""

import ssl
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from coop.net.conn import Conn
from coop.netpoll.contract import WRITE
from coop.netpoll.polldesc import PollDesc
from coop.slips import Unique

__all__ = ["TlsConn"]

_T = TypeVar("_T")

_PIECE = 64 << 10


class TlsConn(Unique):
    """A connection that carries TLS; `handshake` comes first.

    conn     -- the connection below, which this one closes
    context  -- what is trusted and shown
    hostname -- client: whom the server has to be; None: this side is the server
    was_cut  -- whether the peer ended without saying so in TLS, as anybody between could do
    """

    def __init__(self, conn: Conn, context: ssl.SSLContext, hostname: str | None) -> None:
        self.conn = conn
        self.was_cut = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=hostname is None, server_hostname=hostname
        )
        self._free = PollDesc(-1, "the sending side of a TLS connection")
        self._free.ready = WRITE

    def handshake(self) -> None:
        """Agree on keys.  Raises: ssl.SSLError, its certificate error among them; OSError."""
        try:
            self._do(self._tls.do_handshake)
        except ssl.SSLError:
            self._flush()  # the alert tells the peer why
            raise

    def recv(self, size: int = _PIECE) -> bytes:
        """Return up to `size` bytes; b"" is the end.  Raises: ssl.SSLError; OSError."""
        try:
            data = self._do(lambda: self._tls.read(size))
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLEOFError:
            data = b""
        if not data and self._incoming.eof:
            # Some versions of `ssl` raise nothing here; but TLS that has read a goodbye wants no more.
            self.was_cut = True
        return data

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`.  Raises: ssl.SSLError; OSError."""
        view = memoryview(data)
        while view:
            sent = self._do(partial(self._tls.write, view[:_PIECE]))
            view = view[sent:]
        # What a reader has begun to send is on its way before this returns.
        while self._outgoing.pending or not self._free.ready:
            self._free.wait(WRITE, "write")
            self._flush()

    def set_deadline(self, seconds: float | None) -> None:
        """Let calls fail with DeadlineExceeded `seconds` from now; None: never."""
        self.conn.set_deadline(seconds)

    def set_read_deadline(self, seconds: float | None) -> None:
        """Let reading fail with DeadlineExceeded `seconds` from now; None: never."""
        self.conn.set_read_deadline(seconds)

    def set_write_deadline(self, seconds: float | None) -> None:
        """Let writing fail with DeadlineExceeded `seconds` from now; None: never."""
        self.conn.set_write_deadline(seconds)

    def close(self) -> None:
        """Say goodbye, as far as that goes without waiting, and close the connection below."""
        self._say_goodbye()
        self.conn.close()

    def shutdown(self) -> None:
        """Say goodbye and send nothing more, so that the peer reads the end."""
        self._say_goodbye()
        self.conn.shutdown()

    def _say_goodbye(self) -> None:
        try:
            self._tls.unwrap()
        except (ssl.SSLError, OSError, ValueError):
            pass  # the peer has not said its own goodbye yet, and is not waited for
        try:
            if self._free.ready and self._outgoing.pending:
                self.conn.openfile.try_write([memoryview(self._outgoing.read())])
        except OSError:
            pass

    def _do(self, act: Callable[[], _T]) -> _T:
        """Do something of TLS's, moving bytes until it is done."""
        while True:
            try:
                done = act()
            except ssl.SSLWantReadError:
                self._flush()
                data = self.conn.recv(_PIECE)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
                continue
            except ssl.SSLWantWriteError:
                self._flush()
                continue
            self._flush()
            return done

    def _flush(self) -> None:
        """Send what TLS has made; where another task is at it, that one sends it all."""
        if not self._free.ready:
            return
        self._free.block(WRITE)
        try:
            while self._outgoing.pending:
                self.conn.sendall(self._outgoing.read())
        finally:
            self._free.notify(WRITE)
