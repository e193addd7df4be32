"""Operations made up by hypothesis, on a directory of the host and on one in memory: both answer the same.

The host's own directory is the oracle: what it returns, or its errno, is what the other must give.  In the
end both trees hold the same.  Raise the number of runs with FUZZ_RUNS.
"""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from coop.fs import NOW, Directory, RegularFile, Stat
from coop.fs.hostdir import HostDirectory
from coop.fs.memdir import MemDirectory
from coop.fs.memnode import Quota
from coop.fs.memtree import Tree
from coop.netpoll.openfile import BLOCKED

RUNS = int(os.environ.get("FUZZ_RUNS", "40"))
PIECE = 1 << 16

pytestmark = pytest.mark.timeout(60 + RUNS / 5)

names = st.sampled_from(["a", "a", "b", "b", "c", "d", "d", ".", "..", "", "é", "x" * 255, "y" * 256])
paths = st.builds(
    lambda parts, slash: ("/".join(parts) + slash).encode(),
    st.lists(names, min_size=1, max_size=3),
    st.sampled_from(["", "", "", "/"]),
)
odd_paths = st.one_of(paths, paths, paths, st.sampled_from([b"", b"/", b"/a", b"a\0b", b"\xff", b"a/\xff"]))
handles = st.integers(0, 7)
offsets = st.one_of(
    st.integers(-3, 20),
    st.sampled_from(
        [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE - 2, 5 * PIECE, -(1 << 63), (1 << 63) - 1, 1 << 64]
    ),
)
sizes_to_be = offsets.filter(lambda n: n != (1 << 63) - 1)  # the largest size is the host file system's own
lengths = st.one_of(st.integers(0, 12), st.sampled_from([300, PIECE, PIECE + 5, 2 * PIECE]))
times = st.sampled_from([None, NOW, 0, 1, 1_500_000_000_123_456_789])
ACCESS = st.sampled_from([os.O_RDONLY, os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
EXTRAS = st.sampled_from([
    0, 0, os.O_CREAT, os.O_CREAT, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_CREAT | os.O_TRUNC, os.O_TRUNC,
    os.O_DIRECTORY, os.O_DIRECTORY, os.O_APPEND | os.O_CREAT, os.O_EXCL, os.O_CREAT | os.O_DIRECTORY,
    os.O_TRUNC | os.O_DIRECTORY,
])  # fmt: skip


class Machine(RuleBasedStateMachine):
    """Two directories with the same history, and pairs of open files of each."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        tree = self.tree = Tree(Quota(64 << 20, 10_000))
        roots = (HostDirectory(None, fd, "host"), MemDirectory(tree, tree.root, "memory"))
        files = [each.open(b"a", os.O_RDWR | os.O_CREAT, follow=True) for each in roots]
        for each in roots:
            each.make_directory(b"d")
        below = [each.open(b"d", os.O_RDONLY, follow=True) for each in roots]
        self.pairs: list[tuple[Any, Any]] = [roots, tuple(files), tuple(below)]
        self.count = 0

    def teardown(self) -> None:
        trees = [snapshot(each) for each in self.pairs[0]]
        for pair in self.pairs:
            for each in pair:
                each.release()
        shutil.rmtree(self.folder)
        assert trees[1] == trees[0]
        check_quota(self.tree)

    def pair(self, index: int, kind: type) -> tuple[Any, Any]:
        """One of the open pairs of a kind."""
        found = [pair for pair in self.pairs if isinstance(pair[0], kind)]
        return found[index % len(found)]

    def both(self, call: Callable[[int], Any], reasons: Sequence[str] = ()) -> list[Any]:
        """Do the same on the host and in memory, and return what both gave.

        reasons -- errnos of which either will do: where two paths are wrong, one of them is told
        """
        results = [outcome(call, which) for which in (0, 1)]
        given = [shown(result) for result in results]
        assert given[1] == given[0] or all(each in reasons for each in given)
        return results

    # -- directories

    @rule(at=handles, path=odd_paths, access=ACCESS, extra=EXTRAS, follow=st.booleans())
    def open(self, at, path, access, extra, follow):
        pair = self.pair(at, Directory)
        opened = self.both(lambda i: pair[i].open(path, access | extra, follow=follow))
        if isinstance(opened[0], (Directory, RegularFile)):
            self.pairs.append(tuple(opened))

    @rule(at=handles, path=odd_paths, follow=st.booleans())
    def stat_at(self, at, path, follow):
        pair = self.pair(at, Directory)
        self.both(lambda i: pair[i].stat_at(path, follow=follow))

    @rule(at=handles, path=odd_paths)
    def read_link(self, at, path):
        pair = self.pair(at, Directory)
        self.both(lambda i: pair[i].read_link(path))

    @rule(at=handles, path=odd_paths)
    def make_directory(self, at, path):
        pair = self.pair(at, Directory)
        self.both(lambda i: pair[i].make_directory(path))

    @rule(at=handles, path=odd_paths)
    def remove_directory(self, at, path):
        pair = self.pair(at, Directory)
        self.both(lambda i: pair[i].remove_directory(path))

    @rule(at=handles, path=odd_paths)
    def unlink(self, at, path):
        pair = self.pair(at, Directory)
        self.both(lambda i: pair[i].unlink(path))

    @rule(at=handles, text=odd_paths, path=odd_paths)
    def symlink(self, at, text, path):
        pair = self.pair(at, Directory)
        self.both(lambda i: pair[i].symlink(text, path))

    @rule(at=handles, path=odd_paths, to=handles, new=odd_paths)
    def rename(self, at, path, to, new):
        pair, goal = self.pair(at, Directory), self.pair(to, Directory)
        self.both(lambda i: pair[i].rename(path, goal[i], new), wrong(pair[0], path, goal[0], new))

    @rule(at=handles, path=odd_paths, to=handles, new=odd_paths, follow=st.booleans())
    def link(self, at, path, to, new, follow):
        pair, goal = self.pair(at, Directory), self.pair(to, Directory)
        self.both(
            lambda i: pair[i].link(path, goal[i], new, follow=follow), wrong(pair[0], path, goal[0], new)
        )

    @rule(at=handles, path=odd_paths, atime=times, mtime=times, follow=st.booleans())
    def set_times_at(self, at, path, atime, mtime, follow):
        if atime is mtime is None:
            return  # Linux then does not look whether the path exists
        pair = self.pair(at, Directory)
        self.both(lambda i: pair[i].set_times_at(path, atime, mtime, follow=follow))
        self.both(lambda i: exact(pair[i].stat_at(path, follow=follow), atime, mtime))

    @rule(at=handles, room=st.integers(0, 300))
    def entries(self, at, room):
        pair = self.pair(at, Directory)
        self.both(lambda i: listing(pair[i], room))

    # -- files

    @rule(at=handles, sizes=st.lists(lengths, max_size=3))
    def read(self, at, sizes):
        pair = self.pair(at, RegularFile)
        self.both(lambda i: reading(sizes, lambda buffers: read_here(pair[i], buffers)))

    @rule(at=handles, sizes=st.lists(lengths, max_size=3))
    def write(self, at, sizes):
        pair = self.pair(at, RegularFile)
        data = self.data(sizes)
        self.both(lambda i: pair[i].try_write(data))

    @rule(at=handles, sizes=st.lists(lengths, max_size=3), offset=offsets)
    def pread(self, at, sizes, offset):
        pair = self.pair(at, RegularFile)
        self.both(lambda i: reading(sizes, lambda buffers: read_at(pair[i], buffers, offset)))

    @rule(at=handles, sizes=st.lists(lengths, max_size=3), offset=sizes_to_be)
    def pwrite(self, at, sizes, offset):
        pair = self.pair(at, RegularFile)
        data = self.data(sizes)
        self.both(lambda i: pair[i].pwrite(data, offset))

    @rule(at=handles, offset=sizes_to_be, whence=st.sampled_from([0, 1, 2, 9]))
    def seek(self, at, offset, whence):
        pair = self.pair(at, RegularFile)
        self.both(lambda i: pair[i].seek(offset, whence))

    @rule(at=handles, size=sizes_to_be)
    def set_size(self, at, size):
        pair = self.pair(at, RegularFile)
        self.both(lambda i: pair[i].set_size(size))

    @rule(at=handles, offset=offsets, length=lengths)
    def allocate(self, at, offset, length):
        pair = self.pair(at, RegularFile)
        self.both(lambda i: pair[i].allocate(offset, length))

    @rule(at=handles, offset=offsets, length=lengths, advice=st.integers(0, 6))
    def advise(self, at, offset, length, advice):
        pair = self.pair(at, RegularFile)
        self.both(lambda i: pair[i].advise(offset, length, advice))

    @rule(at=handles, append=st.booleans())
    def set_append(self, at, append):
        pair = self.pair(at, RegularFile)
        self.both(lambda i: pair[i].set_append(append))

    # -- both

    @rule(at=handles, atime=times, mtime=times)
    def set_times(self, at, atime, mtime):
        pair = self.pair(at, object)
        self.both(lambda i: pair[i].set_times(atime, mtime))
        self.both(lambda i: exact(pair[i].stat(), atime, mtime))

    @rule(at=handles)
    def stat(self, at):
        pair = self.pair(at, object)
        self.both(lambda i: pair[i].stat())

    @rule(at=handles)
    def close(self, at):
        if len(self.pairs) > 2:  # the first two stay: there is always a directory and a file to use
            for each in self.pairs.pop(2 + at % (len(self.pairs) - 2)):
                each.release()

    def data(self, sizes: list[int]) -> list[memoryview]:
        """Bytes that no other write has."""
        self.count += 1
        return [memoryview(bytes([self.count % 255 + 1]) * size) for size in sizes]


def outcome(call: Callable[[int], Any], which: int) -> Any:
    """What a call returns, or the name of its errno."""
    try:
        return call(which)
    except OSError as error:
        return errno.errorcode[error.errno]


def wrong(first: Directory, path: bytes, second: Directory, new: bytes) -> list[Any]:
    """The errnos of two paths, if both have one."""
    found = [
        outcome(lambda _: first.stat_at(path, follow=False), 0),
        outcome(lambda _: second.stat_at(new, follow=False), 0),
    ]
    return found if all(isinstance(each, str) for each in found) else []


def shown(result: Any) -> Any:
    """What of a result must be the same on both sides."""
    if isinstance(result, (Directory, RegularFile)):
        return shown(result.stat())
    if isinstance(result, Stat):
        kind = stat.S_IFMT(result.mode)
        # How large a directory is, and how it counts its subdirectories, is the host file system's own.
        return (kind, bool(result.nlink)) if kind == stat.S_IFDIR else (kind, result.nlink, result.size)
    return result


def exact(found: Stat, atime: int | None, mtime: int | None) -> tuple[int | None, int | None]:
    """The times that were set to a moment."""
    return (
        None if atime in (None, NOW) else found.atime_ns,
        None if mtime in (None, NOW) else found.mtime_ns,
    )


def reading(sizes: list[int], read: Callable[[list[memoryview]], int]) -> tuple[int, list[bytes]]:
    buffers = [bytearray(b"\xa5" * size) for size in sizes]
    return read([memoryview(buffer) for buffer in buffers]), [bytes(buffer) for buffer in buffers]


def read_here(file: RegularFile, buffers: list[memoryview]) -> int:
    """Read at the position, also what the host has to fetch from the disk first."""
    while (count := file.try_read(buffers)) == BLOCKED:
        os.pread(file.fd, sum(map(len, buffers)), file.seek(0, os.SEEK_CUR))
    return count


def read_at(file: RegularFile, buffers: list[memoryview], offset: int) -> int:
    while (count := file.pread(buffers, offset)) == BLOCKED:
        os.pread(file.fd, sum(map(len, buffers)), offset)
    return count


def listing(directory: Directory, room: int) -> list[tuple[bytes, int]]:
    """The entries, read in pieces."""
    found, cookie = [], 0
    while entries := directory.entries(cookie, room):
        found += [(entry.name, entry.mode) for entry in entries]
        cookie = entries[-1].next
    return sorted(found)


def snapshot(root: Directory) -> dict[bytes, Any]:
    """Everything below a directory: what each name is, and which names are one file."""
    found: dict[bytes, Any] = {}
    first: dict[int, bytes] = {}
    todo = [b"."]
    while todo:
        above = todo.pop()
        directory = root.open(above, os.O_RDONLY | os.O_DIRECTORY, follow=False)
        for name, _ in listing(directory, 1000):
            if name in (b".", b".."):
                continue
            path = above + b"/" + name
            seen = root.stat_at(path, follow=False)
            content: Any = None
            if stat.S_ISDIR(seen.mode):
                todo.append(path)
            elif stat.S_ISLNK(seen.mode):
                content = outcome(lambda _, path=path: root.read_link(path), 0)
            else:
                file = root.open(path, os.O_RDONLY, follow=False)
                content = reading([seen.size + 1], lambda buffers, file=file: read_at(file, buffers, 0))
                file.release()
            found[path] = (shown(seen), first.setdefault(seen.ino, path), content)
        directory.release()
    return found


def check_quota(tree: Tree) -> None:
    """With all gone, nothing is counted any more."""
    for name in list(tree.root.names):
        tree.remove_all(tree.root, name)
    assert (tree.quota.used_bytes, tree.quota.used_entries) == (0, 0)


TestBothAnswerTheSame = Machine.TestCase
TestBothAnswerTheSame.settings = settings(
    max_examples=RUNS,
    stateful_step_count=60,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
