"""The slots that stacks and the memories of dense guests are in: what may happen on them, and afterwards."""

import ctypes
import gc
import mmap
import threading
from itertools import pairwise

import pytest

import coop
from coop.engine.arena import Arena
from coop.engine.config import engine_for
from coop.errors import GuestTrap, LimitExceeded
from tests.engine.wat import in_child, module

DEEP = """(module
  (func $down (param i32) (result i32) (i32.add (i32.const 1) (call $down (local.get 0))))
  (func (export "go") (result i32) (call $down (i32.const 0)))
  (func (export "two") (result i32) (i32.const 2)))"""

HOSTED = """(module (import "t" "host" (func $host)) (memory (export "memory") 1)
  (func (export "go") (call $host)))"""

WAITS = """(module (import "t" "host" (func $host)) (memory (export "memory") 1)
  (data (i32.const 8) "data") (func (export "go") (call $host)))"""

FILLS = """(module (memory (export "memory") 700)
  (func (export "go") (memory.fill (i32.const 0) (i32.const 1) (i32.const 45000000))))"""


def slots(count, size=1 << 16):
    arena = Arena(size)
    return arena, [arena.take() for _ in range(count)]


def resident_pages(address, size):
    vector = (ctypes.c_ubyte * (size // mmap.PAGESIZE))()
    assert ctypes.CDLL(None).mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), vector) == 0
    return sum(byte & 1 for byte in vector)


# -- the arena


@pytest.mark.parametrize("order", ["forwards", "backwards", "every third"])
def test_a_slot_taken_again_is_all_zeros(order):
    arena, taken = slots(100)
    for base in taken:
        ctypes.memset(base, 0xAA, arena.size)
    steps = {
        "forwards": taken,
        "backwards": taken[::-1],
        "every third": sorted(taken, key=lambda b: b % 3 * 7),
    }
    for base in steps[order]:
        arena.give(base)
    again = [arena.take() for _ in range(100)]
    assert len(set(again)) == 100
    assert set(again) <= set(taken) | set(again)
    assert all(ctypes.string_at(base, arena.size) == bytes(arena.size) for base in again)
    assert arena.count <= 128


def test_memory_goes_back_to_the_system_after_a_burst():
    arena, taken = slots(1000)
    for base in taken:
        ctypes.memset(base, 1, arena.size)
    before = sum(resident_pages(base, arena.size) for base in taken)
    for base in taken[::2] + taken[1::2]:
        arena.give(base)
    of_each = arena.size // mmap.PAGESIZE
    assert before >= 1000 * of_each
    assert sum(resident_pages(base, arena.size) for base in taken) <= 32 * of_each


@pytest.mark.parametrize(
    ("text", "kwargs"),
    [
        (FILLS, "dense=True"),
        (DEEP, "max_wasm_stack=16 << 20"),
    ],
    ids=["memories", "stacks"],
)
def test_large_guests_one_after_another_hold_the_memory_of_a_few(text, kwargs):
    in_child(f"""
    import resource

    def resident():
        with open("/proc/self/statm") as sizes:
            return int(sizes.read().split()[1]) * resource.getpagesize()

    m = module({text!r}, {kwargs})

    def main():
        most, before = 0, resident()
        for _ in range(30):
            with coop.Guest(m) as guest:
                try:
                    guest.call("go")
                except coop.GuestTrap:
                    pass
                most = max(most, resident() - before)
        return most

    most = coop.run(main)
    assert most < 160 << 20, most
    """)


def test_slots_do_not_overlap_and_are_used_again():
    arena, taken = slots(500)
    ordered = sorted(taken)
    assert all(b - a > arena.size for a, b in pairwise(ordered))
    for _ in range(10):
        for base in taken:
            arena.give(base)
        taken = [arena.take() for _ in range(500)]
    assert arena.count <= 1024


@pytest.mark.parametrize("splits", [False, True])
def test_below_a_slot_is_a_page_that_ends_the_process_when_touched(splits):
    in_child(
        f"""
        import ctypes
        from coop.engine.arena import Arena
        arena = Arena(1 << 16)
        arena.splits = {splits}
        for _ in range(3):
            taken = [arena.take() for _ in range(64)]
            for base in taken:
                child = os.fork()
                if not child:
                    ctypes.memset(base, 1, arena.size)
                    ctypes.memset(base - 1, 1, 1)
                    os._exit(0)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV
            for base in taken:
                arena.give(base)
        """
    )


def test_two_threads_never_get_the_same_slot():
    arena = Arena(1 << 14)
    seen: list[int] = []

    def work():
        for _ in range(300):
            taken = [arena.take() for _ in range(10)]
            for base in taken:
                ctypes.memset(base, 1, 64)
            assert all(ctypes.string_at(base, 65) == b"\x01" * 64 + b"\0" for base in taken)
            seen.extend(taken)
            for base in taken:
                arena.give(base)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 12_000


def test_a_system_without_room_says_so():
    done = in_child(
        """
        import resource
        from coop.engine.arena import Arena
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        arena, taken = Arena(8 << 20), []
        try:
            while True:
                taken.append(arena.take())
        except OSError as error:
            print(len(taken), error)
        arena.give(taken.pop())
        arena.take()
        """
    )
    assert b"no address space" in done.stdout


def test_what_is_left_of_the_address_space_is_what_can_be_mapped():
    done = in_child(
        """
        import mmap
        from coop.engine.arena import address_space_left
        left, taken = address_space_left(), []
        try:
            while len(taken) < 200:
                taken.append(mmap.mmap(-1, left >> 6, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 0))
        except OSError:
            print(len(taken))
        """
    )
    assert 40 <= int(done.stdout) <= 64


# -- guests


def test_recursion_without_end_traps_on_a_new_stack_and_on_those_used_before():
    deep = module(DEEP)

    def main():
        for _ in range(200):
            with pytest.raises(GuestTrap, match="call stack exhausted"):
                coop.Guest(deep).call("go")
        with coop.Guest(deep) as guest:
            assert guest.call("two") == 2

    coop.run(main)


def test_recursion_without_end_on_a_thousand_stacks_at_once_traps_on_each():
    in_child(
        f"""
        deep = module({HOSTED!r}.replace('(func (export "go") (call $host))',
            '(func $down (result i32) (i32.add (i32.const 1) (call $down)))'
            '(func (export "go") (result i32) (call $host) (call $down))'))
        gate = []

        @coop.host_function("t")
        def host(_caller):
            gate.append(1)
            while len(gate) < 1000:
                coop.pause()

        def main():
            guests = [coop.Guest(deep, imports=[host]) for _ in range(1000)]
            tasks = [coop.spawn(guest.call, "go") for guest in guests]
            for task in tasks:
                try:
                    task.wait()
                except coop.GuestTrap as error:
                    assert "call stack exhausted" in str(error)
                else:
                    raise AssertionError("no trap")
        coop.run(main)
        """
    )


@pytest.mark.parametrize("dense", [False, True])
def test_no_data_of_a_guest_is_on_the_stack_or_in_the_memory_of_the_next(dense):
    """What a guest leaves is looked for on every stack, and in every memory, that are taken afterwards."""
    fills = module(
        """(module (memory (export "memory") 4)
          (func $down (param i32 i64) (result i64)
            (if (result i64) (local.get 0)
              (then (i64.add (call $down (i32.sub (local.get 0) (i32.const 1)) (local.get 1)) (local.get 1)))
              (else (local.get 1))))
          (func (export "go") (result i64)
            (memory.fill (i32.const 0) (i32.const 0x5e) (i32.const 262144))
            (call $down (i32.const 5000) (i64.const 0x5ec2e75ec2e75ec2))))""",
        max_wasm_stack=1 << 19,
        dense=dense,
    )
    engine = fills.engine

    def main():
        for _ in range(100):
            with coop.Guest(fills) as guest:
                guest.call("go")

    coop.run(main)
    gc.collect()
    for arena in filter(None, (engine.stacks, engine.memories)):
        taken = [arena.take() for _ in range(150)]
        used = min(arena.size, 1 << 20)
        for base in taken:
            assert ctypes.string_at(base + arena.size - used, used).count(0) == used
            assert ctypes.string_at(base, 262144).count(0) == 262144
        for base in taken:
            arena.give(base)


def test_python_may_recurse_up_to_its_own_limit_on_a_stack_used_before():
    in_child(
        f"""
        sys.setrecursionlimit(3000)

        def deeper(n):
            return 1 + deeper(n + 1)

        @coop.host_function("t", parks=False)
        def host(_caller):
            deeper(0)

        hosted = module({HOSTED!r})

        def main():
            for _ in range(100):
                try:
                    coop.Guest(hosted, imports=[host]).call("go")
                except RecursionError:
                    continue
                raise AssertionError("no error")
        coop.run(main)
        """
    )


@pytest.mark.parametrize("dense", [False, True])
def test_guests_end_in_any_order_and_others_begin_meanwhile(dense):
    in_child(
        f"""
        waits = module({WAITS!r}, dense={dense})

        @coop.host_function("t")
        def host(caller):
            assert caller.memory.read(0, 16) == b"\\0" * 8 + b"data" + b"\\0" * 4
            caller.memory.write(0, b"x" * 65536)
            coop.sleep(3600)

        def main():
            order, alive = random.Random(7), []
            for _ in range(40):
                for _ in range(50):
                    guest = coop.Guest(waits, imports=[host])
                    task = coop.spawn(guest.call, "go")
                    task.observe()
                    alive.append((guest, task))
                coop.pause()
                coop.pause()
                order.shuffle(alive)
                for guest, task in alive[:45]:
                    assert not task.is_done, task.error
                    guest.cancel()
                del alive[:45]
                coop.pause()
        coop.run(main)
        assert waits.engine.stacks.count <= 1024
        """
    )


@pytest.mark.parametrize("what", ["stack", "memory"])
def test_a_stack_or_memory_that_cannot_be_had_is_a_limit_and_not_the_end(what):
    in_child(
        f"""
        waits = module({DEEP!r}.replace("(module", '(module (memory (export "memory") 1)'), dense=True)
        arena = waits.engine.stacks if {what!r} == "stack" else waits.engine.memories
        usual = arena._map

        def main():
            first = coop.Guest(waits)
            first.call("two")
            for arenas in (waits.engine.stacks, waits.engine.memories):
                arenas._raw.clear()
            arena._map = lambda at, length: usual(at, length) if at else (1 << 64) - 1
            for _ in range(3):
                try:
                    coop.Guest(waits).call("two")
                except coop.LimitExceeded as error:
                    assert error.limit == "guests", error.limit
                    assert "no room for a guest's {what}" in str(error), error
                else:
                    raise AssertionError("not refused")
            assert first.call("two") == 2
            arena._map = usual
            assert coop.Guest(waits).call("two") == 2
        coop.run(main)
        """
    )


@pytest.mark.parametrize("dense", [False, True])
def test_a_limit_of_address_space_refuses_guests_and_then_goes_on(dense):
    done = in_child(
        f"""
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
        waits = module({WAITS!r}, dense={dense})

        @coop.host_function("t")
        def host(caller):
            coop.sleep(3600)

        def main():
            alive = []
            while True:
                guest = coop.Guest(waits, imports=[host])
                task = coop.spawn(guest.call, "go")
                task.observe()
                coop.pause()
                coop.pause()
                if task.is_done:
                    break
                alive.append(guest)
            assert task.error.limit == "guests", task.error
            print(len(alive), task.error)
            for guest in alive[:10]:
                guest.cancel()
            coop.pause()
            task = coop.spawn(coop.Guest(waits, imports=[host]).call, "go")
            coop.pause()
            coop.pause()
            assert not task.is_done
        coop.run(main)
        """
    )
    assert (int(done.stdout.split()[0]) > 100) == dense


def test_a_child_after_a_fork_has_stacks_of_its_own_and_the_parent_keeps_his():
    in_child(
        f"""
        waits = module({WAITS!r})

        @coop.host_function("t")
        def host(caller):
            coop.sleep(3600)

        def crowd(count):
            code = module({WAITS!r})
            for _ in range(count):
                coop.spawn(coop.Guest(code, imports=[host]).call, "go").observe()
            coop.pause()
            coop.pause()

        def main():
            crowd(50)
            child = os.fork()
            if not child:
                try:
                    threading.Thread(target=lambda: (coop.run(crowd, 100), os._exit(7))).start()
                    threading.Event().wait(15)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            crowd(50)
        coop.run(main)
        """
    )


def test_two_schedulers_share_an_arena():
    in_child(
        f"""
        waits = module({WAITS!r})

        @coop.host_function("t")
        def host(caller):
            coop.sleep(0.0005)

        def main():
            for _ in range(30):
                tasks = [coop.spawn(coop.Guest(waits, imports=[host]).call, "go") for _ in range(20)]
                for task in tasks:
                    task.wait()

        threads = [threading.Thread(target=coop.run, args=(main,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        """
    )


def test_a_process_may_exit_while_guests_live():
    in_child(
        f"""
        waits = module({WAITS!r})

        @coop.host_function("t")
        def host(caller):
            coop.sleep(3600)

        def main():
            for _ in range(100):
                coop.spawn(coop.Guest(waits, imports=[host]).call, "go").observe()
            coop.pause()
            coop.pause()
            raise SystemExit(0)
        coop.run(main)
        """
    )


# -- dense guests


@pytest.mark.parametrize("pages", ["1", "1 1", "1 16", "1 1024", "1 65536"])
def test_a_dense_guest_cannot_touch_what_is_beyond_its_memory(pages):
    """Each declaration is compiled in another way; beyond the end the slot's own pages could be touched."""
    reads = module(
        f"""(module (memory (export "memory") {pages})
          (func (export "byte") (param i32) (drop (i32.load8_u (local.get 0))))
          (func (export "far") (param i32) (drop (i64.load offset=60000 (local.get 0))))
          (func (export "farthest") (param i32) (drop (i32.load8_u offset=0xfffffff0 (local.get 0))))
          (func (export "fixed") (param i32) (drop (i32.load (i32.const 65533))))
          (func (export "vector") (param i32) (drop (v128.load (local.get 0))))
          (func (export "store") (param i32) (i64.store offset=8 (local.get 0) (i64.const -1)))
          (func (export "fill") (param i32) (memory.fill (local.get 0) (i32.const 1) (i32.const 16)))
          (func (export "copy") (param i32) (memory.copy (i32.const 0) (local.get 0) (i32.const 16))))""",
        dense=True,
    )

    def main():
        for name in ("byte", "far", "farthest", "fixed", "vector", "store", "fill", "copy"):
            for address in (65536, 65535 + 4096, 1 << 20, (64 << 20) + 8192, 1 << 31, (1 << 32) - 1):
                with coop.Guest(reads) as guest, pytest.raises(GuestTrap, match="out of bounds"):
                    guest.call(name, address)

    coop.run(main)


def test_a_dense_memory_grows_within_its_slot_and_no_further():
    grows = module(
        """(module (memory (export "memory") 1)
          (func (export "go") (param i32) (result i32) (memory.grow (local.get 0)))
          (func (export "last") (result i32) (i32.load8_u (i32.const 0x3ffffff))))""",
        dense=True,
    )

    def main():
        with coop.Guest(grows) as guest:
            assert [guest.call("go", n) for n in (0, 1024, 1023, 1, 0)] == [1, -1, 1, -1, 1024]
            assert guest.call("last") == 0

    coop.run(main)


def test_a_dense_guest_whose_memory_begins_too_large_is_refused():
    large = module('(module (memory (export "memory") 1025) (func (export "go")))', dense=True)
    with pytest.raises(LimitExceeded) as caught:
        coop.run(lambda: coop.Guest(large).call("go"))
    assert caught.value.limit == "memory"


def test_dense_and_other_engines_differ_and_so_do_their_entries_in_the_cache(tmp_path):
    assert engine_for() is engine_for(dense=False)
    assert engine_for(dense=True).identity != engine_for().identity
    compiled = []
    for dense in (False, True, False, True):
        coop.Module.from_bytes(DEEP, cache=tmp_path, dense=dense, on_compile=lambda: compiled.append(1))
    assert len(compiled) == 2


def test_a_component_may_be_dense_and_its_memory_is_a_slot():
    from coop.engine.component import Component

    text = """(component
      (core module $m (memory (export "memory") 1) (data (i32.const 0) "x")
        (func (export "go") (result i32) (i32.load8_u (i32.const 0))))
      (core instance $i (instantiate $m))
      (func (export "go") (result u32) (canon lift (core func $i "go"))))"""
    for dense in (False, True):
        made = Component.from_bytes(text, cache=False, dense=dense)

        def main(made=made):
            with coop.ComponentGuest(made) as guest:
                return guest.call("", "go")

        assert coop.run(main) == ord("x")
