"""The threads that wasmtime compiles with.

It starts them with the first compile of the process, one for each processor, and keeps them.  If the
system refuses one - a container may have few, and so may a user - it ends the process.  So it is
tried before whether so many are to be had.
"""

import ctypes as C
import os

_libc = C.PyDLL(None)
_SEM_WAIT = C.cast(_libc.sem_wait, C.c_void_p)
_STACK = 2 << 20
"""Of each, as Rust has it."""

_have_started = False


def require_workers() -> None:
    """Raise OSError unless wasmtime's threads run, or the system lets this process have so many more."""
    global _have_started
    if _have_started:
        return
    count = _count()
    if (number := _try(count)) != 0:
        raise OSError(number, f"start {count} threads to compile with: {os.strerror(number)}")
    _have_started = True


def _count() -> int:
    asked = os.environ.get("RAYON_NUM_THREADS", "")
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
