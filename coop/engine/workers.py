"""The threads that wasmtime compiles with.

It starts them with the first compile of the process, one for each processor, and keeps them.  If the
system refuses one - a container may have few, and so may a user - it ends the process.  So it is
tried before whether so many are to be had.  If not, it is told to start one alone; and where the share of
processors that a container has is smaller than the number it sees, wasmtime starts no more anyway.
"""

import ctypes as C
import os
import threading
from collections.abc import Callable

_libc = C.PyDLL(None)
_SEM_WAIT = C.cast(_libc.sem_wait, C.c_void_p)
_STACK = 2 << 20
"""Of each, as Rust has it."""

_COUNT = "RAYON_NUM_THREADS"
"""The variable by which it is told how many to start."""

_lock = threading.Lock()
_have_started = False


def require_workers(compile_something: Callable[[], object]) -> None:
    """Raise OSError unless wasmtime's threads run, or the system lets this process have some.

    compile_something -- has wasmtime start them, if they are fewer than it would start
    """
    global _have_started
    with _lock:
        if not _have_started:
            if _try(_count()) != 0:
                if (number := _try(1)) != 0:
                    raise OSError(number, f"start a thread to compile with: {os.strerror(number)}")
                _start_one(compile_something)
            _have_started = True


def _start_one(compile_something: Callable[[], object]) -> None:
    asked = os.environ.get(_COUNT)
    os.environ[_COUNT] = "1"
    try:
        compile_something()
    finally:
        del os.environ[_COUNT]
        if asked is not None:
            os.environ[_COUNT] = asked


def _count() -> int:
    asked = os.environ.get(_COUNT, "")
    return (int(asked) if asked.isdecimal() else 0) or len(os.sched_getaffinity(0))


def _try(count: int) -> int:
    """Start so many threads, which do nothing, and end them; return what refused one, or 0."""
    attributes, semaphore = C.create_string_buffer(256), C.create_string_buffer(64)
    _libc.pthread_attr_init(attributes)
    _libc.pthread_attr_setstacksize(attributes, C.c_size_t(_STACK))
    _libc.sem_init(semaphore, 0, 0)
    threads: list[C.c_ulong] = []
    refused = 0
    while len(threads) < count and not refused:
        thread = C.c_ulong()
        refused = _libc.pthread_create(C.byref(thread), attributes, _SEM_WAIT, semaphore)
        if not refused:
            threads.append(thread)
    for _ in threads:
        _libc.sem_post(semaphore)
    for thread in threads:
        _libc.pthread_join(thread, None)
    return refused
