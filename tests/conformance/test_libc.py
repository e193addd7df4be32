"""C's library on coop: one program that uses much of it, line by line as on native wasmtime."""

from pathlib import Path

import pytest

import coop
from tests.conformance.hosts import PROGRAMS, natively, on_coop
from tests.guestbuild import c_guest
from tests.wasip1.script import POLLERS, loaded

pytestmark = pytest.mark.slow

INPUT = b"hello there\n 17 rest\nof it"
ENVIRONMENT = {"a": "text"}

#: What native wasmtime prints -> what coop does, with the reason.
DIFFERENT = {
    # wasi-libc has the errno itself as the result: native wasmtime gave up allocating, which Linux can.
    "descriptors: posix_fallocate: 58": "descriptors: posix_fallocate: 0",
    "descriptors: size: 22": "descriptors: size: 64",
    # A file with a byte to read is ready for reading, as on Linux; native wasmtime tells of writing alone.
    "waiting: file readable: 0": "waiting: file readable: 1",
    "waiting: readable: 0": "waiting: readable: 1",
}


@pytest.fixture(scope="module", autouse=True)
def program():
    """Built and loaded before the first test looks for leaks."""
    path = c_guest(PROGRAMS / "libc.c")
    loaded(path)
    return path


def here(program: Path, grant: object, poller: str = "hostpoll"):
    return on_coop(loaded(program), [], [grant], stdin=INPUT, env=ENVIRONMENT, poller=poller)


def test_a_c_program_prints_what_it_prints_on_native_wasmtime(program, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    ours = here(program, coop.Dir(tmp_path / "here", "/"))
    theirs = natively(program, [], {"/": tmp_path / "there"}, stdin=INPUT, env=ENVIRONMENT)
    assert ours.lines() == [DIFFERENT.get(line, line) for line in theirs.lines()]
    assert (ours.status, theirs.status) == (7, 7)
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("poller", POLLERS)
def test_a_c_program_prints_the_same_in_memory_on_every_poller(program, tmp_path, poller):
    real = here(program, coop.Dir(tmp_path, "/"))
    memory = here(program, coop.MemDir(guest="/"), poller)
    assert memory.lines() == real.lines()
    assert len(memory.lines()) > 150
