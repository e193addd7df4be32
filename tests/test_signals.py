"""Signals while a run lasts: ^C from every state, handlers of the user's, and what is restored."""

import asyncio
import signal
import socket
import sys
import textwrap
import threading

import pytest

import coop
from tests.children import run_child

#: Presses ^C when the main thread waits in the kernel, which no flag could tell.
ASLEEP = """
    import coop, os, signal, sys, threading

    WAITS = {7, 232, 271, 281, 441, 22, 73}  # poll, epoll_wait, ppoll, epoll_pwait, epoll_pwait2

    def main_is_in_a_wait():
        with open(f"/proc/self/task/{os.getpid()}/syscall") as file:
            number = file.read().split()[0]
        return number != "running" and int(number) in WAITS

    def interrupt_when_asleep(number=signal.SIGINT):
        def press():
            while not main_is_in_a_wait():
                pass
            os.kill(os.getpid(), number)

        threading.Thread(target=press, daemon=True).start()

    def expect(error, main, **kwargs):
        try:
            coop.run(main, **kwargs)
        except BaseException as raised:
            assert type(raised) is error, repr(raised)
            print("as expected")

    def module(text):
        return coop.Module.from_bytes(text, cache=False)
"""


def child(code: str) -> str:
    done = run_child(f"{ASLEEP}\n{code}")
    assert done.stderr == b""
    return done.stdout.decode()


@pytest.mark.seed("B11")
@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_an_interrupt_ends_the_idle_wait_of_every_poller(poller: str):
    code = f"""
    def main():
        interrupt_when_asleep()
        coop.sleep(1000)

    expect(KeyboardInterrupt, main, poller="{poller}")
    """
    assert child(code) == "as expected\n"


def test_an_interrupt_ends_a_run_that_waits_for_a_descriptor():
    code = """
    def main():
        with coop.listen("127.0.0.1:0") as listener:
            interrupt_when_asleep()
            listener.accept()

    expect(KeyboardInterrupt, main)
    """
    assert child(code) == "as expected\n"


def test_an_interrupt_ends_a_guest_that_computes():
    code = """
    spin = module('(module (func (export "_start") (loop $l (br $l))))')

    def main():
        task = coop.spawn(coop.Guest(spin).run)
        coop.pause()
        coop.spawn(signal.raise_signal, signal.SIGINT)
        task.wait()

    expect(KeyboardInterrupt, main)
    """
    assert child(code) == "as expected\n"


def test_an_interrupt_ends_a_guest_that_computes_on_the_main_task():
    code = """
    spin = module('(module (func (export "_start") (loop $l (br $l))))')

    def main():
        coop.spawn(signal.raise_signal, signal.SIGINT)
        coop.Guest(spin).run()

    expect(KeyboardInterrupt, main)
    """
    assert child(code) == "as expected\n"


def test_an_interrupt_ends_a_guest_that_waits_in_an_import():
    code = """
    @coop.host_function("h", "sleep")
    def sleep(caller):
        interrupt_when_asleep()
        coop.sleep(1000)

    waits = module('(module (import "h" "sleep" (func $s)) (func (export "_start") (call $s)))')
    expect(KeyboardInterrupt, lambda: coop.Guest(waits, imports=[sleep]).run())
    """
    assert child(code) == "as expected\n"


def test_an_interrupt_in_a_host_call_that_does_not_park_is_not_lost():
    code = """
    @coop.host_function("h", "f", parks=False)
    def f(caller):
        if not calls:
            signal.raise_signal(signal.SIGINT)
        calls.append(1)

    calls = []
    loops = module('(module (import "h" "f" (func $f)) (func (export "_start") (loop $l (call $f) (br $l))))')
    expect(KeyboardInterrupt, lambda: coop.Guest(loops, imports=[f]).run())
    """
    assert child(code) == "as expected\n"


def test_a_second_interrupt_ends_a_main_task_that_never_parks():
    code = """
    def main():
        signal.raise_signal(signal.SIGINT)
        print("the first waits for a park")
        signal.raise_signal(signal.SIGINT)
        print("never")

    expect(KeyboardInterrupt, main)
    """
    assert child(code) == "the first waits for a park\nas expected\n"


def test_an_interrupt_that_comes_too_late_for_any_park_still_comes_out():
    code = """
    expect(KeyboardInterrupt, lambda: signal.raise_signal(signal.SIGINT))
    """
    assert child(code) == "as expected\n"


def test_an_interrupt_that_main_had_no_park_left_for_still_comes_out():
    code = """
    def main():
        me = coop.current()

        def press():
            signal.raise_signal(signal.SIGINT)
            coop.pause()
            me.wake()  # it has been given the interrupt by now

        coop.spawn(press)
        try:
            me.park("the test")
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)

    expect(KeyboardInterrupt, main)
    """
    assert child(code) == "as expected\n"


def test_an_interrupt_that_main_took_is_over():
    code = """
    def main():
        try:
            coop.spawn(signal.raise_signal, signal.SIGINT)
            coop.sleep(1000)
        except KeyboardInterrupt:
            coop.sleep(0.001)
        return "went on"

    print(coop.run(main))
    """
    assert child(code) == "went on\n"


def test_an_interrupt_comes_out_as_itself_through_a_group_whose_task_fails_meanwhile():
    code = """
    def stubborn():
        try:
            coop.sleep(1000)
        finally:
            raise ValueError("cleanup")

    def main():
        with coop.TaskGroup() as group:
            group.spawn(stubborn)
            coop.spawn(signal.raise_signal, signal.SIGINT)

    expect(KeyboardInterrupt, main)
    """
    assert child(code) == "as expected\n"


def test_everything_is_cleaned_up_after_an_interrupt():
    code = """
    before = set(os.listdir("/proc/self/fd"))

    def other():
        with coop.listen("127.0.0.1:0") as listener:
            listener.accept()

    def main():
        coop.spawn(other)
        coop.spawn(signal.raise_signal, signal.SIGINT)
        coop.sleep(1000)

    expect(KeyboardInterrupt, main)
    assert set(os.listdir("/proc/self/fd")) == before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    """
    assert child(code) == "as expected\n"


# -- handlers of the user's


@pytest.mark.parametrize("parks", [True, False])
def test_a_handler_that_raises_is_never_lost_in_a_host_call_and_harms_nothing(parks: bool):
    code = f"""
    class Alarm(Exception):
        pass

    calls = caught = 0

    def handler(number, frame):
        raise Alarm

    @coop.host_function("h", "f", params=["i32"], results=["i32"], parks={parks})
    def f(caller, x):
        global calls
        calls += 1
        if calls == 50:
            signal.setitimer(signal.ITIMER_REAL, 1e-6 + caught * 8e-6)
        return 7

    loops = module('''(module (import "h" "f" (func $f (param i32) (result i32)))
      (func (export "go") (loop $again
        (if (i32.ne (call $f (i32.const 1)) (i32.const 7)) (then unreachable))
        (br $again))))''')

    def main():
        global calls, caught
        for _ in range(40):
            calls = 0
            with coop.Guest(loops, imports=[f]) as guest:
                try:
                    guest.call("go")
                except Alarm:
                    caught += 1

    signal.signal(signal.SIGALRM, handler)
    coop.run(main)
    assert caught == 40
    assert signal.getsignal(signal.SIGALRM) is handler
    """
    child(code)


def test_a_handler_that_raises_while_the_run_is_idle_ends_the_wait_of_main():
    code = """
    def handler(number, frame):
        sys.exit(3)

    def main():
        interrupt_when_asleep(signal.SIGTERM)
        coop.sleep(1000)

    signal.signal(signal.SIGTERM, handler)
    expect(SystemExit, main)
    """
    assert child(code) == "as expected\n"


def test_a_handler_that_raises_in_host_code_raises_right_there():
    code = """
    def handler(number, frame):
        raise ValueError("here")

    def main():
        try:
            signal.raise_signal(signal.SIGUSR1)
        except ValueError:
            print("at once")

    signal.signal(signal.SIGUSR1, handler)
    coop.run(main)
    """
    assert child(code) == "at once\n"


def test_a_handler_that_raises_while_a_thread_is_started_breaks_nothing_off():
    """The alarm goes off sooner and later; most of the time a thread is being started, by `threading`."""
    code = """
    from coop.scheduler import scheduler

    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    def main():
        for microseconds in [*range(30, 530, 5)] * 3:
            try:
                signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
                while True:
                    coop.run_in_thread(int)
            except Alarm:
                pass
            while scheduler().outside_jobs > 0:
                coop.pause()
            coop.pause()
            assert scheduler().outside_jobs == 0
        print("all were counted")

    signal.signal(signal.SIGALRM, ring)
    coop.run(main)
    """
    assert child(code) == "all were counted\n"


def test_what_a_handler_raises_while_a_time_out_ends_is_not_lost():
    code = """
    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    def hear(microseconds):
        signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
        for _ in range(100_000):
            try:
                with coop.Timeout(0), coop.Timeout(0):
                    coop.pause()
            except coop.DeadlineExceeded:
                pass
        sys.exit("an alarm was lost")

    def main():
        for microseconds in range(50, 550):
            try:
                hear(microseconds)
            except Alarm:
                pass
        print("all were heard")

    signal.signal(signal.SIGALRM, ring)
    coop.run(main)
    """
    assert child(code) == "all were heard\n"


def test_what_a_handler_raises_while_a_task_ends_is_raised_in_it_or_in_main_soon():
    code = """
    class Alarm(Exception):
        pass

    def ring(*_):
        fired.append(1)
        raise Alarm

    def nothing():
        pass

    def spawn_many(microseconds):
        signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
        while len(fired) < expected:
            for _ in range(20):
                tasks.append(coop.spawn(nothing))
                tasks[-1].observe()
            coop.pause()
            coop.pause()

    def count(error):
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                count(each)
        elif isinstance(error, Alarm):
            heard.append(error)

    def main():
        global expected
        for round in range(3000):
            expected = round + 1
            try:
                spawn_many(50 + round % 300)
                coop.pause()
            except Alarm as error:
                count(error)
            for task in tasks:
                if task.error is not None:
                    count(task.error)
            tasks[:] = [task for task in tasks if not task.is_done]

    fired, heard, tasks, expected = [], [], [], 0
    signal.signal(signal.SIGALRM, ring)
    coop.run(main)
    print(len(fired), len(heard) - len(fired))
    """
    assert child(code) == "3000 0\n"


@pytest.mark.parametrize("by", ["a function of its own", "the library at once"])
def test_a_handler_that_raises_in_a_library_that_a_task_calls_raises_right_there(by):
    def handler(*_):
        raise KeyError("at once")

    def signal_in_the_library(frame, event, _arg):
        if event == "call" and frame.f_code is textwrap.dedent.__code__:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGUSR1)

    def main():
        task = coop.spawn(textwrap.dedent, "") if by == "the library at once" else coop.spawn(call)
        sys.setprofile(signal_in_the_library)
        with pytest.raises(KeyError, match="at once"):
            task.wait()

    def call():
        textwrap.dedent("")
        pytest.fail("it went on")

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        coop.run(main)
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    "by", ["group.spawn({}); coop.sleep(1000)", "coop.spawn({}).observe(); coop.sleep(1000)"]
)
@pytest.mark.parametrize("busy", ["spins.run", "press"])
def test_a_handlers_exit_ends_the_program_whichever_task_it_comes_to(by: str, busy: str):
    code = f"""
    def press():
        os.kill(os.getpid(), signal.SIGTERM)
        coop.sleep(1000)

    def main():
        spins = coop.Guest(module('(module (func (export "_start") (loop $again (br $again))))'))
        with coop.TaskGroup() as group:
            if {busy!r} == "spins.run":
                threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
            {by.format(busy)}

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(3))
    expect(SystemExit, main)
    """
    assert child(code) == "as expected\n"


def test_what_a_handler_raises_that_is_no_exception_of_a_task_is_an_exit_too():
    code = """
    class Overdue(BaseException):
        pass

    def handler(number, frame):
        raise Overdue

    def main():
        spins = coop.Guest(module('(module (func (export "_start") (loop $again (br $again))))'))
        coop.spawn(spins.run).observe()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        coop.sleep(1000)

    signal.signal(signal.SIGALRM, handler)
    expect(Overdue, main)
    """
    assert child(code) == "as expected\n"


def test_a_second_exit_is_raised_where_it_comes_while_the_first_is_on_its_way():
    code = """
    def main():
        coop.spawn(never_parks)
        coop.sleep(1000)

    def never_parks():
        try:
            signal.raise_signal(signal.SIGTERM)
            print("one is on its way")
            signal.raise_signal(signal.SIGTERM)
        except SystemExit:
            print("two")

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(3))
    expect(SystemExit, main)
    """
    assert child(code) == "one is on its way\ntwo\nas expected\n"


def test_a_handler_that_does_not_raise_runs_as_ever():
    code = """
    def main():
        coop.spawn(signal.raise_signal, signal.SIGUSR1)
        coop.sleep(0.001)

    signal.signal(signal.SIGUSR1, lambda number, frame: print("signal", number == signal.SIGUSR1))
    coop.run(main)
    """
    assert child(code) == "signal True\n"


def test_a_call_that_a_handler_comes_after_fails_with_what_it_failed_with():
    code = """
    import ctypes, errno

    def main():
        ctypes.set_errno(errno.EAGAIN)
        signal.raise_signal(signal.SIGUSR1)
        assert ctypes.get_errno() == errno.EAGAIN
        print("as it was")

    def handler(number, frame):
        ctypes.set_errno(errno.EPIPE)  # by a call of its own that fails
        print("handled")

    signal.signal(signal.SIGUSR1, handler)
    coop.run(main)
    """
    assert child(code) == "handled\nas it was\n"


def test_a_users_own_handler_for_interrupts_stays_in_charge():
    code = """
    def main():
        coop.spawn(signal.raise_signal, signal.SIGINT)
        coop.sleep(0.001)
        print("went on")

    signal.signal(signal.SIGINT, lambda number, frame: print("mine"))
    coop.run(main)
    """
    assert child(code) == "mine\nwent on\n"


def test_a_handler_installed_during_the_run_is_guarded_once_a_guest_starts():
    code = """
    def main():
        signal.signal(signal.SIGUSR1, handler)
        coop.Guest(empty).run()
        guarded.append(signal.getsignal(signal.SIGUSR1))

    def handler(number, frame):
        pass

    empty, guarded = module('(module (func (export "_start")))'), []
    coop.run(main)
    assert guarded[0] is not handler
    assert signal.getsignal(signal.SIGUSR1) is handler
    """
    child(code)


# -- what is restored, and what is left alone


def test_handler_and_wakeup_descriptor_are_restored():
    read, write = socket.socketpair()
    write.setblocking(False)
    with read, write:
        before = signal.set_wakeup_fd(write.fileno())
        try:
            coop.run(lambda: None)
            assert signal.set_wakeup_fd(before) == write.fileno()
        finally:
            signal.set_wakeup_fd(before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_they_are_restored_when_main_fails():
    before = signal.set_wakeup_fd(-1)
    with pytest.raises(ZeroDivisionError):
        coop.run(lambda: 1 / 0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(before) == -1


@pytest.mark.parametrize("parks", [True, False])
def test_the_loop_around_a_run_hears_of_a_signal_that_came_during_it(parks: bool):
    said: list[str] = []

    def main() -> None:
        signal.raise_signal(signal.SIGTERM)
        if parks:
            coop.sleep(0.001)

    async def around() -> None:
        heard = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, heard.set)
        coop.run(main)  # without a park it ends before anybody looks at its descriptor of signals
        await asyncio.wait_for(heard.wait(), 60)
        said.append("heard")

    asyncio.run(around())
    assert said == ["heard"]


def test_a_handler_that_main_replaced_is_left_as_main_wants_it():
    def mine(number: int, frame: object) -> None:
        pass

    try:
        coop.run(lambda: signal.signal(signal.SIGINT, mine))
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(
    ("number", "error"), [("SIGINT", "KeyboardInterrupt()"), ("SIGTERM", "SystemExit(7)")]
)
def test_a_handler_that_main_replaced_can_be_put_back_after_the_run(number: str, error: str):
    code = f"""
    number = signal.{number}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    found = []
    coop.run(lambda: found.append(signal.signal(number, signal.SIG_IGN)))
    signal.signal(number, *found)
    try:
        signal.raise_signal(number)
    except BaseException as raised:
        print(repr(raised))

    @coop.host_function("h", "f", params=[], results=[], parks=False)
    def f(caller):
        signal.raise_signal(number)

    text = '(module (import "h" "f" (func $f)) (func (export "_start") (call $f)))'

    def main():
        coop.Guest(module(text), imports=[f]).run()
        coop.sleep(1000)

    try:
        coop.run(main)
    except BaseException as raised:
        print(repr(raised))
    """
    assert child(code) == f"{error}\n{error}\n"


@pytest.mark.parametrize(
    ("number", "error"), [("SIGINT", "KeyboardInterrupt()"), ("SIGTERM", "SystemExit(7)")]
)
@pytest.mark.parametrize("where", ["fork()", "coop.spawn(fork).wait()", "coop.run_in_thread(fork)"])
def test_a_process_forked_during_a_run_has_its_signals_to_itself(where: str, number: str, error: str):
    code = f"""
    def fork():
        if (pid := os.fork()) == 0:
            try:
                signal.raise_signal(signal.{number})
            except BaseException as raised:
                print(repr(raised), signal.set_wakeup_fd(-1), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)

    def main():
        {where}
        interrupt_when_asleep(signal.{number})
        coop.sleep(1000)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    try:
        coop.run(main)
    except BaseException as raised:
        print(repr(raised))
    """
    assert child(code) == f"{error} -1\n{error}\n"


def test_in_another_thread_no_handler_is_touched():
    seen: list[object] = []

    def main() -> None:
        seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=coop.run, args=(main,))
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.parametrize("fails", ["unreachable", "nop"])
def test_a_handlers_exit_during_a_host_call_is_not_lost_to_what_the_guest_does_next(fails: str):
    code = f"""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))

    @coop.host_function("h", "f", parks=False)
    def f(caller):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(100_000):
            pass

    text = '(module (import "h" "f" (func $f)) (func (export "go") (call $f) {fails}))'
    expect(SystemExit, lambda: coop.Guest(module(text), imports=[f]).call("go"))
    """
    assert child(code) == "as expected\n"


def test_an_interrupt_is_not_lost_to_what_a_main_task_raises_that_never_parks():
    code = """
    def main():
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100_000):
            pass
        raise ValueError("unrelated")

    expect(KeyboardInterrupt, main)
    """
    assert child(code) == "as expected\n"


@pytest.mark.parametrize("busy", [False, True], ids=["parked", "computing"])
def test_a_handler_may_cancel_a_task_at_any_moment(busy: bool):
    done = run_child(
        f"""
        import signal
        import coop

        SPIN = '(module (func (export "_start") (loop $l (br $l))))'
        module = coop.Module.from_bytes(SPIN, cache=False)
        victims = []
        signal.signal(signal.SIGALRM, lambda *_: [victim.cancel() for victim in victims])

        def naps():
            while True:
                coop.sleep(1e-5)
                coop.pause()

        def main():
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            for _ in range(300 if {busy} else 3000):
                calls = [coop.Guest(module).run for _ in range(3)] if {busy} else [naps]
                victims[:] = [coop.spawn(call) for call in calls]
                for victim in list(victims):
                    victim.observe()
                    try:
                        victim.wait()
                    except coop.WasCancelled:
                        pass
            signal.setitimer(signal.ITIMER_REAL, 0)
            print("fine")

        coop.run(main)
        """
    )
    assert done.stdout == b"fine\n"
