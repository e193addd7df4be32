"""A guest's store: its life in wasmtime, what it may use and leaves, and how its calls begin and end.

What happens in between is `drive`'s, and so are the rules of what goes before the store does.
"""

import ctypes as C
from collections.abc import Callable
from typing import Any

from coop.engine.admission import admit, left, require_frames
from coop.engine.border import Border
from coop.engine.capi import held
from coop.engine.cells import ERROR, Cells
from coop.engine.code import Code
from coop.engine.drive import Driven
from coop.engine.faults import restore_first_handler
from coop.engine.hostfunc import Caller
from coop.engine.limits import Limits
from coop.engine.memory import Memory, delete_store
from coop.engine.sizes import Sizes
from coop.engine.traps import refused_stack, take_error, take_trap
from coop.errors import BugError, Busy, CoopError, GuestTrap
from coop.task import current

_MOST = (1 << 63) - 1
"""The largest limit that can be told to wasmtime; ctypes would cut a larger one to its low bits."""

_NO_IMAGE = "cannot add seals to the memfd"
_ATTEMPTS = 3
"""How often an image is asked for; the kernel waits a sixth of a second for its pages each time."""


class Store(Driven):
    """One guest in its store.

    linkage -- what it is linked against
    memory  -- its memory; empty until it is instantiated, and of a component
    sizes   -- how near it came to the limits of memory and tables
    """

    __slots__ = ("__weakref__", "_cells", "_most", "_store", "linkage", "memory", "sizes")

    def __init__(
        self,
        border: Border,
        code: Code,
        linkage: Any,
        limits: Limits,
        state: Any,
        guest: Any,
        most: tuple[int, int, int],
    ) -> None:
        """Make the store, which may hold `most` instances, tables and memories."""
        self.memory = Memory()
        super().__init__(border, code, limits, state, Caller(self.memory, guest))
        self.linkage = linkage
        self._cells = Cells()
        self.sizes = Sizes(limits, self.memory)
        restore_first_handler()
        admit(border, code.engine, most[2])
        self._store: int = held.wasmtime_store_new(code.engine.address, None, None)
        self.context: int = held.wasmtime_store_context(self._store)
        border.instances[self] = None
        self._most = most
        self._allow(most)
        held.wasmtime_context_set_epoch_deadline(self.context, 1)
        held.wasmtime_context_epoch_deadline_async_yield_and_update(self.context, 1)

    def _allow(self, most: tuple[int, ...]) -> None:
        """Set how many instances, tables and memories it may hold, each as large as its limits say."""
        limits = self.limits
        held.wasmtime_store_limiter(
            self._store,
            -1 if limits.memory is None else min(limits.memory, _MOST),
            -1 if limits.table_elements is None else min(limits.table_elements, _MOST),
            *most,
        )

    @property
    def is_dead(self) -> bool:
        """Whether the store is gone."""
        return not self._store

    def close(self) -> None:
        """Give the store and all it holds back; closing twice changes nothing.

        Raises: BugError while C works on the store.
        """
        if self._is_held:
            raise BugError(f"close {self.code.name}: the guest is in a call; stop it")
        store, self._store = self._store, 0
        if store:
            try:
                self._before_close()
            finally:
                del self._border.instances[self]
                # It leads back here; without it the module goes with the last guest, not a collection.
                self.state = None
                self.sizes.take()
                delete_store(store, self.memory)
                left()

    def end_with_run(self) -> None:
        """Close, because the run has ended before the guest; whoever made the guest hears of it first."""
        try:
            if self.caller.guest is not None:
                self.caller.guest.run_ended()
        finally:
            self.close()

    def _before_close(self) -> None:
        """Give back what must go before the store."""

    # -- calls

    def _check_caller(self) -> None:
        """Raise unless the current task may run the guest now.

        Raises: Busy; WrongThread; BugError on a guest's fiber: the guest would leave it with another
        below; RecursionError.
        """
        self._border.scheduler.check_owner(f"use {self.code.name}")
        if self._task is not None:
            raise Busy(f"{self.code.name}: the guest is in a call already")
        if current().pinned:
            raise BugError(
                f"call {self.code.name}: a host function declared parks=False must not run a guest"
            )
        require_frames()

    def _await(self, begin: Callable[..., int], *arguments: Any) -> None:
        """Begin an asynchronous operation of the store and drive it to its end.

        begin -- begin(*arguments, where a trap is told, where an error is told) -> the future
        """
        found = self._attempt(begin, arguments)
        if found is not None:
            self._fail(found)

    def _await_instance(self, begin: Callable[..., int], *arguments: Any) -> None:
        """Do as `_await`, to make an instance; again, where wasmtime got no image of the code's memory.

        The first instance makes it, in a file in memory, which the kernel does not seal while it has a page
        of it in use.  Nothing of a module has run by then; of a component, start sections at most.
        """
        found = self._attempt(begin, arguments)
        for times in range(2, _ATTEMPTS + 1):
            if found is None or _NO_IMAGE not in str(found):
                break
            self._allow(tuple(most * times for most in self._most))  # what was not made counts as well
            found = self._attempt(begin, arguments)
        if found is not None:
            self._fail(found)

    def _attempt(self, begin: Callable[..., int], arguments: tuple[Any, ...]) -> CoopError | None:
        """Do it, and return wasmtime's word of why it ended early."""
        cells = self._cells
        cells.trap = cells.error = None
        at = C.addressof(cells)
        self._task = task = current()
        try:
            if self._stop is None:
                if self.cpu_ns > self._budget_ns:  # calls that are short may end without ever having yielded
                    raise self._over_budget()
                self._drive(begin(*arguments, at, at + ERROR), task)
            if self._stop is not None:
                # Asked to end when it had just done so: no later park of the task must hear of it.
                raise self._stop
        except BaseException:
            self._take()
            self.close()
            raise
        finally:
            self._task = None
            if self._stop is not None:
                task.forget_interrupt(self._stop)
        return self._take()

    def _fail(self, found: CoopError) -> None:
        """Raise what ended a call: what a host call raised, or `found`."""
        failure, self.failure = self.failure, None
        self.close()
        if isinstance(failure, GuestTrap) and isinstance(found, GuestTrap):
            failure.frames = failure.frames or found.frames
        try:
            if failure is not None:
                raise failure
            if isinstance(found, GuestTrap):
                found = self.sizes.explain(found)
                found.add_note(f"in {self.whose}")  # one of many that run the same code
            raise found
        finally:
            del failure, found  # else the error would hold its own traceback, until a collection

    def _take(self) -> CoopError | None:
        trap, error = self._cells.trap, self._cells.error
        if error:
            return refused_stack(self.code.name, take_error(error))
        return take_trap(trap, self.failure) if trap else None
