"""The error tree: who is whose kind, and what the messages carry."""

import errno

import pytest

import coop
from coop import errors


@pytest.mark.parametrize("name", sorted(set(errors.__all__) - {"CoopError", "Cancelled"}))
def test_every_error_is_a_coop_error(name: str):
    assert issubclass(getattr(coop, name), coop.CoopError)


def test_cancelled_is_no_exception_that_except_exception_would_swallow():
    assert not issubclass(coop.Cancelled, Exception)


@pytest.mark.seed("D13", "T23")
@pytest.mark.parametrize(
    ("kind", "base", "number"),
    [
        (coop.Closed, OSError, errno.EBADF),
        (coop.Busy, OSError, errno.EBUSY),
        (coop.WouldBlock, BlockingIOError, errno.EAGAIN),
        (coop.DeadlineExceeded, TimeoutError, errno.ETIMEDOUT),
        (coop.NotPollable, OSError, errno.EPERM),
        (coop.NoDeadline, OSError, errno.ENOTSUP),
    ],
)
def test_errors_of_files_are_the_systems_kind_too(kind: type[OSError], base: type[OSError], number: int):
    error = kind("what was attempted")
    assert isinstance(error, base)
    assert error.errno == number
    assert "what was attempted" in str(error)


@pytest.mark.seed("T23")
def test_an_exceeded_deadline_says_what_go_says():
    assert "i/o timeout" in str(coop.DeadlineExceeded())


def test_a_limit_error_names_its_limit():
    error = coop.LimitExceeded("memory", "64 KiB wanted")
    assert error.limit == "memory"
    assert str(error) == "limit memory exceeded: 64 KiB wanted"


def test_a_trap_shows_its_frames_innermost_first():
    trap = coop.GuestTrap("unreachable", ("inner", "outer"))
    assert str(trap) == "unreachable\n  at inner\n  at outer"
    assert trap.frames == ("inner", "outer")


def test_an_exit_carries_its_code():
    assert coop.GuestExit(7).code == 7
    assert "7" in str(coop.GuestExit(7))


def test_a_bad_module_is_a_value_error():
    assert issubclass(coop.BadModule, ValueError)
