"""What AssemblyScript's compiler makes with its WASI shim; skipped without Node or npm's registry."""

import pytest

import coop
from tests.children import ROOT
from tests.guestbuild import ToolchainMissing, as_guest
from tests.wasip1.script import POLLERS, loaded, run

GUESTS = ROOT / "tests" / "guests"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def guest_of():
    """Builds and loads both before the first test looks for leaks."""
    try:
        modules = {name: loaded(as_guest(GUESTS / f"{name}.ts")) for name in ("hello", "wordcount")}
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    return modules.__getitem__


def test_it_gets_its_arguments_and_writes_to_both_streams(guest_of):
    code, out, err = run(guest_of("hello"), "a", "two words", "ä", "")
    assert out.splitlines() == ["hello from assemblyscript", "arg a", "arg two words", "arg ä", "arg "]
    assert (code, err) == (0, "hello on stderr\n")


@pytest.mark.parametrize("poller", POLLERS)
def test_it_reads_its_input_to_the_end_while_pieces_come(guest_of, poller: str):
    pieces = [b"one\n", b"two\nthr", b"ee\n" + b"x" * 1000]

    def come() -> bytes:
        coop.pause()
        return pieces.pop(0) if pieces else b""

    code, out, _ = run(guest_of("wordcount"), poller=poller, stdin=come)
    assert (code, out.splitlines()[0]) == (0, "1014 bytes, 3 lines")


def test_it_sees_its_variables_the_clocks_and_random_bytes(guest_of):
    _, out, _ = run(guest_of("wordcount"), env={"GREETING": "hé", "OTHER": ""})
    wanted = ["hé", "the date is plausible", "the clock goes on", "random bytes came"]
    assert out.splitlines()[1:] == wanted


def test_it_ends_with_its_status(guest_of):
    assert run(guest_of("wordcount"), "7")[0] == 7
