"""Channels: every value arrives once, in order, whoever waits, is cancelled, closes or posts."""

import gc
import os
import signal
import sys
import threading
import weakref
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

import coop
from coop.scheduler import scheduler
from tests.children import run_child


def send_all(channel, values):
    for value in values:
        channel.send(value)
    channel.close()


def closed_after(channel, call, *args):
    """Call, which parks, in a task; close the channel meanwhile; return what the call raised."""
    task = coop.spawn(call, *args)
    coop.pause()
    channel.close()
    with pytest.raises(coop.Closed) as caught:
        task.wait()
    return str(caught.value)


@pytest.mark.parametrize("capacity", [0, 1, 3, 100])
def test_values_arrive_in_order(capacity):
    def main():
        channel = coop.Channel(capacity)
        coop.spawn(send_all, channel, range(20))
        return list(channel)

    assert coop.run(main) == list(range(20))


def test_a_sender_waits_for_its_receiver_if_there_is_no_room():
    log = []

    def sender(channel, value):
        channel.send(value)
        log.append(f"sent {value}")

    def main():
        channel = coop.Channel(1)
        for value in (1, 2, 3):
            coop.spawn(sender, channel, value)
        coop.pause()
        log.append(len(channel))
        while len(log) < 7:
            log.append(channel.receive())
            coop.pause()

    coop.run(main)
    assert log == ["sent 1", 1, 1, "sent 2", 2, "sent 3", 3]


def test_who_waited_longest_receives_first():
    log = []

    def receiver(channel, name):
        log.append((name, channel.receive()))

    def main():
        channel = coop.Channel()
        for name in "abc":
            coop.spawn(receiver, channel, name)
        coop.pause()
        for value in (1, 2, 3):
            channel.send(value)
        coop.pause()

    coop.run(main)
    assert log == [("a", 1), ("b", 2), ("c", 3)]


def test_what_it_holds_when_it_is_closed_can_be_received():
    def main():
        channel = coop.Channel(2)
        channel.send(1)
        channel.send(2)
        channel.close()
        channel.close()
        with pytest.raises(coop.Closed, match="send to a channel: it is closed"):
            channel.send(3)
        values = list(channel)
        with pytest.raises(coop.Closed, match="receive from a channel: it is closed"):
            channel.receive()
        return values

    assert coop.run(main) == [1, 2]


def test_closing_ends_those_who_wait():
    def main():
        return (
            closed_after(channel := coop.Channel(), channel.send, 1),
            closed_after(channel := coop.Channel(), channel.receive),
        )

    sent, received = coop.run(main)
    assert "send to a channel: it was closed meanwhile" in sent
    assert "receive from a channel: it was closed meanwhile" in received


def test_a_sender_that_is_cancelled_has_sent_nothing():
    def main():
        channel = coop.Channel()
        senders = [coop.spawn(channel.send, value) for value in (1, 2, 3)]
        coop.pause()
        senders[1].cancel()
        coop.pause()
        return [channel.receive(), channel.receive()]

    assert coop.run(main) == [1, 3]


def test_a_value_whose_receiver_was_cancelled_goes_back_to_the_head():
    def main():
        channel = coop.Channel(5)
        receiver = coop.spawn(channel.receive)
        coop.pause()
        for value in (1, 2):
            channel.send(value)  # the first is the receiver's
        receiver.cancel()
        coop.pause()
        return [channel.receive(), channel.receive()]

    assert coop.run(main) == [1, 2]


def test_and_to_another_receiver_if_one_waits():
    def main():
        channel = coop.Channel(5)
        receivers = [coop.spawn(channel.receive) for _ in range(2)]
        coop.pause()
        channel.send("it")
        receivers[0].cancel()
        return receivers[1].wait()

    assert coop.run(main) == "it"


def test_values_of_several_receivers_that_were_cancelled_go_back_in_their_order():
    def main():
        channel = coop.Channel(5)
        receivers = [coop.spawn(channel.receive) for _ in range(3)]
        coop.pause()
        for value in (1, 2, 3, 4):
            channel.send(value)  # the first three are the receivers'
        for receiver in receivers:
            receiver.cancel()
        coop.pause()
        channel.send(5)
        return [channel.receive() for _ in range(5)]

    assert coop.run(main) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("end", [coop.Task.cancel, lambda task: task.interrupt(KeyError("late"))])
def test_a_sender_whose_value_was_taken_has_sent_it_and_then_hears_of_its_end(end):
    log = []

    def sender(channel):
        channel.send("it")
        log.append("sent")
        coop.pause()
        log.append("went on")

    def main():
        channel = coop.Channel()
        task = coop.spawn(sender, channel)
        coop.pause()
        log.append(channel.receive())
        end(task)
        with pytest.raises((KeyError, coop.WasCancelled)):
            task.wait()

    coop.run(main)
    assert log == ["it", "sent"]


@pytest.mark.parametrize("use", ["send", "receive"])
def test_who_never_has_to_wait_yields_now_and_then(use):
    def main():
        channel = coop.Channel(1 << 30)
        while use == "receive" and len(channel) < 1000:
            channel.send(0)
        sleeper = coop.spawn(coop.sleep, 0.001)
        coop.pause()
        for _ in range(3_000_000):
            channel.send(0)
            if use == "receive":
                channel.receive()
            if sleeper.is_done:
                return True
        return False

    assert coop.run(main)


def test_it_serves_as_a_lock():
    def critical(lock):
        lock.send(None)
        inside.append(1)
        assert len(inside) == 1
        coop.sleep(0.001)
        inside.pop()
        lock.receive()

    def main():
        lock = coop.Channel(1)
        with coop.TaskGroup() as group:
            for _ in range(10):
                group.spawn(critical, lock)

    inside = []
    coop.run(main)


def test_nobody_who_sends_is_a_deadlock_that_says_so():
    with pytest.raises(coop.Deadlock, match="waits for a value from a channel"):
        coop.run(lambda: coop.Channel().receive())


def test_a_host_function_that_must_not_park_may_send_where_there_is_room():
    text = """(module
      (import "host" "tell" (func $tell (param i32)))
      (memory (export "memory") 1)
      (func (export "go") (call $tell (i32.const 7)) (call $tell (i32.const 8))))"""

    def main():
        channel = coop.Channel(1)

        @coop.host_function("host", "tell", params=["i32"], parks=False)
        def tell(_caller, value):
            channel.send(value)

        guest = coop.Guest(coop.Module.from_bytes(text), imports=[tell])
        with pytest.raises(coop.BugError, match="room in a channel"):
            guest.call("go")
        channel.close()
        return list(channel)

    assert coop.run(main) == [7]


# -- from other threads


def test_other_threads_post_and_the_run_waits_for_them():
    def main():
        channel = coop.Channel(from_threads=True)
        threads = [threading.Thread(target=post_many, args=(channel, 100)) for _ in range(4)]
        for thread in threads:
            thread.start()
        values = [channel.receive() for _ in range(400)]
        for thread in threads:
            thread.join()
        return values

    assert sorted(coop.run(main)) == sorted(list(range(100)) * 4)


def post_many(channel, count):
    for value in range(count):
        channel.post(value)


@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_a_run_that_sleeps_hears_of_a_post(poller):
    def main():
        channel = coop.Channel(from_threads=True)
        timer = threading.Timer(0.02, channel.post, ["late"])
        timer.start()
        value = channel.receive()
        timer.join()
        return value

    assert coop.run(main, poller=poller) == "late"


def test_a_post_needs_no_room_and_a_sender_does():
    def main():
        channel = coop.Channel(1, from_threads=True)
        for value in (1, 2, 3):
            channel.post(value)
        sender = coop.spawn(channel.send, 4)
        coop.pause()
        coop.pause()
        found = [len(channel), channel.receive(), channel.receive(), sender.is_done]
        found += [channel.receive(), channel.receive()]
        sender.wait()
        return found

    assert coop.run(main) == [3, 1, 2, False, 3, 4]


def test_what_was_posted_before_a_value_was_sent_comes_before_it():
    def main():
        channel = coop.Channel(5, from_threads=True)
        channel.post(1)
        channel.send(2)
        channel.post(3)
        channel.close()
        return list(channel)

    assert coop.run(main) == [1, 2, 3]


def test_what_was_posted_can_be_received_at_once():
    def main():
        channel = coop.Channel(from_threads=True)
        channel.post(1)
        with coop.Timeout(0):
            return channel.receive()

    assert coop.run(main) == 1


def test_what_was_posted_before_it_was_closed_is_received():
    def main():
        channel = coop.Channel(from_threads=True)
        channel.post(1)
        channel.close()
        with pytest.raises(coop.Closed, match="post to a channel: it is closed"):
            channel.post(2)
        return list(channel)

    assert coop.run(main) == [1]


def test_nothing_is_lost_between_posts_and_a_close():
    def poster(channel, taken):
        try:
            for value in range(1_000_000):
                channel.post(value)
                taken.append(value)
        except coop.Closed:
            return

    def main():
        channel = coop.Channel(from_threads=True)
        taken = []
        thread = threading.Thread(target=poster, args=(channel, taken))
        thread.start()
        values = [channel.receive() for _ in range(50)]
        channel.close()
        thread.join()
        return values + list(channel), taken

    values, taken = coop.run(main)
    assert values == taken


def test_another_thread_may_close_what_it_posts_to():
    def post_and_close(channel):
        channel.post(1)
        channel.close()
        with pytest.raises(coop.Closed):
            channel.post(2)

    def main():
        channel = coop.Channel(from_threads=True)
        thread = threading.Thread(target=post_and_close, args=(channel,))
        thread.start()
        values = list(channel)
        thread.join()
        return values

    assert coop.run(main) == [1]


def test_after_the_run_a_post_is_refused():
    def main():
        return coop.Channel(from_threads=True)

    channel = coop.run(main)
    with pytest.raises(coop.Closed):
        channel.post(1)
    thread = threading.Thread(target=channel.close)
    thread.start()
    thread.join()


def test_a_signals_handler_may_post():
    def main():
        channel = coop.Channel(from_threads=True)
        before = signal.signal(signal.SIGUSR1, lambda *_: channel.post("signal"))
        try:
            timer = threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGUSR1])
            timer.start()
            value = channel.receive()
            timer.join()
            return value
        finally:
            signal.signal(signal.SIGUSR1, before)

    assert coop.run(main) == "signal"


@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
@pytest.mark.parametrize("use", [coop.Channel.receive, lambda channel: channel.send(1)])
def test_a_signals_handler_may_close_when_somebody_is_about_to_wait(poller, use):
    def signal_when_it_queues_up(frame, event, _arg):
        if event == "call" and frame.f_code is coop.Channel._wait.__code__:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGUSR1)

    def main():
        channel = coop.Channel(from_threads=True)
        before = signal.signal(signal.SIGUSR1, lambda *_: channel.close())
        try:
            sys.setprofile(signal_when_it_queues_up)
            with coop.Timeout(60), pytest.raises(coop.Closed, match="closed meanwhile"):
                use(channel)
        finally:
            sys.setprofile(None)
            signal.signal(signal.SIGUSR1, before)

    coop.run(main, poller=poller)


def test_only_those_made_for_it_take_posts():
    def main():
        channel = coop.Channel()
        with pytest.raises(coop.BugError, match="from_threads"):
            channel.post(1)

    coop.run(main)


def test_a_forked_child_cannot_post():
    # In a child: by now this process may have threads, and then CPython 3.15 warns of a fork.
    run_child(
        """
        import os
        import coop

        def main():
            channel = coop.Channel(from_threads=True)
            child = os.fork()
            if not child:
                try:
                    channel.post(1)
                except coop.WrongThread:
                    os._exit(7)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

        coop.run(main)
        """
    )


def test_channels_that_nobody_uses_go_before_their_run_does():
    def main():
        gc.disable()
        try:
            made = [weakref.ref(coop.Channel(from_threads=True)) for _ in range(100)]
            return [channel() for channel in made if channel() is not None]
        finally:
            gc.enable()

    assert coop.run(main) == []


# -- where it does not belong


def test_another_run_is_refused():
    def use(channel):
        for call in (channel.receive, lambda: channel.send(1)):
            with pytest.raises(coop.WrongThread, match="another run"):
                call()

    coop.run(use, coop.run(coop.Channel))


def test_another_thread_cannot_close_what_it_cannot_post_to():
    def main():
        with pytest.raises(coop.WrongThread, match="close a channel"):
            coop.run_in_thread(coop.Channel(1).close)

    coop.run(main)


def test_outside_a_run_there_is_none():
    with pytest.raises(coop.BugError, match="needs a task"):
        coop.Channel()


@pytest.mark.parametrize(("capacity", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_a_capacity_that_is_none_is_refused(capacity, error):
    with pytest.raises(error, match="capacity"):
        coop.run(coop.Channel, capacity)


# -- against a model


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "receive", "post", "cancel sender", "cancel receiver"]), st.integers(0, 9)
    ),
    max_size=40,
)


@given(st.integers(0, 3), STEPS)
def test_any_sequence_does_what_the_model_does(capacity, steps):
    """The model knows values alone: those of senders, posts and receivers, each in the order of arrival."""

    def main():
        channel = coop.Channel(capacity, from_threads=True)
        model = Model(capacity)
        senders, receivers = {}, {}
        for serial, (step, which) in enumerate(steps):
            if step == "send":
                senders[serial] = coop.spawn(channel.send, serial)
                model.send(serial)
            elif step == "receive":
                receivers[serial] = coop.spawn(channel.receive)
                model.receive(serial)
            elif step == "post":
                channel.post(serial)
                model.post(serial)
            elif waiting := model.senders_waiting() if step == "cancel sender" else list(model.receivers):
                serial = waiting[which % len(waiting)]
                (senders if step == "cancel sender" else receivers)[serial].cancel()
                model.cancel(serial)
            for _ in range(3):
                coop.pause()
        found = {
            serial: task.result for serial, task in receivers.items() if task.is_done and task.error is None
        }
        assert found == model.received
        assert len(channel) == len(model.held)
        for task in (*senders.values(), *receivers.values()):
            task.cancel()
        assert scheduler().outside_jobs == len(model.receivers)

    coop.run(main)


class Model:
    """Held values, senders that wait with theirs, receivers that wait, and who received what."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.held = deque()
        self.senders = deque()
        self.receivers = deque()
        self.received = {}

    def senders_waiting(self):
        return list(self.senders)

    def send(self, value):
        self.senders.append(value)
        self.settle()

    def post(self, value):
        self.held.append(value)
        self.settle()

    def receive(self, who):
        self.receivers.append(who)
        self.settle()

    def cancel(self, serial):
        for waiting in (self.senders, self.receivers):
            if serial in waiting:
                waiting.remove(serial)

    def settle(self):
        while True:
            if self.senders and len(self.held) < self.capacity:
                self.held.append(self.senders.popleft())
            elif self.receivers and (self.held or self.senders):
                source = self.held or self.senders
                self.received[self.receivers.popleft()] = source.popleft()
            else:
                return
