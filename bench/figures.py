"""What a row hands back: figures with their spread, beside peers and a target."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Figure", "Line", "Plan", "Target", "number", "quantile", "ratio"]


@dataclass(frozen=True)
class Figure:
    """One quantity, measured in several rounds.

    unit    -- "us", "ms", "KiB", "requests/s", or "" for a bare number
    samples -- one number a round; the median is the figure, the rest its spread
    note    -- a second quantity, shown below: CPU time per request, say
    """

    unit: str
    samples: Sequence[float]
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def text(self) -> str:
        """The median and, of several rounds, the smallest and the largest."""
        shown = f"{number(self.median)} {self.unit}".strip()
        if len(self.samples) > 1:
            shown += f" ({number(min(self.samples))}-{number(max(self.samples))})"
        return shown

    def as_json(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "median": self.median,
            "min": min(self.samples),
            "max": max(self.samples),
            "samples": list(self.samples),
            "note": self.note,
        }


@dataclass(frozen=True)
class Target:
    """What a line has to reach, in words, and whether it did."""

    text: str
    is_met: bool

    @classmethod
    def at_most(cls, figure: Figure, bound: float) -> Target:
        """Ask for a median that is not above `bound`, in the figure's unit."""
        return cls(f"<= {number(bound)} {figure.unit}".strip(), figure.median <= bound)


@dataclass(frozen=True)
class Line:
    """One line of the table.

    row     -- the row it belongs to
    what    -- what is measured
    setup   -- in which configuration; "default" where nothing was set
    peers   -- figures of others, by name, in the same unit
    ratios  -- coop's figure divided by a peer's, by the peer's name
    """

    row: str
    what: str
    setup: str
    coop: Figure
    peers: dict[str, Figure] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    target: Target | None = None


@dataclass(frozen=True)
class Plan:
    """How much is measured, and who is told what is going on.

    rounds   -- how often each measurement is repeated
    is_quick -- whether to measure just enough to see that everything runs
    say      -- told what is being measured now
    """

    rounds: int
    is_quick: bool
    say: Callable[[str], None]

    def pick(self, usual: int, quick: int) -> int:
        """Choose a number of repetitions within one measurement."""
        return quick if self.is_quick else usual


def number(value: float) -> str:
    """Write a number with three digits that say something, large ones in full."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie, without interpolation."""
    return sorted(values)[int(share * (len(values) - 1))]


def ratio(coop: Figure, peer: Figure) -> float:
    """Return coop's figure divided by a peer's: the median over rounds, each round against itself.

    Both of a round were measured within seconds of each other, so most of what the machine did
    meanwhile falls out.
    """
    if len(coop.samples) == len(peer.samples):
        return statistics.median(a / b for a, b in zip(coop.samples, peer.samples, strict=True))
    return coop.median / peer.median
