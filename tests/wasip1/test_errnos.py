"""Every errno that the texts of the functions name, on every file system; what failed changed nothing.

The cases are tables, in `errno_cases`, `socket_cases` and `host_cases`.  One test reads the texts: an errno
that is named there without a case, or the other way round, fails.
"""

import ast
import inspect
import re
from pathlib import Path

import pytest

import coop
from coop.wasip1 import imports
from coop.wasip1.errno import Errno
from coop.wasip1.imports import SNAPSHOT1
from tests.wasip1.errno_cases import (
    ARGS,
    CASES,
    CHANGES,
    ENV,
    FILE,
    IN_EVENTS,
    NO_SEEK,
    ONLY_READ,
    Case,
    prepare,
)
from tests.wasip1.host_cases import CLOSE_FAILS, HOST_CASES
from tests.wasip1.places import WRITE, call, lay_out
from tests.wasip1.script import OUT, Script, scripted
from tests.wasip1.socket_cases import LATE, SOCKET_CASES, on_sockets

TESTED_IN = {
    "path_open": {"MFILE": "test_errnos.py::test_a_full_table_opens_nothing_and_creates_nothing"},
    "sock_accept": {
        "MFILE": "test_sock.py::test_a_full_table_accepts_nobody_and_the_client_can_still_be_had"
    },
}
"""What needs a guest of another kind than the tables have: function -> errno -> the test."""

GENERAL = {"NOMEM", "MFILE", "NFILE", "IO"}
"""What the text of the module says of all calls."""


Wrong = tuple[str, str, tuple[object, ...], bool]
"""The errno that was expected, the one that came, the arguments, and whether memory is the same."""


def wrong_answers(guest: Script, name: str, cases: list[Case]) -> list[Wrong]:
    """The cases that have another errno, or that change memory."""
    wrong = []
    for error, arguments in cases:
        numbers = lay_out(guest, *arguments)
        image = guest.image()
        answer = Errno(guest.call(name, *numbers)).name
        is_same = guest.image() == image
        if answer != error or not is_same:
            wrong.append((error, answer, arguments, is_same))
    return wrong


def facts(guest: Script, last: int) -> list[tuple[int, ...]]:
    """Types, flags and rights of all descriptors."""
    return [guest.fdstat(fd) for fd in range(last + 1)]


@pytest.mark.parametrize("name", CASES)
def test_what_a_call_refuses_has_its_errno_and_changes_nothing(name, place):
    before = place.tree()

    def act(guest: Script):
        prepare(guest)
        known = facts(guest, NO_SEEK)
        wrong = wrong_answers(guest, name, CASES[name])
        assert facts(guest, NO_SEEK) == known
        assert guest.fd_tell(FILE, OUT) == "SUCCESS"
        return wrong, guest.u64(), guest.open(3, b"f")

    assert place.run(act, args=ARGS, env=ENV) == ([], 0, NO_SEEK + 1)
    assert place.tree() == before


FIRST = {"BADF", "NOTCAPABLE", "FAULT"}
"""What is found before it is asked whether anything may be changed."""


def may_answer(name: str, error: str, arguments: tuple[object, ...]) -> set[str]:
    """The errnos of a case where all is read-only, so that no descriptor was opened for writing."""
    if name in {"fd_write", "fd_pwrite"}:
        return {"BADF"} if arguments[0] in {FILE, NO_SEEK} else {error}
    is_refused_first = error in FIRST and arguments[0] != ONLY_READ
    return {error} if name not in dict(CHANGES) or is_refused_first else {error, "ROFS"}


@pytest.mark.parametrize("name", CASES)
def test_what_is_read_only_refuses_the_same_or_says_so(name, read_only_place):
    def act(guest: Script):
        prepare(guest, read_only=True)
        known = facts(guest, NO_SEEK)
        differing = wrong_answers(guest, name, CASES[name])
        assert facts(guest, NO_SEEK) == known
        wrong = [
            (error, answer, arguments)
            for error, answer, arguments, is_same in differing
            if not is_same or answer not in may_answer(name, error, arguments)
        ]
        return wrong, guest.open(3, b"f")

    assert read_only_place.run(act, args=ARGS, env=ENV) == ([], NO_SEEK + 1)


@pytest.mark.parametrize("name", SOCKET_CASES)
def test_what_a_call_refuses_on_sockets_has_its_errno_and_changes_nothing(name):
    def act(guest: Script):
        known = facts(guest, LATE)
        wrong = wrong_answers(guest, name, SOCKET_CASES[name])
        return wrong, facts(guest, LATE) == known

    assert on_sockets(act) == ([], True)


def test_what_a_poll_refuses_is_said_in_its_event(any_place):
    def act(guest: Script):
        prepare(guest, read_only=any_place.read_only)
        return [(event[1], sub) for _, sub in IN_EVENTS for event in guest.poll(sub)]

    assert any_place.run(act) == IN_EVENTS


# -- the texts


def named(name: str) -> set[str]:
    """The errnos in the text of a function."""
    (raw,) = [raw for raw in SNAPSHOT1.imports if raw.name == name]
    assert raw.call.__doc__ is not None
    _, _, text = raw.call.__doc__.partition("Errno:")
    return errnos_in(text)


def errnos_in(text: str) -> set[str]:
    return set(re.findall(r"\b[A-Z0-9]{2,}\b", text)) & set(Errno.__members__)


def driven(name: str) -> set[str]:
    """The errnos that a test gets from a function."""
    found = {error for error, _ in CASES.get(name, []) + SOCKET_CASES.get(name, [])}
    found |= {error for _, errors, _ in HOST_CASES.get(name, []) for error in errors.split()}
    found |= set(TESTED_IN.get(name, {}))
    if name in dict(CHANGES):
        found.add("ROFS")
    if name == "poll_oneoff":
        found |= {error for error, _ in IN_EVENTS}
    return found | (set(CLOSE_FAILS) if name == "fd_close" else set())


@pytest.mark.parametrize("raw", SNAPSHOT1.imports, ids=lambda raw: raw.name)
def test_the_text_of_a_function_names_the_errnos_it_has_and_no_others(raw):
    assert named(raw.name) - driven(raw.name) == set()
    assert driven(raw.name) - named(raw.name) - GENERAL == set()


def test_what_all_calls_may_answer_stands_in_the_text_of_the_module():
    assert errnos_in(imports.__doc__ or "") == GENERAL
    from_host = {error for cases in HOST_CASES.values() for _, errors, _ in cases for error in errors.split()}
    assert from_host >= GENERAL


def test_every_function_has_cases_or_refuses_nothing():
    tables = (CASES, SOCKET_CASES)
    assert set().union(*tables) == {raw.name for raw in SNAPSHOT1.imports}
    refusing_nothing = {raw.name for raw in SNAPSHOT1.imports if not driven(raw.name)}
    assert refusing_nothing == {"proc_exit", "sched_yield"}


@pytest.mark.parametrize(
    ("error", "where"), [case for tests in TESTED_IN.values() for case in tests.items()], ids=lambda x: x
)
def test_a_test_that_is_named_for_an_errno_is_there_and_expects_it(error, where):
    file, _, name = where.partition("::")
    module = ast.parse((Path(__file__).parent / file).read_text())
    (found,) = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name]
    assert error in {node.value for node in ast.walk(found) if isinstance(node, ast.Constant)}


def test_every_function_says_what_it_may_answer():
    silent = [raw.name for raw in SNAPSHOT1.imports if "Errno" not in (raw.call.__doc__ or "")]
    assert silent == ["proc_exit"]


EVERYWHERE = {"wasi", "layout", "fd", "out", "length", "new_length", "target_length"}
"""Parameters that `coop.wasip1.imports` explains for all functions."""


@pytest.mark.parametrize("raw", SNAPSHOT1.imports, ids=lambda raw: raw.name)
def test_the_text_of_a_function_names_what_it_is_given(raw):
    text = raw.call.__doc__ or ""
    given = set(inspect.signature(raw.call).parameters) - EVERYWHERE
    assert {name for name in given if not re.search(rf"\b{name}\b", text)} == set()


# -- what no table has


def test_a_full_table_opens_nothing_and_creates_nothing(place):
    before = place.tree()

    def act(guest: Script):
        return guest.open(3, b"f"), guest.open(3, b"new", oflags=1, rights=WRITE)

    assert place.run(act, limits=coop.Limits(fds=5)) == (4, "MFILE")
    assert place.tree() == before


def test_an_absolute_target_that_the_host_made_is_not_told(host_place):
    (host_place.root / "absolute").symlink_to("/etc/passwd")

    def act(guest: Script):
        return call(guest, "path_readlink", 3, b"absolute", 0x2000, 64, OUT)

    assert host_place.run(act) == "PERM"


def test_two_file_systems_share_no_names(tmp_path):
    (tmp_path / "f").write_bytes(b"host")
    memory = coop.MemDir({"f": b"memory"}, guest="/m")

    def act(guest: Script):
        return [
            call(guest, name, *arguments)
            for here, there in ((3, 4), (4, 3))
            for name, arguments in (
                ("path_rename", (here, b"f", there, b"n")),
                ("path_link", (here, 0, b"f", there, b"n")),
            )
        ]

    assert scripted(act, dirs=[tmp_path, memory]) == ["XDEV"] * 4
    assert memory.to_dict() == {"f": b"memory"}
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
