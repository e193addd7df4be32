"""The error tree: who is whose kind, and what the messages carry."""

import errno
import pickle
import sys

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


def test_a_trap_shows_names_of_any_length_in_brief_and_has_them_whole():
    names = tuple("\x01" * 99_000 + str(i) for i in range(20))
    trap = coop.GuestTrap("unreachable", names)
    assert trap.frames == names
    assert str(trap).splitlines() == ["unreachable", *["  at " + r"\x01" * 1000 + "..."] * 20]


def test_an_exit_carries_its_code():
    assert coop.GuestExit(7).code == 7
    assert "7" in str(coop.GuestExit(7))


def test_a_bad_module_is_a_value_error():
    assert issubclass(coop.BadModule, ValueError)


MADE: dict[str, tuple[object, ...]] = {
    "GuestTrap": ("unreachable", ("inner", "outer")),
    "GuestExit": (7,),
    "LimitExceeded": ("memory", "64 KiB wanted"),
}


@pytest.mark.parametrize("name", sorted(errors.__all__))
def test_every_error_comes_through_a_pool_of_processes(name: str):
    error = getattr(coop, name)(*MADE.get(name, ("what was attempted",)))
    error.add_note("a note")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert getattr(again, "errno", None) == getattr(error, "errno", None)


KEY, VALUE, EXIT, INTERRUPT = KeyError("key"), ValueError("value"), SystemExit(3), KeyboardInterrupt()


@pytest.mark.parametrize(
    ("error", "late", "comes"),
    [
        (KEY, [], KEY),
        (None, [], None),
        (None, [KEY], KEY),
        (None, [KEY, VALUE], [KEY, VALUE]),
        (KEY, [VALUE], [KEY, VALUE]),
        (coop.Cancelled(), [KEY], KEY),
    ],
)
def test_no_error_is_lost_that_comes_too_late_to_be_raised(error, late, comes):
    found = errors.combined(error, late)
    if isinstance(comes, list):
        assert isinstance(found, ExceptionGroup)
        assert list(found.exceptions) == comes
    else:
        assert found is comes


@pytest.mark.parametrize(
    ("error", "late", "comes", "causes"),
    [
        (None, [EXIT], EXIT, []),
        (coop.Cancelled(), [EXIT], EXIT, []),
        (None, [KEY, EXIT], EXIT, [KEY]),
        (EXIT, [KEY], EXIT, [KEY]),
        (KEY, [VALUE, EXIT], EXIT, [KEY, VALUE]),
        (EXIT, [KEY, VALUE], EXIT, [KEY, VALUE]),
        (EXIT, [INTERRUPT], INTERRUPT, [EXIT]),
    ],
)
def test_what_ends_a_program_stands_before_all_others_and_loses_none(error, late, comes, causes):
    EXIT.__cause__ = INTERRUPT.__cause__ = None
    assert errors.combined(error, late) is comes
    cause = comes.__cause__
    assert list(getattr(cause, "exceptions", [cause] if cause is not None else [])) == causes


def test_an_exit_of_the_main_task_is_found_with_errors_that_were_still_to_be_raised():
    def main():
        coop.current().interrupt(KEY)
        sys.exit(3)

    with pytest.raises(SystemExit) as caught:
        coop.run(main)
    assert caught.value.code == 3
    assert caught.value.__cause__ is KEY
