"""Measure coop beside its peers: `python -m bench`, or `make bench`.

A target that is missed is reported, not an error: the status is 0 when every row could be measured,
and 1 when one could not.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from bench.figures import Line, Plan
from bench.machine import Watch, describe
from bench.parts import PartFailed
from bench.peers import PeerFailed, PeerMissing
from bench.table import PIPE_WIDTH, as_json, as_markdown, show
from tests.guestbuild import BuildFailed, ToolchainMissing

ROWS = (
    "echo",
    "idle",
    "clients",
    "start",
    "files",
    "disk",
    "gostd",
    "calls",
    "components",
    "serve",
    "parked",
    "growth",
    "timers",
    "cancel",
    "gil",
)
FAILURES = (
    PartFailed,
    PeerFailed,
    PeerMissing,
    BuildFailed,
    ToolchainMissing,
    OSError,
    subprocess.SubprocessError,
)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure coop beside its peers.")
    parser.add_argument("--rounds", type=int, metavar="N", help="repetitions of each measurement (default 5)")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every sample")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table for a page")
    parser.add_argument("--quick", action="store_true", help="one short round: does everything run?")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    if options.rounds < 1:
        parser.error("--rounds: must be above 0")
    return options


def main() -> int:
    """Measure the rows asked for, print the table, and return the exit status."""
    options = _options()
    # The table goes to a pipe too; what is measured just now is only for somebody who watches.
    screen, table = Console(stderr=True), Console()
    if not table.is_terminal:
        table = Console(width=PIPE_WIDTH)
    lines: list[Line] = []
    loads: dict[str, str] = {}
    failed: dict[str, str] = {}
    with screen.status("starting") as status:
        plan = Plan(options.rounds, options.quick, status.update)
        for row in ROWS:
            if options.only and row not in options.only:
                continue
            watch = Watch()
            try:
                lines += importlib.import_module(f"bench.rows.{row}").measure(plan)
            except FAILURES as error:
                failed[row] = str(error)
            loads[row] = watch.text()
    machine = describe()
    show(lines, machine, loads, table)
    for row, why in failed.items():
        screen.print(f"{row}: not measured: {why}", style="red", markup=False)
    if options.json:
        options.json.write_text(json.dumps(as_json(lines, machine, loads), indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(as_markdown(lines, machine, loads))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
