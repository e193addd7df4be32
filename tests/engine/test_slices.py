"""Slices: a guest that computes delays nobody, and guests that compute share the processor as they should.

No test here takes a time: a busy guest's slice is made an hour long, so that who is not let in by
something else would never be let in at all.
"""

import ctypes as C
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import coop
from coop.engine import SLICE_NS, Border
from coop.engine.preempt import Ticker
from coop.engine.shots import TimerSpec, libc
from coop.engine.slices import KEEP_NS, Slices
from coop.netpoll import make_poller
from coop.scheduler import scheduler
from tests.children import run_child
from tests.engine.wat import in_child, module

SPIN = '(module (memory (export "memory") 2) (func (export "_start") (loop $l (br $l))))'
WORK = """(module (memory (export "memory") 1) (func (export "work") (param $n i32)
  (loop $l (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $l (local.get $n)))))"""
CALLS = """(module (import "h" "f" (func $f)) (memory (export "memory") 1)
  (func (export "_start") (loop $l (call $f) (br $l))))"""
POLLS = """(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store8 (i32.const 8) (i32.const 2)) (i32.store (i32.const 16) (i32.const 1))
    (loop $l
      (if (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)) (then (unreachable)))
      (br_if $l (i32.load (i32.const 128))))
    (unreachable)))"""
"""Polls its standard output, which is always ready."""
NAPS = """(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $cpu (result i64) (drop (call $now (i32.const 2) (i64.const 1) (i32.const 0)))
    (i64.load (i32.const 0)))
  (func $compute (param $ns i64) (local $end i64)
    (local.set $end (i64.add (call $cpu) (local.get $ns)))
    (loop $l (br_if $l (i64.lt_s (call $cpu) (local.get $end)))))
  (func $nap (param $ns i64)
    (i32.store (i32.const 80) (i32.const 1)) (i64.store (i32.const 88) (local.get $ns))
    (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 0))))
  (func (export "_start") (local $seen i64) (local $times i32)
    (loop $l
      (call $compute (i64.const 25000000))
      (call $nap (i64.const 60000000))
      (if (i64.lt_s (call $cpu) (local.get $seen)) (then (unreachable)))
      (local.set $seen (call $cpu))
      (local.set $times (i32.add (local.get $times) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $times) (i32.const 4)))))
  (func (export "once") (call $compute (i64.const 25000000)) (call $nap (i64.const 1000000)))
  (func $say
    (i32.store (i32.const 204) (i32.const 1))
    (drop (call $write (i32.const 1) (i32.const 200) (i32.const 1) (i32.const 208))))
  (func (export "evade")
    (loop $l (call $compute (i64.const 4000000)) (call $say) (call $nap (i64.const 8000000)) (br $l))))"""
"""Computes and sleeps by turns; traps if its processor clock goes back."""
HOUR_NS = 3_600_000_000_000


@coop.host_function("h", "f", parks=False)
def f(_caller: coop.Caller) -> None:
    """Do nothing, often."""


def spinner(text: str = SPIN, **kwargs: Any) -> coop.Guest:
    return coop.Guest(module(text), imports=[f] if text is CALLS else [], **kwargs)


def border() -> Border:
    owner = scheduler()
    return owner.resource(Border, lambda: Border(owner))


def beside(body: Callable[[coop.Guest], Any], *, text: str = SPIN, poller: str = "hostpoll") -> Any:
    """Run `body` beside a guest that computes, in slices that have no end of their own."""

    def main() -> Any:
        guest = spinner(text)
        coop.spawn(guest.run).observe()
        while guest.stats().slices < 2:
            coop.pause()
        border().slices(guest.module.engine)._slice_ns = HOUR_NS
        if text is POLLS:
            patch.setattr("coop.engine.slices.SHORT_NS", HOUR_NS)  # nobody but itself lets the others in
        return body(guest)

    with pytest.MonkeyPatch.context() as patch:
        return coop.run(main, poller=poller)


@pytest.mark.parametrize("text", [SPIN, CALLS, POLLS], ids=["computes", "calls", "polls"])
@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_a_sleep_ends_beside_a_guest_that_computes(text: str, poller: str):
    beside(lambda _: [coop.sleep(0.003) for _ in range(20)], text=text, poller=poller)


@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_a_sleep_ends_beside_guests_that_begin_to_compute(poller: str):
    """Each has computed for no slice yet, so it is one that nobody could end."""

    def main() -> None:
        owner = scheduler()
        owner.resource(Border, lambda: Border(owner, slice_ns=HOUR_NS))
        for _ in range(5):
            coop.spawn(spinner().run).observe()
        coop.sleep(0.003)

    coop.run(main, poller=poller)


def test_the_slice_of_a_guest_that_goes_on_within_a_turn_is_not_put_off():
    """It parks in none of its calls, and in each of them its slice could begin anew."""
    begun: list[tuple[int, bool]] = []

    def main() -> None:
        guest = coop.Guest(module(CALLS), imports=[parks])
        coop.spawn(guest.run).observe()
        while guest.stats().slices < 3:
            coop.pause()

    def begin(slices: Slices, now_ns: int) -> None:
        begun.append((scheduler().turns, now_ns >= slices.ends_ns))
        really(slices, now_ns)

    parks = coop.host_function("h", "f")(lambda _caller: None)
    really = Slices.begin
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coop.engine.drive.MOST_NS", HOUR_NS)  # no other end comes to it
        patch.setattr(Slices, "begin", begin)
        coop.run(main)
    assert all(is_over for (turn, _), (after, is_over) in pairwise(begun) if after == turn)


def test_the_gil_is_kept_where_another_thread_takes_it_for_longer_than_slices_last():
    stop = threading.Event()
    watched: list[bool] = []

    def compute() -> None:
        while not stop.is_set():
            sum(range(1000))

    def begin_busy(slices: Slices, *, is_watched: bool) -> None:
        watched.append(is_watched)
        really(slices, is_watched=is_watched)

    def await_change(*, to: bool) -> None:
        while watched[-1] is not to:
            coop.sleep(0.001)  # which ends the slice
            coop.pause()

    def main() -> None:
        guest = spinner()
        coop.spawn(guest.run).observe()
        while not watched:
            coop.pause()
        for _ in range(3):
            await_change(to=False)
            await_change(to=True)

    really = Slices.begin_busy
    other = threading.Thread(target=compute)
    other.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Slices, "begin_busy", begin_busy)
            coop.run(main)
    finally:
        stop.set()
        other.join()


def test_what_slices_lose_decides_whether_the_gil_is_given_up_for_them(monkeypatch):
    now = 1
    monkeypatch.setattr("coop.engine.slices.now_ns", lambda: now)
    ms = 1_000_000

    def main() -> None:
        nonlocal now
        slices = border().slices(module(SPIN).engine)
        for loses, keeps in [
            ([(15, 10)] * 5, False),  # a long slice, and then the 5 ms of one other thread
            ([(6, 1)], False),  # that may be another process, once
            ([(1, 1), (6, 1), (2, 1), (6, 1), (12, 10)], False),
            ([(6, 1), (6, 1)], True),
            ([(6, 1)], True),  # tried again, and it is still so
            ([(1, 1)], False),
            ([(6, 1)], False),
        ]:
            for took, had in loses:
                assert slices.may_release()
                slices.took(took * ms, had * ms)
            assert slices.may_release() is not keeps
            now += KEEP_NS

    coop.run(main)


def test_a_sleep_that_is_over_at_once_ends_too():
    beside(lambda _: [coop.sleep(1e-9 * 10**n) for n in range(7)] * 3)


@pytest.mark.parametrize("text", [SPIN, POLLS], ids=["computes", "polls"])
def test_a_client_is_answered_beside_a_guest_that_computes(text: str):
    def body(_: coop.Guest) -> None:
        with coop.listen("127.0.0.1:0") as listener:

            def ask() -> None:
                with socket.create_connection(listener.address) as client:
                    for _ in range(20):
                        client.sendall(b"x")
                        assert client.recv(1) == b"x"

            asking = coop.spawn(lambda: coop.run_in_thread(ask))
            with listener.accept() as conn:
                while data := conn.recv(1):
                    conn.sendall(data)
            asking.wait()

    beside(body, text=text)


@pytest.mark.parametrize("text", [SPIN, CALLS, POLLS], ids=["computes", "calls", "polls"])
def test_another_threads_cancel_is_heard_beside_a_guest_that_computes(text: str):
    def body(guest: coop.Guest) -> None:
        thread = threading.Timer(0.02, guest.cancel)
        thread.start()
        with pytest.raises(coop.WasCancelled):
            guest.wait()
        thread.join()

    beside(body, text=text)


def test_a_signal_is_heard_beside_a_guest_that_computes():
    def body(_: coop.Guest) -> None:
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
        coop.Task.wait(coop.spawn(coop.sleep, 3600))

    with pytest.raises(KeyboardInterrupt):
        beside(body)


def test_tasks_that_wake_each_other_go_on_beside_a_guest_that_computes():
    def body(guest: coop.Guest) -> None:
        def yield_often() -> None:
            for _ in range(50):
                coop.pause()

        before = guest.stats()
        for task in [coop.spawn(yield_often) for _ in range(2)]:
            task.wait()
        assert guest.stats().cpu_time > before.cpu_time

    beside(body)


def test_a_wake_up_that_was_heard_does_not_end_every_slice():
    """Its signal stands until the next wait, which never comes while somebody is busy."""

    def body(guest: coop.Guest) -> float:
        coop.run_in_thread(lambda: None)
        before = guest.stats()
        coop.sleep(0.3)
        after = guest.stats()
        return (after.slices - before.slices) / (after.wall_time - before.wall_time)

    assert beside(body) < 500  # a slice that is ended again and again lasts 0.2 ms


def test_the_watcher_starts_with_a_busy_guest_sleeps_without_one_and_ends_with_the_run():
    def named() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "coop-watcher"]

    def wakes(thread: threading.Thread) -> int:
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
        return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    def main() -> None:
        short = coop.Guest(module('(module (memory (export "memory") 1) (func (export "_start")))'))
        short.run()
        assert not named() or short.stats().slices  # the machine stood still meanwhile
        guest = spinner()
        task = coop.spawn(guest.run)
        task.observe()
        while not named():
            coop.pause()
        (thread,) = named()
        assert guest.stats().slices or short.stats().slices
        guest.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()
        listener = coop.listen("127.0.0.1:0")
        before, quiet = wakes(thread), 0
        while quiet < 10:  # it may still be on its way to sleep, and not have been let run for a while
            coop.sleep(0.05)
            quiet = quiet + 1 if before == wakes(thread) else 0
            before = wakes(thread)
        with listener, coop.spawn(coop.connect, listener.address).wait() as right, listener.accept() as conn:
            for _ in range(100):
                right.sendall(b"x")
                assert conn.recv(1) == b"x"
                coop.sleep(0.0001)
        assert wakes(thread) - before < 10

    coop.run(main)
    assert not named()


def test_where_no_thread_is_to_be_had_a_busy_guest_goes_on_in_short_slices():
    done = run_child(
        f"""
        import resource, threading
        import coop
        from tests.engine.wat import in_child, module

        def main():
            guest = coop.Guest(module({SPIN!r}))
            coop.spawn(guest.run).observe()
            while not guest.stats().slices:
                coop.pause()
            # A stack of a thread is 8 MiB.
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 20), resource.RLIM_INFINITY))
            for _ in range(5):
                coop.sleep(0.05)
            print(guest.stats().slices > 5, threading.active_count())
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            coop.sleep(0.2)
            print(threading.active_count())
            guest.cancel()

        coop.run(main)
        """
    )
    assert done.stdout.split() == [b"True", b"1", b"2"]


def test_a_guest_yields_again_once_the_system_has_threads_again():
    done = in_child(
        f"""
        import resource
        from pathlib import Path
        from tests.shortage import be_a_user, end_threads

        def cpu_s(pid):
            fields = Path(f"/proc/{{pid}}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        be_a_user()
        read, write = os.pipe()
        if os.fork() == 0:
            os.read(read, 1)
            parent = os.getppid()
            until = cpu_s(parent) + 0.5
            while cpu_s(parent) < until:
                pass  # the guest's first slice is over, and nobody was there to say so
            hard = resource.prlimit(parent, resource.RLIMIT_NPROC)[1]
            resource.prlimit(parent, resource.RLIMIT_NPROC, (hard, hard))
            os._exit(0)

        def main():
            spin = module({SPIN!r})
            call('(module (func (export "go")))')
            end_threads()
            os.write(write, b"x")
            try:
                coop.Guest(spin, limits=coop.Limits(wall_time=0.1)).run()
            except coop.LimitExceeded as error:
                print(error.limit)

        coop.run(main)
        """
    )
    assert done.stdout == b"wall_time\n"


def test_guests_that_compute_get_on_by_their_weight():
    def is_right(one: float, other: float, heavy: float) -> bool:
        return heavy > 2.5 * max(one, other) and 0.3 < one / other < 3

    def main() -> None:
        guests = [spinner(weight=weight) for weight in (1, 1, 8)]
        for guest in guests:
            coop.spawn(guest.run).observe()
        while any(guest.stats().slices < 5 for guest in guests):
            coop.sleep(0.01)
        # A machine that stood still has had one of them pay for it: then the others catch up first.
        while not is_right(*(used := [guest.cpu_time for guest in guests])):
            assert sum(used) < 20, used
            coop.sleep(0.01)

    coop.run(main)


def test_a_guest_that_comes_late_gets_its_share_and_no_more():
    """It has computed nothing, and does not make up for it at the other's cost."""

    def main() -> list[float]:
        old, new = spinner(), spinner()
        coop.spawn(old.run).observe()
        while old.cpu_time < 0.5:
            coop.sleep(0.01)
        before = old.cpu_time
        coop.spawn(new.run).observe()
        shares = []
        # Far less than what the old one has had; and at one moment or another, since either may have had
        # to pay for a machine that stood still.
        while new.stats().slices < 20:
            coop.sleep(0.02)
            if new.stats().slices >= 5:
                shares.append((old.cpu_time - before) / new.cpu_time)
        return shares

    shares = coop.run(main)
    assert any(0.25 < share < 4 for share in shares), shares


def test_a_guest_that_computes_gets_its_share_beside_many_that_come_and_go():
    """Each of them needs more than a slice, and so stands behind the others once."""

    def main() -> tuple[float, float]:
        m = module(WORK)
        with coop.Guest(m) as guest:
            guest.call("work", 50_000_000)
            turns = int(50_000_000 * 0.016 / guest.cpu_time)
        used = []

        def comes_and_goes() -> None:
            with coop.Guest(m) as guest:
                guest.call("work", turns)
                used.append(guest.cpu_time)

        def comes_again() -> None:
            for _ in range(20):
                group.spawn(comes_and_goes).wait()

        long = spinner()
        coop.spawn(long.run).observe()
        while long.stats().slices < 3:
            coop.sleep(0.01)
        before = long.cpu_time
        with coop.TaskGroup() as group:
            for _ in range(8):
                group.spawn(comes_again)
        return long.cpu_time - before, sum(used)

    long, others = coop.run(main)
    # Half of its share is what is left if the machine has become faster since it was asked how fast it is.
    assert long > others / 8 / 6


def test_a_guest_that_computes_is_not_starved_by_clients_that_leave_nothing_of_the_processor():
    """There is news whenever it runs, so its slices would all be cut short."""

    def burn(ns: int) -> None:
        until = time.thread_time_ns() + ns
        while time.thread_time_ns() < until:
            pass

    def serve(conn: coop.Conn) -> None:
        with conn:
            while conn.recv(1):
                burn(1_000_000)
                conn.sendall(b"x")

    def accept(listener: coop.Listener) -> None:
        while True:
            coop.spawn(serve, listener.accept()).observe()

    def ask(address: tuple[str, int]) -> None:
        with coop.connect(address) as conn:
            while True:
                conn.sendall(b"x")
                conn.recv(1)

    def main() -> float:
        long = spinner()
        coop.spawn(long.run).observe()
        while long.stats().slices < 3:
            coop.sleep(0.01)
        with coop.listen(("127.0.0.1", 0)) as listener, coop.TaskGroup() as group:
            group.spawn(accept, listener)
            for _ in range(20):
                group.spawn(ask, listener.address)
            began, before = time.thread_time(), long.cpu_time
            while time.thread_time() < began + 0.8:
                coop.sleep(0.001)
            share = (long.cpu_time - before) / (time.thread_time() - began)
            group.cancel()
        return share

    assert coop.run(main) > 0.08


def test_a_guest_that_computes_for_long_owes_nothing_for_what_it_did_between_parks(monkeypatch):
    monkeypatch.setattr("coop.engine.slices.SHORT_NS", SLICE_NS)  # the machine stands still, but not for long

    def main() -> tuple[float, float]:
        me = coop.current()
        with coop.Guest(module(WORK)) as guest:
            since, slices = 0.0, 0
            while guest.cpu_time < since + 0.1:
                guest.call("work", 100_000)
                coop.pause()
                if guest.stats().slices > slices:  # the machine stood still in one of them
                    since, slices = guest.cpu_time, guest.stats().slices
            before, owed = guest.cpu_time, me.virtual_ns
            while guest.stats().slices == slices:
                guest.call("work", 50_000_000)
            return guest.cpu_time - before, (me.virtual_ns - owed) / 1e9

    used, owed = coop.run(main)
    assert owed <= used


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf"), 1e-310])
def test_a_weight_that_is_none_is_refused(weight: float):
    with pytest.raises(ValueError, match=r"^weight of guest .*: .* is not from 1e-06 to 1e\+06$"):
        spinner(weight=weight)


def test_what_a_guest_used_can_be_read_before_it_starts_while_it_runs_and_afterwards():
    def main() -> list[coop.GuestStats]:
        guest = spinner()
        found = [guest.stats()]
        task = coop.spawn(guest.run)
        task.observe()
        while guest.stats().slices < 3:
            coop.sleep(0.01)
        found.append(guest.stats())
        guest.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()
        coop.sleep(0.01)
        return [*found, guest.stats()]

    before, running, after = coop.run(main)
    assert before == coop.GuestStats(0.0, 0.0, 0, 0)
    assert 0 < running.cpu_time <= running.wall_time
    assert running.memory == after.memory == 2 * 65536
    assert after.slices >= running.slices >= 3
    assert running.cpu_time <= after.cpu_time <= after.wall_time


def test_what_a_guest_used_until_a_trap_stays_readable():
    text = '(module (memory (export "memory") 3) (func (export "_start") unreachable))'

    def main() -> coop.GuestStats:
        guest = spinner(text)
        with pytest.raises(coop.GuestTrap):
            guest.run()
        return guest.stats()

    assert coop.run(main).memory == 3 * 65536


def test_what_guests_used_can_be_read_from_other_threads_while_they_begin_and_end():
    out = in_child("""
    sys.setswitchinterval(1e-6)
    go = '(func (export "go") (drop (memory.grow (i32.const 1))))'
    m = module(f'(module (memory (export "memory") 1) {go})')
    shown, seen, over = [], set(), []

    def look():
        while not over:
            seen.update(guest.stats().memory for guest in list(shown))

    def main():
        for _ in range(1500):
            shown[:] = guests = [coop.Guest(m) for _ in range(5)]
            for guest in guests:
                guest.call("go")
            for guest in guests:
                guest.close()
                assert guest.stats().memory == 2 * 65536

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    coop.run(main)
    over.append(True)
    for watcher in watchers:
        watcher.join()
    assert seen <= {0, 65536, 2 * 65536} and 2 * 65536 in seen, seen
    print("fine")
    """)
    assert out.stdout == b"fine\n"


def test_a_guests_sleep_is_not_taken_off_what_it_has_computed():
    def main() -> coop.GuestStats:
        guest = coop.Guest(module(NAPS))
        guest.run()
        return guest.stats()

    used = coop.run(main)
    assert 0.1 <= used.cpu_time <= used.wall_time - 0.24


def repeating(ticker: Ticker) -> int:
    """Count the timers that fire again and again."""
    found = 0
    for timer in ticker._timers:
        spec = TimerSpec()
        assert libc.timer_gettime(timer, C.byref(spec)) == 0
        found += spec.interval_ns > 0
    return found


def test_a_busy_guest_that_waits_in_place_is_called_back_no_more():
    def main() -> None:
        with coop.Guest(module(NAPS)) as guest:
            busy = 0
            for _ in range(100):
                before = guest.stats().slices
                guest.call("once")
                assert repeating(border().slices(guest.module.engine)._ticker) == 0
                # Unless the machine stood still meanwhile, and its first slice was all that it needed.
                busy += guest.stats().slices > before
                if busy == 3:
                    return
            pytest.fail(f"it was busy {busy} times")

    coop.run(main)


def test_a_guest_that_sleeps_before_each_slice_is_over_does_not_evade_its_limit():
    def main() -> None:
        guest = coop.Guest(module(NAPS), stdout=said, limits=coop.Limits(cpu_time=0.05))
        with pytest.raises(coop.LimitExceeded, match=r"computed for more than 0\.05 s"):
            guest.call("evade")

    for _ in range(5):  # by chance one may be told of its limit at a slice's end, and in time
        said = bytearray()
        coop.run(main)
        assert len(said) <= 13  # before each sleep, after 4 ms or more by its own account


def test_time_that_other_processes_took_is_not_on_a_busy_guests_account():
    """Two processes on one processor: each guest computes for half of the time."""
    code = """
        import coop, os, time
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        child = os.fork()
        if child == 0:
            end = time.monotonic() + 60
            while time.monotonic() < end and os.getppid() > 1:
                pass
            os._exit(0)
        def main():
            guest = coop.Guest(coop.Module.from_bytes(
                '(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))'))
            coop.spawn(guest.run).observe()
            coop.sleep(1)
            used = guest.stats()
            assert used.cpu_time < 0.8 * used.wall_time, used
        try:
            coop.run(main)
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
    """
    run_child(code)


def churn(seconds: float) -> int:
    """Begin, feed and end busy guests, descriptors and threads at random moments; how many were begun."""

    def main() -> int:
        busy = module(SPIN)
        end = time.monotonic() + seconds
        begun = 0
        while time.monotonic() < end or begun <= 10:
            guests = [coop.Guest(busy, weight=1 + begun % 3) for _ in range(1 + begun % 3)]
            for guest in guests:
                coop.spawn(guest.run).observe()
            with coop.listen("127.0.0.1:0") as listener:
                client = coop.spawn(coop.connect, listener.address)
                with listener.accept() as conn, client.wait() as other:
                    other.sendall(b"x" * (begun % 5))
                    coop.sleep(begun % 7 * 1e-3)
                    threads = [threading.Thread(target=guest.cancel) for guest in guests[::2]]
                    for thread in threads:
                        thread.start()
                    conn.shutdown()
                    assert len(other.recv(10)) == 0
            for guest in guests[1::2]:
                guest.cancel()
            for guest in guests:
                with pytest.raises(coop.WasCancelled):
                    guest.wait()
            for thread in threads:
                thread.join()
            begun += len(guests)
        return begun

    return int(coop.run(main))


SOAK_S = float(os.environ.get("SOAK_SECONDS", "2"))


@pytest.mark.timeout(SOAK_S + 120)
def test_busy_guests_begin_and_end_beside_descriptors_that_open_and_close():
    """For ten minutes, and longer, by `make soak`."""
    assert churn(SOAK_S) > 10


def test_a_poller_without_a_descriptor_is_not_watched():
    for name, is_watched in (("hostpoll", True), ("oneoff", False), ("pollset", False)):
        poller = make_poller(name)
        assert hasattr(poller, "fileno") is is_watched
        poller.shutdown()
