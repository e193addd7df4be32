"""What one descriptor is asked without giving up the GIL."""

import os
import select
import signal
import socket

import pytest

from coop.netpoll import looksys
from coop.netpoll.looksys import look_at, unread
from coop.netpoll.pollsys import HUP, IN, NVAL, OUT, RDHUP
from tests.children import run_child


@pytest.fixture
def ends():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def as_poll_says(fd: int, events: int) -> int:
    asker = select.poll()
    asker.register(fd, events)
    return dict(asker.poll(0)).get(fd, 0)


def test_a_look_tells_what_poll_tells(ends):
    near, far = ends
    told = [look_at(near.fileno(), IN | OUT | RDHUP)]
    far.send(b"abc")
    told += [look_at(near.fileno(), asked) for asked in (IN | OUT | RDHUP, IN, OUT, 0)]
    far.close()
    told += [look_at(near.fileno(), asked) for asked in (IN | OUT | RDHUP, 0)]
    assert told == [OUT, IN | OUT, IN, OUT, 0, IN | OUT | RDHUP | HUP, HUP]
    assert look_at(near.fileno(), IN | RDHUP) == as_poll_says(near.fileno(), IN | RDHUP)
    assert look_at(1 << 30, IN) == NVAL


def test_what_is_unread_is_counted(ends):
    near, far = ends
    assert unread(near.fileno()) == 0
    far.send(bytes(1000))
    assert unread(near.fileno()) == 1000
    assert unread(1 << 30) == 1


def test_a_look_in_a_handler_changes_nothing_for_the_one_that_it_came_into(ends):
    near, far = ends
    far.send(b"abc")
    fired = []

    def look(*_):
        fired.append((look_at(far.fileno(), IN), unread(far.fileno())))

    before = signal.signal(signal.SIGALRM, look)
    try:
        for number in range(500):
            # One at a time: where the machine is slow each would come into the one before, without end.
            signal.setitimer(signal.ITIMER_REAL, 20e-6)
            while len(fired) == number:
                assert (look_at(near.fileno(), IN), unread(near.fileno())) == (IN, 3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert set(fired) == {(0, 0)}


def test_a_look_that_fails_tells_why(ends, monkeypatch):
    monkeypatch.setattr(looksys, "_poll", lambda *_: -1)
    assert look_at(ends[0].fileno(), OUT) == OUT  # as after a signal: the longer way is asked
    monkeypatch.setattr(looksys, "poll_fds", lambda *_: os.stat("/nowhere/at/all"))
    with pytest.raises(OSError):
        look_at(ends[0].fileno(), OUT)


def test_who_looks_at_a_file_gives_the_gil_to_no_other_thread():
    run_child(
        """
        import _thread, socket, sys, time
        from coop.netpoll.kernelfiles import SocketFile

        sys.setswitchinterval(1000)  # so that only giving up the GIL lets the other thread run
        near, far = socket.socketpair()
        far.send(b"abc")
        ran, file = [], SocketFile(near)
        for turn in range(20_000):
            if turn == 1:  # not before all code is loaded that is to run
                _thread.start_new_thread(ran.append, (1,))
            assert file.level(3) == 3
            assert not file.is_left()
            assert not file.is_hung_up()
            assert file.available() == 3
        assert not ran
        while not ran:
            time.sleep(0.001)
        """
    )
