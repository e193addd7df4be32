"""wasi_unstable: the functions of preview 1 with three layouts of its own, on the same descriptors."""

import os
import socket
import struct
import time

import pytest

import coop
from coop.netpoll import FdPool
from coop.wasip1.imports import SNAPSHOT1
from coop.wasip1.snapshot0 import SNAPSHOT0, as_snapshot1
from tests.children import ROOT
from tests.guestbuild import ToolchainMissing, c_guest
from tests.wasip1.script import (
    DATA,
    END,
    EVENTS,
    GUARD,
    OUT,
    POLLERS,
    SUBS,
    Script,
    fd_sub,
    loaded,
    scripted,
    wat,
)
from tests.wasip1.script import clock_sub as new_clock_sub

CLOCK, READ, WRITE = 0, 1, 2
NEVER = 2**64 - 1
MS = 1_000_000
FILESTAT = struct.Struct("<QQB3xIQQQQ")

every_poller = pytest.mark.parametrize("poller", POLLERS)


@pytest.fixture(scope="module")
def old():
    """The script guest of the older snapshot."""
    return coop.Module.from_bytes(wat(SNAPSHOT0), name="old script")


def clock_sub(userdata: int, timeout: int, *, clock: int = 1, flags: int = 0) -> bytes:
    """A clock's subscription, its identifier all ones."""
    return struct.pack("<QB7xQI4xQQH6x", userdata, CLOCK, NEVER, clock, timeout, 0, flags)


def old_fd_sub(userdata: int, kind: int, fd: int) -> bytes:
    return struct.pack("<QB7xI36x", userdata, kind, fd)


# -- the table


@pytest.mark.seed("F7")
def test_it_has_the_functions_of_preview_1_but_for_sock_accept_with_the_same_types():
    mine = {raw.name: (raw.params, raw.results, raw.parks) for raw in SNAPSHOT0.imports}
    theirs = {raw.name: (raw.params, raw.results, raw.parks) for raw in SNAPSHOT1.imports}
    assert len(mine) == 45
    assert mine == {name: types for name, types in theirs.items() if name != "sock_accept"}


def test_only_what_is_laid_out_otherwise_has_code_of_its_own():
    theirs = {raw.name: raw.call for raw in SNAPSHOT1.imports}
    own = {raw.name for raw in SNAPSHOT0.imports if raw.call is not theirs[raw.name]}
    assert own == {"fd_seek", "fd_filestat_get", "path_filestat_get", "poll_oneoff"}


def test_a_function_it_does_not_have_is_named():
    text = '(module (import "wasi_unstable" "sock_accept" (func (param i32 i32 i32) (result i32))))'
    guest = coop.Guest(coop.Module.from_bytes(text, name="wants"))
    with pytest.raises(coop.LinkError, match=r"wasi_unstable\.sock_accept is not provided"):
        coop.run(guest.run)


@pytest.mark.seed("F8")
def test_signals_are_not_supported_and_sockets_are(old):
    left, right = socket.socketpair()
    with left, right:

        def act(guest: Script):
            right.send(b"in")
            found = guest.proc_raise(9), guest.recv(3), guest.send(3, b"out"), guest.sock_shutdown(3, 2)
            return found, right.recv(9), right.recv(9), guest.recv(0), guest.sock_shutdown(99, 1)

        found = scripted(act, module=old, connections=[left])
    assert found == (("NOTSUP", b"in", 3, "SUCCESS"), b"out", b"", "NOTSOCK", "BADF")


# -- one pool


BOTH = """(module
  (import "wasi_unstable" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_unstable" "fd_close" (func $old_close (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "f")
  (func (export "open") (result i32)
    (i32.store (i32.const 8)
      (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)
        (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 4)))
    (if (result i32) (i32.load (i32.const 8))
      (then (i32.sub (i32.const 0) (i32.load (i32.const 8))))
      (else (i32.load (i32.const 4)))))
  (func (export "close") (param i32) (result i32) (call $close (local.get 0)))
  (func (export "old_close") (param i32) (result i32) (call $old_close (local.get 0))))"""


@pytest.mark.seed("F6", "F7")
def test_a_guest_of_both_opens_with_one_and_closes_with_the_other(tmp_path):
    (tmp_path / "f").touch()

    def main():
        with coop.Guest(coop.Module.from_bytes(BOTH), dirs=[tmp_path]) as guest:
            first, second = guest.call("open"), guest.call("open")
            closed = (
                guest.call("close", first),
                guest.call("old_close", first),
                guest.call("old_close", second),
            )
            return first != second, closed, guest.call("close", second)

    assert coop.run(main) == (True, (0, 8, 0), 8)


@pytest.mark.seed("F6")
def test_the_numbers_of_both_come_from_one_pool(tmp_path, monkeypatch):
    (tmp_path / "f").touch()
    made = []

    class Seen(FdPool):
        def __init__(self, *given) -> None:
            super().__init__(*given)
            made.append(self)

    monkeypatch.setattr("coop.wasip1.fdtable.FdPool", Seen)

    def main():
        with coop.Guest(coop.Module.from_bytes(BOTH), dirs=[tmp_path]) as guest:
            guest.call("open")
            return [len(pool) for pool in made]

    assert coop.run(main) == [5]  # three streams, the directory and the file


@pytest.mark.seed("F9")
def test_a_full_table_says_so_by_its_own_errno_and_a_number_given_back_is_enough_for_the_next(tmp_path):
    """Which number that is, no guest is promised."""
    (tmp_path / "f").touch()
    mfile = 33

    def main():
        limits = coop.Limits(fds=6)
        with coop.Guest(coop.Module.from_bytes(BOTH), dirs=[tmp_path], limits=limits) as guest:
            opened = [guest.call("open") for _ in range(3)]
            guest.call("old_close", opened[0])
            again = guest.call("open")
            return len({*opened[:2]}), opened[2], again not in {0, 1, 2, 3, opened[1]} and again > 0

    assert coop.run(main) == (2, -mfile, True)


def test_a_guest_of_preview_1_alone_is_not_given_the_shim_of_the_other():
    def main():
        mine = coop.Module.from_bytes(
            '(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))) (func (export "f")))'
        )
        of_both = coop.Module.from_bytes(
            '(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))'
            ' (import "wasi_unstable" "sched_yield" (func (result i32))) (func (export "f")))'
        )
        with coop.Guest(mine) as guest, coop.Guest(of_both) as both:
            guest.call("f")
            both.call("f")
            return [len(each._instance.linkage.shims) for each in (guest, both)]

    assert coop.run(main) == [1, 2]


# -- layouts


def old_filestat(found: os.stat_result) -> bytes:
    return FILESTAT.pack(
        *(found.st_dev, found.st_ino, 4, found.st_nlink, found.st_size),
        *(found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns),
    )


def test_a_filestat_has_56_bytes_and_nlink_beside_the_filetype(old, tmp_path):
    (tmp_path / "f").write_bytes(b"12345")
    os.link(tmp_path / "f", tmp_path / "g")
    found = os.stat(tmp_path / "f")
    assert old_filestat(found)[16:32] == b"\4\0\0\0" + b"\2\0\0\0" + b"\5" + bytes(7)

    def act(guest: Script):
        fd = guest.open(3, b"f")
        guest.put(0, GUARD * END)
        assert guest.fd_filestat_get(fd, DATA) == "SUCCESS"
        of_fd = guest.only_changed(DATA, old_filestat(found))
        guest.put(0, GUARD * END)
        guest.put(OUT, b"f")
        assert guest.path_filestat_get(3, 1, OUT, 1, DATA) == "SUCCESS"
        guest.put(OUT, GUARD)
        return of_fd, guest.only_changed(DATA, old_filestat(found))

    assert scripted(act, module=old, dirs=[tmp_path]) == (True, True)


def test_a_filestat_may_end_where_memory_ends_and_not_behind_it(old, tmp_path):
    (tmp_path / "f").touch()

    def act(guest: Script):
        guest.put(OUT, b"f")
        return [
            (guest.fd_filestat_get(0, at), guest.path_filestat_get(3, 1, OUT, 1, at))
            for at in (END - 56, END - 55)
        ]

    assert scripted(act, module=old, dirs=[tmp_path]) == [("SUCCESS", "SUCCESS"), ("FAULT", "FAULT")]


@pytest.mark.seed("F7")
def test_whence_is_here_end_start(old, tmp_path):
    (tmp_path / "f").write_bytes(bytes(100))

    def act(guest: Script):
        fd = guest.open(3, b"f", rights=(1 << 1) | (1 << 2))
        moves = [(7, 2), (5, 0), (-1, 1), (0, 0), (0, 3), (0, 2**32 - 1)]
        return [
            (guest.fd_seek(fd, offset & (2**64 - 1), whence, OUT), guest.u64()) for offset, whence in moves
        ]

    found = scripted(act, module=old, dirs=[tmp_path])
    assert found == [("SUCCESS", n) for n in (7, 12, 99, 99)] + [("INVAL", 99)] * 2


# -- poll_oneoff


@pytest.mark.seed("F7")
def test_a_subscription_has_56_bytes_with_an_identifier_before_a_clocks_own():
    clock = clock_sub(0x1111, 0x3333, clock=0x22, flags=1)
    assert len(clock) == len(old_fd_sub(1, READ, 2)) == 56
    assert struct.unpack_from("<Q", clock, 16) + struct.unpack_from("<I", clock, 24) == (NEVER, 0x22)
    assert struct.unpack_from("<Q", clock, 32) + struct.unpack_from("<H", clock, 48) == (0x3333, 1)
    mixed = memoryview(clock + old_fd_sub(5, WRITE, 9) + clock)
    expected = new_clock_sub(0x1111, 0x3333, clock=0x22, flags=1)
    assert as_snapshot1(mixed) == expected + fd_sub(5, WRITE, 9) + expected


@every_poller
def test_clocks_and_descriptors_are_polled_together(old, poller):
    left, right = socket.socketpair()
    with left, right:

        def act(guest: Script):
            silent = guest.poll(clock_sub(1, MS), old_fd_sub(2, READ, 3))
            coop.spawn(right.send, b"abc")
            told = guest.poll(clock_sub(1, NEVER), old_fd_sub(2, READ, 3))
            again = guest.poll(old_fd_sub(2, READ, 3), clock_sub(9, 0), old_fd_sub(4, WRITE, 3))
            return silent, [event[:3] for event in told], [event[:3] for event in again]

        silent, told, again = scripted(act, module=old, connections=[left], poller=poller)
    assert silent == [(1, "SUCCESS", CLOCK, 0, 0)]
    assert told == [(2, "SUCCESS", READ)]
    assert again == [(2, "SUCCESS", READ), (4, "SUCCESS", WRITE), (9, "SUCCESS", CLOCK)]


def test_an_absolute_time_is_of_the_clock_behind_the_identifier(old):
    def act(guest: Script):
        start = time.time_ns()
        found = guest.poll(clock_sub(1, start + 2 * MS, clock=0, flags=1))
        return found, time.time_ns() - start

    found, passed = scripted(act, module=old)
    assert found == [(1, "SUCCESS", CLOCK, 0, 0)]
    assert passed >= 2 * MS - 100_000


def test_what_cannot_be_polled_is_an_event_with_its_errno(old):
    def act(guest: Script):
        return guest.poll(
            clock_sub(1, 0, clock=9),
            old_fd_sub(2, READ, 99),
            struct.pack("<QB47x", 3, 200),
            clock_sub(4, NEVER),
        )

    found = scripted(act, module=old)
    assert sorted(event[:2] for event in found) == [(1, "INVAL"), (2, "BADF"), (3, "INVAL")]


@pytest.mark.parametrize(
    ("subs", "count", "errno"), [(END - 55, 1, "FAULT"), (END - 111, 2, "FAULT"), (SUBS, 0, "INVAL")]
)
def test_an_array_of_56_byte_entries_must_lie_in_memory(old, subs, count, errno):
    def act(guest: Script):
        image = guest.image()
        return guest.poll_oneoff(subs, EVENTS, count, OUT), guest.image() == image

    assert scripted(act, module=old) == (errno, True)


def test_the_last_entry_may_end_where_memory_ends_and_the_array_is_not_written_to(old):
    def act(guest: Script):
        subs = clock_sub(1, 0) + old_fd_sub(2, READ, 0)
        guest.put(END - 112, subs)
        assert guest.poll_oneoff(END - 112, EVENTS, 2, OUT) == "SUCCESS"
        return guest.u32(), guest.got(END - 112, 112) == subs

    assert scripted(act, module=old) == (2, True)


# -- programs


@pytest.fixture(scope="module")
def program():
    """Built and loaded before the test looks for leaks."""
    try:
        return loaded(c_guest(ROOT / "tests" / "guests" / "snapshot0.c"))
    except ToolchainMissing as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_c_program_of_both_gets_on_with_either(program, tmp_path):
    (tmp_path / "f").write_bytes(b"some bytes")
    out, err = bytearray(), bytearray()
    guest = coop.Guest(program, args=["f"], stdout=out, stderr=err, dirs=[coop.Dir(tmp_path, ".")])
    code = coop.run(guest.run)
    assert (code, err) == (0, b"")
    assert b"NO" not in out
    assert out.endswith(b"close: yes\nwritten by the old one\n")
