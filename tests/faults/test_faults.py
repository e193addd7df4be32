"""Every system call that the host makes for a guest fails in turn: nothing hangs, leaks or dies of it.

On the default poller all of them are tried; on the others a sample, and all with COOP_LONG=1 (`make faults`).
"""

import os

import pytest

from tests.children import run_child
from tests.faults.preload import environment
from tests.faults.scenarios import SCENARIOS
from tests.guestbuild import ToolchainMissing
from tests.wasip1.script import POLLERS

IS_LONG = "COOP_LONG" in os.environ

#: Of so many failures one is tried.  No multiple of 2 or 3, so that all six ways to fail take part.
STRIDES = {"hostpoll": 1, "oneoff": 25, "pollset": 35}


@pytest.fixture(scope="module")
def preloaded() -> dict[str, str]:
    """The environment of a child that can make calls fail."""
    try:
        return environment()
    except ToolchainMissing as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.timeout(1200 if IS_LONG else 300)
@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_failing_system_call_is_an_errno_to_the_guest_and_nothing_to_its_neighbour(
    scenario, poller, preloaded
):
    stride = 1 if IS_LONG else STRIDES[poller]
    argv = ["-m", "tests.faults.inject", scenario, poller, str(stride)]
    done = run_child(argv, env=preloaded, timeout=1100 if IS_LONG else 200)
    assert int(done.stdout.split()[-2]) >= 10 // stride, done.stdout


def test_the_library_fails_the_call_it_was_told_to_and_no_other(preloaded):
    script = """
        import errno, os
        from tests.faults.preload import SHORT, Failing
        failing, made = Failing(), []
        read, write = os.pipe()
        with failing.armed(2, errno.EIO):
            made.append(os.write(write, b"abcdef"))
            try:
                os.read(read, 6)
            except OSError as error:
                made.append(error.errno)
            made.append(os.read(read, 2))
        made.append((failing.failed, failing.names()))
        with failing.armed(1, SHORT):
            made.append(os.read(read, 3))
        with failing.armed(1, errno.EIO), failing.exempt():
            made.append(os.read(read, 6))
        print(made == [6, errno.EIO, b"ab", ("read", ["write", "read", "read"]), b"cd", b"ef"], made)
    """
    assert run_child(script, env=preloaded).stdout.startswith(b"True")


def test_a_host_whose_system_has_no_descriptor_left_names_the_limit_once(preloaded, tmp_path):
    (tmp_path / "f").touch()
    script = f"""
        import errno
        from tests.faults.preload import Failing
        from tests.wasip1.script import scripted
        def act(guest):
            found = set()
            for _ in range(5):
                with Failing().armed(1, errno.ENFILE):
                    found.add(guest.open(3, b"f"))
            print(found, guest.open(3, b"f"))
        scripted(act, dirs=[{str(tmp_path)!r}])
    """
    done = run_child(script, env=preloaded)
    assert done.stdout == b"{'NFILE'} 4\n"
    assert done.stderr == b"coop: warning: limit reached limit='fs.file-max' of='the host'\n"
