"""The timeline of a run: what it keeps is what happened, and both kinds of files can be read."""

import json
import os
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import coop
from coop.netpoll import POLLERS, make_poller
from coop.timeline import picture
from coop.timeline.perfetto import events
from coop.timeline.record import HUB, LATE, LOOK, PARKED, READY, RUNS, WAIT, Record, Span
from coop.trace import TracedScheduler
from tests.children import ROOT, run_child

SPIN = '(module (memory (export "memory") 1) (func (export "_start") (loop $again (br $again))))'
SVG = "{http://www.w3.org/2000/svg}"


def recorded(main: Callable[[], object], poller: str = "hostpoll", record: Record | None = None) -> Record:
    record = Record() if record is None else record
    netpoller = make_poller(poller)
    try:
        TracedScheduler(netpoller, [record]).run(main)
    finally:
        netpoller.shutdown()
    record.close()
    return record


def of(record: Record, name: str) -> list[Span]:
    return [span for span in record.spans if span.name == name]


def lane(record: Record, name: str) -> int:
    return of(record, name)[0].lane


def hand_over() -> None:
    """Three tasks: `giver` sleeps, and then wakes `taker`; `yielder` yields."""
    channel = coop.Channel(0)

    def give() -> None:
        coop.sleep(0.002)
        channel.send("it")

    with coop.TaskGroup() as group:
        group.spawn(channel.receive, name="taker")
        group.spawn(give, name="giver")
        group.spawn(coop.pause, name="yielder")


@pytest.mark.parametrize("poller", POLLERS)
def test_each_task_is_in_one_phase_at_any_moment_and_one_task_at_most_runs(poller):
    record = recorded(hand_over, poller)
    assert {span.name for span in record.spans} == {"hub", "main", "taker", "giver", "yielder"}
    for name in ("main", "taker", "giver", "yielder"):
        spans = of(record, name)
        assert spans[0].kind == READY
        assert {span.kind for span in spans} <= {READY, RUNS, PARKED}
        assert all(one.end_ns == other.begin_ns for one, other in pairwise(spans))
    running = sorted(span for span in record.spans if span.kind == RUNS)
    assert all(one.end_ns <= other.begin_ns for one, other in pairwise(running))


@pytest.mark.parametrize("poller", POLLERS)
def test_a_wake_tells_who_woke_and_a_park_tells_for_what(poller):
    record = recorded(hand_over, poller)
    sleeps = [span.words for span in of(record, "giver") if span.kind == PARKED]
    assert any(words.startswith("the clock at") for words in sleeps)
    wakes = {(wake.by, wake.lane) for wake in record.wakes}
    assert (HUB, lane(record, "giver")) in wakes  # its timer
    assert (lane(record, "giver"), lane(record, "taker")) in wakes
    assert (lane(record, "main"), lane(record, "giver")) in wakes  # which spawned it
    assert all(wake.at_ns <= wake.run_ns for wake in record.wakes)


@pytest.mark.parametrize("poller", POLLERS)
def test_a_combined_wait_stands_in_the_lane_of_the_hub(poller):
    record = Record()

    def main() -> None:
        while not any(span.kind == WAIT for span in record.spans):
            coop.sleep(0.001)

    recorded(main, poller, record)
    assert {span.name for span in record.spans if span.kind == WAIT} == {"hub"}
    assert {span.lane for span in record.spans if span.kind == WAIT} == {HUB}


def test_a_wait_of_the_poller_tells_whom_it_woke():
    def main() -> None:
        with coop.listen("127.0.0.1:0") as listener, coop.TaskGroup() as group:
            group.spawn(lambda: listener.accept().close(), name="server")
            coop.pause()
            coop.connect(listener.address).close()

    record = recorded(main)
    told = [span.words for span in record.spans if span.kind in (WAIT, LOOK)]
    assert any("server" in words.split(", ") for words in told)


def test_a_guest_that_computes_is_late_and_those_who_wait_run_between():
    def main() -> None:
        module = coop.Module.from_bytes(SPIN)
        busy = [coop.Guest(module, name=f"busy {n}") for n in range(2)]
        for guest in busy:
            coop.spawn(guest.run, name=guest.name).observe()
        while any(guest.stats().slices < 2 for guest in busy):
            coop.sleep(0.001)

    record = recorded(main)
    for name in ("busy 0", "busy 1"):
        assert {RUNS, LATE} <= {span.kind for span in of(record, name)}
    assert len([span for span in of(record, "main") if span.kind == RUNS]) > 1


def test_of_a_long_run_the_newest_steps_are_kept():
    def main() -> None:
        for _ in range(100):
            coop.sleep(0.0001)

    record = recorded(main, record=Record(20))
    assert len(record.spans) == len(record.wakes) == 20
    assert max(span.end_ns for span in record.spans) == record.spans[-1].end_ns
    lanes = {event["tid"] for event in events(record)}
    assert lanes == {HUB, lane(record, "main")}


def test_tasks_that_ended_are_not_kept():
    record = recorded(lambda: [coop.spawn(coop.pause).wait() for _ in range(50)], record=Record(20))
    assert not record._alive


# -- as Perfetto reads it


def test_the_json_names_each_lane_and_joins_both_ends_of_each_wake(tmp_path: Path):
    coop.run(hand_over, timeline=tmp_path / "run.json")
    told = json.loads((tmp_path / "run.json").read_text())
    names = {event["args"]["name"] for event in told if event["name"] == "thread_name"}
    assert {"hub", "main", "taker", "giver", "yielder"} <= names
    begins = {event["id"]: event for event in told if event["ph"] == "s"}
    ends = {event["id"]: event for event in told if event["ph"] == "f"}
    assert begins.keys() == ends.keys() != set()
    spans = [event for event in told if event["ph"] == "X"]
    for event in [*begins.values(), *ends.values()]:
        assert any(
            span["tid"] == event["tid"] and span["ts"] <= event["ts"] <= span["ts"] + span["dur"]
            for span in spans
        )
    assert any(event["name"].startswith("parked: the clock at") for event in spans)


# -- as a picture


def test_the_picture_has_a_lane_for_each_task_and_tells_of_each_span(tmp_path: Path):
    coop.run(hand_over, timeline=str(tmp_path / "run.svg"))
    root = ET.parse(tmp_path / "run.svg").getroot()
    assert root.findtext(f"{SVG}title") == "Who ran when"
    assert {"hub", "main", "taker", "giver", "yielder"} <= {text.text for text in root.iter(f"{SVG}text")}
    width = float(root.attrib["width"])
    bars = [rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    assert bars
    for bar in bars:
        assert 0 <= float(bar.attrib["x"]) <= width
        assert float(bar.attrib["width"]) > 0
    told = [bar.findtext(f"{SVG}title") or "" for bar in bars]
    assert any(words.startswith("giver, parked for ") and "the clock at" in words for words in told)


def test_names_that_no_picture_could_show_are_shown_as_far_as_they_can_be():
    def main() -> None:
        coop.spawn(coop.pause, name="<a> & \0\x1b[31m\udc80").wait()

    root = ET.fromstring("\n".join(picture.lines(recorded(main))))
    assert "<a> & \ufffd\ufffd[31m\ufffd" in {text.text for text in root.iter(f"{SVG}text")}


def test_of_a_crowd_the_picture_shows_the_first_lanes_and_says_so():
    def main() -> None:
        with coop.TaskGroup() as group:
            for number in range(picture.MOST_LANES + 10):
                group.spawn(coop.pause, name=f"number {number}")

    root = ET.fromstring("\n".join(picture.lines(recorded(main))))
    shown = {text.text for text in root.iter(f"{SVG}text")}
    assert "number 0" in shown
    assert f"number {picture.MOST_LANES}" not in shown
    assert "left out" in (root.findtext(f"{SVG}title") or "")


def test_a_run_in_which_nothing_lasted_has_a_picture_too():
    ET.fromstring("\n".join(picture.lines(Record())))
    record = Record()
    record.spans.append(Span(7, 7, HUB, "hub", WAIT))
    ET.fromstring("\n".join(picture.lines(record)))


def test_the_picture_in_the_docs_is_that_of_the_program_beside_it():
    root = ET.parse(ROOT / "docs" / "timeline.svg").getroot()
    lanes = {text.text for text in root.iter(f"{SVG}text") if text.get("class") == "name"}
    assert lanes == {"hub", "signals", "main", "busy", "busy too", "ticker"}
    assert root.findtext(f"{SVG}title") == "Who ran when"


# -- the file


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [("run.txt", ValueError, "ends in .json or .svg"), ("missing/run.svg", OSError, "missing")],
)
def test_a_file_that_cannot_be_is_told_before_the_run(tmp_path: Path, name: str, kind, message: str):
    def main() -> None:
        raise AssertionError("it ran")

    with pytest.raises(kind, match=message):
        coop.run(main, timeline=tmp_path / name)
    coop.run(lambda: None)


def test_a_run_that_fails_is_written_and_its_error_comes_out(tmp_path: Path):
    def main() -> None:
        coop.sleep(0.001)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        coop.run(main, timeline=tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text())


def test_a_file_that_cannot_be_written_hides_no_error_of_the_run(tmp_path: Path, capsys):
    def spoil() -> None:
        (tmp_path / "run.json").unlink()
        (tmp_path / "run.json").mkdir()

    def main() -> None:
        spoil()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        coop.run(main, timeline=tmp_path / "run.json")
    assert "the timeline was not written" in capsys.readouterr().err
    (tmp_path / "run.json").rmdir()
    with pytest.raises(IsADirectoryError, match=r"run\.json"):
        coop.run(spoil, timeline=tmp_path / "run.json")


FORKS = """
        import os, sys
        import coop

        def main():
            if os.fork() == 0:
                sys.exit(7)  # through the run, and what its blocks do at their end
            assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
            assert os.path.getsize(sys.argv[1]) == 0

        coop.run(main, timeline=sys.argv[1])
"""


def test_a_process_that_is_forked_within_the_run_writes_nothing(tmp_path: Path):
    ran = run_child(["-c", textwrap.dedent(FORKS), os.fspath(tmp_path / "run.svg")])
    assert (ran.returncode, ran.stderr) == (0, b"")
    ET.parse(tmp_path / "run.svg")


def test_a_trace_and_a_timeline_go_together(tmp_path: Path, capsys):
    coop.run(lambda: coop.sleep(0.001), trace=True, timeline=tmp_path / "run.svg")
    assert "combined wait" in capsys.readouterr().err
    ET.parse(tmp_path / "run.svg")
