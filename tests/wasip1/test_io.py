"""The calls on any descriptor: read, write, close, fdstat, filestat, seek, tell, prestat."""

import os
import socket
import struct
from contextlib import closing

import pytest

import coop
from tests.wasip1.script import DATA, END, GUARD, IOVS, OUT, Script, scripted

NONBLOCK, APPEND, DSYNC = 4, 1, 2
READ, SEEK, TELL, WRITE, STAT = 1 << 1, 1 << 2, 1 << 5, 1 << 6, 1 << 21


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ten").write_bytes(b"0123456789")
    os.utime(tmp_path / "ten", ns=(1_000_000_001, 2_000_000_002))
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


# -- reading and writing


def test_a_read_fills_the_buffers_in_order_and_nothing_beside_them():
    def act(guest: Script):
        vecs = guest.iovecs((DATA, 2), (DATA + 8, 0), (DATA + 4, 2))
        guest.put(IOVS + 24, GUARD * 8)
        assert guest.fd_read(0, *vecs, OUT) == "SUCCESS"
        table = struct.pack("<6I", DATA, 2, DATA + 8, 0, DATA + 4, 2)
        expected = bytearray(GUARD * END)
        for at, data in ((IOVS, table), (OUT, b"\4\0\0\0"), (DATA, b"ab"), (DATA + 4, b"cd")):
            expected[at : at + len(data)] = data
        return guest.image() == expected

    assert scripted(act, stdin=b"abcdef")


def test_a_write_gathers_its_buffers_and_says_how_much_was_taken():
    taken = bytearray()

    def act(guest: Script):
        guest.put(DATA, b"hello")
        assert guest.fd_write(1, *guest.iovecs((DATA, 3), (DATA + 3, 2), (DATA, 0)), OUT) == "SUCCESS"
        return guest.u32()

    assert (scripted(act, stdout=taken), bytes(taken)) == (5, b"hello")


@pytest.mark.parametrize("call", ["fd_read", "fd_write"])
@pytest.mark.seed("D14", "T16")
def test_no_bytes_are_moved_without_waiting(call):
    left, right = socket.socketpair()

    def act(guest: Script):
        empty = getattr(guest, call)(0, IOVS, 0, OUT), guest.u32()
        zero = getattr(guest, call)(0, *guest.iovecs((DATA, 0)), OUT), guest.u32()
        return empty, zero

    with left, right:
        assert scripted(act, stdin=left) == (("SUCCESS", 0), ("SUCCESS", 0))


@pytest.mark.parametrize("call", ["fd_read", "fd_write"])
def test_a_number_that_names_nothing_is_bad(call):
    def act(guest: Script):
        return [getattr(guest, call)(fd, IOVS, 0, OUT) for fd in (3, 99, 2**31, 2**32 - 1)]

    assert scripted(act) == ["BADF"] * 4


def test_each_direction_of_a_file_opened_for_the_other_one_is_bad(folder):
    def act(guest: Script):
        reader, writer = guest.open(3, b"ten", rights=READ), guest.open(3, b"ten", rights=WRITE)
        return guest.write(reader, b"x"), guest.read(writer), guest.read(3), guest.write(3, b"x")

    assert scripted(act, dirs=[folder]) == ("BADF",) * 4


def test_a_listener_has_no_bytes():
    def act(guest: Script):
        return guest.read(3), guest.write(3, b"x")

    assert scripted(act, listen=["127.0.0.1:0"]) == ("NOTCONN", "NOTCONN")


@pytest.mark.parametrize("call", ["fd_read", "fd_write"])
@pytest.mark.parametrize(
    ("vecs", "out"),
    [
        ([(DATA, 1)], END - 3),
        ([(DATA, 1)], 2**32 - 1),
        ([(END, 1)], OUT),
        ([(END - 1, 2)], OUT),
        ([(2**32 - 1, 1)], OUT),
        ([(1, 2**32 - 1)], OUT),
        ([(DATA, 1), (END - 1, 2)], OUT),
        ([(2**32 - 1, 2**32 - 1), (DATA, 1)], OUT),
    ],
)
def test_a_bad_address_is_a_fault_before_a_byte_moves(call, vecs, out):
    taken = bytearray()

    def act(guest: Script):
        array = guest.iovecs(*vecs)
        before = guest.image()
        assert getattr(guest, call)(0 if call == "fd_read" else 1, *array, out) == "FAULT"
        return guest.image() == before and guest.read(0)

    assert scripted(act, stdin=b"untouched", stdout=taken) == b"untouched"
    assert taken == b""


@pytest.mark.parametrize(
    ("iovs", "count"), [(END - 7, 1), (END, 1), (2**32 - 8, 2), (END - 8, 2), (END - 8, 2**32 - 1)]
)
def test_an_iovec_array_that_leaves_memory_is_a_fault(iovs, count):
    assert scripted(lambda guest: guest.fd_read(0, iovs, count, OUT), stdin=b"x") == "FAULT"


def test_a_list_of_too_many_buffers_is_cut_short_as_any_write_may_be():
    taken = bytearray()

    def act(guest: Script):
        guest.put(0x4000, struct.pack("<II", DATA, 1) * 4096)
        guest.put(DATA, b"x")
        return guest.fd_write(1, 0x4000, 2**32 - 1, OUT), guest.u32()

    assert scripted(act, stdout=taken) == ("SUCCESS", 1024)
    assert taken == b"x" * 1024


def test_buffers_that_overlap_each_other_and_the_count_do_no_harm():
    def act(guest: Script):
        assert guest.fd_read(0, *guest.iovecs((OUT, 4), (OUT + 2, 4)), OUT) == "SUCCESS"
        return guest.u32(), guest.got(OUT + 4, 3)

    assert scripted(act, stdin=b"abcdefgh") == (8, b"gh" + GUARD)


def test_one_call_moves_no_more_than_its_limit():
    taken = bytearray()

    def act(guest: Script):
        one = guest.read(0, 50)
        guest.fd_read(0, *guest.iovecs((DATA, 7), (DATA + 7, 7)), OUT)
        return one, guest.u32(), guest.write(1, b"y" * 50)

    options = {"stdin": b"x" * 100, "stdout": taken, "limits": coop.Limits(bytes_per_call=10)}
    assert scripted(act, **options) == (b"x" * 10, 10, 10)
    assert taken == b"y" * 10


def test_memory_grown_by_the_guest_is_used_at_once():
    taken = bytearray()

    def act(guest: Script):
        assert guest.guest.call("grow", 1) == 2
        vecs = guest.iovecs((END + 100, 5))
        assert guest.fd_read(0, *vecs, END + 8) == "SUCCESS"
        assert guest.fd_write(1, *vecs, END + 16) == "SUCCESS"
        return guest.u32(END + 8), guest.u32(END + 16)

    assert scripted(act, stdin=b"grown", stdout=taken) == (5, 5)
    assert taken == b"grown"


@pytest.mark.seed("T10")
def test_a_reset_connection_says_so_once_and_then_ends():
    left, right = socket.create_server(("127.0.0.1", 0)), socket.socket()

    def act(guest: Script):
        right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        right.close()
        return guest.read(3), guest.write(3, b"x")

    with left, right:
        right.connect(left.getsockname())
        served, _ = left.accept()
        with served:
            assert scripted(act, connections=[served]) == ("CONNRESET", "PIPE")


def test_a_write_nobody_reads_is_a_broken_pipe():
    left, right = socket.socketpair()

    def act(guest: Script):
        right.close()
        return guest.write(1, b"x")

    with left, right:
        assert scripted(act, stdout=left) == "PIPE"


def test_a_full_disk_says_no_space(folder):
    def act(guest: Script):
        fd = guest.open(3, b"full", rights=WRITE)
        return guest.write(fd, b"x")

    assert scripted(act, dirs=["/dev"]) == "NOSPC"


# -- waiting and not waiting


@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
@pytest.mark.seed("T10", "S12")
def test_a_blocking_read_parks_its_own_task_alone(poller):
    left, right = socket.socketpair()
    order = []

    def act(guest: Script):
        coop.spawn(lambda: (order.append("other ran"), right.send(b"late")))
        order.append("before")
        order.append(guest.read(0))
        return order

    with left, right:
        assert scripted(act, stdin=left, poller=poller) == ["before", "other ran", b"late"]


def test_a_non_blocking_read_says_again_and_a_blocking_one_waits_after_the_flag_is_gone():
    left, right = socket.socketpair()

    def act(guest: Script):
        assert guest.fd_fdstat_set_flags(0, NONBLOCK) == "SUCCESS"
        first = guest.read(0), guest.read(0)
        assert guest.fd_fdstat_set_flags(0, 0) == "SUCCESS"
        coop.spawn(right.send, b"x")
        return *first, guest.read(0)

    with left, right:
        assert scripted(act, stdin=left) == ("AGAIN", "AGAIN", b"x")


@pytest.mark.parametrize("call", ["read", "recv"])
def test_a_guest_that_spins_on_non_blocking_reads_hears_of_data_though_it_never_lets_go(call):
    left, right = socket.socketpair()

    def act(guest: Script):
        guest.fd_fdstat_set_flags(0, NONBLOCK)
        assert getattr(guest, call)(0) == "AGAIN"
        right.send(b"data")
        return [answer for _ in range(300) if (answer := getattr(guest, call)(0)) != "AGAIN"]

    with left, right:
        assert scripted(act, stdin=left)[0] == b"data"


def test_a_guest_that_spins_on_non_blocking_writes_hears_of_room_though_it_never_lets_go():
    left, right = socket.socketpair()

    def act(guest: Script):
        guest.fd_fdstat_set_flags(1, NONBLOCK)
        while guest.write(1, b"x" * 4096) != "AGAIN":
            pass
        drain(right)
        return any(guest.write(1, b"x") == 1 for _ in range(300))

    with left, right:
        assert scripted(act, stdout=left)


def drain(sock: socket.socket) -> int:
    """Read all that is there now, and count it."""
    count = 0
    while True:
        try:
            count += len(sock.recv(1 << 20, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return count


@pytest.mark.seed("T10")
def test_a_write_takes_what_fits_and_the_rest_waits_for_the_reader():
    left, right = socket.socketpair()
    sent = []

    def act(guest: Script):
        def reader():
            got = 0
            while got < sum(sent[:-1]) + 60000:
                got += len(conn.recv(1 << 16))

        conn = right
        conn.setblocking(True)
        while not sent or sent[-1] == 60000:
            guest.put(DATA, b"x" * 60000)
            guest.fd_fdstat_set_flags(1, NONBLOCK)
            guest.fd_write(1, *guest.iovecs((DATA, 60000)), OUT)
            sent.append(guest.u32())
            guest.put(OUT, bytes(4))
        guest.fd_fdstat_set_flags(1, 0)
        coop.spawn(coop.run_in_thread, reader)
        return guest.write(1, b"y" * 60000)

    with left, right:
        assert scripted(act, stdout=left) > 0


# -- closing


@pytest.mark.seed("T11", "T16")
def test_a_closed_descriptor_is_bad_and_closing_it_again_too():
    def act(guest: Script):
        return guest.fd_close(1), guest.fd_close(1), guest.write(1, b"x"), guest.fd_close(2**32 - 1)

    assert scripted(act) == ("SUCCESS", "BADF", "BADF", "BADF")


@pytest.mark.seed("F1", "F4")
def test_the_number_freed_last_is_given_out_first(folder):
    def act(guest: Script):
        opened = [guest.open(3, b"ten") for _ in range(3)]
        for fd in opened[:2]:
            guest.fd_close(fd)
        return opened, [guest.open(3, b"ten") for _ in range(3)]

    assert scripted(act, dirs=[folder]) == ([4, 5, 6], [5, 4, 7])


def test_closing_gives_the_hosts_descriptor_back_at_once(folder):
    def act(guest: Script):
        before = set(os.listdir("/proc/self/fd"))
        fd = guest.open(3, b"ten")
        more = set(os.listdir("/proc/self/fd")) - before
        guest.fd_close(fd)
        return len(more), set(os.listdir("/proc/self/fd")) - before

    assert scripted(act, dirs=[folder]) == (1, set())


@pytest.mark.seed("T18")
def test_a_closed_connection_ends_for_its_peer_at_once():
    def act(guest: Script):
        with closing(socket.create_connection(guest.guest.addresses[0])) as client:
            fd = guest.accept()
            guest.fd_close(fd)
            return client.recv(1)

    assert scripted(act, listen=["127.0.0.1:0"]) == b""


# -- fdstat


@pytest.mark.seed("T13")
def test_an_fdstat_is_24_bytes_that_say_what_the_descriptor_is():
    def act(guest: Script):
        assert guest.fd_fdstat_get(3, OUT) == "SUCCESS"
        data = guest.got(OUT, 24)
        return data, guest.only_changed(OUT, data)

    data, alone = scripted(act, listen=["127.0.0.1:0"])
    filetype, flags, rights, _ = struct.unpack("<BxH4xQQ", data)
    assert (filetype, flags, rights >> 29, alone) == (6, NONBLOCK, 1, True)


@pytest.mark.seed("T13")
def test_filetypes_are_those_of_the_files(folder):
    left, right = socket.socketpair(type=socket.SOCK_DGRAM)

    def act(guest: Script):
        fds = [guest.open(4, name) for name in (b"ten", b".", b"fifo")]
        return [guest.fdstat(fd)[0] for fd in (0, 3, 4, *fds)]

    with left, right:
        assert scripted(act, connections=[left], dirs=[folder]) == [0, 5, 3, 4, 3, 0]


@pytest.mark.seed("T14")
def test_flags_are_seen_after_they_were_set_and_belong_to_one_open_file(folder):
    def act(guest: Script):
        one, two = guest.open(3, b"ten", rights=READ | WRITE | 8), guest.open(3, b"ten")
        assert guest.fd_fdstat_set_flags(one, NONBLOCK | APPEND) == "SUCCESS"
        return guest.fdstat(one)[1], guest.fdstat(two)[1]

    assert scripted(act, dirs=[folder]) == (NONBLOCK | APPEND, 0)


def test_appending_can_be_turned_on_and_off(folder):
    def act(guest: Script):
        fd = guest.open(3, b"ten", rights=READ | WRITE | SEEK | 8)
        guest.fd_fdstat_set_flags(fd, APPEND)
        guest.write(fd, b"end")
        guest.fd_fdstat_set_flags(fd, 0)
        guest.fd_seek(fd, 0, 0, OUT)
        guest.write(fd, b"start")

    scripted(act, dirs=[folder])
    assert (folder / "ten").read_bytes() == b"start56789end"


@pytest.mark.parametrize(
    ("fd", "flags", "errno"),
    [(9, 0, "BADF"), (0, 32, "INVAL"), (0, 2**32 - 1, "INVAL"), (0, DSYNC, "NOTSUP"), (0, 16, "NOTSUP")],
)
def test_flags_that_cannot_be_set_are_refused(fd, flags, errno):
    assert scripted(lambda guest: guest.fd_fdstat_set_flags(fd, flags)) == errno


def test_flags_are_not_set_without_the_right(folder):
    def act(guest: Script):
        return guest.fd_fdstat_set_flags(guest.open(3, b"ten", rights=READ), NONBLOCK)

    assert scripted(act, dirs=[folder]) == "NOTCAPABLE"


@pytest.mark.parametrize(
    ("call", "size"), [("fd_fdstat_get", 24), ("fd_prestat_get", 8), ("fd_filestat_get", 64), ("fd_tell", 8)]
)
def test_a_record_that_does_not_fit_memory_is_a_fault(call, size, folder):
    def act(guest: Script):
        fd = guest.open(3, b"ten", rights=READ | SEEK | STAT) if call == "fd_tell" else 3
        image = guest.image()
        faults = {getattr(guest, call)(fd, where) for where in (END - size + 1, END, 2**32 - 1)}
        return (
            faults,
            guest.image() == image,
            getattr(guest, call)(fd, END - size),
            getattr(guest, call)(99, OUT),
        )

    assert scripted(act, dirs=[folder]) == ({"FAULT"}, True, "SUCCESS", "BADF")


# -- filestat


def test_a_filestat_is_64_bytes_as_the_host_sees_the_file(folder):
    def act(guest: Script):
        fd = guest.open(3, b"ten")
        guest.put(OUT, GUARD * 4)
        guest.put(DATA, GUARD * 3)
        assert guest.fd_filestat_get(fd, OUT) == "SUCCESS"
        data = guest.got(OUT, 64)
        return data, guest.only_changed(OUT, data)

    data, alone = scripted(act, dirs=[folder])
    seen = os.stat(folder / "ten")
    assert struct.unpack("<QQB7xQQQQQ", data) == (
        *(seen.st_dev, seen.st_ino, 4, 1, 10),
        *(1_000_000_001, 2_000_000_002, seen.st_ctime_ns),
    )
    assert alone


def test_a_stream_in_memory_has_a_filestat_without_a_file():
    def act(guest: Script):
        assert guest.fd_filestat_get(0, OUT) == "SUCCESS"
        return struct.unpack("<QQB7xQQQQQ", guest.got(OUT, 64))

    assert scripted(act, stdin=b"x") == (0, 0, 0, 1, 0, 0, 0, 0)


def test_a_filestat_is_not_told_without_the_right(folder):
    def act(guest: Script):
        return guest.fd_filestat_get(guest.open(3, b"ten", rights=READ), OUT)

    assert scripted(act, dirs=[folder]) == "NOTCAPABLE"


# -- positions


def test_seeking_moves_the_position_from_each_origin(folder):
    def act(guest: Script):
        fd = guest.open(3, b"ten", rights=READ | SEEK)
        found = []
        for offset, whence in ((4, 0), (2, 1), (2**64 - 3, 2), (2**64 - 7, 1), (100, 0)):
            assert guest.fd_seek(fd, offset, whence, OUT) == "SUCCESS"
            found.append((guest.u64(), guest.read(fd, 1)))
        assert guest.fd_tell(fd, OUT) == "SUCCESS"
        return found, guest.u64()

    found, end = scripted(act, dirs=[folder])
    assert found == [(4, b"4"), (7, b"7"), (7, b"7"), (1, b"1"), (100, b"")]
    assert end == 100


def test_a_position_that_cannot_be_is_invalid_and_moves_nothing(folder):
    def act(guest: Script):
        fd = guest.open(3, b"ten", rights=READ | SEEK)
        guest.fd_seek(fd, 5, 0, OUT)
        bad = [
            guest.fd_seek(fd, *where, OUT)
            for where in ((2**64 - 1, 0), (0, 3), (0, 2**32 - 1), (2**64 - 6, 1))
        ]
        return bad, guest.fd_seek(fd, 0, 0, END - 7), guest.read(fd, 1)

    assert scripted(act, dirs=[folder]) == (["INVAL"] * 4, "FAULT", b"5")


@pytest.mark.parametrize(
    "call", [lambda guest, fd: guest.fd_seek(fd, 0, 0, OUT), lambda guest, fd: guest.fd_tell(fd, OUT)]
)
def test_streams_have_no_position_and_directories_none_to_move(call, folder):
    left, right = socket.socketpair()

    def act(guest: Script):
        fds = [0, 1, 3, guest.open(4, b"fifo", rights=READ | SEEK), 4, 99]
        return [call(guest, fd) for fd in fds]

    with left, right:
        found = scripted(act, stdout=lambda data: None, connections=[left], dirs=[folder])
    assert found == ["SPIPE", "SPIPE", "SPIPE", "SPIPE", "BADF", "BADF"]


def test_the_right_to_tell_is_not_the_right_to_seek(folder):
    def act(guest: Script):
        fd = guest.open(3, b"ten", rights=READ | TELL)
        return (
            guest.fd_tell(fd, OUT),
            guest.fd_seek(fd, 0, 1, OUT),
            guest.fd_seek(fd, 1, 1, OUT),
            guest.read(fd, 1),
        )

    assert scripted(act, dirs=[folder]) == ("SUCCESS", "SUCCESS", "NOTCAPABLE", b"0")


# -- what was pre-opened


@pytest.mark.seed("T26")
def test_sockets_come_first_from_3_then_directories_and_the_end_is_bad(folder):
    left, right = socket.socketpair()

    def act(guest: Script):
        found = []
        for fd in range(3, 99):
            guest.put(OUT, GUARD * 16)
            error = guest.fd_prestat_get(fd, OUT)
            if error != "SUCCESS":
                return found, error
            tag, length = struct.unpack("<B3xI", guest.got(OUT, 8))
            assert guest.got(OUT + 8, 1) == GUARD
            guest.put(DATA, GUARD * 32)
            assert guest.fd_prestat_dir_name(fd, DATA, length) == "SUCCESS"
            assert guest.got(DATA + length, 1) == GUARD
            found.append((tag, guest.got(DATA, length), guest.fdstat(fd)[0]))
        return found, "no end"

    with left, right:
        found, end = scripted(
            act,
            listen=["127.0.0.1:0"],
            connections=[left],
            dirs=[coop.Dir(folder, "/data"), coop.Dir(folder, ".")],
        )
    assert found == [(1, b"socket:3", 6), (1, b"socket:4", 6), (0, b"/data", 3), (0, b".", 3)]
    assert end == "BADF"


def test_what_was_not_pre_opened_has_no_prestat(folder):
    def act(guest: Script):
        opened, empty = guest.open(3, b"."), guest.fd_close(3)
        return (
            [guest.fd_prestat_get(fd, OUT) for fd in (0, 1, 2, 3, opened)],
            guest.fd_prestat_dir_name(0, OUT, 9),
            empty,
        )

    assert scripted(act, dirs=[folder]) == (["BADF"] * 5, "BADF", "SUCCESS")


def test_a_name_is_stored_whole_or_not_at_all(folder):
    def act(guest: Script):
        short = guest.fd_prestat_dir_name(3, DATA, 4)
        untouched = guest.image() == GUARD * END
        longer = guest.fd_prestat_dir_name(3, DATA, 2**32 - 1)
        return (
            short,
            untouched,
            longer,
            guest.only_changed(DATA, b"/data"),
            guest.fd_prestat_dir_name(3, END - 4, 5),
        )

    found = scripted(act, dirs=[coop.Dir(folder, "/data")])
    assert found == ("NAMETOOLONG", True, "SUCCESS", True, "FAULT")
