"""Random sequences of public calls on guests and tasks, from wherever Python code can run.

Run as `python -m tests.fuzz.api_calls SECONDS [SEED]`.  The same few guests are called, run,
cancelled, closed and waited for by tasks, by host functions that park and such that do not, by
timers of the operating system, by other threads, by garbage, and by other guests' host functions.
Errors are welcome; the process must live, the run must end, and each guest must see itself alone.
"""

import gc
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import coop
from tests.fuzz.seeds import play

TEXT = """(module
  (import "h" "park" (func $park (param i32) (result i32)))
  (import "h" "fast" (func $fast (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $check (param i32) (if (i32.ne (local.get 0) (i32.const 7)) (then unreachable)))
  (func $turn (call $check (call $park (i32.const 7))) (call $check (call $fast (i32.const 7))))
  (func (export "_start") (call $turn) (drop (call $yield)) (call $turn))
  (func (export "turn") (call $turn))
  (func (export "many") (local $i i32)
    (loop $l (call $turn) (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
      (i32.const 20)))))
  (func (export "read") (i32.store (i32.const 8) (i32.const 64)) (i32.store (i32.const 12) (i32.const 8))
    (drop (call $read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 32))))
  (func (export "spin") (loop $l (br $l)))
  (func (export "spins") (local $i i32) (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i)
    (i32.const 1))) (i32.const 30000000)))))
  (func (export "grow") (drop (memory.grow (i32.const 1))))
  (func (export "trap") unreachable)
  (func (export "exit") (call $exit (i32.const 3)))
  (func $deep (export "deep") (call $deep)))"""
EXPORTS = [
    *("turn", "many", "many", "read", "spin", "spins", "grow", "trap", "exit", "deep", "missing", "memory"),
]
MODULES: list[coop.Module] = []

ALARMS = "FUZZ_ALARMS" in os.environ
"""Whether a signal handler that raises goes off at random as well: where it hits the standard library or the
making of a run, what it breaks is the user's to bear, so only a person looks at what that finds."""


class Bang(Exception):
    """What host functions and signal handlers raise."""

    def __repr__(self) -> str:
        raise ValueError("not even this can be shown")


class Litter:
    """Garbage in a cycle that acts when it is collected."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act, self.me = act, self

    def __del__(self) -> None:
        try:
            self.act()
        except (Exception, coop.Cancelled):
            pass


class Chaos:
    """One run: its guests, its tasks, and what may be done to them."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.steps = chance.randrange(20, 200)
        self.depth = 0
        self.is_over = False
        self.has_alarms = chance.random() < 0.3 and ALARMS
        self.kept: list[Any] = []
        self.tasks: list[coop.Task] = []
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.guests = [self.guest() for _ in range(chance.randrange(1, 6))]
        self.threads: list[threading.Thread] = []
        self.channel: coop.Channel[coop.Guest] | None = None

    def guest(self) -> coop.Guest:
        limits = coop.Limits(wall_time=0.3, cpu_time=0.1, memory=4 << 16)
        stdin: Any = self.chance.choice((None, b"x", lambda: self.act() and b"y"))
        if self.chance.random() < 0.3:
            self.pairs.append(socket.socketpair())
            stdin = self.pairs[-1][0]
        imports = [self.host_function("park", True), self.host_function("fast", False)]
        return coop.Guest(MODULES[0], imports=imports, limits=limits, stdin=stdin)

    def host_function(self, name: str, parks: bool) -> coop.HostFunction:
        made: list[coop.Guest] = []

        def call(caller: coop.Caller, number: int) -> int:
            # A guest has functions of its own, so whoever calls them is always the same.
            if not made:
                made.append(caller.guest)
            if made[0] is not caller.guest:
                raise AssertionError("one guest's call arrived as another's")
            if self.chance.random() < 0.1:
                self.kept.append(caller.memory.slice(0, 8))
            if self.chance.random() < 0.05:
                raise Bang
            self.act()
            return number

        return coop.HostFunction("h", name, ("i32",), ("i32",), call, parks)

    def act(self) -> bool:
        """Do something, anywhere; what it raises is dropped but for the end of the task."""
        if self.steps <= 0 or self.depth > 3:
            return True
        self.steps -= 1
        self.depth += 1
        try:
            self.chance.choice(ACTS)(self, self.chance.choice(self.guests))
        except (coop.CoopError, coop.BugError, Bang, OSError, TimeoutError, RecursionError):
            pass
        finally:
            self.depth -= 1
        return True

    # -- what may be done

    def call(self, guest: coop.Guest) -> None:
        guest.call(self.chance.choice(EXPORTS))

    def run(self, guest: coop.Guest) -> None:
        guest.run()

    def start(self, guest: coop.Guest) -> None:
        guest.start()

    def wait(self, guest: coop.Guest) -> None:
        guest.wait()

    def cancel(self, guest: coop.Guest) -> None:
        if self.chance.random() < 0.3:
            guest.cancel()

    def close(self, guest: coop.Guest) -> None:
        if self.chance.random() < 0.3:
            guest.close()

    def renew(self, guest: coop.Guest) -> None:
        if self.is_over:
            return  # garbage, found after the run
        # Made first: meanwhile garbage may have put another in its place.
        new = self.guest()
        self.guests[self.chance.randrange(len(self.guests))] = new

    def spawn_call(self, guest: coop.Guest) -> None:
        task = coop.spawn(
            self.quietly, self.chance.choice((Chaos.call, Chaos.run, Chaos.start, Chaos.wait)), guest
        )
        self.tasks.append(task)

    def quietly(self, act: Callable[["Chaos", coop.Guest], None], guest: coop.Guest) -> None:
        try:
            act(self, guest)
        except (coop.CoopError, Bang, RecursionError):
            pass

    def pause(self, guest: coop.Guest) -> None:
        coop.pause()

    def sleep(self, guest: coop.Guest) -> None:
        coop.sleep(self.chance.choice((0, 0.0001, 0.001)))

    def cancel_task(self, guest: coop.Guest) -> None:
        if self.tasks and self.chance.random() < 0.3:
            self.chance.choice(self.tasks).cancel()

    def collect(self, guest: coop.Guest) -> None:
        gc.collect(self.chance.choice((0, 0, 1)))

    def litter(self, guest: coop.Guest) -> None:
        # Garbage may turn up in the middle of the standard library or of a park, so it does not park itself.
        act = self.chance.choice((Chaos.cancel, Chaos.close, Chaos.renew, Chaos.cancel_task, Chaos.feed))
        Litter(lambda: act(self, guest))

    def drop(self, guest: coop.Guest) -> None:
        self.kept.clear()

    def feed(self, guest: coop.Guest) -> None:
        if self.pairs:
            self.chance.choice(self.pairs)[1].send(b"z", socket.MSG_DONTWAIT)

    def thread(self, guest: coop.Guest) -> None:
        if self.has_alarms:
            return  # an alarm's error in the middle of a thread's start is the standard library's to bear
        calls = (
            lambda: guest.call("turn"),
            lambda: coop.run(guest.call, "turn"),
            lambda: self.channel and self.channel.post(guest),
        )
        act = self.chance.choice((guest.cancel, guest.close, *calls, gc.collect, self.own_run))
        thread = threading.Thread(target=_quiet, args=(act,))
        self.threads.append(thread)
        thread.start()

    def own_run(self) -> None:
        """Run a guest of the same module on this thread."""

        def main() -> None:
            with coop.Guest(MODULES[0], imports=[_identity("park", True), _identity("fast", False)]) as guest:
                guest.call("many")

        coop.run(main)

    def in_thread(self, guest: coop.Guest) -> None:
        if not self.has_alarms:
            coop.run_in_thread(_quiet, guest.cancel)

    def alarm(self, guest: coop.Guest) -> None:
        if self.has_alarms:
            signal.setitimer(signal.ITIMER_REAL, self.chance.choice((1e-5, 1e-4, 1e-3)))

    def nested_run(self, guest: coop.Guest) -> None:
        coop.run(lambda: None)

    def group(self, guest: coop.Guest) -> None:
        with coop.TaskGroup() as group:
            group.spawn(self.quietly, Chaos.call, guest)
            self.act()

    def timed(self, guest: coop.Guest) -> None:
        with coop.Timeout(self.chance.choice((0, 0.0001, 0.001))):
            self.act()

    def hand_over(self, guest: coop.Guest) -> None:
        channel = self.channel
        if channel is not None:
            use = self.chance.choice(
                (channel.receive, lambda: channel.send(guest), lambda: channel.post(guest))
            )
            with coop.Timeout(0.001):
                use()

    def close_channel(self, guest: coop.Guest) -> None:
        if self.channel is not None:
            self.channel.close()
        self.channel = coop.Channel(self.chance.randrange(3), from_threads=True)

    def main(self) -> None:
        while self.steps > 0:
            self.act()
        if self.chance.random() < 0.5:
            coop.sleep(0.002)

    def finish(self) -> None:
        """After the run: nothing may be owed to anyone."""
        self.is_over = True
        for thread in self.threads:
            thread.join()
        for pair in self.pairs:
            for sock in pair:
                sock.close()
        self.kept.clear()


ACTS: list[Callable[[Chaos, coop.Guest], None]] = [
    *(Chaos.call, Chaos.call, Chaos.run, Chaos.start, Chaos.wait, Chaos.cancel, Chaos.close),
    *(Chaos.renew, Chaos.renew),
    *(Chaos.spawn_call, Chaos.spawn_call, Chaos.spawn_call, Chaos.pause, Chaos.pause, Chaos.sleep),
    *(Chaos.cancel_task, Chaos.collect, Chaos.litter, Chaos.litter, Chaos.drop, Chaos.feed, Chaos.thread),
    *(Chaos.in_thread, Chaos.alarm, Chaos.nested_run, Chaos.group),
    *(Chaos.timed, Chaos.hand_over, Chaos.hand_over, Chaos.close_channel),
]


def _identity(name: str, parks: bool) -> coop.HostFunction:
    return coop.HostFunction("h", name, ("i32",), ("i32",), lambda _, number: number, parks)


def _quiet(act: Callable[[], object]) -> None:
    try:
        act()
    except (coop.CoopError, Bang, OSError, RecursionError):
        pass


def _on_alarm(*_: object) -> None:
    raise Bang


def one_run(seed: int) -> None:
    """One run of one seed; any error that a user could have meant is fine."""
    chaos = Chaos(random.Random(seed))
    try:
        coop.run(chaos.main, poller=chaos.chance.choice(("hostpoll", "hostpoll", "oneoff", "pollset")))
    except BaseExceptionGroup as group:
        _, rest = group.split((coop.CoopError, coop.BugError, Bang, OSError, RecursionError))
        if rest is not None:
            raise
    except (coop.CoopError, coop.BugError, Bang, OSError, RecursionError):
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        chaos.finish()


def main(seconds: float, first: int) -> None:
    """Run with one seed after the other until the time is over."""
    MODULES.append(coop.Module.from_bytes(TEXT))
    signal.signal(signal.SIGALRM, _on_alarm)
    gc.set_threshold(50)
    play(one_run, seconds, first)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
