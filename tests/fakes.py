"""Stand-ins for what a test wants to decide itself: who runs, what a host answers, what is ready."""

import ctypes
import errno as _errno
from collections.abc import Callable, Iterable

from coop.clock import Clock
from coop.netpoll import make_poller
from coop.netpoll.contract import Poller
from coop.netpoll.oneoff import Event
from coop.netpoll.subs import ClockSub, FdSub, Subscription
from coop.runq import RunQueue
from coop.scheduler import Scheduler
from coop.task import Task, this_greenlet


def run_by(clock: Clock, main: Callable[[], object], poller: str = "hostpoll") -> object:
    """Run `main` as `coop.run` does, on a clock of the test's own, which does not go on by itself."""
    owner = Scheduler(make_poller(poller), clock=clock)
    try:
        return owner.run(main)
    finally:
        owner.poller.shutdown()


class MiniHub:
    """The least a task needs to live: a run queue and a hub that the test turns by hand."""

    def __init__(self, poller: Poller | None = None) -> None:
        self.runq = RunQueue()
        self.hub = this_greenlet()
        self.poller = poller
        self.tasks: list[Task] = []

    def is_here(self) -> bool:
        """Every caller is on this thread."""
        return True

    def check_owner(self, doing: str) -> None:
        """Every caller is on this thread."""

    def task_ended(self, task: Task) -> None:
        """Let the test look at the task's own result and error."""

    def spawn(self, call: Callable[[], object], name: str = "task") -> Task:
        """Make a task that is ready."""
        task = Task(self, call, name)
        self.tasks.append(task)  # holds it until the test ends
        self.runq.push(task)
        return task

    def park(self, name: str = "parked") -> Task:
        """Make a task that is parked, and parks again whenever it is woken."""

        def call() -> None:
            while True:
                task.park("the test")

        task = self.spawn(call, name)
        self.run()
        return task

    def run(self) -> list[str]:
        """Run the ready tasks until there is none, and return the names in the order in which they ran."""
        ran = []
        while self.runq:
            task = self.runq.pop()
            ran.append(task.name)
            task.resume()
        return ran

    def turn(self, delay_ns: int) -> list[str]:
        """Poll once, run whoever is woken, and return their names in order."""
        assert self.poller is not None
        for task in self.poller.poll(delay_ns):
            task.wake()
        return self.run()

    def finish(self) -> None:
        """Run everything to its end, polling for ever in between; fail if a task failed."""
        self.run()
        while not all(task.is_done for task in self.tasks):
            self.turn(-1)
        for task in self.tasks:
            task.outcome()

    def close(self) -> None:
        """Cancel what still lives, so that no unfinished greenlet is left to the garbage collector."""
        for task in self.tasks:
            task.cancel()
        self.run()


class ScriptedOneoff:
    """A `poll_oneoff` that keeps a log and answers from a list.

    An answer is an errno, a list of events, or a function from subscriptions to
    events.  With no answer left, the clock has fired, or nothing has.
    """

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.calls: list[list[tuple[object, ...]]] = []

    def __call__(self, subscriptions: list[Subscription]) -> list[Event]:
        self.calls.append([seen(sub) for sub in subscriptions])
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, int):
            raise OSError(answer, _errno.errorcode[answer])
        if callable(answer):
            return list(answer(subscriptions))
        assert isinstance(answer, list)
        return answer


def seen(sub: Subscription) -> tuple[object, ...]:
    """What a host can tell of a subscription at the time of the call."""
    if isinstance(sub, ClockSub):
        return ("clock", sub.clock_id, sub.timeout_ns, sub.precision_ns, sub.flags, sub.userdata)
    assert isinstance(sub, FdSub)
    return ("fd", sub.fd, sub.mode, sub.userdata)


class FakePollable:
    """A pollable that is ready when the test says so; a life after `drop` fails the test."""

    def __init__(self, name: str, *, is_ready: bool = False) -> None:
        self.name = name
        self.is_ready = is_ready
        self.drops = 0
        self.asked = 0
        self.blocked = 0
        self.noted = 0
        self.is_error = False

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def block(self) -> None:
        assert not self.drops
        self.blocked += 1

    def ready(self) -> bool:
        assert not self.drops
        self.asked += 1
        return self.is_ready

    def drop(self) -> None:
        self.drops += 1
        assert self.drops == 1, f"{self.name} dropped twice"


class ScriptedPollset:
    """A `wasi:io/poll` that keeps a log and answers indices from a list."""

    def __init__(self, *answers: Iterable[int]) -> None:
        self.answers = list(answers)
        self.calls: list[list[str]] = []
        self.made: list[FakePollable] = []

    def duration(self, delay_ns: int) -> FakePollable:
        return self._make(f"clock {delay_ns}")

    def descriptor(self, fd: int, mode: int) -> FakePollable:
        return self._make(f"fd {fd} mode {mode}")

    def wakeup(self, wakeup: object) -> FakePollable:
        return self._make("wakeup")

    def poll(self, pollables: list[FakePollable]) -> list[int]:
        assert pollables, "poll got an empty list"
        assert not any(each.drops for each in pollables)
        self.calls.append([each.name for each in pollables])
        return list(self.answers.pop(0)) if self.answers else []

    def _make(self, name: str) -> FakePollable:
        self.made.append(FakePollable(name))
        return self.made[-1]


class GuestMemory:
    """Memory as a guest's, filled with what was given, between two bytes that are not it."""

    def __init__(self, data: bytes) -> None:
        self._data = (ctypes.c_char * (len(data) + 2)).from_buffer(bytearray(b"<" + data + b">"))
        self.base, self.view = ctypes.addressof(self._data), memoryview(self._data).cast("B")


def some(size: int) -> bytes:
    """So many bytes, of which one can tell whether they are in order."""
    return bytes(range(256)) * (size // 256) + bytes(range(size % 256))
