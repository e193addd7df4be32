"""Open files: what a number names, what dups share, and the one place that says "ready".

A descriptor number - a guest's fd, or a connection in host code - names an open
file.  An open file can be tried: `try_read` and `try_write` move bytes or answer
`BLOCKED`, and never wait.  Whether it is worth trying is a level that everyone
derives from the same bits (`PollDesc.ready`):

- A bit that is set means "not known to block", which is all that a try wants to
  know.  So a fresh file starts with both.
- A bit is cleared by whoever was told "would block", and on a stream also by a
  transfer that was shorter than asked.
- It is set again by an event, of the poller or of a producer within the process.
- A bit that is set may be *stale*: nobody has looked since a read that got all it
  asked for, or a write of which all was taken.  Or it was set for what no event takes
  back: an error, which is gone with the call that tells of it; a FIFO's hangup, with
  its next writer; urgent data, which no read gets.  Whoever tells somebody else
  "ready" asks `level`, which looks again.

Host calls, a guest's reads and writes, its `poll_oneoff` and the pollables of a
component are consumers of these levels; none keeps readiness of its own.  So does
Emscripten's epoll: what it reports and what its poll reports are derived by one function.

With a poller whose registration is permanent, a bit that is clear is the truth,
and trying is refused without asking the kernel.  A guest that spins on
non-blocking reads never lets the poller run; so every 64th refusal in a row asks
the kernel all the same.  With any other poller a bit that is clear says only that
nothing was heard, perhaps since nobody asked, and `level` looks.
"""

import fcntl
import stat
import termios
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from coop.errors import BugError, Closed, NotPollable
from coop.netpoll.contract import BOTH, HANGUP, READ, STALE_BOTH, STALE_SHIFT, STALE_WRITE, WRITE
from coop.netpoll.looksys import look_at, unread
from coop.netpoll.polldesc import PollDesc
from coop.netpoll.pollsys import ERR, HUP, IN, OUT, RDHUP
from coop.timers import Timers

if TYPE_CHECKING:
    from coop.netpoll.contract import Poller

BLOCKED = -1
"""What a try answers when it would have to wait."""

_ASKED = IN | OUT | RDHUP
_READABLE = IN | RDHUP | HUP | ERR
_WRITABLE = OUT | HUP | ERR
_ENDED = RDHUP | HUP
_GONE = HUP | ERR

_ASK_AGAIN = 64
"""Every so many refusals in a row the kernel is asked, whatever the bits say."""


class GuestMemory(Protocol):
    """A guest's memory.

    base -- its address in this process
    view -- its bytes
    """

    base: int
    view: memoryview


class OpenFile(PollDesc):
    """One open file.  Subclasses say how bytes move.

    refs     -- how many numbers name it; `release` gives one back
    nonblock -- the guest's own O_NONBLOCK: its calls answer EAGAIN instead of parking
    is_known -- whether a bit that is clear is the truth, since the poller's registration is permanent
    st_mode  -- its type, as stat(2) has it
    """

    __slots__ = ("_refused", "is_known", "nonblock", "refs", "st_mode")

    must_wait = False
    """Whether bytes move in `wait` alone, on the task's greenlet, as where Python given by the user moves
    them: a try answers BLOCKED first, non-blocking or not, and the one after `wait` takes the result."""

    def __init__(
        self,
        fd: int,
        st_mode: int,
        what: str = "",
        *,
        poller: "Poller | None" = None,
        timers: Timers | None = None,
    ) -> None:
        super().__init__(fd, what, poller=poller, timers=timers)
        self.st_mode = st_mode
        self.nonblock = False
        self.refs = 1
        self.ready = BOTH | STALE_BOTH
        self._refused = 0
        if poller is not None:
            try:
                poller.open(self)
            except NotPollable:
                # A regular file or a device that is always ready: the bits stay set for ever.
                self.poller = None
                self.ready = BOTH
        self.is_known = self.poller is not None and self.poller.permanent

    def level(self, mode: int) -> int:
        """Return those bits of `mode` that are ready now, as anyone may be told."""
        ready = self.ready
        if ready & mode << STALE_SHIFT or not (ready & mode or self.is_known or self.poller is None):
            self._look()
            ready = self.ready
        return ready & mode

    def is_left(self) -> bool:
        """Whether the peer has closed its sending half, or all of it; what it sent before may be unread."""
        self._look()
        return self.ready & HANGUP != 0

    def _look(self) -> None:
        """Ask the kernel for the levels that are stale."""
        events = look_at(self.fd, _ASKED)
        ready = self.ready & ~(BOTH | STALE_BOTH)
        passes = ERR  # what a call takes away by telling of it, and no event does
        if not stat.S_ISSOCK(self.st_mode):
            ready &= ~HANGUP  # a new writer of a FIFO takes it back, and makes no event
            passes = _GONE
        if events & passes:
            ready |= STALE_BOTH
        if events & _READABLE:
            ready |= READ
        # What is nearly full counts as no room, and takes a little more all the same: a try still asks.
        ready |= WRITE if events & _WRITABLE else STALE_WRITE
        if events & _ENDED:
            ready |= HANGUP
        self.ready = ready

    def worth_trying(self, mode: int) -> bool:
        """Whether a try in `mode` may do something; False stands for a "would block" that is known."""
        if self.ready & (mode | (mode & WRITE) << STALE_SHIFT):
            self._refused = 0
            return True
        if not self.is_known:
            return True
        self._refused += 1
        if self._refused < _ASK_AGAIN:
            return False
        # Nothing is known any more, until the try that follows finds out.
        self._refused = 0
        self.ready |= mode | mode << STALE_SHIFT
        return True

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        """Read into `buffers` and return how many bytes; 0 is the end of the stream, BLOCKED nothing yet."""
        raise NotImplementedError

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        """Write from `buffers` and return how many bytes were taken, or BLOCKED."""
        raise NotImplementedError

    def read_one(self, buffer: memoryview) -> int:
        """Do what `try_read` does with one buffer, for who has found that it is worth trying."""
        return self.try_read((buffer,))

    def write_one(self, buffer: memoryview) -> int:
        """Do what `try_write` does with one buffer; for files that can do it faster so."""
        return self.try_write((buffer,))

    def read_at(self, memory: GuestMemory, at: int, length: int) -> int:
        """Do what `read_one` does with `length` bytes of a guest's memory, which lie in it, from `at` on."""
        return self.read_one(memory.view[at : at + length])

    def write_at(self, memory: GuestMemory, at: int, length: int) -> int:
        """Do what `write_one` does with `length` bytes of a guest's memory, which lie in it, from `at` on."""
        return self.write_one(memory.view[at : at + length])

    def available(self) -> int:
        """Count the bytes that can be read now; 1, for "some", where nobody can say."""
        if self.fd < 0:
            return 1
        if stat.S_ISSOCK(self.st_mode) or stat.S_ISFIFO(self.st_mode):
            return unread(self.fd)
        try:  # a device may take its time
            return int.from_bytes(fcntl.ioctl(self.fd, termios.FIONREAD, b"\0\0\0\0"), "little")
        except OSError:
            return 1

    def on_wait(self, mode: int) -> None:
        """Take notice that somebody is about to wait for `mode`; for files no poller watches."""

    def set_append(self, append: bool) -> None:
        """Make every write go to the end of the file, or not; streams have no other way."""

    def is_hung_up(self) -> bool:
        """Whether the peer is gone altogether, which HANGUP alone does not say; asks the kernel."""
        return look_at(self.fd, 0) & _GONE != 0

    # -- names

    def retain(self) -> "OpenFile":
        """Count one more number that names this file, and return it."""
        if self.refs == 0:
            raise Closed(f"duplicate {self.what}: use of closed {self.kind}")
        self.refs += 1
        return self

    def release(self) -> None:
        """Give one name back; with the last one the file closes and every waiter hears of it."""
        if self.refs == 0:
            raise Closed(f"close {self.what}: use of closed {self.kind}")
        self.refs -= 1
        if self.refs == 0:
            self.unblock()
            try:
                self.close()
            finally:
                self.destroy()

    def destroy(self) -> None:
        """Give the kernel's descriptor back; called once, after the poller forgot it."""
        raise BugError(f"{self.what} does not say how it ends")
