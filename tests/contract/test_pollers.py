"""One suite for every poller, on real descriptors: what the contract promises, each of them keeps."""

import fcntl
import gc
import os
import platform
import signal
import socket
import threading
import time
from contextlib import ExitStack

import pytest

from coop.errors import BugError, NotPollable
from coop.netpoll import FAILED, HANGUP, POLLERS, READ, WRITE, HostPoller, PollDesc, make_poller
from coop.netpoll.contract import BOTH
from tests.fakes import MiniHub

SECOND = 1_000_000_000

BLOCKING_CALLS = {  # epoll_wait, ppoll, epoll_pwait, epoll_pwait2
    "x86_64": {"232", "271", "281", "441"},
    "aarch64": {"73", "22", "441"},
}[platform.machine()]


@pytest.fixture(params=[*POLLERS, "hostpoll in milliseconds"])
def poller(request):
    made = HostPoller(nanoseconds=False) if " " in request.param else make_poller(request.param)
    yield made
    made.shutdown()


@pytest.fixture
def hub(poller):
    made = MiniHub(poller)
    yield made
    made.close()


@pytest.fixture
def world():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def pair(poller, world):
    """An open descriptor whose bits are clear, as after a "would block", and the socket at the other end."""
    return open_pair(poller, world)


def open_pair(poller, world, what=""):
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
        world.callback(end.close)
    pd = PollDesc(ours.fileno(), what, poller=poller)
    poller.open(pd)
    poller.poll(0)
    pd.block(BOTH)
    return pd, ours, theirs


def queue_up(pd, mode, task):
    """What `PollDesc.wait` does before it parks, for a task that is parked already."""
    pd.block(mode)
    return pd.add_wait(mode, task)


def fill(sock):
    while True:
        try:
            sock.send(bytes(65536))
        except BlockingIOError:
            return


def empty(sock):
    while True:
        try:
            if not sock.recv(1 << 20):
                return
        except BlockingIOError:
            return


def when_blocked(tid, call):
    """Run `call` in a new thread as soon as thread `tid` is inside one of the waiting system calls."""

    def watch():
        while True:
            with open(f"/proc/self/task/{tid}/syscall") as file:
                if file.read().split()[0] in BLOCKING_CALLS:
                    return call()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


class TestLooking:
    @pytest.mark.seed("G11", "T6")
    def test_a_look_at_nothing_finds_nothing_and_does_not_block(self, poller):
        assert poller.poll(0) == []

    @pytest.mark.seed("G11", "T6a")
    def test_a_look_with_somebody_waiting_and_nothing_ready_does_not_block(self, hub, pair):
        pd, _, _ = pair
        queue_up(pd, READ, hub.park())
        assert hub.turn(0) == []

    @pytest.mark.seed("G11")
    def test_a_look_finds_who_is_ready(self, hub, pair):
        pd, _, theirs = pair
        queue_up(pd, READ, hub.park("reader"))
        theirs.send(b"x")
        assert hub.turn(0) == ["reader"]


class TestWaiting:
    @pytest.mark.seed("G12", "B9")
    @pytest.mark.parametrize("delay_ns", [1, 50_000, 1_000_000, 3_456_789])
    def test_a_wait_lasts_no_shorter_than_asked(self, poller, delay_ns):
        start = time.monotonic_ns()
        assert poller.poll(delay_ns) == []
        assert time.monotonic_ns() - start >= delay_ns

    @pytest.mark.seed("G12")
    def test_a_wait_with_a_limit_ends_when_somebody_is_ready(self, hub, pair):
        pd, _, theirs = pair
        queue_up(pd, READ, hub.park("reader"))
        theirs.send(b"x")
        assert hub.turn(1000 * SECOND) == ["reader"]

    @pytest.mark.seed("G10", "T6")
    def test_a_wait_without_limit_ends_when_somebody_is_ready(self, hub, pair):
        pd, _, theirs = pair
        queue_up(pd, READ, hub.park("reader"))
        thread = when_blocked(threading.get_native_id(), lambda: theirs.send(b"x"))
        assert hub.turn(-1) == ["reader"]
        thread.join()

    @pytest.mark.seed("B9")
    def test_the_longest_delay_there_is_can_be_waited_for(self, poller):
        poller.wake_up()
        assert poller.poll((1 << 63) - 1) == []


class TestModes:
    @pytest.mark.seed("G19", "B10")
    def test_data_wakes_the_reader_and_leaves_the_writer(self, hub, pair):
        pd, ours, theirs = pair
        fill(ours)
        queue_up(pd, WRITE, hub.park("writer"))
        queue_up(pd, READ, hub.park("reader"))
        theirs.send(b"x")
        assert hub.turn(0) == ["reader"]
        assert pd.ready == READ

    @pytest.mark.seed("G19", "B10")
    def test_room_wakes_the_writer_and_leaves_the_reader(self, hub, pair):
        pd, ours, theirs = pair
        fill(ours)
        queue_up(pd, READ, hub.park("reader"))
        queue_up(pd, WRITE, hub.park("writer"))
        empty(theirs)
        assert hub.turn(0) == ["writer"]
        assert pd.ready == WRITE

    @pytest.mark.seed("G3", "G20")
    def test_a_reader_and_a_writer_of_one_descriptor_are_woken_together(self, hub, pair):
        pd, ours, theirs = pair
        fill(ours)
        queue_up(pd, READ, hub.park("reader"))
        queue_up(pd, WRITE, hub.park("writer"))
        empty(theirs)
        theirs.send(b"x")
        assert hub.turn(0) == ["reader", "writer"]

    @pytest.mark.seed("T2", "T7")
    def test_every_waiter_of_one_direction_is_woken_in_the_order_of_arrival(self, hub, pair):
        pd, _, theirs = pair
        for name in "abc":
            queue_up(pd, READ, hub.park(name))
        theirs.send(b"x")
        assert hub.turn(0) == ["a", "b", "c"]

    @pytest.mark.seed("G5", "T5")
    def test_arming_twice_wakes_once(self, hub, pair, poller):
        pd, _, theirs = pair
        queue_up(pd, READ, hub.park("reader"))
        poller.arm(pd, READ)
        theirs.send(b"x")
        assert hub.turn(0) == ["reader"]
        assert hub.turn(0) == []

    @pytest.mark.seed("T4")
    def test_a_waiter_that_was_taken_off_is_not_woken(self, hub, pair):
        pd, _, theirs = pair
        waiter = queue_up(pd, READ, hub.park("reader"))
        pd.done(waiter)
        theirs.send(b"x")
        assert hub.turn(0) == []

    @pytest.mark.seed("G20", "G25")
    def test_after_an_event_the_next_wait_hears_again(self, hub, pair):
        pd, ours, theirs = pair
        task = hub.park("reader")
        for _ in range(3):
            queue_up(pd, READ, task)
            theirs.send(b"x")
            assert hub.turn(0) == ["reader"]
            ours.recv(100)


class TestTrouble:
    @pytest.mark.seed("G18", "G19", "B10")
    def test_a_peer_that_is_gone_wakes_both_and_is_a_hangup(self, hub, pair):
        pd, ours, theirs = pair
        fill(ours)
        queue_up(pd, READ, hub.park("reader"))
        queue_up(pd, WRITE, hub.park("writer"))
        theirs.close()
        assert sorted(hub.turn(0)) == ["reader", "writer"]
        assert pd.ready & (BOTH | HANGUP) == BOTH | HANGUP
        assert not pd.event_error

    @pytest.mark.seed("B10")
    def test_a_peer_that_only_stopped_sending_wakes_readers_and_is_a_hangup(self, hub, pair):
        pd, ours, theirs = pair
        fill(ours)
        queue_up(pd, WRITE, hub.park("writer"))
        queue_up(pd, READ, hub.park("reader"))
        theirs.shutdown(socket.SHUT_WR)
        assert hub.turn(0) == ["reader"]
        assert pd.ready == READ | HANGUP

    @pytest.mark.seed("G20", "B10")
    def test_an_error_alone_is_an_event_error_and_a_clean_event_clears_it(self, hub, poller, world):
        reading, writing = os.pipe2(os.O_NONBLOCK)
        world.callback(os.close, writing)
        room = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
        os.write(writing, bytes(room))
        keeper = os.open(f"/proc/self/fd/{reading}", os.O_RDONLY | os.O_NONBLOCK)
        os.close(reading)
        pd = PollDesc(writing, poller=poller)
        poller.open(pd)
        queue_up(pd, WRITE, hub.park("writer"))
        assert hub.turn(0) == []
        os.close(keeper)
        assert hub.turn(0) == ["writer"]
        assert pd.event_error
        assert pd.ready & FAILED
        # A new reader that takes what is in the pipe makes it clean again.
        again = os.open(f"/proc/self/fd/{writing}", os.O_RDONLY | os.O_NONBLOCK)
        world.callback(os.close, again)
        queue_up(pd, WRITE, hub.park("writer again"))
        os.read(again, room)
        assert hub.turn(0) == ["writer again"]
        assert not pd.event_error

    @pytest.mark.seed("T9")
    def test_a_reset_connection_wakes_its_reader_to_see_the_error_itself(self, hub, poller, world):
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
        world.callback(ours.close)
        ours.setblocking(False)
        pd = PollDesc(ours.fileno(), poller=poller)
        poller.open(pd)
        poller.poll(0)
        queue_up(pd, READ, hub.park("reader"))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert hub.turn(-1) == ["reader"]
        assert pd.ready & (HANGUP | FAILED) == HANGUP | FAILED
        assert not pd.event_error
        with pytest.raises(ConnectionResetError):
            ours.recv(1)


class TestOrder:
    @pytest.mark.seed("G22")
    def test_tasks_come_in_the_order_of_their_events(self, hub, poller, world):
        pairs = [open_pair(poller, world) for _ in range(20)]
        for number, (pd, _, _) in enumerate(pairs):
            queue_up(pd, READ, hub.park(str(number)))
        for _, _, theirs in pairs:
            theirs.send(b"x")
        assert hub.turn(0) == [str(number) for number in range(20)]

    def test_eight_fifos_written_in_reverse_each_wake_their_own_reader_and_no_other(
        self, hub, poller, world, tmp_path
    ):
        fifos = []
        for number in range(8):
            path = tmp_path / str(number)
            os.mkfifo(path)
            fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
            world.callback(os.close, fd)
            pd = PollDesc(fd, poller=poller)
            poller.open(pd)
            hub.spawn(lambda fd=fd, pd=pd: read_one(fd, pd), f"fifo {number}")
            fifos.append(fd)
        hub.run()
        for number, fd in reversed(list(enumerate(fifos))):
            os.write(fd, b"%d\n" % number)
            assert hub.turn(-1) == [f"fifo {number}"]
            assert hub.tasks[number].outcome() == b"%d\n" % number

    def test_more_descriptors_than_one_batch_are_all_found(self, hub, poller, world):
        names = {str(number) for number in range(200)}
        pairs = [open_pair(poller, world) for _ in names]
        for number, (pd, _, theirs) in enumerate(pairs):
            queue_up(pd, READ, hub.park(str(number)))
            theirs.send(b"x")
        found = []
        while len(found) < len(names):
            ran = hub.turn(0)
            assert ran
            found += ran
        assert set(found) == names
        assert len(found) == len(names)


def read_one(fd, pd):
    while True:
        try:
            return os.read(fd, 256)
        except BlockingIOError:
            pd.block(READ)
            pd.wait(READ, "read")


class TestTasks:
    def test_tasks_echo_to_many_clients_over_tcp(self, hub, poller, world):
        server = world.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.setblocking(False)
        listening = PollDesc(server.fileno(), poller=poller)
        poller.open(listening)

        def serve():
            for number in range(20):
                while True:
                    try:
                        sock = server.accept()[0]
                        break
                    except BlockingIOError:
                        listening.block(READ)
                        listening.wait(READ, "accept")
                sock.setblocking(False)
                hub.spawn(lambda sock=sock: echo(sock), f"server {number}")

        def echo(sock):
            pd = PollDesc(sock.fileno(), poller=poller)
            poller.open(pd)
            while data := read_one(sock.fileno(), pd):
                sock.sendall(data)
            pd.unblock()
            pd.close()
            sock.close()

        def ask(number):
            sock = socket.create_connection(server.getsockname())
            sock.setblocking(False)
            pd = PollDesc(sock.fileno(), poller=poller)
            poller.open(pd)
            for turn in range(5):
                text = b"%d %d" % (number, turn)
                sock.sendall(text)
                assert read_one(sock.fileno(), pd) == text
            pd.unblock()
            pd.close()
            sock.close()

        hub.spawn(serve, "listener")
        for number in range(20):
            hub.spawn(lambda number=number: ask(number), f"client {number}")
        hub.finish()
        assert poller.waiters == 0

    def test_a_wait_counts_itself_in_and_out(self, hub, poller, pair):
        pd, ours, theirs = pair
        task = hub.spawn(lambda: read_one(ours.fileno(), pd))
        assert poller.waiters == 0
        hub.run()
        assert poller.waiters == 1
        theirs.send(b"x")
        hub.turn(-1)
        assert poller.waiters == 0
        assert task.outcome() == b"x"

    def test_a_cancelled_wait_leaves_no_waiter_behind(self, hub, poller, pair):
        pd, ours, theirs = pair
        task = hub.spawn(lambda: read_one(ours.fileno(), pd))
        hub.run()
        task.cancel()
        hub.run()
        assert task.is_done
        assert poller.waiters == 0
        assert not pd.waiters
        theirs.send(b"x")
        assert hub.turn(0) == []

    @pytest.mark.seed("D3")
    def test_what_was_ready_before_the_wait_is_found_without_parking(self, hub, pair, poller):
        pd, ours, theirs = pair
        theirs.send(b"x")
        if poller.permanent:
            poller.poll(0)
        else:
            poller.arm(pd, READ)
            poller.poll(0)
        task = hub.spawn(lambda: pd.wait(READ) or ours.recv(1))
        hub.run()
        assert task.outcome() == b"x"


class TestClosing:
    @pytest.mark.seed("G9", "B10")
    def test_a_descriptor_closed_while_armed_is_silent(self, hub, poller, pair):
        pd, _, theirs = pair
        waiter = queue_up(pd, READ, hub.park())
        poller.close(pd)
        theirs.send(b"x")
        assert hub.turn(0) == []
        assert not waiter.fired

    @pytest.mark.seed("G9")
    def test_closing_what_is_not_open_is_not_an_error(self, poller, pair):
        pd, _, _ = pair
        poller.close(pd)
        poller.close(pd)
        poller.close(PollDesc(pd.fd, "never opened"))

    @pytest.mark.seed("G9")
    def test_closing_an_unknown_descriptor_leaves_the_one_with_its_number(self, hub, poller, pair):
        pd, _, theirs = pair
        poller.close(PollDesc(pd.fd, "never opened"))
        queue_up(pd, READ, hub.park("reader"))
        theirs.send(b"x")
        assert hub.turn(0) == ["reader"]

    @pytest.mark.seed("D11", "B10")
    def test_a_reused_number_does_not_wake_who_waited_for_the_old_file(self, hub, poller, world):
        old, ours, theirs = open_pair(poller, world, "old")
        stale = queue_up(old, READ, hub.park("old reader"))
        kept = ours.dup()
        world.callback(kept.close)
        poller.close(old)
        number = ours.fileno()
        reading, writing = os.pipe()
        world.callback(os.close, writing)
        os.dup2(reading, number)
        os.close(reading)
        new = PollDesc(number, "new", poller=poller)
        poller.open(new)
        queue_up(new, READ, hub.park("new reader"))
        theirs.send(b"to the old file, which the dup keeps open")
        assert hub.turn(0) == []
        os.write(writing, b"x")
        assert hub.turn(0) == ["new reader"]
        assert not stale.fired
        poller.close(new)

    def test_opening_a_number_twice_is_a_bug(self, poller, pair):
        pd, _, _ = pair
        with pytest.raises(BugError, match="open already"):
            poller.open(PollDesc(pd.fd, "another"))


class TestRegularFiles:
    def test_a_regular_file_is_refused_or_always_ready(self, hub, poller, world, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"x")
        file = world.enter_context(path.open("r+b"))
        pd = PollDesc(file.fileno(), "the file", poller=poller)
        if poller.permanent:
            with pytest.raises(NotPollable, match="the file"):
                poller.open(pd)
            return
        poller.open(pd)
        queue_up(pd, BOTH, hub.park("both"))
        assert hub.turn(-1) == ["both"]
        assert pd.ready == BOTH


class TestWakeUp:
    @pytest.mark.seed("B8", "B11")
    def test_another_thread_ends_a_wait_without_limit_and_readies_nobody(self, hub, poller, pair):
        pd, _, _ = pair
        queue_up(pd, READ, hub.park())
        thread = when_blocked(threading.get_native_id(), poller.wake_up)
        assert poller.poll(-1) == []
        thread.join()

    @pytest.mark.seed("B8")
    def test_a_wait_for_nothing_at_all_can_be_ended(self, poller):
        thread = when_blocked(threading.get_native_id(), poller.wake_up)
        assert poller.poll(-1) == []
        thread.join()

    @pytest.mark.seed("B7")
    def test_a_wake_up_that_comes_first_ends_the_next_wait_and_no_other(self, hub, poller, pair):
        pd, _, theirs = pair
        poller.wake_up()
        assert poller.poll(-1) == []
        queue_up(pd, READ, hub.park("reader"))
        theirs.send(b"x")
        assert hub.turn(-1) == ["reader"]

    @pytest.mark.seed("B7")
    def test_looking_leaves_the_wake_up_for_the_next_wait(self, poller):
        poller.wake_up()
        assert poller.poll(0) == []
        assert poller.poll(0) == []
        assert poller.poll(-1) == []

    @pytest.mark.seed("B4", "B11")
    def test_many_wake_ups_end_one_wait(self, poller):
        for _ in range(1000):
            poller.wake_up()
        start = time.monotonic_ns()
        assert poller.poll(-1) == []
        # The second wait runs into its limit, which a wake-up left over would not let it do.
        assert poller.poll(2_000_000) == []
        assert time.monotonic_ns() - start >= 2_000_000

    @pytest.mark.seed("B8")
    def test_a_wake_up_does_not_hide_an_event(self, hub, poller, pair):
        pd, _, theirs = pair
        queue_up(pd, READ, hub.park("reader"))
        theirs.send(b"x")
        poller.wake_up()
        assert hub.turn(-1) == ["reader"]

    @pytest.mark.seed("B11", "G15")
    def test_a_signal_handler_ends_a_wait_without_limit(self, poller):
        me = threading.main_thread().ident
        calls = []

        def on_signal(*_):
            calls.append("handler")
            poller.wake_up()

        before = signal.signal(signal.SIGUSR1, on_signal)
        try:
            thread = when_blocked(threading.get_native_id(), lambda: signal.pthread_kill(me, signal.SIGUSR1))
            while not calls:  # a wait may end with the signal or only with the wake-up
                assert poller.poll(-1) == []
            thread.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert calls == ["handler"]

    @pytest.mark.seed("G15")
    def test_a_signal_ends_a_wait_with_a_limit(self, poller):
        me = threading.main_thread().ident
        calls = []
        before = signal.signal(signal.SIGUSR1, lambda *_: calls.append("handler"))
        try:
            thread = when_blocked(threading.get_native_id(), lambda: signal.pthread_kill(me, signal.SIGUSR1))
            assert poller.poll(1000 * SECOND) == []
            thread.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert calls == ["handler"]

    @pytest.mark.seed("B4", "B11")
    def test_no_wake_up_of_several_threads_is_lost(self, poller):
        rounds, crowd = 500, 4
        turn = threading.Semaphore(0)

        def work():
            for _ in range(rounds):
                turn.acquire()
                poller.wake_up()

        threads = [threading.Thread(target=work) for _ in range(crowd)]
        for thread in threads:
            thread.start()
        for _ in range(rounds * crowd):
            turn.release()
            assert poller.poll(-1) == []  # nothing else would end it
        for thread in threads:
            thread.join()

    @pytest.mark.seed("B4", "B5", "B11")
    def test_wake_ups_of_a_thread_and_of_a_signal_handler_leave_the_flag_right(self, poller):
        is_over = threading.Event()
        calls = []

        def work():
            while not is_over.is_set():
                poller.wake_up()

        def on_signal(*_):
            calls.append("handler")
            poller.wake_up()

        before = signal.signal(signal.SIGALRM, on_signal)
        thread = threading.Thread(target=work)
        thread.start()
        signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
        try:
            while len(calls) < 200:
                poller.wake_up()  # interrupted, at some point of it, again and again
                assert poller.poll(-1) == []
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            is_over.set()
            thread.join()
            signal.signal(signal.SIGALRM, before)
        poller.wake_up()
        assert poller.poll(-1) == []  # hangs if the flag was left without a write


class TestLife:
    @pytest.mark.seed("B3", "G23")
    def test_it_knows_its_own_descriptors_and_no_other(self, poller, pair):
        pd, _, theirs = pair
        mine = [fd for fd in range(theirs.fileno() + 10) if poller.is_poll_descriptor(fd)]
        links = [os.readlink(f"/proc/self/fd/{fd}").removeprefix("anon_inode:") for fd in mine]
        expected = ["[eventfd]", "[eventpoll]"] if poller.permanent else ["[eventfd]"]
        assert sorted(links) == expected
        assert not poller.is_poll_descriptor(pd.fd)
        assert not poller.is_poll_descriptor(-1)

    @pytest.mark.seed("B1")
    def test_its_descriptors_are_not_inherited_and_its_eventfd_never_blocks(self, poller):
        mine = [fd for fd in range(1000) if poller.is_poll_descriptor(fd)]
        assert mine
        for fd in mine:
            assert not os.get_inheritable(fd)
            if "eventfd" in os.readlink(f"/proc/self/fd/{fd}"):
                assert not os.get_blocking(fd)

    def test_shutting_down_gives_every_descriptor_back(self, poller, pair):
        pd, _, _ = pair
        poller.arm(pd, READ)
        poller.shutdown()
        assert not any(poller.is_poll_descriptor(fd) for fd in range(-1, 1000))
        poller.shutdown()

    def test_a_wake_up_after_the_end_writes_to_nobody(self, poller, world):
        number = next(fd for fd in range(1000) if poller.is_poll_descriptor(fd))
        numbers = [fd for fd in range(number, number + 20) if poller.is_poll_descriptor(fd)]
        poller.shutdown()
        reading, writing = os.pipe2(os.O_NONBLOCK)
        world.callback(os.close, reading)
        world.callback(os.close, writing)
        reused = [fd for fd in numbers if fd not in (reading, writing)]
        for fd in reused:
            os.dup2(writing, fd)
            world.callback(os.close, fd)
        poller.wake_up()
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)

    def test_nothing_of_a_closed_descriptor_is_kept(self, poller, world):
        import weakref

        class Watched(PollDesc):
            __slots__ = ("__weakref__",)

        ours, theirs = socket.socketpair()
        world.enter_context(ours)
        world.enter_context(theirs)
        pd = Watched(ours.fileno(), poller=poller)
        poller.open(pd)
        poller.arm(pd, BOTH)
        poller.poll(0)
        poller.close(pd)
        gone = weakref.ref(pd)
        del pd
        gc.collect()
        assert gone() is None


class TestNames:
    @pytest.mark.parametrize("name", POLLERS)
    def test_every_name_makes_a_poller_that_has_nobody_waiting(self, name):
        made = make_poller(name)
        try:
            assert made.waiters == 0
        finally:
            made.shutdown()

    def test_an_unknown_name_is_told_the_known_ones(self):
        with pytest.raises(ValueError, match=r"'select'.*hostpoll, oneoff, pollset"):
            make_poller("select")
