"""Has the kernel refuse the first seals of a process, as it does while a page of the file is in use.

A filter of system calls asks another process about each, which answers EBUSY as often as it is told to.
"""

import ctypes
import errno
import fcntl
import os
import platform
import socket
import struct
from typing import NoReturn

_FCNTL, _SECCOMP = {"x86_64": (72, 317), "aarch64": (25, 277)}[platform.machine()]
_NO_NEW_PRIVS, _SET_FILTER, _NEW_LISTENER = 38, 1, 1 << 3
_ASK, _ALLOW = 0x7FC00000, 0x7FFF0000
_LOAD, _SKIP_UNLESS, _ANSWER = (
    0x20,
    0x15,
    0x06,
)  # 32 bits of the call; one step further, or as many; the verdict
_NUMBER, _COMMAND = 0, 24  # where they stand
_RECEIVE, _SEND, _GO_ON = 0xC0502100, 0xC0182101, 1


def refuse_seals(times: int) -> bool:
    """Have the next seals of this thread refused so many times; False if the system lets nobody do so."""
    ours, others = socket.socketpair()
    if os.fork() == 0:
        os.closerange(0, others.fileno())  # nobody is to wait for this process by a pipe it has
        os.closerange(others.fileno() + 1, 1 << 10)
        _answer(others, times)
    others.close()
    program = b"".join(
        (
            struct.pack("HBBI", _LOAD, 0, 0, _NUMBER),
            struct.pack("HBBI", _SKIP_UNLESS, 0, 3, _FCNTL),
            struct.pack("HBBI", _LOAD, 0, 0, _COMMAND),
            struct.pack("HBBI", _SKIP_UNLESS, 0, 1, fcntl.F_ADD_SEALS),
            struct.pack("HBBI", _ANSWER, 0, 0, _ASK),
            struct.pack("HBBI", _ANSWER, 0, 0, _ALLOW),
        )
    )
    buffer = ctypes.create_string_buffer(program)
    described = ctypes.create_string_buffer(
        struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = libc.syscall(_SECCOMP, _SET_FILTER, _NEW_LISTENER, described)
    if listener < 0:
        ours.close()
        return False
    socket.send_fds(ours, [b"x"], [listener])
    os.close(listener)
    return True


def _answer(others: socket.socket, times: int) -> NoReturn:
    _, listeners, _, _ = socket.recv_fds(others, 1, 1)
    while listeners:
        asked = bytearray(80)
        try:
            fcntl.ioctl(listeners[0], _RECEIVE, asked)
        except OSError:
            break  # who was watched has ended
        refusal = (-errno.EBUSY, 0) if times > 0 else (0, _GO_ON)
        times -= 1
        fcntl.ioctl(listeners[0], _SEND, asked[:8] + struct.pack("qiI", 0, *refusal))
    os._exit(0)
