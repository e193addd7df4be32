"""The list poll of the kernel, under signals."""

import os
import signal
import time

import pytest

from coop.netpoll.contract import READ
from coop.netpoll.hostpollset import HostPollset
from coop.netpoll.pollsys import IN, poll_fds


@pytest.fixture
def quiet_pipe():
    """A pipe with nothing in it, while a timer fires as fast as the kernel makes it."""
    fired = []
    read, write = os.pipe()
    before = signal.signal(signal.SIGALRM, lambda *_: fired.append(None))
    signal.setitimer(signal.ITIMER_REAL, 20e-6, 20e-6)
    yield read, fired
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    os.close(read)
    os.close(write)


def until_enough_fired(fired, look):
    end = time.monotonic() + 10
    while len(fired) < 500:
        assert time.monotonic() < end
        look()


def test_a_look_is_not_ended_by_a_signal(quiet_pipe):
    read, fired = quiet_pipe
    until_enough_fired(fired, lambda: poll_fds({read: IN}, 0))


def test_asking_a_pollable_whether_it_is_ready_is_not_ended_by_a_signal(quiet_pipe):
    read, fired = quiet_pipe
    pollable = HostPollset.descriptor(read, READ)
    until_enough_fired(fired, pollable.ready)
    pollable.drop()


def test_a_wait_is_ended_by_a_signal(quiet_pipe):
    with pytest.raises(InterruptedError, match="ppoll of 1 descriptors"):
        poll_fds({quiet_pipe[0]: IN}, 10_000_000_000)
