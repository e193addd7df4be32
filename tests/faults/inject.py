"""Makes each system call of a scenario fail in turn, and each in every way.

Run as `python -m tests.faults.inject SCENARIO POLLER STRIDE [FIRST]`, with the library preloaded.
Of all pairs of a call and a way to fail every STRIDE-th is tried, from the FIRST on, each in a run of
its own: the guest of the scenario is beside another one, which sleeps and must go on.  What is
asked of every run:

1. It ends.
2. The guest is told an errno where something failed, and nothing else is raised.
3. What a kernel does without harm is not seen by the guest at all: a short count, an interrupted
   call, "would block" where somebody can wait.
4. No descriptor and no thread is left.
5. An errno that a function answers stands in its text, or in the one for all functions.
"""

import faulthandler
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import coop
from coop.wasip1 import imports
from coop.wasip1.errno import Errno
from tests.faults.preload import HOWS, Failing
from tests.faults.scenarios import SCENARIOS
from tests.faults.steps import Setting, Transcript
from tests.fuzz.seeds import open_fds
from tests.wasip1.script import Script, clock_sub
from tests.wasip1.test_errnos import errnos_in, named

HANG_S = 20.0
"""How long one run may take on a loaded machine; alone it takes milliseconds."""

ASKED_AGAIN = {
    *("read", "write", "readv", "writev", "recv", "recvfrom", "recvmsg", "send", "sendto", "sendmsg"),
    *("accept4", "epoll_wait", "epoll_pwait2"),
}
"""What may wait, and so say "would block" and mean only that."""

NEVER_INTERRUPTED = {
    *("ioctl", "fcntl", "fcntl64", "epoll_ctl", "fstat", "fstat64", "pthread_create", "socket", "socketpair"),
    *("close", "getsockname", "getsockopt", "setsockopt", "shutdown", "dup", "lseek", "lseek64", "eventfd"),
    *("timer_create", "epoll_create1", "utimensat", "futimens", "mkdirat", "unlinkat"),
    *("renameat", "linkat", "symlinkat", "readlinkat", "posix_fadvise64", "getdents64", "listen", "bind"),
    *("lstat64", "fstatat64", "unlink", "connect"),  # a socket that does not block
}
"""What does not sleep on Linux, or only where no signal ends it; and closing, which closes all the same."""


ANYWHERE = errnos_in(imports.__doc__ or "")
"""What any function may answer."""

ANSWERS = "answers"
"""The step of a transcript that lists each function with each errno that it answered."""


class Noting(Script):
    """A guest whose errnos are written down, by the function that answered them."""

    def __init__(self, **options: Any) -> None:
        self.answers: set[tuple[str, str]] = set()
        super().__init__(**options)

    def call(self, name: str, *numbers: int) -> Any:
        answer = super().call(name, *numbers)
        if answer:
            self.answers.add((name, Errno(answer).name))
        return answer

    def events(self, count: int) -> list[tuple[int, str, int, int, int]]:
        found = super().events(count)
        self.answers |= {("poll_oneoff", event[1]) for event in found if event[1] != "SUCCESS"}
        return found


def beside(stop: list[bool]) -> int:
    """The other guest: sleeps, again and again, until it is told to stop; returns how often."""
    times = 0
    with Script(stdin=b"untouched") as guest:
        while not stop or times < 2:
            assert guest.poll(clock_sub(1, 500_000)) == [(1, "SUCCESS", 0, 0, 0)]
            times += 1
        assert guest.read(0) == b"untouched"
    return times


def work(setting: Setting, failing: Failing, nth: int, how: int) -> Transcript:
    """The main task of a run: one guest works while a call fails, and another one is beside."""
    stop: list[bool] = []
    other = coop.spawn(beside, stop)
    coop.pause()
    try:
        with Noting(**setting.options) as guest:
            with failing.armed(nth, how):
                told = setting.act(guest, failing)
            return told | {ANSWERS: guest.answers}
    finally:
        stop.append(True)
        assert other.wait() >= 2


def whole(setting: Setting, failing: Failing, nth: int, how: int, poller: str) -> Transcript:
    """One run, in which a call fails while the guest works, or from the start if the setting says so."""
    if not setting.from_start:
        return coop.run(work, setting, failing, nth, how, poller=poller)
    with failing.armed(nth, how):
        try:
            return coop.run(work, setting, Failing.idle(), 0, 0, poller=poller)
        except (OSError, coop.CoopError, MemoryError) as error:
            return {"start": repr(error)}


def one_run(name: str, poller: str, failing: Failing, nth: int = 0, how: int = 0) -> Transcript:
    """One run of one scenario, with one failure or none."""
    with SCENARIOS[name]() as setting:
        return whole(setting, failing, nth, how, poller)


def state() -> tuple[list[tuple[int, str]], list[str]]:
    """What must be the same after a run: the open descriptors and the threads."""
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        thread.join(HANG_S / 2)  # one that was reading when the run ended
    fds = [(fd, name.split(":")[0]) for fd, name in sorted(open_fds().items())]
    return fds, sorted(thread.name for thread in threading.enumerate())


def harmless(name: str, how: str) -> bool:
    """Whether a failure of this call must not be seen at all."""
    if how == "EINTR":
        return name not in NEVER_INTERRUPTED
    waits = name in {"epoll_wait", "epoll_pwait2"}
    return how == "short" or waits or (how == "EAGAIN" and name in ASKED_AGAIN)


def check(faultless: Transcript, told: Transcript, name: str, how: str) -> None:
    """Fail unless a guest may be told this when the call `name` fails so."""
    check_texts(told.get(ANSWERS, set()), how if name else "")
    different = {step: got for step, got in told.items() if step != ANSWERS and got != faultless.get(step)}
    if not different:
        return
    assert name, f"nothing failed, and yet: {different}"
    assert not harmless(name, how), f"seen by the guest: {different}"
    first = next(iter(different.values()))
    first = first[0] if isinstance(first, tuple) else first
    # A poll that cannot find out how many bytes there are says one.  One that can get no thread to look at
    # an input with calls it ready: the read tells why not.
    polled = name == "ioctl" or (name == "pthread_create" and isinstance(first, list))
    # What cannot begin says why to the host.
    assert "start" in told or polled or first in Errno.__members__, f"no errno: {different}"


def check_texts(answers: set[tuple[str, str]], how: str) -> None:
    """Fail unless the texts of the functions name the errnos they answered."""
    # No kernel says these two where they are not harmless; what it says is passed on all the same.
    passed_on = {how.removeprefix("E")} & {"INTR", "AGAIN"}
    silent = {
        (function, errno)
        for function, errno in answers
        if errno not in named(function) | ANYWHERE | passed_on
    }
    assert not silent, f"not in the texts: {sorted(silent)}"


def cases(count: int, stride: int, first: int) -> Iterator[tuple[int, str]]:
    """Every so many of all calls and ways to fail."""
    every = [(nth, how) for nth in range(1, count + 1) for how in HOWS]
    return iter(every[first % stride :: stride])


def main(scenario: str, poller: str, stride: int, first: int) -> None:
    """Count the calls of a scenario, then fail them."""
    failing = Failing()
    for _ in range(3):
        faultless = one_run(scenario, poller, failing)
    calls = failing.names()
    check(faultless, faultless, "", "")
    before = state()
    tried = 0
    for nth, how in cases(len(calls), stride, first):
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        os.write(2, b"call %d (%s), %s: " % (nth, calls[nth - 1].encode(), how.encode()))
        try:
            told = one_run(scenario, poller, failing, nth, HOWS[how])
        except coop.BugError:
            # The pollers that are there to be studied ask for a list, and have no second way of waiting.
            assert failing.failed == "ppoll"
            assert how != "EINTR"
            told = faultless
        os.write(2, b"%s\n" % failing.failed.encode())
        check(faultless, told, failing.failed, how)
        after = state()
        assert after == before, f"left behind: {after}, not {before}"
        tried += 1
    faulthandler.cancel_dump_traceback_later()
    sys.stdout.write(f"{scenario}, {poller}: {len(calls)} calls, {tried} failures\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 0)
