"""A timeline as a picture, SVG, which any browser shows; a pointer that rests on a span is told of it.

1. A picture depends on nothing but itself: no script, no font that is fetched, one background for light pages
   and dark ones.
2. Of a long run it shows the end, and of a crowd the first lanes; it says so.
"""

from collections.abc import Iterator
from html import escape
from itertools import pairwise

from coop.timeline.record import HUB, LATE, LOOK, PARKED, READY, RUNS, WAIT, Record, Span, Wake

MOST_LANES, MOST_SPANS = 40, 4_000
"""What a picture shows at most."""

WIDTH, LEFT, RIGHT, TOP, LANE = 1200, 190, 1176, 96, 30

_STEPS = (1, 2, 5)

_COLOURS = {
    RUNS: ("#2e7d32", 16),
    READY: ("#f9a825", 10),
    LATE: ("#e65100", 10),
    PARKED: ("#b0bec5", 4),
    WAIT: ("#90caf9", 16),
    LOOK: ("#1565c0", 16),
}
"""Of each kind of span: its colour and its height."""

_LEGEND = {
    RUNS: "runs",
    READY: "ready",
    LATE: "ready, after a whole slice",
    PARKED: "parked",
    WAIT: "the combined wait",
    LOOK: "a look that found somebody",
}

_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"
     role="img" aria-labelledby="t" font-family="Helvetica, Arial, sans-serif" font-size="14">
  <title id="t">{title}</title>
  <style>
    .grid {{ stroke: #cfd8dc; stroke-width: 1 }}
    .wake {{ stroke: #c62828; stroke-width: 1; fill: none; opacity: 0.7 }}
    .name {{ fill: #263238; text-anchor: end }}
    .note {{ fill: #546e7a; font-size: 13px }}
    .head {{ font-weight: bold; font-size: 18px; fill: #263238 }}
    .mid {{ text-anchor: middle }}
  </style>
  <rect width="{width}" height="{height}" rx="12" fill="#fafafa"/>
  <text x="24" y="34" class="head">{title}</text>"""


class _Canvas:
    """Where moments and lanes lie.

    spans, wakes -- those that are shown
    """

    def __init__(self, record: Record) -> None:
        newest = list(record.spans)[-MOST_SPANS:]
        names = {HUB: "hub"} | dict(sorted({span.lane: span.name for span in newest}.items()))
        self.names = dict(list(names.items())[:MOST_LANES])
        self.is_whole = len(newest) == len(record.spans) and len(self.names) == len(names)
        self.rows = {lane: row for row, lane in enumerate(self.names)}
        self.spans = [span for span in newest if span.lane in self.rows]
        self.begin_ns = min((span.begin_ns for span in self.spans), default=0)
        self.end_ns = max((self.begin_ns + 1, *(span.end_ns for span in self.spans)))
        self.wakes = [
            wake
            for wake in record.wakes
            if wake.by in self.rows and wake.lane in self.rows and wake.at_ns >= self.begin_ns
        ]
        self.bottom = TOP + LANE * len(self.rows)

    def x(self, at_ns: int) -> float:
        """Return where a moment lies."""
        return LEFT + (RIGHT - LEFT) * (at_ns - self.begin_ns) / (self.end_ns - self.begin_ns)

    def y(self, lane: int) -> float:
        """Return the middle of a lane."""
        return TOP + LANE * (self.rows[lane] + 0.5)


def lines(record: Record) -> Iterator[str]:
    """Return the lines of the picture."""
    canvas = _Canvas(record)
    title = "Who ran when" if canvas.is_whole else "Who ran when, at the end; some are left out"
    yield _HEAD.format(width=WIDTH, height=canvas.bottom + 44, title=title)
    yield from _legend()
    yield from _axis(canvas)
    for lane, name in canvas.names.items():
        short = name if len(name) <= 22 else f"{name[:21]}\N{HORIZONTAL ELLIPSIS}"
        yield f'  <text x="{LEFT - 12}" y="{canvas.y(lane) + 5:.1f}" class="name">{_text(short)}</text>'
    for span in sorted(canvas.spans, key=_layer):
        yield _bar(canvas, span)
    for wake in canvas.wakes:
        yield _arrow(canvas, wake)
    yield "</svg>"


def _layer(span: Span) -> int:
    return span.kind != PARKED  # what is short lies above what is long


def _bar(canvas: _Canvas, span: Span) -> str:
    colour, height = _COLOURS[span.kind]
    x, y = canvas.x(span.begin_ns), canvas.y(span.lane) - height / 2
    width = max(canvas.x(span.end_ns) - x, 0.8)
    lasted = f"{(span.end_ns - span.begin_ns) / 1e6:.3f} ms"
    words = f": {span.words}" if span.words else ""
    told = _text(f"{span.name}, {_LEGEND[span.kind]} for {lasted}{words}")
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}"'
    return f'  <rect {place} fill="{colour}"><title>{told}</title></rect>'


def _arrow(canvas: _Canvas, wake: Wake) -> str:
    x, y, to_y = canvas.x(wake.at_ns), canvas.y(wake.by), canvas.y(wake.lane)
    back = 6 if to_y > y else -6
    return f'  <path d="M{x:.1f} {y:.1f}V{to_y:.1f}m-3 {-back}l3 {back}l3 {-back}" class="wake"/>'


def _text(words: str) -> str:
    """Return words as XML may have them: a name can be any string."""
    return escape("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in words))


def _legend() -> Iterator[str]:
    x = 24
    for kind, words in _LEGEND.items():
        colour, height = _COLOURS[kind]
        yield f'  <rect x="{x}" y="{56 - height / 2}" width="26" height="{height}" fill="{colour}"/>'
        yield f'  <text x="{x + 34}" y="61" class="note">{words}</text>'
        x += 58 + 7 * len(words)
    yield f'  <path d="M{x} 56h26" class="wake"/><text x="{x + 34}" y="61" class="note">a wake</text>'


def _axis(canvas: _Canvas) -> Iterator[str]:
    span_ms = (canvas.end_ns - canvas.begin_ns) / 1e6
    step = _step(span_ms / 8)
    for number in range(int(span_ms / step) + 1):
        tick = number * step
        x = canvas.x(canvas.begin_ns + round(tick * 1e6))
        yield f'  <path d="M{x:.1f} {TOP - 8}V{canvas.bottom + 4}" class="grid"/>'
        yield f'  <text x="{x:.1f}" y="{canvas.bottom + 24}" class="note mid">{tick:g} ms</text>'


def _step(least_ms: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is `least_ms` or more."""
    steps = [each * 10.0**power for power in range(-4, 9) for each in _STEPS]
    return next((upper for lower, upper in pairwise(steps) if lower < least_ms <= upper), steps[-1])
