"""Disks that are full, quotas that are reached, files that are too long, reads that fail: errnos, as far as
a host can be had that has them."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import coop
from tests.wasip1.places import ALL, CREAT, WRITE, call
from tests.wasip1.script import OUT, Script, scripted

BUFFER = 0x2000
LIMIT = 1 << 20


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Have the kernel refuse to write files longer than that, as a quota of the process."""
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, was[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_would_be_too_long_is_refused_by_every_call(host_place):
    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL)
        vecs = guest.iovecs((BUFFER, 8))
        assert guest.fd_seek(fd, LIMIT, 0, OUT) == "SUCCESS"
        with no_file_longer_than(LIMIT):
            return [
                guest.fd_write(fd, *vecs, OUT),
                guest.fd_pwrite(fd, *vecs, LIMIT, OUT),
                guest.fd_filestat_set_size(fd, LIMIT + 1),
                guest.fd_allocate(fd, 0, LIMIT + 1),
            ]

    assert host_place.run(act) == ["FBIG"] * 4
    assert host_place.read(b"f") == b"inside"


def test_a_full_device_has_no_room():
    def act(guest: Script):
        fd = guest.open(3, b"full", rights=WRITE)
        return guest.write(fd, b"x"), guest.write(fd, b"x" * 100)

    assert scripted(act, dirs=["/dev"]) == ("NOSPC", "NOSPC")


def test_what_the_host_cannot_read_is_an_error_and_no_end():
    """The first page of a process is never mapped, and its memory is a regular file."""

    def act(guest: Script):
        fd = guest.open(3, b"mem", rights=ALL & ~WRITE)
        return guest.read(fd), guest.fd_pread(fd, *guest.iovecs((BUFFER, 8)), 0, OUT)

    assert scripted(act, dirs=[f"/proc/{os.getpid()}"]) == ("IO", "IO")


def test_a_memory_directory_takes_no_more_bytes_than_it_may_have(caplog):
    memory = coop.MemDir({"f": b"inside"}, max_bytes=1000)

    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL)
        wrong = [guest.fd_allocate(fd, 0, 1 << 30)]
        written = 0
        while not isinstance(count := guest.write(fd, b"x" * 300), str):
            written += count
        return wrong, count, written, guest.fd_pwrite(fd, *guest.iovecs((BUFFER, 8)), 1 << 40, OUT)

    wrong, error, written, far = scripted(act, dirs=[memory])
    assert error in {"NOSPC", "DQUOT"}
    assert wrong == [error]
    assert far == error
    assert 0 < written <= 1000
    assert len(memory.read("f")) == written


MAKERS = [
    ("path_create_directory", 3, b"n"),
    ("path_symlink", b"f", 3, b"n"),
    ("path_open", 3, 1, b"n", CREAT, WRITE, 0, 0, OUT),
]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make[0])
def test_a_memory_directory_takes_no_more_names_than_it_may_have(make):
    memory = coop.MemDir({"f": b"inside", "g": b""}, max_entries=2)

    def act(guest: Script):
        full = call(guest, *make)
        assert call(guest, "path_unlink_file", 3, b"g") == "SUCCESS"
        return full, call(guest, *make)

    full, then = scripted(act, dirs=[memory])
    assert full in {"NOSPC", "DQUOT"}
    assert then == "SUCCESS"
