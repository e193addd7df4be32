"""What a guest asks of its process: arguments, environment, clocks, randomness, the end."""

import struct
import time

import pytest

import coop
from coop.wasip1 import Clocks
from coop.wasip1.imports import SNAPSHOT1
from tests.wasip1.script import DATA, END, GUARD, OUT, PAGE, Script, clock_sub, scripted


def exit_wat(code: int) -> str:
    return f"""(module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "_start") (call $exit (i32.const {code})) unreachable))"""


# -- arguments and environment


def test_arguments_arrive_with_their_addresses_and_nothing_beside_them():
    def act(guest: Script):
        assert guest.args_sizes_get(OUT, OUT + 4) == "SUCCESS"
        assert (guest.u32(), guest.u32(OUT + 4)) == (3, 5 + 1 + 4)
        guest.put(OUT, GUARD * 8)
        assert guest.args_get(DATA, DATA + 12) == "SUCCESS"
        text = b"prog\0" + b"\0" + b"\xc3\xa4\xff\0"
        pointers = struct.pack("<III", DATA + 12, DATA + 17, DATA + 18)
        return guest.only_changed(DATA, pointers + text)

    assert scripted(act, name="prog", args=["", b"\xc3\xa4\xff"])


def test_the_environment_arrives_in_its_order_and_nothing_of_the_hosts():
    def act(guest: Script):
        assert guest.environ_sizes_get(OUT, OUT + 4) == "SUCCESS"
        assert (guest.u32(), guest.u32(OUT + 4)) == (2, 10)
        assert guest.environ_get(OUT, DATA) == "SUCCESS"
        return guest.got(DATA, 12)

    assert scripted(act, env={"Z": "1=2", "A": "b"}) == b"Z=1=2\0A=b\0" + GUARD * 2


def test_an_empty_environment_stores_nothing():
    def act(guest: Script):
        assert guest.environ_sizes_get(OUT, OUT + 4) == "SUCCESS"
        assert (guest.u32(), guest.u32(OUT + 4)) == (0, 0)
        guest.put(OUT, GUARD * 8)
        assert guest.environ_get(DATA, DATA) == "SUCCESS"
        return guest.image() == GUARD * END

    assert scripted(act)


@pytest.mark.parametrize("name", ["args_get", "args_sizes_get", "environ_get", "environ_sizes_get"])
@pytest.mark.parametrize("where", [(END - 3, DATA), (DATA, END - 3), (2**32 - 1, DATA), (DATA, 2**32 - 4)])
def test_a_bad_address_for_strings_is_a_fault_that_stores_nothing(name, where):
    def act(guest: Script):
        assert getattr(guest, name)(*where) == "FAULT"
        return guest.image() == GUARD * END

    assert scripted(act, args=["one"], env={"K": "v"})


# -- clocks


@pytest.mark.parametrize(("clock", "host"), [(0, time.time_ns), (1, time.monotonic_ns)])
def test_a_clock_tells_the_hosts_time(clock, host):
    def act(guest: Script):
        before = host()
        assert guest.clock_time_get(clock, 1, OUT) == "SUCCESS"
        told, after = guest.u64(), host()
        return before <= told <= after and guest.only_changed(OUT, told.to_bytes(8, "little"))

    assert scripted(act)


def cpu_time(guest: Script, clock: int) -> int:
    assert guest.clock_time_get(clock, 0, OUT) == "SUCCESS"
    return guest.u64()


def sometimes(act) -> bool:
    """Whether `act` is true once: it compares times, and the system may stop us between any two of them."""
    return any(act() for _ in range(5))


@pytest.mark.parametrize("clock", [2, 3])
def test_a_cpu_clock_tells_what_this_guest_has_computed_and_nobody_else(clock):
    def once():
        start = time.monotonic_ns()  # a guest computes from its start on
        with Script() as guest, Script() as other:
            first = cpu_time(guest, clock)
            for _ in range(20):
                assert other.random_get(0, END) == "SUCCESS"
            second = cpu_time(guest, clock)
            assert guest.random_get(0, END) == "SUCCESS"
            third = cpu_time(guest, clock)
            assert first < second < third < time.monotonic_ns() - start
            assert guest.guest.cpu_time * 1e9 >= third
            return second - first < other.guest.cpu_time * 1e9

    assert coop.run(lambda: sometimes(once))


def test_a_guest_that_waits_uses_no_cpu_time():
    def act(guest: Script):
        before = cpu_time(guest, 2)
        start = time.monotonic_ns()
        guest.poll(clock_sub(1, 30_000_000))
        waited = time.monotonic_ns() - start
        return waited >= 30_000_000 and cpu_time(guest, 2) - before < waited - 20_000_000

    assert scripted(lambda guest: sometimes(lambda: act(guest)))


def test_a_cpu_clock_goes_on_within_one_slice_of_a_guest():
    wat = """(module
      (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "goes") (result i32)
        (drop (call $now (i32.const 2) (i64.const 0) (i32.const 0)))
        (drop (call $now (i32.const 2) (i64.const 0) (i32.const 8)))
        (i64.lt_u (i64.load (i32.const 0)) (i64.load (i32.const 8)))))"""

    assert coop.run(lambda: coop.Guest(coop.Module.from_bytes(wat)).call("goes")) == 1


@pytest.mark.parametrize("clock", [0, 1, 2, 3])
def test_every_clock_has_a_resolution(clock):
    def act(guest: Script):
        assert guest.clock_res_get(clock, OUT) == "SUCCESS"
        return guest.u64()

    assert 1 <= scripted(act) <= 20_000_000


@pytest.mark.parametrize("clock", [4, 99, 2**32 - 1])
def test_a_number_that_is_no_clock_is_invalid(clock):
    def act(guest: Script):
        return (
            guest.clock_time_get(clock, 0, OUT),
            guest.clock_res_get(clock, OUT),
            guest.image() == GUARD * END,
        )

    assert scripted(act) == ("INVAL", "INVAL", True)


def test_a_clock_told_to_a_bad_address_is_a_fault():
    def act(guest: Script):
        return guest.clock_time_get(0, 0, END - 7), guest.clock_res_get(0, 2**32 - 1)

    assert scripted(act) == ("FAULT", "FAULT")


class Stopped(Clocks):
    """Every clock stands, each at its own number, and the last one at the end of time."""

    def now_ns(self, clock: int) -> int | None:
        return {0: 0, 1: 1_000, 2: 2, 3: 2**64 - 1}.get(clock)

    def resolution_ns(self, clock: int) -> int | None:
        return 77 if clock < 4 else None


def test_clocks_can_be_replaced_and_a_guest_sees_no_other():
    def act(guest: Script):
        times = [(guest.clock_time_get(clock, 0, OUT), guest.u64()) for clock in range(4)]
        resolutions = [(guest.clock_res_get(clock, OUT), guest.u64()) for clock in range(4)]
        return times, resolutions, guest.clock_time_get(4, 0, OUT), guest.clock_res_get(4, OUT)

    times, resolutions, *unknown = scripted(act, clocks=Stopped())
    assert times == [("SUCCESS", told) for told in (0, 1_000, 2, 2**64 - 1)]
    assert resolutions == [("SUCCESS", 77)] * 4
    assert unknown == ["INVAL", "INVAL"]


def test_an_absolute_time_out_is_of_the_clock_that_the_guest_sees():
    """Its monotonic clock stands at 1 000 ns, so that moment and those before have come."""

    def act(guest: Script):
        found = guest.poll(
            *(clock_sub(at, at, flags=1) for at in (0, 999, 1_000)), clock_sub(9, 10**15, flags=1)
        )
        return [event[0] for event in found]

    assert scripted(act, clocks=Stopped()) == [0, 999, 1_000]


@pytest.mark.parametrize(("clock", "host"), [(0, time.CLOCK_REALTIME), (1, time.CLOCK_MONOTONIC)])
def test_a_resolution_is_the_systems(clock, host):
    def act(guest: Script):
        assert guest.clock_res_get(clock, OUT) == "SUCCESS"
        return guest.u64()

    assert scripted(act) == max(1, round(time.clock_getres(host) * 1e9))


# -- randomness


class Counting:
    """Numbers its bytes."""

    def fill(self, buffer: memoryview) -> None:
        buffer[:] = bytes(i % 256 for i in range(len(buffer)))


def test_exactly_the_bytes_asked_for_become_random():
    def act(guest: Script):
        assert guest.random_get(DATA, 5) == "SUCCESS"
        return guest.only_changed(DATA, b"\0\1\2\3\4")

    assert scripted(act, random=Counting())


def test_the_systems_randomness_fills_more_than_one_chunk():
    def act(guest: Script):
        assert guest.random_get(0, END) == "SUCCESS"
        image = guest.image()
        return len({image[i : i + 16] for i in range(0, END, 4096)})

    assert scripted(act) == END // 4096


def test_no_random_bytes_at_all_is_a_success_even_at_the_end_of_memory():
    def act(guest: Script):
        return guest.random_get(END, 0), guest.random_get(END + 1, 0), guest.image() == GUARD * END

    assert scripted(act) == ("SUCCESS", "FAULT", True)


class Asked(Counting):
    """Notes how much it was asked for, and numbers the bytes of each piece."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def fill(self, buffer: memoryview) -> None:
        self.sizes.append(len(buffer))
        buffer[:] = bytes([len(self.sizes)]) * len(buffer)


def test_much_randomness_comes_in_pieces_between_which_others_run_and_none_is_too_much():
    source, pages = Asked(), 48

    def main():
        turns = []

        def other():
            while True:
                turns.append(len(source.sizes))
                coop.pause()

        with Script(random=source, limits=coop.Limits(bytes_per_call=1000)) as guest:
            guest.guest.call("grow", pages - END // PAGE)
            task = coop.spawn(other)
            assert guest.random_get(1, pages * PAGE - 2) == "SUCCESS"
            task.cancel()
            image = guest.got(0, pages * PAGE)
        return turns, image

    turns, image = coop.run(main)
    piece = 1 << 18
    assert source.sizes == [piece] * 11 + [piece - 2]
    assert {*range(1, 12)} <= set(turns)
    filled = b"".join(bytes([n + 1]) * size for n, size in enumerate(source.sizes))
    assert image == GUARD + filled + b"\0"  # what was grown is zero


def test_a_guest_that_wants_its_whole_memory_random_can_be_cancelled_between_two_pieces():
    source = Asked()

    def main():
        with Script(random=source) as guest:
            guest.guest.call("grow", 8_000)
            task = coop.spawn(guest.random_get, 0, 500 << 20)
            while not source.sizes:
                coop.pause()
            guest.guest.cancel()
            with pytest.raises(coop.WasCancelled):
                task.wait()

    coop.run(main)
    assert len(source.sizes) < 5


def test_a_source_that_fails_in_a_later_piece_leaves_the_next_call_whole():
    class Fails(Asked):
        def fill(self, buffer: memoryview) -> None:
            super().fill(buffer)
            if len(self.sizes) == 2:
                raise OSError(5, "on purpose")

    source = Fails()

    def act(guest: Script):
        guest.guest.call("grow", 16)
        return guest.random_get(0, 1 << 20), guest.random_get(DATA, 3), guest.got(DATA, 4)

    assert scripted(act, random=source) == ("IO", "SUCCESS", b"\3\3\3\1")
    assert source.sizes == [1 << 18, 1 << 18, 3]


@pytest.mark.parametrize("where", [(END - 1, 2), (1, 2**32 - 1), (2**32 - 1, 2**32 - 1)])
def test_random_bytes_beyond_memory_are_a_fault(where):
    assert scripted(lambda guest: guest.random_get(*where)) == "FAULT"


# -- the end, and letting others run


@pytest.mark.parametrize("code", [0, 1, 7, 134, 255, 256, 2**31 - 1, 2**31, 2**32 - 1])
def test_every_exit_code_comes_out_whole(code):
    module = coop.Module.from_bytes(exit_wat(code))
    assert coop.run(lambda: coop.Guest(module).run()) == code


def test_an_exit_in_a_call_of_an_export_is_raised_and_ends_the_guest():
    def act(guest: Script):
        with pytest.raises(coop.GuestExit) as caught:
            guest.call("proc_exit", 2**32 - 1)
        with pytest.raises(coop.CoopError, match="has ended"):
            guest.call("sched_yield")
        return caught.value.code

    assert scripted(act) == 2**32 - 1


def test_a_yield_lets_the_others_run_first_and_then_goes_on():
    def act(guest: Script):
        order: list[str] = []
        coop.spawn(order.append, "other")
        assert guest.sched_yield() == "SUCCESS"
        order.append("guest")
        assert guest.sched_yield() == "SUCCESS"
        return order

    assert scripted(act) == ["other", "guest"]


@pytest.mark.seed("F8")
@pytest.mark.parametrize("signal", [0, 2, 30, 31, 2**32 - 1])
def test_a_guest_has_no_signals(signal):
    assert scripted(lambda guest: guest.proc_raise(signal)) == "NOTSUP"


# -- the rest of the snapshot


def test_the_snapshot_has_its_46_functions():
    assert len(SNAPSHOT1.imports) == len({raw.name for raw in SNAPSHOT1.imports}) == 46
