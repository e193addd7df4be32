"""Holes that other runtimes had, each as a guest would try it here."""

import os
import tempfile
import threading
import time

import pytest

import coop
from tests.memory import forget_peak, peak
from tests.wasip1.places import ALL, ALL_OF_DIR, CREAT, DIRECTORY, READ, TRUNC, WRITE, Place, call
from tests.wasip1.script import DATA, END, OUT, SUBS, Script, clock_sub, scripted

BUFFER = 0x2000
U32, U64 = 2**32 - 1, 2**64 - 1


@pytest.mark.parametrize("rights", [READ, WRITE, READ | WRITE, 0, ALL, 1 << 19])
def test_nothing_is_cut_through_a_read_only_directory(rights, place):
    """GHSA-2r75-cxrj-cmph: an open with TRUNC asked for no right to write, and so was let through."""
    before = place.tree()

    def act(guest: Script):
        below = guest.open(3, b"dir", oflags=DIRECTORY, rights=ALL_OF_DIR)
        return [
            guest.open(fd, path, oflags=oflags, rights=rights)
            for fd, path in ((3, b"f"), (3, b"to_f"), (3, b"dir/g"), (below, b"g"))
            for oflags in (TRUNC, TRUNC | CREAT)
        ]

    assert place.run(act, read_only=True) == ["ROFS"] * 8
    assert place.tree() == before


@pytest.mark.parametrize("kind", ["host", "memory"])
def test_no_link_makes_a_file_of_a_read_only_directory_writable(kind, tmp_path):
    """GHSA-4ch3-9j33-3pmj: links and renames asked one directory for permission, and not the other."""
    place = Place(kind, tmp_path)
    before = place.tree()

    def act(guest: Script):
        # 3 and 4 are the same directory, once for writing; so the kernel would not mind.
        return [
            call(guest, name, here, *lookup, b"f", there, b"n")
            for here, there in ((3, 4), (4, 3), (4, 4))
            for name, lookup in (("path_link", (0,)), ("path_rename", ()))
        ]

    dirs = [place.grant(guest="/w"), place.grant(guest="/r", read_only=True)]
    assert scripted(act, dirs=dirs) == ["ROFS"] * 6
    assert place.tree() == before


@pytest.mark.parametrize("to", [0, 1, 2, 3, 4, 5, 6, 7, 8, 99, 2**31, U32 - 1, U32])
@pytest.mark.parametrize("fd", [0, 1, 3, 4, 6, 99, U32])
def test_no_renumbering_ends_the_host(fd, to, place):
    """GHSA-fm79-3f68-h2fc (wasmtime PR 11276): a descriptor renumbered onto nothing made wasmtime panic."""

    def act(guest: Script):
        opened = guest.open(4, b"f"), guest.open(4, b"dir", oflags=DIRECTORY), guest.open(4, b"f")
        assert opened == (5, 6, 7)
        answer = guest.fd_renumber(fd, to)
        again = guest.fd_renumber(fd, to)
        return answer, again, guest.sched_yield()

    def main():
        with Script(listen=["127.0.0.1:0"], dirs=[place.grant()], stdin=b"x") as guest:
            return act(guest)

    is_open = {fd, to} <= set(range(8))
    same = fd == to
    expected = ("SUCCESS", "SUCCESS" if same else "BADF") if is_open else ("BADF", "BADF")
    assert coop.run(main) == (*expected, "SUCCESS")


def test_counts_that_a_guest_chooses_cost_the_host_nothing(place):
    """GHSA-852m-cvvp-9p4w, GHSA-243v-98vx-264h: the host made room for as much as the guest said."""

    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL)
        guest.fd_prestat_dir_name(3, DATA, U32)
        before = forget_peak()
        for _ in range(20):
            for iovs in (0, END - 8, END - 8 * 1024):
                for name in ("fd_read", "fd_write"):
                    guest.call(name, fd, iovs, U32, OUT)
                for name in ("fd_pread", "fd_pwrite"):
                    guest.call(name, fd, iovs, U32, 0, OUT)
            guest.fd_readdir(3, 0, END, 0, OUT)
            guest.fd_readdir(3, 1, U32, 0, OUT)
            guest.poll_oneoff(0, 0, U32, OUT)
            guest.random_get(0, U32)
            for length in (END, 2**31, U32):
                guest.path_open(3, 0, 0, length, 0, 0, 0, 0, OUT)
                guest.path_symlink(0, length, 3, 0, length)
                guest.path_readlink(3, 0, length, 0, length, OUT)
            guest.fd_allocate(fd, 0, 1 << 50)
            guest.fd_filestat_set_size(fd, 1 << 40)
            guest.fd_filestat_set_size(fd, 6)
        return peak() - before

    assert place.run(act) < 32 << 10  # KiB


def test_an_iovec_array_of_overlapping_giants_moves_no_more_than_one_call_may(place):
    """Each of 1024 entries names all of memory: together they are 128 MiB."""

    def act(guest: Script):
        guest.put(BUFFER, (0).to_bytes(4, "little") + END.to_bytes(4, "little"))
        guest.put(BUFFER, guest.got(BUFFER, 8) * 1024)
        fd = guest.open(3, b"n", oflags=CREAT, rights=ALL)
        assert guest.fd_write(fd, BUFFER, 1024, OUT) == "SUCCESS"
        return guest.u32()

    limits = coop.Limits(bytes_per_call=1 << 20)
    assert place.run(act, limits=limits) == 1 << 20


FAR = (U64, U64 - 1, 2**63, 2**63 - 1, 2**63 + 1)


@pytest.mark.parametrize("timeout", FAR)
@pytest.mark.parametrize(("clock", "flags"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_a_time_far_off_does_not_wrap_to_one_that_is_past(timeout, clock, flags):
    """wasmtime's PR 13566: an absolute time was taken from now, or now from it, in the wrong order."""

    def act(guest: Script):
        events = guest.poll(clock_sub(1, timeout, clock=clock, flags=flags), clock_sub(2, 1))
        return [(userdata, error) for userdata, error, *_ in events]

    assert scripted(act) == [(2, "SUCCESS")]


@pytest.mark.parametrize("clock", [0, 1])
@pytest.mark.parametrize("timeout", [0, 1, 10**9])
def test_an_absolute_time_that_is_past_is_due_and_does_not_wrap_to_the_far_future(clock, timeout):
    def act(guest: Script):
        begin = time.monotonic()
        guest.put(SUBS, clock_sub(1, timeout, clock=clock, flags=1))
        assert guest.poll(clock_sub(1, timeout, clock=clock, flags=1))[0][:2] == (1, "SUCCESS")
        return time.monotonic() - begin

    assert scripted(act) < 10


def test_no_name_leads_out_while_a_directory_is_swapped_for_a_link(tmp_path):
    """Races between a look and an open: a thread swaps `d` for a link to what lies outside, for a second."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "d").mkdir(parents=True)
    outside.mkdir()
    (outside / "f").write_bytes(b"secret")
    (root / "d" / "f").write_bytes(b"inside")
    (root / "link").symlink_to("../outside")
    ends = time.monotonic() + 1
    rounds = 0

    def swap() -> None:
        nonlocal rounds
        while time.monotonic() < ends:
            os.rename(root / "d", root / "kept")
            os.rename(root / "link", root / "d")
            os.rename(root / "d", root / "link")
            os.rename(root / "kept", root / "d")
            rounds += 1

    def act(guest: Script) -> set[bytes | str]:
        seen: set[bytes | str] = set()
        while swapper.is_alive():
            fd = guest.open(3, b"d/f", rights=READ)
            if isinstance(fd, int):
                seen.add(guest.read(fd))
                guest.fd_close(fd)
            new = guest.open(3, b"d/new", oflags=CREAT, rights=WRITE)
            if isinstance(new, int):
                guest.write(new, b"mine")
                guest.fd_close(new)
            for name, *arguments in (
                ("path_create_directory", 3, b"d/dir"),
                ("path_symlink", b"f", 3, b"d/sym"),
                ("path_link", 3, 0, b"d/f", 3, b"stolen"),
                ("path_rename", 3, b"d/f", 3, b"d/f2"),
                ("path_rename", 3, b"d/f2", 3, b"d/f"),
                ("path_filestat_set_times", 3, 1, b"d/f", 1, 1, 5),
                ("path_unlink_file", 3, b"d/new"),
                ("path_unlink_file", 3, b"d/sym"),
                ("path_remove_directory", 3, b"d/dir"),
                ("path_unlink_file", 3, b"stolen"),
            ):
                call(guest, name, *arguments)
            below = guest.open(3, b"d", oflags=DIRECTORY, rights=ALL_OF_DIR)
            if isinstance(below, int):
                inside = guest.open(below, b"f", rights=READ)
                if isinstance(inside, int):
                    seen.add(guest.read(inside))
                    guest.fd_close(inside)
                guest.fd_close(below)
        return seen

    was = outside.stat().st_mtime_ns, (outside / "f").stat()
    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        assert scripted(act, dirs=[root]) == {b"inside"}
    finally:
        swapper.join()
    assert rounds > 10
    now = (outside / "f").stat()
    assert (outside.stat().st_mtime_ns, now.st_mtime_ns, now.st_nlink) == (was[0], was[1].st_mtime_ns, 1)
    assert os.listdir(outside) == ["f"]


def test_a_temporary_directory_beside_is_not_reached_by_a_prefix_of_its_name():
    """Comparing names as text would let `/tmp/ab` be reached from `/tmp/a`."""
    with tempfile.TemporaryDirectory() as parent:
        for name in ("a", "ab"):
            os.mkdir(os.path.join(parent, name))
        with open(os.path.join(parent, "ab", "f"), "wb") as file:
            file.write(b"secret")

        def act(guest: Script):
            return [guest.open(3, path) for path in (b"../ab/f", b"b/f", b"../a/../ab/f")]

        assert scripted(act, dirs=[os.path.join(parent, "a")]) == ["PERM", "NOENT", "PERM"]
