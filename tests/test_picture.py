"""The picture of what one more costs: its points lie on the canvas, and what is no report is refused."""

import json
import subprocess
import sys
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from bench.figures import Figure, Line
from bench.picture import BadInput, curves, draw
from bench.table import as_json
from tests.children import ROOT

SVG = "{http://www.w3.org/2000/svg}"
SIZES = (10, 100, 1_000, 10_000)
USUAL = {"wake": (30, 25, 26, 40), "start": (178, 155, 195, 244), "echo": (21, 27, 29, 38)}
COSTS = {
    "usual": USUAL,
    "all the same": dict.fromkeys(USUAL, (20, 20, 20, 20)),
    "far apart": {"wake": (0.04, 1, 1, 1), "start": (1, 1, 1, 1e6), "echo": (9, 99, 999, 9999)},
    "powers of ten": {"wake": (1, 10, 100, 1000), "start": (1000, 100, 10, 1), "echo": (1, 1, 1, 1)},
}


def report(costs):
    lines = [
        Line(f"growth {quantity} {size}", "", "", Figure("us", [float(cost)]))
        for quantity, each in costs.items()
        for size, cost in zip(SIZES, each, strict=True)
    ]
    return as_json([Line("echo 10", "", "", Figure("req/s", [1.0])), *lines], {}, {})


def picture(costs):
    return ET.fromstring(draw(curves(report(costs))))


def run(*arguments):
    command = [sys.executable, "-m", "bench.picture", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", COSTS)
def test_every_point_and_every_text_lies_on_the_canvas(name):
    root = picture(COSTS[name])
    width, height = float(root.get("width")), float(root.get("height"))
    assert root.get("viewBox") == f"0 0 {width:g} {height:g}"
    circles = [(float(each.get("cx")), float(each.get("cy"))) for each in root.iter(f"{SVG}circle")]
    texts = [(float(each.get("x")), float(each.get("y"))) for each in root.iter(f"{SVG}text")]
    ways = [each.get("points").split() for each in root.iter(f"{SVG}polyline")]
    corners = [tuple(map(float, pair.split(","))) for way in ways for pair in way]
    assert (len(circles), len(ways), len(corners)) == (12, 3, 12)
    for x, y in circles + texts + corners:
        assert 0 <= x <= width
        assert 0 <= y <= height


@pytest.mark.parametrize("name", COSTS)
def test_no_two_names_of_curves_lie_over_each_other(name):
    names = [each for each in picture(COSTS[name]).iter(f"{SVG}text") if each.get("class") == "name"]
    heights = sorted(float(each.get("y")) for each in names)
    assert len(heights) == 3
    assert all(below - above >= 40 for above, below in pairwise(heights))


@pytest.mark.parametrize("drawn", [draw(curves(report(USUAL))), (ROOT / "docs" / "growth.svg").read_text()])
def test_every_value_is_painted_over_its_halo_by_whatever_shows_the_picture(drawn):
    assert "paint-order" not in drawn
    texts = list(ET.fromstring(drawn).iter(f"{SVG}text"))
    halos = [place for place, each in enumerate(texts) if "halo" in each.get("class", "")]
    assert len(halos) == 12
    for place in halos:
        halo, value = texts[place], texts[place + 1]
        assert (halo.get("x"), halo.get("y"), halo.text) == (value.get("x"), value.get("y"), value.text)
        assert value.get("fill").startswith("#")


def test_a_screen_reader_is_told_the_title_and_what_the_curves_say():
    root = picture(USUAL)
    ids = {each.get("id"): each.text for each in root if each.get("id")}
    assert root.get("role") == "img"
    assert set(root.get("aria-labelledby").split()) == set(ids)
    assert ids["t"] == "What one more costs among many"
    assert "a wake takes 30.0 us at 10 and 40.0 us at 10000" in ids["d"]


def test_a_dearer_point_stands_higher_and_a_larger_size_further_right():
    root = picture({**USUAL, "start": (100, 200, 400, 800)})
    way = next(way for way in root.iter(f"{SVG}polyline") if way.get("stroke") == "#c62828")
    points = [tuple(map(float, pair.split(","))) for pair in way.get("points").split()]
    assert points == sorted(points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)


def test_the_picture_of_the_documentation_needs_nothing_but_itself():
    text = (ROOT / "docs" / "growth.svg").read_text()
    assert ET.fromstring(text).tag == f"{SVG}svg"
    assert text.count("http") == 1  # the namespace
    assert "<script" not in text
    assert "](growth.svg)" in (ROOT / "docs" / "benchmarks.md").read_text()


def test_the_command_writes_the_picture_of_a_report(tmp_path):
    (tmp_path / "growth.json").write_text(json.dumps(report(USUAL)))
    done = run(tmp_path / "growth.json", tmp_path / "growth.svg")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "growth.svg").read_text() == draw(curves(report(USUAL)))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "No such file or directory"),
        ("{", "not JSON"),
        (b"\xff\xfe\xff", "not JSON"),
        ("[1, 2]", "not what `python -m bench --json` writes"),
        ('{"lines": [{"row": "growth"}]}', "not what `python -m bench --json` writes"),
        ('{"lines": []}', "no line `growth wake`"),
        (json.dumps(report({**USUAL, "echo": (1, 2, 3, 0)})), "`growth echo 10000`: 0.0 us cannot be drawn"),
        (json.dumps(report({**USUAL, "echo": (1, 2, 3, float("nan"))})), "nan us cannot be drawn"),
    ],
)
def test_what_is_no_report_gives_one_line_and_status_1(tmp_path, text, complaint):
    source = tmp_path / "growth.json"
    if text is not None:
        source.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = run(source, tmp_path / "growth.svg")
    assert done.returncode == 1
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "growth.svg").exists()


def test_a_picture_that_cannot_be_written_gives_one_line_and_status_1(tmp_path):
    source = tmp_path / "growth.json"
    source.write_text(json.dumps(report(USUAL)))
    done = run(source, tmp_path / "missing" / "growth.svg")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_a_size_that_is_not_on_the_axis_is_refused():
    lines = [
        *report(USUAL)["lines"],
        *as_json([Line("growth wake 7", "", "", Figure("us", [1.0]))], {}, {})["lines"],
    ]
    with pytest.raises(BadInput, match="growth wake 7"):
        curves({"lines": lines})
