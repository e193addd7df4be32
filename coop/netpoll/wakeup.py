"""The wake-up: one eventfd that makes a blocked poll return, as Go's `netpollBreak` does.

Signalling it is the one thing in this package that another thread or a signal
handler may do, so it takes no lock: a handler that interrupts the holder of a
lock on its own thread would wait for ever.  The flag is a list with one token in
it instead.  `list.pop` is a single operation to the interpreter: of any number
of threads and handlers exactly one gets the token, and the others find the list
empty.  Whoever has the token writes; the poll that reads the counter puts the
token back, after the read, so no signal is lost between the two.

1. The token lies in the list, or one write is outstanding, or its writer is
   about to write it.  (An exception that a signal handler throws into the writer
   or the reader puts the token back; the counter may then reach 2, which one read
   clears.)
2. A poll with delay 0 leaves counter and token alone: the next blocking poll
   still returns at once.
3. After `close` the number is never written to again, whatever it names then.
"""

import os
import select
import sys

from coop.errors import BugError
from coop.netpoll.pollsys import IN

_ONE = (1).to_bytes(8, sys.byteorder)

_CLOSE_MS = 1000


class Wakeup:
    """One eventfd and its flag; each poller has one.

    fd -- the kernel's number, watched for readability; -1 after `close`
    """

    __slots__ = ("_token", "fd")

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._token = [None]

    def signal(self) -> None:
        """Make the poll that blocks, or else the next one that would, return.

        Callable from any thread and from signal handlers.  Python repeats the write
        after EINTR by itself.
        Source: Go's runtime/netpoll_epoll.go.
        """
        try:
            self._token.pop()
            os.write(self.fd, _ONE)
        except (IndexError, BlockingIOError):
            # Somebody else's write is outstanding, or the counter is at its maximum: signalled already.
            return
        except BaseException:
            # Our own write may not have happened: without the token back, no later one would either.
            self._token[:] = [None]
            raise

    def take(self, events: int, *, may_block: bool) -> None:
        """Take notice of what the kernel reported for the eventfd.

        A poll that was allowed to block clears the signal, counter first, then the
        flag; one that only looked leaves both.
        Raises: BugError if the report is anything but "readable".
        Source: Go's runtime/netpoll_epoll.go.
        """
        if events != IN:
            raise BugError(
                f"wait for the wake-up: its eventfd is ready for something unexpected, {events:#x}"
            )
        if may_block:
            try:
                os.read(self.fd, 8)
            finally:
                # Also when a signal handler throws into this: a token too early costs one empty wake-up.
                self._token[:] = [None]

    def forget(self) -> None:
        """Clear the signal if there is one, counter first, then the flag."""
        if not self._token:
            try:
                os.read(self.fd, 8)
            except BlockingIOError:
                return  # whoever took the token has yet to write
            self._token[:] = [None]

    def close(self) -> None:
        """Close the eventfd; signals that come later do nothing.  Closing twice changes nothing."""
        if self.fd < 0:
            return
        try:
            self._token.pop()
        except IndexError:
            # A write is outstanding.  Its thread may not have come to it yet, and must not find another
            # file behind the number; bounded, because that thread may also be the one we interrupted.
            waiting = select.poll()
            waiting.register(self.fd, select.POLLIN)
            waiting.poll(_CLOSE_MS)
        fd, self.fd = self.fd, -1
        os.close(fd)
