"""A measurement in a process of its own: no row meets the garbage, threads or maps of another.

    costs = run_part("bench.rows.calls", "coop", 200_000)     # in the parent
    answer({"coop": measure_coop})                            # at the end of the row's module

A part takes JSON values and returns one; whatever else it prints is shown if it fails.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["PartFailed", "answer", "run_part"]

ROOT = Path(__file__).resolve().parent.parent
PART_SECONDS = 180.0


class PartFailed(Exception):
    """A part crashed, hung or raised; the message has what it said."""


def run_part(module: str, part: str, *arguments: Any, seconds: float = PART_SECONDS) -> Any:
    """Run one part of a row's module in a new interpreter, started without a shell, and return its answer.

    Raises: PartFailed.
    """
    read, write = os.pipe()
    command = [sys.executable, "-m", module, part, str(write), *map(json.dumps, arguments)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, pass_fds=[write], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        os.close(read)
        raise PartFailed(f"{module} {part}: not done after {seconds:g} s") from error
    finally:
        os.close(write)
    with os.fdopen(read) as pipe:
        answered = pipe.read()
    if done.returncode != 0 or not answered:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise PartFailed(f"{module} {part}: ended with {done.returncode}: {said or 'it said nothing'}")
    return json.loads(answered)


def answer(parts: Mapping[str, Callable[..., Any]]) -> None:
    """Be the child: run the part named on the command line and hand its answer to the parent.

    The answer must fit into a pipe (64 KiB): the parent reads when the child has ended.
    The child ends without clean-up, since a part may leave threads behind that never end.
    """
    part, pipe, *arguments = sys.argv[1:]
    found = parts[part](*map(json.loads, arguments))
    with os.fdopen(int(pipe), "w") as out:
        json.dump(found, out)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
