"""The number of parked waits, by which the idle path tells a sleep from a deadlock."""

import socket
from contextlib import ExitStack
from functools import partial

import pytest

import coop
from coop.netpoll import POLLERS, subs
from coop.netpoll.contract import READ
from coop.scheduler import scheduler
from tests.wasip1.script import Script, clock_sub, fd_sub


@pytest.mark.seed("D12")
@pytest.mark.parametrize("poller", POLLERS)
def test_a_wait_counts_while_it_is_parked_and_no_longer(poller):
    def main():
        left, right = socket.socketpair()
        with left, right:
            listener = coop.listen("127.0.0.1:0")
            counts = []
            waiting = [coop.spawn(listener.accept) for _ in range(3)]
            counts.append(scheduler().poller.waiters)
            for _ in waiting:  # on a slow machine one of them has a turn to itself
                coop.pause()
            counts.append(scheduler().poller.waiters)
            waiting[0].cancel()
            with pytest.raises(coop.WasCancelled):
                waiting[0].wait()
            counts.append(scheduler().poller.waiters)
            listener.close()
            for task in waiting[1:]:
                with pytest.raises(coop.Closed):
                    task.wait()
            counts.append(scheduler().poller.waiters)
            return counts

    assert coop.run(main, poller=poller) == [0, 3, 2, 0]


@pytest.mark.seed("D12")
@pytest.mark.parametrize("poller", POLLERS)
def test_with_no_wait_counted_the_idle_path_does_not_block_but_reports_a_deadlock(poller):
    def main():
        with coop.listen("127.0.0.1:0") as listener:
            file = listener.openfile
            waiter = file.add_wait(READ, coop.current())  # queued, but not counted as parked
            try:
                coop.current().park("nothing that counts")
            finally:
                file.done(waiter)

    with pytest.raises(coop.Deadlock, match="nothing that counts"):
        coop.run(main, poller=poller)


@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "in a crowd"])
def test_a_wait_for_which_the_table_has_no_slot_leaves_nothing(is_alone: bool, monkeypatch):
    def crowd() -> None:
        while True:
            coop.pause()

    def main():
        left, right = socket.socketpair()
        options = {"connections": [left], "limits": coop.Limits.for_server()}
        with left, right, coop.listen("127.0.0.1:0") as listener, ExitStack() as stack:
            one, two = stack.enter_context(Script(**options)), stack.enter_context(Script(**options))
            if not is_alone:
                coop.spawn(crowd)
            monkeypatch.setattr(subs, "MAX_SLOTS", len(scheduler().poller.table))
            poll = partial(two.poll, clock_sub(1, 10**18), fd_sub(2, READ, 3))
            for attempt in (listener.accept, listener.accept, partial(one.read, 3), poll):
                with pytest.raises(coop.TableFull):
                    attempt()
            return scheduler().poller.waiters, listener.openfile.waiters, scheduler().timers.next_ns()

    assert coop.run(main, poller="oneoff") == (0, (), None)
