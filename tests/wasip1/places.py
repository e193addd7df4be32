"""The same directory in every file system there is, for tests from a guest's side.

    f "inside"   dir/g "deeper"   dir/sub/   full/x "x"   empty/
    to_f -> f   to_dir -> dir   dangling -> nothing   loop -> loop   up -> ..   out -> ../secret

It is built by a guest.  What became of it is looked at below the import layer, so a
test does not ask the calls it tests.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coop
from coop.fs import Directory, Grant, RegularFile
from coop.scheduler import scheduler
from coop.wasip1.errno import Errno
from tests.wasip1.script import DATA, SIGNATURES, Script, scripted

CREAT, DIRECTORY, EXCL, TRUNC = 1, 2, 4, 8
READ, SEEK, TELL, WRITE, READDIR = 1 << 1, 1 << 2, 1 << 5, 1 << 6, 1 << 14
ALL = (1 << 30) - 1
ALL_OF_DIR = ALL & ~WRITE
"""A directory is not opened for writing."""

FILES = {b"f": b"inside", b"dir/g": b"deeper", b"full/x": b"x"}
DIRECTORIES = (b"dir", b"dir/sub", b"full", b"empty")
LINKS = {
    b"to_f": b"f",
    b"to_dir": b"dir",
    b"dangling": b"nothing",
    b"loop": b"loop",
    b"up": b"..",
    b"out": b"../secret",
}

KINDS = ("host", "memory")


class Place:
    """One file system with the directory in it; a guest has it as descriptor 3.

    read_only -- guests have it for reading, if nothing else is said; it is built before
    """

    def __init__(self, kind: str, tmp_path: Path, *, read_only: bool = False) -> None:
        self.kind = kind
        self.read_only = False
        self.root = tmp_path / "root"
        self._memory = coop.MemDir(guest="/")
        if kind == "host":
            self.root.mkdir()
            (tmp_path / "secret").write_bytes(b"secret")
        self.run(_build)
        self.read_only = read_only

    def grant(self, *, read_only: bool | None = None, guest: str = "/") -> Grant:
        """What gives it to a guest."""
        read_only = self.read_only if read_only is None else read_only
        if self.kind == "host":
            return coop.Dir(self.root, guest, read_only=read_only)
        return _View(self._memory, guest, read_only)

    def run(self, act: Callable[[Script], Any], *, read_only: bool | None = None, **options: Any) -> Any:
        """Run `act` on a guest that has it as descriptor 3, and return its result."""
        return scripted(act, dirs=[self.grant(read_only=read_only)], **options)

    def tree(self) -> dict[bytes, tuple[Any, ...]]:
        """Everything in it: type, names and times of change, with the bytes or the target."""

        def look() -> dict[bytes, tuple[Any, ...]]:
            top = self.grant().open(scheduler())
            found: dict[bytes, tuple[Any, ...]] = {}
            _walk(top, b"", found)
            top.release()
            return found

        return coop.run(look)

    def read(self, path: bytes) -> bytes | None:
        """The bytes of a file or the target of a link; None if it is neither."""
        found = self.tree().get(path)
        return found[-1] if found else None


class _View:
    """A grant of a shared in-memory directory, read-only or not."""

    def __init__(self, memory: coop.MemDir, guest_name: str, read_only: bool) -> None:
        self._memory, self.guest_name, self._read_only = memory, guest_name, read_only

    def open(self, owner: Any) -> Directory:
        opened = self._memory.open(owner)
        opened.read_only = self._read_only
        return opened


def _build(guest: Script) -> None:
    for path in DIRECTORIES:
        assert call(guest, "path_create_directory", 3, path) == "SUCCESS"
    for path, data in FILES.items():
        fd = guest.open(3, path, oflags=CREAT, rights=WRITE)
        assert guest.write(fd, data) == len(data)
        guest.fd_close(fd)
    for path, target in LINKS.items():
        assert call(guest, "path_symlink", target, 3, path) == "SUCCESS"


def _walk(directory: Directory, path: bytes, found: dict[bytes, tuple[Any, ...]]) -> None:
    for entry in directory.entries(0, 1 << 20):
        if entry.name in (b".", b".."):
            continue
        seen = directory.stat_at(entry.name, follow=False)
        facts = (stat.S_IFMT(seen.mode), seen.nlink, seen.mtime_ns)
        full = path + entry.name
        if stat.S_ISDIR(seen.mode):
            below = directory.open(entry.name, os.O_RDONLY | os.O_DIRECTORY, follow=False)
            found[full] = (*facts, None)
            _walk(below, full + b"/", found)
            below.release()
        elif stat.S_ISLNK(seen.mode):
            found[full] = (*facts, directory.read_link(entry.name))
        elif stat.S_ISREG(seen.mode):
            file = directory.open(entry.name, os.O_RDONLY, follow=False)
            assert isinstance(file, RegularFile)
            data = bytearray(min(seen.size, 1 << 20))
            if data:
                file.pread([memoryview(data)], 0)
            found[full] = (*facts, seen.size, bytes(data))
            file.release()
        else:
            found[full] = facts


def lay_out(guest: Script, *args: int | bytes) -> list[int]:
    """Put each bytes argument into memory, and its address and length in its place."""
    numbers: list[int] = []
    at = DATA
    for arg in args:
        if isinstance(arg, bytes):
            numbers += (at, guest.put(at, arg))
            at += len(arg) + 8
        else:
            numbers.append(arg)
    return numbers


def call(guest: Script, name: str, *args: int | bytes) -> str:
    """Call a function with paths given as bytes, and return the errno's name."""
    numbers = lay_out(guest, *args)
    assert len(numbers) == len(SIGNATURES[name]), name
    return Errno(guest.call(name, *numbers)).name
