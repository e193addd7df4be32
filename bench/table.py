"""The table that `make bench` prints, and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import HORIZONTALS
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.figures import Figure, Line, number

__all__ = ["as_json", "as_markdown", "show"]

PIPE_WIDTH = 200
"""Columns where there is no terminal to ask."""


def show(lines: Sequence[Line], machine: dict[str, Any], loads: dict[str, str], console: Console) -> None:
    """Print all lines in one table, and below it the machine and its load row by row."""
    table = Table(
        box=HORIZONTALS, title="coop beside its peers: median (min-max) of all rounds", pad_edge=False
    )
    table.add_column("row", no_wrap=True)
    table.add_column("what is measured, and how", min_width=30)
    table.add_column("coop", justify="right", no_wrap=True)
    table.add_column("peers", justify="right", no_wrap=True)
    table.add_column("coop / peer", justify="right", no_wrap=True)
    table.add_column("target")
    table.add_column("met", justify="center")
    for line in lines:
        table.add_row(*_cells(line))
    console.print(table)
    console.print(_machine(machine), highlight=False)
    for row, load in loads.items():
        console.print(f"  {row}: {load}", highlight=False)


def _cells(line: Line) -> Iterable[str]:
    yield line.row
    yield f"{escape(line.what)}\n[dim]{escape(line.setup)}[/]"
    yield escape(_figure(line.coop))
    yield "\n".join(f"{escape(name)}: {escape(_figure(figure))}" for name, figure in line.peers.items())
    # A ratio stands beside the first line of its peer.
    yield "\n".join(
        number(line.ratios[name]) + "\n" * _figure(figure).count("\n") for name, figure in line.peers.items()
    )
    yield escape(line.target.text) if line.target else ""
    yield "" if line.target is None else "[green]yes[/]" if line.target.is_met else "[bold red]NO[/]"


def as_markdown(lines: Sequence[Line], machine: dict[str, Any], loads: dict[str, str]) -> str:
    """Return the table for a page of the documentation: the same cells, one line a row."""
    rows = ["| what | coop | peers | coop / peer | target | met |", "|---|---|---|---|---|---|"]
    for line in lines:
        peers = "; ".join(f"{name} {_flat(figure)}" for name, figure in line.peers.items())
        ratios = "; ".join(number(value) for value in line.ratios.values())
        target = line.target.text if line.target else ""
        met = "" if line.target is None else "yes" if line.target.is_met else "**no**"
        rows.append(f"| {line.what} | {_flat(line.coop)} | {peers} | {ratios} | {target} | {met} |")
    return "\n".join(
        [_machine(machine), "", *rows, "", *(f"- {row}: {load}" for row, load in loads.items()), ""]
    )


def _flat(figure: Figure) -> str:
    return _figure(figure).replace("\n", ", ")


def _machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['date']}, {machine['cpus']} x {machine['cpu']}, Linux {machine['kernel']}, "
        f"Python {machine['python']}, {versions}"
    )


def _figure(figure: Figure) -> str:
    return f"{figure.text}\n{figure.note}" if figure.note else figure.text


def as_json(lines: Sequence[Line], machine: dict[str, Any], loads: dict[str, str]) -> dict[str, Any]:
    """Return everything the table shows, with every sample."""
    return {
        "machine": machine,
        "loads": loads,
        "lines": [
            {
                "row": line.row,
                "what": line.what,
                "setup": line.setup,
                "coop": line.coop.as_json(),
                "peers": {name: figure.as_json() for name, figure in line.peers.items()},
                "ratios": line.ratios,
                "target": line.target.text if line.target else None,
                "met": line.target.is_met if line.target else None,
            }
            for line in lines
        ],
    }
