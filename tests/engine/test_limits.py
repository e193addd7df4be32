"""Each limit is exceeded once; its error names it, or the guest is told as it expects."""

import time

import pytest

import coop
from coop.clock import ManualClock
from coop.engine import admission
from tests.engine.wat import by_hand, call, in_child, module

SPIN = '(module (func (export "_start") (loop $l (br $l))))'

COUNT_DOWN = """
(module (func (export "go") (param i32)
  (loop $l (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if $l (local.get 0)))))
"""


def exceeds(limit: str, text: str, limits: coop.Limits, name: str = "_start") -> str:
    with pytest.raises(coop.LimitExceeded) as caught:
        call(text, name=name, limits=limits)
    assert caught.value.limit == limit
    assert f"limit {limit} exceeded" in str(caught.value)
    return str(caught.value)


def test_a_first_memory_that_is_too_large_exceeds_memory():
    exceeds("memory", '(module (memory 2) (func (export "_start")))', coop.Limits(memory=65536))


def test_memory_grows_up_to_the_limit_and_then_answers_minus_one():
    text = """(module (memory (export "memory") 1) (func (export "grow") (param i32) (result i32)
      (memory.grow (local.get 0))))"""

    def main() -> list[int]:
        with coop.Guest(module(text), limits=coop.Limits(memory=3 * 65536)) as guest:
            return [guest.call("grow", pages) for pages in (2, 1, 0)]

    assert coop.run(main) == [1, -1, 3]


def test_a_first_table_that_is_too_large_exceeds_table_elements():
    exceeds(
        "table_elements",
        '(module (table 11 funcref) (func (export "_start")))',
        coop.Limits(table_elements=10),
    )


def test_many_tables_exceed_table_elements_as_well():
    tables = "(table 1 funcref)" * 17
    exceeds("table_elements", f'(module {tables} (func (export "_start")))', coop.Limits())


def test_a_table_grows_up_to_the_limit_and_then_answers_minus_one():
    text = """(module (table $t 1 funcref) (func (export "go") (result i32)
      (table.grow $t (ref.null func) (i32.const 10))))"""
    assert call(text, limits=coop.Limits(table_elements=10)) == -1


# -- what was refused to the guest alone, told when it ends

ENDS = {"well": "", "badly": "(call $exit (i32.const 2))", "by a trap": "unreachable"}
GROWS = {
    "memory": "(memory.grow (i32.const 1))",
    "memory by its own size": "(memory.grow (memory.size))",
    "table_elements": "(table.grow $t (ref.null func) (i32.const 1))",
}
TRAP = "wasm `unreachable` instruction executed"
SMALL = coop.Limits(memory=6 * 65536, table_elements=9)


def grows(how: str, end: str) -> str:
    """A guest that grows until it is refused, and then ends."""
    return f"""(module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1) (table $t (export "t") 1 funcref) (global (export "g") i32 (i32.const 0))
      (func $grow (export "_start")
        (loop $again (br_if $again (i32.ne {GROWS[how]} (i32.const -1)))) {ENDS[end]}))"""


def told(text: str, capsys: pytest.CaptureFixture[str], limits: coop.Limits = SMALL) -> tuple[str, list[str]]:
    """Run a guest: what it trapped with, and what the log says of its limits."""
    trap = ""
    try:
        coop.run(coop.Guest(module(text), name="g", limits=limits).run)
    except coop.GuestTrap as error:
        trap = error.message
    return trap, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("how", "limit", "value"), [("memory", "memory", 6 * 65536), ("table_elements", "table_elements", 9)]
)
def test_a_limit_that_a_guest_grew_up_to_names_itself_when_it_ends(how, limit, value, end, capsys):
    trap, said = told(grows(how, end), capsys)
    assert said == [f"coop: warning: limit reached guest='g' limit='{limit}' value={value} used={value}"]
    assert trap == (f"{TRAP} (limit {limit}: {value} of {value})" if end == "by a trap" else "")


@pytest.mark.parametrize("end", ENDS)
def test_a_limit_that_leaves_no_room_to_double_names_itself_to_who_failed(end, capsys):
    trap, said = told(grows("memory by its own size", end), capsys)
    warning = "coop: warning: limit may have been reached guest='g' limit='memory' value=393216 used=262144"
    assert said == ([] if end == "well" else [warning])
    assert trap == (f"{TRAP} (limit memory: 262144 of 393216)" if end == "by a trap" else "")


@pytest.mark.parametrize("limits", [coop.Limits(), coop.Limits(None, None, None, None, None, None, None)])
def test_limits_that_are_far_off_are_not_spoken_of(limits, capsys):
    text = '(module (memory (export "memory") 3) (func (export "_start") unreachable))'
    assert told(text, capsys, limits) == (TRAP, [])


def test_a_memory_that_was_as_large_from_the_start_did_not_reach_its_limit(capsys):
    text = '(module (memory (export "memory") 6) (func (export "_start")))'
    assert told(text, capsys) == ("", [])


def test_a_guest_that_is_called_names_its_limit_once_and_when_it_ends(capsys):
    def main() -> None:
        with coop.Guest(module(grows("memory", "well")), name="g", limits=SMALL) as guest:
            guest.call("_start")
            guest.call("_start")
            assert capsys.readouterr().err == ""

    coop.run(main)
    assert capsys.readouterr().err.count("limit reached") == 1


def test_a_guest_that_computes_exceeds_wall_time():
    exceeds("wall_time", SPIN, coop.Limits(wall_time=0.001))


@pytest.mark.parametrize("body", ["sleep", "park"])
def test_a_guest_whose_host_function_waits_exceeds_wall_time(body: str):
    @coop.host_function("h", "wait")
    def wait(_caller: coop.Caller) -> None:
        if body == "sleep":
            coop.sleep(1000)
        else:
            coop.current().park("nothing")

    def main() -> None:
        text = '(module (import "h" "wait" (func $w)) (func (export "_start") (call $w)))'
        coop.Guest(module(text), imports=[wait], limits=coop.Limits(wall_time=0.001)).run()

    with pytest.raises(coop.LimitExceeded, match="wall_time"):
        coop.run(main)


def test_a_guest_that_is_idle_between_calls_exceeds_wall_time():
    def main(clock: ManualClock) -> None:
        guest = coop.Guest(module('(module (func (export "go")))'), limits=coop.Limits(wall_time=0.001))
        guest.call("go")
        clock.advance(1_000_000)
        with pytest.raises(coop.LimitExceeded, match="wall_time"):
            guest.wait()

    by_hand(main)


def test_wall_time_strays_into_nothing_that_the_task_does_later():
    def main(clock: ManualClock) -> str:
        with coop.Guest(
            module('(module (func (export "go")))'), limits=coop.Limits(wall_time=0.001)
        ) as guest:
            guest.call("go")
        clock.advance(3_000_000)
        for _ in range(3):
            coop.pause()
        return "fine"

    assert by_hand(main) == "fine"


def test_a_guest_that_computes_exceeds_cpu_time():
    exceeds("cpu_time", SPIN, coop.Limits(cpu_time=0.001))


def test_a_guest_that_calls_back_all_the_time_exceeds_cpu_time():
    @coop.host_function("h", "f", parks=False)
    def f(_caller: coop.Caller) -> None:
        pass

    with pytest.raises(coop.LimitExceeded, match="cpu_time"):
        call(
            '(module (import "h" "f" (func $f)) (func (export "go") (loop $l (call $f) (br $l))))',
            imports=(f,),
            limits=coop.Limits(cpu_time=0.001),
        )


def test_a_guest_whose_calls_all_end_within_a_slice_exceeds_cpu_time_with_the_next():
    limit = 0.005

    used = []

    def main() -> None:
        with coop.Guest(module(COUNT_DOWN), limits=coop.Limits(cpu_time=limit)) as guest:
            while True:
                guest.call("go", 100_000)
                used.append(guest.cpu_time)
                coop.sleep(0.011)  # and the shot that was to end a slice is over when the next begins

    with pytest.raises(coop.LimitExceeded, match="cpu_time"):
        coop.run(main)
    assert all(seconds <= limit for seconds in used[:-1])


def test_time_spent_waiting_is_no_cpu_time():
    @coop.host_function("h", "wait")
    def wait(_caller: coop.Caller) -> None:
        began = time.monotonic()
        coop.sleep(0.05)
        waited.append(time.monotonic() - began)

    def main() -> coop.GuestStats:
        text = '(module (import "h" "wait" (func $w)) (func (export "_start") (call $w)))'
        guest = coop.Guest(module(text), imports=[wait])
        guest.run()
        return guest.stats()

    waited: list[float] = []
    used = coop.run(main)
    assert used.cpu_time <= used.wall_time - waited[0]


@pytest.mark.parametrize(
    "name", ["memory", "wall_time", "cpu_time", "fds", "subscriptions", "bytes_per_call"]
)
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_that_is_not_above_zero_is_refused_by_name(name: str, value: int):
    with pytest.raises(ValueError, match=f"limit {name}"):
        coop.Limits(**{name: value})


def test_no_limit_is_no_limit():
    text = '(module (memory 1) (func (export "go") (result i32) (memory.grow (i32.const 20000))))'
    unlimited = coop.Limits(None, None, None, None, None, None, None)
    assert call(text, limits=unlimited) == 1


# -- how many guests a process can hold


@pytest.fixture
def few_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of maps lies just above what the process uses.

    Where guards split maps, so do those of the 32 stacks that wait to be wiped together.
    """
    room = admission._Room()
    room.limit = admission._count_maps() + admission._RESERVE + 150
    monkeypatch.setattr(admission, "_room", room)


@pytest.mark.usefixtures("few_maps")
def test_a_guest_near_the_limit_of_memory_maps_is_refused_and_the_others_live():
    def main() -> None:
        m = module('(module (memory 1) (func (export "go") (result i32) (i32.const 1)))')
        guests = [coop.Guest(m) for _ in range(100)]

        def call_all() -> None:
            for guest in guests:
                guest.call("go")

        with pytest.raises(coop.LimitExceeded, match=r"vm\.max_map_count") as caught:
            call_all()
        assert caught.value.limit == "guests"
        assert guests[0].call("go") == 1

    coop.run(main)


@pytest.mark.usefixtures("few_maps")
def test_once_guests_have_ended_others_are_let_in():
    def main() -> int:
        m = module('(module (memory 1) (func (export "go") (result i32) (i32.const 1)))')
        return sum(call_one(m) for _ in range(60))

    def call_one(m: coop.Module) -> int:
        with coop.Guest(m) as guest:
            return int(guest.call("go"))

    assert coop.run(main) == 60


def test_who_cannot_count_the_maps_for_want_of_a_descriptor_lets_nobody_in():
    done = in_child(
        """
        import resource
        from contextlib import suppress
        from coop.engine import admission

        def main():
            m = module('(module (memory 1) (func (export "go") (result i32) (i32.const 1)))')
            guests, let_in = [coop.Guest(m) for _ in range(40)], 0
            admission._room.limit = admission._count_maps() + admission._RESERVE + 150
            guests[0].call("go")
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit[1]))
            for guest in guests[1:]:
                with suppress(OSError, coop.LimitExceeded):
                    let_in += guest.call("go")
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            print(let_in)

        coop.run(main)
        """
    )
    assert int(done.stdout) < 25


def test_guests_run_where_proc_is_not_mounted():
    done = in_child(
        """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        users, mounts = 0x10000000, 0x20000
        if libc.unshare(mounts if os.geteuid() == 0 else users | mounts) != 0 or (
            libc.mount(b"none", b"/proc", None, 1 << 14 | 1 << 18, None) != 0  # what follows is ours alone
            or libc.mount(b"none", b"/proc", b"tmpfs", 0, None) != 0
        ):
            print("refused:", os.strerror(ctypes.get_errno()))
        else:
            assert not os.listdir("/proc")
            text = '(module (memory 1) (func (export "go") (result i32) (i32.const 42)))'
            print(run_call(text), coop.run(lambda: coop.Guest(module(text, dense=True)).call("go")))
        """
    )
    if done.stdout.startswith(b"refused"):
        pytest.skip(f"nothing may be mounted here, {done.stdout.decode().strip()}")
    assert done.stdout == b"42 42\n"


@pytest.mark.slow
def test_the_real_limit_of_memory_maps_is_a_clear_refusal():
    done = in_child(
        """
def main():
    m, guests = module('(module (memory (export "memory") 1) (func (export "go")))'), []
    try:
        while True:
            guests.append(coop.Guest(m))
            guests[-1].call("go")
    except coop.LimitExceeded as error:
        assert error.limit == "guests", error
        print(len(guests) > 1000)
    for guest in guests:
        guest.cancel()

coop.run(main)
""",
        timeout=250,
    )
    assert done.stdout == b"True\n"
