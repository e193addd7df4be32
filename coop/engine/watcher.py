"""The watcher: a thread that ends a busy guest's slice when there is news.

While a guest computes, nobody looks at the poller: a client's bytes, another thread's
cancel, a ^C would lie there until the slice is over.  So while a guest runs that has used
up a slice before, this thread waits on the poller's descriptor, and when that has something
to tell it bumps the engine's epoch.  The guest yields, the scheduler asks the poller, and
whoever was woken runs.

    the scheduler's thread              this thread
    watch --------------------------->  waits: the poller's descriptor, or a call
      the guest computes                ... has news: bumps the epoch
      the guest yields  <-------------
    rest                                finds the slice over, and waits for a call alone

It needs the GIL for a moment, so it can do its work only beside a guest that is polled
with the GIL released; the others have shorter slices instead.

1. It starts with the first guest that uses up a slice, or with a later one if the system has no
   thread left by then, and ends with the run.
2. Where no guest is busy it sleeps.  It may wake up once for an event after the last one.
3. It reads nothing and decides nothing: the poller is asked by the scheduler alone.
"""

import os
import select
import threading
import time
from typing import Protocol

from coop.engine.config import Engine
from coop.engine.preempt import AGAIN_NS

_AGAIN_S = AGAIN_NS / 1e9


class News(Protocol):
    """What a watcher needs of a poller."""

    def fileno(self) -> int:
        """Return a descriptor that is readable while there is news."""
        ...

    def forget_wake_up(self) -> None:
        """Take back a wake-up that was heard, but stands until the next wait."""
        ...


class Watcher:
    """Ends slices on behalf of one scheduler, whose poller has the news."""

    def __init__(self, poller: News) -> None:
        self._poller = poller
        self._control = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._calls, self._news = select.poll(), select.poll()
        self._calls.register(self._control, select.POLLIN)
        self._news.register(self._control, select.POLLIN)
        self._news.register(poller.fileno(), select.POLLIN)
        # Written by the scheduler's thread, but `_rests`, which this one writes.  The GIL orders them.
        self._engine: Engine | None = None
        self._slice = 0
        self._is_closed = False
        self._rests = True
        self._thread: threading.Thread | None = None

    def watch(self, engine: Engine) -> bool:
        """End the slice that begins now as soon as there is news that nobody has heard.

        Returns: False if there is no thread to be had, so that nobody will.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="coop-watcher", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        self._poller.forget_wake_up()
        self._slice += 1
        self._engine = engine
        if self._rests:
            os.eventfd_write(self._control, 1)
        return True

    def rest(self) -> None:
        """Leave the slices alone: this one has ended."""
        self._engine = None

    def close(self) -> None:
        """End the thread; closing twice changes nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._engine = None
        if self._thread is not None:
            os.eventfd_write(self._control, 1)
            self._thread.join()
        os.close(self._control)

    # -- on the watcher's own thread

    def _run(self) -> None:
        while not self._is_closed:
            # In this order: who calls either finds that we rest, or has named an engine by now.
            self._rests = True
            if self._engine is None:
                self._calls.poll()
                os.eventfd_read(self._control)
            self._rests = False
            while self._engine is not None:
                if self._has_news():
                    self._end_slice()

    def _has_news(self) -> bool:
        """Wait for news; False if it was a call."""
        found = dict(self._news.poll())
        if self._control in found:
            os.eventfd_read(self._control)
        return self._control not in found

    def _end_slice(self) -> None:
        """Bump the epoch until the slice is over: a bump before the guest has resumed is lost."""
        present = self._slice
        while (engine := self._engine) is not None and self._slice == present:
            engine.increment_epoch()
            time.sleep(_AGAIN_S)
