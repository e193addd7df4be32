"""A guest's life in the engine: calls, traps, ends, cancels in every state, and pre-emption."""

import threading

import pytest

import coop
from tests.engine.wat import call, module

SPIN = '(module (func (export "_start") (loop $l (br $l))) (func (export "go")))'


# -- calls


def test_an_export_is_called_and_the_guest_keeps_its_state_between_calls():
    text = """(module (global $n (mut i32) (i32.const 0))
      (func (export "next") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"""

    def main() -> list[int]:
        with coop.Guest(module(text)) as guest:
            return [guest.call("next") for _ in range(3)]

    assert coop.run(main) == [1, 2, 3]


def test_several_results_come_as_a_tuple_and_none_as_none():
    text = """(module (func (export "two") (result i32 f64) (i32.const 1) (f64.const 2.5))
      (func (export "none")))"""
    assert call(text, name="two") == (1, 2.5)
    assert call(text, name="none") is None


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("gone", (), "gone is not exported; it exports one, float"),
        ("memory", (), "memory is no function; it exports one, float"),
        ("one", (), "takes 1 arguments, not 0"),
        ("one", (1, 2), "takes 1 arguments, not 2"),
        ("one", ("x",), "argument 1: i32 wanted, not str"),
        ("one", (2**40,), "argument 1: 1099511627776 does not fit into i32"),
        ("float", (1e300,), "argument 1: 1e\\+300 does not fit into f32"),
        ("float", (10**400,), "does not fit into f32"),
    ],
)
def test_a_wrong_call_is_a_clear_error_and_the_guest_lives_on(name: str, args: tuple[object, ...], says: str):
    text = """(module (memory (export "memory") 1) (func (export "one") (param i32))
      (func (export "float") (param f32)) (func (export "ok") (result i32) (i32.const 5)))"""

    def main() -> int:
        with coop.Guest(module(text)) as guest:
            with pytest.raises(coop.LinkError, match=says):
                guest.call(name, *args)
            return int(guest.call("ok"))

    assert coop.run(main) == 5


def test_a_guest_runs_once():
    def main() -> None:
        guest = coop.Guest(module('(module (func (export "_start")))'))
        assert guest.run() == 0
        with pytest.raises(coop.CoopError, match="runs once"):
            guest.run()

    coop.run(main)


def test_a_guest_cannot_be_called_while_it_is_in_a_call():
    @coop.host_function("h", "wait")
    def wait(_caller: coop.Caller) -> None:
        coop.sleep(1000)

    text = '(module (import "h" "wait" (func $w)) (func (export "go") (call $w)))'

    def main() -> None:
        guest = coop.Guest(module(text), imports=[wait])
        task = coop.spawn(guest.call, "go")
        coop.pause()
        with pytest.raises(coop.Busy):
            guest.call("go")
        with pytest.raises(coop.BugError, match="in a call"):
            guest.close()
        guest.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()

    coop.run(main)


def test_an_initialize_export_runs_before_the_first_call():
    text = """(module (global $n (mut i32) (i32.const 0))
      (func (export "_initialize") (global.set $n (i32.const 7)))
      (func (export "go") (result i32) (global.get $n)))"""
    assert call(text) == 7


def test_a_start_section_may_call_the_host_and_wait():
    log: list[str] = []

    @coop.host_function("h", "f")
    def f(_caller: coop.Caller) -> None:
        coop.sleep(0.0001)
        log.append("start")

    call('(module (import "h" "f" (func $f)) (start $f) (func (export "go")))', imports=(f,))
    assert log == ["start"]


def test_a_trap_in_a_start_section_is_a_trap():
    with pytest.raises(coop.GuestTrap, match="unreachable"):
        call('(module (func $f unreachable) (start $f) (func (export "go")))')


def test_a_proc_exit_in_a_called_export_comes_out_with_its_code():
    text = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (func (export "go") (call $exit (i32.const 4294967295))))"""
    with pytest.raises(coop.GuestExit) as caught:
        call(text)
    assert caught.value.code == 2**32 - 1


# -- traps


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("unreachable", "unreachable"),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", "divide by zero"),
        ("(drop (i32.load (i32.const -4)))", "out of bounds memory access"),
        ("(call_indirect (i32.const 0))", "uninitialized element"),
        ("(call_indirect (i32.const 99))", "undefined element"),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "invalid conversion to integer"),
        ("(call $deep)", "call stack exhausted"),
        ("(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2))", "out of bounds memory access"),
    ],
)
def test_a_trap_says_why_and_names_the_frames_innermost_first(body: str, says: str):
    text = f"""(module (memory 1) (table 1 funcref) (func $deep (call $deep))
      (func $inner {body}) (func $outer (export "go") (call $inner)))"""
    with pytest.raises(coop.GuestTrap) as caught:
        call(text)
    assert says in caught.value.message
    frames = caught.value.frames
    assert frames[-2:] == ("inner", "outer") or frames[0] == "deep"


def test_frames_without_a_name_have_their_number():
    with pytest.raises(coop.GuestTrap) as caught:
        call('(module (func unreachable) (func (export "go") (call 0)))')
    assert caught.value.frames == ("function 0", "function 1")


def test_a_guest_kept_for_another_run_is_said_to_have_ended_with_the_first():
    guest = coop.Guest(module('(module (func (export "ok") (result i32) (i32.const 3)))'))
    assert coop.run(guest.call, "ok") == 3
    with pytest.raises(coop.CoopError, match="has ended, as each does with the run it was used in"):
        coop.run(guest.call, "ok")


def test_after_a_trap_the_guest_has_ended_and_the_others_go_on():
    def main() -> int:
        m = module(
            '(module (func (export "trap") unreachable) (func (export "ok") (result i32) (i32.const 3)))'
        )
        bad, good = coop.Guest(m), coop.Guest(m)
        good.call("ok")
        with pytest.raises(coop.GuestTrap):
            bad.call("trap")
        with pytest.raises(coop.CoopError, match="has ended"):
            bad.call("ok")
        return int(good.call("ok"))

    assert coop.run(main) == 3


# -- cancel, in every state


def cancelled(guest: coop.Guest, task: coop.Task) -> None:
    """Cancel a guest and check that all who wait for it hear of it."""
    waiter = coop.spawn(guest.wait)
    coop.pause()
    guest.cancel()
    guest.cancel()
    for each in (task, waiter):
        with pytest.raises(coop.WasCancelled, match="guest"):
            each.wait()


def test_a_guest_is_cancelled_while_it_computes():
    def main() -> None:
        guest = coop.Guest(module(SPIN))
        task = coop.spawn(guest.run)
        coop.pause()
        cancelled(guest, task)

    coop.run(main)


@pytest.mark.parametrize("body", ["coop.sleep(1000)", "coop.run_in_thread(release.wait)"])
def test_a_guest_is_cancelled_while_its_host_function_waits(body: str):
    release = threading.Event()

    @coop.host_function("h", "f")
    def f(_caller: coop.Caller) -> None:
        if "sleep" in body:
            coop.sleep(1000)
        else:
            coop.run_in_thread(release.wait)

    def main() -> None:
        guest = coop.Guest(
            module('(module (import "h" "f" (func $f)) (func (export "_start") (call $f)))'), imports=[f]
        )
        task = coop.spawn(guest.run)
        coop.pause()
        cancelled(guest, task)
        release.set()

    coop.run(main)


def test_a_guest_is_cancelled_while_it_waits_in_an_import():
    text = """(module
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_start")
        (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 1000000000000))
        (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"""

    def main() -> None:
        guest = coop.Guest(module(text))
        task = coop.spawn(guest.run)
        coop.pause()
        cancelled(guest, task)

    coop.run(main)


def test_a_guest_is_cancelled_before_it_has_started():
    def main() -> None:
        guest = coop.Guest(module(SPIN))
        cancelled(guest, coop.spawn(guest.wait))
        with pytest.raises(coop.WasCancelled):
            guest.run()
        with pytest.raises(coop.WasCancelled):
            guest.call("go")

    coop.run(main)


def test_a_guest_is_cancelled_between_two_calls():
    def main() -> None:
        guest = coop.Guest(module(SPIN))
        guest.call("go")
        cancelled(guest, coop.spawn(guest.wait))
        with pytest.raises(coop.WasCancelled):
            guest.call("go")

    coop.run(main)


def test_cancelling_a_guest_that_has_ended_changes_nothing():
    def main() -> int:
        guest = coop.Guest(module('(module (func (export "_start")))'))
        guest.run()
        guest.cancel()
        return guest.wait()

    assert coop.run(main) == 0


def test_a_cancel_that_comes_when_the_call_is_all_but_over_still_counts_and_strays_nowhere():
    @coop.host_function("h", "f", parks=False)
    def f(caller: coop.Caller) -> None:
        caller.guest.cancel()

    def main() -> str:
        guest = coop.Guest(
            module('(module (import "h" "f" (func $f)) (func (export "go") (call $f)))'), imports=[f]
        )
        with pytest.raises(coop.WasCancelled):
            guest.call("go")
        coop.sleep(0.0001)  # nothing is left to be raised here
        with pytest.raises(coop.WasCancelled):
            guest.wait()
        return "fine"

    assert coop.run(main) == "fine"


def test_a_cancel_that_host_code_swallows_ends_the_guest_all_the_same():
    @coop.host_function("h", "f")
    def f(_caller: coop.Caller) -> None:
        called.append(1)
        try:
            coop.sleep(1000)
        except coop.Cancelled as error:
            seen.append((str(error), repr(error)))

    def main() -> None:
        guest = coop.Guest(
            module('(module (import "h" "f" (func $f)) (func (export "_start") (call $f) (call $f)))'),
            imports=[f],
            name="it",
        )
        task = coop.spawn(guest.run)
        while not called:
            coop.pause()
        cancelled(guest, task)

    called: list[int] = []
    seen: list[tuple[str, str]] = []
    coop.run(main)
    assert seen == [("guest it was cancelled", "Cancelled('guest it was cancelled')")]


def test_cancelling_the_task_of_a_guest_ends_the_guest():
    def main() -> None:
        guest = coop.Guest(module(SPIN))
        task = coop.spawn(guest.run)
        coop.pause()
        task.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()
        with pytest.raises(coop.WasCancelled):
            guest.wait()

    coop.run(main)


def test_a_guest_is_cancelled_from_another_thread():
    def main() -> None:
        guest = coop.Guest(module(SPIN))
        task = coop.spawn(guest.run)
        coop.pause()
        coop.run_in_thread(guest.cancel)
        with pytest.raises(coop.WasCancelled):
            task.wait()

    coop.run(main)


def test_a_cancelled_guest_in_a_group_is_an_error_that_except_exception_catches():
    def main() -> None:
        guest = coop.Guest(module(SPIN))
        with coop.TaskGroup() as group:
            group.spawn(guest.run)
            coop.pause()
            guest.cancel()

    with pytest.raises(ExceptionGroup) as caught:
        coop.run(main)
    assert caught.group_contains(coop.WasCancelled)


# -- pre-emption


def test_two_guests_that_compute_and_a_ticker_all_get_on():
    text = """(module (import "h" "beat" (func $beat)) (func (export "go") (local $i i32)
      (loop $l
        (if (i32.eqz (i32.and (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 0xffff)))
          (then (call $beat)))
        (br $l))))"""
    beats = {"a": 0, "b": 0}

    def main() -> int:
        guests = []
        for name in beats:

            @coop.host_function("h", "beat", parks=False)
            def beat(_caller: coop.Caller, name: str = name) -> None:
                beats[name] += 1

            guests.append(coop.Guest(module(text), imports=[beat]))
        tasks = [coop.spawn(guest.call, "go") for guest in guests]
        ticks = 0
        before = dict(beats)
        while ticks < 5 or any(beats[name] <= before[name] + 10 for name in beats):
            coop.sleep(0.001)
            ticks += 1
        for guest, task in zip(guests, tasks, strict=True):
            guest.cancel()
            with pytest.raises(coop.WasCancelled):
                task.wait()
        return ticks

    assert coop.run(main) >= 5


def test_guests_of_two_engines_are_both_preempted():
    def main() -> None:
        guests = [coop.Guest(module(SPIN, max_wasm_stack=size)) for size in (256 << 10, 128 << 10)]
        tasks = [coop.spawn(guest.run) for guest in guests]
        for _ in range(5):
            coop.sleep(0.001)
        for guest, task in zip(guests, tasks, strict=True):
            assert guest.cpu_time > 0
            guest.cancel()
            with pytest.raises(coop.WasCancelled):
                task.wait()

    coop.run(main)


def test_a_guest_that_calls_a_parking_function_that_never_parks_is_preempted_too():
    @coop.host_function("h", "f")
    def f(_caller: coop.Caller) -> None:
        pass

    def main() -> None:
        guest = coop.Guest(
            module('(module (import "h" "f" (func $f)) (func (export "go") (loop $l (call $f) (br $l))))'),
            imports=[f],
        )
        task = coop.spawn(guest.call, "go")
        coop.sleep(0.001)
        guest.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()

    coop.run(main)


def test_a_guest_waits_for_a_descriptor_while_another_computes():
    def main() -> bytes:
        with coop.listen("127.0.0.1:0") as listener:
            spin = coop.Guest(module(SPIN))
            spinning = coop.spawn(spin.run)
            coop.pause()
            client = coop.connect(listener.address)
            server = listener.accept()
            client.sendall(b"through")
            got = server.recv()
            client.close()
            server.close()
            spin.cancel()
            with pytest.raises(coop.WasCancelled):
                spinning.wait()
            return got

    assert coop.run(main) == b"through"
