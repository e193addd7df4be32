"""wasi:filesystem's descriptors: open files and directories, as a guest has them.

A descriptor is a file of `coop.fs` and the flags it was opened with.  Paths are resolved
there and nowhere else, and what may be changed is decided there; here are the names that
WASI has for it all.

1. A path that leaves the directory gets not-permitted, a change below a read-only directory read-only.
2. What is no file has no bytes, bad-descriptor; what is no directory has no names, not-directory.
3. A directory that was opened below another may be changed if that one may, asked for or not: the C
   library and the preview 1 adapter never ask for mutate-directory, and change such directories all the
   same.  The flag is always among those it has then.
"""

import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import Any

from coop.fs import LAST_NS, MAX_OFFSET, Directory, RegularFile, Stat, to_stat
from coop.netpoll.contract import READ, WRITE
from coop.netpoll.openfile import BLOCKED, OpenFile
from coop.threads import run_in_crew
from coop.wasip2.filesystem.errorcode import fallible
from coop.wasip2.filesystem.modes import (
    ADVICE,
    DescriptorStat,
    MetadataHash,
    descriptor_stat,
    descriptor_type,
    host_flags,
    kept_flags,
    metadata_hash,
    new_time,
)
from coop.wasip2.filesystem.streams import DirectoryEntries, append_stream, input_stream, output_stream
from coop.wasip2.reading import MOST, InputStream
from coop.wasip2.world import World, released
from coop.wasip2.writing import OutputStream
from coop.wit import Case, Later, Resource, function

__all__ = ["Descriptor", "of_directory"]

_NOT_FOR_DIRECTORIES = frozenset(("create", "exclusive", "truncate"))

Flags = frozenset[str]


def of_directory(world: World, directory: Directory) -> "Descriptor":
    """Make the descriptor of an open directory, which it releases."""
    changes = () if directory.read_only else ("mutate-directory",)
    return Descriptor(world, directory, frozenset(("read", *changes)))


class Descriptor(Resource):
    """wasi:filesystem/types descriptor.

    file  -- the open file, which it releases
    flags -- the descriptor-flags it has
    """

    __slots__ = ("_world", "file", "flags")

    def __init__(self, world: World, file: OpenFile, flags: Flags) -> None:
        super().__init__()
        self._world = world
        self.file = file
        self.flags = flags

    def drop(self) -> None:
        """Let go of the file; streams of it go on."""
        released(self.file)

    # -- what it is

    @fallible("func() -> result<descriptor-flags, error-code>")
    def get_flags(self) -> Flags:
        """Return how it was opened."""
        return self.flags

    @fallible("func() -> result<descriptor-type, error-code>")
    def get_type(self) -> str:
        """Return what kind of file it is."""
        return descriptor_type(self.file.st_mode)

    @fallible("func() -> result<descriptor-stat, error-code>")
    def stat(self) -> DescriptorStat:
        """Return what is known of it."""
        return descriptor_stat(self._stat())

    @function("func(other: borrow<descriptor>) -> bool", parks=False)
    def is_same_object(self, other: "Descriptor") -> bool:
        """Say whether both are the same file, under whatever names; no, where the host cannot tell."""
        try:
            return self._stat()[:2] == other._stat()[:2]
        except OSError:
            return False

    @fallible("func() -> result<metadata-hash-value, error-code>")
    def metadata_hash(self) -> MetadataHash:
        """Return a hash of what the file is."""
        return metadata_hash(self._stat(), in_memory=self.file.fd < 0)

    @fallible("func(path-flags: path-flags, path: string) -> result<descriptor-stat, error-code>")
    def stat_at(self, path_flags: Flags, path: str) -> DescriptorStat:
        """Return what is known of what a path names."""
        return descriptor_stat(self._stat_at(path_flags, path))

    @fallible("func(path-flags: path-flags, path: string) -> result<metadata-hash-value, error-code>")
    def metadata_hash_at(self, path_flags: Flags, path: str) -> MetadataHash:
        """Return a hash of what a path names."""
        return metadata_hash(self._stat_at(path_flags, path), in_memory=self.file.fd < 0)

    # -- bytes

    @fallible("func(offset: filesize) -> result<input-stream, error-code>")
    def read_via_stream(self, offset: int) -> InputStream:
        """Make a stream that reads it from `offset` on."""
        return input_stream(self._world, self._opened_to("read"), offset)

    @fallible("func(offset: filesize) -> result<output-stream, error-code>")
    def write_via_stream(self, offset: int) -> OutputStream:
        """Make a stream that writes it from `offset` on."""
        return output_stream(self._world, self._opened_to("write"), offset)

    @fallible("func() -> result<output-stream, error-code>")
    def append_via_stream(self) -> OutputStream:
        """Make a stream that writes it at its end."""
        return append_stream(self._world, self._opened_to("write"))

    @fallible(
        "func(length: filesize, offset: filesize) -> result<tuple<list<u8>, bool>, error-code>", parks=None
    )
    def read(self, length: int, offset: int) -> tuple[bytes, bool] | Later:
        """Read up to `length` bytes from `offset` on, and say whether the end was met."""
        file = self._positioned("read")
        count = self._world.bytes_per_call(length, MOST)
        found = _read(file, count, offset)
        return Later(lambda: _read_waiting(file, count, offset)) if found is None else found

    @fallible("func(buffer: list<u8>, offset: filesize) -> result<filesize, error-code>", parks=None)
    def write(self, buffer: bytes, offset: int) -> int | Later:
        """Write from `offset` on, and return how many bytes were taken."""
        file = self._positioned("write")
        count = self._world.bytes_per_call(len(buffer), len(buffer))
        if offset + count > MAX_OFFSET:  # Linux has two errors for that
            raise OSError(errno.EINVAL, f"no file has {count} bytes at {offset}")
        put = partial(file.pwrite, (memoryview(buffer)[:count],), offset)
        found = put()
        return Later(lambda: _write_waiting(file, put)) if found == BLOCKED else found

    @fallible("func(offset: filesize, length: filesize, advice: advice) -> result<_, error-code>", parks=None)
    def advise(self, offset: int, length: int, advice: str) -> Later | None:
        """Take notice of how a range will be used; 0 bytes are all up to the end."""
        file = self._regular()
        work = partial(file.advise, offset, length, ADVICE[advice])
        # What is not needed any more and was written goes to the disk first, however much it is.
        return _done(file, work, is_long=ADVICE[advice] == os.POSIX_FADV_DONTNEED)

    @fallible("func(size: filesize) -> result<_, error-code>", parks=None)
    def set_size(self, size: int) -> Later | None:
        """Cut the file, or make it longer by zeroes."""
        file = self._regular()
        return _done(file, partial(file.set_size, size), is_long=file.takes_long_to_cut(size))

    @fallible(
        "func(data-access-timestamp: new-timestamp, data-modification-timestamp: new-timestamp)"
        " -> result<_, error-code>",
        parks=None,
    )
    def set_times(self, accessed: Case, modified: Case) -> Later | None:
        """Set its times."""
        file = self._on_disk()
        return _done(file, partial(file.set_times, *_times(accessed, modified)), is_long=file.is_busy())

    @fallible("func() -> result<_, error-code>", parks=None)
    def sync_data(self) -> Later | None:
        """Wait until its bytes are on the disk."""
        return self._synced(data_only=True)

    @fallible("func() -> result<_, error-code>", parks=None)
    def sync(self) -> Later | None:
        """Wait until all of it is on the disk."""
        return self._synced(data_only=False)

    # -- names

    @fallible("func() -> result<directory-entry-stream, error-code>")
    def read_directory(self) -> DirectoryEntries:
        """Begin to list the directory."""
        return DirectoryEntries(self._directory())

    @fallible(
        "func(path-flags: path-flags, path: string, open-flags: open-flags, %flags: descriptor-flags)"
        " -> result<descriptor, error-code>",
        parks=None,
    )
    def open_at(self, path_flags: Flags, path: str, open_flags: Flags, flags: Flags) -> "Descriptor | Later":
        """Open what a path names, or create it."""
        directory, name, follow = self._directory(), path.encode(), _follows(path_flags)
        if "directory" in open_flags and open_flags & _NOT_FOR_DIRECTORIES:
            raise OSError(errno.EINVAL, "open a directory, and create or cut it")
        if "mutate-directory" in flags:
            directory.require_writable()
        self._world.files.check_room()
        host = host_flags(open_flags, flags)
        cuts = "truncate" in open_flags and "exclusive" not in open_flags
        if not cuts or not directory.is_large(name, stat.S_IFREG, follow=follow):
            return self._opened(directory.open(name, host, follow=follow), flags)

        def cut_and_open() -> Descriptor:
            run_in_crew("disk", directory.apart, lambda own: own.cut(name, host, follow=follow))
            return self._opened(directory.open(name, host, follow=follow), flags)

        return Later(cut_and_open)

    @fallible("func(path: string) -> result<_, error-code>")
    def create_directory_at(self, path: str) -> None:
        """Make a directory."""
        self._directory().make_directory(path.encode())

    @fallible("func(path: string) -> result<string, error-code>")
    def readlink_at(self, path: str) -> str:
        """Return where a link leads."""
        return self._directory().read_link(path.encode()).decode()

    @fallible("func(path: string) -> result<_, error-code>", parks=None)
    def remove_directory_at(self, path: str) -> Later | None:
        """Remove an empty directory."""
        directory, name = self._directory(), path.encode()
        if not directory.is_large(name, stat.S_IFDIR, follow=False):
            directory.remove_directory(name)
            return None
        return _later(directory.apart, lambda own: own.remove_directory(name))

    @fallible(
        "func(old-path: string, new-descriptor: borrow<descriptor>, new-path: string)"
        " -> result<_, error-code>",
        parks=None,
    )
    def rename_at(self, old: str, other: "Descriptor", new: str) -> Later | None:
        """Rename, over what may be there."""
        source, target = self._directory(), other._directory()
        name, new_name = old.encode(), new.encode()
        if not target.is_large(new_name, stat.S_IFDIR, follow=False):
            source.rename(name, target, new_name)
            return None
        return _later(source.apart, lambda own: target.apart(lambda to: own.rename(name, to, new_name)))

    @fallible("func(old-path: string, new-path: string) -> result<_, error-code>")
    def symlink_at(self, target: str, path: str) -> None:
        """Make a link to `target`, which need not exist."""
        self._directory().symlink(target.encode(), path.encode())

    @fallible(
        "func(old-path-flags: path-flags, old-path: string, new-descriptor: borrow<descriptor>,"
        " new-path: string) -> result<_, error-code>"
    )
    def link_at(self, path_flags: Flags, old: str, other: "Descriptor", new: str) -> None:
        """Give a file another name."""
        directory = self._directory()
        directory.link(old.encode(), other._directory(), new.encode(), follow=_follows(path_flags))

    @fallible("func(path: string) -> result<_, error-code>")
    def unlink_file_at(self, path: str) -> None:
        """Remove a name that is no directory's."""
        self._directory().unlink(path.encode())

    @fallible(
        "func(path-flags: path-flags, path: string, data-access-timestamp: new-timestamp,"
        " data-modification-timestamp: new-timestamp) -> result<_, error-code>"
    )
    def set_times_at(self, path_flags: Flags, path: str, accessed: Case, modified: Case) -> None:
        """Set the times of what a path names."""
        directory = self._directory()
        directory.set_times_at(path.encode(), *_times(accessed, modified), follow=_follows(path_flags))

    # -- inside

    def _stat(self) -> Stat:
        file = self.file
        return file.stat() if isinstance(file, (RegularFile, Directory)) else to_stat(os.fstat(file.fd))

    def _stat_at(self, path_flags: Flags, path: str) -> Stat:
        return self._directory().stat_at(path.encode(), follow=_follows(path_flags))

    def _directory(self) -> Directory:
        """Return it as a directory.  Raises: OSError(ENOTDIR)."""
        if not isinstance(self.file, Directory):
            raise OSError(errno.ENOTDIR, f"{self.file.what} is no directory")
        return self.file

    def _opened(self, file: OpenFile, flags: Flags) -> "Descriptor":
        """Make the descriptor of a file that was just opened."""
        self._world.files.add(file)
        if isinstance(file, Directory):
            return of_directory(self._world, file)
        return Descriptor(self._world, file, kept_flags(flags))

    def _opened_to(self, act: str) -> OpenFile:
        """Return it as something to read or write.  Raises: OSError(EBADF) if it is not open for that."""
        if isinstance(self.file, Directory) or act not in self.flags:
            raise self._unfit(act)
        return self.file

    def _positioned(self, act: str) -> RegularFile:
        """Return it as something to read or write at any position.  Raises: OSError(EBADF, ESPIPE)."""
        file = self._opened_to(act)
        if not isinstance(file, RegularFile):
            raise OSError(errno.ESPIPE, f"{act} {file.what} at an offset")
        return file

    def _regular(self) -> RegularFile:
        if not isinstance(self.file, RegularFile):
            raise self._unfit("change")
        return self.file

    def _on_disk(self) -> RegularFile | Directory:
        if not isinstance(self.file, (RegularFile, Directory)):
            raise self._unfit("change")
        return self.file

    def _unfit(self, act: str) -> OSError:
        return OSError(errno.EBADF, f"{act} {self.file.what}: it cannot be, or was not opened so")

    def _synced(self, *, data_only: bool) -> Later | None:
        """Wait for the disk in a helper thread, unless the file is in memory."""
        file = self._on_disk()
        return _done(file, partial(file.sync, data_only=data_only), is_long=True)


def _done(file: RegularFile | Directory, work: Callable[[], None], *, is_long: bool) -> Later | None:
    """Have work done now, or in a helper thread if it takes long and the file is the system's."""
    if is_long and file.fd >= 0:
        return _later(work)
    work()
    return None


def _later(work: Callable[..., None], *args: Any) -> Later:
    return Later(lambda: run_in_crew("disk", work, *args))


def _read(file: RegularFile, count: int, offset: int) -> tuple[bytes, bool] | None:
    """Read, or return None if the disk has to be waited for."""
    buffer = bytearray(count)
    got = file.pread((memoryview(buffer),), offset)
    if got == BLOCKED:
        return None
    return bytes(memoryview(buffer)[:got]), not got and (count > 0 or offset >= file.stat().size)


def _read_waiting(file: RegularFile, count: int, offset: int) -> tuple[bytes, bool]:
    while True:
        file.wait(READ, "read")
        found = _read(file, count, offset)
        if found is not None:
            return found


def _write_waiting(file: RegularFile, put: Callable[[], int]) -> int:
    while True:
        file.wait(WRITE, "write")
        count = put()
        if count != BLOCKED:
            return count


def _times(accessed: Case, modified: Case) -> tuple[int | None, int | None]:
    """Return both times as file systems take them.  Raises: OSError(EOVERFLOW)."""
    times = new_time(accessed), new_time(modified)
    if any(time_ns is not None and time_ns > LAST_NS for time_ns in times):
        raise OSError(errno.EOVERFLOW, f"set times to {times} ns")
    return times


def _follows(path_flags: Flags) -> bool:
    return "symlink-follow" in path_flags
