"""What a guest asks of its process: arguments, environment, clocks, randomness, the end."""

from collections.abc import Sequence

from coop.engine import AGAIN
from coop.errors import GuestExit
from coop.task import current
from coop.wasip1.abi import U32, U64
from coop.wasip1.errno import Errno
from coop.wasip1.state import Wasi

_pack_u64 = U64.pack_into


def args_get(wasi: Wasi, argv: int, buffer: int) -> int:
    """Store the arguments, each ended by NUL, at `buffer`, and their addresses at `argv`.  Errno: FAULT."""
    return _store_strings(wasi, wasi.args, argv, buffer)


def args_sizes_get(wasi: Wasi, count: int, size: int) -> int:
    """Store the number of arguments and the bytes they need.  Errno: FAULT."""
    return _store_sizes(wasi, wasi.args, count, size)


def environ_get(wasi: Wasi, environ: int, buffer: int) -> int:
    """Store the environment as `args_get` stores the arguments, each "KEY=VALUE".  Errno: FAULT."""
    return _store_strings(wasi, wasi.env, environ, buffer)


def environ_sizes_get(wasi: Wasi, count: int, size: int) -> int:
    """Store the number of environment entries and the bytes they need.  Errno: FAULT."""
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
    """Store a clock's resolution in nanoseconds.  Errno: INVAL no such clock; FAULT."""
    resolution = wasi.clocks.resolution_ns(clock)
    if resolution is None:
        return int(Errno.INVAL)
    wasi.memory.pack(U64, out, resolution)
    return 0


def clock_time_get(wasi: Wasi, clock: int, precision: int, out: int) -> int:
    """Store a clock's time in nanoseconds; `precision` is a hint not needed here.  Errno: INVAL; FAULT."""
    now_ns = wasi.clocks.now_ns(clock)
    if now_ns is None:
        return int(Errno.INVAL)
    memory = wasi.memory
    if out + 8 > memory.size:
        memory.check(out, 8)
    _pack_u64(memory.view, out, now_ns)
    return 0


def random_get(wasi: Wasi, buffer: int, length: int) -> int:
    """Fill `length` bytes with randomness.  Errno: FAULT; INVAL more than one call may move."""
    wasi.memory.check(buffer, length)
    if length > wasi.bytes_per_call:
        wasi.limit_reached("bytes_per_call", wasi.bytes_per_call, length)
        return int(Errno.INVAL)
    wasi.random.fill(wasi.memory.slice(buffer, length))
    return 0


def sched_yield(wasi: Wasi) -> int:
    """Let the other tasks run first.  Errno: none."""
    if wasi.has_yielded:
        wasi.has_yielded = False
        return 0
    wasi.has_yielded = True
    wasi.instance.pending = _pause
    return AGAIN


def _pause() -> None:
    current().pause()


def proc_exit(wasi: Wasi, code: int) -> None:
    """End the guest with an exit code.  Does not return."""
    raise GuestExit(code)


def proc_raise(wasi: Wasi, signal: int) -> int:
    """Answer NOTSUP: a guest has no signals."""
    return int(Errno.NOTSUP)
