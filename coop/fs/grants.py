"""What is granted to a guest: directories, each under the name it has for the guest."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from coop.fs.contract import Directory
from coop.fs.hostdir import HostDirectory
from coop.fs.memdata import FileNode
from coop.fs.memdir import MemDirectory
from coop.fs.memnode import DirectoryNode, Node, Quota
from coop.fs.memtree import Tree
from coop.fs.paths import path_error
from coop.scheduler import Scheduler
from coop.slips import brief, check_number, check_text

Contents: TypeAlias = Mapping[str, "bytes | str | Contents"]
"""What is in a directory: a file's bytes or text by its name, a directory's contents by its."""

Files: TypeAlias = dict[str, "bytes | Files"]
"""The same as it is given back: a file's bytes, a directory's dict."""


class Grant(Protocol):
    """A directory that may be given to guests, to any number of them."""

    @property
    def guest_name(self) -> str:
        """The name the guest sees."""

    def open(self, owner: Scheduler) -> Directory:
        """Open it for one guest that runs on `owner`."""


def checked_grants(dirs: Iterable["Grant | str | os.PathLike[str]"]) -> list[Grant]:
    """Return what a guest is granted; a path stands for the directory there, under the same name.

    Raises: ValueError if two have one name; TypeError for what is no directory.
    """
    found = [Dir(entry) if isinstance(entry, (str, os.PathLike)) else entry for entry in dirs]
    for place, grant in enumerate(found):
        if not hasattr(grant, "guest_name"):
            wanted = "a path, a coop.Dir or a coop.MemDir wanted"
            raise TypeError(f"dirs[{place}]: {wanted}, not {type(grant).__name__}")
    names = [grant.guest_name for grant in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two directories have the guest name {name!r}")
    return found


@dataclass(frozen=True)
class Dir:
    """A host directory that a guest may use.

    host      -- its path here
    guest     -- its name for the guest; the same as here unless given
    read_only -- nothing in it can be changed: EROFS
    Raises: TypeError for what is none of these; OSError when a guest starts and it cannot be opened.
    """

    host: str | os.PathLike[str]
    guest: str | None = None
    read_only: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.host, (str, os.PathLike)):
            raise TypeError(f"host of a Dir: a path wanted, not {type(self.host).__name__}")
        if self.guest is not None:
            check_text("guest name of a Dir", self.guest)
        _check_read_only("Dir", self.read_only)

    @property
    def guest_name(self) -> str:
        """The name the guest sees."""
        return os.fspath(self.host) if self.guest is None else self.guest

    def open(self, owner: Scheduler) -> Directory:
        """Open the directory for one guest."""
        fd = os.open(self.host, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return HostDirectory(owner, fd, f"directory {Path(self.host)}", read_only=self.read_only)


class MemDir:
    """A directory in memory that guests may use: nothing of the host is reached through it.

    Guests that are given the same one share it, and what they leave is there for the next, and for
    Python.  Paths for its methods are relative, with slashes, without `.` and `..`; links in it are
    followed, and may lead nowhere else.

    contents  -- its files and directories by name; a name with slashes makes the directories too
    guest     -- its name for the guest
    read_only -- guests cannot change it: EROFS.  Python can
    max_bytes -- how much its files may hold; holes are free.  Beyond it: ENOSPC
    max_entries -- how many files, directories and links it may have, of up to about a KiB each.
                 Beyond it: ENOSPC
    Raises: ValueError for a path that cannot be; TypeError for what is no content, path or number;
    OSError(ENOSPC).
    """

    __slots__ = ("_tree", "guest", "read_only")

    def __init__(
        self,
        contents: Contents | None = None,
        guest: str = "/",
        read_only: bool = False,
        *,
        max_bytes: int = 64 << 20,
        max_entries: int = 65_536,
    ) -> None:
        check_text("guest name of a MemDir", guest)
        _check_read_only("MemDir", read_only)
        check_number("max_bytes", max_bytes, whole=True)
        check_number("max_entries", max_entries, whole=True)
        if contents is not None and not isinstance(contents, Mapping):
            raise TypeError(f"contents: a mapping wanted, not {type(contents).__name__}")
        self.guest, self.read_only = guest, read_only
        self._tree = Tree(Quota(max_bytes, max_entries))
        self._fill(contents or {})

    def __repr__(self) -> str:
        quota = self._tree.quota
        return f"<MemDir {self.guest}: {quota.used_entries} entries, {quota.used_bytes} bytes>"

    @property
    def guest_name(self) -> str:
        """The name the guest sees."""
        return self.guest

    def open(self, owner: Scheduler) -> Directory:
        """Open the directory for one guest."""
        what = f"in-memory directory {self.guest}"
        return MemDirectory(self._tree, self._tree.root, what, read_only=self.read_only)

    def read(self, path: str) -> bytes:
        """Return the bytes of a file.

        Raises: ValueError; OSError, as reading a file of the host would, and EFBIG for one with holes
        that is larger than all that may be stored.
        """
        with self._at(path) as raw:
            node = self._tree.find(self._tree.root, raw, follow=True)
            if not isinstance(node, FileNode):
                raise path_error(errno.EISDIR, raw)
            return self._bytes_of(node, self._tree.quota.max_bytes)

    def write(self, path: str, data: bytes | str) -> None:
        """Have a file with these bytes and no others; directories that are missing are made.

        Raises: ValueError; OSError, as writing a file of the host would, but with ENOSPC a file that
        was there keeps what it had.
        """
        with self._at(path) as raw:
            start = self._tree.root
            self._make_directories(start, raw.rpartition(b"/")[0])
            self._write(start, raw, data, os.O_CREAT)

    def remove(self, path: str) -> None:
        """Remove a file, a link or a directory with all that is in it.  Raises: ValueError; OSError."""
        with self._at(path) as raw:
            self._tree.remove_all(self._tree.root, raw)

    def names(self, path: str = "") -> list[str]:
        """Return the names in a directory, sorted.  Raises: ValueError; OSError."""
        with self._at(path, may_be_empty=True) as raw:
            node = self._tree.find(self._tree.root, raw or b".", follow=True)
            if not isinstance(node, DirectoryNode):
                raise path_error(errno.ENOTDIR, raw)
            return sorted(name.decode() for name in node.names)

    def to_dict(self) -> Files:
        """Return all files and directories, as `contents` takes them; links are left out.

        Raises: OSError(EFBIG) if there are holes and files are larger than all that may be stored.
        """
        found: Files = {}
        todo = [(self._tree.root, found)]
        room = self._tree.quota.max_bytes
        with self._tree.lock:
            while todo:  # not by recursion: a guest chose how deep it is
                directory, into = todo.pop()
                for name, (_, node) in directory.names.items():
                    if isinstance(node, DirectoryNode):
                        below: Files = {}
                        into[name.decode()] = below
                        todo.append((node, below))
                    elif isinstance(node, FileNode):
                        into[name.decode()] = self._bytes_of(node, room)
                        room -= node.size
        return found

    # -- inside

    @contextmanager
    def _at(self, path: str, *, may_be_empty: bool = False) -> Iterator[bytes]:
        """Give the path as guests have it; an OSError inside names it."""
        raw = b"" if may_be_empty and not path else _raw(path)
        try:
            with self._tree.lock:
                yield raw
        except OSError as error:
            error.filename = path
            raise

    def _fill(self, contents: Contents) -> None:
        todo = [(contents, self._tree.root, "")]
        while todo:
            entries, start, above = todo.pop()
            for key, value in entries.items():
                path, raw = f"{above}{key}", _raw(key)
                try:
                    directory = self._make_directories(start, raw.rpartition(b"/")[0])
                    if isinstance(value, Mapping):
                        todo.append((value, self._make_directories(start, raw), f"{path}/"))
                    else:
                        self._write(directory, raw.rpartition(b"/")[2], value, os.O_CREAT | os.O_EXCL)
                except (FileExistsError, NotADirectoryError):
                    raise ValueError(f"{path!r} in a MemDir: it is given as two different things") from None
                except TypeError:
                    kind = type(value).__name__
                    raise TypeError(
                        f"{path!r} in a MemDir: wanted are bytes, text or a mapping, not {kind}"
                    ) from None
                except OSError as error:
                    error.filename = path
                    raise

    def _make_directories(self, start: DirectoryNode, path: bytes) -> DirectoryNode:
        """Return the directory `path` below `start`, made with those above it where they are missing."""
        node: Node = start
        names = path.split(b"/") if path else []
        for i in range(len(names)):
            part = b"/".join(names[: i + 1])
            try:
                node = self._tree.find(start, part, follow=True)
            except FileNotFoundError:
                node = self._tree.make_directory(start, part)
        if not isinstance(node, DirectoryNode):
            raise path_error(errno.ENOTDIR, path)
        return node

    def _write(self, start: DirectoryNode, path: bytes, data: bytes | str, flags: int) -> None:
        raw = data.encode() if isinstance(data, str) else bytes(memoryview(data))
        node = self._tree.open(start, path, os.O_WRONLY | flags, follow=True)
        assert isinstance(node, FileNode)
        node.replace(raw)

    def _bytes_of(self, node: FileNode, room: int) -> bytes:
        if node.size > room:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))  # a guest chose the size, not the room
        found = bytearray(node.size)
        node.read(memoryview(found), 0)
        return bytes(found)


def _check_read_only(kind: str, given: object) -> None:
    """Refuse what is no truth value: a mode such as "rw" would count as one.  Raises: TypeError."""
    if not isinstance(given, bool):
        raise TypeError(f"read_only of a {kind}: True or False wanted, not {brief(given)}")


def _raw(path: str) -> bytes:
    """Return a path of Python's as guests have it.

    Raises: TypeError for what is no text; ValueError for one that is no plain path.
    """
    if not isinstance(path, str):
        raise TypeError(f"{path!r} in a MemDir: a text wanted for a path, not {type(path).__name__}")
    if not {"", ".", ".."}.isdisjoint(path.split("/")) or "\0" in path:
        raise ValueError(f"{path!r} in a MemDir: wanted is a relative path without '.', '..' and NUL")
    return path.encode()
