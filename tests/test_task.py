"""One task: its states, how it is cancelled and interrupted, and how others learn of its end."""

import contextlib
import contextvars
import traceback
from typing import Any

import greenlet
import pytest

import coop
from coop.task import LostHub, Task, TaskState, current_or_none
from tests.fakes import MiniHub


@pytest.fixture
def hub():
    hub = MiniHub()
    yield hub
    hub.close()


def park() -> None:
    coop.current().park("the test")


def test_a_task_goes_through_its_states_in_order(hub: MiniHub):
    seen: list[TaskState] = []
    task = Task(hub, lambda: (seen.append(task.state), park()), "subject")
    seen.append(task.state)
    hub.runq.push(task)
    seen.append(task.state)
    hub.run()
    seen.append(task.state)
    task.wake()
    hub.run()
    seen.append(task.state)
    assert seen == [
        TaskState.NEW,
        TaskState.READY,
        TaskState.RUNNING,
        TaskState.PARKED,
        TaskState.DONE,
    ]


def test_a_parked_task_says_what_it_waits_for_and_a_running_one_does_not(hub: MiniHub):
    task = hub.spawn(park)
    hub.run()
    assert task.reason == "the test"
    task.wake()
    hub.run()
    assert task.reason is None


def test_waking_a_task_that_is_not_parked_changes_nothing(hub: MiniHub):
    task = hub.spawn(lambda: None)
    task.wake()
    assert hub.run() == ["task"]
    task.wake()
    assert hub.run() == []


def test_waking_a_parked_task_twice_runs_it_once(hub: MiniHub):
    task = hub.park()
    task.wake()
    task.wake()
    assert hub.run() == ["parked"]


def test_the_result_of_a_task_comes_out_of_wait():
    assert coop.run(lambda: coop.spawn(lambda: 42).wait()) == 42


def test_any_number_of_tasks_may_wait_for_one():
    def main() -> list[int]:
        one = coop.spawn(lambda: (coop.pause(), 7)[1])
        return [task.wait() for task in [coop.spawn(one.wait) for _ in range(3)]]

    assert coop.run(main) == [7, 7, 7]


def test_a_task_cannot_wait_for_itself():
    with pytest.raises(coop.BugError, match="cannot wait for itself"):
        coop.run(lambda: coop.current().wait())


def test_a_cancelled_waiter_leaves_the_queue_of_the_task_it_waited_for():
    def main() -> str:
        slow = coop.spawn(lambda: (coop.pause(), coop.pause(), coop.pause(), "end")[3])
        waiter = coop.spawn(slow.wait)
        coop.pause()
        waiter.cancel()
        result = slow.wait()
        assert waiter.is_done
        return str(result)

    assert coop.run(main) == "end"


# -- cancel, in every state


def test_a_task_cancelled_before_its_start_never_runs(hub: MiniHub):
    log: list[str] = []
    task = hub.spawn(lambda: log.append("ran"))
    task.cancel()
    hub.run()
    assert log == []
    assert task.is_done


def test_a_task_cancelled_while_parked_gets_it_there(hub: MiniHub):
    task = hub.park()
    task.cancel()
    hub.run()
    assert isinstance(task.error, coop.Cancelled)


def test_a_task_cancelled_while_ready_gets_it_at_its_next_park(hub: MiniHub):
    log: list[str] = []

    def body() -> None:
        park()
        log.append("after the first park")
        park()

    task = hub.spawn(body)
    hub.run()
    task.wake()
    task.cancel()
    hub.run()
    assert log == []
    assert isinstance(task.error, coop.Cancelled)


def test_a_task_that_cancels_itself_gets_it_at_its_next_park(hub: MiniHub):
    log: list[str] = []

    def body() -> None:
        coop.current().cancel()
        log.append("goes on")
        park()
        log.append("never")

    task = hub.spawn(body)
    hub.run()
    assert log == ["goes on"]
    assert task.is_cancelled


def test_cancelling_a_task_that_has_ended_changes_nothing(hub: MiniHub):
    task = hub.spawn(lambda: 5)
    hub.run()
    task.cancel()
    assert not task.is_cancelled
    assert task.outcome() == 5


def test_a_cancelled_task_gets_cancelled_again_at_every_park_and_yield(hub: MiniHub):
    count = 0

    def body() -> None:
        nonlocal count
        for wait in (park, coop.pause, park):
            try:
                wait()
            except coop.Cancelled:
                count += 1

    task = hub.spawn(body)
    hub.run()
    task.cancel()
    hub.run()
    assert count == 3
    assert task.is_done


def test_except_exception_does_not_swallow_a_cancel():
    def other() -> None:
        try:
            coop.sleep(1000)
        except Exception:
            pytest.fail("swallowed")

    def main() -> None:
        task = coop.spawn(other)
        coop.pause()
        task.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()

    coop.run(main)


def test_a_task_that_ignores_its_cancel_may_still_return():
    def other() -> str:
        try:
            coop.sleep(1000)
        except coop.Cancelled:
            return "anyway"
        return "never"

    def main() -> object:
        task = coop.spawn(other)
        coop.pause()
        task.cancel()
        return task.wait()

    assert coop.run(main) == "anyway"


# -- interrupts


def test_an_interrupt_is_raised_once_at_the_park(hub: MiniHub):
    log: list[str] = []

    def body() -> None:
        try:
            park()
        except ValueError:
            log.append("interrupted")
        park()
        log.append("woken")

    task = hub.spawn(body)
    hub.run()
    task.interrupt(ValueError())
    hub.run()
    assert log == ["interrupted"]
    task.wake()
    hub.run()
    assert log == ["interrupted", "woken"]


def test_interrupts_are_raised_one_by_one_and_none_is_lost(hub: MiniHub):
    log: list[str] = []

    def body() -> None:
        for _ in range(2):
            try:
                park()
            except (KeyError, ValueError) as error:
                log.append(type(error).__name__)

    task = hub.spawn(body)
    hub.run()
    task.interrupt(ValueError())
    task.interrupt(KeyError())
    hub.run()
    assert log == ["ValueError", "KeyError"]


def test_an_interrupt_taken_back_in_time_is_not_raised(hub: MiniHub):
    task = hub.spawn(park)
    error = ValueError()
    task.interrupt(error)
    assert task.forget_interrupt(error)
    assert not task.forget_interrupt(error)
    hub.run()
    assert task.state is TaskState.PARKED


def test_taking_an_interrupt_back_leaves_others_of_its_kind(hub: MiniHub):
    task = hub.spawn(park)
    mine, other = ValueError("mine"), ValueError("other")
    task.interrupt(mine)
    task.interrupt(other)
    task.forget_interrupt(mine)
    hub.run()
    assert task.error is other


def test_an_interrupt_of_a_task_that_has_ended_is_dropped(hub: MiniHub):
    task = hub.spawn(lambda: 1)
    hub.run()
    task.interrupt(ValueError())
    assert hub.run() == []


# -- a task with a guest on its stack


@pytest.mark.parametrize("wait", [park, coop.pause, lambda: coop.current().pause_uncancelled()])
def test_a_pinned_task_must_neither_park_nor_yield(hub: MiniHub, wait):
    def body() -> None:
        coop.current().pinned = True
        try:
            with pytest.raises(coop.BugError, match="parks=False"):
                wait()
        finally:
            coop.current().pinned = False

    task = hub.spawn(body)
    hub.run()
    task.outcome()


# -- what can be asked


def test_a_task_is_named_after_its_function_unless_told():
    def main() -> list[str]:
        return [coop.spawn(park).name, coop.spawn(park, name="mine").name]

    first, second = coop.run(main)
    assert first.startswith("park-")
    assert second == "mine"


def test_the_stack_of_a_parked_task_can_be_shown(hub: MiniHub):
    task = hub.spawn(park)
    assert task.stack_text() == ""
    hub.run()
    assert "in park" in task.stack_text()


@pytest.mark.parametrize("news", [lambda task: task.wake(), lambda task: task.interrupt(ValueError())])
def test_another_thread_may_not_wake_a_task_whose_run_would_not_hear_of_it(news):
    def main() -> None:
        with pytest.raises(coop.WrongThread, match="task main: this scheduler belongs to another thread"):
            coop.run_in_thread(news, coop.current())

    coop.run(main)


def test_there_is_no_current_task_outside_a_run():
    assert current_or_none() is None
    with pytest.raises(coop.BugError, match="needs a task") as caught:
        coop.current()
    assert caught.value.__context__ is None, "which refers to the greenlet"


def test_the_hub_of_a_run_that_was_forked_away_refuses_to_be_switched_to():
    with pytest.raises(coop.WrongThread, match="forked"):
        LostHub().switch()


@pytest.mark.parametrize(
    ("before", "raised"),
    [(True, "interrupt"), (False, "interrupt"), (True, "cancel"), (False, "cancel")],
    ids=["interrupted before it parks", "while it is parked", "cancelled before it parks", "while parked"],
)
def test_a_task_that_queued_up_before_it_parked_ends_once(hub: MiniHub, before: bool, raised: str):
    ends: list[BaseException] = []

    def act() -> None:
        task.interrupt(KeyboardInterrupt()) if raised == "interrupt" else task.cancel()

    def call() -> None:
        hub.runq.push_running(task)
        if before:
            act()
        else:
            hub.spawn(act, "other")
            # It goes first, while the task stands in the queue.
            hub.runq.tasks.rotate()
        try:
            park()
        except BaseException as error:
            ends.append(error)
            raise

    task = hub.spawn(call)
    assert hub.run() == ["task", *([] if before else ["other"]), "task"]
    assert task.is_done
    assert [task.error] == ends


def test_a_task_that_is_done_is_not_resumed(hub: MiniHub):
    task = hub.spawn(lambda: None)
    hub.run()
    with pytest.raises(coop.BugError, match="resume task task: it is done"):
        task.resume()


def test_those_who_are_woken_together_switch_to_one_another():
    """One switch for each, not two by way of the hub; who begins or ends goes by the hub."""
    path: list[str] = []

    def note(event: str, between: tuple[Any, Any]) -> None:
        path.append(getattr(getattr(between[1], "task", None), "name", "hub"))

    def main() -> list[str]:
        tasks = [coop.spawn(sleeper, name=name) for name in "abc"]
        coop.pause()
        for task in tasks:
            task.wake()
        coop.spawn(coop.pause, name="new")
        before = greenlet.settrace(note)
        try:
            coop.pause()
            path.append("main")
            coop.pause()
        finally:
            greenlet.settrace(before)
        return path

    def sleeper() -> None:
        with contextlib.suppress(coop.Cancelled):
            coop.current().park("the first wake")
            coop.current().park("the second, which does not come")

    assert coop.run(main)[:9] == ["hub", "a", "b", "c", "hub", "new", "hub", "main", "main"]


def test_who_waits_for_a_task_that_failed_leaves_nothing_in_its_error():
    def fail() -> None:
        raise KeyError("each time")

    def main() -> int:
        task = coop.spawn(fail)
        depths = set()
        for _ in range(3):
            with pytest.raises(KeyError) as caught:
                task.wait()
            depths.add(len(list(traceback.walk_tb(caught.value.__traceback__))))
        return len(depths)

    assert coop.run(main) == 1


@pytest.mark.parametrize("raises", [True, False])
def test_nothing_that_was_to_be_raised_is_lost_with_the_end(raises: bool):
    first, second, own = KeyError("first"), KeyError("second"), ValueError("own")

    def end() -> None:
        coop.current().interrupt(first)
        coop.current().interrupt(second)
        if raises:
            raise own

    with pytest.raises(ExceptionGroup) as caught:
        coop.run(end)
    assert list(caught.value.exceptions) == ([own] if raises else []) + [first, second]


def test_a_task_and_a_helper_thread_begin_with_the_context_of_whoever_made_them():
    who = contextvars.ContextVar("who", default="nobody")

    def change(to: str) -> str:
        was = who.get()
        who.set(to)
        coop.pause()
        assert who.get() == to
        return was

    def main() -> None:
        assert change("main") == "caller"
        tasks = [coop.spawn(change, f"task {n}") for n in range(3)]
        assert [task.wait() for task in tasks] == ["main"] * 3
        assert coop.run_in_thread(who.get) == "main"
        coop.run_in_thread(who.set, "thread")
        assert who.get() == "main"

    who.set("caller")
    coop.run(main)
    assert who.get() == "caller"
