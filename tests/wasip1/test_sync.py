"""fd_sync and fd_datasync, and what else waits for a disk: in a helper thread, while the others go on."""

import errno
import os
import threading
import time

import pytest

import coop
from coop import threads
from coop.fs import busy, closing, hostdir, hostfile
from coop.scheduler import scheduler
from tests.wasip1.places import ALL, ALL_OF_DIR, CREAT, DIRECTORY, EXCL, READ, TRUNC, WRITE, Place, call
from tests.wasip1.script import DATA, OUT, POLLERS, Script, scripted

DONTNEED = 4
APPEND, DSYNC, RSYNC, SYNC = 1, 2, 8, 16
LARGE = 100 << 20


@pytest.mark.parametrize("name", ["fd_sync", "fd_datasync"])
def test_a_file_and_a_directory_are_synced_and_go_on_as_before(name, place):
    def act(guest: Script):
        f = guest.open(3, b"f", rights=ALL)
        below = guest.open(3, b"dir", oflags=DIRECTORY, rights=ALL_OF_DIR)
        assert guest.write(f, b"IN") == 2
        image = guest.image()
        answers = [getattr(guest, name)(fd) for fd in (f, below, 3)]
        return answers, guest.image() == image, guest.read(f)

    assert place.run(act) == (["SUCCESS"] * 3, True, b"side")


class SlowDisk:
    """Stands in for `os` where files are synced: what takes long waits until it is told to go on.

    A sync may fail besides.
    """

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.error: OSError | None = None
        self.synced: list[str] = []
        self.threads: list[threading.Thread] = []

    def await_begin(self) -> None:
        """Let the others run until a file is being synced; blocking the thread might keep it from that."""
        end = time.monotonic() + 30
        while not self.begun.is_set():
            assert time.monotonic() < end
            coop.pause()

    def __getattr__(self, name):
        return getattr(os, name)

    def fsync(self, fd: int) -> None:
        self._take_long(fd)

    def fdatasync(self, fd: int) -> None:
        self._take_long(fd)
        self.synced[-1] += ", data alone"

    def posix_fadvise(self, fd: int, *range_and_advice: int) -> None:
        self._take_long(fd)

    def ftruncate(self, fd: int, size: int) -> None:
        self._take_long(fd)
        os.ftruncate(fd, size)

    def rmdir(self, name: bytes, *, dir_fd: int) -> None:
        self._take_long(dir_fd)
        os.rmdir(name, dir_fd=dir_fd)

    def rename(self, old: bytes, new: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        self._take_long(dst_dir_fd)
        os.rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def _take_long(self, fd: int) -> None:
        self.threads.append(threading.current_thread())
        self.begun.set()
        assert self.may_end.wait(30)
        self.synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        if self.error is not None:
            raise self.error


@pytest.fixture
def disk(monkeypatch):
    slow = SlowDisk()
    monkeypatch.setattr(hostfile, "os", slow)
    monkeypatch.setattr(hostdir, "os", slow)
    yield slow
    slow.may_end.set()


LONG = [
    ("fd_sync", ()),
    ("fd_advise", (0, 0, DONTNEED)),
    ("fd_filestat_set_size", (LARGE - (64 << 20) - 1,)),
]


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize(("name", "arguments"), LONG, ids=[name for name, _ in LONG])
def test_the_others_run_while_one_guest_waits_for_its_disk(name, arguments, poller, disk, host_place):
    """The disk goes on only when another guest has read: nobody else may be waiting for it."""
    os.truncate(host_place.root / "f", LARGE)

    def main():
        with Script(dirs=[host_place.grant()]) as one, Script(dirs=[host_place.grant()]) as other:
            fd = one.open(3, b"f", rights=ALL)
            task = coop.spawn(lambda: getattr(one, name)(fd, *arguments))
            disk.await_begin()
            content = other.read(other.open(3, b"f"), 6)
            is_waiting = not task.is_done
            disk.may_end.set()
            answer = task.wait()
            # The next call that waits is a new one, whatever this one left.
            return content, is_waiting, answer, one.fd_sync(fd)

    assert coop.run(main, poller=poller) == (b"inside", True, "SUCCESS", "SUCCESS")
    assert disk.synced == [str(host_place.root / "f")] * 2


def write_at_2(guest: Script, fd: int, data: bytes) -> int | str:
    error = guest.fd_pwrite(fd, *guest.iovecs((DATA, guest.put(DATA, data))), 2, OUT)
    return error if error != "SUCCESS" else guest.u32()


CHANGES = {
    "write": lambda guest, fd: guest.write(fd, b"x"),
    "pwrite": lambda guest, fd: write_at_2(guest, fd, b"x"),
    "write to the disk": lambda guest, _: guest.write(guest.open(3, b"f", rights=ALL, fdflags=SYNC), b"x"),
    "append": lambda guest, _: guest.write(guest.open(3, b"f", rights=ALL, fdflags=APPEND), b"x"),
    "set times": lambda guest, fd: guest.fd_filestat_set_times(fd, 1, 2, 5),
    "set size": lambda guest, fd: guest.fd_filestat_set_size(fd, 1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_a_file_that_is_being_cut_waits_for_the_cut_alone(change, disk, host_place):
    """The kernel would have the thread wait for the file's lock."""
    os.truncate(host_place.root / "f", LARGE)

    def main():
        with Script(dirs=[host_place.grant()]) as one, Script(dirs=[host_place.grant()]) as other:
            fd, its_fd = one.open(3, b"f", rights=ALL), other.open(3, b"f", rights=ALL)
            elsewhere = other.open(3, b"dir/g", rights=ALL)
            cut = coop.spawn(one.fd_filestat_set_size, fd, 0)
            disk.await_begin()
            at_once = other.write(elsewhere, b"DEEP"), other.fd_filestat_set_times(elsewhere, 1, 2, 5)
            changing = coop.spawn(change, other, its_fd)
            while scheduler().outside_jobs < 2 and not changing.is_done:
                coop.pause()
            size = os.stat(host_place.root / "f").st_size
            are_waiting = not cut.is_done, not changing.is_done
            disk.may_end.set()
            return at_once, size, are_waiting, cut.wait(), changing.wait(), busy.jobs

    told = coop.run(main)
    assert told[:4] == ((4, "SUCCESS"), LARGE, (True, True), "SUCCESS")
    assert told[4:] in [(1, []), ("SUCCESS", [])]
    assert (host_place.root / "f").stat().st_size <= 3


LONG_NAMES = {
    "remove": lambda guest: call(guest, "path_remove_directory", 3, b"empty"),
    "rename": lambda guest: call(guest, "path_rename", 3, b"dir/sub", 3, b"empty"),
}


@pytest.mark.parametrize("act", LONG_NAMES.values(), ids=LONG_NAMES)
def test_the_others_run_while_a_large_directory_is_read_to_see_that_it_is_empty(
    act, disk, host_place, monkeypatch
):
    monkeypatch.setattr(closing, "LARGE_DIRECTORY", -1)
    before = len(os.listdir("/proc/self/fd"))

    def main():
        with Script(dirs=[host_place.grant()]) as one, Script(dirs=[host_place.grant()]) as other:
            task = coop.spawn(act, one)
            disk.await_begin()
            content = other.read(other.open(3, b"f"), 6)
            is_waiting = not task.is_done
            disk.may_end.set()
            return content, is_waiting, task.wait(), act(one), one.fd_sync(3)

    assert coop.run(main) == (b"inside", True, "SUCCESS", "NOENT", "SUCCESS")
    assert threading.main_thread() not in disk.threads[:1]
    end_closes()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_guest_cancelled_while_a_large_directory_is_removed_ends_at_once(disk, host_place, monkeypatch):
    monkeypatch.setattr(closing, "LARGE_DIRECTORY", -1)

    def main():
        guest = Script(dirs=[host_place.grant()])
        task = coop.spawn(LONG_NAMES["remove"], guest)
        disk.await_begin()
        guest.guest.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()
        disk.may_end.set()
        while scheduler().outside_jobs:
            coop.pause()

    coop.run(main)
    assert not (host_place.root / "empty").exists()


def test_nothing_goes_from_memory_over_a_large_directory_of_the_host(host_place, tmp_path, monkeypatch):
    monkeypatch.setattr(closing, "LARGE_DIRECTORY", -1)
    memory = Place("memory", tmp_path)

    def act(guest: Script):
        return call(guest, "path_rename", 4, b"dir/sub", 3, b"empty"), guest.fd_sync(3)

    dirs = [host_place.grant(guest="/host"), memory.grant(guest="/memory")]
    assert scripted(act, dirs=dirs) == ("XDEV", "SUCCESS")
    assert b"dir/sub" in memory.tree()


@pytest.mark.parametrize("act", LONG_NAMES.values(), ids=LONG_NAMES)
def test_a_directory_that_is_not_large_needs_no_thread(act, disk, host_place):
    disk.may_end.set()
    assert host_place.run(act) == "SUCCESS"
    assert disk.threads == [threading.main_thread()]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fd_advise", (0, 0, 0)),
        ("fd_filestat_set_size", (LARGE - (64 << 20),)),
        ("fd_filestat_set_size", (2 * LARGE,)),
    ],
)
def test_what_is_done_at_once_needs_no_thread(name, arguments, disk, host_place):
    os.truncate(host_place.root / "f", LARGE)
    disk.may_end.set()
    answer = host_place.run(lambda guest: getattr(guest, name)(guest.open(3, b"f", rights=ALL), *arguments))
    assert answer == "SUCCESS"
    assert disk.threads == [threading.main_thread()]


@pytest.mark.parametrize("rights", [READ, WRITE, ALL])
def test_the_others_run_while_a_long_file_is_cut_by_an_open(rights, disk, host_place):
    os.truncate(host_place.root / "f", LARGE)

    def main():
        with Script(dirs=[host_place.grant()]) as one, Script(dirs=[host_place.grant()]) as other:
            task = coop.spawn(lambda: one.open(3, b"to_f", oflags=TRUNC | CREAT, rights=rights))
            disk.await_begin()
            content = other.read(other.open(3, b"dir/g"), 6)
            is_waiting = not task.is_done
            disk.may_end.set()
            return content, is_waiting, task.wait(), one.fd_sync(3)

    assert coop.run(main) == (b"deeper", True, 4, "SUCCESS")
    assert threading.main_thread() not in disk.threads
    assert (host_place.root / "f").stat().st_size == 0


def test_a_file_that_is_busy_is_cut_beside_however_short_it_is(disk, host_place):
    """A cut that is under way has the file as short as it will be."""
    disk.may_end.set()

    def act(guest: Script):
        fd = os.open(host_place.root / "f", os.O_RDONLY)
        with busy.working_on(fd):
            os.close(fd)
            return guest.open(3, b"f", oflags=TRUNC, rights=ALL)

    assert host_place.run(act) == 4
    assert len(disk.threads) == 1
    assert threading.main_thread() not in disk.threads


@pytest.mark.parametrize("oflags", [CREAT | EXCL | TRUNC, DIRECTORY | TRUNC, CREAT])
def test_an_open_that_does_not_cut_leaves_a_long_file_as_it_is(oflags, disk, host_place):
    os.truncate(host_place.root / "f", LARGE)
    host_place.run(lambda guest: guest.open(3, b"f", oflags=oflags, rights=ALL))
    assert (
        host_place.run(lambda guest: guest.open(3, b"f", oflags=TRUNC, rights=ALL), read_only=True) == "ROFS"
    )
    assert disk.threads == []
    assert (host_place.root / "f").stat().st_size == LARGE


@pytest.mark.parametrize("fails", ["EACCES", "ETXTBSY"])
def test_what_stands_against_a_cut_is_told_by_the_open(fails, disk, host_place, monkeypatch):
    os.truncate(host_place.root / "f", LARGE)

    def refuse(*args, **kwargs):
        raise OSError(getattr(errno, fails), "no")

    monkeypatch.setattr(hostdir, "open_beneath", refuse)
    assert host_place.run(lambda guest: guest.open(3, b"f", oflags=TRUNC, rights=ALL)) == fails[1:]


@pytest.mark.parametrize(
    ("fdflags", "synced"), [(DSYNC, "f, data alone"), (SYNC, "f"), (DSYNC | SYNC, "f"), (RSYNC, "f")]
)
@pytest.mark.parametrize(
    ("write", "content"), [(Script.write, b"OUT, OUT"), (write_at_2, b"inOUT, ")], ids=["write", "pwrite"]
)
def test_the_others_run_while_a_write_goes_to_the_disk(write, content, fdflags, synced, disk, host_place):
    def main():
        with Script(dirs=[host_place.grant()]) as one, Script(dirs=[host_place.grant()]) as other:
            fd = one.open(3, b"f", rights=ALL, fdflags=fdflags)
            task = coop.spawn(write, one, fd, b"OUT, ")
            disk.await_begin()
            seen = other.read(other.open(3, b"f"), 9)
            is_waiting = not task.is_done
            disk.may_end.set()
            return seen, is_waiting, task.wait(), write(one, fd, b"OUT"), one.fdstat(fd)[1]

    seen, *told = coop.run(main)
    assert told == [True, 5, 3, fdflags]
    assert seen == (b"OUT, e" if write is Script.write else b"inOUT, ")
    assert (host_place.root / "f").read_bytes() == content
    assert disk.synced == [f"{host_place.root}/{synced}"] * 2
    assert threading.main_thread() not in disk.threads


@pytest.mark.parametrize("write", [Script.write, write_at_2])
def test_a_write_that_the_disk_fails_is_told_so_once(write, disk, host_place):
    disk.may_end.set()

    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL, fdflags=SYNC)
        answers = []
        for code in (5, 122, None, None):
            disk.error = None if code is None else OSError(code, "no")
            answers.append(write(guest, fd, b"xy"))
        return answers

    assert host_place.run(act) == ["IO", "DQUOT", 2, 2]


def test_what_the_disk_fails_with_is_the_guests_errno_and_the_next_call_is_a_new_one(disk, host_place):
    disk.may_end.set()

    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL)
        answers = []
        for code in (5, 28, 122, None):
            disk.error = None if code is None else OSError(code, "no")
            answers.append(guest.fd_sync(fd))
        return answers

    assert host_place.run(act) == ["IO", "NOSPC", "DQUOT", "SUCCESS"]


def test_a_guest_cancelled_while_it_waits_for_its_disk_ends_at_once(disk, host_place):
    """The thread goes on with a descriptor of its own, though the file is closed and its number used."""

    def main():
        guest = Script(dirs=[host_place.grant()])
        task = coop.spawn(lambda: guest.fd_sync(guest.open(3, b"f", rights=ALL)))
        disk.await_begin()
        guest.guest.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()
        other = Script(dirs=[host_place.grant()])
        with other:
            assert other.read(other.open(3, b"dir/g")) == b"deeper"
            disk.may_end.set()
        while scheduler().outside_jobs:
            coop.pause()

    coop.run(main)
    assert disk.synced == [str(host_place.root / "f")]


def test_a_host_without_a_thread_to_spare_is_out_of_memory_to_the_guest(monkeypatch, host_place):
    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL)
        with monkeypatch.context() as patch:
            patch.setattr(threads.threading.Thread, "start", no_thread)
            refused = guest.fd_sync(fd)
        return refused, guest.fd_sync(fd)

    assert host_place.run(act) == ("NOMEM", "SUCCESS")


def test_two_guests_wait_for_one_disk_side_by_side(disk, host_place):
    def main():
        guests = [Script(dirs=[host_place.grant()]) for _ in range(4)]
        fds = [guest.open(3, b"f", rights=ALL) for guest in guests]
        tasks = [coop.spawn(guest.fd_sync, fd) for guest, fd in zip(guests, fds, strict=True)]
        disk.await_begin()
        disk.may_end.set()
        answers = [task.wait() for task in tasks]
        for guest in guests:
            guest.guest.close()
        return answers

    assert coop.run(main) == ["SUCCESS"] * 4
    assert len(disk.synced) == 4


def test_many_guests_that_wait_for_a_disk_have_few_threads(disk, host_place):
    """And one that is cancelled leaves its thread to the disk, not to the guests after it."""

    def main():
        guests = [Script(dirs=[host_place.grant()]) for _ in range(40)]
        fds = [guest.open(3, b"f", rights=ALL) for guest in guests]
        tasks = [coop.spawn(guest.fd_sync, fd) for guest, fd in zip(guests, fds, strict=True)]
        disk.await_begin()
        coop.sleep(0.05)
        for guest in guests[:20]:
            guest.guest.cancel()
        coop.sleep(0.05)
        helpers = [thread.name for thread in threading.enumerate()].count("coop helper")
        disk.may_end.set()
        answers = [task.wait() for task in tasks[20:]]
        for guest, task in zip(guests, tasks, strict=True):
            task.observe()
            guest.guest.close()
        while scheduler().outside_jobs:
            coop.pause()
        return answers, helpers

    assert coop.run(main) == (["SUCCESS"] * 20, 32)
    assert len(disk.synced) == 40


class Closes:
    """Stands in for `os` where files are closed: who closes what has no name left waits to be let go on."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.closed: list[tuple[str, bool]] = []

    def __getattr__(self, name):
        return getattr(os, name)

    def close(self, fd: int) -> None:
        path, here = os.readlink(f"/proc/self/fd/{fd}"), threading.current_thread() is threading.main_thread()
        if path.endswith("(deleted)"):
            self.closed.append((path.removesuffix(" (deleted)"), here))
            assert here or self.may_end.wait(30)
        os.close(fd)

    def end(self) -> None:
        """Let the threads go on to their end."""
        self.may_end.set()
        end_closes()


def end_closes() -> None:
    """Wait until no thread closes anything."""
    for thread in threading.enumerate():
        if thread.name == "coop closer":
            thread.join()


@pytest.fixture
def closes(monkeypatch):
    found = Closes()
    monkeypatch.setattr(closing, "os", found)
    yield found
    found.end()


def unlink(guest: Script, path: bytes) -> str:
    return call(guest, "path_unlink_file", 3, path)


def close_unlinked(guest: Script) -> str:
    fd = guest.open(3, b"f", rights=ALL)
    assert unlink(guest, b"f") == "SUCCESS"
    return guest.fd_close(fd)


def leave_unlinked(guest: Script) -> str:
    assert isinstance(guest.open(3, b"f", rights=ALL), int)
    return unlink(guest, b"f")


FREES = {
    "close": close_unlinked,
    "the end of the guest": leave_unlinked,
    "unlink": lambda guest: unlink(guest, b"f"),
    "rename": lambda guest: call(guest, "path_rename", 3, b"dir/g", 3, b"f"),
}


@pytest.mark.parametrize("act", FREES.values(), ids=FREES)
def test_a_large_file_is_freed_beside(act, closes, host_place):
    os.truncate(host_place.root / "f", LARGE)
    before = len(os.listdir("/proc/self/fd"))
    assert host_place.run(act) == "SUCCESS"
    closes.end()
    assert (str(host_place.root / "f"), False) in closes.closed
    assert True not in {here for _, here in closes.closed}
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("act", FREES.values(), ids=FREES)
def test_a_small_file_is_freed_without_a_thread(act, closes, host_place):
    assert host_place.run(act) == "SUCCESS"
    assert False not in {here for _, here in closes.closed}


def test_a_large_file_that_stays_leaves_no_descriptor_open(closes, host_place):
    os.truncate(host_place.root / "f", LARGE)
    before = len(os.listdir("/proc/self/fd"))
    assert host_place.run(lambda guest: call(guest, "path_rename", 3, b"absent", 3, b"f")) == "NOENT"
    end_closes()  # or what is closed late has lost its name by then
    os.link(host_place.root / "f", host_place.root / "other")
    assert host_place.run(lambda guest: unlink(guest, b"f")) == "SUCCESS"
    closes.end()
    assert closes.closed == []
    assert (host_place.root / "other").stat().st_size == LARGE
    assert len(os.listdir("/proc/self/fd")) == before


def test_where_no_thread_is_free_a_large_file_is_freed_at_once(closes, monkeypatch, host_place):
    monkeypatch.setattr(closing, "_MOST", 0)
    os.truncate(host_place.root / "f", LARGE)
    assert host_place.run(close_unlinked) == "SUCCESS"
    assert set(closes.closed) == {(str(host_place.root / "f"), True)}


def test_room_is_allocated_beside_too(host_place):
    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL)
        turns = []
        task = coop.spawn(lambda: turns.append(None))
        answer = guest.fd_allocate(fd, 0, 4096)
        task.wait()
        return answer, guest.write(fd, b"x"), guest.open(3, b"n", oflags=1, rights=WRITE)

    assert host_place.run(act) == ("SUCCESS", 1, 5)
