"""No shot while the process forks.

While the C library's thread of timers takes a shot it holds a lock, which a process forked just
then would find held for ever.  So before a fork the timers are put off, and a last shot shows that
it has taken all that came before; afterwards they go on.

    this thread                              others, whenever they get the GIL
    timers put off by 20 ms
    a last shot is taken       <-----------  one armed since: begin anew
    timers put off by 1 s
    fork
    timers go on, the GIL is shared

Put off, not stopped: the GIL may change hands at any step, and whose guest computes then would
never give it back.
"""

import ctypes as C
import os
import sys
import threading
import time
import weakref
from typing import Protocol

from coop.clock import SECOND_NS
from coop.engine.shots import CLOCK_MONOTONIC, TimerSpec, libc, shot


class Shooting(Protocol):
    """What has timers."""

    def put_off(self, by_ns: int) -> None:
        """Fire nothing for so long, and then again and again."""
        ...

    def go_on(self) -> None:
        """Fire again as before."""
        ...


_shooting: "weakref.WeakSet[Shooting]" = weakref.WeakSet()


def put_off_at_forks(thing: Shooting) -> None:
    """Have the timers of `thing` put off by every fork from here on."""
    _shooting.add(thing)


_TRIES, _TRY_US = 10_000, 500
"""Five seconds, more than a busy system keeps a thread waiting; without memory the shot is lost."""


class TimerThread:
    """The C library's thread that takes every shot of this process.

    exists -- whether there has been a timer; the thread stays after the last one is gone
    armed  -- how often a shot was ordered
    """

    def __init__(self) -> None:
        self.exists, self.armed = False, 0
        self._awaited: dict[int, C.Array[C.c_char]] = {}

    def await_quiet(self) -> bool:
        """Return when it sleeps, holds no lock, and is to take no shot that was fired before.

        It takes shots in the order in which they were fired, so the last one is told of last; by then it
        may hold its lock, for which whoever deletes a timer has to wait.

        Returns: False if the system had nothing left for that last shot.
        """
        taken = C.create_string_buffer(64)  # a semaphore, which lives as long as the shot may come
        address = C.addressof(taken)
        self._awaited[address] = taken
        libc.sem_init(taken, 0, 0)
        event = shot(C.cast(libc.sem_post, C.c_void_p).value or 0, address)
        timer = C.c_void_p()
        if libc.timer_create(CLOCK_MONOTONIC, C.byref(event), C.byref(timer)) != 0:
            del self._awaited[address]
            return False
        libc.timer_settime(timer, 0, C.byref(TimerSpec(0, 0, 0, 1)), None)
        for _ in range(_TRIES):
            if libc.sem_trywait(taken) == 0:
                del self._awaited[address]
                break
            libc.usleep(_TRY_US)
        libc.timer_delete(timer)
        return address not in self._awaited


timer_thread = TimerThread()

_HELD_S, _ROUNDS = 0.2, 20
"""For so long a thread that forks keeps the GIL, and so often it begins anew because another one had it."""

_SOON_NS, _FORK_NS = 20_000_000, SECOND_NS
"""For so long timers are put off at first, and then for longer; and for a fork, which may take 100 ms."""

_forking, _PATIENCE_S = threading.RLock(), 5
"""One thread forks after the other; but should a signal's handler raise just here, not all wait for ever."""

_usual_s: float | None = None  # while the GIL is kept


def _before_fork() -> None:
    global _usual_s
    if not timer_thread.exists:
        return
    if not _forking._is_owned():  # type: ignore[attr-defined]  # by a fork on which a signal's handler stands
        _forking.acquire(timeout=_PATIENCE_S)
    # Or another scheduler's thread gets the GIL between two steps, and arms a timer.  One that has waited for
    # it since before may get it all the same, once: then all is done again.
    if _usual_s is None:
        _usual_s = sys.getswitchinterval()
        sys.setswitchinterval(_HELD_S)
    for i in range(_ROUNDS):
        by_ns = min(_SOON_NS << i, _FORK_NS)
        armed, late_ns = timer_thread.armed, time.monotonic_ns() + by_ns // 2
        _put_off(by_ns)
        if not timer_thread.await_quiet():
            break
        if timer_thread.armed == armed and time.monotonic_ns() < late_ns:
            break
    _put_off(_FORK_NS)


def _put_off(by_ns: int) -> None:
    for each in list(_shooting):
        each.put_off(by_ns)


def _share_the_gil() -> None:
    global _usual_s
    if _usual_s is not None:
        sys.setswitchinterval(_usual_s)
        _usual_s = None


def _after_fork() -> None:
    for each in list(_shooting):  # while the GIL is kept: other threads have timers of their own
        each.go_on()


def _end_fork() -> None:
    if _forking._is_owned():  # type: ignore[attr-defined]  # or the preparations were another's, or none
        _share_the_gil()
        _forking.release()


def _after_fork_in_child() -> None:
    global _forking
    _forking = threading.RLock()
    _share_the_gil()
    _shooting.clear()
    timer_thread.exists = False


# A signal's handler may raise at any step, also before the first one of a function, and the rest of that
# function is lost.  So what must be undone has a function of its own, and a second call if the first is lost.
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
for _ in range(2):
    os.register_at_fork(after_in_parent=_end_fork, after_in_child=_after_fork_in_child)
