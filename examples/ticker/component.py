"""The ticker as a component: it prints at a pace of its own, waiting on the clock's pollable.

Build it with componentize-py for the world `command` that `coop wit` writes, and run it with

    coop run ticker.wasm 200 5
"""

import sys

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import monotonic_clock, poll


class Run(exports.Run):
    """The command."""

    def run(self) -> None:
        """Print so many ticks, so many milliseconds apart."""
        if len(sys.argv) != 3 or not "".join(sys.argv[1:]).isdigit():
            print("usage: ticker MILLISECONDS TICKS", file=sys.stderr)
            raise Err(None)  # which is exit code 1
        pace_ms, ticks = int(sys.argv[1]), int(sys.argv[2])
        due = monotonic_clock.now()
        for tick in range(1, ticks + 1):
            due += pace_ms * 1_000_000
            with monotonic_clock.subscribe_instant(due) as moment:
                poll.poll([moment])
            print(f"tick {tick}", flush=True)
