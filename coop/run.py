"""`coop.run`: one scheduler from beginning to end, with its poller and its signals.

The interpreter, when it ends, kills daemon threads wherever they stand, and neither greenlets nor guests
survive that.  So runs that still last in such threads are ended before, and none begins there any more.
One that goes on all the same, as its main task takes every exception for its own, is brought to a halt.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from coop.clock import to_ns
from coop.errors import BugError
from coop.logs import Log, shown
from coop.netpoll import make_poller
from coop.scheduler import Scheduler, scheduler
from coop.signals import Signals
from coop.system import check_threads
from coop.task import Task, apart, current, current_or_none
from coop.timeline import Timeline
from coop.trace import Observer, Telling, TracedScheduler

log = Log("coop")

_lasting: dict[Scheduler, threading.Event] = {}
"""The runs that have not ended, each with what tells of its end: its thread may go on to other things."""
os.register_at_fork(after_in_child=_lasting.clear)

_is_ending = False
"""Whether the interpreter ends."""

_PATIENCE_S = 1.0
"""How long the interpreter's end waits for runs to end."""

_HALT_S = 0.25
"""How long it then waits for those to halt that have not ended."""


def run(
    main: Callable[..., Any],
    *args: Any,
    poller: str = "hostpoll",
    trace: bool = False,
    timeline: str | os.PathLike[str] | None = None,
) -> Any:
    """Run `main(*args)` as the main task of a new scheduler, and return its result.

    The run ends when `main` does: every other task is cancelled.  Nothing is left behind: no
    descriptor, no greenlet, and no thread but a helper that still blocks in a call of the system.
    Each OS thread may have a run of its own, and so may a process forked within a run.

    poller -- "hostpoll" (epoll, the default), "oneoff" (poll_oneoff over a subscription table)
              or "pollset" (pollables)
    trace  -- log every park, wake and combined wait, by structlog if the program has configured it, and
              otherwise on stderr; chosen here so that nothing asks later
    timeline -- a file that is written when the run ends: when each task ran, was ready and was parked, and
              who woke it.  A name in .svg gets a picture, one in .json what ui.perfetto.dev shows
    Raises: what `main` raised; Deadlock; KeyboardInterrupt for ^C; an ExceptionGroup when
    other tasks failed and nobody took their errors; BugError inside another run; Unsupported
    where gevent or the like has replaced Python's threads; SystemExit in other threads than
    the first when the interpreter ends.
    """
    check_threads()
    copy = current_or_none()
    begin = partial(_run, main, args, poller, trace, timeline)
    if copy is None or copy.owner.is_here():
        return begin()
    if copy.pinned:
        raise BugError("begin a run: this process was forked in a host function declared parks=False")
    # A process forked inside a task goes on upon the task's stack, though its run is the parent's.
    return apart(begin)


def _run(
    main: Callable[..., Any],
    args: tuple[Any, ...],
    poller: str,
    trace: bool,
    timeline: str | os.PathLike[str] | None,
) -> Any:
    observers: list[Observer] = [Telling()] if trace else []
    if timeline is None:
        return _run_told(main, args, poller, observers)
    with Timeline(timeline) as record:
        return _run_told(main, args, poller, [*observers, record])


def _run_told(
    main: Callable[..., Any], args: tuple[Any, ...], poller: str, observers: Sequence[Observer]
) -> Any:
    netpoller = make_poller(poller)
    try:
        owner = TracedScheduler(netpoller, observers) if observers else Scheduler(netpoller)
        owner.on_error = _report
        ended = _lasting[owner] = threading.Event()
        try:
            if _is_ending and threading.current_thread() is not threading.main_thread():
                raise SystemExit  # looked at here: `_end_all` knows of whoever looked before it began
            with Signals(owner):
                return owner.run(main, *args)
        finally:
            _lasting.pop(owner, None)  # none is known in a process forked meanwhile
            ended.set()
    finally:
        netpoller.shutdown()


@atexit.register
def _end_all() -> None:
    """End what still runs in other threads, by an exception that nobody reports."""
    global _is_ending
    _is_ending = True
    lasting = [(owner, ended) for owner, ended in _lasting.items() if not owner.is_here()]
    for owner, _ in lasting:
        owner.post(partial(_end, owner))
    _await(lasting, _PATIENCE_S)
    lasting = [(owner, ended) for owner, ended in lasting if not ended.is_set()]
    for owner, ended in lasting:
        owner.post(partial(_halt, ended))
    _await(lasting, _HALT_S)


def _await(lasting: list[tuple[Scheduler, threading.Event]], seconds: float) -> None:
    until = time.monotonic() + seconds
    for _, ended in lasting:
        ended.wait(max(until - time.monotonic(), 0))


def _halt(ended: threading.Event) -> None:
    """Take no further step, and never want the GIL again, which is where a daemon thread is killed."""
    ended.set()
    never = threading.Lock()
    while True:
        never.acquire()


def _end(owner: Scheduler) -> None:
    main: Task | None = owner.main
    if main is not None and not main.is_done:
        main.interrupt(SystemExit())


def _report(task: Task, error: BaseException) -> None:
    log.error("task failed and nobody waits for it", task=task.name, error=shown(error))


def spawn(call: Callable[..., Any], *args: Any, name: str = "") -> Task:
    """Start `call(*args)` as a task and return it; it runs when the current task parks.

    An error in it comes out of `Task.wait`, or of `coop.run` if nobody waited.
    """
    return scheduler().spawn(call, *args, name=name)


def sleep(seconds: float) -> None:
    """Park the current task for so many seconds; zero or less returns at once."""
    scheduler().sleep_ns(to_ns(seconds))


def pause() -> None:
    """Yield: let every task that is ready run first, and the poller be asked."""
    current().pause()
