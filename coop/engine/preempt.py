"""The end of a slice: a timer of the C library that bumps the engine's epoch.

A guest that computes holds the thread and the GIL, so no Python code can take
the thread back; the timer's function is wasmtime's own `increment_epoch`, called
by the C library without Python.

For a guest that begins, a shot is armed only if the last one was armed a while ago, and instead of
that one if it has not come yet.  So while guests come and go it is put off, while nothing runs it is
fired once, and nobody has to disarm a timer on the way to the idle path.  A slice may be shorter than
asked - the shot was armed for somebody else - but never longer.

A guest that has used up a slice gets shots of its own, for as long as it may run this
time: until somebody's sleep is over, for instance.

Three things can lose a shot, and with it the power to stop a guest for ever:

- Linux drops the signal of a timer that is armed again before its signal was
  taken, and a guest that calls out every microsecond arms again just then.  So
  there are two timers, armed in turn.
- A guest that comes back from the end of a slice gets its next deadline when
  wasmtime resumes it, one epoch from then.  Should the operating system take the
  processor away just before, a shot could be over by then.  For such a guest the
  shots repeat, until its slice has ended.
- Each shot takes a thread for a moment, and the system may have none left.  So every shot
  is followed by others, though seldom: whatever runs by then is made to yield as soon as
  there is a thread again.

The C library keeps one sleeping thread for all such timers of a process, from the first
one on, which starts another one for each shot.  While it takes a shot it holds a lock, which
a process forked just then would find held for ever.  So before a fork the timers are put off,
and a last shot shows that it has taken all that came before; afterwards the parent's slices
are ended, and timed anew.  Put off, not stopped: the GIL may change hands in between, and whose
guest computes then would never give it back.
"""

import ctypes as C
import os
import sys
import threading
import time
import weakref
from contextlib import suppress

from coop.clock import SECOND_NS
from coop.engine.capi import address_of_function
from coop.engine.config import Engine
from coop.errors import Unsupported

SLICE_NS = 10_000_000
"""How long a busy guest runs before the others get a turn."""

AGAIN_NS = 200_000
"""After a slice's end was called for and the guest goes on, it is called for again so soon."""

now_ns = time.monotonic_ns
"""The moment slices are measured by: always the system's clock, never one turned by hand."""

_CLOCK_MONOTONIC = 1
_SIGEV_THREAD = 2


class _SigEvent(C.Structure):
    _fields_ = (
        ("value", C.c_void_p),
        ("signo", C.c_int),
        ("notify", C.c_int),
        ("function", C.c_void_p),
        ("attributes", C.c_void_p),
        ("room", C.c_uint8 * 32),
    )


class _TimerSpec(C.Structure):
    _fields_ = (
        ("interval_s", C.c_long),
        ("interval_ns", C.c_long),
        ("value_s", C.c_long),
        ("value_ns", C.c_long),
    )


def _libc() -> C.PyDLL:
    for name in (None, "librt.so.1"):
        try:
            library = C.PyDLL(name, use_errno=True)
            _ = library.timer_create
        except (OSError, AttributeError):
            continue
        library.timer_create.argtypes = [C.c_int, C.c_void_p, C.c_void_p]
        library.timer_settime.argtypes = [C.c_void_p, C.c_int, C.c_void_p, C.c_void_p]
        library.timer_delete.argtypes = [C.c_void_p]
        return library
    raise Unsupported("the C library has no timer_create, which pre-emption needs")


_rt = _libc()

_SELDOM_S = 2
"""After a shot that should have been the only one, others follow so seldom."""

_STACK = 128 << 10
"""Of a thread that takes one shot: the usual 8 MiB may not be to be had, and a guest would run for ever."""

_attributes = C.create_string_buffer(256)
_rt.pthread_attr_init(_attributes)
_rt.pthread_attr_setstacksize(_attributes, C.c_size_t(_STACK))


def _shot(function: int, argument: int) -> _SigEvent:
    """Say what a timer does: call a function of C's with one argument."""
    return _SigEvent(
        value=argument, notify=_SIGEV_THREAD, function=function, attributes=C.addressof(_attributes)
    )


class Ticker:
    """Bumps one engine's epoch a slice after it was armed.  Belongs to one scheduler."""

    def __init__(self, engine: Engine, slice_ns: int = SLICE_NS) -> None:
        event = _shot(address_of_function("wasmtime_engine_increment_epoch"), engine.address)
        self._engine = engine
        self._timers: list[C.c_void_p] = []
        self._often = _TimerSpec(0, AGAIN_NS, 0, 0)
        self._specs = _TimerSpec(), _TimerSpec(_SELDOM_S, 0, *divmod(slice_ns, SECOND_NS)), self._often
        self._never, self._once, self._again = map(C.addressof, self._specs)
        self._turn = self._repeats = 0
        self._is_repeating = False
        _thread.exists = True  # also if only the first of them can be had
        for _ in range(2):
            timer = C.c_void_p()
            if _rt.timer_create(_CLOCK_MONOTONIC, C.byref(event), C.byref(timer)) != 0:
                number = C.get_errno()
                self.close()
                why = os.strerror(number)
                raise OSError(number, f"create the timer that ends a busy guest's slice: {why}")
            self._timers.append(timer)
        _tickers.add(self)  # last of all: from here on another thread may fork

    def arm(self, *, anew: bool = True) -> None:
        """Fire one slice from now, and then hardly ever.

        anew -- beside what was armed before, which may just be fired; or else in its place
        """
        self._turn ^= anew
        _thread.armed += 1
        _rt.timer_settime(self._timers[self._turn], 0, self._once, None)

    def repeat(self, after_ns: int, *, anew: bool = True) -> None:
        """Fire after so long, and then again and again, until somebody calls `rest`; `anew` as for `arm`."""
        self._turn ^= anew
        self._repeats = self._turn
        self._is_repeating = True
        self.postpone(after_ns)

    def postpone(self, after_ns: int) -> None:
        """Begin what repeats so much later.  A shot that gets lost by that is followed by others."""
        self._often.value_s, self._often.value_ns = divmod(after_ns, SECOND_NS)
        _thread.armed += 1
        _rt.timer_settime(self._timers[self._repeats], 0, self._again, None)

    def rest(self) -> None:
        """End what repeats, whatever was armed since."""
        self._is_repeating = False
        _rt.timer_settime(self._timers[self._repeats], 0, self._never, None)

    def put_off(self, by_ns: int) -> None:
        """Fire nothing for so long, and then again and again."""
        late = C.byref(_TimerSpec(*divmod(by_ns, SECOND_NS), *divmod(by_ns, SECOND_NS)))
        for timer in self._timers:
            _rt.timer_settime(timer, 0, late, None)

    def go_on(self) -> None:
        """End the present slice, whoever has it, and see to it that the next one ends as well."""
        self._engine.increment_epoch()
        _thread.armed += 1
        repeats = self._is_repeating
        turn = self._repeats if repeats else self._turn
        with suppress(IndexError):  # its own thread, which this one is not, may take them back meanwhile
            _rt.timer_settime(self._timers[turn], 0, self._again if repeats else self._once, None)
            _rt.timer_settime(self._timers[turn ^ 1], 0, self._never, None)
            if repeats and not self._is_repeating:
                _rt.timer_settime(self._timers[turn], 0, self._once, None)

    def close(self) -> None:
        """Take the timers back."""
        for timer in self._timers:
            _rt.timer_settime(timer, 0, self._never, None)
        while self._timers:  # one that is taken out is none that a fork by another thread would put off
            _rt.timer_delete(self._timers.pop())


_tickers: "weakref.WeakSet[Ticker]" = weakref.WeakSet()

_TRIES, _TRY_US = 10_000, 500
"""Five seconds, more than a busy system keeps a thread waiting; without memory the shot is lost."""


class _TimerThread:
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
        _rt.sem_init(taken, 0, 0)
        event = _shot(C.cast(_rt.sem_post, C.c_void_p).value or 0, address)
        timer = C.c_void_p()
        if _rt.timer_create(_CLOCK_MONOTONIC, C.byref(event), C.byref(timer)) != 0:
            del self._awaited[address]
            return False
        _rt.timer_settime(timer, 0, C.byref(_TimerSpec(0, 0, 0, 1)), None)
        for _ in range(_TRIES):
            if _rt.sem_trywait(taken) == 0:
                del self._awaited[address]
                break
            _rt.usleep(_TRY_US)
        _rt.timer_delete(timer)
        return address not in self._awaited


_thread = _TimerThread()


_HELD_S, _ROUNDS = 0.2, 20
"""For so long a thread that forks keeps the GIL, and so often it begins anew because another one had it."""

_SOON_NS, _FORK_NS = 20_000_000, SECOND_NS
"""For so long timers are put off at first, and then for longer; and for a fork, which may take 100 ms."""

_forking, _PATIENCE_S = threading.RLock(), 5
"""One thread forks after the other; but should a signal's handler raise just here, not all wait for ever."""

_usual_s: float | None = None  # while the GIL is kept


def _before_fork() -> None:
    global _usual_s
    if not _thread.exists:
        return
    _forking.acquire(timeout=_PATIENCE_S)
    # Or another scheduler's thread gets the GIL between two steps, and arms a timer.  One that has waited for
    # it since before may get it all the same, once: then all is done again.
    if _usual_s is None:
        _usual_s = sys.getswitchinterval()
        sys.setswitchinterval(_HELD_S)
    for i in range(_ROUNDS):
        by_ns = min(_SOON_NS << i, _FORK_NS)
        armed, late_ns = _thread.armed, now_ns() + by_ns // 2
        _put_off(by_ns)
        if not _thread.await_quiet() or (_thread.armed == armed and now_ns() < late_ns):
            break
    _put_off(_FORK_NS)


def _put_off(by_ns: int) -> None:
    for ticker in list(_tickers):
        ticker.put_off(by_ns)


def _share_the_gil() -> None:
    global _usual_s
    if _usual_s is not None:
        sys.setswitchinterval(_usual_s)
        _usual_s = None


def _after_fork() -> None:
    for ticker in list(_tickers):  # while the GIL is kept: other threads have tickers of their own
        ticker.go_on()


_is_ended = False  # by the first call for it


def _end_fork() -> None:
    global _is_ended
    if _forking._is_owned():  # type: ignore[attr-defined]  # or the preparations were another's, or none
        _share_the_gil()
        _forking.release()
    _is_ended = True


def _surely_end_fork() -> None:
    global _is_ended
    if not _is_ended:  # but once only: a handler that forks may stand on a fork that is not over
        _end_fork()
    _is_ended = False


def _after_fork_in_child() -> None:
    global _forking
    _forking = threading.RLock()
    _share_the_gil()
    _tickers.clear()
    _thread.exists = False


# A signal's handler may raise at any step, also before the first one of a function, and the rest of that
# function is lost.  So what must be undone has a function of its own, and a second call if the first is lost.
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
os.register_at_fork(after_in_parent=_end_fork, after_in_child=_after_fork_in_child)
os.register_at_fork(after_in_parent=_surely_end_fork)
