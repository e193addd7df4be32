"""What the fuzzers share: the row of seeds, said before each is used, and the check for descriptors."""

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator


def seeds(first: int) -> Iterator[int]:
    """Count from `first`, and say each number: the last one said is the one that failed."""
    seed = first
    while True:
        os.write(2, b"seed %d\n" % seed)
        yield seed
        seed += 1


def play(one_run: Callable[[int], object], seconds: float, first: int) -> None:
    """Run with one seed after the other until the time is over, and look for descriptors after each."""
    end = time.monotonic() + seconds
    before: dict[int, str] = {}
    for runs, seed in enumerate(seeds(first), 1):
        one_run(seed)
        before = before or open_fds()
        check_fds(before)
        if time.monotonic() > end:
            sys.stdout.write(f"{runs} runs\n")
            return


def open_fds() -> dict[int, str]:
    """Each open descriptor with what it is."""
    fds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            fds[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the one that the listing itself used
    return fds


def check_fds(before: dict[int, str]) -> None:
    """Fail if descriptors are open that were not before; the garbage collector may help.

    A helper thread whose guest was cancelled ends in its own time, and has a descriptor of its own.
    """
    gc.collect()
    for thread in set(threading.enumerate()) - {threading.current_thread()}:
        thread.join(10)
    left = open_fds().items() - before.items()
    if left:
        sys.exit(f"descriptors left open: {sorted(left)}")
