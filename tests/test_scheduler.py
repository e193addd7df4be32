"""The scheduler: who runs when, what ends a run, and what a run leaves behind."""

import gc
import os
import re
import socket
import threading
import weakref
from collections.abc import Callable
from functools import partial

import greenlet
import pytest

import coop
from coop.clock import ManualClock
from coop.netpoll import HostPoller, Wakeup, make_poller
from coop.netpoll.kernelfiles import SocketFile
from coop.report import name_of
from coop.scheduler import Scheduler, scheduler
from coop.task import Task, TaskState
from tests.children import run_child
from tests.fakes import MiniHub

POLLERS = ["hostpoll", "oneoff", "pollset"]


class ClockPoller:
    """A poller that waits by turning a clock by hand, and keeps a log of its delays."""

    permanent = True

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.waiters = 0
        self.delays: list[int] = []
        self.ready: list[Task] = []

    def poll(self, delay_ns: int) -> list[Task]:
        self.delays.append(delay_ns)
        woken, self.ready = self.ready, []
        if not woken and delay_ns > 0:
            self.clock.advance(delay_ns)
        return woken

    def wake_up(self) -> None:
        pass


@pytest.fixture
def clocked() -> Scheduler:
    clock = ManualClock()
    return Scheduler(ClockPoller(clock), clock=clock)  # type: ignore[arg-type]


def spawn_logged(log: list[str], *names: str, call: Callable[[], None] = lambda: None) -> list[Task]:
    def body(name: str) -> None:
        call()
        log.append(name)

    return [coop.spawn(body, name, name=name) for name in names]


# -- order


@pytest.mark.seed("S1")
def test_tasks_run_in_the_order_in_which_they_became_ready():
    log: list[str] = []

    def main() -> None:
        for task in spawn_logged(log, "a", "b", "c"):
            task.wait()

    coop.run(main)
    assert log == ["a", "b", "c"]


@pytest.mark.seed("S1")
def test_woken_tasks_run_in_the_order_of_their_wakes():
    log: list[str] = []

    def main() -> None:
        tasks = spawn_logged(log, "a", "b", "c", call=lambda: coop.current().park("the test"))
        coop.pause()
        for i in (1, 2, 0):
            tasks[i].wake()
        coop.pause()

    coop.run(main)
    assert log == ["b", "c", "a"]


@pytest.mark.seed("S1")
def test_making_a_task_ready_that_stands_in_the_queue_is_a_bug():
    hub = MiniHub()
    task = hub.spawn(lambda: None)
    with pytest.raises(coop.BugError, match="it is ready, not parked"):
        hub.runq.push(task)
    hub.close()


@pytest.mark.seed("S1")
def test_making_a_task_ready_that_has_ended_is_a_bug():
    hub = MiniHub()
    task = hub.spawn(lambda: None)
    hub.run()
    with pytest.raises(coop.BugError, match="it is done"):
        hub.runq.push(task)


@pytest.mark.seed("S2")
def test_a_yield_lets_every_ready_task_run_first():
    log: list[str] = []

    def main() -> None:
        spawn_logged(log, "a", "b")
        coop.pause()
        log.append("main")

    coop.run(main)
    assert log == ["a", "b", "main"]


@pytest.mark.seed("S2")
@pytest.mark.parametrize("seconds", [0, -1, 0.0, -1e300])
def test_a_sleep_of_zero_or_less_does_not_yield(seconds: float):
    log: list[str] = []

    def main() -> None:
        spawn_logged(log, "other")
        coop.sleep(seconds)
        log.append("main")
        coop.pause()

    coop.run(main)
    assert log == ["main", "other"]


def test_a_sleep_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="nan"):
        coop.run(coop.sleep, float("nan"))


@pytest.mark.seed("S3")
def test_sleepers_wake_by_due_time_and_ties_in_the_order_of_arrival(clocked: Scheduler):
    log: list[str] = []

    def sleeper(name: str, when_ns: int) -> None:
        scheduler().sleep_until(when_ns)
        log.append(f"{name} at {clocked.now_ns()}")

    def main() -> None:
        for name, when_ns in [("late", 30), ("tie-1", 20), ("early", 10), ("tie-2", 20)]:
            coop.spawn(sleeper, name, when_ns)
        scheduler().sleep_until(40)

    clocked.run(main)
    assert log == ["early at 10", "tie-1 at 20", "tie-2 at 20", "late at 30"]


@pytest.mark.seed("S4")
def test_everything_that_is_due_fires_in_one_turn_in_order(clocked: Scheduler):
    log: list[int] = []
    for i in (2, 1, 0):
        clocked.timers.set(i, lambda i=i: log.append(i))  # type: ignore[misc]
    ready = clocked.spawn(lambda: log.append(99))
    clocked.clock.advance(5)  # type: ignore[attr-defined]
    clocked.turn()
    assert log == [0, 1, 2, 99]
    assert ready.is_done


def test_a_sleep_until_a_moment_that_has_passed_returns_at_once(clocked: Scheduler):
    clocked.clock.advance(7)  # type: ignore[attr-defined]

    def main() -> None:
        scheduler().sleep_until(7)

    clocked.run(main)
    assert clocked.poller.delays == [0]  # type: ignore[attr-defined]


def test_an_early_wake_does_not_cut_a_sleep_short(clocked: Scheduler):
    woke_at: list[int] = []

    def sleeper() -> None:
        scheduler().sleep_ns(100)
        woke_at.append(clocked.now_ns())

    def main() -> None:
        task = coop.spawn(sleeper)
        coop.pause()
        task.wake()
        task.wait()

    clocked.run(main)
    assert woke_at == [100]


# -- the idle path


@pytest.mark.seed("S5", "S7", "S8")
def test_the_idle_path_waits_once_until_the_nearest_of_all_timers(clocked: Scheduler):
    def main() -> None:
        coop.spawn(scheduler().sleep_ns, 300)
        coop.spawn(scheduler().sleep_ns, 100)
        scheduler().sleep_ns(200)

    clocked.run(main)
    delays = [delay for delay in clocked.poller.delays if delay]  # type: ignore[attr-defined]
    assert delays == [100, 100]


@pytest.mark.seed("S6")
def test_with_waiters_and_no_timer_the_idle_path_waits_for_ever(clocked: Scheduler):
    poller = clocked.poller
    assert isinstance(poller, ClockPoller)

    def main() -> None:
        poller.waiters = 1
        poller.ready = []
        task = coop.current()
        poller_poll = poller.poll

        def poll(delay_ns: int) -> list[Task]:
            poller.ready = [task]
            return poller_poll(delay_ns)

        poller.poll = poll  # type: ignore[method-assign]
        task.park("a descriptor")

    clocked.run(main)
    assert poller.delays[-1] == -1


@pytest.mark.seed("S7", "S8", "S12")
@pytest.mark.parametrize("poller", POLLERS)
def test_a_ticker_ticks_while_others_wait_for_descriptors(poller: str):
    def main() -> int:
        with coop.listen("127.0.0.1:0") as listener:
            waiting = coop.spawn(listener.accept)
            ticks = 0
            for _ in range(5):
                coop.sleep(0.001)
                ticks += 1
            assert waiting.state is TaskState.PARKED
            waiting.cancel()
            with pytest.raises(coop.WasCancelled):
                waiting.wait()
            return ticks

    assert coop.run(main, poller=poller) == 5


@pytest.mark.seed("S9")
@pytest.mark.parametrize("poller", POLLERS)
def test_every_poller_can_be_chosen_and_sleeps(poller: str):
    assert coop.run(lambda: coop.sleep(0.001), poller=poller) is None


def test_an_unknown_poller_is_refused_by_name():
    with pytest.raises(ValueError, match="'select'"):
        coop.run(lambda: None, poller="select")


@pytest.mark.seed("S11")
@pytest.mark.parametrize("poller", POLLERS)
def test_two_tasks_that_keep_waking_each_other_starve_neither_a_pipe_nor_a_timer(poller: str):
    heard: list[str] = []

    def main() -> None:
        a, b = socket.socketpair()
        busy = True

        def spin() -> None:
            while busy:
                coop.pause()

        def read() -> None:
            owner = scheduler()
            file = SocketFile(a, poller=owner.poller, timers=owner.timers)
            buffer = memoryview(bytearray(1))
            while file.try_read([buffer]) < 0:
                file.wait(1)
            heard.append("pipe")
            file.release()

        def tick() -> None:
            coop.sleep(0.001)
            heard.append("timer")

        spinners = [coop.spawn(spin), coop.spawn(spin)]
        waiting = [coop.spawn(read), coop.spawn(tick)]
        coop.pause()
        b.send(b"x")
        for task in waiting:
            task.wait()
        busy = False
        for task in spinners:
            task.wait()
        b.close()

    coop.run(main, poller=poller)
    assert sorted(heard) == ["pipe", "timer"]


@pytest.mark.seed("S11")
def test_tasks_made_ready_in_a_turn_run_in_the_next_one(clocked: Scheduler):
    polls_seen: list[int] = []

    def child() -> None:
        polls_seen.append(len(clocked.poller.delays))  # type: ignore[attr-defined]

    def parent() -> None:
        child()
        clocked.spawn(child)

    clocked.spawn(parent)
    clocked.turn()
    clocked.turn()
    assert polls_seen == [1, 2]


def test_turn_and_next_deadline_let_somebody_else_drive_the_loop(clocked: Scheduler):
    done = clocked.spawn(lambda: scheduler().sleep_ns(50))
    assert clocked.next_deadline_ns() is None
    clocked.turn()
    assert clocked.next_deadline_ns() == 50
    clocked.turn()
    clocked.turn()
    assert done.is_done
    assert clocked.next_deadline_ns() is None


# -- the end of a run


@pytest.mark.seed("S10")
def test_the_end_of_main_ends_the_run_and_cancels_the_others():
    ended: list[str] = []

    def other() -> None:
        try:
            coop.sleep(1000)
        except coop.Cancelled:
            ended.append("cancelled")
            raise

    def main() -> str:
        coop.spawn(other)
        coop.pause()
        return "result"

    assert coop.run(main) == "result"
    assert ended == ["cancelled"]


@pytest.mark.seed("S10")
def test_a_task_that_never_started_is_not_run_after_main_has_ended():
    log: list[str] = []
    coop.run(lambda: spawn_logged(log, "never"))
    assert log == []


def test_cleanup_that_parks_again_is_cancelled_again():
    log: list[str] = []

    def stubborn() -> None:
        try:
            coop.sleep(1000)
        finally:
            try:
                coop.sleep(1000)
            finally:
                log.append("second")

    def main() -> None:
        coop.spawn(stubborn)
        coop.pause()

    coop.run(main)
    assert log == ["second"]


def test_cleanup_that_spawns_does_not_keep_the_run_alive():
    def other() -> None:
        try:
            coop.sleep(1000)
        finally:
            coop.spawn(coop.sleep, 1000)

    def main() -> None:
        coop.spawn(other)
        coop.pause()

    coop.run(main)


def test_what_main_raises_comes_out_of_run():
    def main() -> None:
        raise KeyError("main's own")

    with pytest.raises(KeyError, match="main's own"):
        coop.run(main)


def fail(error: BaseException) -> None:
    raise error


def test_an_error_nobody_took_comes_out_of_run(capsys: pytest.CaptureFixture[str]):
    def main() -> None:
        coop.spawn(fail, ValueError("lost?"), name="loser")
        coop.pause()

    with pytest.raises(ExceptionGroup) as caught:
        coop.run(main)
    assert [str(error) for error in caught.value.exceptions] == ["lost?"]


def test_an_error_nobody_waits_for_is_logged_at_once(capsys: pytest.CaptureFixture[str]):
    def main() -> None:
        coop.spawn(fail, ValueError("lost?"), name="loser")
        coop.pause()
        assert "loser" in capsys.readouterr().err

    with pytest.raises(ExceptionGroup):
        coop.run(main)


def test_an_error_that_somebody_waited_for_is_taken(capsys: pytest.CaptureFixture[str]):
    def main() -> str:
        task = coop.spawn(fail, ValueError("seen"))
        with pytest.raises(ValueError, match="seen"):
            task.wait()
        return "fine"

    assert coop.run(main) == "fine"
    assert capsys.readouterr().err == ""


def test_an_error_taken_late_is_taken(capsys: pytest.CaptureFixture[str]):
    def main() -> str:
        task = coop.spawn(fail, ValueError("seen late"))
        coop.pause()
        with pytest.raises(ValueError, match="seen late"):
            task.wait()
        return "fine"

    assert coop.run(main) == "fine"


def test_an_error_while_being_cancelled_comes_out_of_run(capsys: pytest.CaptureFixture[str]):
    def other() -> None:
        try:
            coop.sleep(1000)
        finally:
            raise ValueError("cleanup failed")

    def main() -> None:
        coop.spawn(other)
        coop.pause()

    with pytest.raises(ExceptionGroup) as caught:
        coop.run(main)
    assert caught.group_contains(ValueError, match="cleanup failed")


def test_mains_error_and_the_others_come_out_together_mains_first(capsys: pytest.CaptureFixture[str]):
    def main() -> None:
        coop.spawn(fail, ValueError("other"))
        coop.pause()
        raise KeyError("main")

    with pytest.raises(ExceptionGroup) as caught:
        coop.run(main)
    assert [type(error) for error in caught.value.exceptions] == [KeyError, ValueError]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_main_comes_out_as_itself_with_the_others_as_its_cause(
    kind: type[BaseException], capsys: pytest.CaptureFixture[str]
):
    def main() -> None:
        coop.spawn(fail, ValueError("other"))
        coop.pause()
        raise kind

    with pytest.raises(kind) as caught:
        coop.run(main)
    cause = caught.value.__cause__
    assert isinstance(cause, BaseExceptionGroup)
    assert cause.subgroup(ValueError) is not None


def test_a_cancelled_main_is_reported_as_cancelled():
    def main() -> None:
        me = coop.current()
        coop.spawn(me.cancel)
        coop.sleep(1000)

    with pytest.raises(coop.WasCancelled):
        coop.run(main)


# -- deadlock


@pytest.mark.seed("S6", "U7")
@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_a_deadlock_lists_every_parked_task_with_its_reason_and_stack(poller: str):
    def wait_for_godot() -> None:
        coop.current().park("Godot")

    def main() -> None:
        coop.spawn(wait_for_godot, name="estragon").wait()

    with pytest.raises(coop.Deadlock) as caught:
        coop.run(main, poller=poller)
    report = str(caught.value)
    assert "task main is parked, waits for the end of task estragon" in report
    assert "task estragon is parked, waits for Godot" in report
    assert "in wait_for_godot" in report


def test_a_deadlock_tells_guests_apart_whose_tasks_nobody_named():
    module = coop.Module.from_bytes(
        """
        (module
          (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (func (export "_start")
            (i32.store (i32.const 4) (i32.const 1))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))
        """
    )

    def main() -> None:
        limits = coop.Limits(wall_time=None)
        with coop.TaskGroup() as group:
            for name in ("vladimir", "estragon"):
                guest = coop.Guest(module, name=name, stdin=coop.Channel(), limits=limits)
                (group.spawn if name == "vladimir" else coop.spawn)(guest.run)

    with pytest.raises(coop.Deadlock) as caught:
        coop.run(main)
    report = str(caught.value)
    assert "task Guest.run of vladimir is parked, waits for a value from a channel" in report
    assert re.search("task Guest.run of estragon-[0-9]+ is parked", report)


class Player:
    """Somebody whose name cannot be had."""

    @property
    def name(self) -> str:
        raise RuntimeError("not yet")

    def play(self) -> None:
        pass

    @classmethod
    def hire(cls) -> None:
        pass


class Pozzo(Player):
    """Somebody whose methods are those of another class."""

    name = "P" * 100


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (fail, "fail"),
        (partial(fail), "partial"),
        (Player().play, "Player.play"),
        (Pozzo().play, f"Pozzo.play of {'P' * 80}"),
        (Pozzo.hire, "Player.hire"),
        ([].clear, "list.clear"),
    ],
)
def test_a_task_is_named_after_what_it_runs(call: Callable[[], object], name: str):
    assert name_of(call) == name


def test_a_trace_is_shown_where_nobody_has_configured_logging():
    ran = run_child("import coop; coop.run(lambda: coop.sleep(0.001), trace=True)")
    lines = ran.stderr.decode().splitlines()
    assert lines[0].startswith("coop: debug: ready task=")
    assert any(line.startswith("coop: debug: combined wait clock=") for line in lines)


def test_a_deadlock_does_not_hide_an_error_nobody_took(capsys: pytest.CaptureFixture[str]):
    def main() -> None:
        coop.spawn(fail, ValueError("the reason why"))
        coop.current().park("news of it")

    with pytest.raises(coop.Deadlock) as caught:
        coop.run(main)
    cause = caught.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert cause.subgroup(ValueError) is not None


def test_a_deadlocked_run_still_lets_every_task_clean_up():
    log: list[str] = []

    def main() -> None:
        try:
            coop.current().park("nothing")
        finally:
            log.append("cleaned up")

    with pytest.raises(coop.Deadlock):
        coop.run(main)
    assert log == ["cleaned up"]


def test_a_result_owed_by_a_helper_thread_is_no_deadlock():
    assert coop.run(lambda: coop.run_in_thread(lambda: 42)) == 42


# -- where it may be used


@pytest.mark.seed("S13")
def test_a_run_inside_a_task_is_refused_and_leaves_nothing_open():
    def main() -> None:
        with pytest.raises(coop.BugError, match="inside a task"):
            coop.run(lambda: None)
        coop.sleep(0.001)

    coop.run(main)


@pytest.mark.seed("S13")
def test_resuming_a_task_from_anywhere_but_its_hub_is_a_bug():
    def main() -> None:
        other = coop.spawn(coop.sleep, 1000)
        coop.pause()
        with pytest.raises(coop.BugError, match="not called by the hub"):
            other.resume()

    coop.run(main)


def test_a_call_that_needs_a_task_says_so_outside_of_any():
    with pytest.raises(coop.BugError, match="needs a task"):
        coop.sleep(1)


def test_a_second_scheduler_in_another_thread_shares_nothing():
    seen: dict[str, Scheduler] = {}
    both = threading.Barrier(2, timeout=30)

    def main(name: str) -> None:
        seen[name] = scheduler()
        both.wait()  # both runs are alive at this moment
        coop.sleep(0.001)
        assert coop.current().owner is seen[name]

    thread = threading.Thread(target=coop.run, args=(main, "thread"))
    thread.start()
    coop.run(main, "main")
    thread.join()
    assert seen["thread"] is not seen["main"]


@pytest.mark.parametrize("use", ["spawn", "cancel", "wait", "run"])
def test_a_scheduler_used_from_another_thread_is_refused(use: str):
    errors: list[BaseException] = []

    def elsewhere(owner: Scheduler, task: Task) -> None:
        calls = {
            "spawn": lambda: owner.spawn(lambda: None),
            "cancel": task.cancel,
            "wait": lambda: coop.run(task.wait),
            "run": lambda: owner.run(lambda: None),
        }
        try:
            calls[use]()
        except BaseException as error:
            errors.append(error)

    def main() -> None:
        coop.run_in_thread(elsewhere, scheduler(), coop.current())

    coop.run(main)
    assert [type(error) for error in errors] == [coop.WrongThread]


@pytest.mark.seed("B11")
def test_a_call_posted_from_another_thread_ends_the_idle_wait():
    def main() -> str:
        owner, task = scheduler(), coop.current()
        poster = threading.Thread(target=owner.post, args=(task.wake,))
        poster.start()
        owner.outside_jobs += 1
        task.park("a post")
        owner.outside_jobs -= 1
        poster.join()  # or it may end while a later test counts threads
        return "woken"

    assert coop.run(main) == "woken"


# -- what is left behind


@pytest.mark.parametrize("poller", POLLERS)
def test_a_run_leaves_no_descriptor_thread_or_task_behind(poller: str):
    def main() -> None:
        with coop.listen("127.0.0.1:0") as listener:
            coop.spawn(listener.accept)
            coop.spawn(coop.sleep, 1000)
            coop.run_in_thread(lambda: None)

    fds, threads = set(os.listdir("/proc/self/fd")), threading.enumerate()
    coop.run(main, poller=poller)
    assert set(os.listdir("/proc/self/fd")) == fds
    assert set(threading.enumerate()) <= set(threads)  # what another test left may end meanwhile
    gc.collect()
    assert [thing for thing in gc.get_objects() if isinstance(thing, Scheduler | Task)] == []


def test_a_run_that_fails_to_start_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch):
    def no_eventfd(*_: int) -> int:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(os, "eventfd", no_eventfd)
    for poller in POLLERS:
        with pytest.raises(OSError, match="too many"):
            coop.run(lambda: None, poller=poller)


# -- forks


FORK = """
    import coop, os, sys

    def child(call):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                call()
                print("no error")
            except BaseException as error:
                print(type(error).__name__, error)
            sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.mark.parametrize(
    "call",
    ["lambda: coop.sleep(0.001)", "coop.pause", "lambda: coop.spawn(print)", "lambda: other.wait()"],
    ids=["sleep", "pause", "spawn", "wait"],
)
def test_a_child_forked_inside_a_task_cannot_go_on_with_its_parents_run(call: str):
    done = run_child(
        f"""{FORK}
    def main():
        other = coop.spawn(coop.sleep, 0.01)
        coop.pause()
        child({call})
        other.wait()
        coop.sleep(0.001)
        print("parent lives")

    coop.run(main)
    """
    )
    first, second = done.stdout.decode().splitlines()
    assert first.startswith("WrongThread")
    assert "fork" in first
    assert second == "parent lives"


def test_a_child_forked_while_others_are_due_cannot_switch_to_them():
    done = run_child(
        f"""{FORK}
    def waker():
        me.wake()
        other.wake()

    def sleeper():
        coop.current().park("the waker")
        print("ran in", "the parent" if os.getpid() == parent else "the child")

    def main():
        global me, other
        me = coop.current()
        other = coop.spawn(sleeper)
        coop.pause()
        coop.spawn(waker)
        me.park("the waker")
        child(lambda: me.park("nobody"))
        other.wait()

    parent = os.getpid()
    coop.run(main)
    """
    )
    first, second = done.stdout.decode().splitlines()
    assert first.startswith("WrongThread")
    assert second == "ran in the parent"


@pytest.mark.parametrize(
    ("end", "status"), [("sys.exit(5)", 5), ("return 6", 6), ("raise KeyboardInterrupt", 7)]
)
def test_a_child_that_falls_out_of_its_parents_run_ends_as_it_says_and_leaves_the_parent_alone(end, status):
    done = run_child(
        f"""{FORK}
    def main():
        listener = coop.listen("127.0.0.1:0")
        client = coop.connect(listener.address)
        server = listener.accept()
        coop.spawn(listener.accept).observe()
        guest = coop.Guest(coop.Module.from_bytes('(module (func (export "_start") (loop $l (br $l))))'))
        coop.spawn(guest.run).observe()
        coop.pause()
        pid = os.fork()
        if pid == 0:
            {end}
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        coop.spawn(client.sendall, b"still connected")
        assert server.recv() == b"still connected"
        return 0

    parent = os.getpid()
    try:
        status = coop.run(main)
    except KeyboardInterrupt:
        status = 7
    sys.exit(status)
    """
    )
    assert done.stdout.decode() == f"{status}\n"


def test_a_child_forked_outside_of_a_run_has_runs_of_its_own():
    done = run_child(
        f"""{FORK}
    coop.run(lambda: coop.sleep(0.001))
    child(lambda: coop.run(lambda: coop.sleep(0.001)))
    """
    )
    assert done.stdout == b"no error\n"


def test_a_child_forked_inside_a_task_has_runs_of_its_own():
    done = run_child(
        f"""{FORK}
    import contextvars, multiprocessing

    VALUE = contextvars.ContextVar("value")
    TEXT = '(module (func (export "get") (result i32) (i32.const 42)))'

    def inner():
        other = coop.spawn(coop.sleep, 0.001)
        guest = coop.Guest(coop.Module.from_bytes(TEXT, cache=False))
        other.wait()
        return guest.call("get"), VALUE.get()

    def call():
        assert coop.run(inner) == (42, "parent's")
        try:
            coop.run(lambda: coop.run(print))
        except coop.BugError as error:
            print(error)
        sys.exit(coop.run(lambda: 5))

    def main():
        VALUE.set("parent's")
        assert inner() == (42, "parent's")
        child(call)
        process = multiprocessing.get_context("fork").Process(target=call)
        process.start()
        process.join()
        print(process.exitcode, inner())

    coop.run(main)
    """
    )
    refused = "run a scheduler inside a task: one thread runs one at a time"
    assert done.stdout.decode().splitlines() == [refused, "SystemExit 5", refused, """5 (42, "parent's")"""]


# -- greenlets and the garbage collector


def test_tasks_in_cycles_survive_collections_until_they_have_ended():
    run_child(
        """
    import coop, gc

    gc.set_threshold(1)
    ended = []

    def task(i):
        cycle = []
        cycle.append(cycle)
        try:
            coop.sleep(1000 if i % 2 else 0.001)
        finally:
            ended.append(i)

    def main():
        for i in range(200):
            coop.spawn(task, i)
        coop.sleep(0.01)

    coop.run(main)
    assert sorted(ended) == list(range(200))
    """
    )


def test_pollers_and_wakeups_of_no_run_can_be_closed_unused():
    for name in POLLERS:
        make_poller(name).shutdown()
    Wakeup().close()
    HostPoller().shutdown()


def test_a_run_ends_though_a_task_left_it_by_a_switch_of_its_own():
    left: list[BaseException] = []

    def main() -> None:
        try:
            greenlet.getcurrent().parent.switch()
        except BaseException as error:
            left.append(error)
            raise

    with pytest.raises(coop.Deadlock, match="task main is running"):
        coop.run(main)
    assert "none of coop's" in str(left[0])


def test_a_task_is_not_parked_by_another_one():
    def main() -> None:
        other = coop.spawn(coop.sleep, 0.001)
        with pytest.raises(coop.BugError, match="another task runs"):
            other.park("its neighbour's wish")
        coop.pause()
        with pytest.raises(coop.BugError, match="another task runs"):
            other.park("its neighbour's wish")
        other.wait()

    coop.run(main)


def test_tasks_whose_errors_were_taken_are_kept_no_longer():
    alive: "weakref.WeakSet[Task]" = weakref.WeakSet()

    def fail() -> None:
        raise KeyError("each time")

    def main() -> None:
        for _ in range(200):
            task = coop.spawn(fail)
            alive.add(task)
            with pytest.raises(KeyError):
                task.wait()
            del task
        gc.collect()
        assert len(alive) < 20

    coop.run(main)
