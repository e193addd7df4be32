"""Storms: thousands of tasks that may run at once.  Order is kept, nobody starves, memory is bounded."""

import os
import random

import coop
from coop.clock import ManualClock
from coop.netpoll import make_poller
from coop.scheduler import Scheduler
from tests.children import run_child
from tests.memory import forget_peak, peak

SLEEPERS = 10_000
CONNECTIONS = 5000


def test_sleepers_that_are_due_at_once_wake_in_the_order_in_which_they_lay_down():
    order: list[int] = []
    clock = ManualClock()
    owner = Scheduler(make_poller("hostpoll"), clock=clock)

    def sleeper(number: int) -> None:
        owner.sleep_until(1000)
        order.append(number)

    def main() -> None:
        tasks = [owner.spawn(sleeper, number) for number in range(SLEEPERS)]
        coop.pause()
        clock.advance(1000)
        for task in tasks:
            task.wait()

    owner.run(main)
    owner.poller.shutdown()
    assert order == list(range(SLEEPERS))


def test_a_client_is_answered_between_the_storms():
    """Each storm is one turn: who becomes ready meanwhile runs in the next, before the storm after it."""
    rounds = [0] * 1000

    def sleeper(number: int) -> None:
        while True:
            coop.pause()
            rounds[number] += 1

    def answer(conn: coop.Conn) -> None:
        while data := conn.recv(1):
            conn.sendall(data)

    def main() -> tuple[int, int]:
        for number in range(len(rounds)):
            coop.spawn(sleeper, number)
        # What is sent here has arrived at once, which over TCP it may not have on a machine with much to do.
        with coop.listen(f"unix:@coop-storms-{os.getpid()}") as listener:
            client = coop.spawn(coop.connect, listener.address)
            with listener.accept() as conn, client.wait() as other:
                answering = coop.spawn(answer, conn)
                before = max(rounds)
                for _ in range(50):
                    other.sendall(b"x")
                    assert other.recv(1) == b"x"
                found = max(rounds) - before, max(rounds) - min(rounds)
                answering.cancel()
                return found

    storms, apart = coop.run(main)
    assert 50 < storms <= 5 * 50  # nobody is answered without a wait, and none of these is long
    assert apart <= 1


def test_storm_after_storm_takes_no_more_memory():
    def main() -> int:
        def sleeper() -> None:
            for _ in range(6):
                coop.sleep(0.001)

        tasks = [coop.spawn(sleeper) for _ in range(SLEEPERS)]
        for task in tasks:
            task.wait()
        tasks = [coop.spawn(sleeper) for _ in range(SLEEPERS)]
        before = forget_peak()
        for task in tasks:
            task.wait()
        return peak() - before

    assert coop.run(main) < 64 << 10


def test_connections_that_are_readable_at_once_are_served_in_the_order_in_which_they_became_so():
    run_child(
        f"""
        import random, resource, socket
        import coop
        from coop.netpoll.kernelfiles import SocketFile
        from coop.scheduler import scheduler

        def wrapped(sock):
            return SocketFile(sock, "pair", poller=scheduler().poller, timers=scheduler().timers)

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        count = min({CONNECTIONS}, (hard - 100) // 2)
        assert count > 100
        served = []

        def serve(number, conn):
            with conn:
                while conn.recv(10):
                    served.append(number)

        def main():
            peers = []
            for number in range(count):
                ours, theirs = socket.socketpair()
                peers.append(theirs)
                coop.spawn(serve, number, coop.Conn(scheduler(), wrapped(ours)))
            for _ in range(count // 50):
                coop.pause()  # each is writable from the first moment on, which is heard of in portions
            order = list(range(count))
            for storm in range(3):
                served.clear()
                random.Random(storm).shuffle(order)
                for number in order:
                    peers[number].send(b"x")
                while len(served) < count:
                    coop.pause()
                assert served == order, [pair for pair in zip(served, order) if pair[0] != pair[1]][:5]
            for peer in peers:
                peer.close()

        coop.run(main)
        """
    )


def test_guests_that_are_due_at_once_all_wake_and_lie_down_again():
    text = """(module
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_start") (local $n i32)
        (i64.store (i32.const 24) (i64.const 20000000))
        (i32.store (i32.const 16) (i32.const 1))
        (loop $l
          (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
          (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3))))))"""

    def main() -> list[int]:
        module = coop.Module.from_bytes(text)
        return [task.wait() for task in [coop.spawn(coop.Guest(module).run) for _ in range(1000)]]

    assert coop.run(main) == [0] * 1000


def test_tasks_that_wake_in_any_order_of_moments_wake_in_the_order_of_those():
    woken: list[tuple[int, int]] = []
    chance = random.Random(7)
    moments = [1 + chance.randrange(50) for _ in range(2000)]
    clock = ManualClock()
    owner = Scheduler(make_poller("hostpoll"), clock=clock)

    def sleeper(number: int, after: int) -> None:
        owner.sleep_until(after)
        woken.append((after, number))

    def main() -> None:
        tasks = [owner.spawn(sleeper, number, after) for number, after in enumerate(moments)]
        coop.pause()
        clock.advance(50)
        for task in tasks:
            task.wait()

    owner.run(main)
    owner.poller.shutdown()
    assert woken == sorted((after, number) for number, after in enumerate(moments))
