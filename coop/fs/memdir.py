"""Open directories of an in-memory tree."""

import errno
import os
import stat
from collections.abc import Iterator

from coop.fs.contract import ENTRY_SIZE, MAX_OFFSET, Directory, Entry, Stat
from coop.fs.memdata import FileNode
from coop.fs.memfile import MemFile
from coop.fs.memnode import DirectoryNode, LinkNode
from coop.fs.memtree import Tree
from coop.fs.paths import path_error
from coop.netpoll.contract import BOTH
from coop.netpoll.openfile import OpenFile

_DOT, _DOTDOT = 1, 2  # the cookies behind `.` and `..`; names come after them


class MemDirectory(Directory):
    """An open directory of a tree; paths are resolved from it and never above it."""

    __slots__ = ("_node", "_tree")

    def __init__(self, tree: Tree, node: DirectoryNode, what: str, *, read_only: bool = False) -> None:
        super().__init__(-1, stat.S_IFDIR, what, read_only=read_only)
        self.ready = BOTH
        self._tree, self._node = tree, node
        tree.opened(node)

    # -- what is there

    def stat(self) -> Stat:
        with self._tree.lock:
            return self._node.stat(self._tree.dev)

    def stat_at(self, path: bytes, *, follow: bool) -> Stat:
        with self._tree.lock:
            return self._tree.find(self._node, path, follow=follow).stat(self._tree.dev)

    def read_link(self, path: bytes) -> bytes:
        with self._tree.lock:
            node = self._tree.find(self._node, path, follow=False)
            if not isinstance(node, LinkNode):
                raise path_error(errno.EINVAL, path)
            node.accessed()
            return node.target

    def entries(self, cookie: int, room: int) -> list[Entry]:
        if not 0 <= cookie <= MAX_OFFSET:
            raise OSError(errno.EINVAL, f"read {self.what} from {cookie}")
        found = []
        with self._tree.lock:
            for entry in self._entries(cookie):
                if room < 0:
                    break
                found.append(entry)
                room -= ENTRY_SIZE + len(entry.name)
            self._node.accessed()
        return found

    def _entries(self, cookie: int) -> Iterator[Entry]:
        node = self._node
        if not node.nlink:
            return  # it was removed, and the dots with it
        if cookie < _DOT:
            yield Entry(_DOT, node.ino, stat.S_IFDIR, b".")
        if cookie < _DOTDOT:
            # Its own number: what lies above is not the guest's to know.
            yield Entry(_DOTDOT, node.ino, stat.S_IFDIR, b"..")
        for number, name, child in node.after(max(cookie, _DOTDOT)):
            yield Entry(number, child.ino, stat.S_IFMT(child.mode), name)

    # -- opening

    def _open(self, path: bytes, flags: int, *, follow: bool) -> OpenFile:
        tree = self._tree
        with tree.lock:
            node = tree.open(self._node, path, flags, follow=follow)
            shown = path.decode(errors="replace")
            if isinstance(node, DirectoryNode):
                return MemDirectory(tree, node, f"directory {shown}", read_only=self.read_only)
            assert isinstance(node, FileNode)
            return MemFile(tree, node, flags, f"file {shown}", read_only=self.read_only)

    # -- changing

    def sync(self, *, data_only: bool) -> None:
        """Do nothing: there is no disk."""

    def _set_times(self, atime_ns: int | None, mtime_ns: int | None) -> None:
        with self._tree.lock:
            self._node.set_times(atime_ns, mtime_ns)

    def _set_times_at(self, path: bytes, atime_ns: int | None, mtime_ns: int | None, *, follow: bool) -> None:
        with self._tree.lock:
            self._tree.find(self._node, path, follow=follow).set_times(atime_ns, mtime_ns)

    def _make_directory(self, path: bytes) -> None:
        with self._tree.lock:
            self._tree.make_directory(self._node, path)

    def _remove_directory(self, path: bytes) -> None:
        with self._tree.lock:
            self._tree.remove_directory(self._node, path)

    def _unlink(self, path: bytes) -> None:
        with self._tree.lock:
            self._tree.unlink(self._node, path)

    def _symlink(self, target: bytes, path: bytes) -> None:
        with self._tree.lock:
            self._tree.make_link(self._node, target, path)

    def _rename(self, path: bytes, other: Directory, new: bytes) -> None:
        with self._tree.lock:
            self._tree.rename(self._node, path, self._same_tree(other), new)

    def _link(self, path: bytes, other: Directory, new: bytes, *, follow: bool) -> None:
        with self._tree.lock:
            self._tree.link(self._node, path, self._same_tree(other), new, follow=follow)

    def _same_tree(self, other: Directory) -> DirectoryNode:
        if not isinstance(other, MemDirectory) or other._tree is not self._tree:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return other._node

    def destroy(self) -> None:
        with self._tree.lock:
            self._tree.closed(self._node)
