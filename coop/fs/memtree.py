"""An in-memory tree: how its paths are resolved, and what is done to its names.

Each path is a guest's, and starts at a directory that the guest holds.  What it is
told follows `contain`, and so Linux and native wasmtime: EPERM for leaving that
directory, be it by `..`, an absolute path or a link; ELOOP for a final link that may
not be followed, and for a path that has thousands of components by its links; and
otherwise the errno of the system call of that name.

1. Callers hold `Tree.lock`: a tree may be shared by guests of several threads.
2. A call that fails has changed nothing.
"""

import errno
import os
import threading
from itertools import count
from typing import NamedTuple

from coop.fs.memdata import FileNode
from coop.fs.memnode import DirectoryNode, LinkNode, Node, Quota
from coop.fs.paths import (
    MAX_LINKS,
    MAX_NAME,
    MAX_NAMES,
    check_path,
    path_error,
    relative,
    reversed_names,
    split_last,
)

_devices = count(1 << 32)  # no device of the host has such a number, and (device, inode) is one file only
_CREATE_NEW = os.O_CREAT | os.O_EXCL
_CHANGES_FILE = os.O_WRONLY | os.O_RDWR | os.O_TRUNC


class Place(NamedTuple):
    """Where the last component of a path stands."""

    directory: DirectoryNode
    name: bytes
    """One component: `.` where the path ended in `.` or `..`."""
    slash: bool
    """The path ended in a slash."""
    path: bytes
    """All of it, for messages."""

    def look(self) -> Node | None:
        """Return what has the name, if anything; a link itself.  Raises: OSError(ENAMETOOLONG)."""
        if self.name == b".":
            return self.directory
        return _look_up(self.directory, self.name, self.path)

    def get(self) -> Node:
        """Return what has the name.  Raises: OSError(ENAMETOOLONG, ENOENT)."""
        node = self.look()
        if node is None:
            raise path_error(errno.ENOENT, self.path)
        return node


class Tree:
    """Inodes below one root, with one quota."""

    __slots__ = ("_inos", "dev", "lock", "quota", "root")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.lock = threading.RLock()
        self.dev = next(_devices)
        self._inos = count(1)
        self.root = DirectoryNode(quota, next(self._inos))

    # -- paths

    def find(self, start: DirectoryNode, path: bytes, *, follow: bool) -> Node:
        """Return what `path` names below `start`; a link at its end only if `follow` is false.

        Raises: OSError with the errno the guest is to see.
        """
        check_path(path)
        return _Walk(start, path).find(start, path, follow=follow)

    def place(self, start: DirectoryNode, path: bytes, *, follow: bool = False) -> Place:
        """Return where the last component of `path` stands below `start`; `follow` as in `find`.

        Raises: as `find`, but not because the last component does not exist.
        """
        check_path(path)
        return _Walk(start, path).place(start, path, follow=follow)

    def _followed_place(self, start: DirectoryNode, path: bytes, *, follow: bool = False) -> Place:
        """Return the same, but for a slash: then the directory it follows, by the name `.`."""
        place = self.place(start, path, follow=follow)
        if not place.slash:
            return place
        node = self.find(start, path, follow=True)
        assert isinstance(node, DirectoryNode)
        return Place(node, b".", False, path)

    # -- making

    def open(self, start: DirectoryNode, path: bytes, flags: int, *, follow: bool) -> Node:
        """Return the file or directory that an open with these flags opens, made or cut as they ask."""
        check_path(path)
        if flags & os.O_CREAT:
            node = self._find_or_create(start, path, flags, follow=follow)
        else:
            node = _Walk(start, path).find(start, path, follow=follow)
        if isinstance(node, LinkNode):
            raise path_error(errno.ELOOP, path)
        if isinstance(node, DirectoryNode) and flags & (_CHANGES_FILE | os.O_CREAT):
            raise path_error(errno.EISDIR, path)
        if isinstance(node, FileNode):
            if flags & os.O_DIRECTORY:
                raise path_error(errno.ENOTDIR, path)
            if flags & os.O_TRUNC:
                node.resize(0)
        return node

    def _find_or_create(self, start: DirectoryNode, path: bytes, flags: int, *, follow: bool) -> Node:
        if flags & os.O_DIRECTORY:
            raise path_error(errno.EINVAL, path)
        is_new = flags & _CREATE_NEW == _CREATE_NEW
        goes_on = follow and not is_new and not path.endswith(b"/")
        place = self.place(start, path, follow=goes_on)
        if place.slash and place.name != b".":
            raise path_error(errno.EISDIR, path)
        node = place.look()
        if node is None:
            return self._add(place, FileNode(self.quota, next(self._inos)))
        if is_new:
            raise path_error(errno.EEXIST, path)
        return node

    def make_directory(self, start: DirectoryNode, path: bytes) -> DirectoryNode:
        """Make a directory and return it.  Raises: OSError(EEXIST, ENOENT, ENOSPC) and as `find`."""
        place = self.place(start, path)
        if place.look() is not None:
            raise path_error(errno.EEXIST, path)
        node = DirectoryNode(self.quota, next(self._inos), place.directory)
        self._add(place, node)
        return node

    def make_link(self, start: DirectoryNode, target: bytes, path: bytes) -> None:
        """Make a symbolic link.  Raises: OSError(EPERM) for an absolute target, and as `make_directory`."""
        check_path(target)
        place = self._followed_place(start, path)
        if place.look() is not None:
            raise path_error(errno.EEXIST, path)
        self._add(place, LinkNode(self.quota, next(self._inos), target))

    def link(
        self, start: DirectoryNode, path: bytes, new_start: DirectoryNode, new: bytes, *, follow: bool
    ) -> None:
        """Give what `path` names another name.  Raises: OSError(EPERM) for a directory, and the like."""
        old, to = self._followed_place(start, path, follow=follow), self._followed_place(new_start, new)
        node = old.get()
        if to.look() is not None:
            raise path_error(errno.EEXIST, new)
        if isinstance(node, DirectoryNode):
            raise path_error(errno.EPERM, path)
        self._add(to, node)

    def _add(self, place: Place, node: Node) -> Node:
        try:
            if not place.directory.nlink:
                raise path_error(errno.ENOENT, place.path)  # removed, and held open by somebody
            self.quota.take_entry()
        except OSError:
            if not node.nlink:
                node.free()  # it was new
            raise
        place.directory.add(place.name, node)
        return node

    # -- taking away

    def remove_directory(self, start: DirectoryNode, path: bytes) -> None:
        """Remove an empty directory.  Raises: OSError(ENOTDIR, ENOTEMPTY, EINVAL) and as `find`."""
        place = self.place(start, path)
        if place.name == b".":
            raise path_error(errno.EINVAL, path)
        node = place.get()
        if place.slash and isinstance(node, LinkNode):
            self.find(start, path, follow=True)  # one that leads to no directory says why
        _check_gone(node, path, for_directory=True)
        self._unname(place.directory.remove(place.name))

    def unlink(self, start: DirectoryNode, path: bytes) -> None:
        """Remove a name that is no directory's.  Raises: OSError(EISDIR, ENOTDIR) and as `find`."""
        place = self._followed_place(start, path)
        if place.name == b".":
            raise path_error(errno.EISDIR, path)
        _check_gone(place.get(), path, for_directory=False)
        self._unname(place.directory.remove(place.name))

    def rename(self, start: DirectoryNode, path: bytes, new_start: DirectoryNode, new: bytes) -> None:
        """Rename, over what may be there.

        Raises: OSError(EBUSY) for `.`; EINVAL into itself; ENOTEMPTY, EISDIR, ENOTDIR for what is there.
        """
        old, to = self.place(start, path), self.place(new_start, new)
        if b"." in (old.name, to.name):
            raise path_error(errno.EBUSY, path)
        node, other = old.get(), to.look()
        is_directory = isinstance(node, DirectoryNode)
        if not is_directory and (old.slash or to.slash):
            over_directory = isinstance(other, DirectoryNode) and not old.slash
            raise path_error(errno.EISDIR if over_directory else errno.ENOTDIR, path)
        if is_directory and _is_inside(to.directory, node):
            raise path_error(errno.EINVAL, path)
        if isinstance(other, DirectoryNode) and _is_inside(old.directory, other):
            raise path_error(errno.ENOTEMPTY, new)
        if other is node:
            return
        if other is not None:
            _check_gone(other, new, for_directory=is_directory)
        elif not to.directory.nlink:
            raise path_error(errno.ENOENT, new)
        old.directory.remove(old.name)
        if other is None:
            to.directory.add(to.name, node)
        else:
            self._unname(to.directory.replace(to.name, node))

    def remove_all(self, start: DirectoryNode, path: bytes) -> None:
        """Remove what `path` names, a directory with all that is in it.  Raises: as `find`."""
        place = self.place(start, path)
        place.get()
        gone = [place.directory.remove(place.name)]
        while gone:  # not by recursion: a guest chose how deep it is
            node = gone.pop()
            if isinstance(node, DirectoryNode):
                gone += [node.remove(name) for name in list(node.names)]
            self._unname(node)

    def _unname(self, node: Node) -> None:
        """Give back what a name took that is gone; what is open keeps the node, and its entry."""
        if isinstance(node, DirectoryNode):
            node.nlink = 0
            # One that is open would keep all that it was ever in, which nobody counts.
            node.parent = self.root
        if node.nlink:
            self.quota.used_entries -= 1
        elif not node.opens:
            self._free(node)

    # -- open files

    def opened(self, node: Node) -> None:
        """Count an open file that has `node`."""
        node.opens += 1

    def closed(self, node: Node) -> None:
        """Count one less; the last one frees a node that has no name."""
        node.opens -= 1
        if not node.opens and not node.nlink:
            self._free(node)

    def _free(self, node: Node) -> None:
        self.quota.used_entries -= 1
        node.free()


class _Walk:
    """One resolution: where it must stay, how many links it went through, and how many names they make it."""

    __slots__ = ("count", "links", "path", "root")

    def __init__(self, root: DirectoryNode, path: bytes) -> None:
        self.root, self.path = root, path
        self.links = self.count = 0

    def find(self, start: DirectoryNode, path: bytes, *, follow: bool) -> Node:
        names = reversed_names(path)
        node: Node = start
        while names:
            if not isinstance(node, DirectoryNode):
                raise path_error(errno.ENOTDIR, self.path)
            name = names.pop()
            if name in (b".", b""):
                continue
            if name == b"..":
                if node is self.root:
                    raise path_error(errno.EPERM, self.path)
                node = node.parent
                continue
            child = _look_up(node, name, self.path)
            if child is None:
                raise path_error(errno.ENOENT, self.path)
            if isinstance(child, LinkNode) and (names or follow):
                names += reversed_names(self._through(child))
            else:
                node = child
        return node

    def place(self, start: DirectoryNode, path: bytes, *, follow: bool = False) -> Place:
        """Find the last component's place; `follow` goes on through links to a name that is none."""
        while True:
            head, name, slash = split_last(path)
            directory = self.find(start, head, follow=True)
            if not isinstance(directory, DirectoryNode):
                raise path_error(errno.ENOTDIR, self.path)
            _, node = directory.names.get(name, (0, None))
            if not (follow and isinstance(node, LinkNode)):
                return Place(directory, name, slash, self.path)
            start, path = directory, self._through(node) + (b"/" if slash else b"")

    def _through(self, link: LinkNode) -> bytes:
        target = relative(link.target)
        if not self.links:  # most paths have none, and their names need not be counted
            self.count = len(reversed_names(self.path))
        self.links += 1
        self.count += len(reversed_names(target))
        if self.links > MAX_LINKS or self.count > MAX_NAMES:
            raise path_error(errno.ELOOP, self.path)
        return target


def _is_inside(directory: DirectoryNode, other: Node) -> bool:
    """Whether `directory` is `other` or below it."""
    while directory is not other:
        if directory.parent is directory:
            return False
        directory = directory.parent
    return True


def _look_up(directory: DirectoryNode, name: bytes, path: bytes) -> Node | None:
    found = directory.names.get(name)
    if found is not None:
        return found[1]
    if len(name) > MAX_NAME and directory.nlink:  # a removed directory has no names, be they long or short
        raise path_error(errno.ENAMETOOLONG, path)
    return None


def _check_gone(node: Node, path: bytes, *, for_directory: bool) -> None:
    """Refuse to take away the name `path` of a node, be it to remove it or for another of a kind.

    Raises: OSError(ENOTDIR, ENOTEMPTY, EISDIR).
    """
    if for_directory and not isinstance(node, DirectoryNode):
        raise path_error(errno.ENOTDIR, path)
    if isinstance(node, DirectoryNode):
        if not for_directory:
            raise path_error(errno.EISDIR, path)
        if node.names:
            raise path_error(errno.ENOTEMPTY, path)
