"""A task that waits for descriptors, and why it is parked."""

from typing import TYPE_CHECKING, Any

from coop.netpoll.contract import MODE_NAMES
from coop.task import Task

if TYPE_CHECKING:
    from coop.netpoll.polldesc import PollDesc


class Waiter:
    """One task's wish to hear of descriptors.

    A plain waiter stands on one descriptor and leaves it when fired.  A *sticky*
    one stays on any number of them until it is taken off: a guest that polls the
    same thousand descriptors again and again queues up once.

    fired -- True while there is nobody to wake: after the first cause, and of a sticky one
             whenever it does not wait
    marks -- where the descriptors are noted that events came for, parked or not; None: nowhere
    """

    __slots__ = ("fired", "marks", "mode", "sticky", "task")

    def __init__(self, task: Task, mode: int, *, sticky: bool = False) -> None:
        self.task = task
        self.mode = mode
        self.sticky = sticky
        self.fired = sticky
        self.marks: dict[Any, None] | None = None

    def wake(self) -> None:
        """Wake the task unless an earlier cause has: one wake for each wait."""
        if not self.fired:
            self.fired = True
            self.task.owner.runq.wake(self.task)


class WaitReason:
    """Why a task is parked, put into words only when a report asks."""

    __slots__ = ("desc", "mode")

    def __init__(self, desc: "PollDesc", mode: int) -> None:
        self.desc = desc
        self.mode = mode

    def __str__(self) -> str:
        return f"{MODE_NAMES[self.mode]} on {self.desc.what}"
