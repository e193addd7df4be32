"""What every test gets: a time limit, a check for leaked descriptors, and the count of claimed seed items."""

import gc
import os
import signal
import sys
import threading

import pytest
from hypothesis import settings

from tests.seeds import REQUIRED, SeedLedger
from tests.watchdog import Watchdog

LIMIT_S = 240
"""A test that hangs ends the run; those that download or compile may take a minute on a slow machine."""
SLOW_LIMIT_S = 480

_watchdog = pytest.StashKey[Watchdog]()
_failed = pytest.StashKey[bool]()

# Examples found by chance are for the desk; a check of what is to be published must end the same way twice.
settings.register_profile("coop", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("coop")


def pytest_configure(config: pytest.Config) -> None:
    # Output is not captured yet: the watchdog gets the real stderr.
    config.stash[_watchdog] = Watchdog()
    config.pluginmanager.register(SeedLedger(REQUIRED), "seed-ledger")
    # A run started with SIGINT ignored (in the background of a script) would hand that to every child.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The last signal of a timer may reach a thread after the timer is stopped and the test has given the
    # handler back; Python takes one without a handler of its own for an error.
    signal.signal(signal.SIGALRM, lambda *_: None)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_watchdog].close()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item):
    """End the run, with the stack of every thread on stderr, when one test takes too long."""
    mark = item.get_closest_marker("timeout")
    is_slow = item.get_closest_marker("slow") is not None
    limit = float(mark.args[0]) if mark else SLOW_LIMIT_S if is_slow else LIMIT_S
    watchdog = item.config.stash[_watchdog]
    watchdog.tell(f"{limit} {item.nodeid}")
    try:
        return (yield)
    finally:
        watchdog.tell("")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report: pytest.TestReport = yield
    if report.failed:
        item.stash[_failed] = True
    return report


def _open_fds() -> dict[int, str]:
    """Each open descriptor with what it is; a number used again for something else is another one."""
    fds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            fds[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the one that the listing itself used
    return fds


@pytest.fixture(autouse=True)
def no_fd_leak(request: pytest.FixtureRequest):
    """Fail the test if it leaves a descriptor open; `@pytest.mark.leaks_fds("reason")` allows it."""
    before = _open_fds().items()
    yield
    item = request.node
    # A failed test's traceback holds its locals, and one report is enough.
    if item.get_closest_marker("leaks_fds") or item.stash.get(_failed, False):
        return
    for thread in threading.enumerate():
        if thread.name == "coop closer":  # of a large file; nobody else waits for it
            thread.join()
    leaked = dict(_open_fds().items() - before)
    if leaked:
        gc.collect()
        now = _open_fds()
        held = ", ".join(
            f"{fd} ({target}{'' if now.get(fd) == target else ', closed by the garbage collector only'})"
            for fd, target in sorted(leaked.items())
        )
        pytest.fail(f"descriptors left open: {held}", pytrace=False)


@pytest.fixture
def kept_frames():
    """Keep the frame of every call, as a profiler does for a moment that looks at what runs."""
    frames: list[object] = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, _: frames.append(frame) if event == "call" else None)
    try:
        yield
    finally:
        sys.setprofile(before)
