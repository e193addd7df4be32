"""Draw what one more costs among many: `python -m bench.picture growth.json docs/growth.svg`.

The input is what `python -m bench --only growth --json growth.json` wrote. Both axes are logarithmic: a cost
that stays the same is a level line, and one that grows with the number of guests rises by a decade a decade.

1. A picture depends on nothing but itself: no script, no font that is fetched, one background for light pages
   and dark ones.
2. The axis of costs is cut to whole steps around what was measured, so every point lies on the canvas.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bench.figures import number

__all__ = ["BadInput", "Curve", "curves", "draw"]

WIDTH, HEIGHT = 960, 520
LEFT, RIGHT, TOP, BOTTOM = 84, 700, 92, 440
SIZES = (10, 100, 1_000, 10_000)
STEPS = (1.0, 2.0, 5.0)
ROOM = 1.2
"""How many times the costs the axis reaches, so that what is written at a point has its place."""
LABEL_GAP, VALUE_GAP = 44.0, 40.0
"""How far apart two labels have to be, and two points before the lower one has its value below."""
LABELS = {
    "wake": ("a wake", "a parked guest, until it waits again", "#1565c0"),
    "start": ("a start", "of a guest, until it is parked", "#c62828"),
    "echo": ("an echo", "Go's server, ten connections busy", "#2e7d32"),
}
HEAD = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"
     role="img" aria-labelledby="t d" font-family="Helvetica, Arial, sans-serif" font-size="15">
  <title id="t">What one more costs among many</title>
  <desc id="d">{{description}}</desc>
  <style>
    .grid {{{{ stroke: #cfd8dc; stroke-width: 1 }}}}
    .axis {{{{ stroke: #37474f; stroke-width: 1.5 }}}}
    .curve {{{{ fill: none; stroke-width: 2.5; stroke-linejoin: round }}}}
    .head {{{{ font-weight: bold; font-size: 18px; fill: #263238 }}}}
    .name {{{{ font-weight: bold; font-size: 16px }}}}
    .note {{{{ fill: #546e7a; font-size: 13px }}}}
    .halo {{{{ stroke: #fafafa; stroke-width: 4; fill: #fafafa }}}}
    .mid {{{{ text-anchor: middle }}}}
    .end {{{{ text-anchor: end }}}}
  </style>
  <rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="#fafafa"/>
  <text x="24" y="38" class="head">What one more costs among many</text>
  <text x="24" y="62" class="note">CPU time in microseconds; both axes are logarithmic</text>"""


class BadInput(Exception):
    """The file is not what the row `growth` writes; the message says what is wrong."""


@dataclass(frozen=True)
class Curve:
    """One quantity: pairs of a size and microseconds, smallest size first."""

    quantity: str
    points: tuple[tuple[int, float], ...]


def curves(report: Any) -> list[Curve]:
    """Find the lines of the row `growth` in a report.

    Raises: BadInput if it is no report, has none of them, or one that is no cost.
    """
    found: dict[str, dict[int, float]] = {}
    try:
        for line in report["lines"]:
            words = line["row"].split()
            if words[0] == "growth":
                found.setdefault(words[1], {})[int(words[2])] = float(line["coop"]["median"])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise BadInput("not what `python -m bench --json` writes") from error
    for quantity in LABELS:
        points = found.get(quantity, {})
        if not points:
            raise BadInput(f"no line `growth {quantity}`: measure with --only growth")
        for size, cost in points.items():
            if not SIZES[0] <= size <= SIZES[-1] or not 0 < cost < math.inf:
                raise BadInput(f"`growth {quantity} {size}`: {cost} us cannot be drawn")
    return [Curve(quantity, tuple(sorted(found[quantity].items()))) for quantity in LABELS]


def draw(given: list[Curve]) -> str:
    """Return the picture as SVG."""
    costs = [cost for curve in given for _, cost in curve.points]
    ticks = _ticks(min(costs), max(costs))
    places = {
        curve.quantity: [(_x(size), _y(cost, ticks), cost) for size, cost in curve.points] for curve in given
    }
    said = "; ".join(_described(curve) for curve in given)
    parts = [HEAD.format(description=escape(f"CPU time: {said}.")), *_grid(ticks)]
    for curve in given:
        parts += _curve(curve.quantity, places)
    return "\n".join([*parts, *_labels(places), "</svg>", ""])


def _described(curve: Curve) -> str:
    (few, first), (many, last) = curve.points[0], curve.points[-1]
    return f"{LABELS[curve.quantity][0]} takes {number(first)} us at {few} and {number(last)} us at {many}"


def _ticks(least: float, most: float) -> list[float]:
    """Return steps of 1, 2 and 5, the first below `least` and the last above `most`."""
    decades = range(math.floor(math.log10(least)) - 1, math.ceil(math.log10(most)) + 2)
    steps = [step * 10.0**decade for decade in decades for step in STEPS]
    first = max(step for step in steps if step <= least / ROOM)
    last = min(step for step in steps if step >= most * ROOM)
    return [step for step in steps if first <= step <= last]


def _x(size: int) -> float:
    share = math.log10(size / SIZES[0]) / math.log10(SIZES[-1] / SIZES[0])
    return LEFT + 30 + share * (RIGHT - LEFT - 60)


def _y(cost: float, ticks: list[float]) -> float:
    return BOTTOM - math.log(cost / ticks[0]) / math.log(ticks[-1] / ticks[0]) * (BOTTOM - TOP)


def _grid(ticks: list[float]) -> list[str]:
    parts = []
    for tick in ticks:
        y = _y(tick, ticks)
        parts.append(f'  <path class="grid" d="M{LEFT} {y:.1f} H{RIGHT}"/>')
        parts.append(f'  <text x="{LEFT - 10}" y="{y + 5:.1f}" class="note end">{tick:g} us</text>')
    parts.append(f'  <path class="axis" d="M{LEFT} {BOTTOM} H{RIGHT}"/>')
    for size in SIZES:
        x = _x(size)
        parts.append(f'  <path class="axis" d="M{x:.1f} {BOTTOM} v6"/>')
        shown = f"{size:,}".replace(",", " ")
        parts.append(f'  <text x="{x:.1f}" y="{BOTTOM + 24}" class="note mid">{shown}</text>')
    middle = (LEFT + RIGHT) / 2
    parts.append(
        f'  <text x="{middle:.1f}" y="{BOTTOM + 52}" class="mid" fill="#37474f">guests, or connections</text>'
    )
    return parts


def _curve(quantity: str, places: dict[str, list[tuple[float, float, float]]]) -> list[str]:
    colour = LABELS[quantity][2]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places[quantity])
    parts = [f'  <polyline class="curve" stroke="{colour}" points="{way}"/>']
    for x, y, cost in places[quantity]:
        above = [
            y - other
            for name, points in places.items()
            if name != quantity
            for at, other, _ in points
            if at == x and other <= y
        ]
        shift = 22 if above and min(above) < VALUE_GAP else -11
        parts.append(f'  <circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')
        where = f'x="{x:.1f}" y="{y + shift:.1f}"'
        # A text of its own, and not `paint-order`: who does not know of that shows the halo alone.
        parts.append(f'  <text {where} class="halo mid" aria-hidden="true">{number(cost)}</text>')
        parts.append(f'  <text {where} class="mid" fill="{colour}">{number(cost)}</text>')
    return parts


def _labels(places: dict[str, list[tuple[float, float, float]]]) -> list[str]:
    """Name each curve at its right end, from the top on, none over another."""
    parts = []
    free = float(TOP)
    names = sorted(places, key=lambda name: places[name][-1][1])
    for left, quantity in zip(range(len(names) - 1, -1, -1), names, strict=True):
        name, note, colour = LABELS[quantity]
        # Room has to stay for the labels below it.
        y = min(max(places[quantity][-1][1], free), BOTTOM - left * LABEL_GAP)
        free = y + LABEL_GAP
        parts.append(f'  <text x="{RIGHT + 14}" y="{y:.1f}" class="name" fill="{colour}">{name}</text>')
        parts.append(f'  <text x="{RIGHT + 14}" y="{y + 18:.1f}" class="note">{note}</text>')
    return parts


def main(arguments: list[str]) -> int:
    """Draw the picture and return the exit status."""
    if len(arguments) != 2:
        print("usage: python -m bench.picture REPORT.json PICTURE.svg", file=sys.stderr)
        return 2
    source, picture = map(Path, arguments)
    try:
        picture.write_text(draw(curves(json.loads(source.read_text()))))
    except OSError as error:
        print(f"picture: {error.filename}: {error.strerror}", file=sys.stderr)
    except ValueError:
        print(f"picture: {source}: not JSON", file=sys.stderr)
    except BadInput as error:
        print(f"picture: {source}: {error}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
