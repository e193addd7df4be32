"""Helper threads: a call that blocks the system's way, while the other tasks go on."""

import threading

import pytest

import coop
from coop.scheduler import scheduler
from coop.task import current
from coop.threads import Job, crew_of, run_in_crew
from tests.engine.wat import in_child


def test_the_result_of_the_call_comes_back():
    assert coop.run(lambda: coop.run_in_thread(divmod, 17, 5)) == (3, 2)


def test_what_the_call_raises_comes_back():
    def fail() -> None:
        raise KeyError("from the thread")

    with pytest.raises(KeyError, match="from the thread"):
        coop.run(coop.run_in_thread, fail)


def test_an_error_that_counts_as_false_is_an_error():
    class Nothing(Exception):
        def __len__(self) -> int:
            return 0

    def fail() -> None:
        raise Nothing

    with pytest.raises(Nothing):
        coop.run(coop.run_in_thread, fail)


def test_the_call_runs_on_another_thread_and_the_task_goes_on_on_its_own():
    def main() -> tuple[int, int, int]:
        before = threading.get_ident()
        there = coop.run_in_thread(threading.get_ident)
        return before, there, threading.get_ident()

    before, there, after = coop.run(main)
    assert before == after == threading.get_ident()
    assert there != before


def test_other_tasks_run_while_the_call_blocks():
    release = threading.Event()
    log: list[str] = []

    def other() -> None:
        log.append("other ran")
        release.set()

    def main() -> None:
        coop.spawn(other)
        assert coop.run_in_thread(release.wait, 30)

    coop.run(main)
    assert log == ["other ran"]


def test_a_cancelled_task_stops_waiting_at_once_and_the_result_is_dropped():
    release = threading.Event()

    def main() -> int:
        task = coop.spawn(coop.run_in_thread, release.wait)
        coop.pause()
        task.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()
        release.set()
        return 1

    assert coop.run(main) == 1


def test_a_call_that_outlives_the_run_delivers_to_nobody():
    release, done = threading.Event(), threading.Event()

    def slow() -> None:
        release.wait(30)

    def main() -> None:
        coop.spawn(coop.run_in_thread, slow)
        coop.pause()

    coop.run(main)
    release.set()
    for thread in threading.enumerate():
        if thread.name == "coop helper":
            thread.join(30)
    done.set()
    assert "coop helper" not in [thread.name for thread in threading.enumerate()]


def test_coop_is_not_to_be_used_on_the_helper_thread():
    def main() -> None:
        with pytest.raises(coop.BugError, match="needs a task"):
            coop.run_in_thread(coop.sleep, 1)

    coop.run(main)


def test_a_run_of_its_own_is_fine_on_the_helper_thread():
    assert coop.run(lambda: coop.run_in_thread(coop.run, lambda: 5)) == 5


@pytest.mark.parametrize("holder", ["garbage whose finalizer runs", "a local variable"])
def test_a_thread_that_ended_frees_nothing_that_the_collector_does_not_see_in_use(holder: str):
    # Where greenlet looks for leaks, its first greenlet is freed too early, and a second time below.
    done = in_child(
        f"""
import greenlet, time

class Garbage:
    def __init__(self):
        self.me, self.hubs = self, []

    def __del__(self):
        end_a_thread(self.hubs)

def end_a_thread(hubs):
    may_end = threading.Event()
    thread = threading.Thread(target=lambda: (hubs.append(greenlet.getcurrent()), may_end.wait()))
    thread.start()
    while not hubs:
        time.sleep(0.001)
    local = hubs.pop() if {holder == "a local variable"} else None
    may_end.set()
    thread.join()
    end = time.monotonic() + 30
    # What a thread leaves behind is put away between two steps of this one, after it has had the GIL anew.
    while (count := sys.getrefcount(hubs[0] if hubs else local)) > 2 and time.monotonic() < end:
        time.sleep(0.001)
    print("references:", count)

gc.collect()
gc.disable()
Garbage()
gc.collect()
"""
    )
    assert done.stdout == b"references: 2\n", done.stderr


def test_two_hundred_calls_at_once_all_come_back():
    def main() -> list[int]:
        tasks = [coop.spawn(coop.run_in_thread, pow, i, 2) for i in range(200)]
        return [task.wait() for task in tasks]

    assert coop.run(main) == [i * i for i in range(200)]


# -- crews


class Gate:
    """A call that blocks until the gate is opened; it knows who has come, and how many at a time."""

    def __init__(self) -> None:
        self.came: list[int] = []
        self.open = threading.Event()

    def __call__(self, name: int) -> int:
        self.came.append(name)
        assert self.open.wait(30)
        return name

    def await_many(self, count: int) -> None:
        while len(self.came) < count:
            coop.sleep(0.001)


@pytest.mark.parametrize(("kind", "most"), [("disk", 32), ("names", 8)])
def test_a_crew_has_so_many_threads_at_most_and_the_other_calls_are_made_in_turn(kind: str, most: int):
    gate = Gate()

    def main() -> list[int]:
        tasks = [coop.spawn(run_in_crew, kind, gate, i) for i in range(3 * most)]
        gate.await_many(most)
        coop.sleep(0.02)
        assert len(gate.came) == most
        assert coop.run_in_thread(int, "7") == 7  # a host's own call waits for none of them
        gate.open.set()
        return [task.wait() for task in tasks]

    assert coop.run(main) == list(range(3 * most))
    assert sorted(gate.came[:most]) == list(range(most))
    assert "coop helper" not in [thread.name for thread in threading.enumerate()]


def test_a_guest_that_asks_for_very_much_does_not_keep_another_one_waiting():
    gate = Gate()

    def ask(name: int) -> None:
        task = current()
        job = Job(
            scheduler(), lambda: gate(name), lambda _: task.wake(), crew_of(scheduler(), "names"), name // 100
        )
        while not job.is_done:
            task.park("a name")

    def main() -> list[int]:
        tasks = [coop.spawn(ask, i) for i in range(100)]
        gate.await_many(8)
        tasks += [coop.spawn(ask, 100 * guest + i) for guest in range(1, 10) for i in range(10)]
        gate.await_many(64)
        coop.sleep(0.02)
        came = list(gate.came)
        gate.open.set()
        for task in tasks:
            task.wait()
        return came

    came = coop.run(main)
    assert [sum(name // 100 == guest for name in came) for guest in range(10)] == [8] * 8 + [0, 0]
    assert len(gate.came) == 190


def test_a_call_that_is_cancelled_before_its_turn_is_never_made_and_one_that_runs_counts_to_its_end():
    gate = Gate()

    def main() -> int:
        tasks = [coop.spawn(run_in_crew, "disk", gate, i) for i in range(33)]
        gate.await_many(32)
        for task in (tasks[0], tasks[32]):
            task.cancel()
        last = coop.spawn(run_in_crew, "disk", gate, 99)
        coop.sleep(0.02)
        assert tasks[0].is_done
        assert tasks[32].is_done
        assert len(gate.came) == 32
        gate.open.set()
        return last.wait()

    assert coop.run(main) == 99
    assert 32 not in gate.came


def test_a_run_may_end_while_calls_wait_for_their_turn():
    gate = Gate()

    def main() -> None:
        for i in range(40):
            coop.spawn(run_in_crew, "disk", gate, i)
        gate.await_many(32)

    coop.run(main)
    gate.open.set()
    for thread in threading.enumerate():
        if thread.name == "coop helper":
            thread.join(30)
    assert len(gate.came) == 32


def test_where_no_thread_is_to_be_had_when_its_turn_comes_a_call_fails_and_the_crew_goes_on():
    done = in_child(
        """
        import errno, resource
        from coop.scheduler import scheduler
        from coop.threads import crew_of, run_in_crew
        gate = threading.Event()

        def refused(task):
            try:
                task.wait()
            except OSError as error:
                return error.errno == errno.ENOMEM

        def main():
            blocked = [coop.spawn(run_in_crew, "disk", gate.wait) for _ in range(32)]
            waiting = [coop.spawn(run_in_crew, "disk", int, "7") for _ in range(3)]
            coop.sleep(0.01)
            # A thread's stack is mapped when the thread is made.
            usual = threading.stack_size(1 << 32)
            size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            soft, hard = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 30), hard))
            gate.set()
            print([refused(task) for task in waiting])
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            threading.stack_size(usual)
            print([task.wait() for task in blocked] == [True] * 32, run_in_crew("disk", int, "5"))
            print(crew_of(scheduler(), "disk")._free)

        coop.run(main)
        """
    )
    assert done.stdout.decode().splitlines() == ["[True, True, True]", "True 5", "32"]
