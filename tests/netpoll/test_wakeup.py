"""The wake-up: one eventfd, one token."""

import os
import select
import signal
import sys
import threading

import pytest

from coop.errors import BugError
from coop.netpoll.wakeup import Wakeup


@pytest.fixture
def wakeup():
    made = Wakeup()
    yield made
    made.close()


@pytest.fixture
def untraced():
    """No tracing while the test runs: an exception raised inside coverage's tracer may be swallowed there."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


def counter(wakeup):
    """What the eventfd would give to a read."""
    with open(f"/proc/self/fdinfo/{wakeup.fd}") as info:
        fields = dict(line.split(":", 1) for line in info)
    return int(fields["eventfd-count"], 16)


@pytest.mark.seed("B1")
def test_it_is_one_eventfd_that_is_neither_inherited_nor_blocking(wakeup):
    assert "eventfd" in os.readlink(f"/proc/self/fd/{wakeup.fd}")
    assert not os.get_inheritable(wakeup.fd)
    assert not os.get_blocking(wakeup.fd)


@pytest.mark.seed("B4")
def test_of_many_signals_one_writes(wakeup):
    for _ in range(10):
        wakeup.signal()
    assert counter(wakeup) == 1


@pytest.mark.seed("B4")
def test_of_many_threads_one_writes(wakeup):
    start = threading.Barrier(8)

    def work():
        start.wait()
        for _ in range(100):
            wakeup.signal()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter(wakeup) == 1


@pytest.mark.seed("B7")
def test_a_poll_that_may_block_clears_counter_and_flag(wakeup):
    wakeup.signal()
    wakeup.take(1, may_block=True)
    assert counter(wakeup) == 0
    wakeup.signal()
    assert counter(wakeup) == 1


@pytest.mark.seed("B7")
def test_a_poll_that_only_looks_clears_neither(wakeup):
    wakeup.signal()
    wakeup.take(1, may_block=False)
    wakeup.signal()
    assert counter(wakeup) == 1


@pytest.mark.seed("B5")
def test_a_counter_at_its_maximum_counts_as_signalled(wakeup):
    os.eventfd_write(wakeup.fd, 2**64 - 2)
    wakeup.signal()
    assert counter(wakeup) == 2**64 - 2


@pytest.mark.seed("B5")
def test_any_other_failure_of_the_write_comes_out_and_the_next_signal_tries_again(wakeup):
    real = wakeup.fd
    with open(os.devnull) as unwritable:
        wakeup.fd = unwritable.fileno()
        with pytest.raises(OSError, match="Bad file descriptor"):
            wakeup.signal()
        wakeup.fd = real
    wakeup.signal()
    assert counter(wakeup) == 1


@pytest.mark.seed("B6")
@pytest.mark.parametrize("events", [0, 4, 9])
def test_a_report_that_is_not_exactly_readable_is_a_bug(wakeup, events):
    with pytest.raises(BugError, match="unexpected"):
        wakeup.take(events, may_block=True)


@pytest.mark.seed("B11")
def test_a_signal_handler_that_raises_anywhere_in_it_loses_no_later_signal(wakeup, untraced):
    class Raised(Exception):
        pass

    def on_signal(*_):
        raise Raised

    before = signal.signal(signal.SIGALRM, on_signal)
    raised = 0
    try:
        while raised < 200:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00005 + raised * 1e-6)
                while True:
                    wakeup.signal()
                    if select.select([wakeup.fd], [], [], 0)[0]:
                        wakeup.take(1, may_block=True)
            except Raised:
                raised += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    wakeup.signal()
    assert counter(wakeup) >= 1


def test_closing_waits_for_the_write_of_who_has_the_token(wakeup):
    wakeup._token.pop()
    fd = wakeup.fd
    thread = threading.Thread(target=os.eventfd_write, args=(fd, 1))
    thread.start()
    wakeup.close()
    thread.join()
    assert wakeup.fd == -1


def test_closing_twice_and_signalling_after_it_do_nothing(wakeup):
    wakeup.close()
    wakeup.close()
    wakeup.signal()
    assert wakeup.fd == -1


def test_a_signal_that_was_taken_back_is_gone_and_the_next_one_counts(wakeup):
    wakeup.forget()
    wakeup.signal()
    wakeup.forget()
    assert counter(wakeup) == 0
    wakeup.signal()
    assert counter(wakeup) == 1


def test_a_signal_whose_writer_has_the_token_but_has_not_written_is_not_taken_back(wakeup):
    token = wakeup._token.pop()
    wakeup.forget()
    assert wakeup._token == []
    wakeup._token.append(token)
    wakeup.signal()
    assert counter(wakeup) == 1
