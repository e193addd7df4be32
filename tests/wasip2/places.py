"""The same directory in every file system there is, for tests from a component's side.

    f "inside"   dir/g "deeper"   dir/sub/   full/x "x"   empty/
    to_f -> f   to_dir -> dir   dangling -> nothing   loop -> loop   up -> ..   out -> ../secret

It is built, and looked at, below the interfaces that are tested.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coop
from coop.fs import Directory, Grant, RegularFile

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
NAMES = sorted(name.decode() for name in [b"f", b"dir", b"full", b"empty", *LINKS])

PRELUDE = """
types = wasi_filesystem_types
F, O, P = types.DescriptorFlags, types.OpenFlags, types.PathFlags
FOLLOW, STAY, NOTHING = P.SYMLINK_FOLLOW, P(0), O(0)
R, W, RW, MUTATE = F.READ, F.WRITE, F.READ | F.WRITE, F.MUTATE_DIRECTORY
UNCHANGED, NOW = types.NewTimestamp_NoChange(), types.NewTimestamp_Now()
root = preopens.get_directories()[0][0]

def at(seconds, nanoseconds=0):
    return types.NewTimestamp_Timestamp(wall_clock.Datetime(seconds, nanoseconds))

def opened(path, flags=RW, how=NOTHING, below=None):
    return (below or root).open_at(FOLLOW, path, how, flags)

def named(value):
    return value.name.lower().replace("_", "-")

def flags_of(value):
    return sorted(named(each) for each in value)

def tried(act):
    try:
        answer = act()
    except Err as error:
        value = error.value
        if hasattr(value, "name"):
            return named(value)
        if isinstance(value, streams.StreamError_Closed):
            return "closed"
        return "failed", named(types.filesystem_error_code(value.value))
    return "ok" if answer is None or hasattr(answer, "__exit__") else answer

def listed(directory):
    found = []
    with directory.read_directory() as entries:
        while (entry := entries.read_directory_entry()) is not None:
            found.append((entry.name, named(entry.type)))
    return sorted(found)
"""
"""What the guest's code finds besides the interfaces: `root`, which is the first directory it is granted."""

Python = Callable[..., Any]


class Place:
    """One file system with the directory in it.

    kind -- "host" or "memory"
    root -- where it lies, if it is the host's
    """

    def __init__(self, kind: str, tmp_path: Path, python: Python) -> None:
        self.kind = kind
        self.root = tmp_path / "root"
        self.memory = coop.MemDir(guest="/")
        self._python = python
        if kind == "host":
            self.root.mkdir()
            (tmp_path / "secret").write_bytes(b"secret")
        self.look(_build)

    def grant(self, *, read_only: bool = False, guest: str = "/") -> Grant:
        """What gives it to a guest."""
        if self.kind == "host":
            return coop.Dir(self.root, guest, read_only=read_only)
        self.memory.guest, self.memory.read_only = guest, read_only
        return self.memory

    def run(self, code: str, *, read_only: bool = False, dirs: tuple[Grant, ...] = (), **given: Any) -> Any:
        """Run code in a guest that is given the directory, and then `dirs`; return its `result`."""
        grants = [self.grant(read_only=read_only), *dirs]
        return self._python(lambda run: run(PRELUDE + code), dirs=grants, **given)

    def ask(self, *expressions: str, before: str = "", **options: Any) -> list[Any]:
        """Return what each expression of the guest's comes to: a value, "ok", or the name of an error."""
        tries = ", ".join(f"tried(lambda: {each})" for each in expressions)
        answers: list[Any] = self.run(f"{before}\nresult = [{tries}]", **options)
        return answers

    def look(self, act: Callable[[Directory], Any]) -> Any:
        """Do something with the directory below the interfaces."""
        directory = self.grant().open(None)  # type: ignore[arg-type]  # nothing in it is waited for
        try:
            return act(directory)
        finally:
            directory.release()

    def read(self, path: bytes) -> bytes:
        """Return the bytes of a file."""
        return self.look(lambda root: _read(root, path))  # type: ignore[no-any-return]

    def names(self, path: bytes = b".") -> list[str]:
        """Return the names in a directory, sorted."""
        return self.look(lambda root: _names(root, path))  # type: ignore[no-any-return]


def _build(root: Directory) -> None:
    for path in DIRECTORIES:
        root.make_directory(path)
    for path, data in FILES.items():
        file = root.open(path, os.O_WRONLY | os.O_CREAT, follow=True)
        assert isinstance(file, RegularFile)
        file.pwrite([memoryview(data)], 0)
        file.release()
    for path, target in LINKS.items():
        root.symlink(target, path)


def _read(root: Directory, path: bytes) -> bytes:
    file = root.open(path, os.O_RDONLY, follow=True)
    assert isinstance(file, RegularFile)
    try:
        buffer = bytearray(file.stat().size)
        file.pread([memoryview(buffer)], 0)
        return bytes(buffer)
    finally:
        file.release()


def _names(root: Directory, path: bytes) -> list[str]:
    directory = root.open(path, os.O_RDONLY | os.O_DIRECTORY, follow=True)
    assert isinstance(directory, Directory)
    try:
        entries = directory.entries(0, 1 << 16)
        return sorted(entry.name.decode() for entry in entries if entry.name not in (b".", b".."))
    finally:
        directory.release()
