"""A directory that was granted for reading: everything can be read, and every change is ROFS."""

import os

import pytest

import coop
from tests.wasip1.errno_cases import CHANGES, FILE, NO_SEEK, SUB, prepare
from tests.wasip1.places import ALL_OF_DIR, CREAT, DIRECTORY, WRITE, Place, call
from tests.wasip1.script import OUT, Script, scripted

BUFFER = 0x2000


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change[0])
def test_no_call_changes_anything_that_is_read_only(change, read_only_place):
    name, arguments = change

    def act(guest: Script):
        prepare(guest, read_only=True)
        return call(guest, name, *arguments), guest.open(3, b"f")

    assert read_only_place.run(act) == ("ROFS", NO_SEEK + 1)


def test_everything_can_be_read_below_a_read_only_directory(read_only_place):
    def act(guest: Script):
        prepare(guest, read_only=True)
        assert call(guest, "path_readlink", 3, b"to_f", BUFFER, 64, OUT) == "SUCCESS"
        target = guest.got(BUFFER, guest.u32())
        return [
            guest.read(FILE),
            guest.read(guest.open(SUB, b"g")),
            guest.read(guest.open(3, b"f", oflags=CREAT)),
            target,
            guest.fd_pread(FILE, *guest.iovecs((BUFFER, 6)), 0, OUT),
            guest.fd_readdir(SUB, BUFFER, 4096, 0, OUT),
            guest.fd_sync(FILE),
            guest.fd_advise(FILE, 0, 0, 3),
            call(guest, "path_filestat_get", 3, 0, b"f", OUT),
        ]

    assert read_only_place.run(act) == [b"inside", b"deeper", b"inside", b"f", *["SUCCESS"] * 5]


def test_rights_do_not_show_that_a_directory_is_read_only(place):
    """What lacks a right is NOTCAPABLE, which programs report as a bug; they know ROFS from disks."""

    def act(guest: Script):
        return guest.fdstat(3), guest.fdstat(guest.open(3, b"dir", oflags=DIRECTORY, rights=ALL_OF_DIR))

    assert place.run(act, read_only=True) == place.run(act)


def test_one_place_is_read_only_for_one_guest_and_not_for_another(place):
    def main():
        with Script(dirs=[place.grant(read_only=True)]) as reader, Script(dirs=[place.grant()]) as writer:
            fd = reader.open(3, b"f")
            assert writer.write(writer.open(3, b"f", rights=WRITE), b"new") == 3
            return reader.read(fd), reader.open(3, b"f", rights=WRITE)

    assert coop.run(main) == (b"newide", "ROFS")


def test_a_fifo_below_a_read_only_directory_is_read_and_not_written(host_place):
    os.mkfifo(host_place.root / "fifo")

    def act(guest: Script):
        with open(os.open(host_place.root / "fifo", os.O_RDWR | os.O_NONBLOCK), "wb", buffering=0) as writer:
            fd = guest.open(3, b"fifo")
            writer.write(b"hello")
            return guest.read(fd), guest.open(3, b"fifo", rights=WRITE)

    assert host_place.run(act, read_only=True) == (b"hello", "ROFS")


@pytest.mark.parametrize("name", ["path_rename", "path_link"])
@pytest.mark.parametrize("way", ["in", "out"])
def test_no_name_crosses_the_border_of_a_read_only_directory(name, way, tmp_path):
    (tmp_path / "other").mkdir()
    one, other = Place("host", tmp_path), Place("host", tmp_path / "other")
    before = one.tree(), other.tree()
    here, there = (3, 4) if way == "in" else (4, 3)

    def act(guest: Script):
        lookup = (0,) if name == "path_link" else ()
        return call(guest, name, here, *lookup, b"f", there, b"n")

    dirs = [one.grant(guest="/w"), other.grant(guest="/r", read_only=True)]
    assert scripted(act, dirs=dirs) == "ROFS"
    assert (one.tree(), other.tree()) == before
