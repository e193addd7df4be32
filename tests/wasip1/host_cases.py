"""What only a host in trouble answers: which call of the host fails, with what, and in which function.

A call of the host is named by where `coop.fs` makes it: "hostdir.os.mkdir" is `mkdir` of the `os` that
`hostdir` sees, and "hostsys._futimens" a function of libc.
"""

import ctypes
import errno
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.wasip1.errno_cases import FILE, GOOD, ONLY_READ, SUB, TOP, Arguments, N, opening
from tests.wasip1.places import CREAT, WRITE
from tests.wasip1.script import OUT

BUFFER = 0x2000
APPEND = 1

HostCase = tuple[str, str, Arguments]
"""The host's call, the errnos it fails with, and arguments that succeed when it does not."""

_NO_ROOM = "NOSPC DQUOT"
_NEW_NAME = f"ACCES PERM IO ROFS {_NO_ROOM}"
_DISK = f"FBIG IO {_NO_ROOM}"

HOST_CASES: dict[str, list[HostCase]] = {
    "path_create_directory": [("hostdir.os.mkdir", f"MLINK {_NEW_NAME}", (TOP, N))],
    "path_remove_directory": [("hostdir.os.rmdir", "ACCES PERM BUSY IO ROFS", (TOP, b"empty"))],
    "path_unlink_file": [("hostdir.os.unlink", "ACCES PERM BUSY IO ROFS", (TOP, b"dir/g"))],
    "path_rename": [("hostdir.os.rename", f"BUSY XDEV MLINK {_NEW_NAME}", (TOP, b"f", TOP, N))],
    "path_link": [("hostdir.os.link", f"XDEV MLINK {_NEW_NAME}", (TOP, 0, b"f", TOP, N))],
    "path_symlink": [("hostdir.os.symlink", _NEW_NAME, (b"target", TOP, N))],
    "path_readlink": [("hostdir.os.readlink", "ACCES IO", (TOP, b"to_f", BUFFER, 64, OUT))],
    "path_filestat_get": [
        ("contain.os.stat", "ACCES IO NOMEM", (TOP, 0, b"f", OUT)),
        ("contain._syscall", "ACCES IO NOMEM MFILE NFILE", (TOP, 0, b"dir/g", OUT)),
        ("contain.os.fstat", "IO NOMEM", (TOP, 0, b"dir/g", OUT)),
    ],
    "path_filestat_set_times": [
        ("hostsys._utimensat", "ACCES PERM IO ROFS", (TOP, 0, b"f", 1, 2, 5)),
        ("hostsys._utimensat", "ACCES PERM IO ROFS", (TOP, 0, b"to_dir/", 1, 2, 5)),
    ],
    "path_open": [
        ("contain.os.open", f"TXTBSY BUSY MFILE NFILE NOMEM {_NEW_NAME}", opening(TOP, b"f", rights=WRITE)),
        ("contain.os.open", "NXIO", opening(TOP, b"f")),
        ("contain._syscall", "TXTBSY ACCES MFILE NFILE NOMEM IO", opening(TOP, b"dir/g", rights=WRITE)),
        ("hostdir.os.fstat", "IO NOMEM", opening(TOP, b"f")),
        ("contain.os.open", _NO_ROOM, opening(TOP, N, oflags=CREAT, rights=WRITE)),
    ],
    "fd_filestat_get": [("hostfile.os.fstat", "IO NOMEM", (fd, OUT)) for fd in (FILE, TOP)],
    "fd_filestat_set_size": [("hostfile.os.ftruncate", _DISK, (FILE, 3))],
    "fd_filestat_set_times": [
        ("hostsys._futimens", "ACCES PERM IO ROFS", (fd, 1, 2, 5)) for fd in (FILE, SUB)
    ],
    "fd_fdstat_set_flags": [("hostfile.fcntl.fcntl", "PERM", (FILE, APPEND))],
    "fd_allocate": [
        ("hostsys._fallocate", _DISK, (FILE, 0, 4096)),
        ("hostfile.os.dup", "MFILE", (FILE, 0, 4096)),
    ],
    "fd_advise": [("hostfile.os.posix_fadvise", "IO", (FILE, 0, 0, 3))],
    "fd_sync": [("hostfile.os.fsync", f"IO {_NO_ROOM}", (fd,)) for fd in (FILE, TOP)],
    "fd_datasync": [("hostfile.os.fdatasync", f"IO {_NO_ROOM}", (fd,)) for fd in (FILE, TOP)],
    "fd_read": [("hostfile.os.preadv", "IO NOMEM", (ONLY_READ, GOOD, 1, OUT))],
    "fd_pread": [("hostfile.os.preadv", "IO NOMEM", (ONLY_READ, GOOD, 1, 2, OUT))],
    "fd_write": [
        ("hostfile.os.write", _DISK, (FILE, GOOD, 1, OUT)),
        ("hostfile.os.writev", _DISK, (FILE, GOOD, 2, OUT)),
    ],
    "fd_pwrite": [("hostfile.os.pwritev", _DISK, (FILE, GOOD, 1, 2, OUT))],
    "fd_readdir": [("hostsys._syscall", "IO NOMEM", (fd, BUFFER, 4096, 0, OUT)) for fd in (TOP, SUB)],
}

CLOSE_FAILS = ("IO", "NOSPC", "DQUOT")
"""What closing a file of the host may say; it is closed all the same."""

DEEP: dict[str, Arguments] = {
    "path_create_directory": (TOP, b"to_dir/sub/../n"),
    "path_remove_directory": (TOP, b"to_dir/../empty/"),
    "path_unlink_file": (TOP, b"to_dir/g"),
    "path_rename": (TOP, b"to_dir/g", SUB, b"sub/n"),
    "path_link": (TOP, 0, b"to_dir/g", SUB, b"sub/n"),
    "path_symlink": (b"target", TOP, b"to_dir/sub/n"),
    "path_readlink": (TOP, b"dir/../to_f", BUFFER, 64, OUT),
    "path_filestat_get": (TOP, 1, b"to_dir/../to_f", OUT),
    "path_filestat_set_times": (TOP, 1, b"to_dir/../to_f", 1, 2, 5),
    "path_open": opening(TOP, b"to_dir/../to_f"),
    "fd_readdir": (SUB, BUFFER, 103, 0, OUT),
}
"""Arguments that take more than one call of the host; where there are none, those above do.

The buffer of `fd_readdir` is as long as the entries: a longer one is written before the end is looked for.
"""


class _StandIn:
    """A module as another one sees it, with every call told to `before`, which may raise."""

    def __init__(self, module: Any, before: Callable[[str], object]) -> None:
        self._module, self._before = module, before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            self._before(name)
            return found(*args, **options)

        return call


def _failing_in_c(function: Any, before: Callable[[], object]) -> Callable[..., int]:
    """Return a function of libc that fails as such do, if `before` raises an OSError."""

    def call(*args: Any) -> int:
        try:
            before()
        except OSError as error:
            ctypes.set_errno(error.errno or 0)
            return -1
        return function(*args)

    return call


@contextmanager
def host_fails(call: str, error: Exception) -> Iterator[None]:
    """Let one call of the host fail."""

    def fail(called: str) -> None:
        if called == name:
            raise error

    room, *where, name = call.split(".")
    module = importlib.import_module(f"coop.fs.{room}")
    with pytest.MonkeyPatch.context() as patch:
        if where:
            (seen,) = where
            patch.setattr(module, seen, _StandIn(getattr(module, seen), fail))
        else:
            patch.setattr(module, name, _failing_in_c(getattr(module, name), lambda: fail(name)))
        yield


_MODULES = ("contain.os", "hostdir.os", "hostfile.os", "hostfile.fcntl", "dirents.os")
_IN_C = (
    *("contain._syscall", "hostsys._syscall", "hostsys._fallocate"),
    *("hostsys._futimens", "hostsys._utimensat"),
)
_NEVER_FAILS = {"close", "fspath", "fsencode", "fsdecode", "strerror"}
"""What asks no host, and closing, which nobody can do anything about."""


class Host:
    """Stands in for every call of the host, of which the one numbered `fails` fails with EIO."""

    def __init__(self, fails: int) -> None:
        self._left = fails
        self.failed = ""

    def _count(self, name: str) -> None:
        if name in _NEVER_FAILS:
            return
        self._left -= 1
        if self._left == -1:
            self.failed = name
            raise OSError(errno.EIO, f"{name} fails")

    def __enter__(self) -> "Host":
        self._patch = pytest.MonkeyPatch()
        for place in _MODULES:
            room, seen = place.split(".")
            module = importlib.import_module(f"coop.fs.{room}")
            self._patch.setattr(module, seen, _StandIn(getattr(module, seen), self._count))
        for place in _IN_C:
            room, name = place.split(".")
            module = importlib.import_module(f"coop.fs.{room}")
            function = _failing_in_c(getattr(module, name), lambda name=name: self._count(name))
            self._patch.setattr(module, name, function)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
