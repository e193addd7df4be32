"""Channels: values handed from task to task, and from other threads to a run.

    jobs = coop.Channel(10)

    def worker():
        for job in jobs:           # until the channel is closed and empty
            ...

As in Go, a sender waits for room and a receiver for a value, whoever came first is served
first, and what a channel still holds when it is closed can be received.  With a capacity of
1 it is a lock, with one of n a semaphore.

1. A value has one place at any moment: with a sender that waits, in the channel, or with a receiver.
   One handed to a receiver that was cancelled before it ran goes back to where it was.
2. A `send` that raises has sent nothing: who was cancelled when the value was taken already hears of
   it at the next park.
3. No value is there while a receiver waits, and there is no room while a sender waits.
4. Other threads and signal handlers may `post` to a channel made for it, and close it, and nothing
   else.  While somebody waits for what they may post, the run is not dead-locked.
5. Who sends or receives again and again without having to wait yields now and then.
"""

import threading
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import count
from operator import itemgetter
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from coop.errors import BugError, Closed, WrongThread
from coop.scheduler import scheduler
from coop.slips import Unique, check_number
from coop.stint import Stint
from coop.task import Task, current

T = TypeVar("T")
V = TypeVar("V")

_Item = tuple[int, T]
"""A value, and when it came in among the others."""

_number = itemgetter(0)


class _Wait(Generic[T]):
    """One task's place in a queue; `values` is what it brings, or the item it was given: one at most.

    is_over -- whether its turn has come, or the channel was closed
    """

    __slots__ = ("is_over", "task", "values")

    def __init__(self, task: Task, *values: T) -> None:
        self.task = task
        self.values = list(values)
        self.is_over = False

    def end(self) -> None:
        self.is_over = True
        self.task.wake()


class Channel(Unique, Generic[T]):
    """Hands values from task to task, first in, first out; it belongs to the run in which it was made.

    capacity     -- how many values it holds before a sender waits; 0: each sender waits for its receiver
    from_threads -- whether other threads may `post`: then somebody who receives may wait for ever
    """

    def __init__(self, capacity: int = 0, *, from_threads: bool = False) -> None:
        check_number("capacity", capacity, whole=True)
        self._owner = scheduler()
        self._capacity = capacity
        self._stint = Stint(self._owner)
        self._next = count().__next__
        self._items: deque[_Item[T]] = deque()
        self._senders: OrderedDict[_Wait[T], None] = OrderedDict()
        self._receivers: OrderedDict[_Wait[_Item[T]], None] = OrderedDict()
        self._posts: _Posts[T] | None = None
        self.is_closed = False
        if from_threads:
            self._posts = _Posts()
            self._owner.resource(_Open, _Open).channels.add(self)

    def __len__(self) -> int:
        """Count the values that it holds, without those of senders that wait."""
        return len(self._items)

    def send(self, value: T) -> None:
        """Hand `value` over; park while there is no room, or with a capacity of 0 until it is taken.

        Raises: Closed; WrongThread in another run.  Then nothing was sent, as when the task is cancelled.
        """
        task = self._task("send to")
        if self.is_closed:
            raise Closed("send to a channel: it is closed")
        if self._receivers or len(self._items) < self._capacity:
            self._give(value)
            return
        wait = _Wait(task, value)
        try:
            self._wait(self._senders, wait, "room in a channel")
        except BaseException as error:
            if wait.values:
                raise
            if not task.is_cancelled:  # or every park will tell
                task.interrupt(error)
        if wait.values:
            raise Closed("send to a channel: it was closed meanwhile")

    def receive(self) -> T:
        """Return the value that came first; park until there is one.

        Raises: Closed once the channel is closed and empty; WrongThread in another run.
        """
        task = self._task("receive from")
        if self._items or self._senders:
            return self._take()
        if self.is_closed:
            raise Closed("receive from a channel: it is closed")
        wait: _Wait[_Item[T]] = _Wait(task)
        try:
            self._owner.outside_jobs += self._posts is not None
            self._wait(self._receivers, wait, "a value from a channel")
        except BaseException:
            if wait.values:
                self._give_back(wait.values.pop())
            raise
        finally:
            self._owner.outside_jobs -= self._posts is not None
        if not wait.values:
            raise Closed("receive from a channel: it was closed meanwhile")
        return wait.values.pop()[1]

    def __iter__(self) -> Iterator[T]:
        """Receive until the channel is closed and empty."""
        while True:
            try:
                value = self.receive()
            except Closed:
                return
            yield value

    def post(self, value: T) -> None:
        """Send from any thread, or from a signal's handler, without waiting, whatever the capacity.

        What nobody has received when the run ends is dropped.
        Raises: Closed, also when the run has ended; BugError unless made with `from_threads`; WrongThread in
        a process forked from the run's.
        """
        if self._posts is None:
            raise BugError("post to a channel: it was not made with from_threads=True")
        if self._owner.is_copy:
            self._owner.check_owner("post to a channel")
        self._posts.add(value)
        self._owner.post(self._arrive)

    def close(self) -> None:
        """Take no more values: who waits to send, or for a value that is not there, gets Closed.

        Closing twice changes nothing.  Any thread, and a signal's handler, may close a channel that it may
        post to; the run hears of it soon.
        Raises: WrongThread from any other thread or process.
        """
        if self._posts is not None and not self._owner.is_copy:
            self._posts.close()
            # Also from here: this may be a handler that came when somebody was about to wait.
            self._owner.post(self._end)
            if not self._owner.is_here():
                return
        self._owner.check_owner("close a channel")
        self._end()

    def close_with_run(self) -> None:
        """Close when the run has ended, and nobody waits."""
        if self._posts is not None:
            self._posts.close()
        self._end()

    def _end(self) -> None:
        self._arrive()
        self.is_closed = True
        for waits in (self._senders, self._receivers):
            while waits:
                waits.popitem(last=False)[0].end()

    # -- both sides

    def _arrive(self) -> None:
        while self._posts is not None and self._posts.values:
            self._give(self._posts.values.popleft())

    def _task(self, doing: str) -> Task:
        """Return the current task, which may yield.

        Raises: WrongThread in another run; BugError outside any task; as a park.
        """
        task = current()
        if task.owner is not self._owner:
            raise WrongThread(f"{doing} a channel: it belongs to another run")
        self._stint.step()
        self._arrive()  # what was posted before came before
        return task

    def _wait(self, waits: "OrderedDict[_Wait[V], None]", wait: _Wait[V], reason: str) -> None:
        waits[wait] = None
        try:
            while not wait.is_over:
                wait.task.park(reason)
        finally:
            waits.pop(wait, None)

    def _give(self, value: T) -> None:
        """Hand `value` to the receiver that has waited longest, or keep it behind the others."""
        item = self._next(), value
        if not self._was_taken(item):
            self._items.append(item)

    def _give_back(self, item: _Item[T]) -> None:
        """Do the same with what a receiver was given and did not take; others may be older."""
        if not self._was_taken(item):
            insort(self._items, item, key=_number)

    def _was_taken(self, item: _Item[T]) -> bool:
        if not self._receivers:
            return False
        wait, _ = self._receivers.popitem(last=False)
        wait.values.append(item)
        wait.end()
        return True

    def _take(self) -> T:
        """Return the first value, and let the sender that has waited longest have the room."""
        if self._senders and len(self._items) <= self._capacity:  # it may hold more, by posts
            wait, _ = self._senders.popitem(last=False)
            self._items.append((self._next(), wait.values.pop()))
            wait.end()
        return self._items.popleft()[1]


class _Posts(Generic[T]):
    """What other threads have posted to a channel, and its run has not heard of yet."""

    def __init__(self) -> None:
        # One that a handler may take again, for a signal that came while its own thread had it.
        self._lock = threading.RLock()
        self._is_closed = False
        self.values: deque[T] = deque()

    def add(self, value: T) -> None:
        with self._lock:
            if self._is_closed:
                raise Closed("post to a channel: it is closed")
            self.values.append(value)

    def close(self) -> None:
        """Refuse what comes from now on."""
        with self._lock:
            self._is_closed = True


class _Open:
    """The channels of a run that other threads may post to, closed with it."""

    def __init__(self) -> None:
        self.channels: WeakSet[Channel[Any]] = WeakSet()

    def close(self) -> None:
        for channel in list(self.channels):
            channel.close_with_run()
