"""sock_accept, sock_recv, sock_send and sock_shutdown: success and every errno."""

import fcntl
import os
import socket
import struct
from contextlib import closing, contextmanager

import pytest

import coop
from tests.children import run_child
from tests.wasip1.script import DATA, END, GUARD, IOVS, OUT, POLLERS, Script, fd_sub, scripted

NONBLOCK = 4
PEEK, WAITALL = 1, 2
RD, WR = 1, 2
LISTEN = {"listen": ["127.0.0.1:0"]}

every_poller = pytest.mark.parametrize("poller", POLLERS)


@contextmanager
def pair(kind=socket.SOCK_STREAM):
    left, right = socket.socketpair(type=kind)
    with left, right:
        yield left, right


def dial(guest: Script, number: int = 0) -> socket.socket:
    return socket.create_connection(guest.guest.addresses[number])


# -- accepting


@every_poller
@pytest.mark.seed("N6", "T17", "T26")
def test_a_client_is_accepted_under_a_new_number_and_its_bytes_go_both_ways(poller):
    def act(guest: Script):
        with closing(dial(guest)) as client:
            fd = guest.accept()
            client.sendall(b"ping")
            got = guest.read(fd)
            assert guest.write(fd, b"pong") == 4
            return fd, got, client.recv(9), guest.fdstat(fd)[:2]

    assert scripted(act, poller=poller, **LISTEN) == (4, b"ping", b"pong", (6, 0))


def test_an_accepted_descriptor_can_be_asked_to_be_non_blocking():
    def act(guest: Script):
        with closing(dial(guest)):
            fd = guest.accept(3, NONBLOCK)
            return guest.fdstat(fd)[1], guest.read(fd)

    assert scripted(act, **LISTEN) == (NONBLOCK, "AGAIN")


@every_poller
def test_a_listener_is_non_blocking_from_the_start_and_waits_when_the_guest_says_so(poller):
    def act(guest: Script):
        clients = []
        first = guest.accept()
        guest.fd_fdstat_set_flags(3, 0)
        coop.spawn(lambda: clients.append(dial(guest)))
        second = guest.accept()
        clients[0].close()
        return first, second

    assert scripted(act, poller=poller, **LISTEN) == ("AGAIN", 4)


@pytest.mark.seed("T15", "T24")
def test_what_is_no_listener_cannot_accept(tmp_path):
    def act(guest: Script):
        return [guest.accept(fd) for fd in (0, 4, 3, 99)], guest.accept(3, 1), guest.accept(3, 2**32 - 1)

    with pair() as (left, _):
        found = scripted(act, connections=[left], dirs=[tmp_path])
    assert found == (["NOTSOCK", "NOTSOCK", "INVAL", "BADF"], "INVAL", "INVAL")


def test_a_flag_that_does_not_exist_and_a_bad_address_accept_nobody():
    def act(guest: Script):
        with closing(dial(guest)):
            bad = guest.accept(3, 1), guest.sock_accept(3, 0, END - 3), guest.sock_accept(3, 0, 2**32 - 1)
            return bad, guest.accept()

    assert scripted(act, **LISTEN) == (("INVAL", "FAULT", "FAULT"), 4)


def test_a_full_table_accepts_nobody_and_the_client_can_still_be_had():
    def act(guest: Script):
        with closing(dial(guest)):
            full = guest.accept()
            guest.fd_close(0)
            return full, guest.accept()

    assert scripted(act, limits=coop.Limits(fds=4), **LISTEN) == ("MFILE", 0)


def test_a_host_out_of_descriptors_answers_an_errno_and_nothing_leaks():
    child = """
        import os, resource, socket
        import coop
        from tests.wasip1.script import Script, scripted, dirs_of

        def act(guest):
            clients = [socket.create_connection(guest.guest.addresses[0]) for _ in range(2)]
            before = sorted(os.listdir("/proc/self/fd"), key=int)
            top = int(before[-1])
            fillers = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (top + 20, top + 20))
            while True:
                try:
                    fillers.append(os.dup(0))
                except OSError:
                    break
            for _ in range(100):
                assert guest.accept(3) == "MFILE", "accept"
                assert guest.open(4, b"f") == "MFILE", "open"
                assert guest.open(4, b"d/../f") == "MFILE", "open by a longer way"
                assert guest.path_filestat_get(4, 0, 0x1000, guest.put(0x1000, b"d/../f"), 0x2000) == "MFILE"
                assert guest.path_filestat_get(4, 0, 0x1000, guest.put(0x1000, b"f"), 0x2000) == "SUCCESS"
            for fd in fillers:
                os.close(fd)
            opened = guest.accept(3), guest.accept(3), guest.open(4, b"f")
            for client in clients:
                client.close()
            for fd in opened:
                assert guest.fd_close(fd) == "SUCCESS"
            return opened

        import tempfile
        begun_with = len(os.listdir("/proc/self/fd"))  # some a libffi that keeps its own file open
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(folder + "/d")
            open(folder + "/f", "w").close()
            print(scripted(act, listen=["127.0.0.1:0"], dirs=[folder]))
        print(len(os.listdir("/proc/self/fd")) - begun_with)
    """.replace(", dirs_of", "")
    assert run_child(child).stdout.split(b"\n") == [b"(5, 6, 7)", b"0", b""]


# -- one listener for two guests


@every_poller
def test_two_guests_share_a_listener_and_each_client_gets_one_of_them(poller):
    def main():
        listener = coop.listen("127.0.0.1:0")
        one, two = Script(listen=[listener]), Script(listen=[listener])
        seen = []

        def serve(guest, name):
            guest.fd_fdstat_set_flags(3, 0)
            seen.append((name, guest.read(guest.accept())))

        with listener, one, two, coop.TaskGroup() as group:
            group.spawn(serve, one, "one")
            group.spawn(serve, two, "two")
            clients = [socket.create_connection(listener.address) for _ in range(2)]
            for number, client in enumerate(clients):
                client.sendall(b"%d" % number)
        for client in clients:
            client.close()
        return {name for name, _ in seen}, {data for _, data in seen}

    assert coop.run(main, poller=poller) == ({"one", "two"}, {b"0", b"1"})


@pytest.mark.seed("T14")
def test_a_guest_that_ends_leaves_the_listener_non_blocking_for_the_other_one():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def main():
            with Script(listen=[listener]) as second:
                with Script(listen=[listener]) as first:
                    assert first.accept() == "AGAIN"
                return os.get_blocking(listener.fileno()), second.accept()

        assert coop.run(main) == (False, "AGAIN")
        assert os.get_blocking(listener.fileno())


# -- sockets of the user


@pytest.mark.parametrize("timeout", [None, 0.0, 5.0])
def test_a_users_sockets_are_as_they_were_when_the_guest_has_ended(timeout):
    with pair() as (left, right), socket.create_server(("127.0.0.1", 0)) as listener:
        for sock in (left, listener):
            sock.settimeout(timeout)
        before = [(sock.gettimeout(), os.get_blocking(sock.fileno())) for sock in (left, listener)]

        def act(guest: Script):
            coop.spawn(right.send, b"x")
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            return guest.accept(3), guest.read(4)

        assert scripted(act, listen=[listener], connections=[left]) == ("AGAIN", b"x")
        assert [(sock.gettimeout(), os.get_blocking(sock.fileno())) for sock in (left, listener)] == before
        left.sendall(b"still open")
        assert right.recv(99) == b"still open"


def flags_of(sock: socket.socket) -> int:
    """The flags of the kernel's open file."""
    return fcntl.fcntl(sock.fileno(), fcntl.F_GETFL)


@pytest.mark.seed("T14")
def test_a_users_listener_is_made_non_blocking_once_and_keeps_its_other_flags():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fcntl.fcntl(listener.fileno(), fcntl.F_SETFL, flags_of(listener) | os.O_APPEND)
        before = flags_of(listener)

        def act(guest: Script):
            given = flags_of(listener)
            guest.fd_fdstat_set_flags(3, 0)  # the guest's flag is its own
            return given, flags_of(listener)

        assert scripted(act, listen=[listener, listener]) == (before | os.O_NONBLOCK,) * 2
        assert flags_of(listener) == before


@pytest.mark.seed("T14")
def test_a_users_connection_keeps_its_flags_while_a_guest_uses_it():
    with pair() as (left, right):

        def act(guest: Script):
            coop.spawn(right.send, b"x")
            return guest.read(3), os.get_blocking(left.fileno())

        assert scripted(act, connections=[left]) == (b"x", True)


def test_one_socket_for_input_and_output_still_does_not_block_when_one_of_them_is_closed():
    with pair() as (left, right):

        def act(guest: Script):
            guest.fd_close(0)
            guest.fd_fdstat_set_flags(1, NONBLOCK)
            return guest.read(1), guest.recv(1), guest.write(1, b"out")

        assert scripted(act, stdin=left, stdout=left) == ("AGAIN", "AGAIN", 3)
        assert right.recv(9) == b"out"


@pytest.mark.seed("T12", "T24")
def test_a_socket_of_the_user_may_be_closed_while_the_guest_uses_it():
    with pair() as (left, right):

        def act(guest: Script):
            left.close()
            assert guest.write(3, b"x") == 1
            return right.recv(1)

        assert scripted(act, connections=[left]) == b"x"
        assert right.recv(1) == b""


# -- receiving and sending


@pytest.mark.seed("T15")
def test_a_receive_stores_bytes_count_and_flags_and_nothing_beside_them():
    def act(guest: Script):
        vecs = guest.iovecs((DATA, 2), (DATA + 4, 9))
        assert guest.sock_recv(3, *vecs, 0, OUT, OUT + 8) == "SUCCESS"
        expected = bytearray(GUARD * END)
        table = struct.pack("<4I", DATA, 2, DATA + 4, 9)
        for at, data in (
            (IOVS, table),
            (OUT, b"\5\0\0\0"),
            (OUT + 8, b"\0\0"),
            (DATA, b"he"),
            (DATA + 4, b"llo"),
        ):
            expected[at : at + len(data)] = data
        return guest.image() == expected

    with pair() as (left, right):
        right.send(b"hello")
        assert scripted(act, connections=[left])


@every_poller
@pytest.mark.parametrize("flags", [0, PEEK, WAITALL])
@pytest.mark.seed("T10")
def test_a_receive_waits_and_the_end_of_the_stream_is_nothing(flags, poller):
    with pair() as (left, right):

        def act(guest: Script):
            coop.spawn(right.close)
            return guest.recv(3, 10, flags)

        assert scripted(act, connections=[left], poller=poller) == b""


def test_a_peek_leaves_the_bytes_in_place():
    with pair() as (left, right):
        right.send(b"abc")
        found = scripted(
            lambda guest: [guest.recv(3, 2, flags) for flags in (PEEK, PEEK, 0, 0)], connections=[left]
        )
    assert found == [b"ab", b"ab", b"ab", b"c"]


@every_poller
def test_a_receive_that_wants_all_waits_until_the_buffers_are_full(poller):
    with pair() as (left, right):

        def act(guest: Script):
            def send():
                for byte in b"abcdef":
                    right.send(bytes([byte]))
                    coop.pause()

            coop.spawn(send)
            assert (
                guest.sock_recv(3, *guest.iovecs((DATA, 2), (DATA + 9, 2)), WAITALL, OUT, OUT + 8)
                == "SUCCESS"
            )
            return guest.u32(), guest.got(DATA, 2) + guest.got(DATA + 9, 2), guest.recv(3, 1)

        assert scripted(act, connections=[left], poller=poller) == (4, b"abcd", b"e")


def test_a_receive_that_wants_all_gets_what_there_was_before_the_end():
    with pair() as (left, right):

        def act(guest: Script):
            coop.spawn(lambda: (right.send(b"abc"), coop.pause(), right.close()))
            return guest.recv(3, 10, WAITALL), guest.recv(3, 10, WAITALL)

        assert scripted(act, connections=[left]) == (b"abc", b"")


def test_a_receive_may_want_more_than_the_kernel_ever_holds():
    wanted = 1 << 20
    with pair() as (left, right):
        for sock in (left, right):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def act(guest: Script):
            assert guest.guest.call("grow", 20) == 2
            coop.spawn(coop.run_in_thread, right.sendall, b"z" * wanted)
            assert guest.sock_recv(3, *guest.iovecs((END, wanted)), WAITALL, OUT, OUT + 8) == "SUCCESS"
            return guest.u32(), guest.got(END, wanted) == b"z" * wanted

        assert scripted(act, connections=[left]) == (wanted, True)


def test_a_receive_that_wants_all_hears_of_a_reset_though_something_came_before():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as far,
    ):
        near, _ = server.accept()

        def act(guest: Script):
            def break_off():
                far.send(b"abc")
                coop.pause()
                coop.pause()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                far.close()

            coop.spawn(break_off)
            return guest.recv(3, 10, WAITALL), guest.recv(3, 10)

        with near:
            assert scripted(act, connections=[near]) == ("CONNRESET", b"")


@every_poller
def test_lists_of_buffers_wait_in_both_directions(poller):
    with pair() as (left, right):

        def act(guest: Script):
            vecs = [(DATA + n * 20_000, 20_000) for n in range(3)]
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            sent = 0
            while guest.sock_send(3, *guest.iovecs(*vecs), 0, OUT) == "SUCCESS":
                sent += guest.u32()
            guest.fd_fdstat_set_flags(3, 0)
            coop.spawn(right.recv, sent, socket.MSG_WAITALL)
            assert guest.sock_send(3, *guest.iovecs(*vecs), 0, OUT) == "SUCCESS"
            coop.spawn(right.send, b"abcd")
            assert guest.sock_recv(3, *guest.iovecs((DATA, 1), (DATA + 1, 9)), 0, OUT, OUT + 8) == "SUCCESS"
            return guest.u32(), guest.got(DATA, 4)

        assert scripted(act, connections=[left], poller=poller) == (4, b"abcd")


def test_a_non_blocking_receive_that_wants_all_takes_what_there_is():
    with pair() as (left, right):

        def act(guest: Script):
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            nothing = guest.recv(3, 10, WAITALL)
            right.send(b"abc")
            coop.pause()
            return nothing, guest.recv(3, 10, WAITALL), guest.recv(3, 10)

        assert scripted(act, connections=[left]) == ("AGAIN", b"abc", "AGAIN")


def test_a_datagram_that_is_too_long_is_cut_and_said_to_be():
    with pair(socket.SOCK_DGRAM) as (left, right):
        right.send(b"abcdef")
        right.send(b"gh")

        def act(guest: Script):
            first = guest.recv(3, 4), guest.u16(OUT + 8)
            return first, (guest.recv(3, 4), guest.u16(OUT + 8))

        assert scripted(act, connections=[left]) == ((b"abcd", 1), (b"gh", 0))


def test_an_empty_datagram_is_sent_and_received():
    with pair(socket.SOCK_DGRAM) as (left, right):

        def act(guest: Script):
            assert guest.send(3, b"") == 0
            assert guest.send(3, b"x") == 1
            return right.recv(9), right.recv(9)

        assert scripted(act, connections=[left]) == (b"", b"x")


def test_a_datagram_that_is_too_long_to_send_says_so():
    with pair(socket.SOCK_DGRAM) as (left, _):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

        def act(guest: Script):
            return guest.sock_send(3, *guest.iovecs((0, END)), 0, OUT)

        assert scripted(act, connections=[left]) == "MSGSIZE"


@pytest.mark.seed("T15")
@pytest.mark.parametrize(
    ("fd", "errno"),
    [(99, "BADF"), (0, "NOTSOCK"), (5, "NOTSOCK"), (3, "NOTCONN")],
    ids=["none", "stdin", "dir", "listener"],
)
def test_what_is_no_connection_is_refused_by_name(fd, errno, tmp_path):
    def act(guest: Script):
        return guest.recv(fd), guest.send(fd, b"x"), guest.sock_shutdown(fd, RD)

    with pair() as (left, _):
        assert scripted(act, connections=[left], dirs=[tmp_path], **LISTEN) == (errno,) * 3


def test_unknown_flags_are_invalid_and_move_nothing():
    with pair() as (left, right):
        right.send(b"x")

        def act(guest: Script):
            bad = [guest.recv(3, 9, 4), guest.recv(3, 9, 2**32 - 1), guest.send(3, b"y", 1)]
            bad += [guest.sock_shutdown(3, how) for how in (0, 4, 7, 2**32 - 1)]
            return bad, guest.recv(3)

        assert scripted(act, connections=[left]) == (["INVAL"] * 7, b"x")


@pytest.mark.parametrize(
    ("iovs", "count", "out", "flags"),
    [
        *[
            (IOVS, 1, END - 3, OUT),
            (IOVS, 1, OUT, END - 1),
            (IOVS, 1, 2**32 - 1, OUT),
            (IOVS, 1, OUT, 2**32 - 1),
        ],
        *[(END - 7, 1, OUT, OUT), (END - 8, 2**32 - 1, OUT, OUT), (2**32 - 8, 1, OUT, OUT)],
        *[(IOVS + 8, 1, OUT, OUT), (IOVS + 16, 1, OUT, OUT), (IOVS, 3, OUT, OUT)],
    ],
)
def test_bad_addresses_are_faults_before_a_byte_moves(iovs, count, out, flags):
    with pair() as (left, right):
        right.send(b"untouched")

        def act(guest: Script):
            guest.iovecs((DATA, 4), (END - 1, 2), (2**32 - 1, 2**32 - 1))
            image = guest.image()
            faults = {guest.sock_recv(3, iovs, count, how, out, flags) for how in (0, PEEK, WAITALL)}
            if flags == OUT:
                faults.add(guest.sock_send(3, iovs, count, 0, out))
            return faults, guest.image() == image, guest.recv(3)

        assert scripted(act, connections=[left]) == ({"FAULT"}, True, b"untouched")
        with pytest.raises(BlockingIOError):
            right.recv(1, socket.MSG_DONTWAIT)


@every_poller
@pytest.mark.seed("T27")
def test_a_guest_that_does_not_block_tries_polls_and_tries_again_until_it_closes_the_number(poller):
    with pair() as (left, right):

        def act(guest: Script):
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            coop.spawn(right.send, b"later")
            tries = [guest.recv(3)]
            while tries[-1] == "AGAIN":
                guest.poll(fd_sub(1, 1, 3))
                tries.append(guest.recv(3))
            guest.fd_close(3)
            return tries, guest.recv(3), guest.poll(fd_sub(1, 1, 3))

        found = scripted(act, connections=[left], poller=poller)
        assert found == (["AGAIN", b"later"], "BADF", [(1, "BADF", 1, 0, 0)])


@pytest.mark.seed("T10", "T15")
@every_poller
def test_a_send_waits_for_room(poller):
    with pair() as (left, right):

        def act(guest: Script):
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            sent = 0
            while (count := guest.send(3, b"x" * 4096)) != "AGAIN":
                sent += count
            guest.fd_fdstat_set_flags(3, 0)
            coop.spawn(right.recv, sent)
            return guest.send(3, b"y")

        assert scripted(act, connections=[left], poller=poller) == 1


# -- shutting down


@pytest.mark.seed("T15")
def test_the_peer_reads_the_end_after_sending_was_shut_down_and_can_still_answer():
    with pair() as (left, right):

        def act(guest: Script):
            assert guest.sock_shutdown(3, WR) == "SUCCESS"
            end = right.recv(1)
            right.send(b"answer")
            return end, guest.send(3, b"x"), guest.recv(3)

        assert scripted(act, connections=[left]) == (b"", "PIPE", b"answer")


@pytest.mark.parametrize("how", [RD, RD | WR])
def test_after_receiving_was_shut_down_there_is_nothing_to_read(how):
    with pair() as (left, _):

        def act(guest: Script):
            assert guest.sock_shutdown(3, how) == "SUCCESS"
            return guest.recv(3), guest.read(3)

        assert scripted(act, connections=[left]) == (b"", b"")


def test_what_is_not_connected_any_more_cannot_be_shut_down():
    def act(guest: Script):
        with closing(dial(guest)) as client:
            fd = guest.accept()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return guest.sock_shutdown(fd, WR)

    assert scripted(act, **LISTEN) == "NOTCONN"


@every_poller
def test_a_shutdown_by_another_user_of_the_connection_wakes_a_parked_read(poller):
    with pair() as (left, _):

        def act(guest: Script):
            coop.spawn(left.shutdown, socket.SHUT_RD)
            return guest.read(3)

        assert scripted(act, connections=[left], poller=poller) == b""


# -- a wait for all that is ended by the host


def test_a_wait_for_all_that_a_deadline_ends_leaves_nothing_to_the_next_call():
    """What came before the deadline is lost, and no later call, on this socket or another, counts it."""

    def main():
        listener = coop.listen("127.0.0.1:0")
        with (
            coop.connect(listener.address) as client,
            listener.accept() as lent,
            Script(connections=[lent]) as guest,
        ):
            client.sendall(b"A" * 100)
            lent.set_deadline(0.05)
            ended = guest.recv(3, 4096, 2)
            lent.set_deadline(None)
            client.sendall(b"B" * 8)
            guest.put(DATA, GUARD * 24)
            error = guest.sock_recv(3, *guest.iovecs((DATA, 8)), 2, OUT, OUT + 8)
            listener.close()
            return ended, error, guest.u32(), guest.got(DATA, 24)

    assert coop.run(main) == ("TIMEDOUT", "SUCCESS", 8, b"B" * 8 + GUARD * 16)
