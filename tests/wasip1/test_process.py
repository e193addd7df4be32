"""What a guest asks of its process: arguments, environment, clocks, randomness, the end."""

import struct
import time

import pytest

import coop
from coop.wasip1 import Clocks
from coop.wasip1.imports import SNAPSHOT1
from tests.wasip1.script import DATA, END, GUARD, OUT, Script, scripted

WRITTEN = {
    *("args_get", "args_sizes_get", "environ_get", "environ_sizes_get", "clock_res_get", "clock_time_get"),
    *("fd_close", "fd_fdstat_get", "fd_fdstat_set_flags", "fd_filestat_get", "fd_prestat_get"),
    *("fd_prestat_dir_name", "fd_read", "fd_seek", "fd_tell", "fd_write", "path_filestat_get", "path_open"),
    *("poll_oneoff", "proc_exit", "proc_raise", "random_get", "sched_yield", "sock_accept", "sock_recv"),
    *("sock_send", "sock_shutdown"),
}
NOT_WRITTEN = [raw for raw in SNAPSHOT1.imports if raw.name not in WRITTEN]


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


@pytest.mark.parametrize(
    ("clock", "host"), [(0, time.time_ns), (1, time.monotonic_ns), (2, time.process_time_ns)]
)
def test_a_clock_tells_the_hosts_time(clock, host):
    def act(guest: Script):
        before = host()
        assert guest.clock_time_get(clock, 1, OUT) == "SUCCESS"
        told, after = guest.u64(), host()
        return before <= told <= after and guest.only_changed(OUT, told.to_bytes(8, "little"))

    assert scripted(act)


def test_the_threads_cpu_clock_goes_on_while_it_computes_and_no_faster_than_time():
    def act(guest: Script):
        assert guest.clock_time_get(3, 0, OUT) == "SUCCESS"
        before, wall = guest.u64(), time.monotonic_ns()
        sum(range(100_000))
        guest.clock_time_get(3, 0, OUT)
        return before < guest.u64() <= before + time.monotonic_ns() - wall + 10_000_000

    assert scripted(act)


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


def test_clocks_can_be_replaced():
    class Stopped(Clocks):
        def now_ns(self, clock: int) -> int | None:
            return 2**64 - 1

    def act(guest: Script):
        assert guest.clock_time_get(0, 0, OUT) == "SUCCESS"
        return guest.u64()

    assert scripted(act, clocks=Stopped()) == 2**64 - 1


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


def test_more_random_bytes_than_one_call_may_move_are_invalid_and_none_are_stored():
    def act(guest: Script):
        return guest.random_get(DATA, 1001), guest.image() == GUARD * END, guest.random_get(DATA, 1000)

    assert scripted(act, limits=coop.Limits(bytes_per_call=1000)) == ("INVAL", True, "SUCCESS")


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


def test_a_guest_has_no_signals():
    assert scripted(lambda guest: guest.proc_raise(2)) == "NOTSUP"


# -- the rest of the snapshot


def test_the_snapshot_has_its_46_functions():
    assert len(SNAPSHOT1.imports) == len({raw.name for raw in SNAPSHOT1.imports}) == 46
    assert {raw.name for raw in SNAPSHOT1.imports} >= WRITTEN


@pytest.mark.parametrize("raw", NOT_WRITTEN, ids=lambda raw: raw.name)
def test_a_function_not_written_yet_says_so_and_touches_nothing(raw):
    def act(guest: Script):
        answers = {guest.call(raw.name, *[number] * len(raw.params)) for number in (0, 3, DATA, 2**32 - 1)}
        return answers, guest.image() == GUARD * END

    assert scripted(act) == ({52}, True)
