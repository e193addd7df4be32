"""What compilers make: programs of Go and C that start, look around, wait, and try to get out."""

import io
import os
import re

import pytest

import coop
from tests.children import ROOT
from tests.guestbuild import ToolchainMissing, c_guest, go_guest, rust_guest, zig_guest
from tests.wasip1.script import POLLERS, loaded, run

GUESTS = ROOT / "tests" / "guests"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def guest_of():
    """Builds and loads everything before the first test looks for leaks."""
    names = (
        "args_env.go",
        "exitcode.go",
        "files.go",
        "files.c",
        "hello.c",
        "hog.c",
        "hog.go",
        "clock.c",
        "poll_stdin.c",
        "preopens.zig",
        "stdin_cat.go",
    )
    build = {"go": go_guest, "c": c_guest, "zig": zig_guest}
    modules = {name: loaded(build[name.rpartition(".")[2]](GUESTS / name)) for name in names}
    return modules.__getitem__


def test_go_sees_its_arguments_its_environment_and_no_directory(guest_of):
    code, out, err = run(
        guest_of("args_env.go"), "one", "two words", "ä", name="prog", env={"B": "2", "A": "x=y"}
    )
    expected = ['arg "prog"', 'arg "one"', 'arg "two words"', 'arg "ä"', 'env "A=x=y"', 'env "B=2"']
    assert (code, out.splitlines()[:6], err) == (0, expected, "")
    assert "HOME" not in out


def test_go_ends_with_its_status_whatever_its_goroutines_do(guest_of):
    assert run(guest_of("exitcode.go")) == (7, "leaving\n", "")


def test_c_gets_its_arguments_and_writes_to_both_streams(guest_of):
    code, out, err = run(guest_of("hello.c"), "a", "")
    assert (code, out, err) == (0, "hello from c\narg a\narg \n", "hello on stderr\n")


def test_a_program_that_gets_no_more_memory_learns_it_and_the_host_reads_which_limit_it_was(guest_of, capsys):
    """Go ends with a status, C here with a trap; both ask for pieces of which the last does not fit."""
    limits = coop.Limits(memory=32 << 20)
    code, _, err = run(guest_of("hog.go"), limits=limits)
    assert (code, err.splitlines()[1]) == (2, "fatal error: out of memory")
    with pytest.raises(coop.GuestTrap, match=r"\(limit memory: \d+ of 33554432\)"):
        run(guest_of("hog.c"), limits=limits)
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" guest=")[0] for line in said] == [
        "coop: warning: limit reached",
        "coop: warning: limit may have been reached",
    ]


def test_rust_gets_its_arguments_and_writes_to_both_streams():
    try:
        module = loaded(rust_guest(GUESTS / "hello.rs"))
    except ToolchainMissing as error:
        pytest.skip(str(error))
    assert run(module, "a", "") == (0, "hello from rust\narg a\narg \n", "hello on stderr\n")


def test_c_finds_that_clocks_go_on_and_sleeps_last(guest_of):
    code, out, _ = run(guest_of("clock.c"))
    assert (code, re.findall("NO|errno", out)) == (0, [])


@pytest.fixture
def tree(tmp_path):
    """A directory that guests get, with ways out of it, and what they must not see beside it."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "inside").write_text("treasure")
    (tmp_path / "outside").write_text("secret")
    (root / "link").symlink_to("..")
    (root / "absolute").symlink_to(tmp_path / "outside")
    return root


@pytest.mark.parametrize("name", ["files.go", "files.c"])
def test_a_program_reads_what_it_was_given_and_gets_out_by_no_way(name, guest_of, tree):
    code, out, _ = run(guest_of(name), "/data", "inside", dirs=[coop.Dir(tree, "/data")])
    assert code == 0
    assert "treasure" in out
    assert "8 bytes" in out
    assert len(re.findall("outside .*: refused", out)) == 5
    assert "ESCAPED" not in out
    assert "secret" not in out


@pytest.mark.parametrize("name", ["files.go", "files.c"])
def test_a_program_finds_its_directory_behind_two_sockets(name, guest_of, tree):
    listen = ["127.0.0.1:0", "127.0.0.1:0"]
    code, out, _ = run(guest_of(name), "/data", "inside", listen=listen, dirs=[coop.Dir(tree, "/data")])
    assert code == 0
    assert "treasure" in out


@pytest.mark.parametrize("over_first", [True, False])
@pytest.mark.parametrize("name", ["files.go", "files.c"])
def test_a_directory_in_memory_lies_over_a_part_of_a_real_one(name, over_first, guest_of, tree):
    """Whatever the order: the longest name that fits a path is the one it leads to."""
    dirs = [coop.Dir(tree, "/"), coop.MemDir({"inside": "memories"}, "/sub")]
    (tree / "sub" / "inside").write_text("hidden")
    for where, what in (("/sub", "memories"), ("", "treasure")):
        code, out, _ = run(guest_of(name), where, "inside", dirs=dirs[:: -1 if over_first else 1])
        assert (code, "ESCAPED" in out) == (0, False)
        assert what in out
        assert "hidden" not in out


@pytest.mark.parametrize("name", ["files.go", "files.c"])
def test_a_program_gets_out_of_a_directory_in_memory_by_no_way(name, guest_of, tree):
    dirs = [coop.MemDir({"inside": "memories"}, "/data"), coop.Dir(tree, "/other", read_only=True)]
    code, out, _ = run(guest_of(name), "/data", "inside", dirs=dirs)
    assert (code, len(re.findall("outside .*: refused", out))) == (0, 5)
    assert "memories" in out


def test_zig_finds_sockets_and_directories_by_their_names(guest_of, tree):
    code, out, err = run(
        guest_of("preopens.zig"), listen=["127.0.0.1:0", "127.0.0.1:0"], dirs=[coop.Dir(tree, "/data")]
    )
    names = ["stdin", "stdout", "stderr", "socket:3", "socket:4", "/data"]
    assert (code, out.splitlines(), err) == (0, [*names, "treasure"], "")


@pytest.mark.parametrize("name", ["files.go", "files.c"])
def test_a_program_without_directories_opens_nothing(name, guest_of, tree):
    code, out, _ = run(guest_of(name), str(tree), "inside")
    assert code == 1
    assert "treasure" not in out


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("name", ["poll_stdin.c", "stdin_cat.go"])
@pytest.mark.seed("S12")
def test_a_program_that_waits_for_input_hears_time_pass_and_gets_every_byte(name, poller, guest_of):
    """The input comes only when the guest has said that time passed, so it cannot have been held up."""
    read_end, write_end = os.pipe()
    out, err = bytearray(), bytearray()

    def main():
        guest = coop.Guest(guest_of(name), stdin=reader, stdout=out, stderr=err)
        task = coop.spawn(guest.run)
        said = b"timed out" if name.endswith(".c") else b"tick 2"
        while said not in err:
            coop.sleep(0.001)
        os.write(write_end, b"late input\n")
        while out != b"late input\n":
            coop.sleep(0.001)
        os.close(write_end)
        return task.wait()

    with io.FileIO(read_end) as reader:
        assert coop.run(main, poller=poller) == 0
