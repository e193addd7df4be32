"""What a task is called, and a report of what tasks do, for whoever asks why nothing goes on."""

from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any

from coop.task import PARKED, Task


def name_of(call: Callable[..., Any]) -> str:
    """Return what a task is called that was given no name: `serve`, or `Guest.run of echo.wasm`.

    A method is named after the class of its object, and not the one that defines it: `run` is a method
    of all guests, and most tasks run one.  If the object has a name too, that tells it from the others.
    """
    told = getattr(call, "__qualname__", type(call).__name__)
    if not isinstance(call, MethodType) or isinstance(call.__self__, type):
        return str(told)
    try:
        name = getattr(call.__self__, "name", None)
    except Exception:  # a property of the user's, which need not work here
        name = None
    of_whom = f" of {name[:80]}" if isinstance(name, str) else ""
    return f"{type(call.__self__).__name__}.{told.rpartition('.')[2]}{of_whom}"


def report(headline: str, tasks: Iterable[Task]) -> str:
    """Describe each task: its state, what it waits for and its Python stack."""
    lines = [headline]
    for task in tasks:
        waits = f", waits for {task.reason}" if task.state is PARKED else ""
        lines.append(f"{task} is {task.state.value}{waits}")
        lines.extend(f"  {line}" for line in task.stack_text().splitlines())
    return "\n".join(lines)
