"""Preview 1 as its test suite wants it, fact by fact: on coop's file systems, and beside native wasmtime.

The official suite (WebAssembly/wasi-testsuite) and the programs wasmtime tests itself with are in no package
registry, so the programs in this folder state the same facts in their own words; `STATED_BY` says
which group of facts stands for which of their tests.  A fact has the answers the suite accepts; what a fact
says beyond them, native wasmtime must say too, unless `DIFFERENT` has the reason.
"""

import re
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import coop
from tests.conformance.hosts import HEADER, PROGRAMS, Run, natively, on_coop
from tests.guestbuild import c_guest
from tests.wasip1.script import POLLERS, loaded

pytestmark = pytest.mark.slow

#: Tests of the official suite -> the group that states their facts.  The same name is not repeated.
STATED_BY = {
    # tests/rust
    "big_random_buf": "random",
    "clock_time_get": "clocks",
    "close_preopen": "close_preopen",
    "dangling_fd": "dangling_fd",
    "dangling_symlink": "dangling_symlink",
    "dir_fd_op_failures": "dir_fd_op_failures",
    "directory_seek": "directory_seek",
    "fd_advise": "fd_advise",
    "fd_fdstat_set_rights": "fd_fdstat_set_rights",
    "fd_filestat_set": "fd_filestat_set",
    "fd_flags_set": "fd_flags_set",
    "fd_readdir": "fd_readdir",
    "file_allocate": "file_allocate",
    "file_pread_pwrite": "file_pread_pwrite",
    "file_seek_tell": "file_seek_tell",
    "file_truncation": "file_truncation",
    "file_unbuffered_write": "file_unbuffered_write",
    "fstflags_validate": "fstflags_validate",
    "interesting_paths": "interesting_paths",
    "isatty": "isatty",
    "nofollow_errors": "nofollow_errors",
    "overwrite_preopen": "overwrite_preopen",
    "path_exists": "path_exists",
    "path_filestat": "path_filestat",
    "path_link": "path_link",
    "path_open_create_existing": "path_open_create_existing",
    "path_open_dirfd_not_dir": "path_open_dirfd_not_dir",
    "path_open_missing": "path_open_missing",
    "path_open_nonblock": "path_open_nonblock",
    "path_open_preopen": "path_open_preopen",
    "path_open_read_write": "path_open_read_write",
    "path_rename": "path_rename",
    "path_rename_dir_trailing_slashes": "path_rename_dir_trailing_slashes",
    "path_symlink_trailing_slashes": "path_symlink_trailing_slashes",
    "poll_oneoff_stdio": "poll_oneoff_stdio",
    "readlink": "readlink",
    "remove_directory_trailing_slashes": "remove_directory_trailing_slashes",
    "remove_nonempty_directory": "remove_nonempty_directory",
    "renumber": "renumber",
    "sched_yield": "sched_yield",
    "stdio": "streams",
    "symlink_create": "symlink_create",
    "symlink_filestat": "symlink_filestat",
    "symlink_loop": "symlink_loop",
    "truncation_rights": "truncation_rights",
    "unlink_file_trailing_slashes": "unlink_file_trailing_slashes",
    # tests/c
    "clock_getres-monotonic": "clocks",
    "clock_getres-realtime": "clocks",
    "clock_gettime-monotonic": "clocks",
    "clock_gettime-realtime": "clocks",
    "fdopendir-with-access": "fdopendir_with_access",
    "fopen-with-access": "through_libc",
    "fopen-with-no-access": "through_libc",
    "lseek": "through_libc",
    "pread-with-access": "through_libc",
    "pwrite-with-access": "through_libc",
    "pwrite-with-append": "pwrite_with_append",
    "sock_shutdown-invalid_fd": "sock_shutdown",
    "sock_shutdown-not_sock": "sock_shutdown",
    "stat-dev-ino": "stat_dev_ino",
    # tests/assemblyscript
    "args_get-multiple-arguments": "arguments",
    "args_sizes_get-multiple-arguments": "arguments",
    "args_sizes_get-no-arguments": "arguments",
    "environ_get-multiple-variables": "environment",
    "environ_sizes_get-multiple-variables": "environment",
    "environ_sizes_get-no-variables": "environment",
    "fd_write-to-invalid-fd": "output",
    "fd_write-to-stdout": "output",
    "proc_exit-failure": "exit",
    "proc_exit-success": "exit",
    "random_get-non-zero-length": "random",
    "random_get-zero-length": "random",
    # what only wasmtime tests, in crates/test-programs
    "preview1_fd_filestat_get": "output",
    "preview1_file_read_write": "file_read_write",
    "preview1_file_write": "file_write",
    "preview1_path_open_lots": "path_open_lots",
    "preview1_path_rename_file_trailing_slashes": "path_rename_file_trailing_slashes",
    "preview1_poll_oneoff_files": "poll_oneoff_files",
    "preview1_regular_file_isatty": "isatty",
    "preview1_remove_directory": "remove_directory_trailing_slashes",
    "preview1_sleep_quickly_but_lots": "poll_oneoff_clocks",
    "preview1_stdio_not_isatty": "output",
    "preview1_unicode_output": "output",
}

#: Groups that no native run has, each with its reason.
ONLY_ON_COOP = {
    "unknown_values": "wasmtime ends a guest that gives a number it does not know; coop answers INVAL"
}


class Different(NamedTuple):
    """Where coop departs from native wasmtime: facts of one, facts of the other, and why."""

    native: tuple[str, ...]
    coop: tuple[str, ...]
    why: str


ONE_PIECE = "native wasmtime takes one piece of several in a call, which the suite allows; coop takes all"
RIGHTS = "native wasmtime keeps no rights; coop does, as the specification's text says"

SLASHES_OF_NO_DIRECTORY = ("file/", "none/", "link/", "dirlink/", "dangling/", "loop/", "out/")

DIFFERENT: dict[str, Different] = {
    "trailing_slashes": Different(
        (
            *(f"{path}: look: SUCCESS" for path in ("file/", "link/", "dangling/", "loop/", "out/")),
            *(f"{path}: rename to: SUCCESS" for path in SLASHES_OF_NO_DIRECTORY),
            "dir/: remove directory: INVAL",
            "dirlink/: remove directory: INVAL",
        ),
        (
            *("file/: look: NOTDIR", "link/: look: NOTDIR", "dangling/: look: NOENT"),
            *("loop/: look: LOOP", "out/: look: PERM"),
            *(f"{path}: rename to: NOTDIR" for path in SLASHES_OF_NO_DIRECTORY),
            "dir/: remove directory: SUCCESS",
            "dirlink/: remove directory: NOTDIR",
        ),
        "a slash asks for the directory when looking, and makes no file's name when renaming, as on Linux; "
        "native wasmtime cuts it off there, and refuses to remove a directory because of it",
    ),
    "strange_names": Different(
        ("/: look: SUCCESS",),
        ("/: look: PERM",),
        "native wasmtime, too, says PERM to every other call of this path and to every other absolute path",
    ),
    "path_exists": Different(
        ("a slash follows: 7 (wrong: 3)",),
        ("a slash follows: 3",),
        "a slash asks for the directory, as on Linux",
    ),
    "path_open_dirfd_not_dir": Different(
        ("make a directory below it: BADF (wrong: NOTDIR NOTCAPABLE)",),
        ("make a directory below it: NOTDIR",),
        "every call has one answer to a descriptor that is no directory",
    ),
    "path_link": Different(
        ("same rights: no (wrong: yes)", "same inherited rights: no (wrong: yes)") * 2,
        ("same rights: yes", "same inherited rights: yes") * 2,
        RIGHTS,
    ),
    "path_rename_file_trailing_slashes": Different(
        (
            "a slash at the target: SUCCESS (wrong: NOTDIR NOENT)",
            "both: NOENT",
            "none: NOENT (wrong: SUCCESS)",
        ),
        ("a slash at the target: NOTDIR", "both: NOTDIR", "none: SUCCESS"),
        "native wasmtime makes a file of a name with a slash; the next two facts follow from that",
    ),
    "remove_directory_trailing_slashes": Different(
        (
            "remove it with a slash: INVAL (wrong: SUCCESS)",
            "remove the directory, left empty: NOTEMPTY (wrong: SUCCESS)",
        ),
        ("remove it with a slash: SUCCESS", "remove the directory, left empty: SUCCESS"),
        "native wasmtime refuses the slash, so the directory stays",
    ),
    "dangling_fd": Different(
        ("make a file in it: NOENT",),
        ("make a file in it: NOTCAPABLE",),
        RIGHTS + "; it was opened with none",
    ),
    "file_allocate": Different(
        ("allocate: NOTSUP",),
        (
            "allocate: SUCCESS",
            "size: 100",
            "allocate inside: SUCCESS",
            "size: 100",
            "allocate beyond: SUCCESS",
            "size: 110",
            "allocate nothing: INVAL",
            "allocate too much: INVAL",
            "size: 110",
        ),
        "native wasmtime gave it up, which the suite allows",
    ),
    "file_pread_pwrite": Different(
        ("bytes: 2 (wrong: 4)",) * 2 + ("same: no (wrong: yes)", "no more than those: no (wrong: yes)"),
        ("bytes: 4",) * 2 + ("same: yes", "no more than those: yes"),
        ONE_PIECE,
    ),
    "file_seek_tell": Different(
        ("farther than there is: SUCCESS (wrong: INVAL OVERFLOW)",),
        ("farther than there is: INVAL",),
        "native wasmtime lets a position wrap",
    ),
    "file_read_write": Different(
        ("bytes: 1 (wrong: 4)",) * 2 + ("same: no (wrong: yes)", "size: 1 (wrong: 4)"),
        ("bytes: 4",) * 2 + ("same: yes", "size: 4"),
        ONE_PIECE,
    ),
    "renumber": Different(
        (
            "onto a closed number: SUCCESS (wrong: BADF)",
            "from a closed number: SUCCESS (wrong: BADF)",
            "onto no number: SUCCESS (wrong: BADF)",
            "onto itself: BADF (wrong: SUCCESS)",
            "close: BADF (wrong: SUCCESS)",
        ),
        (
            "onto a closed number: BADF",
            "from a closed number: BADF",
            "onto no number: BADF",
            "onto itself: SUCCESS",
            "close: SUCCESS",
        ),
        "this line of wasmtime makes up numbers; later ones refuse, as the suite wants",
    ),
    "closed": Different(
        ("close no number: SUCCESS (wrong: BADF)",),
        ("close no number: BADF",),
        'it is the number that "renumber" made up',
    ),
    "fd_fdstat_set_rights": Different(
        (
            "they are gone: 66 (wrong: 0)",
            "read: SUCCESS (wrong: BADF NOTCAPABLE)",
            "write: SUCCESS (wrong: BADF NOTCAPABLE)",
            "take them again: SUCCESS (wrong: NOTCAPABLE)",
        ),
        ("they are gone: 0", "read: BADF", "write: BADF", "take them again: NOTCAPABLE"),
        RIGHTS,
    ),
    "truncation_rights": Different(
        ("it is gone: 524288 (wrong: 0)", "cut the file: SUCCESS (wrong: PERM NOTCAPABLE)"),
        ("it is gone: 0", "cut the file: NOTCAPABLE"),
        RIGHTS,
    ),
    "output": Different(
        ("bytes: 1 (wrong: 3)",) + ("open below it: BADF (wrong: NOTDIR NOTCAPABLE)",) * 3,
        ("bytes: 3", "write three pieces: SUCCESS") + ("open below it: NOTDIR",) * 3,
        ONE_PIECE + ", so that the line which tells it does not begin where coop's does",
    ),
    "poll_oneoff_closed": Different(
        ("no descriptors: BADF",),
        ("no descriptors: SUCCESS", "two events: 2", "each BADF: yes"),
        "each event has its own errno, so that one closed descriptor does not hide the others' events",
    ),
}


def groups_of(program: str) -> list[str]:
    """The groups that a program has, in their order."""
    table = re.search(r"GROUPS\[\] = \{(.*?)\{0, 0\}", (PROGRAMS / f"{program}.c").read_text(), re.DOTALL)
    assert table, program
    return re.findall(r'\{"(\w+)",', table[1])


NAMES = ("paths", "changes", "files", "descriptors", "process")
WHERE = {group: name for name in NAMES for group in groups_of(name)}
#: How a group ends its program, where that is not by returning.
ENDS = {"exit": 33}
CASES = [group for group in WHERE if group not in ENDS]


@pytest.fixture(scope="module", autouse=True)
def programs():
    """Everything is built and loaded before the first test looks for leaks."""
    return {name: loaded(built(name)) for name in NAMES}


def built(name: str) -> Path:
    return c_guest(PROGRAMS / f"{name}.c", HEADER.name)


def real(folder: Path) -> list[coop.Dir]:
    (folder / "root").mkdir()
    (folder / "spare").mkdir()
    return [coop.Dir(folder / "root", "/"), coop.Dir(folder / "spare", "/spare")]


def in_memory(folder: Path) -> list[coop.MemDir]:
    return [coop.MemDir(guest="/"), coop.MemDir(guest="/spare")]


KINDS = {"real": real, "memory": in_memory}


def run_here(name: str, groups: list[str], kind: str, poller: str = "hostpoll") -> Run:
    with tempfile.TemporaryDirectory() as folder:
        return on_coop(loaded(built(name)), groups, KINDS[kind](Path(folder)), poller=poller)


@cache
def facts_here(name: str, kind: str) -> tuple[str, ...]:
    """All that a program prints, run once for all of its groups."""
    groups = [group for group in groups_of(name) if group not in ENDS]
    return tuple(run_here(name, groups, kind).lines())


@cache
def facts_there(name: str) -> tuple[str, ...]:
    groups = [group for group in groups_of(name) if group not in ENDS and group not in ONLY_ON_COOP]
    with tempfile.TemporaryDirectory() as folder:
        real(Path(folder))
        dirs = {"/": Path(folder) / "root", "/spare": Path(folder) / "spare"}
        return tuple(natively(built(name), groups, dirs).lines())


def of_group(lines: tuple[str, ...], group: str) -> list[str]:
    """The facts of one group, without its name."""
    return [line.removeprefix(f"{group}: ") for line in lines if line.startswith(f"{group}: ")]


def only_in(one: list[str], other: list[str]) -> list[str]:
    """What the first has more often than the second, in order of the alphabet."""
    return sorted((Counter(one) - Counter(other)).elements())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", CASES)
def test_every_fact_is_as_the_suite_wants_it(group, kind):
    lines = of_group(facts_here(WHERE[group], kind), group)
    assert lines
    assert [line for line in lines if "(wrong: " in line] == []


@pytest.mark.parametrize("group", [group for group in CASES if group not in ONLY_ON_COOP])
def test_every_fact_is_what_native_wasmtime_says(group):
    here = of_group(facts_here(WHERE[group], "real"), group)
    there = of_group(facts_there(WHERE[group]), group)
    assert there
    known = DIFFERENT.get(group, Different((), (), ""))
    assert (only_in(there, here), only_in(here, there)) == (sorted(known.native), sorted(known.coop)), (
        known.why
    )


@pytest.mark.parametrize("group", CASES)
def test_a_directory_in_memory_answers_as_a_real_one(group):
    here = facts_here(WHERE[group], "memory"), facts_here(WHERE[group], "real")
    assert of_group(here[0], group) == of_group(here[1], group)


def test_every_test_of_the_suite_has_its_group():
    assert {group for group in STATED_BY.values() if group not in {*WHERE, "arguments"}} == set()


@pytest.mark.parametrize("poller", POLLERS)
def test_polling_is_the_same_on_every_poller(poller):
    groups = [group for group in CASES if group.startswith("poll_oneoff")]
    done = run_here("process", groups, "real", poller)
    assert done.status == 0
    assert done.lines() == [line for line in facts_here("process", "real") if line.startswith("poll_oneoff")]


@pytest.mark.parametrize("args", [[], ["first", 'the "second" 2', "3"], ["", "\xe4", "a\nb"]])
def test_arguments_come_as_they_were_given(args):
    """The first one names the group."""
    here = on_coop(loaded(built("process")), ["arguments", *args], [])
    assert here.status == 0
    assert "(wrong" not in here.out.decode()
    assert here.out.decode().count("arguments: argument: ") == len(args) + 1
    assert here.out == natively(built("process"), ["arguments", *args], {}).out


def test_the_streams_are_moved_to_other_numbers_and_still_work():
    with tempfile.TemporaryDirectory() as folder:
        done = on_coop(loaded(built("process")), ["streams"], real(Path(folder)))
        said = (Path(folder) / "root" / "streams" / "said").read_text()
    assert (done.status, done.lines(), done.err) == (0, ["streams: still the output"], b"moving\n")
    assert said == "renumber 0\nis there 0\nis gone 1\nunlink 0\n" * 3


def test_a_status_of_33_comes_out():
    assert run_here("process", ["exit"], "real").status == 33
