"""Guests that mean harm: they get an errno or a trap, the host lives, and the guest beside them goes on."""

import random
import socket

import pytest

import coop
from coop.wasip1.imports import SNAPSHOT1
from tests.children import run_child
from tests.wasip1.script import (
    BITS,
    DATA,
    END,
    GUARD,
    IOVS,
    OUT,
    PAGE,
    POLLERS,
    SUBS,
    Script,
    fd_sub,
    scripted,
)

ENDS = {"proc_exit"}
EDGES = (0, 1, 3, 4, DATA, END - 8, END - 1, END, END + 1, 2**31 - 1, 2**31, 2**32 - 48, 2**32 - 1)
CALLS = [raw for raw in SNAPSHOT1.imports if raw.name not in ENDS]


def harmless(guest: Script) -> None:
    """Leave no descriptor that could wait for ever."""
    for fd in (0, 1, 2, 3, 4):
        guest.fd_fdstat_set_flags(fd, 4)


@pytest.mark.parametrize("raw", CALLS, ids=lambda raw: raw.name)
def test_any_numbers_in_any_call_get_an_errno(raw, tmp_path):
    """From the edges of memory and of 32 bits, on descriptors of every kind, with a second guest beside."""
    rng = random.Random(raw.name)
    (tmp_path / "f").write_bytes(b"x" * 100)
    left, right = socket.socketpair()

    def main():
        with Script(stdin=b"abc") as other:
            for _ in range(15):
                options = {
                    "listen": ["127.0.0.1:0"],
                    "connections": [left],
                    "dirs": [tmp_path],
                    "stdin": b"x",
                }
                with Script(**options) as guest:
                    harmless(guest)
                    for _ in range(40):
                        numbers = [
                            rng.choice(EDGES) if BITS[kind] == 32 else rng.getrandbits(64)
                            for kind in raw.params
                        ]
                        if raw.name == "poll_oneoff":
                            numbers[2] = rng.choice((0, 1, 2, 2**31, 2**32 - 1))
                            guest.put(0, GUARD * END)  # no time that never comes may be left by another call
                        assert 0 <= guest.call(raw.name, *numbers) <= 76
                    assert guest.sched_yield() == "SUCCESS"
            return other.read(0)

    with left, right:
        assert coop.run(main) == b"abc"


@pytest.mark.parametrize("poller", POLLERS)
def test_a_guest_that_traps_beside_a_parked_one_leaves_it_alone(poller):
    left, right = socket.socketpair()

    def main():
        with Script(stdin=left) as parked, Script() as doomed:
            task = coop.spawn(parked.read, 0)
            coop.pause()
            with pytest.raises(coop.GuestTrap, match="unreachable"):
                doomed.guest.call("trap")
            right.send(b"alive")
            return task.wait()

    with left, right:
        assert coop.run(main, poller=poller) == b"alive"


def test_every_byte_of_a_random_subscription_table_is_survived():
    rng = random.Random(7)

    def act(guest: Script):
        harmless(guest)
        for _ in range(300):
            count = rng.randrange(1, 40)
            table = bytearray(rng.randbytes(48 * count))
            for at in range(0, len(table), 48):
                table[at + 8] = rng.choice((0, 0, 1, 2, 3, 255))
                table[at + 16 : at + 20] = rng.choice((0, 1, 2, 3, 99)).to_bytes(4, "little")
            table[8], table[24:32], table[40:42] = 0, bytes(8), bytes(2)
            table[16:20] = bytes(4)
            guest.put(SUBS, bytes(table))
            assert guest.poll_oneoff(SUBS, IOVS, count, OUT) == "SUCCESS"
            assert 1 <= guest.u32() <= count

    scripted(act, listen=["127.0.0.1:0"], stdin=b"x")


def test_results_that_overlap_what_they_come_from_do_no_harm():
    left, right = socket.socketpair()

    def act(guest: Script):
        right.send(b"x" * 100)
        guest.iovecs((IOVS, 64))
        assert guest.sock_recv(3, IOVS, 1, 0, IOVS + 2, IOVS) == "SUCCESS"
        assert guest.args_sizes_get(OUT, OUT) == "SUCCESS"
        assert guest.args_get(OUT, OUT) == "SUCCESS"
        guest.put(SUBS, fd_sub(1, 2, 3) * 4)
        return guest.poll_oneoff(SUBS, SUBS, 4, SUBS + 16), guest.sched_yield()

    with left, right:
        assert scripted(act, connections=[left]) == ("SUCCESS", "SUCCESS")


def test_the_last_byte_of_memory_can_be_used_and_the_next_one_not():
    taken = bytearray()

    def act(guest: Script):
        guest.put(END - 1, b"!")
        last = guest.fd_write(1, *guest.iovecs((END - 1, 1)), OUT), guest.u32()
        return last, guest.fd_write(1, *guest.iovecs((END - 1, 2)), OUT), guest.random_get(END - 1, 1)

    assert scripted(act, stdout=taken) == (("SUCCESS", 1), "FAULT", "SUCCESS")
    assert taken == b"!"


def test_a_module_without_memory_gets_faults():
    wat = """(module
      (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
      (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
      (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
      (func (export "now") (result i32) (call $now (i32.const 0) (i64.const 0) (i32.const 0)))
      (func (export "yield") (result i32) (call $yield))
      (func (export "read") (result i32) (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)))
      (func (export "poll") (result i32)
        (call $poll (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))))"""

    def main():
        with coop.Guest(coop.Module.from_bytes(wat)) as guest:
            return [guest.call(name) for name in ("now", "yield", "read", "poll")]

    assert coop.run(main) == [21, 0, 21, 21]


def test_a_guest_that_opens_all_it_may_gets_no_more_and_holds_up_nobody(tmp_path):
    (tmp_path / "f").touch()

    def main():
        with Script(dirs=[tmp_path], limits=coop.Limits(fds=50)) as greedy, Script(dirs=[tmp_path]) as modest:
            opened = [greedy.open(3, b"f") for _ in range(100)]
            return opened.count("MFILE"), modest.open(3, b"f")

    assert coop.run(main) == (54, 4)


def test_a_limit_that_is_an_errno_to_the_guest_is_named_to_the_host_once(tmp_path, capsys):
    (tmp_path / "f").touch()
    limits = coop.Limits(fds=5, subscriptions=2)

    def act(guest: Script):
        assert guest.open(3, b"f") == 4
        return {(guest.open(3, b"f"), guest.poll_oneoff(SUBS, DATA, 3, OUT)) for _ in range(20)}

    assert scripted(act, dirs=[tmp_path], limits=limits) == {("MFILE", "INVAL")}
    said = capsys.readouterr().err.splitlines()
    assert [line.split("limit=")[1].split()[0] for line in said] == ["'fds'", "'subscriptions'"]


def test_a_host_that_has_no_descriptor_left_names_its_limit_once_a_guest(tmp_path):
    (tmp_path / "f").touch()
    script = f"""
        import os, resource, socket
        from tests.wasip1.script import Script, scripted
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        def act(guest):
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
            fds = []
            try:
                while True:
                    fds.append(os.dup(0))
            except OSError:
                pass
            print({{(guest.open(4, b"f"), guest.accept()) for _ in range(5)}})
            for fd in fds:
                os.close(fd)
            print(guest.open(4, b"f"), guest.accept())
        with listener, client:
            scripted(act, dirs=[{str(tmp_path)!r}], listen=[listener])
    """
    done = run_child(script)
    assert done.stdout.decode().splitlines() == ["{('MFILE', 'MFILE')}", "5 6"]
    assert done.stderr == (b"coop: warning: limit reached limit='RLIMIT_NOFILE' of='the host' value=100\n")


def test_a_limit_that_leaves_no_room_for_what_is_pre_opened_names_itself_and_leaks_nothing(tmp_path):
    left, right = socket.socketpair()
    with left, right:
        for options in ({"listen": ["127.0.0.1:0"]}, {"connections": [left]}, {"dirs": [tmp_path]}):
            guest = coop.Guest(coop.Module.from_bytes("(module)"), limits=coop.Limits(fds=3), **options)
            with pytest.raises(coop.LimitExceeded, match="fds"):
                coop.run(guest.run)


@pytest.mark.parametrize(
    "call", ["fd_read", "fd_write", "sock_recv", "sock_send", "poll_oneoff", "random_get", "path_open"]
)
def test_nothing_a_guest_asks_for_makes_the_host_allocate_as_much(call):
    """Each count is 2**32 - 1, with addresses in memory; the child may not grow by more than a little."""
    script = f"""
        import socket, tempfile
        from tests.memory import forget_peak, peak
        from tests.wasip1.script import SIGNATURES, Script, scripted
        left, right = socket.socketpair()
        right.send(b"x")
        def act(guest):
            before = forget_peak()
            guest.put(0x100, bytes(65536))
            for fill in (0x100, 0xffffffff):
                for fd in (0, 1, 2, 3, 4):
                    numbers = [fd] + [fill if n % 2 else 0x100 for n in range(len(SIGNATURES[{call!r}]) - 1)]
                    guest.fd_fdstat_set_flags(fd, 4)
                    guest.call({call!r}, *numbers)
                    guest.call({call!r}, *[0x100] * len(SIGNATURES[{call!r}]))
                    guest.call({call!r}, fd, 0x100, *[0xffffffff] * (len(SIGNATURES[{call!r}]) - 2))
            return peak() - before
        with tempfile.TemporaryDirectory() as folder:
            print(scripted(act, connections=[left], dirs=[folder]))
    """
    assert int(run_child(script).stdout) < 20_000


def test_memory_that_grows_while_another_guest_runs_stays_its_own():
    def main():
        with Script(stdin=b"A" * PAGE) as one, Script(stdin=b"B" * PAGE) as two:
            for guest in (one, two, one, two):
                size = guest.guest.call("grow", 1) * PAGE
                assert guest.fd_read(0, *guest.iovecs((size + PAGE - 10, 10)), OUT) == "SUCCESS"
                yield guest.got(size + PAGE - 10, 10)

    assert coop.run(lambda: list(main())) == [b"A" * 10, b"B" * 10, b"A" * 10, b"B" * 10]


@pytest.mark.parametrize("memory", ['(memory (export "memory") 0)', "(memory 1)"])
@pytest.mark.parametrize("name", ["environ_get", "random_get"])
def test_a_write_of_nothing_to_a_memory_of_nothing_succeeds(name, memory):
    text = f"""(module
      (import "wasi_snapshot_preview1" "{name}" (func $f (param i32 i32) (result i32)))
      {memory}
      (func (export "go") (result i32) (call $f (i32.const 0) (i32.const 0))))"""
    guest = coop.Guest(coop.Module.from_bytes(text))
    assert coop.run(lambda: guest.call("go")) == 0
