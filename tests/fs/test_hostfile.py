"""Files of the host: reads that miss the page cache, and work in helper threads.

What the kernel has in its cache is told by a fake, for no test can be sure of it; all else is real.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import coop
from coop.fs import Dir, RegularFile, hostfile, hostsys
from coop.fs.hostfile import DiskFile
from coop.netpoll.contract import READ
from coop.netpoll.openfile import BLOCKED
from tests.children import run_child

TEXT = bytes(range(256)) * 40


class Cache:
    """Stands in for os.preadv: only the first bytes of any file are in memory, and plain reads add to them.

    cached -- how many bytes
    keeps -- whether what was read stays in memory
    asked -- how often it was asked for what is there
    plain -- the ranges that were read plainly, as offset and size
    """

    def __init__(self, cached: int) -> None:
        self.cached = cached
        self.asked = 0
        self.keeps = True
        self.plain: list[tuple[int, int]] = []
        self.error: OSError | None = None
        self.before_plain: Callable[[], object] = lambda: None

    def preadv(self, fd: int, buffers, offset: int, flags: int = 0) -> int:
        size = sum(map(len, buffers))
        if not flags:
            self.before_plain()
            if self.error is not None:
                raise self.error
            self.plain.append((offset, size))
            self.cached = max(self.cached, offset + size) if self.keeps else 0
            return preadv(fd, buffers, offset)
        self.asked += 1
        assert flags == os.RWF_NOWAIT
        here = os.lseek(fd, 0, os.SEEK_CUR) if offset == -1 else offset
        if here < os.fstat(fd).st_size:
            size = min(size, self.cached - here)
            if size <= 0:
                raise BlockingIOError(errno.EAGAIN, "not in the cache")
        (buffer,) = buffers
        part = [memoryview(buffer)[:size]]
        return os.readv(fd, part) if offset == -1 else preadv(fd, part, offset)


preadv = os.preadv


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "file").write_bytes(TEXT)
    return tmp_path / "file"


@pytest.fixture
def file(path) -> Iterator[DiskFile]:
    root = Dir(path.parent).open(None)  # type: ignore[arg-type]
    opened = root.open(b"file", os.O_RDWR, follow=True)
    root.release()
    assert isinstance(opened, DiskFile)
    yield opened
    if opened.refs:
        opened.release()


@pytest.fixture
def cache(monkeypatch) -> Cache:
    fake = Cache(0)
    monkeypatch.setattr(hostfile.os, "preadv", fake.preadv)
    return fake


def read(file: RegularFile, size: int) -> bytes | int:
    """The bytes of one try, or BLOCKED."""
    buffer = bytearray(size)
    count = file.read_one(memoryview(buffer))
    return count if count == BLOCKED else bytes(buffer[:count])


def read_waiting(file: RegularFile, size: int) -> bytes:
    """Read as the import layer does: try, wait, try again."""
    while (got := read(file, size)) == BLOCKED:
        file.wait(READ)
    assert isinstance(got, bytes)
    return got


# -- reads that miss the page cache


def test_a_read_of_what_is_cached_is_one_call(file, cache):
    cache.cached = len(TEXT)
    assert read(file, 100) == TEXT[:100]
    assert (cache.asked, cache.plain) == (1, [])


def test_a_read_that_misses_the_cache_is_made_good_in_a_helper_thread(file, cache):
    threads = []
    cache.before_plain = lambda: threads.append(threading.current_thread())

    def main() -> None:
        assert read(file, 100) == BLOCKED
        assert cache.plain == []
        file.wait(READ)
        assert threads[0] is not threading.main_thread()
        assert cache.plain[0][0] == 0
        assert cache.plain[0][1] >= 100
        assert read(file, 100) == TEXT[:100]

    coop.run(main)


def test_other_tasks_run_while_the_disk_is_slow(file, cache):
    answers = threading.Event()
    cache.before_plain = lambda: answers.wait(30)

    order = []

    def reader() -> None:
        assert read_waiting(file, 50) == TEXT[:50]
        order.append("read")

    def main() -> None:
        with coop.TaskGroup() as group:
            group.spawn(reader)
            coop.pause()
            order.append("other")
            answers.set()  # nobody else does this, so the read is still under way

    coop.run(main)
    assert order == ["other", "read"]


def test_a_read_is_not_cut_short_where_the_cache_ends(file, cache):
    cache.cached = 60

    def main() -> None:
        file.seek(10, os.SEEK_SET)
        assert read(file, 100) == BLOCKED
        assert file.seek(0, os.SEEK_CUR) == 10
        file.wait(READ)
        assert read(file, 100) == TEXT[10:110]

    coop.run(main)


def test_a_page_that_is_gone_again_does_not_make_a_read_wait_for_ever(file, cache):
    cache.keeps = False

    def main() -> None:
        for at in (0, 100):
            assert read(file, 100) == BLOCKED
            file.wait(READ)
            assert read(file, 100) == TEXT[at : at + 100]

    coop.run(main)


@pytest.mark.parametrize("cached", [0, 10, 60])
def test_a_read_at_a_position_waits_in_the_same_way(cached, file, cache):
    cache.cached = cached
    buffer = memoryview(bytearray(100))

    def main() -> None:
        assert file.pread([buffer], 10) == BLOCKED
        file.wait(READ)
        assert file.pread([buffer], 10) == 100
        assert buffer == TEXT[10:110]
        assert file.seek(0, os.SEEK_CUR) == 0

    coop.run(main)


def test_a_read_at_a_position_that_ends_with_the_file_is_short(file, cache):
    cache.cached = len(TEXT)
    buffer = memoryview(bytearray(100))
    assert file.pread([buffer], len(TEXT) - 10) == 10
    assert file.pread([buffer], len(TEXT)) == 0
    assert cache.plain == []


def test_a_page_that_comes_in_meanwhile_does_not_move_the_position(file, cache, monkeypatch):
    cache.cached = 60
    asked = cache.preadv

    def coming_in(fd, buffers, offset, flags=0):
        count = asked(fd, buffers, offset, flags)
        cache.cached = len(TEXT)
        return count

    monkeypatch.setattr(hostfile.os, "preadv", coming_in)
    assert read(file, 100) == BLOCKED
    assert file.seek(0, os.SEEK_CUR) == 0
    assert read(file, 100) == TEXT[:100]


def test_a_read_that_ends_with_the_file_is_short_and_blocks_nothing(file, cache):
    cache.cached = len(TEXT)
    file.seek(-10, os.SEEK_END)
    assert read(file, 100) == TEXT[-10:]
    assert read(file, 100) == b""
    assert cache.plain == []


def test_buffers_of_a_vector_are_filled_from_the_cache_and_from_the_disk(file, path):
    parts = [bytearray(7), bytearray(0), bytearray(9)]
    buffers = [memoryview(part) for part in parts]

    def main() -> None:
        evict(path)
        while file.try_read(buffers) == BLOCKED:
            file.wait(READ)
        assert b"".join(parts) == TEXT[:16]

    coop.run(main)


def test_a_whole_file_that_is_not_cached_is_read_in_order(file, path):
    big = os.urandom(1 << 20)
    path.write_bytes(big)

    def main() -> None:
        evict(path)
        got = b""
        while piece := read_waiting(file, 50_000):
            got += piece
        assert got == big

    coop.run(main)


def evict(path: Path) -> None:
    """Ask the kernel to forget a file's pages; it may have none to forget, and need not do it."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_cannot_tell_is_asked_once(code, file, monkeypatch):
    asked = []

    def cannot(*args):
        asked.append(args)
        raise OSError(code, "cannot tell")

    monkeypatch.setattr(hostfile.os, "preadv", cannot)
    assert read(file, 10) == TEXT[:10]
    assert file.try_read([memoryview(bytearray(5))]) == 5
    assert read(file, 10) == TEXT[15:25]
    assert len(asked) == 1


def test_an_error_of_the_disk_is_told_by_the_read_and_not_by_the_wait(file, cache, monkeypatch):
    cache.error = OSError(errno.EIO, "broken")

    def main() -> None:
        assert read(file, 10) == BLOCKED
        file.wait(READ)
        monkeypatch.setattr(hostfile.os, "readv", lambda *args: cache.preadv(*args, 0))
        with pytest.raises(OSError, match="broken"):
            read(file, 10)

    coop.run(main)


def test_without_a_helper_thread_the_read_is_made_all_the_same(file, cache, monkeypatch):
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def main() -> None:
        assert read(file, 10) == BLOCKED
        monkeypatch.setattr(threading.Thread, "start", none_left)
        file.wait(READ)
        monkeypatch.undo()
        assert read(file, 10) == TEXT[:10]

    coop.run(main)


def test_a_file_that_is_lent_is_read_plainly(path, cache):
    fd = os.open(path, os.O_RDONLY)
    lent = DiskFile(fd, stat.S_IFREG, lent=True)
    assert read(lent, 10) == TEXT[:10]
    assert cache.asked == 0
    lent.release()


# -- work that outlasts the file


class Stalled:
    """Stands in for a system call that takes its first argument, a descriptor, and does not come back."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.fds: list[int] = []
        self.inodes: list[int] = []

    def __call__(self, fd: int, *args: object) -> int:
        self.fds.append(fd)
        self.begun.set()
        assert self.go_on.wait(30)
        self.inodes.append(os.fstat(fd).st_ino)
        return 0


WORK = {
    "sync": ("fsync", os, lambda file: file.sync(data_only=False)),
    "sync of data": ("fdatasync", os, lambda file: file.sync(data_only=True)),
    "allocate": ("fallocate", hostsys, lambda file: file.allocate(0, 100)),
}


@pytest.mark.parametrize("what", WORK)
def test_work_in_a_thread_has_a_descriptor_of_its_own(what, file, path, monkeypatch):
    name, where, work = WORK[what]
    call = Stalled()
    monkeypatch.setattr(where, name, call)
    helper = threading.Thread(target=work, args=(file,))
    helper.start()
    assert call.begun.wait(30)
    number = file.fd
    file.release()
    reused = os.open(path.parent, os.O_RDONLY)
    call.go_on.set()
    helper.join()
    os.close(reused)
    assert number not in call.fds
    assert call.inodes == [path.stat().st_ino]


def test_work_that_begins_after_the_file_was_closed_is_refused(file):
    file.release()
    for _, _, work in WORK.values():
        with pytest.raises(OSError) as caught:
            work(file)
        assert caught.value.errno == errno.EBADF


def test_a_directory_is_synced(path):
    root = Dir(path.parent).open(None)  # type: ignore[arg-type]
    root.sync(data_only=False)
    root.sync(data_only=True)
    root.release()


# -- allocate


def test_where_room_cannot_be_kept_a_file_grows_all_the_same(file, monkeypatch):
    def cannot(*args: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "cannot")

    monkeypatch.setattr(hostsys, "fallocate", cannot)
    file.allocate(0, 100)
    assert file.stat().size == len(TEXT)
    file.allocate(len(TEXT), 50)
    assert file.stat().size == len(TEXT) + 50


def test_more_than_the_disk_has_is_refused_before_anything_is_taken(file, path):
    before = path.stat()
    with pytest.raises(OSError) as caught:
        file.allocate(0, 1 << 60)
    assert caught.value.errno == errno.ENOSPC
    assert (path.stat().st_size, path.stat().st_blocks) == (before.st_size, before.st_blocks)


def test_room_is_kept_on_a_file_system_that_can(file, path):
    file.allocate(len(TEXT), 1 << 20)
    assert path.stat().st_size == len(TEXT) + (1 << 20)
    assert path.read_bytes()[: len(TEXT)] == TEXT


# -- append


def test_a_libc_that_knows_no_appending_write_appends_all_the_same(file, path, monkeypatch):
    monkeypatch.setattr(hostfile, "_APPEND", 0)
    assert file.append([memoryview(b"en"), memoryview(b"d")]) == 3
    assert path.read_bytes() == TEXT + b"end"
    assert file.seek(0, os.SEEK_CUR) == 0


def test_a_forked_child_waits_for_no_helper_thread_of_its_parent():
    code = """
    import os
    from coop.fs.busy import job_on, working_on

    with open(__import__("sys").executable, "rb") as file, working_on(file.fileno()):
        child = os.fork()
        if not child:
            os._exit(job_on(file.fileno()) is not None)
        assert job_on(file.fileno()) is not None
    assert os.waitpid(child, 0)[1] == 0
    """
    run_child(code)
