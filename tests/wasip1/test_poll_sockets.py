"""poll_oneoff on sockets: byte counts, hangups and errors, over TCP and over Unix sockets."""

import os
import select
import socket
import struct
from contextlib import ExitStack, contextmanager

import pytest

import coop
from tests.wasip1.script import POLLERS, Script, clock_sub, fd_sub, scripted

CLOCK, READ, WRITE = 0, 1, 2
HANGUP = 1
NONBLOCK = 4
PEEK = 1
NEVER = 2**64 - 1

every_poller = pytest.mark.parametrize("poller", POLLERS)
each_family = pytest.mark.parametrize("family", ["tcp", "unix"])


@contextmanager
def connection(family: str, kind: int = socket.SOCK_STREAM):
    """The near end, which the guest gets, and the far one."""
    with ExitStack() as stack:
        if family == "unix":
            near, far = socket.socketpair(type=kind)
        else:
            with socket.create_server(("127.0.0.1", 0)) as server:
                far = socket.create_connection(server.getsockname())
                near, _ = server.accept()
        yield stack.enter_context(near), stack.enter_context(far)


def reset(sock: socket.socket) -> None:
    """Close with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def ready(guest: Script, *kinds: int) -> list[tuple[int, str, int, int]]:
    """Type, errno, bytes and flags of each event for fd 3; the poll waits until there is one."""
    events = guest.poll(*[fd_sub(kind, kind, 3) for kind in kinds])
    return [(kind, errno, nbytes, flags) for _, errno, kind, nbytes, flags in events]


def is_idle(guest: Script, kind: int) -> bool:
    """Whether a poll that only looks finds nothing."""
    return [event[2] for event in guest.poll(fd_sub(1, kind, 3), clock_sub(2, 0))] == [CLOCK]


@every_poller
@each_family
def test_a_connection_tells_how_many_bytes_wait(family, poller):
    with connection(family) as (near, far):

        def act(guest: Script):
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            assert guest.read(3) == "AGAIN"
            idle = is_idle(guest, READ)
            counts = []
            for data in (b"abc", b"defg"):
                far.sendall(data)
                while not counts or counts[-1] < 3 + 4 * (data == b"defg"):
                    counts.append(ready(guest, READ)[0][2])
            guest.read(3, 5)
            return idle, counts[-1], ready(guest, READ), ready(guest, WRITE)

        found = scripted(act, connections=[near], poller=poller)
    assert found == (True, 7, [(READ, "SUCCESS", 2, 0)], [(WRITE, "SUCCESS", 1, 0)])


@every_poller
@each_family
def test_a_peer_that_sends_no_more_hangs_up_for_reading_behind_its_last_bytes(family, poller):
    with connection(family) as (near, far):
        far.sendall(b"last")
        far.shutdown(socket.SHUT_WR)

        def act(guest: Script):
            found = [ready(guest, READ)]
            while not found[-1][0][3]:
                found.append(ready(guest, READ))
            read = guest.read(3), ready(guest, READ), ready(guest, READ, WRITE)
            assert guest.write(3, b"answer") == 6
            return found[-1], read, far.recv(9)

        found = scripted(act, connections=[near], poller=poller)
    end = (READ, "SUCCESS", 0, HANGUP)
    assert found == (
        [(READ, "SUCCESS", 4, HANGUP)],
        (b"last", [end], [end, (WRITE, "SUCCESS", 1, 0)]),
        b"answer",
    )


@every_poller
@each_family
def test_a_peer_that_is_gone_hangs_up_in_both_directions(family, poller):
    with connection(family) as (near, far):

        def act(guest: Script):
            guest.write(3, b"unread")
            reset(far)
            found = ready(guest, READ, WRITE)
            while len(found) < 2 or not found[1][3]:
                found = ready(guest, READ, WRITE)
            return found, guest.read(3), guest.read(3), guest.write(3, b"x"), guest.send(3, b"x")

        found, first, second, *written = scripted(act, connections=[near], poller=poller)
    # The errno is not in the event: the call that follows tells it, once.
    assert found == [(READ, "SUCCESS", 0, HANGUP), (WRITE, "SUCCESS", 1, HANGUP)]
    assert (first, second, written) == ("CONNRESET", b"", ["PIPE", "PIPE"])


@every_poller
@each_family
def test_a_parked_poll_hears_of_a_reset(family, poller):
    with connection(family) as (near, far):

        def act(guest: Script):
            guest.write(3, b"unread")
            coop.spawn(reset, far)
            return [event[:2] for event in guest.poll(clock_sub(9, NEVER), fd_sub(1, READ, 3))], guest.read(3)

        assert scripted(act, connections=[near], poller=poller) == ([(1, "SUCCESS")], "CONNRESET")


@every_poller
@pytest.mark.parametrize("how", [1, 3])
def test_what_the_guest_itself_shut_down_is_at_its_end(how, poller):
    with connection("tcp") as (near, _):

        def act(guest: Script):
            assert guest.sock_shutdown(3, how) == "SUCCESS"
            return ready(guest, READ), guest.read(3)

        found = scripted(act, connections=[near], poller=poller)
    assert found == ([(READ, "SUCCESS", 0, HANGUP)], b"")


@every_poller
@pytest.mark.parametrize("address", ["127.0.0.1:0", "unix:@coop-polled"])
def test_a_listener_is_ready_for_reading_when_a_client_waits_and_never_for_writing(address, poller):
    def act(guest: Script):
        assert guest.accept() == "AGAIN"
        idle = is_idle(guest, READ), is_idle(guest, WRITE)
        unix = address.startswith("unix:")
        client = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        with client:
            client.connect("\0coop-polled" if unix else guest.guest.addresses[0])
            found = ready(guest, READ)
            taken = guest.accept()
        return idle, found, taken, guest.accept(), is_idle(guest, READ)

    found = scripted(act, listen=[address], poller=poller)
    assert found == ((True, True), [(READ, "SUCCESS", 1, 0)], 4, "AGAIN", True)


@every_poller
def test_a_datagram_is_counted_by_itself(poller):
    with connection("unix", socket.SOCK_DGRAM) as (near, far):
        far.send(b"abcdef")
        far.send(b"gh")

        def act(guest: Script):
            first = ready(guest, READ), guest.read(3)
            return first, ready(guest, READ), guest.read(3), ready(guest, WRITE)

        found = scripted(act, connections=[near], poller=poller)
    # Linux counts every datagram that waits on a Unix socket, and the next one alone on UDP.
    assert found[0][0][0][2] >= 6
    assert (found[0][1], found[1:]) == (
        b"abcdef",
        ([(READ, "SUCCESS", 2, 0)], b"gh", [(WRITE, "SUCCESS", 1, 0)]),
    )


@every_poller
def test_of_many_sockets_each_tells_its_own(poller):
    with ExitStack() as stack:
        ends = [stack.enter_context(connection(family)) for family in ("tcp", "unix") * 3]
        (_, data), (_, half), (_, gone), *_ = ends

        def act(guest: Script):
            data.send(b"x")
            half.shutdown(socket.SHUT_WR)
            gone.close()
            events = []
            while [event[0] for event in events] != [3, 4, 5]:
                events = guest.poll(*[fd_sub(fd, READ, fd) for fd in range(3, 9)])
            return events

        events = scripted(act, connections=[near for near, _ in ends], poller=poller)
    assert events == [
        (3, "SUCCESS", READ, 1, 0),
        (4, "SUCCESS", READ, 0, HANGUP),
        (5, "SUCCESS", READ, 0, HANGUP),
    ]


@every_poller
@pytest.mark.parametrize("how", [1, 3])
def test_datagrams_that_are_not_received_any_more_have_an_end(how, poller):
    with connection("unix", socket.SOCK_DGRAM) as (near, far):

        def act(guest: Script):
            assert is_idle(guest, READ)
            assert guest.sock_shutdown(3, how) == "SUCCESS"
            return guest.read(3), ready(guest, READ), guest.recv(3), guest.recv(3, flags=PEEK)

        found = scripted(act, connections=[near], poller=poller)
        far.close()
    assert found == (b"", [(READ, "SUCCESS", 0, HANGUP)], b"", b"")


# -- what was ready, and is no more


def refused(sock: socket.socket) -> None:
    """Send a datagram that nobody takes, and wait until its error has come back; it alone."""
    asker = select.poll()
    asker.register(sock, 0)
    sock.send(b"x")
    assert asker.poll(30_000)


@every_poller
def test_an_error_that_a_write_told_of_is_nothing_to_read(poller):
    with socket.socket(type=socket.SOCK_DGRAM) as near, socket.socket(type=socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        near.connect(far.getsockname())
        far.close()

        def act(guest: Script):
            refused(near)
            coop.pause()
            first = guest.write(3, b"x"), is_idle(guest, READ)
            refused(near)
            seen = ready(guest, READ)
            return first, seen, guest.write(3, b"x"), is_idle(guest, READ)

        found = scripted(act, connections=[near], poller=poller)
    assert found == (("CONNREFUSED", True), [(READ, "SUCCESS", 0, 0)], "CONNREFUSED", True)


@every_poller
def test_urgent_data_alone_is_nothing_to_read(poller):
    with connection("tcp") as (near, far):

        def act(guest: Script):
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            assert guest.read(3) == "AGAIN"
            far.send(b"!", socket.MSG_OOB)
            asker = select.poll()
            asker.register(near, select.POLLPRI)
            asker.poll()
            coop.pause()
            idle = is_idle(guest, READ)
            far.send(b"more")
            return idle, ready(guest, READ)[0][:2], guest.read(3)

        assert scripted(act, connections=[near], poller=poller) == (True, (READ, "SUCCESS"), b"more")


@every_poller
def test_a_new_writer_of_a_fifo_takes_back_a_hangup_that_was_told(poller, tmp_path):
    os.mkfifo(tmp_path / "fifo")

    def act(guest: Script):
        fd = guest.open(3, b"fifo")
        found = []
        for data in (b"", b"news"):
            (tmp_path / "fifo").write_bytes(b"")
            found.append(guest.poll(fd_sub(1, READ, fd)))
            with open(tmp_path / "fifo", "wb", buffering=0) as writer:
                writer.write(data)
                coop.pause()
                found.append(guest.poll(fd_sub(1, READ, fd), fd_sub(2, READ, fd), clock_sub(9, 0)))
        return found

    end = [(1, "SUCCESS", READ, 0, HANGUP)]
    silent, news = [(9, "SUCCESS", CLOCK, 0, 0)], [(n, "SUCCESS", READ, 1, 0) for n in (1, 2)]
    found = scripted(act, dirs=[tmp_path], poller=poller)
    assert (found[:3], found[3][:2]) == ([end, silent, end], news)
