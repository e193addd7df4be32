"""What a host in trouble answers reaches the guest as its errno, and nothing else has happened.

Where the trouble can be had it is; elsewhere one call of the host is replaced by one that fails.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coop.fs import closing, contain, hostfile
from coop.wasip1.errno import Errno, errno_of, from_host
from tests.wasip1.errno_cases import BARE_FILE, FILE, ONLY_READ, SUB, TOP, Arguments, N, opening, prepare
from tests.wasip1.host_cases import CLOSE_FAILS, DEEP, HOST_CASES, Host, host_fails
from tests.wasip1.places import ALL, CREAT, READ, TRUNC, WRITE, Place, call, lay_out
from tests.wasip1.script import IOVS, OUT, Script, scripted

# -- the table of errnos


def test_every_errno_of_the_host_has_one_of_wasi():
    """One table for all calls: what has the same name in both is that, and whatever else there is is IO."""
    names = {"E2BIG": "TOOBIG", "EOPNOTSUPP": "NOTSUP", "EDEADLOCK": "DEADLK"}
    for number, name in errno.errorcode.items():
        known = names.get(name, name.removeprefix("E"))
        same = known if known in Errno.__members__ else "IO"
        assert Errno(from_host(number)).name == same, name
    assert [Errno(from_host(number)).name for number in (None, 0, -1, 9999)] == ["IO"] * 4


def test_every_errno_of_wasi_but_two_comes_from_the_host():
    """The one for success is no error, and rights are not known to the host."""
    found = {from_host(number) for number in errno.errorcode}
    assert set(Errno) - found == {Errno.SUCCESS, Errno.NOTCAPABLE}


def test_an_error_without_a_number_is_still_one_and_a_bug_is_none():
    errors = (OSError("no number"), MemoryError(), ValueError("a bug"))
    assert [errno_of(error) for error in errors] == [Errno.IO, Errno.NOMEM, None]


# -- a call of the host that fails


def snapshot(root: Path) -> dict[Path, tuple[object, ...]]:
    """Everything below a directory, looked at while a guest runs."""
    found: dict[Path, tuple[object, ...]] = {}
    for path in [root, *root.rglob("*")]:
        seen = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(seen.st_mode) else None
        found[path] = seen.st_mode, seen.st_ino, seen.st_nlink, seen.st_size, seen.st_mtime_ns, content
    return found


def answer(guest: Script, place: Place, name: str, arguments: Arguments) -> tuple[str, bool]:
    """The errno, and whether nothing has changed: memory, files and the descriptors of this process."""

    def all_there_is() -> tuple[object, ...]:
        return guest.image(), snapshot(place.root), sorted(os.listdir("/proc/self/fd"))

    numbers = lay_out(guest, *arguments)
    before = all_there_is()
    error = Errno(guest.call(name, *numbers)).name
    return error, all_there_is() == before


def failures(host_call: str, errors: str) -> Iterator[tuple[str, Exception]]:
    """Each errno with the exception that stands for it."""
    for error in errors.split():
        yield error, OSError(getattr(errno, f"E{error}"), "on purpose")
    if ".os." in host_call:
        yield "NOMEM", MemoryError()


@pytest.mark.parametrize("name", HOST_CASES)
def test_what_the_host_answers_is_the_guests_errno_and_nothing_has_happened(name, host_place, monkeypatch):
    monkeypatch.setattr(contain, "RESOLVE", contain.by_openat2)

    def act(guest: Script):
        prepare(guest)
        wrong, then = [], []
        for host_call, errors, arguments in HOST_CASES[name]:
            for expected, error in failures(host_call, errors):
                with host_fails(host_call, error):
                    answered = answer(guest, host_place, name, arguments)
                if answered != (expected, True):
                    wrong.append((host_call, expected, error, answered))
            assert guest.fd_tell(ONLY_READ, OUT) == "SUCCESS"
            then += [guest.u64(), call(guest, name, *arguments)]
        return wrong, then

    wrong, then = host_place.run(act)
    assert wrong == []
    assert then == [0, "SUCCESS"] * len(HOST_CASES[name])


EXACT = IOVS + 24
"""An iovec of just the six bytes of `f`: a longer read goes on after a failure, see below."""


@pytest.mark.parametrize("resolve", [contain.by_openat2, contain.by_walk])
@pytest.mark.parametrize("name", HOST_CASES)
def test_whichever_call_of_the_host_fails_nothing_has_happened(name, resolve, host_place, monkeypatch):
    monkeypatch.setattr(contain, "RESOLVE", resolve)
    reads = {"fd_read": (ONLY_READ, EXACT, 1, OUT), "fd_pread": (ONLY_READ, EXACT, 1, 0, OUT)}
    arguments = DEEP.get(name) or reads.get(name) or HOST_CASES[name][0][2]

    def act(guest: Script):
        prepare(guest)
        guest.put(EXACT, struct.pack("<II", 0x2000, 6))
        failed: list[tuple[str, str, bool]] = []
        while True:
            with Host(fails=len(failed)) as host:
                answered = answer(guest, host_place, name, arguments)
            if not host.failed:
                return failed, answered[0]
            failed.append((host.failed, *answered))

    failed, answered = host_place.run(act)
    assert failed
    assert [wrong for wrong in failed if wrong[1:] != ("IO", True)] == []
    assert answered == "SUCCESS"


class BadDisk:
    """Stands in for `os` where files are closed: it closes them, and says that something went wrong."""

    def __init__(self, error: str) -> None:
        self._code = getattr(errno, f"E{error}")

    def __getattr__(self, name):
        return getattr(os, name)

    def close(self, fd: int) -> None:
        os.close(fd)
        raise OSError(self._code, "on purpose")


@pytest.mark.parametrize("error", CLOSE_FAILS)
def test_a_descriptor_whose_close_fails_is_closed_all_the_same(error, host_place, monkeypatch):
    def act(guest: Script):
        prepare(guest)
        fds = len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            patch.setattr(closing, "os", BadDisk(error))
            answers = guest.fd_close(FILE), guest.fd_close(SUB), guest.fd_renumber(BARE_FILE, ONLY_READ)
        left = len(os.listdir("/proc/self/fd"))
        return answers, fds - left, guest.fd_close(FILE), guest.fd_close(SUB), guest.fdstat(ONLY_READ)[2]

    assert host_place.run(act) == ((error, error, "SUCCESS"), 3, "BADF", "BADF", 0)


def test_what_was_read_before_the_disk_failed_is_told_and_the_failure_by_the_next_read(
    host_place, monkeypatch
):
    """A read that was shorter than asked looks one byte further, whether that was the end."""

    def preadv(fd, buffers, offset, flags=0):
        if os.lseek(fd, 0, os.SEEK_CUR) >= 6 or len(buffers[0]) == 1:
            raise OSError(errno.EIO, "on purpose")
        return plain(fd, buffers, offset)

    plain = os.preadv
    monkeypatch.setattr(hostfile, "_NOWAIT", 8)
    monkeypatch.setattr(hostfile.os, "preadv", preadv)

    def act(guest: Script):
        fd = guest.open(TOP, b"f", rights=ALL)
        return guest.read(fd, 8), guest.fd_tell(fd, OUT), guest.u64(), guest.read(fd, 8)

    assert host_place.run(act) == (b"inside", "SUCCESS", 6, "IO")


# -- hosts that are so


@contextmanager
def running(program: Path) -> Iterator[None]:
    """Have the host run a program, and skip the test if it can be written all the same."""
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, "60"]) as process:
        try:
            os.close(os.open(program, os.O_WRONLY))
            pytest.skip("some kernels let programs be written that run")
        except OSError:
            yield
        finally:
            process.kill()


def test_a_program_that_runs_cannot_be_written(host_place):
    def act(guest: Script):
        paths = (b"sleep", b"dir/../sleep")
        refused = [guest.open(TOP, path, oflags=how, rights=WRITE) for path in paths for how in (0, TRUNC)]
        return refused, guest.open(TOP, b"sleep", rights=READ)

    with running(host_place.root / "sleep"):
        assert host_place.run(act) == (["TXTBSY"] * 4, 4)


def test_a_file_that_is_leased_to_somebody_is_busy_and_nobody_waits_for_it(host_place):
    fd = os.open(host_place.root / "f", os.O_RDONLY)
    try:
        # The signal that asks to give the lease back would end this process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        found = host_place.run(lambda guest: [guest.open(TOP, path) for path in (b"f", b"to_f", b"dir/../f")])
    finally:
        os.close(fd)
    assert found == ["BUSY"] * 3
    assert host_place.run(lambda guest: guest.read(guest.open(TOP, b"f"))) == b"inside"


def test_a_fifo_that_nobody_reads_and_a_socket_cannot_be_opened(host_place):
    os.mkfifo(host_place.root / "fifo")
    directory = os.open(host_place.root, os.O_RDONLY)
    paths = (b"fifo", b"socket", b"dir/../fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{directory}/socket")  # the whole path may be too long for a socket
        os.close(directory)
        found = host_place.run(lambda guest: [guest.open(TOP, path, rights=WRITE) for path in paths])
    assert found == ["NXIO"] * 3


def test_a_file_has_so_many_names_and_no_more(host_place):
    names = host_place.root / "full"
    if os.pathconf(names, "PC_LINK_MAX") != 65000:
        pytest.skip("only ext4 has a limit that is reached soon")
    for number in range(64999):
        os.link(host_place.root / "f", names / str(number))
    try:
        found = host_place.run(lambda guest: call(guest, "path_link", TOP, 0, b"f", TOP, N))
    finally:
        shutil.rmtree(names)
    assert found == "MLINK"


def test_no_name_goes_from_one_disk_to_another(tmp_path):
    one = Place("host", tmp_path)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        if os.stat(folder).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("there is but one disk")
        other = Place("host", Path(folder))
        before = one.tree(), other.tree()

        def act(guest: Script):
            return [
                call(guest, name, here, *lookup, b"f", there, N)
                for here, there in ((3, 4), (4, 3))
                for name, lookup in (("path_rename", ()), ("path_link", (0,)))
            ]

        assert scripted(act, dirs=[one.grant(guest="/one"), other.grant(guest="/other")]) == ["XDEV"] * 4
        assert (one.tree(), other.tree()) == before


# -- files of somebody else


@contextmanager
def as_nobody() -> Iterator[None]:
    """Have this thread touch files as a user who owns none; who is not root stays who he is."""
    libc = ctypes.CDLL(None)
    if os.geteuid() == 0:
        libc.setfsgid(65534)
        libc.setfsuid(65534)
    try:
        yield
    finally:
        libc.setfsuid(os.geteuid())
        libc.setfsgid(os.getegid())


def close_off(root: Path) -> None:
    """Let nobody change the directories, look into `full`, or write `dir/g`."""
    for path, mode in {"f": 0o666, "dir/g": 0o444, "dir": 0o555, "full": 0, ".": 0o555}.items():
        (root / path).chmod(mode)


def test_what_the_host_does_not_allow_is_refused_and_changes_nothing(host_place):
    cases = [
        *[("path_create_directory", (TOP, N)), ("path_remove_directory", (TOP, b"empty"))],
        *[("path_unlink_file", (TOP, b"to_f")), ("path_rename", (TOP, b"f", TOP, N))],
        *[("path_link", (TOP, 0, b"f", TOP, N)), ("path_symlink", (b"f", TOP, N))],
        *[("path_open", opening(TOP, N, oflags=CREAT)), ("path_open", opening(TOP, b"dir/g", rights=WRITE))],
        *[("path_open", opening(TOP, path)) for path in (b"full", b"full/x")],
        *[("path_filestat_get", (TOP, lookup, b"full/x", OUT)) for lookup in (0, 1)],
        *[("path_readlink", (TOP, b"full/x", 0x2000, 64, OUT))],
        *[("path_filestat_set_times", (TOP, lookup, b"full/x", 1, 2, 5)) for lookup in (0, 1)],
    ]
    before = snapshot(host_place.root)

    def act(guest: Script):
        prepare(guest)
        close_off(host_place.root)
        with as_nobody():
            answers = [call(guest, name, *arguments) for name, arguments in cases]
        for path in (".", "full", "dir"):
            (host_place.root / path).chmod(0o755)
        return answers

    assert host_place.run(act) == ["ACCES"] * len(cases)
    after = snapshot(host_place.root)
    assert {path: facts[1:] for path, facts in after.items()} == {p: facts[1:] for p, facts in before.items()}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file of another user")
def test_times_of_a_file_of_somebody_else_are_not_set(host_place):
    def act(guest: Script):
        prepare(guest)
        deeper = guest.open(TOP, b"dir/g", rights=ALL)
        close_off(host_place.root)
        with as_nobody():
            return [
                call(guest, "path_filestat_set_times", TOP, 0, b"f", 1, 2, 5),
                guest.fd_filestat_set_times(FILE, 1, 2, 5),
                call(guest, "path_filestat_set_times", TOP, 0, b"dir/g", 0, 0, 10),
                guest.fd_filestat_set_times(deeper, 0, 0, 10),
            ]

    before = host_place.tree()
    assert host_place.run(act) == ["PERM", "PERM", "ACCES", "ACCES"]
    assert host_place.tree() == before
