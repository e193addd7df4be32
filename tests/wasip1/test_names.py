"""Directories and links made, moved and removed: what a guest finds afterwards, on every file system."""

import struct

import pytest

from tests.wasip1.places import ALL_OF_DIR, CREAT, DIRECTORY, READ, WRITE, call
from tests.wasip1.script import DATA, END, GUARD, OUT, Script

BUFFER = 0x2000


def inode(guest: Script, path: bytes, lookup: int = 0) -> tuple[int, int, int]:
    """The inode, type and number of names of what a path names."""
    assert call(guest, "path_filestat_get", 3, lookup, path, OUT) == "SUCCESS"
    ino, filetype, nlink = struct.unpack_from("<8xQB7xQ", guest.got(OUT, 64))
    return ino, filetype, nlink


def content(guest: Script, path: bytes) -> bytes | str:
    fd = guest.open(3, path)
    return guest.read(fd) if isinstance(fd, int) else fd


# -- directories


@pytest.mark.parametrize("path", [b"new", b"new/", b"dir/new", b"to_dir/new", b"./dir//../new"])
def test_a_directory_is_made_and_can_be_used(path, place):
    def act(guest: Script):
        assert call(guest, "path_create_directory", 3, path) == "SUCCESS"
        inside = path.rstrip(b"/") + b"/f"
        assert guest.write(guest.open(3, inside, oflags=CREAT, rights=WRITE), b"x") == 1
        return inode(guest, path)[1], content(guest, inside)

    assert place.run(act) == (3, b"x")


@pytest.mark.parametrize("path", [b"empty", b"empty/", b"dir/sub", b"dir/../empty"])
def test_an_empty_directory_is_removed(path, place):
    def act(guest: Script):
        assert call(guest, "path_remove_directory", 3, path) == "SUCCESS"
        return call(guest, "path_filestat_get", 3, 0, path, OUT)

    assert place.run(act) == "NOENT"


def test_nothing_is_made_in_a_directory_that_was_removed_while_open(place):
    def act(guest: Script):
        fd = guest.open(3, b"empty", oflags=DIRECTORY, rights=ALL_OF_DIR)
        assert call(guest, "path_remove_directory", 3, b"empty") == "SUCCESS"
        return (
            guest.open(fd, b"n", oflags=CREAT, rights=WRITE),
            call(guest, "path_create_directory", fd, b"n"),
            guest.fd_readdir(fd, BUFFER, 64, 0, OUT),
            guest.u32(),
        )

    assert place.run(act) == ("NOENT", "NOENT", "SUCCESS", 0)


# -- files


def test_a_name_is_removed_and_the_open_file_lives_on(place):
    def act(guest: Script):
        fd = guest.open(3, b"f")
        assert call(guest, "path_unlink_file", 3, b"f") == "SUCCESS"
        return guest.open(3, b"f"), guest.read(fd)

    assert place.run(act) == ("NOENT", b"inside")


@pytest.mark.parametrize("path", [b"to_f", b"to_dir", b"dangling", b"loop", b"out"])
def test_unlinking_a_link_leaves_what_it_leads_to(path, place):
    before = place.tree()
    assert place.run(lambda guest: call(guest, "path_unlink_file", 3, path)) == "SUCCESS"
    after = place.tree()
    assert {name: facts for name, facts in before.items() if name != path} == after


# -- renaming


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        (b"f", b"new", b"new"),
        (b"f", b"dir/new", b"dir/new"),
        (b"f", b"dir/g", b"dir/g"),
        (b"f", b"to_dir/new", b"dir/new"),
        (b"f", b"dangling", b"dangling"),
        (b"dir/g", b"f", b"f"),
    ],
)
def test_a_file_is_renamed_over_what_is_no_directory(old, new, seen, place):
    was = place.read(old)

    def act(guest: Script):
        number = inode(guest, old)[0]
        assert call(guest, "path_rename", 3, old, 3, new) == "SUCCESS"
        return inode(guest, seen)[0] == number, guest.open(3, old, lookup=0)

    assert place.run(act) == (True, "NOENT")
    assert place.read(seen) == was


def test_a_directory_is_renamed_over_an_empty_one_with_all_in_it(place):
    def act(guest: Script):
        assert call(guest, "path_rename", 3, b"full", 3, b"empty") == "SUCCESS"
        return content(guest, b"empty/x"), guest.open(3, b"full")

    assert place.run(act) == (b"x", "NOENT")


def test_names_are_moved_between_two_descriptors(place):
    def act(guest: Script):
        fd = guest.open(3, b"dir", oflags=DIRECTORY, rights=ALL_OF_DIR)
        assert call(guest, "path_rename", fd, b"g", 3, b"up_here") == "SUCCESS"
        assert call(guest, "path_rename", 3, b"f", fd, b"down_there") == "SUCCESS"
        return content(guest, b"up_here"), content(guest, b"dir/down_there")

    assert place.run(act) == (b"deeper", b"inside")


@pytest.mark.parametrize("path", [b"f", b"dir", b"to_f", b"empty"])
def test_renaming_a_name_to_itself_changes_nothing(path, place):
    before = place.tree()
    assert place.run(lambda guest: call(guest, "path_rename", 3, path, 3, path)) == "SUCCESS"
    assert place.tree() == before


def test_renaming_one_name_of_a_file_to_the_other_keeps_both(place):
    def act(guest: Script):
        assert call(guest, "path_link", 3, 0, b"f", 3, b"same") == "SUCCESS"
        assert call(guest, "path_rename", 3, b"f", 3, b"same") == "SUCCESS"
        return content(guest, b"f"), content(guest, b"same")

    assert place.run(act) == (b"inside", b"inside")


# -- links


def test_a_hard_link_is_another_name_of_the_same_file(place):
    def act(guest: Script):
        fd = guest.open(3, b"dir", oflags=DIRECTORY, rights=ALL_OF_DIR)
        assert call(guest, "path_link", 3, 0, b"f", fd, b"other") == "SUCCESS"
        number, _, names = inode(guest, b"f")
        assert guest.write(guest.open(3, b"dir/other", rights=WRITE), b"INS") == 3
        return inode(guest, b"dir/other") == (number, 4, 2), names, content(guest, b"f")

    assert place.run(act) == (True, 2, b"INSide")


@pytest.mark.parametrize("path", [b"to_f", b"dangling", b"loop"])
def test_a_hard_link_to_a_symbolic_one_is_one_too(path, place):
    def act(guest: Script):
        assert call(guest, "path_link", 3, 0, path, 3, b"other") == "SUCCESS"
        return inode(guest, b"other") == inode(guest, path), inode(guest, b"other")[1]

    assert place.run(act) == (True, 7)


@pytest.mark.parametrize("target", [b"f", b"nothing", b"../../outside", b"t" * 4095, "ö".encode()])
def test_a_symbolic_link_keeps_its_target_as_it_was_given(target, place):
    def act(guest: Script):
        assert call(guest, "path_symlink", target, 3, b"new") == "SUCCESS"
        assert call(guest, "path_readlink", 3, b"new", BUFFER, 5000, OUT) == "SUCCESS"
        return guest.got(BUFFER, guest.u32())

    assert place.run(act) == target


def test_a_symbolic_link_is_given_as_target_descriptor_and_name(place):
    def act(guest: Script):
        fd = guest.open(3, b"dir", oflags=DIRECTORY, rights=ALL_OF_DIR)
        assert call(guest, "path_symlink", b"g", fd, b"to_g") == "SUCCESS"
        return content(guest, b"dir/to_g")

    assert place.run(act) == b"deeper"


@pytest.mark.parametrize("size", [0, 1, 8, 9, 10, 100])
def test_a_target_is_cut_to_the_buffer_and_nothing_lies_behind_it(size, any_place):
    """`../secret` has nine bytes; a length that is the buffer's may have been cut."""

    def act(guest: Script):
        guest.put(DATA, b"out")
        image = bytearray(guest.image())
        assert guest.path_readlink(3, DATA, 3, BUFFER, size, OUT) == "SUCCESS"
        told = b"../secret"[:size]
        image[BUFFER : BUFFER + len(told)] = told
        image[OUT : OUT + 4] = struct.pack("<I", len(told))
        return guest.image() == image

    assert any_place.run(act)


def test_a_target_is_stored_up_to_the_last_byte_of_memory(any_place):
    def act(guest: Script):
        assert call(guest, "path_readlink", 3, b"to_dir", END - 3, 3, OUT) == "SUCCESS"
        return guest.got(END - 4, 4)

    assert any_place.run(act) == GUARD + b"dir"


# -- times by a path


ATIM, ATIM_NOW, MTIM, MTIM_NOW = 1, 2, 4, 8
ODD = 1_234_567_890_123_456_789


def times(guest: Script, path: bytes, lookup: int = 0) -> tuple[int, int]:
    assert call(guest, "path_filestat_get", 3, lookup, path, OUT) == "SUCCESS"
    return struct.unpack_from("<40xQQ", guest.got(OUT, 64))


@pytest.mark.parametrize("path", [b"f", b"dir", b"dir/g"])
@pytest.mark.parametrize(
    ("flags", "expected"),
    [(ATIM | MTIM, (ODD, 7)), (ATIM, (ODD, None)), (MTIM, (None, 7)), (0, (None, None))],
)
def test_times_of_a_path_are_set_to_the_nanosecond_or_left(path, flags, expected, place):
    def act(guest: Script):
        before = times(guest, path)
        assert call(guest, "path_filestat_set_times", 3, 0, path, ODD, 7, flags) == "SUCCESS"
        return times(guest, path) == tuple(
            was if new is None else new for was, new in zip(before, expected, strict=True)
        )

    assert place.run(act)


@pytest.mark.parametrize("flags", [ATIM_NOW, MTIM_NOW, ATIM_NOW | MTIM_NOW, ATIM_NOW | MTIM])
def test_now_is_the_moment_of_the_call(flags, place):
    def act(guest: Script):
        assert call(guest, "path_filestat_set_times", 3, 0, b"f", 1, 1, 5) == "SUCCESS"
        assert call(guest, "path_filestat_set_times", 3, 0, b"f", 5, 5, flags) == "SUCCESS"
        assert guest.clock_time_get(0, 0, BUFFER) == "SUCCESS"
        now, (atime, mtime) = guest.u64(BUFFER), times(guest, b"f")
        near = [abs(now - time) < 100 * 10**9 for time in (atime, mtime)]
        return near, [time for time in (atime, mtime) if time < 10]

    near, small = place.run(act)
    assert near == [bool(flags & ATIM_NOW), bool(flags & MTIM_NOW)]
    assert small == ([] if flags == ATIM_NOW | MTIM_NOW else [5] if flags & MTIM else [1])


@pytest.mark.parametrize(("lookup", "changed"), [(0, b"to_f"), (1, b"f")])
def test_a_link_or_what_it_leads_to_gets_the_times(lookup, changed, place):
    def act(guest: Script):
        assert call(guest, "path_filestat_set_times", 3, lookup, b"to_f", 7, 8, 5) == "SUCCESS"
        return [path for path in (b"f", b"to_f") if times(guest, path) == (7, 8)]

    assert place.run(act) == [changed]


def test_the_last_time_of_all_can_be_set(place):
    """As natively; how late it may be is up to the file system."""

    def act(guest: Script):
        last = 2**64 - 1
        assert call(guest, "path_filestat_set_times", 3, 0, b"f", last, last, 5) == "SUCCESS"
        return times(guest, b"f")

    assert all(time > 2**32 * 10**9 for time in place.run(act))


def test_reading_needs_no_right_to_write(any_place):
    def act(guest: Script):
        fd = guest.open(3, b"f", rights=READ)
        return guest.write(fd, b"x"), guest.read(fd)

    assert any_place.run(act) == ("BADF", b"inside")
