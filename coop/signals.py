"""Signals while a run lasts, without an exception in the wrong place.

A Python signal handler that raises can fire at the entry of a guest's host call,
where its exception would be lost, or in the middle of the scheduler, which it
would leave half done.  So while a run lasts in the main thread, SIGINT is taken
over, and only where Python's own handler stands: ours notes it and breaks the
poll, and `KeyboardInterrupt` is raised in the main task where it parks.

A signal that arrives between Python's last look and the poller's wait would be
heard only when something else ends the wait.  So the C half of Python's handler
writes a byte to a socket pair (an eventfd would refuse the one byte), which the
poller watches.  Whoever had such a descriptor before, as the loop of asyncio around
this run has, is handed each byte: it is all that a loop ever learns of a signal.

A handler of the user's may raise too.  Where that would hit a guest's host call or
coop's own code, the exception is raised at the next park instead: in the task that
runs, or in the main task if none does.  An exit, such as `sys.exit` in a handler for
SIGTERM, is meant for the program and not for whichever task happens to run: it is always
raised in the main task, unless another one is still on its way there.

A process that is forked while the run lasts has none whose main task could be told.  In it the
handlers and the descriptor are at once what they were before the run.

In other threads no handler is touched.  A second ^C while the first is still on
its way - the main task computes, and never parks - is raised right there, if the
user's code is what runs.
"""

import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from operator import is_
from types import FrameType, TracebackType

from coop.errors import combined
from coop.forks import abandon_in_children
from coop.netpoll.contract import READ
from coop.netpoll.kernelfiles import SocketFile
from coop.scheduler import Scheduler
from coop.task import Task, current, current_or_none

FAULTS = (signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGBUS)
"""What an instruction raises: Python's handlers are of no use for it, and wasmtime's are needed."""

_ALL = tuple(map(int, sorted(signal.valid_signals() - set(FAULTS))))
"""What the user's handlers may be for."""

_handler_of: Callable[[int], object] = import_module("_signal").getsignal
"""`signal.getsignal` without its search for an enum member, which takes a third of a guest's start."""

_LIBRARIES = sys.stdlib_module_names | {"greenlet", "h11", "structlog", "wasmtime"}
"""What coop and its users call: where an exception would break off what coop does by it."""

_FIRST = Task._run.__code__

Handler = Callable[[int, FrameType | None], object]


class Guarded:
    """A user's signal handler whose exception never lands where it would be lost, and that keeps errno.

    Whoever changed the handler during the run has this one to put back, and may do so after the run.

    handler -- the user's
    signals -- those of the run
    """

    def __init__(self, handler: Handler, signals: "Signals") -> None:
        self.handler = handler
        self.signals = signals
        self._owner = signals.owner
        self._exit: BaseException | None = None  # that was given to the main task last

    def _is_on_its_way(self) -> bool:
        """Whether there is an exit that the main task has not come to."""
        main, error = self._owner.main, self._exit
        if main is None or error is None or not main.forget_interrupt(error):
            return False
        main.interrupt(error)
        return True

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Call the handler; raise what it raises, here or at the next park."""
        if not self.signals.is_in_place:
            self.handler(number, frame)
            return
        # The handler may have come just before somebody asks what a call has failed with, as after one in C.
        failed_with = ctypes.get_errno()
        try:
            self.handler(number, frame)
        except BaseException as error:
            task = current_or_none()
            main = self._owner.main
            if not isinstance(error, Exception) and task is not main and not self._is_on_its_way():
                task, self._exit = main, error
            elif _may_raise(frame):
                raise
            elif task is None or task.is_done or self._owner.is_internal(task):
                task = main
            if task is None or task.is_done:
                # Raised here it could hit the hub between taking a task off the queue and resuming it.
                self.signals.late.append(error)
            else:
                task.interrupt(error)
        finally:
            ctypes.set_errno(failed_with)


def _may_raise(frame: FrameType | None) -> bool:
    """Whether an exception may be raised where a signal came: in the user's code, with no guest below it.

    A library's code, which keeps no more in order than coop's when it is broken off, is that of its caller;
    what a task runs at first is the user's.
    """
    task = current_or_none()
    if task is None or task.pinned:
        return False
    is_library = False
    while frame is not None and _module(frame) in _LIBRARIES:
        is_library, frame = True, frame.f_back
    if frame is None:
        return False
    return _module(frame) != "coop" or (is_library and frame.f_code is _FIRST)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


class Signals:
    """A context manager around a run.

    owner       -- the run's scheduler
    late        -- the errors of handlers that came when no task was left to take them
    is_in_place -- whether the handlers are those of the run
    """

    def __init__(self, owner: Scheduler) -> None:
        self.owner = owner
        self.late: list[BaseException] = []
        self.is_in_place = False
        self._is_main = threading.current_thread() is threading.main_thread()
        self._was_fd = -1
        self._takes_sigint = False
        self._is_pending = False
        self._interrupt = KeyboardInterrupt()
        self._seen: list[object] = [self.late] * len(_ALL)
        self._process = os.getpid()
        self._write: socket.socket | None = None
        self._file: SocketFile | None = None

    def __enter__(self) -> "Signals":
        if not self._is_main:
            return self
        read, self._write = socket.socketpair()
        try:
            self._write.setblocking(False)
            self._file = SocketFile(read, "signals", poller=self.owner.poller)
            self._was_fd = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        except BaseException:
            read.close()
            self._write.close()
            raise
        self.is_in_place = True
        abandon_in_children(self)
        self.owner.spawn_internal(self._drain, "signals")
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._on_sigint)
            self._takes_sigint = True
        self._guard()
        self.owner.before_guest = self._guard
        return self

    def _guard(self) -> None:
        """Put a `Guarded` around every handler of the user's; again before a guest starts, for new ones."""
        handlers = list(map(_handler_of, _ALL))
        if all(map(is_, handlers, self._seen)):
            return
        for number, handler in zip(_ALL, handlers, strict=True):
            if isinstance(handler, Guarded) and handler.signals is not self:
                handler = handler.handler  # put back after the run that it was for
            if not callable(handler) or isinstance(handler, Guarded):
                continue
            if handler not in (signal.default_int_handler, self._on_sigint):
                signal.signal(number, Guarded(handler, self))
        self._seen = list(map(_handler_of, _ALL))

    @staticmethod
    def _unguard() -> None:
        for number in _ALL:
            handler = _handler_of(number)
            if isinstance(handler, Guarded):
                signal.signal(number, handler.handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._is_main:
            return
        self._restore()
        self._close()
        if self._is_pending:
            self.late.insert(0, KeyboardInterrupt())
        if self.late:
            # They came when the main task was past its last park.
            raised = combined(error, self.late)
            assert raised is not None
            raise raised

    def _restore(self) -> None:
        """Put everything back as it was before the run; a second time changes nothing."""
        if not self.is_in_place:
            return
        self._unguard()
        if self._takes_sigint and signal.getsignal(signal.SIGINT) == self._on_sigint:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(self._was_fd, warn_on_full_buffer=False)
        self.is_in_place = False

    def abandon(self) -> None:
        """Leave the signals of a process forked during the run to it; what was on its way is the parent's."""
        self._restore()
        self._is_pending = False
        self.late.clear()

    def _close(self) -> None:
        assert self._file is not None
        assert self._write is not None
        try:
            if self._process == os.getpid():
                with suppress(OSError):
                    self._pass_on(self._file.sock.recv(4096))  # what came when nobody drained it any more
                self._file.release()
            else:
                # Shutting a socket down, or taking it from the poller, would reach the parent's as well.
                self._file.sock.close()
        finally:
            self._write.close()

    def _drain(self) -> None:
        """Empty the socket pair whenever a signal came; a task of coop's own that waits uncounted."""
        file, task = self._file, current()
        assert file is not None
        buffer = memoryview(bytearray(64))
        while True:
            try:
                got = file.try_read([buffer])
            except OSError:
                got = -1  # short of memory: what is left there is read after the next signal
            if got > 0:
                self._pass_on(buffer[:got])
            if got < 0:
                waiter = file.add_wait(READ, task)
                try:
                    task.park("signals")
                finally:
                    file.done(waiter)

    def _pass_on(self, signals: bytes | memoryview) -> None:
        """Hand the bytes on to the descriptor that was there before the run, as if it still were."""
        if self._was_fd >= 0:
            with suppress(OSError):  # it is full, or closed by now: then C's own write would be lost as well
                os.write(self._was_fd, signals)

    def _on_sigint(self, number: int, frame: FrameType | None) -> None:
        if not self.is_in_place:  # put back after the run, like a `Guarded`
            signal.default_int_handler(number, frame)
        if self._is_pending:
            if _may_raise(frame):
                self._is_pending = False
                raise KeyboardInterrupt
            return
        self._is_pending = True
        self.owner.post(self._interrupt_main)

    def _interrupt_main(self) -> None:
        self._is_pending = False
        task: Task | None = self.owner.main
        if task is not None and not task.is_done:
            task.forget_interrupt(self._interrupt)  # two in a row are one
            task.interrupt(self._interrupt)
