"""A guest before it runs and after: what it may be given, what is refused, and that nothing is left."""

import gc
import os
import socket
import traceback

import pytest

import coop
from coop.engine import Instance
from coop.wasip1.state import Wasi
from tests.wasip1.script import Script, scripted

EMPTY = '(module (memory (export "memory") 1) (func (export "_start")))'


def guest(**options) -> coop.Guest:
    return coop.Guest(coop.Module.from_bytes(EMPTY, name="empty.wat"), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"args": ["a\0b"]}, "argument"),
        ({"args": [b"a\0"]}, "argument"),
        ({"env": {"": "x"}}, "environment"),
        ({"env": {"A=B": "x"}}, "environment"),
        ({"env": {"A": "x\0y"}}, "environment"),
        ({"dirs": ["/tmp", coop.Dir("/", "/tmp")]}, "two directories"),
    ],
)
def test_what_no_guest_could_understand_is_refused_when_it_is_given(options, message):
    with pytest.raises(ValueError, match=message):
        guest(**options)


@pytest.mark.seed("T25")
@pytest.mark.parametrize(
    "name", ["sock_open", "sock_bind", "sock_listen", "sock_connect", "sock_getaddrinfo"]
)
def test_a_guest_cannot_make_sockets_and_one_that_wants_to_is_told_which_function_is_missing(name):
    wants = f'(import "wasi_snapshot_preview1" "{name}" (func (param i32 i32) (result i32)))'
    module = coop.Module.from_bytes(f'(module {wants} (memory (export "memory") 1) (func (export "_start")))')
    with pytest.raises(coop.LinkError, match=rf"wasi_snapshot_preview1\.{name} is not provided"):
        coop.run(coop.Guest(module).run)


def test_nothing_is_granted_by_default():
    def act(script: Script):
        return (
            script.guest.addresses,
            [script.fd_prestat_get(fd, 0) for fd in range(8)],
            script.environ_sizes_get(0, 4),
        )

    assert scripted(act) == ((), ["BADF"] * 8, "SUCCESS")


def in_a_call(busy: coop.Guest, error: Exception | None = None) -> None:
    """Leave the guest's block while another task is in the guest, with an error or without one."""
    with busy:
        coop.spawn(busy.run).observe()
        coop.pause()
        if error is not None:
            raise error


FOR_EVER = '(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))'


def test_the_error_that_ends_a_block_comes_out_though_its_guest_is_in_a_call_which_ends():
    busy = coop.Guest(coop.Module.from_bytes(FOR_EVER))

    def main():
        with pytest.raises(KeyError, match="mine") as raised:
            in_a_call(busy, KeyError("mine"))
        assert raised.value.__context__ is None
        with pytest.raises(coop.WasCancelled):
            busy.wait()

    coop.run(main)


def test_a_task_that_is_cancelled_in_the_block_of_a_guest_in_a_call_ends_as_cancelled():
    def block():
        with coop.Guest(module) as busy:
            coop.spawn(busy.run).observe()
            coop.sleep(60)

    def main():
        task = coop.spawn(block)
        coop.pause()
        coop.pause()
        task.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()

    module = coop.Module.from_bytes(FOR_EVER)
    coop.run(main)


def test_a_block_that_is_left_while_its_guest_is_in_a_call_is_an_error_unless_it_was_cancelled():
    busy = coop.Guest(coop.Module.from_bytes(FOR_EVER))

    def main():
        with pytest.raises(coop.BugError, match="in a call; cancel it"):
            in_a_call(busy)
        with busy:
            busy.cancel()

    coop.run(main)


@pytest.mark.parametrize("kind", ["directory", "address", "listener"])
def test_a_start_that_fails_halfway_says_why_and_leaves_nothing_open(kind, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as mine:
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        bad = {
            "directory": {"dirs": [tmp_path, tmp_path / "missing"]},
            "address": {"listen": ["127.0.0.1:0", busy], "dirs": [tmp_path]},
            "listener": {"listen": [mine, "127.0.0.1:not a port"]},
        }[kind]
        failing = guest(**bad)
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(
            (OSError, ValueError), match={"directory": "missing", "address": busy, "listener": "port"}[kind]
        ):
            coop.run(failing.run)
        assert len(os.listdir("/proc/self/fd")) == before
        assert os.get_blocking(mine.fileno())


def test_addresses_are_known_in_the_order_of_the_listeners():
    def act(script: Script):
        return [address[1] for address in script.guest.addresses], script.fdstat(4)[0]

    with socket.create_server(("127.0.0.1", 0)) as mine:
        (first, second), filetype = scripted(act, listen=[mine, "127.0.0.1:0"])
        assert (first, filetype) == (mine.getsockname()[1], 6)
    assert second not in {0, first}


def test_a_listener_of_host_code_serves_host_and_guest():
    def main():
        with coop.listen("127.0.0.1:0") as listener, Script(listen=[listener]) as script:
            first, second = (coop.connect(listener.address[:2]) for _ in range(2))
            with first, second, listener.accept() as served:
                script.fd_fdstat_set_flags(3, 0)
                fd = script.accept()
                second.sendall(b"guest")
                served.sendall(b"host")
                return script.read(fd), first.recv()

    assert coop.run(main) == (b"guest", b"host")


def test_a_default_timeout_of_the_process_makes_nobody_wait_here():
    left, right = socket.socketpair()
    socket.setdefaulttimeout(30)
    try:
        with left, right:
            left.settimeout(None)

            def act(script: Script):
                script.fd_fdstat_set_flags(3, 4)
                return script.read(3), os.get_blocking(left.fileno())

            assert scripted(act, connections=[left]) == ("AGAIN", True)
    finally:
        socket.setdefaulttimeout(None)


@pytest.mark.parametrize("end", ["cancelled", "returned", "exited"])
def test_guests_that_have_ended_leave_nothing_to_a_collection(end):
    """A crowd's memory would stay until a full one, and the next crowd would pay for it."""
    park = module_of("(drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))")
    code = {"cancelled": park, "returned": module_of(""), "exited": module_of("(call $exit (i32.const 3))")}[
        end
    ]

    def crowd(count: int) -> None:
        guests = [coop.Guest(code) for _ in range(count)]
        tasks = [coop.spawn(guest.run) for guest in guests]
        for task in tasks:
            task.observe()
        coop.pause()
        for guest in guests:
            guest.cancel()
        while not all(task.is_done for task in tasks):
            coop.pause()

    def living() -> int:
        kinds = (coop.Guest, coop.Task, Instance, Wasi)
        return sum(isinstance(thing, kinds) for thing in gc.get_objects())

    def main() -> tuple[int, int]:
        crowd(1)
        gc.collect()
        gc.disable()
        try:
            before = living()
            crowd(50)
            coop.pause()
            return before, living()
        finally:
            gc.enable()

    before, after = coop.run(main)
    assert after <= before + 4  # what the last guest leaves in the border's cell


def module_of(body: str) -> coop.Module:
    """Make a module that does one thing; it may poll a clock an hour away, or exit."""
    return coop.Module.from_bytes(
        f"""(module
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start")
          (i32.store (i32.const 16) (i32.const 1))
          (i64.store (i32.const 24) (i64.const 3600000000000))
          {body}))"""
    )


def test_a_guest_that_is_being_started_is_not_run():
    @coop.host_function("h", "nap")
    def nap(caller: coop.Caller) -> None:
        coop.sleep(0.01)

    text = """(module (import "h" "nap" (func $nap)) (memory (export "memory") 1) (start $nap)
      (func (export "_start")))"""

    def main() -> None:
        guest = coop.Guest(coop.Module.from_bytes(text), imports=[nap])
        starts = coop.spawn(guest.start)
        coop.pause()
        with pytest.raises(coop.Busy, match="it is being started"):
            guest.run()
        with pytest.raises(coop.Busy):
            guest.call("_start")
        starts.wait()
        assert guest.run() == 0

    coop.run(main)


def test_making_its_connections_counts_to_the_wall_time():
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        guest = coop.Guest(
            coop.Module.from_bytes('(module (memory (export "memory") 1) (func (export "_start")))'),
            connections=[full.getsockname()],
            limits=coop.Limits(wall_time=0.1),
        )
        with pytest.raises(coop.LimitExceeded, match="wall_time"):
            coop.run(guest.run)


def test_who_waits_for_a_guest_that_failed_leaves_nothing_in_its_error():
    def main() -> int:
        guest = coop.Guest(coop.Module.from_bytes('(module (func (export "go") unreachable))'))
        with pytest.raises(coop.GuestTrap):
            guest.call("go")
        depths = set()
        for _ in range(3):
            with pytest.raises(coop.GuestTrap) as caught:
                guest.wait()
            depths.add(len(list(traceback.walk_tb(caught.value.__traceback__))))
        return len(depths)

    assert coop.run(main) == 1


def test_who_waits_for_a_guest_that_was_called_and_exited_gets_its_code():
    text = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1) (func (export "go") (call $exit (i32.const 3))))"""

    def main() -> int:
        guest = coop.Guest(coop.Module.from_bytes(text))
        with pytest.raises(coop.GuestExit):
            guest.call("go")
        return guest.wait()

    assert coop.run(main) == 3


#: A library as compilers make them: what it is to work on is put where its `alloc` says.
LIBRARY = """
(module
  (memory (export "memory") 1)
  (global $top (mut i32) (i32.const 65536))
  (func (export "alloc") (param $size i32) (result i32) (local $at i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.add (global.get $top) (local.get $size)))
    (drop (memory.grow (i32.const 1)))
    (local.get $at))
  (func (export "upper") (param $at i32) (param $size i32)
    (loop $again
      (if (local.get $size) (then
        (i32.store8 (local.get $at) (i32.and (i32.load8_u (local.get $at)) (i32.const 0xdf)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $size (i32.sub (local.get $size) (i32.const 1)))
        (br $again))))))
"""


def test_host_code_hands_bytes_to_a_library_and_takes_them_from_it():
    def upper(text):
        with coop.Guest(coop.Module.from_bytes(LIBRARY), name="upper") as guest:
            with pytest.raises(coop.CoopError, match="memory of guest upper: it is configured"):
                _ = guest.memory
            guest.start()
            at = guest.call("alloc", len(text))
            guest.memory.write(at, text)
            guest.call("upper", at, len(text))
            found, memory = guest.memory.read(at, len(text)), guest.memory
            with pytest.raises(coop.OutOfBounds):
                memory.read(len(memory), 1)
        with pytest.raises(coop.CoopError, match="memory of guest upper: it is ended"):
            _ = guest.memory
        with pytest.raises(coop.OutOfBounds):
            memory.read(at, 1)
        return found

    assert coop.run(upper, b"hello" * 1000) == b"HELLO" * 1000


def test_the_memory_of_a_guest_is_refused_to_other_threads():
    def look(guest):
        with pytest.raises(coop.WrongThread):
            _ = guest.memory

    def main():
        with guest() as made:
            made.start()
            coop.run_in_thread(look, made)
            return len(made.memory)

    assert coop.run(main) == 65536


def test_a_guest_that_runs_has_no_dictionary_of_its_own():
    """Python shares the names of attributes between objects as long as they are fewer than thirty."""

    def main() -> None:
        module = coop.Module.from_bytes('(module (memory (export "memory") 1) (func (export "go")))')
        component = coop.Component.from_bytes("(component)")
        for guest in (coop.Guest(module), coop.ComponentGuest(component)):
            with guest:
                guest.start()
                held = gc.get_referents(guest)
                assert not [each for each in held if type(each) is dict and "limits" in each]

    coop.run(main)
