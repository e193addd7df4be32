"""Blocks with a time-out: whatever a block does, it ends at its deadline, and nothing else does."""

import gc
import time
import weakref

import pytest

import coop
from coop.scheduler import scheduler

SPIN = '(module (func (export "_start") (loop $again (br $again))))'

CALLS = """(module
  (import "host" "wait" (func $wait (result i32)))
  (memory (export "memory") 1)
  (func (export "ask") (result i32) (call $wait)))"""

SPINS = """(component
  (core module $m (func (export "f") (loop $again (br $again))))
  (core instance $i (instantiate $m))
  (func (export "f") (canon lift (core func $i "f"))))"""

SLEEPS = """(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))                         ;; the monotonic clock
    (i64.store (i32.const 24) (i64.const 1000000000000))
    (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"""


@coop.host_function("host", "wait", results=["i32"])
def waits_long(_caller):
    coop.sleep(1000)
    return 1


@coop.host_function("host", "wait", results=["i32"])
def gives_up(_caller):
    try:
        with coop.Timeout(0.01):
            coop.sleep(1000)
    except coop.DeadlineExceeded:
        return 42
    return 1


def run_guest(text):
    return coop.Guest(coop.Module.from_bytes(text)).run()


def ask(function):
    return coop.Guest(coop.Module.from_bytes(CALLS), imports=[function]).call("ask")


def wait_for_a_group():
    with coop.TaskGroup() as group:
        group.spawn(coop.sleep, 1000)


def read_from_a_silent_peer():
    with coop.listen("127.0.0.1:0") as listener, coop.connect(listener.address) as connection:
        connection.recv()


def wait_for_a_task():
    task = coop.spawn(coop.sleep, 1000)
    task.observe()
    task.wait()


LASTING = {
    "a sleep": lambda: coop.sleep(1000),
    "a guest that computes": lambda: run_guest(SPIN),
    "a guest that waits": lambda: run_guest(SLEEPS),
    "a host function": lambda: ask(waits_long),
    "a helper thread": lambda: coop.run_in_thread(time.sleep, 0.5),
    "a peer that says nothing": read_from_a_silent_peer,
    "a task's end": wait_for_a_task,
    "a group's end": wait_for_a_group,
    "an empty channel": lambda: coop.Channel().receive(),
    "a full channel": lambda: coop.Channel().send(1),
    "a time-out that is longer": lambda: limited(500, coop.sleep, 1000),
}


def limited(seconds, call, *args):
    with coop.Timeout(seconds):
        return call(*args)


@pytest.mark.parametrize("what", LASTING)
def test_whatever_lasts_too_long_ends_at_the_deadline(what):
    def main():
        with pytest.raises(coop.DeadlineExceeded, match=r"did not end within 0\.03 s") as caught:
            limited(0.03, LASTING[what])
        coop.sleep(0.001)  # nothing is left that would end this
        return caught.value

    begun = time.monotonic()
    error = coop.run(main)
    assert isinstance(error, TimeoutError)
    assert 0.03 <= time.monotonic() - begun < 100


def test_a_component_ends_at_the_deadline_too():
    def main():
        with coop.ComponentGuest(coop.Component.from_bytes(SPINS)) as guest, pytest.raises(TimeoutError):
            limited(0.03, guest.call, "", "f")

    coop.run(main)


def test_a_block_that_ends_in_time_leaves_nothing_behind():
    def main():
        before = len(scheduler().timers)
        assert limited(1000, lambda: "done") == "done"
        assert limited(None, lambda: "done") == "done"
        assert limited(0, lambda: "done") == "done"  # nobody parked, nobody heard
        assert len(scheduler().timers) == before
        coop.pause()

    coop.run(main)


def test_a_deadline_that_the_block_does_not_hear_of_is_forgotten():
    def main():
        with coop.Timeout(0.001):
            while scheduler().timers.next_ns() is None:
                pass
            until = time.monotonic() + 0.002
            while time.monotonic() < until:
                pass
        coop.sleep(0.002)

    coop.run(main)


def test_the_block_that_opened_first_may_be_due_first():
    log = []

    def inner():
        try:
            limited(500, coop.sleep, 1000)
        except coop.DeadlineExceeded:
            log.append("the inner one was not due")

    def main():
        with pytest.raises(coop.DeadlineExceeded, match=r"0\.01"):
            limited(0.01, inner)

    coop.run(main)
    assert log == []


def test_no_except_in_between_takes_it_for_an_error():
    def goes_on():
        while True:
            try:
                coop.sleep(1000)
            except Exception:
                pass

    def main():
        with pytest.raises(coop.DeadlineExceeded):
            limited(0.01, goes_on)

    coop.run(main)


def test_a_host_function_may_give_up_and_its_guest_goes_on():
    assert coop.run(ask, gives_up) == 42


def test_a_connection_can_be_used_after_it():
    def main():
        with coop.listen("127.0.0.1:0") as listener, coop.connect(listener.address) as here:
            with pytest.raises(TimeoutError), coop.Timeout(0.01):
                here.recv()
            with listener.accept() as there:
                there.sendall(b"late")
            return here.recv()

    assert coop.run(main) == b"late"


def test_a_task_that_is_cancelled_ends_as_such():
    def main():
        task = coop.spawn(limited, 1000, coop.sleep, 1000)
        coop.pause()
        task.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()

    coop.run(main)


def test_the_error_of_the_block_stands_though_the_deadline_has_passed():
    def fail():
        try:
            coop.sleep(1000)
        finally:
            raise ValueError("it")

    def main():
        with pytest.raises(ValueError, match="it"):
            limited(0.01, fail)

    coop.run(main)


def test_one_is_for_one_block():
    def main():
        timeout = coop.Timeout(1)
        with timeout, pytest.raises(coop.BugError, match="second time"), timeout:
            pass

    coop.run(main)


@pytest.mark.parametrize(("seconds", "error"), [("1", TypeError), (float("nan"), ValueError)])
def test_what_is_no_time_is_refused(seconds, error):
    with pytest.raises(error, match="seconds"):
        coop.Timeout(seconds)


def test_outside_a_task_it_is_refused():
    with pytest.raises(coop.BugError, match="needs a task"), coop.Timeout(1):
        pass


def test_what_the_block_held_goes_at_once():
    class Held:
        pass

    def hold():
        held = Held()
        alive.append(weakref.ref(held))
        coop.sleep(1000)

    def main():
        gc.disable()
        try:
            with pytest.raises(TimeoutError):
                limited(0.001, hold)
        finally:
            gc.enable()

    alive = []
    coop.run(main)
    assert alive[0]() is None
