"""wasi:clocks from a guest: moments, how far apart they are, waits for them, and the time of day."""

import pytest

from coop.netpoll import POLLERS
from coop.sources import Clocks

MOST = 2**64 - 1


class Told(Clocks):
    """Clocks that stand still: the time of day at 1000.000000007, the other at 5000."""

    def now_ns(self, clock: int) -> int | None:
        return {0: 1000 * 10**9 + 7, 1: 5000}[clock]

    def resolution_ns(self, clock: int) -> int | None:
        return {0: 2 * 10**9 + 3, 1: 40}[clock]


def test_both_clocks_tell_what_they_are_told(python):
    found = python(
        lambda run: run("""
now, apart = wall_clock.now(), wall_clock.resolution()
result = [
    (now.seconds, now.nanoseconds), (apart.seconds, apart.nanoseconds),
    monotonic_clock.now(), monotonic_clock.resolution(),
]
"""),
        clocks=Told(),
    )
    assert found == [(1000, 7), (2, 3), 5000, 40]


def test_the_host_s_clocks_go_on_and_never_back(python):
    found = python(
        lambda run: run("""
moments = [monotonic_clock.now() for _ in range(100)]
apart = wall_clock.resolution()
result = [
    moments == sorted(moments), monotonic_clock.resolution() > 0, wall_clock.now().seconds > 1_600_000_000,
    wall_clock.now().nanoseconds < 10 ** 9, apart.seconds * 10 ** 9 + apart.nanoseconds > 0,
]
""")
    )
    assert found == [True] * 5


@pytest.mark.parametrize("poller", POLLERS)
def test_a_wait_for_a_moment_ends_when_it_has_come_and_not_before(python, poller):
    found = python(
        lambda run: run("""
begin = monotonic_clock.now()
until = monotonic_clock.subscribe_instant(begin + 3_000_000)
until.block()
result = [monotonic_clock.now() >= begin + 3_000_000, until.ready()]
begin = monotonic_clock.now()
monotonic_clock.subscribe_duration(3_000_000).block()
result.append(monotonic_clock.now() >= begin + 3_000_000)
"""),
        poller=poller,
    )
    assert found == [True, True, True]


def test_what_is_past_is_ready_and_what_never_comes_is_not(python):
    found = python(
        lambda run: run(f"""
kept = [
    monotonic_clock.subscribe_instant(0), monotonic_clock.subscribe_instant(monotonic_clock.now()),
    monotonic_clock.subscribe_duration(0), monotonic_clock.subscribe_instant({MOST}),
    monotonic_clock.subscribe_duration({MOST}), monotonic_clock.subscribe_duration(1_000_000),
]
result = [each.ready() for each in kept[:5]], poll.poll(kept[3:])
""")
    )
    assert found == ([True, True, True, False, False], [2])
