"""Time-outs, channels, groups, cancels, guests, connections and threads, mixed at random.

Run as `python -m tests.fuzz.deadlines SECONDS [SEED]`.  Tasks open blocks with time-outs, within them
others, and groups, and do there what may last; others cancel, close and post meanwhile.  Whatever comes:

1. A block that has a time-out ends with its own DeadlineExceeded or without, never with another's end.
2. No task goes on after a park that began when the time-out of a block around it was over.
3. Each value that was sent is received once or still held; one whose `send` raised, never.
4. When all tasks have ended no timer, no job, no waiter, no guest, and no descriptor is left.
"""

import random
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from typing import Any

import coop
from coop.scheduler import scheduler
from coop.wit import Interface, function
from tests.fuzz.seeds import play

MODULE = """(module
  (import "h" "act" (func $act (result i32)))
  (import "h" "fast" (func $fast (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "act") (drop (call $act)))
  (func (export "both") (local $i i32) (loop $l (drop (call $fast)) (drop (call $act)) (br_if $l
    (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3)))))
  (func (export "spin") (loop $l (br $l)))
  (func (export "spins") (local $i i32) (loop $l (drop (call $fast)) (br_if $l (i32.lt_u
    (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000)))))
  (func (export "sleep") (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 300000))
    (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))))
  (func (export "read") (i32.store (i32.const 8) (i32.const 64)) (i32.store (i32.const 12) (i32.const 8))
    (drop (call $read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 32))))
  (func (export "_start") (call $slow))
  (func $slow (drop (call $act)) (drop (call $fast))))"""

STARTS = """(module
  (import "h" "act" (func $act (result i32)))
  (import "h" "fast" (func $fast (result i32)))
  (func $begin (drop (call $act)))
  (start $begin)
  (func (export "_initialize") (drop (call $act)))
  (func (export "act") (drop (call $act)) (drop (call $fast))))"""

COMPONENT = """(component
  (import "acme:fuzz/host@1.0.0" (instance $host (export "act" (func (result u32)))))
  (core func $act (canon lower (func $host "act")))
  (core module $m
    (import "host" "act" (func $act (result i32)))
    (func (export "act") (drop (call $act)))
    (func (export "spin") (loop $l (br $l))))
  (core instance $i (instantiate $m (with "host" (instance (export "act" (func $act))))))
  (func (export "act") (canon lift (core func $i "act")))
  (func (export "spin") (canon lift (core func $i "spin"))))"""

CODE: dict[str, Any] = {}


class Bang(Exception):
    """What fails at random."""


EXPECTED = (coop.CoopError, Bang, OSError)


class Host(Interface):
    """What the components import."""

    name = "acme:fuzz/host"

    def __init__(self, run: "Run") -> None:
        self._run = run

    @function("func() -> u32")
    def act(self) -> int:
        """Do anything."""
        self._run.acts()
        return 0


class Run:
    """One run: what its tasks share, and what they noted."""

    def __init__(self, chance: random.Random, nowhere: Any) -> None:
        self.chance = chance
        self.nowhere = nowhere  # an address that does not answer
        self.steps = chance.randrange(30, 300)
        self.is_over = False
        self.posted = count(1)
        self.serial = 0
        self.channels: list[coop.Channel[int]] = []
        self.guests: list[Any] = []
        self.conns: list[coop.Conn] = []
        self.tasks: list[coop.Task] = []
        self.threads: list[threading.Thread] = []
        self.blocks: dict[coop.Task, list[int]] = {}
        self.sent: Counter[int] = Counter()
        self.unsent: Counter[int] = Counter()
        self.received: Counter[int] = Counter()
        self.faults: list[str] = []

    # -- what a task does

    def acts(self) -> None:
        """Do something, several times; some errors are taken."""
        task = coop.current()
        blocks = self.blocks.setdefault(task, [])
        for _ in range(self.chance.randrange(1, 5)):
            if self.steps <= 0:
                return
            self.steps -= 1
            act = self.chance.choice(ACTS)
            begun = scheduler().now_ns()
            was_over = any(due < begun for due in blocks)
            turns = scheduler().turns
            try:
                act(self)
            except EXPECTED:
                if self.chance.random() < 0.2:
                    raise
                continue
            except BaseExceptionGroup as group:
                if group.split(EXPECTED)[1] is not None:
                    self.faults.append(f"a group with {group!r}")
                continue
            if was_over and act in SINGLE and scheduler().turns > turns and not task.is_cancelled:
                self.faults.append(f"{act.__name__} parked and went on when a block around it was over")

    def timed(self) -> None:
        seconds = self.chance.choice((0, 0.0001, 0.0005, 0.002, 0.01, 100, None))
        blocks = self.blocks.setdefault(coop.current(), [])
        depth = len(blocks)
        due_ns = 1 << 62
        try:
            with coop.Timeout(seconds):
                if seconds is not None:
                    due_ns = scheduler().now_ns() + int(seconds * 1e9)
                    blocks.append(due_ns)
                try:
                    self.acts()
                except coop.DeadlineExceeded:
                    raise Bang from None  # of something within
        except coop.DeadlineExceeded:
            if scheduler().now_ns() < due_ns - 50_000_000:  # it was noted later than set
                self.faults.append(f"a block of {seconds} s ended too early")
        finally:
            del blocks[depth:]

    def group(self) -> None:
        with coop.TaskGroup() as group:
            for _ in range(self.chance.randrange(3)):
                self.tasks.append(group.spawn(self.task))
            self.acts()

    def task(self) -> None:
        try:
            with coop.Timeout(0.05):  # some of what it does would last for ever
                self.acts()
        finally:
            if self.chance.random() < 0.1:
                for _ in range(self.chance.randrange(20)):
                    coop.current().pause_uncancelled()

    def spawn(self) -> None:
        task = coop.spawn(self.task)
        task.observe()
        self.tasks.append(task)

    def wait_for_task(self) -> None:
        me = coop.current()
        others = [task for task in self.tasks if task is not me]
        if others:
            with coop.Timeout(0.002):
                self.chance.choice(others).wait()

    def cancel(self) -> None:
        if self.tasks and self.chance.random() < 0.4:
            self.chance.choice(self.tasks).cancel()

    def sleep(self) -> None:
        coop.sleep(self.chance.choice((0, 0.0001, 0.001)))

    def pause(self) -> None:
        coop.pause()

    def compute(self) -> None:
        until = time.monotonic() + self.chance.choice((0.0001, 0.001))
        while time.monotonic() < until:
            pass

    def fail(self) -> None:
        raise Bang

    # -- channels

    def send(self) -> None:
        with coop.Timeout(self.chance.choice((0, 0.0005, 0.003))):
            self.send_to(self.chance.choice(self.channels))

    def send_to(self, channel: coop.Channel[int]) -> None:
        self.serial += 1
        value = self.serial
        try:
            channel.send(value)
        except BaseException:
            self.unsent[value] += 1
            raise
        self.sent[value] += 1

    def receive(self) -> None:
        with coop.Timeout(self.chance.choice((0, 0.0005, 0.003))):
            self.receive_from(self.chance.choice(self.channels))

    def receive_from(self, channel: coop.Channel[int]) -> None:
        self.received[channel.receive()] += 1

    def post(self) -> None:
        self.serial += 1
        value = self.serial
        try:
            self.chance.choice(self.channels).post(value)
        except BaseException:
            self.unsent[value] += 1
            raise
        self.sent[value] += 1

    def post_from_thread(self) -> None:
        self.serial += 1
        channel, value = self.chance.choice(self.channels), self.serial

        def act() -> None:
            try:
                channel.post(value)
            except (coop.Closed, coop.BugError):
                self.unsent[value] += 1
            else:
                self.sent[value] += 1

        thread = threading.Thread(target=act)
        self.threads.append(thread)
        thread.start()

    def close_channel(self) -> None:
        if self.chance.random() < 0.2:
            self.chance.choice(self.channels).close()
            self.channels.append(
                coop.Channel(self.chance.randrange(3), from_threads=self.chance.random() < 0.5)
            )

    def cancel_several(self) -> None:
        """Cancel tasks that send and receive just when others take and give."""
        channel = self.chance.choice(self.channels)
        tasks = [coop.spawn(self.chance.choice((self.send_to, self.receive_from)), channel) for _ in range(5)]
        self.tasks += tasks
        for task in tasks:
            task.observe()
        coop.pause()
        try:
            with coop.Timeout(0):
                for _ in range(self.chance.randrange(4)):
                    self.chance.choice((self.send_to, self.receive_from))(channel)
        finally:
            for task in tasks:
                if self.chance.random() < 0.7:
                    task.cancel()
        coop.pause()
        self.check_order(channel)

    def check_order(self, channel: coop.Channel[int]) -> None:
        items = [number for number, _ in channel._items]
        if items != sorted(items):
            self.faults.append(f"out of order: {items}")

    # -- guests

    def host_functions(self) -> list[coop.HostFunction]:
        def act(_caller: coop.Caller) -> int:
            self.acts()
            return 0

        def fast(_caller: coop.Caller) -> int:
            if self.chance.random() < 0.01:
                raise Bang
            return 0

        return [
            coop.HostFunction("h", name, (), ("i32",), call, call is act)
            for name, call in (("act", act), ("fast", fast))
        ]

    def guest(self) -> Any:
        limits = coop.Limits(wall_time=self.chance.choice((0.001, 0.002, 0.05, 1)), memory=4 << 16)
        kind = self.chance.choice(("module", "module", "starts", "component"))
        if kind == "component":
            return coop.ComponentGuest(CODE[kind], imports=[Host(self)], limits=limits)
        given: dict[str, Any] = {}
        if kind == "starts" and self.chance.random() < 0.5:
            given["connections"] = [self.nowhere]
        if kind == "module":
            given["stdin"] = self.chance.choice((None, b"x", self.input, self.input))
            if self.conns and self.chance.random() < 0.3:
                given["stdin"] = self.chance.choice(self.conns)
        return coop.Guest(CODE[kind], imports=self.host_functions(), limits=limits, **given)

    def input(self) -> bytes:
        self.acts()
        return b"y"

    def call_guest(self) -> None:
        guest = self.chance.choice(self.guests)
        if isinstance(guest, coop.ComponentGuest):
            guest.call("", self.chance.choice(("act", "spin")))
        elif guest.module is CODE["starts"]:
            guest.call("act")
        elif self.chance.random() < 0.1:
            guest.run()
        else:
            guest.call(self.chance.choice(("act", "both", "spin", "spins", "sleep", "read")))

    def start_guest(self) -> None:
        self.chance.choice(self.guests).start()

    def new_guest(self) -> None:
        place = self.chance.randrange(len(self.guests))
        self.guests[place].cancel()
        self.guests[place] = self.guest()

    def wait_for_guest(self) -> None:
        with coop.Timeout(0.002):
            self.chance.choice(self.guests).wait()

    def cancel_guest(self) -> None:
        self.chance.choice(self.guests).cancel()

    # -- the rest

    def connect(self) -> None:
        with coop.listen("127.0.0.1:0") as listener:
            self.conns.append(coop.connect(listener.address, timeout=self.chance.choice((None, 1))))
            self.conns.append(listener.accept())

    def use_connection(self) -> None:
        if self.conns:
            conn = self.chance.choice(self.conns)
            self.chance.choice((conn.recv, lambda: conn.sendall(b"some"), conn.close))()

    def ask_name(self) -> None:
        with coop.Timeout(0.001):
            coop.connect("localhost:1")

    def in_thread(self) -> None:
        coop.run_in_thread(time.sleep, self.chance.choice((0, 0.0002, 0.002)))

    def alarm(self) -> None:
        first, then = self.chance.choice((0.00005, 0.0003, 0.001)), self.chance.choice((0, 0.0001, 0.001))
        signal.setitimer(signal.ITIMER_REAL, first, then)

    def on_alarm(self, *_: object) -> None:
        """Do what a signal's handler may do, at whatever moment it comes."""
        if self.is_over:
            return
        chance = random.Random(self.serial)
        channel, what = chance.choice(self.channels), chance.random()
        if what < 0.6:
            value = -next(self.posted)
            try:
                channel.post(value)
            except coop.CoopError:
                return
            self.sent[value] += 1
        elif what < 0.7 and channel._posts is not None:
            channel.close()
        elif self.tasks:
            chance.choice(self.tasks).cancel()

    # -- as a whole

    def main(self) -> None:
        owner = scheduler()
        self.channels = [
            coop.Channel(0),
            coop.Channel(1),
            coop.Channel(2, from_threads=True),
            coop.Channel(0, from_threads=True),
        ]
        self.guests = [self.guest() for _ in range(4)]
        made = self.channels
        while self.steps > 0:
            with coop.TaskGroup() as group:
                self.tasks.append(group.spawn(self.quietly))
                self.tasks.append(group.spawn(self.quietly))
        self.is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        for task in self.tasks:
            task.cancel()
        for thread in self.threads:
            thread.join()
        for guest in self.guests:
            guest.cancel()
        for _ in range(1000):
            if not [task for task in owner.tasks if not owner.is_internal(task)][1:]:
                break
            coop.pause()
        while owner.outside_jobs > 0:
            coop.sleep(0.0005)
        for conn in self.conns:
            try:
                conn.close()
            except coop.Closed:
                pass
        coop.pause()
        self.check(owner, made)

    def quietly(self) -> None:
        try:
            self.task()
        except EXPECTED:
            pass

    def check(self, owner: Any, made: list[coop.Channel[int]]) -> None:
        """Look for what is left, and count the values."""
        left = [task for task in owner.tasks if not owner.is_internal(task)]
        if left != [coop.current()]:
            self.faults.append(f"tasks left: {left}")
        if len(owner.timers):
            self.faults.append(f"{len(owner.timers)} timers left: {owner.timers._heap}")
        if owner.outside_jobs or owner.poller.waiters:
            self.faults.append(f"{owner.outside_jobs} jobs, {owner.poller.waiters} waiters left")
        for channel in made:
            if channel._senders or channel._receivers:
                self.faults.append("somebody waits at a channel")
            channel.close()
            self.check_order(channel)
            self.received.update(channel)
        if self.received != self.sent:
            self.faults.append(
                f"sent and lost {self.sent - self.received}, from nowhere {self.received - self.sent}"
            )
        if self.received & self.unsent:
            self.faults.append(f"received, though `send` raised: {self.received & self.unsent}")


ACTS: list[Callable[[Run], None]] = [
    *(Run.timed,) * 6,
    *(Run.group,) * 3,
    Run.spawn,
    Run.wait_for_task,
    Run.cancel,
    Run.sleep,
    Run.sleep,
    Run.pause,
    *(Run.compute, Run.fail),
    *(Run.send, Run.receive) * 4,
    Run.post,
    Run.post_from_thread,
    Run.close_channel,
    Run.alarm,
    Run.alarm,
    *(Run.cancel_several,) * 3,
    *(Run.call_guest,) * 5,
    Run.start_guest,
    *(Run.new_guest,) * 2,
    Run.wait_for_guest,
    Run.cancel_guest,
    *(Run.connect, Run.use_connection, Run.use_connection, Run.use_connection, Run.ask_name, Run.in_thread),
]


SINGLE = {Run.sleep, Run.pause, Run.wait_for_task, Run.receive, Run.in_thread, Run.wait_for_guest}
"""Those that park at a single place, and do nothing else."""


def one_run(seed: int, nowhere: Any) -> None:
    """One run of one seed."""
    run = Run(random.Random(seed), nowhere)
    signal.signal(signal.SIGALRM, run.on_alarm)
    coop.run(run.main, poller=run.chance.choice(("hostpoll", "oneoff", "pollset")))
    if run.faults:
        sys.exit("\n".join(run.faults[:5]))


def main(seconds: float, first: int) -> None:
    """Run with one seed after the other until the time is over."""
    CODE["module"], CODE["starts"] = coop.Module.from_bytes(MODULE), coop.Module.from_bytes(STARTS)
    CODE["component"] = coop.Component.from_bytes(COMPONENT)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        for _ in range(3):  # more than it has room for
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        play(lambda seed: one_run(seed, server.getsockname()), seconds, first)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
