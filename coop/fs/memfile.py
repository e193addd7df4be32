"""Open regular files of an in-memory tree."""

import errno
import os
import stat
from collections.abc import Sequence

from coop.fs.contract import MAX_OFFSET, RegularFile, Stat
from coop.fs.memdata import FileNode
from coop.fs.memtree import Tree
from coop.netpoll.contract import BOTH


class MemFile(RegularFile):
    """A regular file in memory, always ready.

    flags -- the os.O_* it was opened with: they say whether it reads, writes and appends
    """

    __slots__ = ("_appends", "_at", "_node", "_reads", "_tree", "_writes")

    def __init__(self, tree: Tree, node: FileNode, flags: int, what: str, *, read_only: bool = False) -> None:
        super().__init__(-1, stat.S_IFREG, what, read_only=read_only)
        self.ready = BOTH  # there is no kernel to look at
        access = flags & os.O_ACCMODE
        self._reads = access in (os.O_RDONLY, os.O_RDWR)
        self._writes = access in (os.O_WRONLY, os.O_RDWR)
        self._appends = bool(flags & os.O_APPEND)
        self._at = 0
        self._tree, self._node = tree, node
        tree.opened(node)

    def set_append(self, append: bool) -> None:
        self._appends = append

    # -- bytes

    def try_read(self, buffers: Sequence[memoryview]) -> int:
        with self._tree.lock:
            done = self._read(buffers, self._at)
            self._at += done
        return done

    def try_write(self, buffers: Sequence[memoryview]) -> int:
        with self._tree.lock:
            at = self._node.size if self._appends else self._at
            done = self._write(buffers, at)
            if done:
                self._at = at + done
        return done

    def read_one(self, buffer: memoryview) -> int:
        if not self._reads:
            raise self._not_open_for("reading")
        with self._tree.lock:
            done = self._node.read(buffer, self._at)
            self._at += done
            self._node.accessed()
        return done

    def pread(self, buffers: Sequence[memoryview], offset: int) -> int:
        _check_range(offset, sum(map(len, buffers)))
        with self._tree.lock:
            return self._read(buffers, offset)

    def pwrite(self, buffers: Sequence[memoryview], offset: int) -> int:
        _check_range(offset, sum(map(len, buffers)))
        with self._tree.lock:
            return self._write(buffers, self._node.size if self._appends else offset)

    def append(self, buffers: Sequence[memoryview]) -> int:
        with self._tree.lock:
            return self._write(buffers, self._node.size)

    def _read(self, buffers: Sequence[memoryview], offset: int) -> int:
        if not self._reads:
            raise self._not_open_for("reading")
        done = 0
        for buffer in buffers:
            done += (count := self._node.read(buffer, offset + done))
            if count < len(buffer):
                break
        self._node.accessed()
        return done

    def _write(self, buffers: Sequence[memoryview], offset: int) -> int:
        if not self._writes:
            raise self._not_open_for("writing")
        done = 0
        for buffer in buffers:
            try:
                count = self._node.write(buffer, offset + done)
            except OSError:
                if done:
                    break  # the next write will tell
                raise
            done += count
            if count < len(buffer):
                break
        return done

    def _not_open_for(self, doing: str) -> OSError:
        return OSError(errno.EBADF, f"{self.what} is not open for {doing}")

    # -- position and size

    def seek(self, offset: int, whence: int) -> int:
        with self._tree.lock:
            origins = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._node.size}
            if whence not in origins:
                raise OSError(errno.EINVAL, f"seek in {self.what}: unknown whence {whence}")
            at = origins[whence] + offset
            _check_range(at)
            self._at = at
        return at

    def _set_size(self, size: int) -> None:
        _check_range(size)
        if not self._writes:
            raise OSError(errno.EINVAL, f"{self.what} is not open for writing")
        with self._tree.lock:
            self._node.resize(size)

    def _allocate(self, offset: int, length: int) -> None:
        _check_range(offset, length)
        if not length:
            raise OSError(errno.EINVAL, f"allocate nothing in {self.what}")
        if not self._writes:
            raise self._not_open_for("writing")
        with self._tree.lock:
            if not self.refs:  # in a helper thread, for a guest that has ended
                raise OSError(errno.EBADF, f"allocate in {self.what}: it is closed")
            self._node.allocate(offset, offset + length)

    def advise(self, offset: int, length: int, advice: int) -> None:
        _check_range(offset, length)
        if not os.POSIX_FADV_NORMAL <= advice <= os.POSIX_FADV_NOREUSE:
            raise OSError(errno.EINVAL, f"advise on {self.what}: unknown advice {advice}")

    # -- what it is

    def stat(self) -> Stat:
        with self._tree.lock:
            return self._node.stat(self._tree.dev)

    def sync(self, *, data_only: bool) -> None:
        """Do nothing: there is no disk."""

    def _set_times(self, atime_ns: int | None, mtime_ns: int | None) -> None:
        with self._tree.lock:
            self._node.set_times(atime_ns, mtime_ns)

    def destroy(self) -> None:
        with self._tree.lock:
            self._tree.closed(self._node)


def _check_range(offset: int, length: int = 0) -> None:
    """Refuse a range that no file has.  Raises: OSError(EINVAL)."""
    if offset < 0 or length < 0 or offset + length > MAX_OFFSET:
        raise OSError(errno.EINVAL, f"no file has {length} bytes at {offset}")
