"""path_open and path_filestat_get: every flag and errno, and no way out of the directory."""

import os
import socket
import stat
import struct

import pytest

import coop
from tests.wasip1.script import DATA, END, GUARD, OUT, POLLERS, Script, scripted

CREAT, DIRECTORY, EXCL, TRUNC = 1, 2, 4, 8
APPEND, NONBLOCK = 1, 4
READ, SEEK, WRITE, READDIR, STAT, POLL = 1 << 1, 1 << 2, 1 << 6, 1 << 14, 1 << 21, 1 << 27
ALL = (1 << 30) - 1
GO_READS = ((1 << 30) - 1) & ~((1 << 0) | (1 << 6) | (1 << 8) | (1 << 19))
"""What Go asks for when it opens for reading: every right but four."""

needs_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")


@pytest.fixture
def folder(tmp_path):
    """A directory with a bit of everything, and a secret beside it."""
    root = tmp_path / "root"
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "f").write_bytes(b"inside")
    (root / "dir" / "g").write_bytes(b"deeper")
    (tmp_path / "secret").write_bytes(b"secret")
    os.mkfifo(root / "fifo")
    links = {
        "to_f": "f",
        "to_dir": "dir",
        "dangling": "nothing",
        "loop": "loop",
        "out": "../secret",
        "out_dir": "..",
        "absolute": str(tmp_path / "secret"),
        "absolute_inside": str(root / "f"),
        "root": "/",
        "dir/up": "../../secret",
        "dir/back": "../f",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    return root


def both_ways(guest: Script, path: bytes, lookup: int = 1) -> tuple[object, str]:
    """What path_open and path_filestat_get answer for one path below fd 3."""
    opened = guest.open(3, path, lookup=lookup)
    seen = guest.path_filestat_get(3, lookup, DATA, guest.put(DATA, path), OUT)
    return opened, seen


# -- opening


@pytest.mark.parametrize(
    ("path", "content"),
    [
        *[(b"f", b"inside"), (b"dir/g", b"deeper"), (b"./dir//./g", b"deeper"), (b"dir/../f", b"inside")],
        *[
            (b"to_f", b"inside"),
            (b"to_dir/g", b"deeper"),
            (b"dir/back", b"inside"),
            (b"dir/sub/../../f", b"inside"),
        ],
    ],
)
def test_a_file_below_the_directory_is_read(path, content, folder):
    def act(guest: Script):
        fd = guest.open(3, path)
        return fd, guest.read(fd), guest.read(fd)

    assert scripted(act, dirs=[folder]) == (4, content, b"")


def test_only_the_number_is_stored(folder):
    def act(guest: Script):
        guest.put(DATA, b"f")
        image = bytearray(guest.image())
        assert guest.path_open(3, 1, DATA, 1, 0, READ, 0, 0, OUT) == "SUCCESS"
        image[OUT : OUT + 4] = b"\4\0\0\0"
        return guest.image() == image

    assert scripted(act, dirs=[folder])


def test_the_file_of_a_fifo_opened_as_go_does_can_only_be_read(folder):
    """Go asks for nearly every right when it reads; a FIFO opened for writing too would never end."""

    def act(guest: Script):
        fd = guest.open(3, b"fifo", rights=GO_READS)
        with open(folder / "fifo", "wb", buffering=0) as writer:
            writer.write(b"all")
        return guest.read(fd), guest.read(fd)

    assert scripted(act, dirs=[folder]) == (b"all", b"")


@pytest.mark.parametrize(
    ("rights", "mode"),
    [
        (READ, os.O_RDONLY),
        (WRITE, os.O_WRONLY),
        (READ | WRITE, os.O_RDWR),
        (STAT, os.O_RDONLY),
        (GO_READS, os.O_RDONLY),
    ],
)
def test_the_host_opens_no_more_than_reading_or_writing_asks_for(rights, mode, folder):
    def act(guest: Script):
        guest.open(3, b"f", rights=rights)
        (number,) = [
            fd
            for fd in os.listdir("/proc/self/fd")
            if os.path.realpath(f"/proc/self/fd/{fd}") == str(folder / "f")
        ]
        with open(f"/proc/self/fdinfo/{number}") as info:
            flags = int(dict(line.split(":", 1) for line in info)["flags"], 8)
        return flags & os.O_ACCMODE, bool(flags & os.O_CLOEXEC)

    assert scripted(act, dirs=[folder]) == (mode, True)


def test_a_guest_gets_no_right_that_it_did_not_ask_for_or_the_directory_does_not_hand_on(folder):
    def act(guest: Script):
        few, all_of_them = guest.open(3, b"f", rights=READ), guest.open(3, b"f", rights=ALL)
        narrow = guest.open(3, b"dir", rights=1 << 13 | READ, oflags=DIRECTORY)
        below = guest.open(narrow, b"g", rights=ALL)
        return [guest.fdstat(fd)[2] for fd in (few, all_of_them, below)]

    few, all_of_them, below = scripted(act, dirs=[folder])
    assert (few, below) == (READ, READ)
    assert all_of_them & (READ | WRITE | SEEK) == READ | WRITE | SEEK
    assert not all_of_them & (1 << 13 | 1 << 28)


def test_a_file_is_created_written_and_shortened(folder):
    def act(guest: Script):
        fd = guest.open(3, b"new", oflags=CREAT, rights=READ | WRITE | SEEK)
        assert guest.write(fd, b"0123456789") == 10
        again = guest.open(3, b"new", oflags=TRUNC, rights=WRITE)
        assert guest.write(again, b"short") == 5

    scripted(act, dirs=[folder])
    assert (folder / "new").read_bytes() == b"short"
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o666 & ~umask()


def umask() -> int:
    """The mask of this process, which can only be asked for by setting it."""
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


def test_appended_writes_go_to_the_end_wherever_the_position_is(folder):
    def act(guest: Script):
        fd = guest.open(3, b"f", rights=WRITE | SEEK, fdflags=APPEND)
        guest.fd_seek(fd, 0, 0, OUT)
        return guest.write(fd, b"+1"), guest.fdstat(fd)[1]

    assert scripted(act, dirs=[folder]) == (2, APPEND)
    assert (folder / "f").read_bytes() == b"inside+1"


def test_flags_that_an_open_asked_for_are_told(folder):
    def act(guest: Script):
        return [guest.fdstat(guest.open(3, b"f", rights=WRITE, fdflags=flags))[1] for flags in (2, 8, 16, 31)]

    assert scripted(act, dirs=[folder]) == [2, 8, 16, 31]


@pytest.mark.parametrize(
    ("path", "oflags", "error"),
    [
        (b"nothing", 0, "NOENT"),
        (b"dir/nothing/g", CREAT, "NOENT"),
        (b"f", CREAT | EXCL, "EXIST"),
        (b"to_f", CREAT | EXCL, "EXIST"),
        (b"f", DIRECTORY, "NOTDIR"),
        (b"f/x", 0, "NOTDIR"),
        (b"f/", 0, "NOTDIR"),
        (b"new/", CREAT, "ISDIR"),
        (b"loop", 0, "LOOP"),
        (b"dangling", 0, "NOENT"),
        (b"x" * 256, 0, "NAMETOOLONG"),
        (b"x/" * 2048 + b"x", 0, "NAMETOOLONG"),
        (b"", 0, "NOENT"),
        (b"\xff", 0, "ILSEQ"),
        (b"f\0", 0, "INVAL"),
        (b"f", 16, "INVAL"),
        (b"f", 2**32 - 1, "INVAL"),
        (b"new", CREAT | DIRECTORY, "INVAL"),
        (b"dir", EXCL | DIRECTORY, "INVAL"),
        (b"dir", TRUNC | DIRECTORY, "INVAL"),
    ],
)
def test_what_cannot_be_opened_has_its_errno_and_takes_no_number(path, oflags, error, folder):
    def act(guest: Script):
        return guest.open(3, path, oflags=oflags), guest.open(3, b"f")

    assert scripted(act, dirs=[folder]) == (error, 4)
    assert not (folder / "new").exists()


def test_a_directory_is_not_opened_for_writing(folder):
    assert scripted(lambda guest: guest.open(3, b"dir", rights=READ | WRITE), dirs=[folder]) == "ISDIR"


def test_a_directory_opened_by_a_guest_opens_what_is_below_it(folder):
    def act(guest: Script):
        fd = guest.open(3, b"dir", oflags=DIRECTORY, rights=ALL & ~WRITE)
        return guest.read(guest.open(fd, b"g")), guest.open(fd, b"../f"), guest.open(fd, b"back")

    assert scripted(act, dirs=[folder]) == (b"deeper", "PERM", "PERM")


def test_a_link_at_the_end_is_followed_only_if_asked_for(folder):
    def act(guest: Script):
        return (
            guest.open(3, b"to_f", lookup=0),
            guest.open(3, b"to_dir/g", lookup=0),
            guest.open(3, b"to_f", lookup=1),
        )

    assert scripted(act, dirs=[folder]) == ("LOOP", 4, 5)


@pytest.mark.parametrize(
    ("fd", "error"), [(0, "NOTDIR"), (3, "NOTDIR"), (5, "NOTDIR"), (99, "BADF"), (2**32 - 1, "BADF")]
)
def test_only_a_directory_has_paths_below_it(fd, error, folder):
    def act(guest: Script):
        assert guest.open(4, b"f") == 5
        seen = guest.path_filestat_get(fd, 0, DATA, guest.put(DATA, b"f"), OUT)
        return guest.open(fd, b"f"), seen

    assert scripted(act, listen=["127.0.0.1:0"], dirs=[folder]) == (error, error)


def test_unknown_fdflags_are_invalid(folder):
    assert scripted(lambda guest: guest.open(3, b"f", fdflags=32), dirs=[folder]) == "INVAL"


def test_rights_of_the_directory_are_needed(folder):
    def act(guest: Script):
        no_open = guest.open(3, b"dir", oflags=DIRECTORY, rights=STAT)
        only_open = guest.open(3, b"dir", oflags=DIRECTORY, rights=1 << 13)
        # To cut files by path is a right that every directory has, until it is given up.
        guest.fd_fdstat_set_rights(only_open, 1 << 13, 0)
        return (
            guest.open(no_open, b"g"),
            guest.path_filestat_get(no_open, 0, DATA, guest.put(DATA, b"g"), OUT),
            guest.open(only_open, b"new", oflags=CREAT),
            guest.open(only_open, b"g", oflags=TRUNC),
        )

    assert scripted(act, dirs=[folder]) == ("NOTCAPABLE",) * 4
    assert (folder / "dir" / "g").read_bytes() == b"deeper"


def test_a_full_table_opens_nothing_and_creates_nothing(folder):
    def act(guest: Script):
        return guest.open(3, b"f"), guest.open(3, b"new", oflags=CREAT)

    assert scripted(act, dirs=[folder], limits=coop.Limits(fds=5)) == (4, "MFILE")
    assert not (folder / "new").exists()


@pytest.mark.parametrize(
    ("path", "length", "out"),
    [
        (DATA, 1, END - 3),
        (DATA, 1, 2**32 - 1),
        (END, 1, OUT),
        (END - 1, 2, OUT),
        (1, 2**32 - 1, OUT),
        (2**32 - 1, 2, OUT),
    ],
)
def test_a_bad_address_is_a_fault_and_creates_nothing(path, length, out, folder):
    def act(guest: Script):
        guest.put(DATA, b"n")
        opened = guest.path_open(3, 1, path, length, CREAT, READ, 0, 0, out)
        return opened, guest.path_filestat_get(3, 1, path, length, out - 60 if out == END - 3 else out)

    assert scripted(act, dirs=[folder]) == ("FAULT", "FAULT")
    assert not (folder / "n").exists()


def test_a_path_longer_than_any_is_refused_before_it_is_copied(folder):
    def act(guest: Script):
        return guest.path_open(3, 1, 0, END, 0, READ, 0, 0, OUT)

    assert scripted(act, dirs=[folder]) == "NAMETOOLONG"


@needs_user
def test_what_the_host_may_not_open_is_not_opened(folder):
    (folder / "f").chmod(0)
    assert scripted(lambda guest: guest.open(3, b"f"), dirs=[folder]) == "ACCES"


def test_a_socket_in_the_file_system_is_no_file(folder):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        assert scripted(lambda guest: guest.open(3, b"s"), dirs=[folder]) == "NXIO"


# -- containment


WAYS_OUT = [
    *[
        b"..",
        b"../secret",
        b"../root/f",
        b"dir/../../secret",
        b"dir/sub/../../../secret",
        b"../../../../../../etc/passwd",
    ],
    *[
        b"/",
        b"/etc/passwd",
        b"//etc/passwd",
        b"out",
        b"out_dir/secret",
        b"absolute",
        b"absolute_inside",
        b"root/etc",
    ],
    *[
        b"dir/up",
        b"to_dir/../../secret",
        b"to_dir/up",
        b"./../secret",
        b"dir//..//..//secret",
        b"out/../secret",
    ],
]


@pytest.mark.parametrize("path", WAYS_OUT)
def test_no_path_leaves_the_directory(path, folder):
    assert scripted(lambda guest: both_ways(guest, path), dirs=[folder]) == ("PERM", "PERM")


@pytest.mark.parametrize("path", WAYS_OUT)
def test_nothing_is_created_outside(path, folder):
    def act(guest: Script):
        return guest.open(3, path, oflags=CREAT, rights=WRITE), guest.open(
            3, path + b"2", oflags=CREAT, rights=WRITE
        )

    before = sorted(os.listdir(folder.parent))
    assert "SUCCESS" not in map(str, scripted(act, dirs=[folder]))
    assert sorted(os.listdir(folder.parent)) == before
    assert (folder.parent / "secret").read_bytes() == b"secret"


def test_a_link_made_while_the_guest_runs_leads_nowhere_either(folder):
    def act(guest: Script):
        first = guest.read(guest.open(3, b"dir/g"))
        (folder / "dir" / "g").unlink()
        (folder / "dir" / "g").symlink_to(folder.parent / "secret")
        return first, guest.open(3, b"dir/g")

    assert scripted(act, dirs=[folder]) == (b"deeper", "PERM")


# -- looking


def test_a_filestat_of_a_path_is_what_the_host_sees(folder):
    def act(guest: Script):
        found = {}
        for name, lookup in ((b"f", 0), (b"to_f", 1), (b"to_f", 0), (b"dir", 0), (b"fifo", 0)):
            assert guest.path_filestat_get(3, lookup, DATA, guest.put(DATA, name), OUT) == "SUCCESS"
            found[name, lookup] = struct.unpack("<QQB7xQQQQQ", guest.got(OUT, 64))[1:5]
            assert guest.got(OUT + 64, 1) == GUARD
        return found

    found = scripted(act, dirs=[folder])
    inode = (folder / "f").stat().st_ino
    assert found[b"f", 0] == found[b"to_f", 1] == (inode, 4, 1, 6)
    assert found[b"to_f", 0][1] == 7
    assert found[b"dir", 0][1] == 3
    assert found[b"fifo", 0][1] == 0


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"nothing", "NOENT"),
        (b"f/x", "NOTDIR"),
        (b"", "NOENT"),
        (b"\xff", "ILSEQ"),
        (b"x" * 256, "NAMETOOLONG"),
        (b"loop", "LOOP"),
    ],
)
def test_what_is_not_there_has_no_filestat(path, error, folder):
    def act(guest: Script):
        answer = guest.path_filestat_get(3, 1, DATA, guest.put(DATA, path), OUT)
        return answer, guest.got(OUT, 64) == GUARD * 64

    assert scripted(act, dirs=[folder]) == (error, True)


# -- FIFOs


@pytest.mark.parametrize("poller", POLLERS)
def test_a_read_from_a_fifo_waits_for_its_first_writer(poller, folder):
    def act(guest: Script):
        fd = guest.open(3, b"fifo")

        def write():
            with open(folder / "fifo", "wb", buffering=0) as writer:
                writer.write(b"first")

        coop.spawn(write)
        return guest.read(fd), guest.read(fd)

    assert scripted(act, dirs=[folder], poller=poller) == (b"first", b"")


@pytest.mark.parametrize("poller", POLLERS)
def test_a_writer_that_says_nothing_is_the_end_of_a_fifo(poller, folder):
    def act(guest: Script):
        fd = guest.open(3, b"fifo")
        coop.spawn(lambda: os.close(os.open(folder / "fifo", os.O_WRONLY)))
        return guest.read(fd)

    assert scripted(act, dirs=[folder], poller=poller) == b""


def test_a_fifo_nobody_reads_is_not_opened_for_writing_and_blocks_nobody(folder):
    assert scripted(lambda guest: guest.open(3, b"fifo", rights=WRITE), dirs=[folder]) == "NXIO"


@pytest.mark.parametrize("poller", POLLERS)
def test_a_write_to_a_full_fifo_waits_for_its_reader(poller, folder):
    def act(guest: Script):
        with open(os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as reader:
            fd = guest.open(3, b"fifo", rights=WRITE | 8)
            guest.fd_fdstat_set_flags(fd, NONBLOCK)
            while guest.write(fd, b"x" * 4096) != "AGAIN":
                pass
            guest.fd_fdstat_set_flags(fd, 0)
            coop.spawn(reader.read, 65536)
            return guest.write(fd, b"y" * 100)

    assert scripted(act, dirs=[folder], poller=poller) == 100
