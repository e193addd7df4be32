"""Holds up a thread of another process that waits in the kernel, each time it has what it waited for.

That is what a busy system does to a thread.  It is held up twice: on its way back, and again in the first
system call that it makes then, where it may hold a lock.

    python -m tests.engine.slowed TID SECONDS SECONDS      prints "holding" once it does; ends with the thread
"""

import ctypes
import os
import sys
import time
from pathlib import Path

_SYSCALL, _SEIZE, _INTERRUPT = 24, 0x4206, 0x4207
_WALL = 0x40000000

_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_ptrace.restype = ctypes.c_long


def hold_up(tid: int, back: float, first: float) -> None:
    """Let the thread wait so many seconds on its way back and in its first call, until it ends."""
    call = Path(f"/proc/{tid}/syscall")
    waits = call.read_text().split()[0]
    for request in (_SEIZE, _INTERRUPT):
        if _ptrace(request, tid, None, None) < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"trace thread {tid}: {os.strerror(number)}")
    sys.stdout.write("holding\n")
    sys.stdout.flush()
    is_first = False
    while os.WIFSTOPPED(os.waitpid(tid, _WALL)[1]):
        # It stops at the entry and at the exit of each system call.
        if call.read_text().split()[0] == waits:
            is_first = True
            time.sleep(back)
        elif is_first:
            is_first = False
            time.sleep(first)
        _ptrace(_SYSCALL, tid, None, None)


if __name__ == "__main__":
    hold_up(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
