"""What Go's TCP echo costs at least where each host call is a callback into Python.

Here reading and writing have no rights, no limits and no errors, and know sockets alone. But whoever answers
a guest's `fd_read` and `fd_write` in Python fetches the arguments, makes the system call and stores the
result. The rest - the poll, the tasks, Go itself - is coop's as ever. What coop takes beyond this server is
its own work on those two calls.
"""

import struct
import sys
from collections.abc import Callable
from typing import Any

import coop
from coop.engine import border
from coop.engine.marshal import compile_raw, space
from coop.engine.memory import Memory
from coop.netpoll.contract import READ
from coop.wasip1.errno import Errno

Trampoline = Callable[[int, int, int], int]

_AGAIN = int(Errno.AGAIN)
_fetch = struct.Struct("<I12xI12xI12xI12x").unpack_from
_answer = struct.Struct("<i").pack_into
_iovec = struct.Struct("<II").unpack_from
_store = struct.Struct("<I").pack_into


def _buffer(memory: Memory, iovs: int, result: int) -> tuple[int, int]:
    """Return where the guest's buffer is and how long; a memory that has grown is looked at anew."""
    size = memory.size
    if iovs + 8 > size or result + 4 > size:
        memory.check(max(iovs, result), 4)
    start, length = _iovec(memory.view, iovs)
    if start + length > memory.size:
        memory.check(start, length)
    return start, length


def _read(cell: Any) -> Trampoline:
    def fd_read(_env: int, _caller: int, at: int) -> int:
        fd, iovs, _, nread = _fetch(space, at)
        wasi = cell.state
        file = wasi.fds[fd].reads
        if not file.ready & READ:  # known since a read got less than it asked for
            _answer(space, at, _AGAIN)
            return 0
        memory = wasi.memory
        start, room = _buffer(memory, iovs, nread)
        try:
            count = file.sock.recv_into(memory.view[start : start + room])
        except BlockingIOError:
            file.ready &= ~READ
            _answer(space, at, _AGAIN)
            return 0
        if count < room:
            file.ready &= ~READ
        _store(memory.view, nread, count)
        _answer(space, at, 0)
        return 0

    return fd_read


def _write(cell: Any) -> Trampoline:
    def fd_write(_env: int, _caller: int, at: int) -> int:
        fd, iovs, _, nwritten = _fetch(space, at)
        wasi = cell.state
        memory = wasi.memory
        start, count = _buffer(memory, iovs, nwritten)
        sent = wasi.fds[fd].writes.sock.send(memory.view[start : start + count])
        _store(memory.view, nwritten, sent)
        _answer(space, at, 0)
        return 0

    return fd_write


_BARE = {"fd_read": _read, "fd_write": _write}


def _compile(cell: Any, raw: Any, fail: Callable[[int, BaseException], int]) -> Trampoline:
    bare = _BARE.get(raw.name)
    return bare(cell) if bare else compile_raw(cell, raw, fail)


if __name__ == "__main__":
    vars(border)["compile_raw"] = _compile
    module = coop.Module.from_file(sys.argv[1], max_wasm_stack=8 << 20)
    coop.run(coop.Guest(module, listen=["127.0.0.1:0"]).run)
