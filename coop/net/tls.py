"""TLS over a connection of host code: the `ssl` module encrypts, the connection moves the bytes.

`ssl` wants to block on a socket or to be fed from memory; it is fed here, so that
whatever it waits for parks the task.

1. One task may read and another write at the same time, as on a plain connection.
2. Reading never waits until something is sent: a peer that has TLS answer and does not take the
   answers would keep the reader for ever, for whom no deadline of writing is set.
3. What TLS has made is sent in its order and once, whatever interrupts a task that sends.
4. Closing sends what TLS says at the end, if that can be sent at once, and loses nothing that was sent.
"""

import errno
import ssl

from coop.net.conn import Conn
from coop.netpoll.contract import WRITE
from coop.netpoll.openfile import BLOCKED
from coop.netpoll.polldesc import PollDesc
from coop.scheduler import scheduler
from coop.slips import Unique
from coop.stint import Stint

__all__ = ["TlsConn"]

_PIECE = 64 << 10

_MEAL = 2 << 10
"""Bytes that TLS is given to read at once: it takes all that is no data in one go, and keeps the thread."""

_ANSWERS = 16 << 10
"""Bytes of what TLS has answered that may wait for a peer that does not read."""

_WITHOUT_DATA = 128 << 10
"""Bytes that may come without any data among them; a whole record is far smaller."""


_MOST_DROPPED = 1 << 20
"""Bytes; whoever sends more to somebody who does not read gets the reset."""


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
        self._owner = scheduler()
        self._stint = Stint(self._owner)
        self._untasted = memoryview(b"")  # has come, and was not given to TLS yet
        self._unsent = memoryview(b"")  # was taken from TLS; goes before what it has made since
        self._free = PollDesc(-1, "the sending side of a TLS connection")
        self._free.ready = WRITE

    def handshake(self) -> None:
        """Agree on keys.  Raises: ssl.SSLError, its certificate error among them; OSError."""
        try:
            while not self._is_agreed():
                self._flush()
                self._feed()
        except ssl.SSLError:
            self._flush()  # the alert tells the peer why
            raise
        self._flush()

    def _is_agreed(self) -> bool:
        self._stint.step()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def recv(self, size: int = _PIECE) -> bytes:
        """Return up to `size` bytes; b"" is the end.  Raises: ssl.SSLError; OSError."""
        left = _WITHOUT_DATA
        while (data := self._try_recv(size)) is None:
            if left <= 0:
                raise _ended("what came had no data in it")
            self._answer()
            left -= self._feed()
        return data

    def _try_recv(self, size: int) -> bytes | None:
        """Return what TLS has, b"" at the end; None if it has to be given more."""
        self._stint.step()
        try:
            data = self._tls.read(size)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLEOFError:
            data = b""
        if not data and self._incoming.eof:
            # Some versions of `ssl` raise nothing here; but TLS that has read a goodbye wants no more.
            self.was_cut = True
        return data

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`; what was sent when this raises is not known.  Raises: ssl.SSLError; OSError."""
        view = memoryview(data).cast("B")
        while view:
            self._stint.step()
            self._free.wait(WRITE, "write")
            sent = self._tls.write(view[:_PIECE])
            self._flush()
            view = view[sent:]

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
        """Say goodbye, as far as that goes without waiting, and close the connection below.

        In a process that was forked meanwhile only its own descriptor is closed.
        """
        if not self._owner.is_copy:
            self._say_goodbye()
            self._drop_unread()
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
            if self._free.ready:
                self._send_some()
        except OSError:
            pass

    def _drop_unread(self) -> None:
        """Take what has come and nobody read, as a server's session tickets where a client has only sent.

        The kernel ends a connection that is closed with unread bytes by a reset, and with that drops what it
        has not delivered yet.
        """
        file, room = self.conn.openfile, memoryview(bytearray(_PIECE))
        try:
            for _ in range(_MOST_DROPPED // _PIECE):
                if file.closing or file.read_one(room) in {BLOCKED, 0}:
                    return
        except OSError:
            pass  # it has ended, or was reset by the peer

    def _feed(self) -> int:
        """Wait for something of the peer's and give TLS some of it; return how many bytes."""
        if not self._untasted:
            self._untasted = memoryview(self.conn.recv(_PIECE))
        meal, self._untasted = self._untasted[:_MEAL], self._untasted[_MEAL:]
        if meal:
            self._incoming.write(meal)
        else:
            self._incoming.write_eof()
        return len(meal)

    def _answer(self) -> None:
        """Send what reading has had TLS say, as far as that goes at once.  Raises: OSError."""
        if not self._outgoing.pending:
            return
        if self._free.ready and not self.conn.openfile.closing:
            self._send_some()
        if self._outgoing.pending > _ANSWERS:
            raise _ended("the peer does not read what TLS answers")

    def _flush(self) -> None:
        """Send what TLS has made, waiting as long as that takes."""
        self._free.wait(WRITE, "write")
        self._free.block(WRITE)
        file = self.conn.openfile
        try:
            while True:
                file.require(WRITE, "write")
                if self._send_some():
                    return
                file.wait(WRITE, "write")
        finally:
            self._free.notify(WRITE)

    def _send_some(self) -> bool:
        """Send what can be sent at once, for who has the sending side; whether that was all."""
        file = self.conn.openfile
        while self._unsent or self._outgoing.pending:
            if not self._unsent:
                self._unsent = memoryview(self._outgoing.read())
            count = file.try_write([self._unsent])
            if count == BLOCKED:
                return False
            self._unsent = self._unsent[count:]
        return True


def _ended(why: str) -> OSError:
    return ConnectionAbortedError(errno.ECONNABORTED, f"TLS connection given up: {why}")
