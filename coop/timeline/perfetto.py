"""A timeline as Perfetto reads it, at ui.perfetto.dev, and Chromium at chrome://tracing.

The format is Google's "Trace Event Format": a JSON array of events, whose times are microseconds.
"""

import json
from collections.abc import Iterator
from typing import Any

from coop.timeline.record import HUB, PARKED, Record

Event = dict[str, Any]


def lines(record: Record) -> Iterator[str]:
    """Return the lines of the file, one for each event."""
    comma = "["
    for event in events(record):
        yield comma + json.dumps(event)
        comma = ","
    yield "]"


def events(record: Record) -> Iterator[Event]:
    """Return the events of a timeline: names of lanes, spans, and arrows from who woke to who was woken."""
    names = {HUB: "hub"} | {span.lane: span.name for span in record.spans}
    for lane, name in names.items():
        yield _event("M", lane, "thread_name", args={"name": name})
        yield _event("M", lane, "thread_sort_index", args={"sort_index": lane})
    for span in record.spans:
        title = f"parked: {span.words}" if span.kind == PARKED else span.kind
        more = {"args": {"woke": span.words}} if span.lane == HUB else {}
        lasted = (span.end_ns - span.begin_ns) / 1000
        yield _event("X", span.lane, title, ts=span.begin_ns / 1000, dur=lasted, **more)
    for number, wake in enumerate(record.wakes):
        if wake.by in names and wake.lane in names:
            if wake.by == HUB:  # an arrow is shown only where a span lies under each of its ends
                yield _event("X", HUB, "wakes", ts=wake.at_ns / 1000, dur=0.001)
            yield _event("s", wake.by, "wake", ts=wake.at_ns / 1000, id=number, cat="wake")
            yield _event("f", wake.lane, "wake", ts=wake.run_ns / 1000, id=number, cat="wake", bp="e")


def _event(phase: str, lane: int, name: str, **more: Any) -> Event:
    return {"ph": phase, "pid": 1, "tid": lane, "name": name, **more}
