"""What is asked of an open file: bytes at positions, size, room, times, advice - on every file system."""

import struct

import pytest

import coop
from tests.wasip1.places import ALL, CREAT, READ, SEEK, TELL, WRITE, call
from tests.wasip1.script import DATA, GUARD, IOVS, OUT, Script

APPEND = 1
BUFFER = 0x2000


def pread(guest: Script, fd: int, offset: int, *sizes: int) -> bytes | str:
    """fd_pread into buffers with gaps between them: the bytes, or the errno's name."""
    vecs = [(BUFFER + 0x100 * i, size) for i, size in enumerate(sizes)]
    error = guest.fd_pread(fd, *guest.iovecs(*vecs), offset, OUT)
    if error != "SUCCESS":
        return error
    return b"".join(guest.got(*vec) for vec in vecs)[: guest.u32()]


def pwrite(guest: Script, fd: int, offset: int, *parts: bytes) -> int | str:
    vecs = [(BUFFER + 0x100 * i, guest.put(BUFFER + 0x100 * i, part)) for i, part in enumerate(parts)]
    error = guest.fd_pwrite(fd, *guest.iovecs(*vecs), offset, OUT)
    return guest.u32() if error == "SUCCESS" else error


def tell(guest: Script, fd: int) -> int | str:
    error = guest.fd_tell(fd, OUT)
    return guest.u64() if error == "SUCCESS" else error


def size_of(guest: Script, fd: int) -> int:
    assert guest.fd_filestat_get(fd, OUT) == "SUCCESS"
    return guest.u64(OUT + 32)


# -- reading and writing at a position


@pytest.mark.parametrize(
    ("offset", "sizes", "expected"),
    [
        (0, (6,), b"inside"),
        (2, (2,), b"si"),
        (1, (2, 2), b"nsid"),
        (1, (0, 2, 0, 9), b"nside"),
        (5, (64,), b"e"),
        (6, (64,), b""),
        (2**62, (64,), b""),
        (0, (), b""),
        (2**63 - 1, (), b""),
        (0, (0,), b""),
    ],
)
def test_a_file_is_read_at_a_position_and_its_own_stays(offset, sizes, expected, any_place):
    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL & ~WRITE)
        guest.read(fd, 3)
        return pread(guest, fd, offset, *sizes), tell(guest, fd)

    assert any_place.run(act) == (expected, 3)


def test_a_read_at_a_position_stores_its_bytes_and_their_number_alone(any_place):
    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL & ~WRITE)
        guest.iovecs((BUFFER, 2), (BUFFER + 16, 100))
        image = bytearray(guest.image())
        assert guest.fd_pread(fd, IOVS, 2, 1, OUT) == "SUCCESS"
        image[BUFFER : BUFFER + 2], image[BUFFER + 16 : BUFFER + 19] = b"ns", b"ide"
        image[OUT : OUT + 4] = struct.pack("<I", 5)
        return guest.image() == image

    assert any_place.run(act)


@pytest.mark.parametrize(
    ("offset", "parts", "expected"),
    [
        (0, (b"XY",), b"XYside"),
        (4, (b"1", b"23", b"4"), b"insi1234"),
        (9, (b"!",), b"inside\0\0\0!"),
        (1, (b"", b"N"), b"iNside"),
        (3, (), b"inside"),
    ],
)
def test_a_file_is_written_at_a_position_and_its_own_stays(offset, parts, expected, place):
    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL)
        guest.read(fd, 3)
        return pwrite(guest, fd, offset, *parts), tell(guest, fd)

    assert place.run(act) == (sum(map(len, parts)), 3)
    assert place.read(b"f") == expected


def test_a_file_that_appends_is_written_at_its_end_even_at_a_position(place):
    """As Linux does it, and native wasmtime there."""

    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL, fdflags=APPEND)
        return pwrite(guest, fd, 0, b"+1"), guest.write(fd, b"+2")

    assert place.run(act) == (2, 2)
    assert place.read(b"f") == b"inside+1+2"


def test_more_than_one_call_may_move_is_cut(place):
    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL)
        return pread(guest, fd, 0, 3, 3), pwrite(guest, fd, 0, b"ABC", b"DEF"), pread(guest, fd, 0, 64)

    limits = coop.Limits(bytes_per_call=4)
    assert place.run(act, limits=limits) == (b"insi", 4, b"ABCD")
    assert place.read(b"f") == b"ABCDde"


def test_a_far_position_makes_a_hole_of_zeroes(place):
    far = 5 << 30

    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL)
        assert pwrite(guest, fd, far, b"end") == 3
        assert guest.fd_seek(fd, 2**64 - 4, 2, OUT) == "SUCCESS"
        at, last = guest.u64(), guest.read(fd)
        return size_of(guest, fd), at, last, pread(guest, fd, 6, 3), pread(guest, fd, far - 1, 9)

    assert place.run(act) == (far + 3, far - 1, b"\0end", b"\0\0\0", b"\0end")


@pytest.mark.parametrize(
    ("offset", "whence", "at"), [(2, 0, 2), (2**64 - 1, 1, 2), (1, 2, 7), (2**40, 0, 2**40)]
)
def test_a_position_is_moved_from_the_start_here_or_the_end(offset, whence, at, any_place):
    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL & ~WRITE)
        guest.read(fd, 3)
        image = bytearray(guest.image())
        image[OUT : OUT + 8] = struct.pack("<Q", at)
        assert guest.fd_seek(fd, offset, whence, OUT) == "SUCCESS"
        return guest.image() == image, tell(guest, fd)

    assert any_place.run(act) == (True, at)


# -- size and room


@pytest.mark.parametrize("size", [0, 3, 6, 10, 3 << 30])
def test_a_size_is_set_and_the_position_stays(size, place):
    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL)
        guest.read(fd, 5)
        assert guest.fd_filestat_set_size(fd, size) == "SUCCESS"
        return size_of(guest, fd), tell(guest, fd), pread(guest, fd, 0, 10)

    assert place.run(act) == (size, 5, (b"inside" + bytes(4))[: min(size, 10)])


@pytest.mark.parametrize(("offset", "length", "size"), [(0, 3, 6), (0, 6, 6), (4, 10, 14), (100, 1, 101)])
def test_room_for_a_range_makes_a_file_long_enough_and_never_shorter(offset, length, size, place):
    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL)
        assert guest.fd_allocate(fd, offset, length) == "SUCCESS"
        return size_of(guest, fd), pread(guest, fd, 0, 6)

    assert place.run(act) == (size, b"inside")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("length", [1 << 45, 1 << 62, 2**63 - 1])
def test_room_that_no_disk_has_is_refused_at_once(length, place):
    before = place.tree()

    def act(guest: Script):
        return guest.fd_allocate(guest.open(3, b"f", rights=ALL), 0, length)

    assert place.run(act) in {"NOSPC", "FBIG", "DQUOT"}
    assert place.tree() == before


@pytest.mark.parametrize("advice", range(6))
def test_any_advice_is_taken_and_changes_nothing(advice, any_place):
    before = any_place.tree()

    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL & ~WRITE)
        return [guest.fd_advise(fd, *part, advice) for part in ((0, 0), (2, 2), (100, 2**40), (2**62, 0))]

    assert any_place.run(act) == ["SUCCESS"] * 4
    assert any_place.tree() == before


# -- times


@pytest.mark.parametrize("path", [b"f", b"dir"])
def test_times_of_a_descriptor_are_set(path, place):
    def act(guest: Script):
        fd = guest.open(3, path, rights=ALL & ~WRITE)
        assert guest.fd_filestat_set_times(fd, 12_345_678_901, 7, 5) == "SUCCESS"
        assert guest.fd_filestat_set_times(fd, 99, 8, 4) == "SUCCESS"
        assert guest.fd_filestat_set_times(fd, 99, 99, 0) == "SUCCESS"
        assert guest.fd_filestat_get(fd, OUT) == "SUCCESS"
        return struct.unpack_from("<40xQQ", guest.got(OUT, 64))

    assert place.run(act) == (12_345_678_901, 8)


def test_a_descriptor_gets_now(place):
    def act(guest: Script):
        fd = guest.open(3, b"f", rights=ALL)
        assert guest.fd_filestat_set_times(fd, 1, 1, 5) == "SUCCESS"
        assert guest.fd_filestat_set_times(fd, 5, 5, 2 | 4) == "SUCCESS"
        assert guest.fd_filestat_get(fd, OUT) == "SUCCESS"
        return struct.unpack_from("<40xQQ", guest.got(OUT, 64))

    atime, mtime = place.run(act)
    assert (atime > 10**18, mtime) == (True, 5)


# -- rights that go together


def test_positions_need_the_right_to_seek_and_telling_either(place):
    def act(guest: Script):
        both = guest.open(3, b"f", rights=READ | WRITE | SEEK)
        tells = guest.open(3, b"f", rights=READ | TELL)
        return (
            [pread(guest, fd, 0, 2) for fd in (both, tells)],
            pwrite(guest, both, 0, b"x"),
            [tell(guest, fd) for fd in (both, tells)],
            [guest.fd_seek(tells, *move, OUT) for move in ((0, 1), (1, 1), (0, 0))],
        )

    expected = ([b"in", "NOTCAPABLE"], 1, [0, 0], ["SUCCESS", "NOTCAPABLE", "NOTCAPABLE"])
    assert place.run(act) == expected


def test_only_what_has_changed_is_stored_for_a_filestat(place):
    def act(guest: Script):
        fd = guest.open(3, b"new", oflags=CREAT, rights=ALL)
        guest.write(fd, b"0123456789")
        before = guest.got(0, OUT), guest.got(OUT + 64, 64)
        assert guest.fd_filestat_get(fd, OUT) == "SUCCESS"
        filetype, nlink, size = struct.unpack_from("<16xB7xQQ", guest.got(OUT, 64))
        padding = guest.got(OUT + 17, 7)
        return (guest.got(0, OUT), guest.got(OUT + 64, 64)) == before, filetype, nlink, size, padding

    assert place.run(act) == (True, 4, 1, 10, bytes(7))


def test_streams_have_no_positions_and_lose_no_bytes_by_it(place):
    def act(guest: Script):
        guest.put(DATA, GUARD * 8)
        return pread(guest, 0, 0, 3), pwrite(guest, 1, 0, b"x"), guest.read(0), call(guest, "fd_tell", 0, OUT)

    out = bytearray()
    assert place.run(act, stdin=b"abc", stdout=out) == ("SPIPE", "SPIPE", b"abc", "SPIPE")
    assert out == b""
