"""Guests, threads and processes: what is shared, what is refused, and who holds the GIL."""

import threading

import pytest

import coop
from tests.children import run_child
from tests.engine.wat import in_child, module


def test_two_schedulers_in_two_threads_with_guests_that_hammer_each_checks_its_own_memory():
    in_child(
        """
text = '''(module (import "h" "check" (func $check (param i32) (result i32)))
  (import "h" "nap" (func $nap))
  (memory (export "memory") 1)
  (func (export "go") (param $me i32) (result i32) (local $i i32)
    (i32.store (i32.const 0) (local.get $me))
    (loop $again
      (if (i32.ne (call $check (local.get $me)) (local.get $me)) (then unreachable))
      (if (i32.ne (i32.load (i32.const 0)) (local.get $me)) (then unreachable))
      (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 50))) (then (call $nap)))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
    (i32.load (i32.const 0))))'''

@coop.host_function("h", "check", params=["i32"], results=["i32"], parks=False)
def check(caller, me):
    return int.from_bytes(caller.memory.read(0, 4), "little")

@coop.host_function("h", "nap")
def nap(caller):
    coop.sleep(0.00001)

m = module(text)  # one module for both

def main(base):
    tasks = [coop.spawn(coop.Guest(m, imports=[check, nap]).call, "go", base + i) for i in range(20)]
    assert [task.wait() for task in tasks] == [base + i for i in range(20)]
    print("checked")

sys.setswitchinterval(1e-4)
threads = [threading.Thread(target=coop.run, args=(main, 1000 * n)) for n in (1, 2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    )


def test_a_guest_used_from_another_thread_is_refused_by_name():
    errors: list[BaseException] = []

    def main() -> None:
        guest = coop.Guest(module('(module (func (export "go")))'), name="mine")
        guest.call("go")

        def use() -> None:
            for call in (lambda: coop.run(guest.call, "go"), guest.close):
                try:
                    call()
                except BaseException as error:
                    errors.append(error)

        coop.run_in_thread(use)
        guest.call("go")
        guest.close()

    coop.run(main)
    assert [type(error) for error in errors] == [coop.WrongThread] * 2
    assert all("guest mine" in str(error) for error in errors)


def test_of_threads_that_use_a_new_guest_at_once_one_has_it_and_the_others_are_told():
    done = in_child(
        """
m = module('(module (func (export "go") (result i32) (i32.const 7)) (func (export "_start")))')
sys.setswitchinterval(1e-6)

def call(guest):
    return guest.call("go")

USES = [
    *(lambda guest, act=act: coop.run(act, guest) for act in (call, coop.Guest.run, coop.Guest.start)),
    coop.Guest.close, coop.Guest.cancel, call,
]

def use(guest, how, gate):
    gate.wait()
    try:
        how(guest)
        used.append(how)
    except (coop.CoopError, coop.BugError):
        used.append(None)

for n in range(600):
    guest, gate, used = coop.Guest(m), threading.Barrier(3), []
    hows = [USES[n % 6], *random.choices(USES, k=2)]
    threads = [threading.Thread(target=use, args=(guest, how, gate)) for how in hows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(used) == 3, "a thread got an error that nobody meant"
    assert sum(how in USES[:3] for how in used) <= 1, used
    assert call not in used, "outside any run"
print("told")
"""
    )
    assert done.stdout == b"told\n", done.stderr


def test_a_module_is_shared_by_threads():
    m = module('(module (func (export "go") (result i32) (i32.const 6)))')
    seen: list[int] = []

    def run() -> None:
        seen.append(coop.run(lambda: coop.Guest(m).call("go")))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [6] * 4


@pytest.mark.parametrize("parks", [True, False])
def test_host_calls_and_a_busy_python_thread_both_get_on(parks: bool):
    """The guest makes its calls while the thread counts, and the thread counts while the guest calls."""
    counted = 0
    stop = threading.Event()
    seen: list[int] = []

    def count() -> None:
        nonlocal counted
        while not stop.is_set():
            counted += 1

    @coop.host_function("h", "f", parks=parks)
    def f(_caller: coop.Caller) -> None:
        if not seen or counted > seen[-1]:
            seen.append(counted)

    text = """(module (import "h" "f" (func $f)) (func (export "go") (param i32)
      (loop $l (call $f) (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"""

    def main() -> None:
        with coop.Guest(module(text), imports=[f]) as guest:
            while len(seen) < 4:
                guest.call("go", 1000)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        coop.run(main)
    finally:
        stop.set()
        thread.join()
    assert seen == sorted(set(seen))


def test_a_python_thread_gets_on_beside_a_guest_that_only_computes():
    started = threading.Event()
    guests: list[coop.Guest] = []

    def elsewhere() -> None:
        started.wait()
        guests[0].cancel()

    def main() -> None:
        guests.append(coop.Guest(module('(module (func (export "_start") (loop $l (br $l))))')))
        thread = threading.Thread(target=elsewhere)
        thread.start()
        task = coop.spawn(guests[0].run)
        coop.pause()
        started.set()
        with pytest.raises(coop.WasCancelled):
            task.wait()
        thread.join()

    coop.run(main)


FORK = """
def child(call):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            print(call())
        except BaseException as error:
            print(type(error).__name__, error)
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

text = '''(module (func (export "go") (param i32) (result i32) (local $i i32)
  (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get 0))))
  (local.get $i)))'''
"""


def test_a_forked_child_compiles_and_runs_modules_of_its_own():
    done = in_child(
        FORK
        + """
assert run_call(text, "go", 1000) == 1000
child(lambda: run_call(text, "go", 100_000_000))  # long enough to be pre-empted on the way
assert run_call(text, "go", 2000) == 2000
"""
    )
    assert done.stdout == b"100000000\n"


def test_a_guest_that_spins_in_a_forked_child_is_preempted_there():
    done = in_child(
        FORK
        + """
spin = '(module (func (export "_start") (loop $l (br $l))))'

def spin_and_cancel():
    def main():
        guest = coop.Guest(module(spin))
        task = coop.spawn(guest.run)
        coop.sleep(0.001)
        guest.cancel()
        try:
            task.wait()
        except coop.WasCancelled:
            return "preempted"
    return coop.run(main)

assert spin_and_cancel() == "preempted"
child(spin_and_cancel)
"""
    )
    assert done.stdout == b"preempted\n"


def test_a_module_from_before_a_fork_is_refused_in_the_child():
    done = in_child(
        FORK
        + """
m = module(text)
child(lambda: coop.run(lambda: coop.Guest(m).call("go", 1)))
"""
    )
    assert done.stdout.startswith(b"WrongThread")
    assert b"compiled before a fork" in done.stdout


def test_a_guest_from_before_a_fork_is_refused_in_the_child_and_lives_on_in_the_parent():
    done = in_child(
        FORK
        + """
def main():
    guest = coop.Guest(module(text))
    guest.call("go", 1)
    child(lambda: guest.call("go", 1))
    child(guest.close)
    print(guest.call("go", 5))

coop.run(main)
"""
    )
    first, second, third = done.stdout.decode().splitlines()
    assert first.startswith("WrongThread")
    assert second.startswith("WrongThread")
    assert third == "5"


@pytest.mark.parametrize(
    ("parks", "said"),
    [(True, "7"), (False, "BugError begin a run: this process was forked in a host function")],
)
def test_a_child_forked_in_a_host_function_has_runs_of_its_own_unless_it_stands_on_a_guest(parks, said):
    done = in_child(
        FORK
        + f"""
@coop.host_function("h", "f", params=[], results=[], parks={parks})
def f(caller):
    child(lambda: run_call(text, "go", 7))

calls = module('(module (import "h" "f" (func $f)) (func (export "go") (call $f)))')

def main():
    coop.Guest(calls, imports=[f]).call("go")
    print("parent lives")

coop.run(main)
"""
    )
    first, second = done.stdout.decode().splitlines()
    assert first.startswith(said)
    assert second == "parent lives"


FORKS = """
text = '(module (func (export "go") (loop $l (br $l))))'

def beside(count):
    for _ in range(2):
        coop.spawn(coop.Guest(module(text)).call, "go").observe()
    for _ in range(count):
        coop.sleep(0.001)

def main():
    for _ in range(2):
        coop.spawn(coop.Guest(module(text)).call, "go").observe()
    prepare()
    for _ in range(FORKS):
        coop.sleep(random.random() * 0.003)
        child = os.fork()
        if not child:
            try:
                thread = threading.Thread(target=lambda: (coop.run(beside, 5), os._exit(7)))
                thread.start()
                thread.join()
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        coop.sleep(0.001)
"""


def test_forks_at_any_moment_of_a_busy_guests_slices_leave_both_sides_working():
    """The C library's thread of timers holds a lock now and then, which a child would find held for ever."""
    in_child(FORKS + "FORKS, prepare = 25, int\ncoop.run(main)\n")


def test_a_fork_waits_for_the_thread_of_timers_however_late_it_is():
    done = in_child(
        FORKS
        + """
import subprocess
from pathlib import Path

FORKS = 60

def waits(thread):
    try:
        return "sigtimedwait" in (thread / "wchan").read_text()
    except OSError:
        return False  # it has ended

def prepare():
    late = None
    while not late:
        coop.sleep(0.001)
        late = next((task.name for task in Path("/proc/self/task").iterdir() if waits(task)), None)
    command = [sys.executable, "-m", "tests.engine.slowed", late, "0.0018", "0.03"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tracer:
        tracer.returncode = 0  # it ends with us
        if tracer.stdout.readline() != b"holding\\n":
            print("refused")
            os._exit(0)

coop.run(main)
print("ended")
"""
    )
    if done.stdout == b"refused\n":
        pytest.skip("no thread may be traced here: it takes root, or kernel.yama.ptrace_scope = 0")
    assert done.stdout == b"ended\n"


def test_a_thread_forks_while_others_run_busy_guests():
    """Threads that get the processor at every step arm timers between all that a fork has to prepare."""
    in_child(
        """
SPIN = '(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))'
sys.setswitchinterval(1e-4)

def in_the_child():
    try:
        coop.Guest(module(SPIN), limits=coop.Limits(cpu_time=0.02)).run()
    except coop.LimitExceeded:
        return 7

def main():
    guest = coop.Guest(module(SPIN))
    coop.spawn(guest.run).observe()
    for _ in range(15):
        coop.sleep(0.005)
        child = os.fork()
        if child == 0:
            os._exit(coop.run(in_the_child))
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            coop.sleep(0.005)
        assert os.waitstatus_to_exitcode(status) == 7, status
    guest.cancel()
    done.append(1)

done = []
threads = [threading.Thread(target=coop.run, args=(main,)) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert done == [1, 1, 1]
assert sys.getswitchinterval() < 1e-3
"""
    )


def test_a_guest_that_gets_the_gil_while_another_thread_prepares_a_fork_gives_it_back():
    """The fork has seen to it that no slice ends meanwhile; but for ever is too long."""
    run_child(
        """
import os, threading, time

in_the_guest, prepared = threading.Event(), threading.Event()

def give_up_the_gil():
    prepared.set()
    time.sleep(0.05)

os.register_at_fork(before=give_up_the_gil)  # it comes after what coop prepares, which is imported later
import coop

@coop.host_function("h", "wait", params=[], results=[], parks=False)
def wait(caller):
    in_the_guest.set()
    assert prepared.wait(30)

TEXT = '(module (import "h" "wait" (func $wait)) (func (export "go") (call $wait) (loop $l (br $l))))'

def main():
    spins = coop.Module.from_bytes(TEXT, cache=False)
    try:
        coop.Guest(spins, imports=[wait], limits=coop.Limits(cpu_time=0.05)).call("go")
    except coop.LimitExceeded:
        ended.append(1)

ended = []
thread = threading.Thread(target=coop.run, args=(main,))
thread.start()
assert in_the_guest.wait(30)
child = os.fork()
if not child:
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
thread.join()
assert ended == [1]
""",
        timeout=60,
    )


def test_a_fork_leaves_the_shots_of_a_busy_guest_repeating_until_it_has_resumed():
    """One shot that came while another thread had the GIL would have been the only one for seconds."""
    in_child(
        """
import time
from coop.engine.slices import Slices

SPIN = '(module (func (export "go") (loop $l (br $l))))'
begin_busy, about_to_resume, forked, times = Slices.begin_busy, threading.Event(), threading.Event(), []

def begin(slices, *, is_watched):
    begin_busy(slices, is_watched=is_watched)
    times.append(time.monotonic())
    if len(times) == 5:
        about_to_resume.set()
        assert forked.wait(30)
        time.sleep(0.02)
        times[-1] = time.monotonic()

def main():
    try:
        coop.Guest(module(SPIN), limits=coop.Limits(cpu_time=0.05)).call("go")
    except coop.LimitExceeded:
        times.append(time.monotonic())

Slices.begin_busy = begin
Slices.may_release = lambda slices: False
least = []
for _ in range(3):
    times.clear()
    about_to_resume.clear()
    forked.clear()
    thread = threading.Thread(target=coop.run, args=(main,))
    thread.start()
    assert about_to_resume.wait(30)
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    forked.set()
    thread.join()
    least.append(times[5] - times[4])
assert min(least) < 1, least
"""
    )


def test_threads_that_all_fork_prepare_it_one_after_the_other():
    """Each waits for the others, not for ever, and the GIL is shared as before in the end."""
    in_child(
        """
def main():
    guest = coop.Guest(module('(module (func (export "go") (loop $l (br $l))))'))
    coop.spawn(guest.call, "go").observe()
    for _ in range(20):
        coop.sleep(0.002)
        child = os.fork()
        if not child:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    guest.cancel()
    done.append(1)

def fork_in_a_handler(number, frame):
    child = os.fork()
    if not child:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    handled.append(1)
    signal.setitimer(signal.ITIMER_REAL, random.random() * 0.03)

done, handled, interval = [], [], sys.getswitchinterval()
signal.signal(signal.SIGALRM, fork_in_a_handler)
signal.setitimer(signal.ITIMER_REAL, 0.001)
threads = [threading.Thread(target=coop.run, args=(main,)) for _ in range(2)]
for thread in threads:
    thread.start()
coop.run(main)
for thread in threads:
    thread.join()
signal.setitimer(signal.ITIMER_REAL, 0)
assert done == [1, 1, 1]
assert len(handled) > 1
assert sys.getswitchinterval() == interval
"""
    )


AT_EVERY_LINE = """
from coop.engine.config import engine_for
from coop.engine.preempt import SLICE_NS, Ticker

def at_every_line(of, call, act):
    '''Call `call` again and again, and `act` before one of the lines of the functions `of`: each in turn.'''
    codes = {each.__code__ for each in of}
    line = 0
    while True:
        line, steps = line + 1, 0

        def local(frame, event, argument):
            nonlocal steps
            steps += event == "line"
            if event == "line" and steps == line:
                act()
            return local

        sys.settrace(lambda frame, event, argument: local if frame.f_code in codes else None)
        try:
            call()
        finally:
            sys.settrace(None)
        if steps < line:
            return

said = []
sys.unraisablehook = lambda told: said.append(repr(told.exc_value))
"""


def test_a_fork_while_another_threads_timers_are_made_or_taken_back_finds_them_in_order():
    in_child(
        AT_EVERY_LINE
        + """
def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)

def use():
    Ticker(engine_for(), SLICE_NS).close()

at_every_line([Ticker.__init__, Ticker.close], use, fork)
assert not said, said
"""
    )


def test_timers_that_another_thread_takes_back_just_after_a_fork_trouble_nobody():
    in_child(
        AT_EVERY_LINE
        + """
def go_on():
    global ticker
    ticker = Ticker(engine_for(), SLICE_NS)
    ticker.go_on()

at_every_line([Ticker.go_on, Ticker.arm], go_on, lambda: ticker.close())
"""
    )


def test_a_handler_of_signals_that_raises_at_a_fork_leaves_the_gil_shared_and_lets_others_fork():
    """The interpreter tells of what a hook raises, and forks all the same."""
    done = in_child(
        AT_EVERY_LINE
        + """
from coop.engine import quiet

HOOKS = [quiet._before_fork, quiet._after_fork, quiet._end_fork, quiet._share_the_gil,
         quiet._put_off, quiet.TimerThread.await_quiet, Ticker.put_off, Ticker.go_on, Ticker.arm]
ticker, interval = Ticker(engine_for(), SLICE_NS), sys.getswitchinterval()

def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert sys.getswitchinterval() == interval
    thread = threading.Thread(target=lambda: free.append(quiet._forking.acquire(blocking=False)))
    thread.start()
    thread.join()
    assert free.pop(), "other threads would wait"
    quiet._forking = threading.RLock()  # that thread has kept the other one

def raise_it():
    raise KeyboardInterrupt

free = []
at_every_line(HOOKS, fork, raise_it)
assert len(said) > 20, said
print("shared")
"""
    )
    assert done.stdout == b"shared\n"
