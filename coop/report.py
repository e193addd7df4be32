"""A report of what tasks do, for whoever asks why nothing goes on."""

from collections.abc import Iterable

from coop.task import PARKED, Task


def report(headline: str, tasks: Iterable[Task]) -> str:
    """Describe each task: its state, what it waits for and its Python stack."""
    lines = [headline]
    for task in tasks:
        waits = f", waits for {task.reason}" if task.state is PARKED else ""
        lines.append(f"{task} is {task.state.value}{waits}")
        lines.extend(f"  {line}" for line in task.stack_text().splitlines())
    return "\n".join(lines)
