"""fd_readdir: the records byte by byte, buffers of every size, and directories that change meanwhile."""

import struct
from collections.abc import Iterator

import pytest

import coop
from coop.fs import dirents
from tests.wasip1.places import ALL_OF_DIR, CREAT, DIRECTORY, READ, READDIR, WRITE, call
from tests.wasip1.script import END, GUARD, OUT, Script, scripted

BUFFER = 0x2000
HEAD = struct.Struct("<QQIB3x")

Entry = tuple[bytes, int, int, int]
"""Name, cookie, inode, type."""


def parsed(data: bytes) -> Iterator[Entry]:
    """The whole entries in a buffer."""
    at = 0
    while at + HEAD.size <= len(data):
        following, ino, size, filetype = HEAD.unpack_from(data, at)
        name = data[at + HEAD.size : at + HEAD.size + size]
        if len(name) < size:
            return
        yield name, following, ino, filetype
        at += HEAD.size + size


def portion(guest: Script, fd: int, size: int, cookie: int) -> bytes:
    assert guest.fd_readdir(fd, BUFFER, size, cookie, OUT) == "SUCCESS"
    return guest.got(BUFFER, guest.u32())


def listed(guest: Script, fd: int, size: int = 4096) -> list[Entry]:
    """All entries, read as libc does: from the last whole one on, until a buffer is not full."""
    found: list[Entry] = []
    cookie = 0
    while True:
        data = portion(guest, fd, size, cookie)
        found += parsed(data)
        if len(data) < size:
            return found
        cookie = found[-1][1]


TYPES = {b".": 3, b"..": 3, b"f": 4, b"dir": 3, b"full": 3, b"empty": 3} | dict.fromkeys(
    (b"to_f", b"to_dir", b"dangling", b"loop", b"up", b"out"), 7
)


@pytest.mark.parametrize("size", [64, 65, 100, 511, 4096])
def test_every_entry_is_read_once_with_its_type_whatever_the_buffer(size, any_place):
    found = any_place.run(lambda guest: listed(guest, 3, size))
    assert sorted((name, filetype) for name, _, _, filetype in found) == sorted(TYPES.items())
    assert len({cookie for _, cookie, _, _ in found}) == len(found)


def test_inodes_are_those_that_a_filestat_tells(any_place):
    def act(guest: Script):
        seen = {}
        for name, _, ino, _ in listed(guest, 3):
            assert call(guest, "path_filestat_get", 3, 0, b"." if name == b".." else name, OUT) == "SUCCESS"
            seen[name] = guest.u64(OUT + 8) == ino
        return seen

    assert any_place.run(act) == dict.fromkeys(TYPES, True)


@pytest.mark.parametrize("size", [0, 1, 23, 24, 25, 26, 60, 200])
def test_a_buffer_too_small_is_filled_to_its_last_byte_and_not_beyond(size, any_place):
    """What is cut begins as the whole would."""

    def act(guest: Script):
        whole = portion(guest, 3, 4096, 0)
        guest.put(0, GUARD * END)
        assert guest.fd_readdir(3, BUFFER, size, 0, OUT) == "SUCCESS"
        image = bytearray(GUARD * END)
        image[BUFFER : BUFFER + size] = whole[:size]
        image[OUT : OUT + 4] = struct.pack("<I", size)
        return guest.image() == image

    assert any_place.run(act)


def test_a_buffer_with_room_to_spare_is_the_end_and_left_as_it_was_behind_it(any_place):
    def act(guest: Script):
        assert guest.fd_readdir(3, BUFFER, 4096, 0, OUT) == "SUCCESS"
        used = guest.u32()
        exact = portion(guest, 3, used, 0)
        last = list(parsed(exact))[-1][1]
        behind = guest.got(BUFFER + used, 4096 - used)
        return used == len(exact), behind == GUARD * len(behind), portion(guest, 3, 4096, last)

    assert any_place.run(act) == (True, True, b"")


def test_records_have_no_padding_but_three_zero_bytes(any_place):
    def act(guest: Script):
        fd = guest.open(3, b"empty", oflags=DIRECTORY, rights=ALL_OF_DIR)
        return portion(guest, fd, 4096, 0)

    data = any_place.run(act)
    assert len(data) == 24 + 1 + 24 + 2
    for name in (b".", b".."):
        assert b"%c\0\0\0\3\0\0\0%b" % (len(name), name) in data


def test_the_last_byte_of_memory_may_be_the_buffers(any_place):
    def act(guest: Script):
        first = portion(guest, 3, 25, 0)
        assert guest.fd_readdir(3, END - 25, 25, 0, OUT) == "SUCCESS"
        return guest.u32(), guest.got(END - 26, 26) == GUARD + first

    assert any_place.run(act) == (25, True)


def test_a_cookie_leads_behind_its_entry_again_and_again(any_place):
    def act(guest: Script):
        found = listed(guest, 3)
        again = [[name for name, *_ in parsed(portion(guest, 3, 4096, cookie))] for _, cookie, _, _ in found]
        return [name for name, *_ in found], again

    names, again = any_place.run(act)
    assert again == [names[i + 1 :] for i in range(len(names))]


def test_starting_over_shows_what_came_and_hides_what_went(place):
    def act(guest: Script):
        before = {name for name, *_ in listed(guest, 3)}
        guest.open(3, b"new", oflags=CREAT, rights=WRITE)
        call(guest, "path_unlink_file", 3, b"f")
        return before, {name for name, *_ in listed(guest, 3)}

    before, after = place.run(act)
    assert after == before - {b"f"} | {b"new"}


@pytest.mark.slow
def test_a_long_directory_is_read_once_however_small_the_buffer(tmp_path, monkeypatch):
    """100 000 entries, and the kernel is asked for each one once: not from the start for every buffer."""
    for n in range(100_000):
        (tmp_path / f"{n}").touch()
    asked: list[int] = []

    def counting(fd, buffer):
        asked.append(getdents(fd, buffer))
        return asked[-1]

    getdents = dirents.getdents
    monkeypatch.setattr(dirents, "getdents", counting)
    found = scripted(lambda guest: [name for name, *_ in listed(guest, 3)], dirs=[tmp_path])
    assert sorted(found) == sorted([b".", b"..", *(b"%d" % n for n in range(100_000))])
    assert len(asked) < 600
    assert sum(asked) < 100_002 * 33


def test_a_directory_is_emptied_while_it_is_read(place):
    """As `rm -r` does it: what is still there is met in the end, whatever went meanwhile."""

    def act(guest: Script):
        assert call(guest, "path_create_directory", 3, b"many") == "SUCCESS"
        fd = guest.open(3, b"many", oflags=DIRECTORY, rights=ALL_OF_DIR)
        for i in range(300):
            guest.fd_close(guest.open(fd, b"file%d" % i, oflags=CREAT, rights=WRITE))
        seen: list[bytes] = []
        cookie, size = 0, 300
        while True:
            data = portion(guest, fd, size, cookie)
            for name, following, _, _ in parsed(data):
                cookie = following
                seen.append(name)
                if name not in (b".", b".."):
                    assert call(guest, "path_unlink_file", fd, name) == "SUCCESS"
            if len(data) < size:
                break
        return len(seen), len(set(seen)), [name for name, *_ in listed(guest, fd)]

    assert place.run(act) == (302, 302, [b".", b".."])


def test_a_large_directory_is_read_into_a_large_buffer_while_the_others_run(place):
    """More than one portion in a single call; another task has its turn in between."""

    def act(guest: Script):
        assert call(guest, "path_create_directory", 3, b"many") == "SUCCESS"
        fd = guest.open(3, b"many", oflags=DIRECTORY, rights=ALL_OF_DIR)
        for i in range(1100):
            guest.fd_close(guest.open(fd, b"%0100d" % i, oflags=CREAT, rights=WRITE))
        turns = []

        def beside():
            while True:
                turns.append(None)
                coop.pause()

        task = coop.spawn(beside)
        coop.pause()
        before = len(turns)
        assert guest.guest.call("grow", 4) == 2
        assert guest.fd_readdir(fd, END, 4 << 16, 0, OUT) == "SUCCESS"
        used, after = guest.u32(), len(turns)
        task.cancel()
        names = [name for name, *_ in parsed(guest.got(END, used))]
        return used, len(names), len(set(names)), after > before

    assert place.run(act) == (25 + 26 + 1100 * 124, 1102, 1102, True)


def test_the_right_to_read_entries_is_what_is_needed(any_place):
    def act(guest: Script):
        reads = guest.open(3, b"dir", oflags=DIRECTORY, rights=READ)
        lists = guest.open(3, b"dir", oflags=DIRECTORY, rights=READDIR)
        return [guest.fd_readdir(fd, BUFFER, 64, 0, OUT) for fd in (reads, lists)]

    assert any_place.run(act) == ["NOTCAPABLE", "SUCCESS"]


def test_two_guests_read_one_directory_each_at_its_own_pace(any_place):
    def main():
        grant = any_place.grant()
        with Script(dirs=[grant]) as one, Script(dirs=[grant]) as other:
            cookie = next(parsed(portion(one, 3, 64, 0)))[1]
            whole = [name for name, *_ in listed(other, 3)]
            rest = [name for name, *_ in parsed(portion(one, 3, 4096, cookie))]
            return len(whole) - len(rest)

    assert coop.run(main) == 1


def test_what_lies_above_a_granted_directory_has_no_number(tmp_path):
    def act(guest: Script):
        return {name: ino for name, _, ino, _ in listed(guest, 3)}

    assert scripted(act, dirs=[tmp_path])[b".."] == tmp_path.stat().st_ino
