"""Helper threads: a call that blocks the system's way, while the other tasks go on."""

import threading

import pytest

import coop


def test_the_result_of_the_call_comes_back():
    assert coop.run(lambda: coop.run_in_thread(divmod, 17, 5)) == (3, 2)


def test_what_the_call_raises_comes_back():
    def fail() -> None:
        raise KeyError("from the thread")

    with pytest.raises(KeyError, match="from the thread"):
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


def test_two_hundred_calls_at_once_all_come_back():
    def main() -> list[int]:
        tasks = [coop.spawn(coop.run_in_thread, pow, i, 2) for i in range(200)]
        return [task.wait() for task in tasks]

    assert coop.run(main) == [i * i for i in range(200)]
