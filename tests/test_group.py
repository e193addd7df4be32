"""Task groups: the block is left when every task has ended, and no error is lost on the way."""

import sys
from collections.abc import Callable
from types import FrameType

import pytest

import coop


def fail(error: BaseException) -> None:
    raise error


def park() -> None:
    coop.current().park("the test")


def test_the_block_is_left_only_when_every_task_has_ended():
    log: list[int] = []

    def task(i: int) -> None:
        for _ in range(i):
            coop.pause()
        log.append(i)

    def main() -> None:
        with coop.TaskGroup() as group:
            for i in (3, 1, 2):
                group.spawn(task, i)
        log.append(99)

    coop.run(main)
    assert log == [1, 2, 3, 99]


def test_an_empty_group_does_not_wait():
    def main() -> str:
        with coop.TaskGroup():
            pass
        return "done"

    assert coop.run(main) == "done"


def test_a_failed_task_cancels_the_others_and_comes_out_as_a_group():
    log: list[str] = []

    def other() -> None:
        try:
            coop.sleep(1000)
        except coop.Cancelled:
            log.append("cancelled")
            raise

    def main() -> None:
        with coop.TaskGroup() as group:
            group.spawn(other)
            group.spawn(fail, ValueError("it"))

    with pytest.raises(ExceptionGroup) as caught:
        coop.run(main)
    assert caught.group_contains(ValueError, match="it", depth=1)
    assert log == ["cancelled"]


def test_a_failed_task_ends_a_block_that_waits_for_something_else():
    def main() -> None:
        with coop.TaskGroup() as group:
            group.spawn(fail, ValueError("it"))
            coop.sleep(1000)
            pytest.fail("the block went on")

    with pytest.raises(ExceptionGroup) as caught:
        coop.run(main)
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


def test_an_error_of_the_block_alone_comes_out_as_itself_and_cancels_the_tasks():
    tasks: list[coop.Task] = []

    def main() -> None:
        with coop.TaskGroup() as group:
            tasks.append(group.spawn(coop.sleep, 1000))
            coop.pause()
            raise KeyError("block")

    with pytest.raises(KeyError, match="block"):
        coop.run(main)
    assert tasks[0].is_cancelled


def test_errors_of_the_block_and_of_tasks_come_out_together():
    def main() -> None:
        with coop.TaskGroup() as group:
            group.spawn(fail, ValueError("task"))
            try:
                park()
            finally:
                raise KeyError("block")

    with pytest.raises(ExceptionGroup) as caught:
        coop.run(main)
    assert sorted(type(error).__name__ for error in caught.value.exceptions) == ["KeyError", "ValueError"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_block_comes_out_as_itself_though_a_task_failed_too(kind: type[BaseException]):
    def main() -> None:
        with coop.TaskGroup() as group:
            group.spawn(lambda: fail(ValueError("task")) if coop.current().is_cancelled else wait())
            coop.pause()
            raise kind

    def wait() -> None:
        try:
            park()
        finally:
            raise ValueError("cleanup")

    with pytest.raises(kind) as caught:
        coop.run(main)
    assert isinstance(caught.value.__cause__, BaseExceptionGroup)


def test_an_error_in_the_cleanup_of_a_cancelled_groups_task_is_not_lost():
    def stubborn() -> None:
        try:
            coop.sleep(1000)
        finally:
            raise ValueError("cleanup failed")

    def owner() -> None:
        with coop.TaskGroup() as group:
            group.spawn(stubborn)

    def main() -> None:
        task = coop.spawn(owner)
        coop.pause()
        coop.pause()
        task.cancel()
        with pytest.raises(ExceptionGroup) as caught:
            task.wait()
        assert caught.group_contains(ValueError, match="cleanup failed")

    coop.run(main)


def test_cancelling_the_owner_ends_every_task_before_the_block_is_left():
    log: list[str] = []

    def inner() -> None:
        try:
            coop.sleep(1000)
        finally:
            log.append("inner ended")

    def owner() -> None:
        try:
            with coop.TaskGroup() as group:
                group.spawn(inner)
        finally:
            log.append("owner left")

    def main() -> None:
        task = coop.spawn(owner)
        coop.pause()
        coop.pause()
        task.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()

    coop.run(main)
    assert log == ["inner ended", "owner left"]


def test_a_cancelled_group_lets_its_block_go_on():
    def main() -> str:
        with coop.TaskGroup() as group:
            group.spawn(coop.sleep, 1000)
            coop.pause()
            group.cancel()
        return "done"

    assert coop.run(main) == "done"


def test_tasks_may_spawn_into_their_group_while_the_block_waits():
    log: list[int] = []

    def task(group: coop.TaskGroup, i: int) -> None:
        log.append(i)
        if i < 3:
            group.spawn(task, group, i + 1)

    def main() -> None:
        with coop.TaskGroup() as group:
            group.spawn(task, group, 0)

    coop.run(main)
    assert log == [0, 1, 2, 3]


def test_a_task_spawned_into_a_group_that_is_ending_never_runs():
    log: list[str] = []

    def late(group: coop.TaskGroup) -> None:
        try:
            coop.sleep(1000)
        finally:
            group.spawn(log.append, "ran")

    def main() -> None:
        with coop.TaskGroup() as group:
            group.spawn(late, group)
            group.spawn(fail, ValueError())

    with pytest.raises(ExceptionGroup):
        coop.run(main)
    assert log == []


def test_spawning_outside_the_block_is_refused():
    def main() -> None:
        group = coop.TaskGroup()
        with pytest.raises(coop.BugError, match="inside its block"):
            group.spawn(park)
        with group:
            pass
        with pytest.raises(coop.BugError, match="inside its block"):
            group.spawn(park)

    coop.run(main)


def test_the_failure_of_an_outer_group_is_not_swallowed_by_an_inner_one():
    log: list[str] = []

    def main() -> None:
        with coop.TaskGroup() as outer:
            with coop.TaskGroup() as inner:
                inner.spawn(coop.sleep, 0.001)
                outer.spawn(fail, ValueError("outer"))
            log.append("inner left")
            park()
            log.append("block went on")

    with pytest.raises(ExceptionGroup) as caught:
        coop.run(main)
    assert caught.group_contains(ValueError, match="outer", depth=1)
    assert "block went on" not in log


def test_the_failure_of_an_outer_group_ends_a_block_that_took_the_inner_groups_error():
    def main() -> None:
        with coop.TaskGroup() as outer:
            try:
                with coop.TaskGroup() as inner:
                    inner.spawn(fail, KeyError("inner"))
                    outer.spawn(fail, ValueError("outer"))
                    park()
            except ExceptionGroup:
                pass
            park()
            pytest.fail("the block went on")

    with pytest.raises(ExceptionGroup) as caught:
        coop.run(main)
    assert caught.group_contains(ValueError, match="outer", depth=1)


def ends_slowly(until: Callable[[], bool]) -> None:
    """Wait to be cancelled, and then end when `until` says so, and some turns later."""
    try:
        park()
    finally:
        while not until():
            coop.current().pause_uncancelled()
        for _ in range(3):
            coop.current().pause_uncancelled()


def test_what_interrupts_a_group_that_ends_for_another_reason_is_raised_after_it():
    log: list[str] = []

    def interrupt(task: coop.Task) -> None:
        for word in ("first", "second"):
            task.interrupt(KeyError(word))
            coop.pause()
        log.append("both came")

    def wait_for_a_group() -> None:
        with coop.TaskGroup() as group:
            group.spawn(ends_slowly, lambda: bool(log))
            coop.spawn(interrupt, coop.current())

    def main() -> None:
        with pytest.raises(KeyError, match="first"):
            wait_for_a_group()
        with pytest.raises(KeyError, match="second"):
            park()

    coop.run(main)
    assert log == ["both came"]


def test_the_failure_of_an_outer_group_while_an_inner_one_ends_by_an_error_is_not_lost():
    def fail_slowly(outer: coop.TaskGroup) -> None:
        with coop.TaskGroup() as inner:
            inner.spawn(ends_slowly, lambda: failing[0].is_done)
            coop.pause()
            failing.append(outer.spawn(fail, ValueError("outer")))
            raise KeyError("inner")

    def main() -> None:
        with coop.TaskGroup() as outer:
            with pytest.raises(KeyError, match="inner"):
                fail_slowly(outer)
            park()
            pytest.fail("the block went on")

    failing: list[coop.Task] = []
    with pytest.raises(ExceptionGroup) as caught:
        coop.run(main)
    assert caught.group_contains(ValueError, match="outer", depth=1)


def test_who_takes_the_errors_of_a_groups_tasks_does_not_take_the_end_of_a_block_around_it():
    def fail_when_cancelled() -> None:
        try:
            park()
        finally:
            raise OSError("cleanup")

    def wait_for_a_group() -> None:
        with coop.TaskGroup() as group:
            group.spawn(fail_when_cancelled)
            park()

    def main() -> None:
        with coop.Timeout(0.001):
            with pytest.raises(ExceptionGroup):
                wait_for_a_group()
            park()

    with pytest.raises(coop.DeadlineExceeded):
        coop.run(main)


def test_a_crowd_that_fails_in_its_cleanup_is_cancelled_once():
    cancels: list[str] = []

    def fail_when_cancelled() -> None:
        try:
            park()
        finally:
            raise OSError("cleanup")

    def count(frame: FrameType, event: str, _arg: object) -> None:
        if event == "call" and frame.f_code is coop.Task.cancel.__code__:
            cancels.append(event)

    def main() -> None:
        with coop.TaskGroup() as group:
            for _ in range(100):
                group.spawn(fail_when_cancelled)
            coop.pause()
            raise ValueError

    sys.setprofile(count)
    try:
        with pytest.raises(ExceptionGroup) as caught:
            coop.run(main)
    finally:
        sys.setprofile(None)
    assert len(caught.value.exceptions) == 101
    assert len(cancels) < 200  # each of them, and what the run has besides


def test_the_error_of_a_group_is_reported_once(capsys: pytest.CaptureFixture[str]):
    def main() -> None:
        with pytest.raises(ExceptionGroup), coop.TaskGroup() as group:
            group.spawn(fail, ValueError("once"))

    coop.run(main)
    assert capsys.readouterr().err == ""


def test_a_group_is_for_one_block():
    def main() -> None:
        group = coop.TaskGroup()
        with group:
            group.spawn(coop.pause)
        with pytest.raises(coop.BugError, match="each is for one block"), group:
            pass

    coop.run(main)


def test_a_block_that_another_task_leaves_ends_with_its_tasks():
    ended: list[str] = []

    def main() -> None:
        group = coop.TaskGroup()
        group.__enter__()
        group.spawn(lambda: (coop.sleep(0.001), ended.append("task")))
        coop.spawn(lambda: (group.__exit__(None, None, None), ended.append("block"))).wait()

    coop.run(main)
    assert ended == ["task", "block"]


def test_an_inner_group_that_fails_in_its_cleanup_tells_what_failed_and_nothing_of_its_own():
    def fail_at_the_end() -> None:
        try:
            park()
        finally:
            fail(KeyError("cleanup"))

    def main() -> None:
        with coop.TaskGroup() as outer:
            outer.spawn(fail, ValueError("outer"))
            with coop.TaskGroup() as inner:
                inner.spawn(fail_at_the_end)
                park()

    with pytest.raises(ExceptionGroup) as caught:
        coop.run(main)
    cleanup, own = caught.value.exceptions
    assert isinstance(cleanup, ExceptionGroup)
    assert isinstance(own, ValueError)
    assert [type(each) for each in cleanup.exceptions] == [KeyError]


def beside_a_failure(call: Callable[[], object]) -> None:
    with coop.TaskGroup() as group:
        group.spawn(fail, ValueError("in the group"))
        call()


def test_a_guest_that_ended_with_a_failed_group_was_cancelled():
    @coop.host_function("h", "park")
    def wait(caller: coop.Caller) -> None:
        park()

    text = '(module (import "h" "park" (func $park)) (func (export "_start") (call $park)))'

    def main() -> None:
        guest = coop.Guest(coop.Module.from_bytes(text), imports=[wait])
        waits = coop.spawn(guest.wait)
        with pytest.raises(ExceptionGroup):
            beside_a_failure(guest.run)
        with pytest.raises(coop.WasCancelled):
            waits.wait()

    coop.run(main)


def test_who_opened_a_block_that_another_task_left_hears_nothing_more_of_its_failure():
    def main() -> None:
        group = coop.TaskGroup()
        group.__enter__()
        group.spawn(fail, KeyError("in the group"))
        leaves = coop.spawn(group.__exit__, None, None, None)
        coop.pause()  # the failure is told to this task, then the other one leaves
        with pytest.raises(ExceptionGroup):
            leaves.wait()

    coop.run(main)
