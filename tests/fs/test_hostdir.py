"""Directories of the host: what only a host has; the rest is in tests/contract/test_filesystems.py."""

import errno
import os
import stat
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import coop
from coop.fs import Dir, Directory, contain, dirents, to_stat
from coop.netpoll.kernelfiles import PipeFile
from coop.scheduler import scheduler
from tests.children import start_child

RACE_S = 10.0
CREATE = os.O_CREAT | os.O_RDWR
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


@pytest.fixture(params=["openat2", "walk"])
def resolver(request, monkeypatch) -> None:
    if request.param == "openat2" and contain.RESOLVE is not contain.by_openat2:
        pytest.skip("no openat2 here")
    if request.param == "walk":
        monkeypatch.setattr(contain, "RESOLVE", contain.by_walk)


@pytest.fixture
def top(tmp_path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def root(top) -> Iterator[Directory]:
    opened = Dir(top).open(None)  # type: ignore[arg-type]
    yield opened
    opened.release()


def refusal(call: Callable[..., object], *args, **kwargs) -> str:
    with pytest.raises(OSError) as caught:
        call(*args, **kwargs)
    return errno.errorcode[caught.value.errno]


# -- reading a directory


def test_a_name_that_is_not_utf8_is_left_out(root, top):
    for name in (b"\xff", b"a", b"caf\xe9", "é".encode()):
        (top / os.fsdecode(name)).touch()
    assert {entry.name for entry in root.entries(0, 4096)} == {b".", b"..", b"a", "é".encode()}
    assert sum(len(root.entries(cookie, 0)) for cookie in cookies(root)) == 4


def cookies(directory: Directory) -> list[int]:
    """0 and the cookies of all entries but the last, each got by its own call."""
    found = [0]
    while entries := directory.entries(found[-1], 0):
        found.append(entries[0].next)
    return found[:-1]


def test_a_cookie_fits_a_c_programs_long_and_keeps_its_meaning(root, top):
    """telldir and seekdir have 32 bits, and the positions of ext4 are hashes of 63."""
    for n in range(1000):
        (top / f"name {n}").touch()
    first = root.entries(0, 1 << 20)
    assert max(entry.next for entry in first) < 1 << 31
    (top / first[300].name.decode()).unlink(missing_ok=True)
    for at in (900, 10, 500, 10):
        assert root.entries(first[at].next, 0) == [first[at + 1]]
    assert [entry.next for entry in root.entries(first[301].next, 1 << 20)] == [e.next for e in first[302:]]


def test_a_directory_too_large_for_its_numbers_gives_positions_and_no_cookie_twice(root, top, monkeypatch):
    monkeypatch.setattr(dirents, "NUMBERS", 10)
    for n in range(600):
        (top / f"name {n}").touch()
    whole = root.entries(0, 1 << 20)
    assert len({entry.next for entry in whole}) == 602
    assert [root.entries(entry.next, 0) for entry in whole[:-1]] == [[entry] for entry in whole[1:]]


def test_directories_that_are_open_at_once_share_the_numbers_and_give_them_back(root, top, monkeypatch):
    """Numbers and batches of thousands of open directories would take gigabytes."""
    for n in range(600):
        (top / f"name {n}").touch()
    whole = [entry.name for entry in root.entries(0, 1 << 20)]
    if (numbered := root._listings.numbers) < 10:  # tmpfs has a large one for the end, and no other
        pytest.skip("this file system has small positions")
    monkeypatch.setattr(dirents, "NUMBERS", numbered + 10)
    second, third = (root.open(b".", DIRECTORY, follow=True) for _ in range(2))
    for directory in (second, third):
        entries = directory.entries(0, 1 << 20)
        assert [entry.name for entry in entries] == whole
        assert [directory.entries(e.next, 0) for e in entries[:-1]] == [[e] for e in entries[1:]]
        assert root._listings.numbers == numbered + 10
    second.release()
    assert root._listings.numbers == numbered
    third.release()


def test_a_few_directories_keep_what_the_kernel_gave_and_the_others_read_on_all_the_same(
    root, top, monkeypatch
):
    monkeypatch.setattr(dirents, "BATCHES", 3)
    for n in range(100):
        (top / f"name {n}").touch()
    whole = [entry.name for entry in root.entries(0, 1 << 20)]
    opened = [root.open(b".", DIRECTORY, follow=True) for _ in range(8)]
    seen: list[list[bytes]] = [[] for _ in opened]
    cookies = [0] * len(opened)
    while len(seen[-1]) < len(whole):
        for n, directory in enumerate(opened):
            entry = directory.entries(cookies[n], 0)[0]
            seen[n].append(entry.name)
            cookies[n] = entry.next
        assert len([each for each in opened if each._reader._batch]) <= 3
    assert seen == [whole] * len(opened)
    for directory in opened:
        directory.release()
    assert list(root._listings._readers) in ([], [root._reader])


@pytest.mark.parametrize("cookie", [(1 << 30) + 5, (1 << 30) + 700, (1 << 31) - 1])
def test_a_number_that_was_not_given_out_is_no_cookie(cookie, root):
    root.entries(0, 0)
    assert refusal(root.entries, cookie, 100) == "EINVAL"


def test_a_cookie_the_kernel_refuses_does_not_end_the_directory(root, top, monkeypatch):
    def refusing(fd, position, how):
        if position == 1 << 62:
            raise OSError(errno.EINVAL, "seek")
        return seek(fd, position, how)

    for n in range(600):
        (top / f"name {n}").touch()
    whole = root.entries(0, 1 << 20)
    seek = os.lseek
    monkeypatch.setattr(os, "lseek", refusing)
    batch = root.entries(whole[400].next, 100)
    assert refusal(root.entries, 1 << 62, 100) == "EINVAL"
    assert root.entries(whole[400].next, 100) == batch != []


def test_a_directory_of_nothing_but_odd_names_has_an_end(root, top):
    for n in range(600):
        (top / os.fsdecode(b"\xff%d" % n)).touch()
    assert [entry.name for entry in root.entries(0, 1 << 20)] in ([b".", b".."], [b"..", b"."])


@pytest.mark.parametrize("room", [30, 500, 4096, 1 << 16])
def test_the_kernel_is_asked_once_for_each_entry_however_small_the_guests_buffer(
    room, root, top, monkeypatch
):
    for n in range(800):
        (top / f"name {n}").touch()
    calls = []

    def counting(fd, buffer):
        calls.append(getdents(fd, buffer))
        return calls[-1]

    getdents = dirents.getdents
    monkeypatch.setattr(dirents, "getdents", counting)
    cookie, seen = 0, 0
    while entries := root.entries(cookie, room):
        # As a guest does: the last one did not fit, so it is asked for again.
        fitting = entries[:-1] or entries
        seen += len(fitting)
        cookie = fitting[-1].next
    assert seen == 802
    assert len(calls) < 802 * 32 / dirents.BATCH * 1.5 + 6  # the end is asked for several times
    assert sum(calls) < 802 * 32 * 1.2


def test_the_parents_inode_number_does_not_leak(root, top):
    (dotdot,) = [entry for entry in root.entries(0, 4096) if entry.name == b".."]
    assert dotdot.ino == top.stat().st_ino != top.parent.stat().st_ino


def test_two_open_directories_are_read_apart_from_each_other(root, top):
    for n in range(40):
        (top / str(n)).touch()
    other = root.open(b".", DIRECTORY, follow=True)
    whole = root.entries(0, 1 << 20)
    assert other.entries(0, 100) == whole[: len(other.entries(0, 100))]
    assert root.entries(whole[5].next, 1 << 20) == whole[6:]
    assert other.entries(whole[3].next, 1 << 20) == whole[4:]
    other.release()


# -- what another program left there


@pytest.mark.parametrize(
    ("target", "told"), [(b"/etc/passwd", "EPERM"), (b"\xff", "EILSEQ"), (b"/\xff", "EILSEQ")]
)
def test_a_link_of_the_hosts_that_no_guest_could_have_made_is_not_shown(target, told, root, top):
    os.symlink(target, os.fsencode(top / "link"))
    assert refusal(root.read_link, b"link") == told
    assert stat.S_ISLNK(root.stat_at(b"link", follow=False).mode)


def test_times_that_do_not_fit_are_the_nearest_that_do():
    times = {"st_atime_ns": -5, "st_mtime_ns": 1 << 70, "st_ctime_ns": 7}
    rest = {"st_dev": 1, "st_ino": 2, "st_mode": 3, "st_nlink": 4, "st_size": 5}
    found: Any = SimpleNamespace(**times, **rest)
    assert to_stat(found) == (1, 2, 3, 4, 5, 0, (1 << 64) - 1, 7)


def test_a_fifo_is_opened_without_waiting_and_not_for_writing_below_a_read_only_directory(top):
    os.mkfifo(top / "fifo")

    def main() -> None:
        locked = Dir(top, read_only=True).open(scheduler())
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
            assert refusal(locked.open, b"fifo", flags, follow=True) == "EROFS"
        fifo = locked.open(b"fifo", os.O_RDONLY, follow=True)
        assert isinstance(fifo, PipeFile)
        fifo.release()
        locked.release()

    coop.run(main)


def test_an_object_on_another_file_system_is_not_moved(root, top):
    there = Path("/dev/shm")
    if not os.access(there, os.W_OK) or there.stat().st_dev == top.stat().st_dev:
        pytest.skip("/dev/shm is no other file system here")
    (top / "f").touch()
    other = Dir(there).open(None)  # type: ignore[arg-type]
    assert refusal(root.rename, b"f", other, b"coop test file") == "EXDEV"
    assert refusal(root.link, b"f", other, b"coop test file", follow=False) == "EXDEV"
    other.release()


def test_what_the_hosts_permissions_forbid_is_forbidden(root, top):
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to root")
    (top / "d").mkdir(mode=0o555)
    assert refusal(root.open, b"d/f", CREATE, follow=True) == "EACCES"
    assert refusal(root.make_directory, b"d/e") == "EACCES"
    assert refusal(root.set_times_at, b"../root", 1, 1, follow=True) == "EPERM"


def test_a_new_file_and_directory_have_the_permissions_of_any_program(root, top):
    before = os.umask(0o027)
    try:
        root.open(b"f", CREATE, follow=True).release()
        root.make_directory(b"d")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((top / name).stat().st_mode) for name in "fd"] == [0o640, 0o750]


# -- a hostile process beside us

EXCHANGE = """
    import ctypes, os, sys
    rename = ctypes.CDLL(None, use_errno=True).renameat2
    one, two = (name.encode() for name in sys.argv[1:])
    print("swapping", flush=True)
    while True:
        if rename(-100, one, -100, two, 2):
            sys.exit(os.strerror(ctypes.get_errno()))
"""


def fill(folder: Path, word: str) -> None:
    """The names the operations go for, with contents that tell where they are."""
    (folder / "d").mkdir(parents=True)
    for name in ("file", "cut", "victim", "source"):
        (folder / name).write_text(word)
    (folder / word).touch()
    (folder / "l").symlink_to(f"{word}-target")


def everything(folder: Path) -> dict[str, tuple[object, ...]]:
    """What is in a folder and the folder itself: contents, links and times."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (folder, *folder.iterdir()):
        seen = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[path.name] = (content, seen.st_ino, seen.st_nlink, seen.st_mtime_ns, seen.st_ctime_ns)
    return found


class Attacks:
    """Every operation, on a name that is a directory inside at one moment and a link out at the next."""

    def __init__(self, root: Directory, outside: Path) -> None:
        self.root = root
        self.forbidden = {path.lstat().st_ino for path in (outside, *outside.iterdir())}

    def read(self) -> None:
        file = self.root.open(b"spot/file", os.O_RDONLY, follow=True)
        buffer = bytearray(100)
        count = file.pread([memoryview(buffer)], 0)  # type: ignore[attr-defined]
        file.release()
        assert buffer[:count] == b"inside"

    def list(self) -> None:
        for path in (b"spot", b"spot/", b"spot/."):
            directory = self.root.open(path, DIRECTORY, follow=True)
            listed = {entry.name for entry in directory.entries(0, 1 << 16)}
            directory.release()
            assert b"outside" not in listed

    def stat(self) -> None:
        for path, follow in ((b"spot/file", False), (b"spot/", True), (b"spot", True), (b"spot/l", False)):
            assert self.root.stat_at(path, follow=follow).ino not in self.forbidden

    def read_link(self) -> None:
        assert self.root.read_link(b"spot/l") == b"inside-target"

    def steal(self) -> None:
        self.root.link(b"spot/file", self.root, b"stolen", follow=True)
        assert self.root.stat_at(b"stolen", follow=False).ino not in self.forbidden
        self.root.unlink(b"stolen")

    def move_out(self) -> None:
        self.root.rename(b"spot/victim", self.root, b"moved")
        assert self.root.stat_at(b"moved", follow=False).ino not in self.forbidden
        self.root.rename(b"moved", self.root, b"spot/victim")

    def all(self) -> dict[str, Callable[[], object]]:
        root = self.root
        return {
            "read": self.read,
            "list": self.list,
            "stat": self.stat,
            "read link": self.read_link,
            "steal": self.steal,
            "move out": self.move_out,
            "create": lambda: root.open(b"spot/made", CREATE, follow=True).release(),
            "create new": lambda: root.open(b"spot/new", CREATE | os.O_EXCL, follow=True).release(),
            "cut": lambda: root.open(b"spot/cut", os.O_WRONLY | os.O_TRUNC, follow=True).release(),
            "make directory": partial(root.make_directory, b"spot/newdir"),
            "remove directory": partial(root.remove_directory, b"spot/d"),
            "remove made": partial(root.remove_directory, b"spot/newdir/"),
            "unlink": partial(root.unlink, b"spot/new"),
            "unlink what is outside too": partial(root.unlink, b"spot/source"),
            "symlink": partial(root.symlink, b"x", b"spot/planted link"),
            "move in": partial(root.rename, b"mine", root, b"spot/planted"),
            "link in": partial(root.link, b"mine too", root, b"spot/linked", follow=False),
            "set times": partial(root.set_times_at, b"spot/file", 1, 1, follow=True),
            "set times of the end": partial(root.set_times_at, b"spot", 1, 1, follow=True),
            "set times of a slash": partial(root.set_times_at, b"spot/", 1, 1, follow=False),
        }


@pytest.mark.usefixtures("resolver")
def test_no_operation_gets_out_while_a_directory_is_swapped_for_a_link(root, top):
    outside = top.parent / "outside"
    fill(outside, "outside")
    fill(top / "spot", "inside")
    (top / "link").symlink_to("../outside")
    for name in ("mine", "mine too"):
        (top / name).touch()
    before = everything(outside)
    attacks = Attacks(root, outside).all()
    seen: dict[str, set[str]] = {name: set() for name in attacks}
    names = map(str, (top / "spot", top / "link"))
    with start_child(["-c", textwrap.dedent(EXCHANGE), *names]) as swapper:
        assert swapper.stdout is not None
        assert swapper.stdout.readline() == b"swapping\n"
        end = time.monotonic() + RACE_S
        while time.monotonic() < end:
            for name, attack in attacks.items():
                try:
                    attack()
                    seen[name].add("ok")
                except OSError as error:
                    seen[name].add(errno.errorcode[error.errno])
        assert swapper.poll() is None
    assert everything(outside) == before
    assert {"ok", "EPERM"} <= seen["read"] & seen["list"] & seen["stat"]
    assert all("EPERM" in told for told in seen.values())
