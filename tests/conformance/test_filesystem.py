"""wasi:filesystem fact by fact: on coop's file systems, and beside native wasmtime.

What native wasmtime says, coop says too, unless `DIFFERENT` has the reason; and a directory in memory says
what a real one does.  The program is tests/components/files_facts.py.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import coop
from coop.engine.component import Component
from coop.fs import Grant
from coop.wasip2 import Guest
from coop.wasip2.worlds import VERSION
from tests.components import SOURCES, python_component
from tests.conformance.hosts import natively
from tests.guestbuild import ToolchainMissing

pytestmark = pytest.mark.slow

PROGRAM = SOURCES / "files_facts.py"
IMPORTS = ("filesystem/types", "filesystem/preopens", "io/streams", "clocks/wall-clock")
#: No more than the program uses: native wasmtime does not start what imports a function it does not have.
WORLD = "\n".join(
    [
        "world facts {",
        *(f"  import wasi:{name}@{VERSION};" for name in IMPORTS),
        f"  export wasi:cli/run@{VERSION};\n}}\n",
    ]
)


class Different(NamedTuple):
    """Where coop departs from native wasmtime: facts of one, facts of the other, and why."""

    native: tuple[str, ...]
    coop: tuple[str, ...]
    why: str


DIFFERENT: dict[str, Different] = {
    "opening": Different(
        (
            "create for reading: ['read', 'write']",
            "open a directory: ['read']",
            "open a directory to be changed: ['read']",
            "open with FILE_INTEGRITY_SYNC: unsupported",
            "open with DATA_INTEGRITY_SYNC: unsupported",
            "open with REQUESTED_WRITE_SYNC: unsupported",
        ),
        (
            "create for reading: ['read']",
            "open a directory: ['mutate-directory', 'read']",
            "open a directory to be changed: ['mutate-directory', 'read']",
            "open with FILE_INTEGRITY_SYNC: ['file-integrity-sync', 'write']",
            "open with DATA_INTEGRITY_SYNC: ['data-integrity-sync', 'write']",
            "open with REQUESTED_WRITE_SYNC: ['requested-write-sync', 'write']",
        ),
        "a file is open for what was asked for, as on Linux; a directory that may be changed says so (on both"
        " hosts it may); Linux has the flags of synchronous writes, which native wasmtime's library lacks",
    ),
    "bytes": Different(
        ("read nothing before it: (b'', True)",),
        ("read nothing before it: (b'', False)",),
        "the end was not met, and is not said to have been",
    ),
    "moving": Different(
        (
            "read what is to be written: ok",
            "write what is to be read: ok",
            "append to what is to be read: ok",
        ),
        (
            "read what is to be written: bad-descriptor",
            "write what is to be read: bad-descriptor",
            "append to what is to be read: bad-descriptor",
        ),
        "a stream that could never move a byte is not made, as the interface's text says; natively it fails"
        " when it is used",
    ),
    "knowing": Different(
        ("later than any disk: ok",),
        ("later than any disk: overflow",),
        "natively the time is cut to what the disk can keep",
    ),
    "naming": Different(
        ("link through a link: invalid",),
        ("link through a link: no-entry",),
        "the interface has a flag to follow a link, and coop follows it; here it leads nowhere",
    ),
    "slashes": Different(
        (
            "stat to_dir/: symbolic-link",
            "stat f/: regular-file",
            "stat to_f/: symbolic-link",
            "remove: invalid",
            "rename a file: ok",
        ),
        (
            "stat to_dir/: directory",
            "stat f/: not-directory",
            "stat to_f/: not-directory",
            "remove: ok",
            "rename a file: not-directory",
        ),
        "a slash asks for a directory, as on Linux and in preview 1",
    ),
}

GROUPS = re.findall(r'^    "(\w+)": \w+,$', PROGRAM.read_text(), re.MULTILINE)


@pytest.fixture(scope="module", autouse=True)
def program() -> Iterator[None]:
    """Everything is built, loaded and run once before the first test looks for leaks."""
    try:
        loaded()
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    run_here([], coop.MemDir())
    yield
    loaded.cache_clear()  # a component that lasts to the end of Python is deleted too late


@cache
def built() -> Path:
    return python_component(PROGRAM, "facts", WORLD)


@cache
def loaded() -> Component:
    return Component.from_file(built())


def run_here(groups: list[str], grant: Grant) -> tuple[str, ...]:
    """What the program prints on coop, in an empty directory."""
    out, err = bytearray(), bytearray()
    guest = Guest(loaded(), args=groups, dirs=[grant], stdout=out, stderr=err)
    assert (coop.run(guest.run), err) == (0, b"")
    return tuple(out.decode().splitlines())


@cache
def facts_here(kind: str) -> tuple[str, ...]:
    if kind == "memory":
        return run_here(GROUPS, coop.MemDir())
    with tempfile.TemporaryDirectory() as folder:
        return run_here(GROUPS, coop.Dir(folder, "/"))


@cache
def facts_there() -> tuple[str, ...]:
    with tempfile.TemporaryDirectory() as folder:
        done = natively(built(), GROUPS, {"/": Path(folder)})
    assert (done.status, done.err) == (0, b"")
    return tuple(done.lines())


def of_group(lines: tuple[str, ...], group: str) -> list[str]:
    """The facts of one group, without its name."""
    return [line.removeprefix(f"{group}: ") for line in lines if line.startswith(f"{group}: ")]


def only_in(one: list[str], other: list[str]) -> list[str]:
    """What the first has more often than the second, in order of the alphabet."""
    return sorted((Counter(one) - Counter(other)).elements())


def test_every_group_has_facts():
    assert len(GROUPS) > 10
    assert [group for group in GROUPS if not of_group(facts_here("real"), group)] == []


@pytest.mark.parametrize("group", GROUPS)
def test_every_fact_is_what_native_wasmtime_says(group):
    here, there = of_group(facts_here("real"), group), of_group(facts_there(), group)
    assert there
    known = DIFFERENT.get(group, Different((), (), ""))
    assert (only_in(there, here), only_in(here, there)) == (sorted(known.native), sorted(known.coop)), (
        known.why
    )


@pytest.mark.parametrize("group", GROUPS)
def test_a_directory_in_memory_answers_as_a_real_one(group):
    assert of_group(facts_here("memory"), group) == of_group(facts_here("real"), group)


def test_a_program_that_knows_nothing_of_wasi_finds_what_it_wrote():
    facts = dict(line.split(": ", 1) for line in of_group(facts_here("real"), "python"))
    refused = {name for name, said in facts.items() if said.endswith("Error")}
    assert refused == {
        "no such file",
        "exclusive",
        "a directory",
        "make again",
        "remove what is full",
        "outside",
    }
    assert facts["what is there"] == "b'ONE\\ntwend'"
    assert facts["large again"] == facts["same file"] == facts["islink"] == "True"
    assert facts["list"] == "['a', 'large']"
    assert facts["glob"] == "['a', 'b', 'c', 'f', 'g', 'large', 'link']"
    assert facts["what is left"] == "['copy']"
