"""What a run with guests leaves behind, and descriptors with large numbers, each in a child of its own."""

import pytest

from tests.engine.wat import in_child
from tests.wasip1.script import POLLERS


@pytest.mark.parametrize("poller", POLLERS)
def test_runs_with_guests_in_every_state_leave_no_descriptor_task_greenlet_or_thread(poller: str):
    in_child(
        f"""
import time
from greenlet import greenlet

text = '''(module (import "h" "wait" (func $wait))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "spin") (loop $l (br $l)))
  (func (export "wait") (call $wait))
  (func (export "read") (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16))))
  (func (export "trap") unreachable)
  (func (export "done")))'''

@coop.host_function("h", "wait")
def wait(caller):
    coop.sleep(1000)

def main():
    m = module(text)
    with coop.listen("127.0.0.1:0") as listener:
        client = coop.connect(listener.address)
        conn = listener.accept()
        for name in ("spin", "wait", "read", "done"):
            coop.spawn(coop.Guest(m, imports=[wait], stdin=conn, listen=["127.0.0.1:0"]).call, name)
        try:
            coop.Guest(m, imports=[wait], dirs=["."]).call("trap")
        except coop.GuestTrap:
            pass
        cancelled = coop.Guest(m, imports=[wait])
        task = coop.spawn(cancelled.call, "wait")
        coop.sleep(0.03)
        cancelled.cancel()
        try:
            task.wait()
        except coop.WasCancelled:
            pass
        client.close()
        conn.close()

def left():
    gc.collect()
    greenlets = [thing for thing in gc.get_objects() if isinstance(thing, greenlet) and not thing.dead]
    tasks = [thing for thing in gc.get_objects() if isinstance(thing, coop.Task)]
    return sorted(os.listdir("/proc/self/fd")), threading.enumerate(), len(greenlets), len(tasks)

def threads():
    return len(os.listdir("/proc/self/task"))

# The first run starts the threads that compile, which belong to the process and stay.
coop.run(main, poller={poller!r})
before, most = left(), threads()
for _ in range(3):
    coop.run(main, poller={poller!r})
for _ in range(1000):
    if threads() <= most:
        break
    time.sleep(0.01)  # a thread that took the end of a slice may be about to end, now and before
assert threads() <= most, (threads(), most)
assert left() == before, (before, left())
assert before[2:] == (1, 0), before  # this thread's own greenlet
"""
    )


@pytest.mark.parametrize("poller", POLLERS)
def test_descriptors_with_numbers_above_1024_are_waited_for(poller: str):
    in_child(
        f"""
import resource

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
assert hard >= 3000, hard
resource.setrlimit(resource.RLIMIT_NOFILE, (3000, hard))
taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]

def main():
    with coop.listen("127.0.0.1:0") as listener:
        client = coop.connect(listener.address)
        server = listener.accept()
        reader = coop.spawn(server.recv)
        coop.sleep(0.001)
        client.sendall(b"x")
        assert reader.wait() == b"x"
        client.close()
        server.close()

coop.run(main, poller={poller!r})
"""
    )


@pytest.mark.parametrize("poller", POLLERS)
def test_bytes_and_the_end_that_come_as_one_event_are_both_read(poller: str):
    in_child(
        f"""
def main():
    with coop.listen("127.0.0.1:0") as listener:
        client = coop.connect(listener.address)
        server = listener.accept()
        reader = coop.spawn(lambda: (server.recv(), server.recv()))
        coop.pause()
        client.sendall(b"last words")
        client.close()
        assert reader.wait() == (b"last words", b"")
        server.close()

coop.run(main, poller={poller!r})
"""
    )


@pytest.mark.parametrize("wait", ["coop.sleep(0.0015)", "coop.run_in_thread(lambda: None)"])
def test_a_kernel_without_waits_in_nanoseconds_waits_in_milliseconds_and_never_too_short(wait: str):
    in_child(
        f"""
import time
from coop.netpoll import epollsys

assert epollsys.HAS_PWAIT2
epollsys.HAS_PWAIT2 = False

def main():
    begin = time.monotonic_ns()
    {wait}
    return time.monotonic_ns() - begin

took = coop.run(main)
assert took >= 1_500_000 or "sleep" not in {wait!r}, took
"""
    )
