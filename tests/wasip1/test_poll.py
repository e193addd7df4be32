"""poll_oneoff as a guest meets it: every kind of subscription, every answer, and the guest's own mistakes."""

import os
import select
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress

import pytest

import coop
from coop.scheduler import scheduler
from coop.wasip1.abi import EVENT, SUBSCRIPTION
from tests.wasip1.script import (
    END,
    EVENTS,
    GUARD,
    OUT,
    POLLERS,
    SUBS,
    Script,
    clock_sub,
    fd_sub,
    scripted,
)

CLOCK, READ, WRITE = 0, 1, 2
REALTIME, MONOTONIC = 0, 1
ABSOLUTE = 1
HANGUP = 1
NONBLOCK = 4
MS = 1_000_000
NEVER = 2**64 - 1

every_poller = pytest.mark.parametrize("poller", POLLERS)


@contextmanager
def pair():
    left, right = socket.socketpair()
    with left, right:
        yield left, right


# -- the records


@pytest.mark.seed("G26")
def test_a_subscription_has_48_bytes_at_the_offsets_of_the_snapshot():
    clock = SUBSCRIPTION.pack(0x1111, 0, 0x22, 0x3333, 1)
    assert len(clock) == 48
    assert struct.unpack_from("<Q", clock, 0) + struct.unpack_from("<B", clock, 8) == (0x1111, 0)
    assert struct.unpack_from("<I", clock, 16) + struct.unpack_from("<Q", clock, 24) == (0x22, 0x3333)
    assert struct.unpack_from("<H", clock, 40) == (1,)
    assert clock[9:16] + clock[20:24] + clock[32:40] + clock[42:] == bytes(7 + 4 + 8 + 6)


@pytest.mark.seed("G26")
def test_an_event_has_32_bytes_at_the_offsets_of_the_snapshot():
    event = EVENT.pack(0x1111, 0x22, 1, 0x3333, 1)
    assert len(event) == 32
    assert struct.unpack_from("<Q", event, 0) + struct.unpack_from("<H", event, 8) == (0x1111, 0x22)
    assert struct.unpack_from("<B", event, 10) + struct.unpack_from("<Q", event, 16) == (1, 0x3333)
    assert struct.unpack_from("<H", event, 24) == (1,)
    assert event[11:16] + event[26:] == bytes(5 + 6)


@pytest.mark.seed("G27")
def test_events_are_packed_from_the_start_and_nothing_else_is_touched():
    def act(guest: Script):
        subs = fd_sub(1, READ, 3) + fd_sub(2, WRITE, 3) + fd_sub(3, READ, 99)
        guest.put(SUBS, subs)
        assert guest.poll_oneoff(SUBS, EVENTS, 3, OUT) == "SUCCESS"
        expected = bytearray(GUARD * END)
        events = EVENT.pack(2, 0, WRITE, 1, 0) + EVENT.pack(3, 8, READ, 0, 0)
        for at, data in ((SUBS, subs), (OUT, b"\2\0\0\0"), (EVENTS, events)):
            expected[at : at + len(data)] = data
        return guest.image() == expected

    with pair() as (left, _):
        left.setblocking(False)

        def emptied(guest: Script):
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            assert guest.read(3) == "AGAIN"
            guest.put(0, GUARD * END)
            return act(guest)

        assert scripted(emptied, connections=[left])


# -- mistakes


@pytest.mark.seed("G27")
def test_polling_nothing_is_invalid():
    def act(guest: Script):
        return guest.poll_oneoff(SUBS, EVENTS, 0, OUT), guest.poll_oneoff(2**32 - 1, 2**32 - 1, 0, 2**32 - 1)

    assert scripted(act) == ("INVAL", "INVAL")


def test_more_subscriptions_than_the_limit_are_invalid():
    def act(guest: Script):
        subs = clock_sub(1, 0) * 2
        return guest.poll(subs, subs), len(guest.poll(clock_sub(1, 0), clock_sub(2, 0), clock_sub(3, 0)))

    def act_with_limit(guest: Script):
        guest.put(SUBS, clock_sub(1, 0) * 4)
        return [guest.poll_oneoff(SUBS, EVENTS, count, OUT) for count in (4, 2**32 - 1, 3)]

    assert scripted(act_with_limit, limits=coop.Limits(subscriptions=3)) == ["INVAL", "INVAL", "SUCCESS"]


def test_thousands_of_clocks_are_invalid_and_the_next_call_is_as_any():
    def act(guest: Script):
        guest.guest.call("grow", 64)
        many, events = 0x100000, 0x200000
        guest.put(many, clock_sub(1, 0) * 5000)
        answers = [guest.poll_oneoff(many, events, count, OUT) for count in (4000, 5000, 4097, 4098)]
        return answers, len(guest.poll(clock_sub(1, 0)))

    assert scripted(act) == (["SUCCESS", "INVAL", "SUCCESS", "INVAL"], 1)


@pytest.mark.seed("G27")
@pytest.mark.parametrize(
    ("subs", "events", "count", "out"),
    [
        *[(END - 47, EVENTS, 1, OUT), (END - 48, EVENTS, 2, OUT), (2**32 - 48, EVENTS, 1, OUT)],
        *[(SUBS, END - 31, 1, OUT), (SUBS, END - 32, 2, OUT), (SUBS, 2**32 - 1, 1, OUT)],
        *[(SUBS, EVENTS, 1, END - 3), (SUBS, EVENTS, 1, 2**32 - 1), (SUBS, EVENTS, 65535, OUT)],
    ],
)
def test_an_array_that_leaves_memory_is_a_fault_and_nothing_is_waited_for(subs, events, count, out):
    def act(guest: Script):
        guest.put(SUBS, clock_sub(1, NEVER))
        image = guest.image()
        return guest.poll_oneoff(subs, events, count, out), guest.image() == image

    assert scripted(act) == ("FAULT", True)


@pytest.mark.parametrize("count", [2**32 - 1, 2**31, 65536])
def test_a_huge_count_is_refused_before_anything_is_read(count):
    assert scripted(lambda guest: guest.poll_oneoff(SUBS, EVENTS, count, OUT)) == "INVAL"


@pytest.mark.seed("G27")
def test_what_cannot_be_polled_is_an_event_with_its_errno_and_nobody_waits(tmp_path):
    (tmp_path / "f").touch()

    def act(guest: Script):
        no_right = guest.open(3, b"f", rights=1 << 1)
        return guest.poll(
            clock_sub(10, NEVER),
            fd_sub(11, READ, 99),
            fd_sub(12, WRITE, 2**32 - 1),
            fd_sub(13, READ, 3),
            fd_sub(14, READ, no_right),
            clock_sub(15, 0, clock=2),
            clock_sub(16, 0, clock=2**32 - 1),
            clock_sub(17, 0, flags=2),
            fd_sub(18, 7, 0),
        )

    assert sorted(scripted(act, dirs=[tmp_path])) == [
        (11, "BADF", READ, 0, 0),
        (12, "BADF", WRITE, 0, 0),
        (13, "BADF", READ, 0, 0),
        (14, "NOTCAPABLE", READ, 0, 0),
        (15, "INVAL", CLOCK, 0, 0),
        (16, "INVAL", CLOCK, 0, 0),
        (17, "INVAL", CLOCK, 0, 0),
        (18, "INVAL", CLOCK, 0, 0),
    ]


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize(
    "bad", [clock_sub(1, 0, clock=7), clock_sub(1, 0, clock=2), clock_sub(1, 0, flags=2), fd_sub(1, 77, 0)]
)
def test_a_bad_clock_is_told_at_once_whatever_else_is_waited_for(poller, bad):
    def act(guest: Script):
        return guest.poll(bad, clock_sub(2, NEVER), fd_sub(3, READ, 3))

    assert scripted(act, listen=["127.0.0.1:0"], poller=poller) == [(1, "INVAL", CLOCK, 0, 0)]


def test_subscriptions_may_lie_where_the_events_go():
    def act(guest: Script):
        guest.put(EVENTS, b"".join(clock_sub(n, 0) for n in range(1, 5)))
        assert guest.poll_oneoff(EVENTS, EVENTS, 4, EVENTS + 8) == "SUCCESS"
        assert guest.poll_oneoff(SUBS, EVENTS, 0, OUT) == "INVAL"
        first, *rest = guest.events(4)
        return guest.u32(EVENTS + 8), first[0], rest

    count, first, rest = scripted(act)
    assert (count, first, rest) == (4, 1, [(n, "SUCCESS", CLOCK, 0, 0) for n in (2, 3, 4)])


def test_the_same_events_come_again_from_the_same_bytes_and_from_changed_ones():
    with pair() as (left, right):
        right.send(b"x")

        def act(guest: Script):
            subs = fd_sub(1, READ, 3), fd_sub(2, READ, 4)
            guest.fd_fdstat_set_flags(4, NONBLOCK)
            guest.read(4)
            found = [guest.poll(*subs), guest.poll(*subs), guest.poll(fd_sub(9, READ, 3), subs[1])]
            guest.fd_close(4)
            return [*found, guest.poll(*subs)]

        with pair() as (other, _):
            found = scripted(act, connections=[left, other])
    one = [(1, "SUCCESS", READ, 1, 0)]
    assert found == [one, one, [(9, "SUCCESS", READ, 1, 0)], [*one, (2, "BADF", READ, 0, 0)]]


def test_a_number_closed_and_used_again_is_another_file():
    with pair() as (left, right), pair() as (other, far):

        def act(guest: Script):
            guest.fd_fdstat_set_flags(4, NONBLOCK)
            guest.read(4)
            both = fd_sub(1, READ, 4), clock_sub(2, 0)
            idle = guest.poll(*both)
            guest.fd_close(4)
            with socket.create_connection(guest.guest.addresses[0]) as client:
                assert guest.accept() == 4
                client.send(b"new")
                coop.pause()
                return idle, guest.poll(*both)[0][:2]

        idle, reused = scripted(act, listen=["127.0.0.1:0"], connections=[left])
        del other, far, right
    assert (idle, reused) == ([(2, "SUCCESS", CLOCK, 0, 0)], (1, "SUCCESS"))


# -- clocks


@every_poller
@pytest.mark.parametrize("clock", [REALTIME, MONOTONIC])
@pytest.mark.seed("G27", "T8")
def test_a_relative_time_is_waited_for_on_either_clock(clock, poller):
    def act(guest: Script):
        before = time.monotonic_ns()
        events = guest.poll(clock_sub(5, 3 * MS, clock=clock))
        return events, time.monotonic_ns() - before >= 3 * MS

    assert scripted(act, poller=poller) == ([(5, "SUCCESS", CLOCK, 0, 0)], True)


@pytest.mark.parametrize(("clock", "now"), [(REALTIME, time.time_ns), (MONOTONIC, time.monotonic_ns)])
@pytest.mark.seed("G27")
def test_an_absolute_time_is_waited_for_on_the_clock_it_names(clock, now):
    def act(guest: Script):
        due = now() + 3 * MS
        events = guest.poll(clock_sub(5, due, clock=clock, flags=ABSOLUTE))
        return events, now() >= due - MS // 10

    assert scripted(act) == ([(5, "SUCCESS", CLOCK, 0, 0)], True)


@pytest.mark.parametrize("clock", [REALTIME, MONOTONIC])
@pytest.mark.parametrize("when", [0, 1])
def test_a_time_in_the_past_has_come(clock, when):
    assert scripted(lambda guest: guest.poll(clock_sub(5, when, clock=clock, flags=ABSOLUTE))) == [
        (5, "SUCCESS", CLOCK, 0, 0)
    ]


@every_poller
@pytest.mark.parametrize(
    ("clock", "timeout", "flags"),
    [
        (1, NEVER, 0),
        (1, 2**63, 0),
        (1, 2**63 - 1, 0),
        (0, NEVER, ABSOLUTE),
        (1, NEVER, ABSOLUTE),
        (1, 1 << 60, 0),
    ],
)
def test_a_huge_timeout_waits_and_neither_overflows_nor_counts_as_a_deadlock(clock, timeout, flags, poller):
    def act(guest: Script):
        coop.spawn(guest.guest.cancel)
        with pytest.raises(coop.WasCancelled):
            guest.poll(clock_sub(5, timeout, clock=clock, flags=flags))

    scripted(act, poller=poller)


@every_poller
def test_a_guest_that_sleeps_for_ever_is_no_deadlock(poller):
    def main():
        with Script() as guest:

            def sleep():
                with pytest.raises(coop.WasCancelled):
                    guest.poll(clock_sub(5, NEVER))

            sleeper = coop.spawn(sleep)
            coop.sleep(0.001)
            coop.run_in_thread(int)
            guest.guest.cancel()
            sleeper.wait()

    coop.run(main, poller=poller)


def test_of_several_clocks_those_that_are_due_tell():
    def act(guest: Script):
        return guest.poll(clock_sub(1, NEVER), clock_sub(2, 0), clock_sub(3, 0), clock_sub(4, 1 << 50))

    assert scripted(act) == [(2, "SUCCESS", CLOCK, 0, 0), (3, "SUCCESS", CLOCK, 0, 0)]


# -- descriptors


@every_poller
@pytest.mark.seed("G27", "S12")
def test_a_poll_parks_its_own_task_alone_until_its_descriptor_is_ready(poller):
    with pair() as (left, right):

        def act(guest: Script):
            order = []
            coop.spawn(lambda: (order.append("other"), right.send(b"abc")))
            order.append(guest.poll(clock_sub(1, NEVER), fd_sub(2, READ, 3)))
            return order

        assert scripted(act, connections=[left], poller=poller) == ["other", [(2, "SUCCESS", READ, 3, 0)]]


@every_poller
@pytest.mark.seed("T20")
def test_a_time_that_was_not_needed_leaves_no_timer(poller):
    with pair() as (left, right):

        def act(guest: Script):
            timers = scheduler().timers
            before, during = len(timers), []

            def send_when_it_waits():
                while len(timers) == before:
                    coop.pause()
                during.append(len(timers) - before)
                right.send(b"abc")

            coop.spawn(send_when_it_waits)
            events = guest.poll(clock_sub(1, 100_000 * MS), fd_sub(2, READ, 3))
            return events[0][:2], during, len(timers) - before

        found = scripted(act, connections=[left], poller=poller)
    assert found == ((2, "SUCCESS"), [1], 0)


@every_poller
def test_the_time_runs_out_when_no_descriptor_is_ready(poller):
    with pair() as (left, _):

        def act(guest: Script):
            return guest.poll(clock_sub(1, 2 * MS), fd_sub(2, READ, 3))

        assert scripted(act, connections=[left], poller=poller) == [(1, "SUCCESS", CLOCK, 0, 0)]


@every_poller
def test_a_guest_that_only_looks_hears_soon_of_what_came_meanwhile(poller):
    with pair() as (left, right):

        def act(guest: Script):
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            assert guest.read(3) == "AGAIN"
            look = clock_sub(1, 0), fd_sub(2, READ, 3)
            assert guest.poll(*look) == [(1, "SUCCESS", CLOCK, 0, 0)]
            right.send(b"x")
            return any(event[0] == 2 for _ in range(10_000) for event in guest.poll(*look))

        assert scripted(act, connections=[left], poller=poller)


@every_poller
def test_a_poll_that_only_looks_lets_the_others_run(poller):
    with pair() as (left, _):

        def act(guest: Script):
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            assert guest.read(3) == "AGAIN"
            ran = []
            coop.spawn(ran.append, "other")
            for _ in range(3):
                guest.poll(clock_sub(1, 0), fd_sub(2, READ, 3))
            return ran

        assert scripted(act, connections=[left], poller=poller) == ["other"]


@every_poller
def test_both_directions_and_twice_the_same_one_get_an_event_each(poller):
    with pair() as (left, right):

        def act(guest: Script):
            right.send(b"abc")
            subs = [fd_sub(n, kind, 3) for n, kind in ((1, READ), (2, WRITE), (3, READ), (1, READ))]
            return guest.poll(*subs)

        found = scripted(act, connections=[left], poller=poller)
    assert [(userdata, errno, kind) for userdata, errno, kind, _, _ in found] == [
        (1, "SUCCESS", READ),
        (2, "SUCCESS", WRITE),
        (3, "SUCCESS", READ),
        (1, "SUCCESS", READ),
    ]


@every_poller
def test_two_parked_subscriptions_of_one_descriptor_both_tell(poller):
    with pair() as (left, right):

        def act(guest: Script):
            coop.spawn(right.send, b"abc")
            return guest.poll(fd_sub(1, READ, 3), fd_sub(2, READ, 3))

        assert [event[0] for event in scripted(act, connections=[left], poller=poller)] == [1, 2]


@every_poller
def test_a_poll_for_writing_waits_for_room(poller):
    with pair() as (left, right):

        def act(guest: Script):
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            sent = 0
            while (count := guest.write(3, b"x" * 4096)) != "AGAIN":
                sent += count
            assert guest.poll(clock_sub(1, 0), fd_sub(2, WRITE, 3)) == [(1, "SUCCESS", CLOCK, 0, 0)]
            coop.spawn(right.recv, sent)
            return guest.poll(fd_sub(2, WRITE, 3))

        assert scripted(act, connections=[left], poller=poller) == [(2, "SUCCESS", WRITE, 1, 0)]


def connected(family: str) -> tuple[socket.socket, socket.socket]:
    if family == "unix":
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server:
        return socket.create_connection(server.getsockname()), server.accept()[0]


@every_poller
@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_whoever_writes_only_what_there_is_room_for_never_waits(poller, family):
    """A guest whose descriptors block asks first, and so it can serve others beside one that is slow."""
    left, right = connected(family)
    left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    limits = coop.Limits(wall_time=20)

    def act(guest: Script):
        look, native = (clock_sub(1, 0), fd_sub(2, WRITE, 3)), select.poll()
        native.register(left, select.POLLOUT)
        written = 0
        while any(event[0] == 2 for event in guest.poll(*look)):
            assert native.poll(0)
            written += guest.write(3, bytes(512))
        assert not native.poll(0)
        # There is a little room all the same, as natively, for who does not ask.
        assert guest.write(3, bytes(1)) == 1

        def drain():
            while not native.poll(0):
                coop.sleep(0.001)
                with suppress(BlockingIOError):
                    right.recv(1 << 20, socket.MSG_DONTWAIT)

        coop.spawn(drain)
        return written > 0, guest.poll(fd_sub(2, WRITE, 3))

    with left, right:
        assert scripted(act, connections=[left], poller=poller, limits=limits) == (
            True,
            [(2, "SUCCESS", WRITE, 1, 0)],
        )


@every_poller
def test_a_listener_is_readable_when_a_client_waits(poller):
    def act(guest: Script):
        idle = guest.poll(clock_sub(1, 0), fd_sub(2, READ, 3))
        clients = []
        coop.spawn(lambda: clients.append(socket.create_connection(guest.guest.addresses[0])))
        found = guest.poll(fd_sub(2, READ, 3))
        assert guest.accept() == 4
        again = guest.poll(clock_sub(1, 0), fd_sub(2, READ, 3))
        clients[0].close()
        return idle[0][0], found[0][:3], again[0][0]

    assert scripted(act, listen=["127.0.0.1:0"], poller=poller) == (1, (2, "SUCCESS", READ), 1)


@every_poller
def test_the_end_of_a_stream_is_readable_and_a_hangup(poller):
    with pair() as (left, right):

        def act(guest: Script):
            coop.spawn(right.close)
            found = guest.poll(fd_sub(1, READ, 3))
            return found, guest.read(3), guest.poll(fd_sub(1, READ, 3), fd_sub(2, WRITE, 3))

        found, data, both = scripted(act, connections=[left], poller=poller)
    assert found == [(1, "SUCCESS", READ, 0, HANGUP)]
    assert data == b""
    assert [(event[0], event[4]) for event in both] == [(1, HANGUP), (2, HANGUP)]


@every_poller
def test_a_peer_that_only_sends_no_more_hangs_up_for_readers_alone(poller):
    with pair() as (left, right):
        right.shutdown(socket.SHUT_WR)

        def act(guest: Script):
            assert guest.poll(fd_sub(1, READ, 3))[0][4] == HANGUP
            return guest.poll(fd_sub(2, WRITE, 3)), guest.write(3, b"still read")

        assert scripted(act, connections=[left], poller=poller) == ([(2, "SUCCESS", WRITE, 1, 0)], 10)


@every_poller
def test_the_last_writer_of_a_fifo_hangs_up_and_a_new_one_takes_that_back(poller, tmp_path):
    os.mkfifo(tmp_path / "fifo")

    def act(guest: Script):
        fd = guest.open(3, b"fifo")
        with open(tmp_path / "fifo", "wb", buffering=0) as writer:
            writer.write(b"one")
        first = (
            guest.poll(fd_sub(1, READ, fd)),
            guest.read(fd),
            guest.poll(fd_sub(1, READ, fd)),
            guest.read(fd),
        )
        with open(tmp_path / "fifo", "wb", buffering=0) as writer:
            silent = guest.poll(clock_sub(9, 0), fd_sub(1, READ, fd))
            coop.spawn(writer.write, b"two")
            second = guest.poll(fd_sub(1, READ, fd)), guest.read(fd)
        return first, silent, second

    first, silent, second = scripted(act, dirs=[tmp_path], poller=poller)
    assert first == ([(1, "SUCCESS", READ, 3, HANGUP)], b"one", [(1, "SUCCESS", READ, 0, HANGUP)], b"")
    assert silent == [(9, "SUCCESS", CLOCK, 0, 0)]
    assert second == ([(1, "SUCCESS", READ, 3, 0)], b"two")


@every_poller
def test_files_and_streams_in_memory_are_always_ready(poller, tmp_path):
    (tmp_path / "f").write_bytes(b"12345")

    def act(guest: Script):
        fd = guest.open(3, b"f", rights=(1 << 1) | (1 << 6) | (1 << 27))
        looks = [guest.poll(clock_sub(9, NEVER), fd_sub(1, kind, fd)) for kind in (READ, WRITE)]
        return [look[0][:3] for look in looks], [guest.poll(fd_sub(1, READ, n))[0][:3] for n in (0, 1)]

    ready = (1, "SUCCESS", READ)
    options = {"dirs": [tmp_path], "stdin": b"x", "poller": poller}
    assert scripted(act, **options) == ([ready, (1, "SUCCESS", WRITE)], [ready, ready])


@every_poller
def test_a_read_to_the_exact_end_is_not_told_as_ready_again(poller):
    with pair() as (left, right):

        def act(guest: Script):
            right.send(b"1234")
            assert guest.poll(fd_sub(1, READ, 3)) == [(1, "SUCCESS", READ, 4, 0)]
            assert guest.read(3, 4) == b"1234"
            return guest.poll(clock_sub(9, 0), fd_sub(1, READ, 3))

        assert scripted(act, connections=[left], poller=poller) == [(9, "SUCCESS", CLOCK, 0, 0)]


@every_poller
def test_of_two_streams_only_the_one_with_data_is_told_so_a_read_of_it_never_waits(poller):
    """Both were read by calls that got all they asked for, which says nothing about what is left."""
    with pair() as (one, far_one), pair() as (two, far_two):

        def act(guest: Script):
            for far in (far_one, far_two):
                far.send(b"1234")
            both = fd_sub(3, READ, 3), fd_sub(4, READ, 4)
            assert [event[0] for event in guest.poll(*both)] == [3, 4]
            assert (guest.read(3, 4), guest.read(4, 4)) == (b"1234", b"1234")
            coop.spawn(far_two.send, b"more")
            (event,) = guest.poll(*both)
            return event[0], guest.read(event[0])

        assert scripted(act, connections=[one, two], poller=poller) == (4, b"more")


@every_poller
def test_what_another_guest_took_meanwhile_is_waited_for_without_holding_up_anybody(poller):
    def main():
        with coop.listen("127.0.0.1:0") as listener:
            client = coop.connect(listener.address[:2])
            with listener.accept() as served, Script(stdin=served) as one, Script(stdin=served) as two:
                client.sendall(b"x")
                assert one.poll(fd_sub(1, READ, 0))[0][0] == two.poll(fd_sub(1, READ, 0))[0][0] == 1
                assert one.read(0) == b"x"
                late = coop.spawn(two.read, 0)
                coop.pause()
                client.sendall(b"y")
                client.close()
                return late.wait()

    assert coop.run(main, poller=poller) == b"y"


@every_poller
def test_what_was_partly_read_is_still_ready(poller):
    with pair() as (left, right):

        def act(guest: Script):
            right.send(b"1234")
            assert guest.poll(fd_sub(1, READ, 3)) == [(1, "SUCCESS", READ, 4, 0)]
            return guest.read(3, 1), guest.poll(fd_sub(1, READ, 3))

        assert scripted(act, connections=[left], poller=poller) == (b"1", [(1, "SUCCESS", READ, 3, 0)])


@every_poller
def test_a_reader_in_a_helper_thread_wakes_the_poll(poller):
    read_end, write_end = os.pipe()

    def act(guest: Script):
        coop.spawn(os.write, write_end, b"line")
        return guest.poll(clock_sub(9, NEVER), fd_sub(1, READ, 0))[0][:3], guest.read(0)

    with open(read_end, "rb", buffering=0) as reader:
        try:
            assert scripted(act, stdin=reader, poller=poller) == ((1, "SUCCESS", READ), b"line")
        finally:
            os.close(write_end)


UNTIL_SEVEN = """
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "%s")
  (func (export "_start") (local $left i32)
    (loop $again
      (drop (call $poll (i32.const 64) (i32.const 256) (i32.const 2) (i32.const 0)))
      (br_if $again (i64.ne (i64.const 7)
        (i64.load (i32.sub (i32.const 256)
          (i32.mul (i32.sub (i32.const 1) (i32.load (i32.const 0))) (i32.const 32)))))))))
"""
"""Polls two subscriptions again and again, until the last event is that of userdata 7."""

ALWAYS = {
    "room to write": fd_sub(1, WRITE, 4),
    "a stream in memory": fd_sub(1, READ, 0),
    "no such descriptor": fd_sub(1, READ, 99),
    "no such clock": clock_sub(1, 0, clock=9),
}


@every_poller
@pytest.mark.parametrize("always", ALWAYS)
def test_what_is_ready_each_time_hides_nothing_else(poller, always):
    data = "".join(f"\\{byte:02x}" for byte in ALWAYS[always] + fd_sub(7, READ, 3))
    module = coop.Module.from_bytes(UNTIL_SEVEN % data)
    with pair() as (left, right), pair() as (other, _):

        def main():
            limits = coop.Limits(wall_time=20, cpu_time=None)
            guest = coop.Guest(module, connections=[left, other], stdin=b"here", limits=limits)
            coop.spawn(lambda: (coop.sleep(0.005), right.send(b"x")))
            return guest.run()

        assert coop.run(main, poller=poller) == 0


@every_poller
def test_many_descriptors_are_polled_at_once_and_only_the_ready_ones_tell(poller):
    count = 600
    with pair() as (left, right):

        def act(guest: Script):
            clients = [socket.create_connection(guest.guest.addresses[0]) for _ in range(8)]
            fds = [guest.accept(3, NONBLOCK) for _ in clients]
            for fd in fds:
                assert guest.read(fd) == "AGAIN"
            clients[5].send(b"x")
            assert guest.guest.call("grow", 2) == 2
            table = b"".join(fd_sub(n, READ, fds[n % 8]) for n in range(count))
            guest.memory.write(END, table)
            assert guest.poll_oneoff(END, END + 65536, count, OUT) == "SUCCESS"
            events = struct.iter_unpack("<QHB5xQH6x", guest.got(END + 65536, 32 * guest.u32()))
            for client in clients:
                client.close()
            return [event[0] for event in events]

        assert scripted(act, listen=["127.0.0.1:0"], poller=poller) == [n for n in range(count) if n % 8 == 5]
        del left, right


@every_poller
@pytest.mark.seed("G4")
def test_userdata_comes_back_as_it_was_given(poller):
    def act(guest: Script):
        return [
            event[0] for event in guest.poll(clock_sub(2**64 - 1, 0), clock_sub(0, 0), clock_sub(1 << 63, 0))
        ]

    assert scripted(act, poller=poller) == [2**64 - 1, 0, 1 << 63]


@every_poller
def test_a_cancelled_guest_leaves_no_trace_in_the_queues_of_its_files(poller):
    def main():
        listener = coop.listen("127.0.0.1:0")
        with listener, Script(listen=[listener]) as doomed:
            task = coop.spawn(lambda: doomed.poll(fd_sub(1, READ, 3), clock_sub(2, NEVER)))
            coop.pause()
            coop.pause()
            task.cancel()
            with pytest.raises(coop.WasCancelled):
                task.wait()
            doomed.guest.close()
            return len(listener.openfile.waiters)

    assert coop.run(main, poller=poller) == 0


@every_poller
def test_memory_grown_before_a_park_takes_the_events_after_it(poller):
    with pair() as (left, right):

        def act(guest: Script):
            assert guest.guest.call("grow", 1) == 2
            guest.put(SUBS, fd_sub(7, READ, 3))
            coop.spawn(right.send, b"x")
            assert guest.poll_oneoff(SUBS, END + 32, 1, END) == "SUCCESS"
            return guest.u32(END), guest.u64(END + 32)

        assert scripted(act, connections=[left], poller=poller) == (1, 7)


def test_a_deadline_of_the_host_on_a_shared_connection_comes_out_of_the_guests_read():
    def main():
        with coop.listen("127.0.0.1:0") as listener:
            client = coop.connect(f"127.0.0.1:{listener.address[1]}")
            with listener.accept() as served, Script(connections=[client]) as guest:
                client.set_deadline(0.002)
                answer = guest.read(3)
                client.set_deadline(None)
                served.sendall(b"x")
                client.close()
                return answer, guest.read(3)

    assert coop.run(main) == ("TIMEDOUT", b"x")


def test_what_a_parked_guest_waits_for_stands_in_the_report_of_a_deadlock():
    def main():
        unlimited = coop.Limits.for_server()
        with Script(stdin=lambda: coop.current().park("a read that never ends"), limits=unlimited) as guest:
            guest.read(0)

    with pytest.raises(coop.Deadlock, match="a read that never ends"):
        coop.run(main)


def test_more_events_than_one_layout_holds_all_arrive():
    count = 1000

    def act(guest: Script):
        assert guest.guest.call("grow", 2) == 2
        guest.memory.write(END, b"".join(clock_sub(n, 0) for n in range(count)))
        assert guest.poll_oneoff(END, END + 65536, count, OUT) == "SUCCESS"
        events = struct.iter_unpack("<QHB5xQH6x", guest.got(END + 65536, 32 * guest.u32()))
        return [event[0] for event in events]

    assert scripted(act) == list(range(count))


def test_a_parked_poll_says_what_it_waits_for():
    with pair() as (left, _):

        def act(guest: Script):
            me, seen = coop.current(), []

            def cancel_when_it_waits():
                while me.reason is None:
                    coop.pause()
                seen.append(str(me.reason))
                guest.guest.cancel()

            coop.spawn(cancel_when_it_waits)
            with pytest.raises(coop.WasCancelled):
                guest.poll(clock_sub(1, 10**15), *[fd_sub(2, READ, 3)] * 10)
            return seen[0]

        reason = scripted(act, connections=[left])
    assert reason.startswith("poll_oneoff(read on socket ")
    assert "2 more" in reason
    assert "the clock at" in reason


def test_a_file_read_past_its_end_has_no_bytes_to_read(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")

    def act(guest: Script):
        fd = guest.open(3, b"f", rights=1 << 1 | 1 << 2 | 1 << 27)
        counts = []
        for position in (0, 1, 3, 10, 1 << 40):
            assert guest.fd_seek(fd, position, 0, OUT) == "SUCCESS"
            counts.append(guest.poll(fd_sub(7, 1, fd)))
        return counts

    found = scripted(act, dirs=[tmp_path])
    assert found == [[(7, "SUCCESS", 1, count, 0)] for count in (3, 2, 0, 0, 0)]


@pytest.mark.parametrize("precision", [0, 1, 100_000_000_000, (1 << 64) - 1])
def test_a_precision_makes_no_time_come_early_and_costs_nothing(precision):
    """It allows to be late; nobody is."""

    def act(guest: Script):
        begin = time.monotonic_ns()
        assert guest.poll(clock_sub(7, 20_000_000, precision=precision)) == [(7, "SUCCESS", 0, 0, 0)]
        return time.monotonic_ns() - begin

    assert 20_000_000 <= scripted(act) < 50_000_000_000


# -- lists of all lengths in turn, in a run with no timer: whoever is not known to wait is a deadlock

LONG = 70
"""Entries of a list that is kept from one call to the next."""


@contextmanager
def later(act):
    """Do something in another thread, a little later."""
    thread = threading.Timer(0.05, act)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def wait_for(guest: Script, theirs: socket.socket):
    """Poll a connection alone until its peer sends, and read."""
    with later(lambda: theirs.send(b"x")):
        found = guest.poll(fd_sub(7, READ, 3))
    return found, guest.recv(3)


CAME = [(7, "SUCCESS", READ, 1, 0)], b"x"


@pytest.mark.parametrize("poller", POLLERS)
def test_a_short_poll_after_a_long_one_that_was_answered_at_once_waits(poller):
    ours, theirs = socket.socketpair()

    def act(guest: Script):
        assert len(guest.poll(*[fd_sub(i, WRITE, 3) for i in range(LONG)])) == LONG
        return [wait_for(guest, theirs) for _ in range(3)]

    with ours, theirs:
        found = scripted(act, connections=[ours], limits=coop.Limits.for_server(), poller=poller)
    assert found == [CAME] * 3


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("length", [1, LONG])
def test_a_poll_of_a_connection_after_others_waits(poller, length):
    """Of a function, which no poller watches; of two clocks; of very much that is ready."""
    ours, theirs = socket.socketpair()

    def act(guest: Script):
        found = [wait_for(guest, theirs)]
        for _ in range(2):
            guest.poll(*[fd_sub(2, READ, 0)] * length)
            found.append(guest.read(0))
        found.append(wait_for(guest, theirs))
        guest.poll(clock_sub(3, 1_000_000), clock_sub(4, 10_000_000))
        found.append(wait_for(guest, theirs))
        guest.poll(*[fd_sub(2, READ, 0)] * length, fd_sub(3, WRITE, 3))
        found.append(wait_for(guest, theirs))
        return found

    def source():
        coop.sleep(0.001)
        return b"line"

    with ours, theirs:
        found = scripted(
            act, connections=[ours], stdin=source, limits=coop.Limits.for_server(), poller=poller
        )
    assert found == [CAME, b"line", b"line", CAME, CAME, CAME]


@pytest.mark.parametrize("poller", POLLERS)
def test_a_function_that_was_part_of_a_long_poll_is_asked_by_short_ones(poller):
    lines = iter([b"one", b"two", b""])

    def source():
        coop.sleep(0.001)
        return next(lines)

    def act(guest: Script):
        guest.poll(fd_sub(0, READ, 0), *[fd_sub(i, WRITE, 1) for i in range(LONG)])
        found = []
        while not found or found[-1]:
            guest.poll(fd_sub(7, READ, 0))
            found.append(guest.read(0))
        return found

    assert scripted(act, stdin=source, poller=poller) == [b"one", b"two", b""]
