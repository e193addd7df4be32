"""Rights: kept as they were given, handed on, made fewer and never more, and needed for every call."""

import pytest

import coop
from coop.wasip1.abi import DIRECTORY_RIGHTS, FILE_RIGHTS, Rights
from tests.wasip1.places import ALL, ALL_OF_DIR, CREAT, DIRECTORY, READ, SEEK, TELL, TRUNC, WRITE, call
from tests.wasip1.script import OUT, Script, fd_sub, scripted

BUFFER = 0x2000
FILE, DIR = 4, 5
POLL = 1 << 27

NEEDS = [
    # right, call, on the file or on the directory
    (Rights.FD_DATASYNC | Rights.FD_SYNC, "fd_datasync", FILE),
    (Rights.FD_SYNC, "fd_sync", FILE),
    (Rights.FD_SYNC, "fd_sync", DIR),
    (Rights.FD_SEEK, "fd_seek", FILE, 1, 0, OUT),
    (Rights.FD_SEEK | Rights.FD_TELL, "fd_tell", FILE, OUT),
    (Rights.FD_SEEK, "fd_pread", FILE, 0x100, 1, 0, OUT),
    (Rights.FD_SEEK, "fd_pwrite", FILE, 0x100, 1, 0, OUT),
    (Rights.FD_FDSTAT_SET_FLAGS, "fd_fdstat_set_flags", FILE, 0),
    (Rights.FD_ADVISE, "fd_advise", FILE, 0, 0, 0),
    (Rights.FD_ALLOCATE, "fd_allocate", FILE, 0, 9),
    (Rights.FD_FILESTAT_GET, "fd_filestat_get", FILE, OUT),
    (Rights.FD_FILESTAT_GET, "fd_filestat_get", DIR, OUT),
    (Rights.FD_FILESTAT_SET_SIZE, "fd_filestat_set_size", FILE, 3),
    (Rights.FD_FILESTAT_SET_TIMES, "fd_filestat_set_times", FILE, 1, 2, 5),
    (Rights.FD_FILESTAT_SET_TIMES, "fd_filestat_set_times", DIR, 1, 2, 5),
    (Rights.FD_READDIR, "fd_readdir", DIR, BUFFER, 64, 0, OUT),
    (Rights.PATH_CREATE_DIRECTORY, "path_create_directory", DIR, b"n"),
    (Rights.PATH_CREATE_FILE, "path_open", DIR, 0, b"n", CREAT, READ, 0, 0, OUT),
    (Rights.PATH_FILESTAT_SET_SIZE, "path_open", DIR, 0, b"g", TRUNC, READ, 0, 0, OUT),
    (Rights.FD_SYNC, "path_open", DIR, 0, b"g", 0, READ, 0, 2, OUT),
    (Rights.FD_SYNC, "path_open", DIR, 0, b"g", 0, READ, 0, 8, OUT),
    (Rights.FD_SYNC, "path_open", DIR, 0, b"g", 0, READ, 0, 16, OUT),
    (Rights.PATH_OPEN, "path_open", DIR, 0, b"g", 0, READ, 0, 0, OUT),
    (Rights.PATH_LINK_SOURCE, "path_link", DIR, 0, b"g", 3, b"n"),
    (Rights.PATH_LINK_TARGET, "path_link", 3, 0, b"f", DIR, b"n"),
    (Rights.PATH_READLINK, "path_readlink", DIR, b"link", BUFFER, 64, OUT),
    (Rights.PATH_RENAME_SOURCE, "path_rename", DIR, b"g", 3, b"n"),
    (Rights.PATH_RENAME_TARGET, "path_rename", 3, b"f", DIR, b"n"),
    (Rights.PATH_FILESTAT_GET, "path_filestat_get", DIR, 0, b"g", OUT),
    (Rights.PATH_FILESTAT_SET_TIMES, "path_filestat_set_times", DIR, 0, b"g", 1, 2, 5),
    (Rights.PATH_SYMLINK, "path_symlink", b"g", DIR, b"n"),
    (Rights.PATH_REMOVE_DIRECTORY, "path_remove_directory", DIR, b"sub"),
    (Rights.PATH_UNLINK_FILE, "path_unlink_file", DIR, b"g"),
]


def prepare(guest: Script) -> None:
    assert guest.open(3, b"f", rights=ALL) == FILE
    assert guest.open(3, b"dir", oflags=DIRECTORY, rights=ALL_OF_DIR) == DIR
    assert call(guest, "path_symlink", b"g", DIR, b"link") in {"SUCCESS", "EXIST"}
    guest.iovecs((BUFFER, 4))


RIGHT_NAMES = {value: name for name, value in vars(Rights).items() if isinstance(value, int)}


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: f"{need[1]}-{RIGHT_NAMES.get(need[0], need[0])}")
def test_a_call_needs_its_right_and_no_other(need, place):
    needed, name, *arguments = need
    fd = FILE if FILE in arguments[:1] else DIR

    def act(guest: Script, keep: int) -> str:
        prepare(guest)
        _, _, rights, inheriting = guest.fdstat(fd)
        assert guest.fd_fdstat_set_rights(fd, rights & keep, inheriting) == "SUCCESS"
        return call(guest, name, *arguments)

    also = Rights.PATH_OPEN if name == "path_open" else 0
    also |= {"fd_pread": Rights.FD_READ, "fd_pwrite": Rights.FD_WRITE}.get(name, 0)
    assert place.run(lambda guest: act(guest, ~needed)) == "NOTCAPABLE"
    assert place.run(lambda guest: act(guest, (needed | also))) == "SUCCESS"


def test_what_the_rights_of_a_granted_directory_are(any_place):
    filetype, _, rights, inheriting = any_place.run(lambda guest: guest.fdstat(3))
    assert (filetype, rights, inheriting) == (3, int(DIRECTORY_RIGHTS), int(DIRECTORY_RIGHTS | FILE_RIGHTS))


def test_rights_are_narrowed_once_and_for_all(place):
    def act(guest: Script):
        prepare(guest)
        few = READ | SEEK | TELL
        narrowed = guest.fd_fdstat_set_rights(FILE, few, 0), guest.fdstat(FILE)[2:]
        again = [guest.fd_fdstat_set_rights(FILE, rights, 0) for rights in (few | WRITE, ALL, few, READ, few)]
        return narrowed, again, guest.fdstat(FILE)[2:], guest.read(FILE), guest.write(FILE, b"x")

    few = READ | SEEK | TELL
    again = ["NOTCAPABLE", "NOTCAPABLE", "SUCCESS", "SUCCESS", "NOTCAPABLE"]
    assert place.run(act) == (("SUCCESS", (few, 0)), again, (READ, 0), b"inside", "BADF")


def test_one_right_too_many_leaves_both_sets_as_they_were(place):
    def act(guest: Script):
        prepare(guest)
        before = guest.fdstat(DIR)
        answers = [
            guest.fd_fdstat_set_rights(DIR, READ, 0),
            guest.fd_fdstat_set_rights(DIR, 0, 1 << 29),
            guest.fd_fdstat_set_rights(DIR, 0, 1 << 63),
        ]
        return answers, guest.fdstat(DIR) == before

    assert place.run(act) == (["NOTCAPABLE"] * 3, True)


def test_what_is_opened_through_a_narrowed_directory_gets_no_more_than_it_hands_on(place):
    def act(guest: Script):
        prepare(guest)
        assert guest.fd_fdstat_set_rights(DIR, 1 << 13, READ | TELL | 1 << 13) == "SUCCESS"
        below = guest.open(DIR, b"g", rights=ALL)
        deeper = guest.open(DIR, b"sub", oflags=DIRECTORY, rights=ALL_OF_DIR)
        return guest.fdstat(below)[2:], guest.fdstat(deeper)[2:], guest.write(below, b"x")

    handed = READ | TELL | 1 << 13
    assert place.run(act) == ((READ | TELL, handed), (1 << 13, handed), "BADF")


def test_what_a_program_asks_for_too_much_is_left_out(place):
    """As Go does: it asks for every right there is, and for rights that files of no kind have."""

    def act(guest: Script):
        everything = guest.open(3, b"f", rights=2**64 - 1)
        return guest.fdstat(everything)[2:], guest.read(everything)

    assert place.run(act) == ((int(FILE_RIGHTS), int(DIRECTORY_RIGHTS | FILE_RIGHTS)), b"inside")


def test_a_poll_needs_the_right_to_poll_and_to_do_what_it_waits_for(place):
    def act(guest: Script):
        found = []
        for rights in (READ | POLL, WRITE | POLL, READ | WRITE | POLL, READ | WRITE):
            fd = guest.open(3, b"f", rights=rights)
            found.append([event[1] for event in guest.poll(fd_sub(1, 1, fd), fd_sub(2, 2, fd))])
        return found

    ok, no = "SUCCESS", "NOTCAPABLE"
    assert place.run(act) == [[ok, no], [no, ok], [ok, ok], [no, no]]


def test_a_right_that_is_given_up_between_two_polls_is_missed_by_the_second():
    """The same array again: what was parsed for the first poll must not answer the second."""

    def act(guest: Script):
        first = guest.poll(fd_sub(1, 1, 0))
        assert guest.fd_fdstat_set_rights(0, READ, 0) == "SUCCESS"
        return first[0][1], guest.poll(fd_sub(1, 1, 0))[0][1]

    assert scripted(act, stdin=b"x") == ("SUCCESS", "NOTCAPABLE")


@pytest.mark.parametrize(
    ("rights", "answers"), [(0, ["BADF"] * 2), (READ, [b"x", "BADF"]), (WRITE, ["BADF", 1])]
)
def test_standard_streams_can_be_narrowed_too(rights, answers):
    def act(guest: Script):
        for fd in (0, 1):
            assert guest.fd_fdstat_set_rights(fd, rights, 0) == "SUCCESS"
        return [guest.read(0), guest.write(1, b"y")]

    out = bytearray()
    assert scripted(act, stdin=b"x", stdout=out) == answers
    assert out == (b"y" if answers[1] == 1 else b"")


def test_a_listener_without_the_right_to_accept_accepts_nobody():
    def act(guest: Script):
        assert guest.fd_fdstat_set_rights(3, READ, READ) == "SUCCESS"
        return guest.accept(3), guest.sock_shutdown(3, 1)

    assert coop.run(lambda: _with_listener(act)) == ("NOTCAPABLE", "NOTCAPABLE")


def _with_listener(act):
    with Script(listen=["127.0.0.1:0"]) as guest:
        return act(guest)
