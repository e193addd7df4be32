"""Where time comes from."""

import time
from decimal import Decimal
from fractions import Fraction

import pytest

from coop.clock import NEVER_NS, ManualClock, SystemClock, to_ns


@pytest.mark.parametrize(
    ("seconds", "ns"),
    [(0, 0), (1, 1_000_000_000), (0.5, 500_000_000), (-1, -1_000_000_000), (1e-9, 1)],
)
def test_seconds_become_nanoseconds(seconds, ns):
    assert to_ns(seconds) == ns


@pytest.mark.seed("D8")
@pytest.mark.parametrize("seconds", [1e300, float("inf")])
def test_more_seconds_than_there_are_become_the_end_of_time(seconds):
    assert to_ns(seconds) == NEVER_NS
    assert to_ns(-seconds) == -NEVER_NS


def test_what_is_not_a_number_is_not_a_time():
    with pytest.raises(ValueError, match="not a number"):
        to_ns(float("nan"))


def test_the_system_clock_is_the_monotonic_one():
    before = time.monotonic_ns()
    now = SystemClock().now_ns()
    assert before <= now <= time.monotonic_ns()


def test_a_manual_clock_stands_still_until_it_is_turned():
    clock = ManualClock(5)
    assert (clock.now_ns(), clock.now_ns()) == (5, 5)
    clock.advance(10)
    assert clock.now_ns() == 15


def test_a_manual_clock_does_not_go_back():
    clock = ManualClock(5)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
    assert clock.now_ns() == 5


@pytest.mark.parametrize("seconds", ["1", [1], None])
def test_what_is_no_number_is_refused_before_it_is_multiplied(seconds):
    with pytest.raises(TypeError, match=f"a number wanted, not {type(seconds).__name__}"):
        to_ns(seconds)


def test_every_kind_of_number_is_a_time():
    assert to_ns(Decimal("0.5")) == to_ns(Fraction(1, 2)) == 500_000_000
