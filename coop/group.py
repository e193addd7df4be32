"""A group of tasks that end together.

    with coop.TaskGroup() as group:
        group.spawn(serve, connection)
    # here every task of the group has ended

1. The block is left only when every task of the group has ended.
2. If the block or a task raises, the other tasks are cancelled, and everything
   that was raised comes out as one ExceptionGroup - or as itself, if it came from
   the block alone.  KeyboardInterrupt and SystemExit of the block always come out as
   themselves, with the group as their cause: whoever waits for them must find them.
3. One error leaves the block.  Whatever else is raised while it waits is for somebody further out,
   as the end of a longer time-out is, and is raised again where the task parks next.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any

from coop.errors import BlockEnded, BugError, Cancelled
from coop.report import name_of
from coop.scheduler import Scheduler, scheduler
from coop.slips import Unique
from coop.task import Task, current


class TaskGroup(Unique):
    """Tasks that are waited for together; a context manager, left when all of them have ended.

    If a task or the block raises, the other tasks are cancelled, and all errors come out as one
    ExceptionGroup; what the block alone has raised comes out as itself.
    """

    def __init__(self) -> None:
        self._owner: Scheduler | None = None
        self._tasks: dict[Task, None] = {}
        self._errors: list[BaseException] = []
        self._parent: Task | None = None
        self._waits = False
        self._is_ending = False
        self._aborted = _Aborted()

    def __enter__(self) -> "TaskGroup":
        task = current()
        if self._parent is not None:
            raise BugError("open a group a second time: each is for one block")
        if task.pinned:
            raise BugError(
                f"{task} opens a group: a host function declared parks=False must not wait for its end"
            )
        self._owner = scheduler()
        self._parent = task
        return self

    def spawn(self, call: Callable[..., Any], *args: Any, name: str = "") -> Task:
        """Start `call(*args)` as a task of the group and return the task.

        Raises: BugError outside the group's block.
        """
        if self._owner is None:
            raise BugError("spawn in a group: use it as a context manager, and inside its block")
        task = self._owner.spawn(call, *args, name=name or name_of(call))
        task.observe()
        self._tasks[task] = None
        if self._is_ending:
            task.cancel()
        task.on_end(self._ended)
        return task

    def cancel(self) -> None:
        """Cancel every task of the group; the block may go on."""
        for task in list(self._tasks):
            task.cancel()

    def _ended(self, task: Task) -> None:
        del self._tasks[task]
        error = task.error
        if error is not None and not (isinstance(error, Cancelled) and task.is_cancelled):
            self._errors.append(error)
            self._abort()
            if not self._waits and self._parent is not None:
                # The block may wait for something that will now never come.
                self._parent.interrupt(self._aborted)
        if not self._tasks and self._waits and self._parent is not None:
            self._parent.owner.runq.wake(self._parent)

    def _abort(self) -> None:
        if not self._is_ending:  # once: of very many tasks each may fail in its cleanup
            self._is_ending = True
            self.cancel()

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        opener, task = self._parent, current()  # mostly the same; a generator may be left by another task
        assert opener is not None
        self._parent, self._waits = task, True
        opener.forget_interrupt(self._aborted)
        # The block heard of a task's failure, whose error is kept; what woke it says nothing more.
        raised = None if error is self._aborted else error
        if error is not None:
            self._abort()
        raised = self._wait_for_tasks(task, raised)
        self._owner = None
        return self._raise(raised, is_from_block=raised is error)

    def _wait_for_tasks(self, task: Task, raised: BaseException | None) -> BaseException | None:
        """Park until all tasks have ended; return what is to leave the block, of what was and is raised."""
        others: list[BaseException] = []
        while self._tasks:
            try:
                task.park("the tasks of its group")
            except BaseException as while_waiting:
                self._abort()
                if task.is_cancelled:
                    self._drain(task)
                if raised is None or isinstance(while_waiting, (KeyboardInterrupt, SystemExit)):
                    raised = while_waiting
                elif not task.is_cancelled:
                    others.append(while_waiting)
        if self._errors and isinstance(raised, BlockEnded):
            others.append(raised)  # what leaves the block are the tasks' errors, which somebody may take
        for other in others:
            task.interrupt(other)
        return raised

    def _drain(self, task: Task) -> None:
        """Wait for the group's tasks although this one is cancelled: nothing may outlive the block."""
        while self._tasks:
            task.pause_uncancelled()

    def _raise(self, raised: BaseException | None, *, is_from_block: bool) -> bool:
        errors, self._errors = self._errors, []
        if not errors:
            if raised is not None and not is_from_block:
                raise raised
            return raised is None
        if raised is not None and not isinstance(raised, Cancelled):
            errors.insert(0, raised)
        group = BaseExceptionGroup("tasks of the group failed", errors)
        if isinstance(raised, (KeyboardInterrupt, SystemExit)):
            raise raised from group
        raise group from raised


class _Aborted(BlockEnded):
    """Wakes the block of a group when one of its tasks failed; never leaves that group."""
