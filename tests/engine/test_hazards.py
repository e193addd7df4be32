"""What would end the process, each once: greenlets switching, garbage, order of deletion, stacks, memory.

Every test runs in a child, because Python cannot catch what it is about: a panic in
wasmtime is SIGABRT, a stale address SIGSEGV.
"""

import platform
import signal

import pytest

import coop
from tests.engine.wat import call, in_child

WAITER = """
waits = module('''(module (import "h" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "go") (param i32) (result i32) (local $i i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $wait (local.get 0))))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5))))
    (local.get $sum)))''')
"""


@pytest.mark.parametrize("order", ["first in, first out", "last in, first out", "random"])
def test_guests_that_wait_in_imports_may_end_in_any_order(order: str):
    in_child(
        f"""
{WAITER}
order = "{order}"
parked = {{}}

@coop.host_function("h", "wait", params=["i32"], results=["i32"])
def wait(caller, i):
    parked[i] = coop.current()
    coop.current().park("its turn")
    return i

def main():
    count = 300
    guests = [coop.Guest(waits, imports=[wait]) for _ in range(count)]
    tasks = [coop.spawn(guest.call, "go", i) for i, guest in enumerate(guests)]
    chance = random.Random(1)
    while not all(task.is_done for task in tasks):
        coop.pause()
        numbers = sorted(parked)
        if order == "last in, first out":
            numbers.reverse()
        elif order == "random":
            chance.shuffle(numbers)
        for i in numbers:
            parked.pop(i).wake()
            if order == "random" and chance.random() < 0.3:
                coop.pause()
    assert [task.wait() for task in tasks] == [5 * i for i in range(count)]

coop.run(main)
"""
    )


def test_guests_are_cancelled_at_random_while_others_wait():
    in_child(
        f"""
{WAITER}
@coop.host_function("h", "wait", params=["i32"], results=["i32"])
def wait(caller, i):
    coop.sleep(0.0001 * (i % 7))
    return i

def main():
    chance = random.Random(2)
    for _ in range(5):
        guests = [coop.Guest(waits, imports=[wait]) for _ in range(100)]
        tasks = [coop.spawn(guest.call, "go", i) for i, guest in enumerate(guests)]
        coop.sleep(0.0003)
        for guest in chance.sample(guests, 50):
            guest.cancel()
        for i, task in enumerate(tasks):
            try:
                assert task.wait() == 5 * i
            except coop.WasCancelled:
                pass
        for guest in guests:
            guest.close()

coop.run(main)
"""
    )


def test_a_collection_inside_a_host_call_meets_tasks_in_cycles():
    in_child(
        """
@coop.host_function("h", "collect", parks=False)
def collect(caller):
    gc.collect()

text = '(module (import "h" "collect" (func $c)) (func (export "go") (call $c) (call $c)))'

def cyclic():
    me = coop.current()
    cycle = [me]
    cycle.append(cycle)
    coop.sleep(1000)

def main():
    guest = coop.Guest(module(text), imports=[collect])
    for _ in range(50):
        coop.spawn(cyclic)
    coop.pause()
    guest.call("go")
    guest.close()

gc.disable()
coop.run(main)
"""
    )


@pytest.mark.parametrize(
    "attempt",
    [
        "coop.sleep(0.001)",
        "coop.pause()",
        "coop.spawn(print).wait()",
        "coop.Guest(other).call('go')",
        "coop.Guest(other).run()",
        "coop.TaskGroup().__enter__()",
        "coop.run(lambda: None)",
        "coop.run_in_thread(lambda: None)",
        "coop.connect(listener.address).recv()",
        "idle.call('go')",
        "caller.guest.call('go')",
        "caller.guest.close()",
        "caller.guest.wait()",
    ],
)
def test_nothing_that_would_switch_gets_through_on_a_guests_fiber(attempt: str):
    done = in_child(
        f"""
other = module('(module (func (export "go")) (func (export "_start")))')

@coop.host_function("h", "f", parks=False)
def f(caller):
    try:
        {attempt}
    except (coop.BugError, coop.Busy):
        print("refused")
        raise

def busy():
    for _ in range(5):
        coop.pause()

def main():
    global idle, listener
    listener = coop.listen("127.0.0.1:0")
    idle = coop.Guest(other)
    idle.call("go")
    coop.spawn(busy)
    call('(module (import "h" "f" (func $f)) (func (export "go") (call $f)))', imports=[f])

try:
    coop.run(main)
except (coop.BugError, coop.Busy) as error:
    print("and out of the call")
""",
    )
    assert done.stdout == b"refused\nand out of the call\n"


@pytest.mark.parametrize("parks", [True, False])
def test_a_guest_may_be_ended_by_its_own_host_function(parks: bool):
    in_child(
        f"""
@coop.host_function("h", "f", parks={parks})
def f(caller):
    caller.guest.cancel()

try:
    run_call('(module (import "h" "f" (func $f)) (func (export "go") (call $f)))', imports=[f])
except coop.WasCancelled:
    sys.exit(5)
""",
        expect=5,
    )


def test_a_run_that_ends_with_guests_in_every_state_ends_cleanly():
    in_child(
        """
text = '''(module (import "h" "wait" (func $wait)) (memory (export "memory") 1)
  (func (export "spin") (loop $l (br $l)))
  (func (export "wait") (call $wait))
  (func (export "done")))'''

@coop.host_function("h", "wait")
def wait(caller):
    coop.sleep(1000)

def main():
    m = module(text)
    for name in ["spin", "wait", "done"] * 3:
        coop.spawn(coop.Guest(m, imports=[wait]).call, name)
    coop.Guest(m, imports=[wait]).call("done")
    coop.spawn(coop.Guest(m, imports=[wait]).call, "done")
    coop.Guest(m, imports=[wait])
    coop.pause()

for _ in range(5):
    coop.run(main)
"""
    )


@pytest.mark.parametrize("end", ["guest.close()", "turn()"], ids=["close", "wall time"])
def test_an_export_of_the_whole_memory_keeps_no_guest_from_its_end(end: str):
    done = in_child(
        f"""
from pickle import PickleBuffer
from tests.engine.wat import by_hand
kept = []

@coop.host_function("h", "f", parks=False)
def f(caller):
    kept.append(PickleBuffer(caller.memory.view))

def main(clock):
    m = module('(module (import "h" "f" (func $f)) (memory (export "memory") 1)'
      '(data (i32.const 0) "still here") (func (export "go") (call $f)))')
    guest = coop.Guest(m, imports=[f], limits=coop.Limits(wall_time=0.05))
    guest.call("go")

    def turn():
        clock.advance(50_000_000)
        for _ in range(3):
            coop.pause()

    {end}
    assert guest.state.value == "ended"
    print(bytes(kept[0])[:10].decode())

by_hand(main)
"""
    )
    assert done.stdout == b"still here\n"


def test_a_slice_of_memory_that_somebody_keeps_outlives_its_guest():
    done = in_child(
        """
kept = []

@coop.host_function("h", "f", parks=False)
def f(caller):
    kept.append(caller.memory.slice(0, 10))

text = '''(module (import "h" "f" (func $f)) (memory (export "memory") 1) (data (i32.const 0) "still here")
  (func (export "go") (call $f)))'''
run_call(text, imports=[f])
gc.collect()
print(bytes(kept[0]).decode())
kept.clear()
run_call(text, imports=[f])
"""
    )
    assert done.stdout == b"still here\n"


def test_a_view_of_the_whole_memory_is_released_with_the_guest():
    done = in_child(
        """
kept = []

@coop.host_function("h", "f", parks=False)
def f(caller):
    kept.append(caller.memory.view)

run_call('''(module (import "h" "f" (func $f)) (memory (export "memory") 1)
  (func (export "go") (call $f)))''', imports=[f])
try:
    kept[0][0]
except ValueError:
    print("released")
"""
    )
    assert done.stdout == b"released\n"


def test_a_caller_kept_beyond_its_guest_has_no_memory():
    done = in_child(
        """
kept = []

@coop.host_function("h", "f")
def f(caller):
    kept.append(caller)

run_call('''(module (import "h" "f" (func $f)) (memory (export "memory") 1)
  (func (export "go") (call $f)))''', imports=[f])
try:
    kept[0].memory.read(0, 1)
except coop.OutOfBounds:
    print("out of bounds")
"""
    )
    assert done.stdout == b"out of bounds\n"


def test_an_exception_kept_from_a_host_call_holds_its_store_only_as_long_as_it_lives():
    in_child(
        """
from coop.engine.memory import _kept

kept = []

@coop.host_function("h", "f", parks=False)
def f(caller):
    part = caller.memory.slice(0, 4)
    raise ValueError("with the slice in its frame")

text = '''(module (import "h" "f" (func $f)) (memory (export "memory") 1)
  (func (export "go") (call $f)))'''

def main():
    for _ in range(20):
        try:
            call(text, imports=[f])
        except ValueError as error:
            kept.append(error)

coop.run(main)
assert len(_kept) == 20, len(_kept)
kept.clear()
gc.collect()
run_call('(module (func (export "go")))')
assert _kept == []
"""
    )


@pytest.mark.parametrize("kind", ["v128", "funcref", "externref"])
def test_a_module_with_types_that_cannot_be_passed_is_loaded_and_its_calls_refused(kind: str):
    done = in_child(
        f"""
m = module('(module (import "h" "f" (func (param {kind}))) (func (export "g") (param {kind})))')
print(m.exports["g"][0][0], m.imports[0].type[0][0])
m = module('(module (func (export "g") (param {kind})))')
try:
    coop.run(lambda: coop.Guest(m).call("g", 1))
except coop.LinkError as error:
    print(error)
"""
    )
    first, second = done.stdout.decode().splitlines()
    assert first == f"{kind} {kind}"
    assert f"type {kind}, which coop cannot pass" in second


@pytest.mark.parametrize(
    "text",
    [
        '(module (func (export "f") (param anyref)))',
        '(module (type $s (struct (field i32))) (func (export "f") (param (ref null $s))))',
        '(module (func (export "f") (param exnref)))',
        '(module (tag (export "t") (param i32)))',
        '(module (type $f (func)) (func (export "f") (param (ref $f))))',
        '(module (global (export "g") anyref (ref.null any)))',
        "(module (memory i64 1))",
        "(module (memory 1) (memory 1))",
        "(module (type $f (func)) (type $c (cont $f)) (func (param (ref null $c))))",
    ],
)
def test_a_module_that_needs_what_is_switched_off_is_a_bad_module(text: str):
    done = in_child(
        f"""
try:
    module('''{text}''')
except coop.BadModule as error:
    print("bad module")
"""
    )
    assert done.stdout == b"bad module\n"


def test_a_shared_memory_is_refused_by_name():
    done = in_child(
        """
try:
    coop.run(lambda: coop.Guest(module('(module (memory 1 1 shared) (func (export "_start")))')).run())
except coop.LinkError as error:
    print(error)
"""
    )
    assert b"shared memory" in done.stdout


@pytest.mark.parametrize("parks", [True, False])
@pytest.mark.parametrize("stack", [4096, 64 << 10, 512 << 10, 8 << 20])
def test_recursion_to_the_end_of_the_stack_is_a_trap_wherever_the_host_is_called(stack: int, parks: bool):
    done = in_child(
        f"""
deepest = 0

@coop.host_function("h", "f", params=["i32"], parks={parks})
def f(caller, depth):
    global deepest
    deepest = depth

m = module('''(module (import "h" "f" (func $f (param i32)))
  (func $go (export "go") (param i32)
    (call $f (local.get 0))
    (call $go (i32.add (local.get 0) (i32.const 1)))
    (call $f (local.get 0))))''', max_wasm_stack={stack})
try:
    coop.run(lambda: coop.Guest(m, imports=[f]).call("go", 1))
except coop.GuestTrap as trap:
    print(trap.message, deepest > 0)
"""
    )
    assert done.stdout == b"call stack exhausted True\n"


@pytest.mark.parametrize("size", [0, 1, 4095, (256 << 20) + 1, 1 << 62, -1])
def test_a_silly_stack_size_is_bad_usage(size: int):
    done = in_child(
        f"""
try:
    module("(module)", max_wasm_stack={size})
except ValueError as error:
    print(error)
"""
    )
    assert done.stdout.startswith(b"max-wasm-stack %d:" % size)


RECURSIONS = {
    "plain functions": "def deep(n): return deep(n + 1)",
    "sort keys": "def deep(n): return sorted([n], key=lambda n: deep(n + 1))",
    "maps": "def deep(n): return list(map(lambda n: deep(n + 1), [n]))",
    "reprs": "class R:\n    def __repr__(self): return '%r' % [self]\ndef deep(n): return repr(R())",
    "regular expressions": "import re\ndef deep(n): return re.sub('x', lambda m: deep(n + 1), 'x')",
    "attributes": (
        "class A:\n    def __getattr__(self, name): return getattr(A(), 'x')\ndef deep(n): return A().x"
    ),
    "nested lists": (
        "nested = []\nfor _ in range(100_000): nested = [nested]\ndef deep(n): return repr(nested)"
    ),
}


@pytest.mark.parametrize("how", RECURSIONS)
def test_a_host_function_that_recurses_without_end_meets_pythons_limit_first(how: str):
    done = in_child(
        f"""
{RECURSIONS[how]}

@coop.host_function("h", "f", parks=False)
def f(caller):
    deep(0)

# The guest takes most of its own stack first.
text = '''(module (import "h" "f" (func $f))
  (func $go (export "go") (param i32)
    (if (i32.eqz (local.get 0)) (then (call $f)) (else (call $go (i32.sub (local.get 0) (i32.const 1)))))))'''
try:
    coop.run(lambda: call(text, "go", 5000, imports=[f]))
except RecursionError:
    print("limited")
sys.stdout.flush()
os._exit(0)  # taking the nested list apart is not what is tested
"""
    )
    assert done.stdout == b"limited\n"


@pytest.mark.parametrize("parks", [True, False])
def test_a_guest_called_at_the_very_end_of_pythons_stack_is_never_given_garbage(parks: bool):
    in_child(
        f"""
@coop.host_function("h", "f", params=["i32"], results=["i32"], parks={parks})
def f(caller, x):
    return 7

text = '''(module (import "h" "f" (func $f (param i32) (result i32)))
  (func (export "go") (result i32) (call $f (i32.const 1))))'''

def deep(n, guest):
    return deep(n - 1, guest) if n else guest.call("go")

def main():
    m, seen = module(text), set()
    for n in range(900, 1000):
        with coop.Guest(m, imports=[f]) as guest:
            assert guest.call("go") == 7
            try:
                seen.add(deep(n, guest))
            except RecursionError:
                seen.add("limit")
    assert seen == {{7, "limit"}}, seen

coop.run(main)
"""
    )


HANDLERS = {
    "faulthandler enabled": "faulthandler.disable(), faulthandler.enable(devnull)",
    "faulthandler disabled": "faulthandler.disable()",
    "a handler in Python": "[signal.signal(number, print) for number in (4, 7, 8, 11)]",
}


@pytest.mark.parametrize("when", ["before the first engine", "before the run", "before the guest"])
@pytest.mark.parametrize("what", HANDLERS)
def test_a_trap_is_a_trap_whoever_took_the_signals_meanwhile(when: str, what: str):
    def taken(at: str) -> str:
        return HANDLERS[what] if when == at else "pass"

    in_child(
        f"""
import faulthandler
devnull = open("/dev/null", "w")
faulthandler.enable(devnull)
{taken("before the first engine")}
m = module('(module (memory 1) (func (export "u") unreachable)'
  ' (func (export "o") (drop (i32.load (i32.const 0x7fffffff))))'
  ' (func (export "d") (drop (i32.div_u (i32.const 1) (i32.const 0)))))')
{taken("before the run")}

def main():
    coop.Guest(m).start()
    {taken("before the guest")}
    for name in "uod":
        try:
            coop.Guest(m).call(name)
        except coop.GuestTrap:
            continue
        sys.exit("no trap")

coop.run(main)
"""
    )


def test_a_handler_stays_where_wasmtime_has_none():
    free = [signal.SIGBUS, *([signal.SIGFPE] if platform.machine() == "aarch64" else [])]
    done = in_child(
        f"""
m = module('(module (func (export "go")))')
got, free = [], {[*map(int, free)]}
for number in free:
    signal.signal(number, lambda number, frame: got.append(number))
coop.run(lambda: coop.Guest(m).call("go"))
for number in free:
    signal.raise_signal(number)
assert got == free, got
"""
    )
    assert done.stderr == b""


@pytest.mark.parametrize("names", [["parks", "spins", "calls"], ["parks"], ["calls"], []])
def test_a_scheduler_that_still_runs_in_a_daemon_thread_at_exit_does_no_harm(names: list[str]):
    done = in_child(
        f"""
import time
running = threading.Event()

@coop.host_function("h", "f", parks=False)
def f(caller):
    pass

@coop.host_function("h", "w")
def w(caller):
    coop.sleep(0)

text = '''(module (import "h" "f" (func $f)) (import "h" "w" (func $w))
  (func (export "calls") (loop $l (call $f) (br $l)))
  (func (export "parks") (loop $l (call $w) (br $l)))
  (func (export "spins") (loop $l (br $l))))'''

def main():
    m = module(text)
    for name in {names}:
        coop.spawn(coop.Guest(m, imports=[f, w]).call, name)
    running.set()
    while True:
        coop.sleep(0.0001)

threading.Thread(target=coop.run, args=(main,), daemon=True).start()
running.wait()
time.sleep(0.05)
"""
    )
    assert done.stderr == b""


def test_daemon_threads_that_run_again_and_again_do_no_harm_at_exit_and_do_not_hold_it_up():
    done = in_child(
        """
sys.modules["coop.run"]._PATIENCE_S = 1000
began = [threading.Event() for _ in range(3)]
m = module('(module (func (export "spins") (loop $l (br $l))))')

def main(event):
    event.set()
    coop.Guest(m).call("spins")

def keep_alive(event):
    while True:
        try:
            coop.run(main, event)
        except BaseException:
            pass

for event in began:
    threading.Thread(target=keep_alive, args=(event,), daemon=True).start()
for event in began:
    event.wait()
"""
    )
    assert done.stderr == b""


@pytest.mark.parametrize("goes_on", ["coop.sleep(0.0001)", 'coop.Guest(m).call("spins")'])
def test_a_main_task_in_a_daemon_thread_that_takes_every_exception_does_no_harm_at_exit(goes_on: str):
    done = in_child(
        f"""
running = threading.Event()
m = module('(module (func (export "spins") (loop $l (br $l))))')

def main():
    coop.spawn(coop.Guest(m).call, "spins").observe()
    coop.spawn(running.set)
    while True:
        try:
            {goes_on}
        except BaseException:
            pass

threading.Thread(target=coop.run, args=(main,), daemon=True).start()
running.wait()
"""
    )
    assert done.stderr == b""


@pytest.mark.parametrize("where", ["the first slice", "a later slice", "a slice after a park"])
def test_a_shot_that_is_over_before_a_guest_resumes_does_not_let_it_run_for_ever(where: str):
    """The processor is taken away between the arming of the slice's end and the guest's resumption."""
    in_child(
        f"""
import time
import coop
import coop.engine.slices as slices

taken = []

def stalled(arm):
    def run(*args, **kwargs):
        arm(*args, **kwargs)
        if stall and not taken:
            taken.append(1)
            time.sleep(0.03)
    return run

first, busy = slices.Slices.begin, slices.Slices.begin_busy
slices.Slices.begin, slices.Slices.begin_busy = stalled(first), stalled(busy)
stall = {where!r} == "the first slice"
nap = {where!r} == "a slice after a park"
text = '''(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "go")
    (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 30000000))
    (if (i32.const %d) (then (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))
    (loop $l (br $l))))''' % nap

def main():
    global stall
    task = coop.spawn(coop.Guest(coop.Module.from_bytes(text)).call, "go")
    task.observe()
    for _ in range(5):
        coop.pause()
    stall = True
    while not taken:  # somebody is always ready, so that the guest parks and does not wait in place
        coop.pause()
    coop.sleep(0.05)

coop.run(main)
"""
    )


SEVEN = '(module (memory (export "memory") 1) (func (export "go") (result i32) (i32.const 7)))'
PLAIN = f"plain = module({SEVEN!r})"


def test_a_guest_that_was_refused_its_start_on_a_fiber_is_never_called_half_made():
    done = in_child(
        f"""
{PLAIN}
@coop.host_function("h", "f", parks=False)
def f(caller):
    try:
        idle.call("go")
    except coop.BugError:
        print("refused")

def main():
    global idle
    idle = coop.Guest(plain)
    call('(module (import "h" "f" (func $f)) (func (export "go") (call $f)))', imports=[f])
    try:
        idle.call("go")
    except coop.CoopError as error:
        print("ended" in str(error))

coop.run(main)
"""
    )
    assert done.stdout == b"refused\nTrue\n"


def test_a_guest_whose_start_met_the_limit_of_recursion_is_never_called_half_made():
    in_child(
        f"""
{PLAIN}
def deep(n, guest):
    return deep(n - 1, guest) if n else guest.call("go")

def main():
    seen = set()
    for n in range(850, 1000):
        with coop.Guest(plain) as guest:
            try:
                deep(n, guest)
            except RecursionError:
                pass
            try:
                seen.add(guest.call("go"))
            except coop.CoopError:
                seen.add("ended")
    assert seen == {{7, "ended"}}, seen

coop.run(main)
"""
    )


def test_garbage_that_runs_another_guest_does_not_come_between_a_guest_and_its_host_calls():
    done = in_child(
        """
@coop.host_function("h", "who", results=["i32"], parks=False)
def who(caller):
    return 1 if caller.guest is one else 2

@coop.host_function("h", "wait")
def wait(caller):
    coop.pause()

text = '''(module (import "h" "who" (func $who (result i32))) (import "h" "wait" (func $wait))
  (func (export "short") (call $wait) (drop (call $who)))
  (func (export "go") (result i32) (local $i i32)
    (loop $l
      (call $wait)
      (if (i32.ne (call $who) (i32.const 1)) (then (return (i32.const -1))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
    (i32.const 7)))'''

class Litter:
    def __init__(self):
        self.me = self

    def __del__(self):
        try:
            two.call("short")
        except (coop.CoopError, coop.BugError):
            pass

def main():
    global one, two
    m = module(text)
    one, two = coop.Guest(m, imports=[who, wait]), coop.Guest(m, imports=[who, wait])
    two.call("short")

    def litter():
        while True:
            Litter()
            coop.pause()

    coop.spawn(litter)
    gc.set_threshold(1)
    print(one.call("go"))

coop.run(main)
"""
    )
    assert done.stdout == b"7\n"


def test_guests_that_end_in_several_threads_at_once_all_end_cleanly():
    in_child(
        f"""
{PLAIN}
errors = []

def worker():
    def main():
        for _ in range(1000):
            with coop.Guest(plain) as guest:
                guest.call("go")

    try:
        coop.run(main)
    except BaseException as error:
        errors.append(error)

sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=worker) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert errors == [], errors
"""
    )


def test_an_error_that_cannot_be_shown_stops_nobody():
    done = in_child(
        """
class Dark(Exception):
    def __repr__(self):
        raise ValueError("no")

@coop.host_function("h", "f", parks=False)
def f(caller):
    raise Dark

def fail():
    raise Dark

def main():
    text = '(module (import "h" "f" (func $f)) (func (export "_start") (call $f)))'
    guest = coop.Guest(module(text), imports=[f])
    waiter = coop.spawn(guest.wait)
    coop.spawn(fail)
    coop.pause()
    for attempt in (guest.run, waiter.wait):
        try:
            attempt()
        except Dark:
            print("dark")

try:
    coop.run(main)
except BaseExceptionGroup as group:
    print(len(group.exceptions))
"""
    )
    assert done.stdout == b"dark\ndark\n1\n"


@pytest.mark.parametrize("name", ["cpu_time", "wall_time"])
def test_a_time_that_is_no_number_is_no_limit_and_one_without_end_is(name: str):
    with pytest.raises(ValueError, match=name):
        coop.Limits(**{name: float("nan")})
    assert call(SEVEN, limits=coop.Limits(**{name: float("inf")})) == 7


def test_a_limit_of_memory_beyond_all_numbers_is_none_and_a_fraction_is_refused():
    with pytest.raises(ValueError, match="whole number"):
        coop.Limits(memory=0.5)
    assert call(SEVEN, limits=coop.Limits(memory=1 << 64)) == 7


def test_host_functions_made_for_each_guest_go_with_it():
    in_child(
        """
from coop.engine.border import Border

m = module('(module (import "h" "f" (func $f)) (func (export "go") (call $f)))')

def main():
    for _ in range(150):
        with coop.Guest(m, imports=[coop.HostFunction("h", "f", (), (), lambda _: None)]) as guest:
            guest.call("go")
            border = guest._instance._border
    assert len(border._linkages) <= 32, len(border._linkages)

coop.run(main)
"""
    )


def test_what_the_log_raises_at_the_end_of_a_run_keeps_nothing_open():
    done = in_child(
        """
import structlog

def refuse(*_):
    raise SystemExit("from a processor of the log")

def main():
    m = module('(module (func (export "spin") (loop $l (br $l))) (func (export "go")))')
    coop.Guest(m).call("go")
    try:
        coop.Guest(m, limits=coop.Limits(cpu_time=0.05)).call("spin")
    except coop.LimitExceeded:
        pass
    structlog.configure(processors=[refuse])

before = len(os.listdir("/proc/self/fd"))
try:
    coop.run(main)
except SystemExit as error:
    structlog.reset_defaults()
    print(error, threading.active_count(), len(os.listdir("/proc/self/fd")) - before)
"""
    )
    assert done.stdout.endswith(b"from a processor of the log 1 0\n")
