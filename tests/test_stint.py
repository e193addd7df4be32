"""Python code that goes on and on without a park lets the others run now and then."""

import socket
import time
from collections.abc import Callable

import pytest

import coop
from coop.clock import ManualClock
from coop.netpoll import make_poller
from coop.scheduler import Scheduler, scheduler
from coop.stint import Stint
from tests.engine.wat import module

PRINTS = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 1)) (loop $l
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $l))))"""

READS = PRINTS.replace("fd_write", "fd_read").replace(
    "(i32.const 1) (i32.const 0)", "(i32.const 0) (i32.const 0)"
)

CALLS = """(module (import "h" "work" (func $work)) (memory (export "memory") 1)
  (func (export "_start") (loop $l (call $work) (br $l))))"""


class Work:
    """Computes for a while each time it is called, and fails if that has gone on for seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.give_up = time.monotonic() + 20

    def __call__(self, *_: object) -> bytes:
        until = time.monotonic() + self.seconds
        assert until < self.give_up, "nobody else got to run"
        while time.monotonic() < until:
            pass
        return b"x"


LIMITS = coop.Limits(wall_time=0.4)


def guest_that_prints(work: Work, limits: coop.Limits = LIMITS) -> coop.Guest:
    return coop.Guest(module(PRINTS), stdout=work, limits=limits)


def guest_that_reads(work: Work) -> coop.Guest:
    return coop.Guest(module(READS), stdin=work, limits=LIMITS)


def guest_that_calls(work: Work) -> coop.Guest:
    @coop.host_function("h", name="work")
    def called(_caller: coop.Caller) -> None:
        work()

    return coop.Guest(module(CALLS), imports=[called], limits=LIMITS)


@pytest.mark.parametrize("make", [guest_that_prints, guest_that_reads, guest_that_calls])
@pytest.mark.parametrize("seconds", [0.0, 0.0005, 0.003, 0.015])
def test_a_guest_whose_host_calls_compute_meets_its_limit_and_the_others_run(
    make: Callable[[Work], coop.Guest], seconds: float
):
    def main() -> int:
        ticks = 0
        task = coop.spawn(make(Work(seconds)).run)
        task.observe()
        while not task.is_done:
            coop.sleep(0.001)
            ticks += 1
        with pytest.raises(coop.LimitExceeded, match="wall_time"):
            task.wait()
        return ticks

    # Nobody ticks on a machine that stands still until the guest's time is over; such a round tells nothing.
    assert any(coop.run(main) >= 2 for _ in range(5))


def test_such_a_guest_is_cancelled():
    def main() -> None:
        guest = guest_that_prints(Work(0.003), coop.Limits(wall_time=None))
        task = coop.spawn(guest.run)
        coop.sleep(0.02)
        guest.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()

    coop.run(main)


def test_a_connection_with_always_more_to_read_keeps_nobody_waiting():
    ours, theirs = socket.socketpair()

    def main() -> tuple[int, int]:
        count, seen = 0, []
        with coop.listen("127.0.0.1:0") as listener, coop.connect(listener.address) as client:
            with listener.accept() as server:
                client.sendall(b"x" * 50_000)
                coop.spawn(lambda: seen.append(count))
                while count < 50_000:
                    count += len(server.recv(1))
        return count, seen[0]

    with ours, theirs:
        count, seen = coop.run(main)
    assert count == 50_000
    assert seen < 45_000


def test_one_that_takes_all_that_is_sent_keeps_nobody_waiting():
    def main() -> tuple[int, bool]:
        log: list[int] = []
        sent = 0
        with coop.listen("127.0.0.1:0") as listener, coop.connect(listener.address) as client:
            with listener.accept() as server:
                coop.spawn(lambda: log.append(sent))
                give_up = time.monotonic() + 20
                while not log and time.monotonic() < give_up:
                    client.sendall(b"x")
                    server.openfile.sock.recv(10)  # by the kernel alone, so that there is always room
                    sent += 1
        return sent, bool(log)

    assert coop.run(main)[1]


def test_a_host_function_that_must_not_park_reads_on():
    """A yield there would end the guest: who must not park is asked for none."""

    def main() -> int:
        with coop.listen("127.0.0.1:0") as listener, coop.connect(listener.address) as client:
            with listener.accept() as server:
                client.sendall(b"x" * 5_000)

                @coop.host_function("h", parks=False, name="work")
                def read(_caller: coop.Caller) -> None:
                    for _ in range(5_000):
                        server.recv(1)
                        work()

                work = Work(0.000005)
                text = CALLS.replace("(loop $l (call $work) (br $l))", "(call $work)")
                return coop.Guest(module(text), imports=[read]).run()

    assert coop.run(main) == 0


def test_a_step_yields_only_after_a_while_and_begins_anew_with_each_turn():
    def main() -> list[int]:
        owner = scheduler()
        stint, turns = Stint(owner), []
        for _ in range(4):
            stint.step()
            turns.append(owner.turns)
            clock.advance(2_000_000)
        coop.pause()
        begun = owner.turns
        stint.step()
        assert owner.turns == begun
        return [turn - turns[0] for turn in turns]

    clock = ManualClock()
    runs = Scheduler(make_poller("hostpoll"), clock=clock)
    assert runs.run(main) == [0, 0, 0, 1]
    runs.poller.shutdown()


def test_outside_of_any_task_nobody_yields():
    owner = coop.run(scheduler)
    stint = Stint(owner)
    stint.step()
    time.sleep(0.006)
    stint.step()
