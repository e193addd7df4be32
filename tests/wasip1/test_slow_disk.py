"""A guest whose file is not in the page cache gets its bytes, and is never told to come again."""

import errno
import os
import threading

import pytest

import coop
from coop.fs import hostfile
from coop.scheduler import scheduler
from tests.wasip1.script import DATA, OUT, Script, scripted

READ, SEEK = 1 << 1, 1 << 2
NONBLOCK = 4


@pytest.fixture
def misses(monkeypatch) -> list[int]:
    """How often the cache was asked; it never has anything."""
    asked = []

    def preadv(fd, buffers, offset, flags=0):
        if flags:
            asked.append(fd)
            raise BlockingIOError(errno.EAGAIN, "not in the cache")
        return plain(fd, buffers, offset)

    plain = os.preadv
    monkeypatch.setattr(hostfile.os, "preadv", preadv)
    return asked


@pytest.mark.parametrize("fdflags", [0, NONBLOCK])
def test_a_file_that_is_not_cached_is_read_all_the_same(fdflags, tmp_path, misses):
    (tmp_path / "f").write_bytes(b"from the disk")

    def act(guest: Script):
        guest.put(DATA, b"f")
        opened = guest.path_open(3, 0, DATA, 1, 0, READ | SEEK, 0, fdflags, OUT)
        fd = guest.u32()
        got = []
        for name, place in (("fd_read", ()), ("fd_read", ()), ("fd_pread", (5,)), ("fd_read", ())):
            error = getattr(guest, name)(fd, *guest.iovecs((DATA, 4)), *place, OUT)
            got.append((error, guest.got(DATA, guest.u32())))
        return opened, got

    opened, got = scripted(act, dirs=[coop.Dir(tmp_path, "/")])
    parts = [b"from", b" the", b"the ", b" dis"]
    assert (opened, got) == ("SUCCESS", [("SUCCESS", part) for part in parts])
    assert len(misses) == 4


def test_a_guest_that_is_cancelled_while_the_disk_is_slow_leaves_nothing_open(tmp_path, misses, monkeypatch):
    (tmp_path / "f").write_bytes(b"from the disk")
    helpers, go_on = [], threading.Event()
    reads = hostfile.os.preadv

    def act(guest: Script):
        owner = scheduler()

        def stalled(fd, buffers, offset, flags=0):
            if not flags:
                helpers.append((threading.current_thread(), fd))
                owner.post(guest.guest.cancel)
                assert go_on.wait(30)
            return reads(fd, buffers, offset, flags)

        monkeypatch.setattr(hostfile.os, "preadv", stalled)
        fd = guest.open(3, b"f")
        with pytest.raises(coop.WasCancelled):
            guest.read(fd)

    scripted(act, dirs=[coop.Dir(tmp_path, "/")])
    ((helper, fd),) = helpers
    assert os.readlink(f"/proc/self/fd/{fd}") == str(tmp_path / "f")
    go_on.set()
    helper.join()
