"""What a guest asks of its process: arguments, environment, clocks, randomness, the end."""

import struct
from collections.abc import Sequence
from time import monotonic_ns

from coop.errors import GuestExit
from coop.sources import SYSTEM_CLOCKS
from coop.task import Task
from coop.wasip1.abi import U32, U64, ClockId
from coop.wasip1.errno import Errno
from coop.wasip1.state import Wasi

_pack_u64 = U64.pack_into
_CPU_CLOCKS = (int(ClockId.PROCESS_CPUTIME), int(ClockId.THREAD_CPUTIME))
_RANDOM_AT_ONCE = 1 << 18
"""Random bytes made before the others get a turn: about a millisecond's worth."""


def args_get(wasi: Wasi, argv: int, buffer: int) -> int:
    """Store the arguments, each ended by NUL, at `buffer`, and their addresses at `argv`.  Errno: FAULT."""
    return _store_strings(wasi, wasi.args, argv, buffer)


def args_sizes_get(wasi: Wasi, count: int, size: int) -> int:
    """Store the number of arguments at `count`, and at `size` the bytes they need, each with a NUL.

    Errno: FAULT an address outside memory.
    """
    return _store_sizes(wasi, wasi.args, count, size)


def environ_get(wasi: Wasi, environ: int, buffer: int) -> int:
    """Store the environment as `args_get` stores the arguments, each "KEY=VALUE".

    environ, buffer -- where the addresses go, and where the texts do
    Errno: FAULT an address outside memory.
    """
    return _store_strings(wasi, wasi.env, environ, buffer)


def environ_sizes_get(wasi: Wasi, count: int, size: int) -> int:
    """Store the number of environment entries at `count`, and at `size` the bytes they need.

    Errno: FAULT an address outside memory.
    """
    return _store_sizes(wasi, wasi.env, count, size)


def _store_strings(wasi: Wasi, strings: Sequence[bytes], pointers: int, buffer: int) -> int:
    data = b"".join(text + b"\0" for text in strings)
    addresses = bytearray()
    at = buffer
    for text in strings:
        addresses += U32.pack(at & 0xFFFFFFFF)
        at += len(text) + 1
    wasi.memory.check(pointers, len(addresses))
    wasi.memory.write(buffer, data)
    wasi.memory.write(pointers, addresses)
    return 0


def _store_sizes(wasi: Wasi, strings: Sequence[bytes], count: int, size: int) -> int:
    wasi.memory.check(count, 4)
    wasi.memory.pack(U32, size, sum(len(text) + 1 for text in strings))
    wasi.memory.pack(U32, count, len(strings))
    return 0


def clock_res_get(wasi: Wasi, clock: int, out: int) -> int:
    """Store a clock's resolution in nanoseconds.

    Errno: INVAL no such clock; FAULT an address outside memory.
    """
    resolution = wasi.clocks.resolution_ns(clock)
    if resolution is None:
        return int(Errno.INVAL)
    wasi.memory.pack(U64, out, resolution)
    return 0


def clock_time_get(wasi: Wasi, clock: int, precision: int, out: int) -> int:
    """Store a clock's time in nanoseconds, as exact as it is; a guest may ask for less by `precision`.

    The two CPU clocks tell how long this guest has computed, host calls included, if the guest's
    `Clocks` do not say otherwise: what its process does besides is not its business.
    Errno: INVAL no such clock; FAULT an address outside memory.
    """
    now_ns: int | None
    if clock == 1 and wasi.clocks is SYSTEM_CLOCKS:  # nearly all calls there are
        now_ns = monotonic_ns()
    else:
        now_ns = wasi.clocks.now_ns(clock)
        if now_ns is None:
            if clock not in _CPU_CLOCKS:
                return int(Errno.INVAL)
            now_ns = wasi.instance.cpu_now_ns()
    memory = wasi.memory
    try:
        _pack_u64(memory.view, out, now_ns)
    except struct.error:  # it ends behind what the view covers
        memory.pack(U64, out, now_ns)
    return 0


def random_get(wasi: Wasi, buffer: int, length: int) -> int:
    """Fill `length` bytes at `buffer` with randomness, however many: the others run in between.

    Errno: FAULT an address outside memory, none of it filled; what a replaced source raises as an OSError.
    """
    begin, wasi.filled = wasi.filled, 0
    if begin == 0:
        wasi.memory.check(buffer, length)
    end = min(begin + _RANDOM_AT_ONCE, length)
    wasi.random.fill(wasi.memory.slice(buffer + begin, end - begin))
    if end == length:
        return 0
    wasi.filled = end
    return wasi.instance.suspend(wasi.instance)


def sched_yield(wasi: Wasi) -> int:
    """Let the other tasks run first.  Errno: none."""
    if wasi.has_yielded:
        wasi.has_yielded = False
        return 0
    wasi.has_yielded = True
    return wasi.instance.suspend(_TURN)


class _Turn:
    """Stands for the turn of everybody who is ready."""

    def wait(self, task: Task) -> None:
        """Yield."""
        task.pause()


_TURN = _Turn()


def proc_exit(wasi: Wasi, code: int) -> None:
    """End the guest with an exit code.  Does not return."""
    raise GuestExit(code)


def proc_raise(wasi: Wasi, signal: int) -> int:
    """Answer NOTSUP, whatever `signal` is: a guest has no signals.

    Errno: NOTSUP always.
    """
    return int(Errno.NOTSUP)
