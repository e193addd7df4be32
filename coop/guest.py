"""A guest's life, whatever kind of code it runs.

    configured -> started -> ended: an exit code, a trap, a limit, a cancel

1. A guest belongs to the thread that uses it first, and then to the scheduler that started it.
   One task at a time is in it.
2. However it ends, all it holds is given back, once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from coop.clock import to_ns
from coop.ends import cancelled, tell_end
from coop.engine import Limits, Sizes
from coop.errors import BugError, Busy, Cancelled, CoopError, GuestExit, LimitExceeded, WasCancelled
from coop.logs import Log
from coop.scheduler import Scheduler, scheduler
from coop.slips import Unique, check_kind, check_number
from coop.task import Task, current
from coop.text import text as text_stream
from coop.timers import Timer

log = Log("coop.guest")


class GuestState(Enum):
    """Where a guest is in its life."""

    CONFIGURED = "configured"
    STARTED = "started"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class GuestStats:
    """What a guest has used so far, or did until its end.

    cpu_time  -- seconds it has computed: all that it spent in wasm and in host calls that did not wait
    wall_time -- seconds since its start
    slices    -- how often it computed for a whole slice, so that others had to be let in
    memory    -- bytes of its memory; 0 for a component, which has its memories inside
    """

    cpu_time: float
    wall_time: float
    slices: int
    memory: int


class Lives(Protocol):
    """A guest's instance in the engine."""

    cpu_ns: int
    used_slices: int
    weight: float
    sizes: Sizes

    @property
    def is_dead(self) -> bool:
        """Whether its store is gone."""
        ...

    def is_driven_by(self, task: Task) -> bool:
        """Whether the call in progress is on this task."""
        ...

    def stop(self, error: BaseException) -> bool:
        """End the call in progress with `error`; False if there is none."""
        ...

    def close(self) -> None:
        """Give its store back."""
        ...


InstanceT = TypeVar("InstanceT", bound=Lives)


class Life(Unique, Generic[InstanceT]):
    """What guests of every kind have in common; each kind says how it is made and what it runs.

    name  -- its name in messages
    stdio -- what it is given to read and write: stdin, stdout, stderr
    limits, state -- what it may use, and where in its life it is
    weight -- its share of the processor while several guests compute: one of weight 2 gets twice as much
              as one of weight 1
    """

    _traceback: TracebackType | None = None
    """Of the error, at the guest's end.  It is here because of objects with thirty attributes and more each
    has a dictionary of its own, a kilobyte for each guest."""

    def __init__(self, name: str, limits: Limits, weight: float, stdio: tuple[Any, Any, Any]) -> None:
        check_kind("limits", limits, Limits)
        check_number(f"weight of guest {name}", weight, least=1e-6, most=1e6)
        self.name, self.weight, self.limits = name, weight, limits
        self._stdio = stdio
        self.state = GuestState.CONFIGURED
        self._instance: InstanceT | None = None
        self._owner: Scheduler | None = None
        self._claims: list[Scheduler | None] | None = []
        self._timer: Timer | None = None
        self._cancel: Cancelled | None = None
        self._aide: Task | None = None  # works for it outside of its calls
        self._is_busy, self._is_new = False, True
        self._start_ns, self._last_used = 0, (0.0, 0.0, 0, 0)
        self._waiters: list[Task] | tuple[()] = ()
        self._code: int | None = None
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.state.value}>"

    # -- what each kind says of itself

    def _make(self, owner: Scheduler) -> InstanceT:
        """Open what the guest is given and make its instance, of which nothing has run yet."""
        raise NotImplementedError

    def _begin(self, instance: InstanceT) -> None:
        """Instantiate it, and run what comes before everything else."""
        raise NotImplementedError

    def _main(self, instance: InstanceT) -> int:
        """Run its program and return the exit code."""
        raise NotImplementedError

    def _give_back(self) -> None:
        """Give back what was opened for it; called once its instance is gone."""

    # -- life

    def start(self) -> None:
        """Open what the guest is given and make it; then `addresses` are known, and `run` or `call` go on.

        Nothing of the guest runs but its start section and `_initialize`.  May park.  Raises: as `call`.
        """
        self._raise_if_cancelled()
        self._belong("start")
        if self.state is not GuestState.CONFIGURED:
            raise CoopError(f"start {self.name}: it is {self.state.value}")
        self._attempt(lambda _: None)

    def run(self) -> int:
        """Run the guest's program in the current task until it ends, and return its exit code.

        Raises: GuestTrap; LimitExceeded; LinkError; WasCancelled if somebody cancelled the guest; OSError
        for a directory, listener or connection that cannot be had; ValueError for one that is none;
        whatever a host function raised.
        """
        self._raise_if_cancelled()
        self._belong("run")
        if self._aide is not None or (self._is_busy and self._is_new):
            raise Busy(f"run {self.name}: it is being started")
        if self.state is GuestState.ENDED or not self._is_new:
            raise CoopError(f"run {self.name}: it is {self.state.value}; a guest runs once")
        try:
            self._is_new = False
            instance = self._enter()
            try:
                self._code = self._main(instance)
            finally:
                self._is_busy = False
                del instance  # an error that somebody keeps need not keep it
        except GuestExit as error:
            self._code = error.code
        except BaseException as error:
            self._error = error
            if error is self._cancel:
                self._raise_if_cancelled()
            raise
        finally:
            self._end()
            self._give_last_lines()
        assert self._code is not None
        return self._code

    def _call(self, name: str, act: Callable[[InstanceT], Any]) -> Any:
        """Call something of the guest, which stays alive between calls."""
        self._raise_if_cancelled()
        self._belong("call")
        if self.state is GuestState.ENDED:
            how = "" if self._owner in (None, scheduler()) else ", as each does with the run it was used in"
            raise CoopError(f"call {name}: guest {self.name} has ended{how}")
        self._is_new = self._is_new and self._is_busy  # one that is being started refuses the call
        return self._attempt(act)

    def _attempt(self, act: Callable[[InstanceT], Any]) -> Any:
        """Do something with the guest, which ends if that leaves nothing to go on with."""
        try:
            return self._use(act)
        except BaseException as error:
            if not self._is_busy and (self._instance is None or self._instance.is_dead):
                self._error = error
                self._end()
                self._give_last_lines()
            if error is self._cancel:
                self._raise_if_cancelled()
            raise

    def wait(self) -> int:
        """Park until the guest has ended, and return its exit code.

        Raises: what it ended with; WasCancelled if it was cancelled; WrongThread from another thread.
        """
        self._belong("wait for")
        while self.state is not GuestState.ENDED:
            task = current()
            if self._is_busy and self._instance is not None and self._instance.is_driven_by(task):
                raise BugError(f"wait for guest {self.name}: it cannot wait for itself")
            self._waiters = [*self._waiters, task]
            try:
                task.park(f"the end of guest {self.name}")
            finally:
                if self._waiters and task in self._waiters:
                    self._waiters.remove(task)
        if isinstance(self._error, Cancelled):
            raise WasCancelled(f"guest {self.name} was cancelled") from self._error
        if isinstance(self._error, GuestExit):
            return self._error.code
        if self._error is not None:
            raise self._error.with_traceback(self._traceback)  # or that of each who waits would be kept
        return self._code or 0

    def _raise_if_cancelled(self) -> None:
        if self._cancel is not None:
            # The frames it came through would be most of what a cancelled crowd leaves to a collection.
            self._cancel.__traceback__ = None
            raise WasCancelled(f"guest {self.name} was cancelled") from self._cancel

    def cancel(self) -> None:
        """End the guest, in whatever state it is: computing, waiting, or not started.

        Callable from any thread; once another one uses the guest, it takes effect when that
        comes to it, within a slice.
        """
        if (owner := self._claimed_by(None)) is not None and not owner.is_here():
            owner.post(self.cancel)
            return
        if self.state is GuestState.ENDED or (self._cancel or self._error) is not None:
            return
        self._cancel = cancelled(self.name)
        if self._aide is not None:
            self._aide.interrupt(self._cancel)
        elif not (self._instance is not None and self._instance.stop(self._cancel)) and not self._is_busy:
            self._error = self._cancel
            self._end()

    def close(self) -> None:
        """End the guest if it has not ended, and give back all it holds; for guests that are called."""
        if (owner := self._claimed_by(None)) is not None:
            owner.check_owner(f"close guest {self.name}")
        if self._is_busy:
            raise BugError(f"close guest {self.name}: it is in a call; cancel it")
        if self.state is not GuestState.ENDED:
            self._code = self._code or 0
            self._end()
        self._give_last_lines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_busy and (kind is not None or self._cancel is not None):
            self.cancel()  # and not a BugError, which would hide what ended the block
        else:
            self.close()

    @property
    def cpu_time(self) -> float:
        """Seconds it has computed so far."""
        return self.stats().cpu_time

    def stats(self) -> GuestStats:
        """Return what it has used so far, or until its end; at any time, and from any thread.

        Threads other than the guest's are told its memory as it was last looked at.
        """
        return GuestStats(*self._used())

    # -- inside

    def _belong(self, doing: str) -> None:
        """Make the guest this thread's if it is nobody's yet.

        Raises: WrongThread if it is another one's; BugError outside a run.
        """
        if self._claims is not None:
            self._claimed_by(scheduler())
        if self._owner is not None:
            self._owner.check_owner(f"{doing} guest {self.name}")

    def _claimed_by(self, claimant: Scheduler | None) -> Scheduler | None:
        """Return whose guest it is; nobody's yet, it is now `claimant`'s, and None's if it is to end unused.

        Several threads may ask at once: the first in the list has it.
        """
        if (claims := self._claims) is not None:
            claims.append(claimant)
            self._owner, self._claims = claims[0], None
        return self._owner

    def _used(self) -> tuple[float, float, int, int]:
        instance, owner = self._instance, self._owner
        if instance is None or owner is None:
            return self._last_used
        memory = instance.sizes.memory if owner.is_here() else instance.sizes.memory_seen
        wall_time = (owner.now_ns() - self._start_ns) / 1e9
        return instance.cpu_ns / 1e9, wall_time, instance.used_slices, memory

    def _use(self, act: Callable[[InstanceT], Any]) -> Any:
        instance = self._enter()
        try:
            return act(instance)
        finally:
            self._is_busy = False
            if self._cancel is not None and not instance.is_dead:  # it came too late for the call
                instance.close()
                raise self._cancel

    def _enter(self) -> InstanceT:
        """Mark the guest as busy and return its instance, started; the caller resets the mark."""
        if self._is_busy:
            raise Busy(f"guest {self.name} is in a call already")
        self._is_busy = True
        try:
            if self._cancel is not None:
                raise self._cancel
            if self._owner is None:
                raise CoopError(f"guest {self.name} has ended")  # by another thread, just now
            if self._instance is None:
                self._start(scheduler())
        except BaseException:
            self._is_busy = False
            raise
        assert self._instance is not None
        return self._instance

    def _start(self, owner: Scheduler) -> None:
        self._owner = owner
        if owner.before_guest is not None:
            owner.before_guest()
        self._start_ns = owner.now_ns()
        if (most := self.limits.wall_time) is not None:
            self._timer = owner.timers.set(self._start_ns + to_ns(most), Life._wall_time_is_over, self)
        instance = self._instance = self._make(owner)
        instance.weight = self.weight
        self.state = GuestState.STARTED
        try:
            log.info("guest started", guest=self.name)
            self._begin(instance)
        except BaseException:
            # Half made, it must not be called again: wasmtime ends the process for an instance that is none.
            instance.close()
            raise

    def _wall_time_is_over(self) -> None:
        error = LimitExceeded("wall_time", f"guest {self.name} has run for {self.limits.wall_time} s")
        if self._aide is not None:
            if self._cancel is None:  # or the task would hear of a second end after the first
                self._error = error
                self._aide.interrupt(error)
        elif self._instance is None or not self._instance.stop(error):
            self._error = error
            self._end()

    def _give_last_lines(self) -> None:
        """End the texts, which hold back a line without a newline; other streams are their owner's to end."""
        for stream in self._stdio:
            if isinstance(stream, text_stream):
                stream.close()

    def run_ended(self) -> None:
        """End with the run, if the guest has not ended."""
        self._end()

    def _end(self) -> None:
        if self.state is GuestState.ENDED:
            return
        self.state = GuestState.ENDED
        if self._timer is not None:
            self._timer.cancel()
        self._last_used = self._used()
        if self._error is not None:
            self._traceback = self._error.__traceback__
        # Each leads back to the other; apart, they go with the guest and not with a collection.
        instance, self._instance = self._instance, None
        try:
            if instance is not None:
                instance.close()
        finally:
            self._give_back()
            waiters, self._waiters = self._waiters, ()
            for task in waiters:
                task.wake()
        tell_end(self.name, self._code, self._error, None if instance is None else instance.sizes)
