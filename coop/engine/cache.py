"""Compiled modules on disk, so that a 3 MB guest starts in milliseconds the second time.

wasmtime loads whatever native code it is given, altered or not, without a word.
So an entry is trusted only if all of this holds:

1. The directory is ours: owned by the effective user, mode 0700, no symlink.
   Otherwise the cache is not used, with a warning.
2. The entry's name is the hash of what it was made from: the wasm, wasmtime's
   version, the engine's configuration and the processor.
3. The entry is a file of ours, which nobody else may use.  While the directory was open to others, as it
   was before somebody heeded the warning, they may have left what they liked under any name.
4. The entry's first 32 bytes are the digest of the rest, and they match.  A digest is the SHA-256
   of those of the two halves, so that two processors can work at it.

An entry that fails is rebuilt.  Entries are written to a temporary file and
renamed, so that nobody sees half of one, and read as a whole: a mapped file that
somebody cuts short would kill the process with SIGBUS.

The directory is bounded: when it holds too much, those go that nobody has used for longest.  A
file's time of change tells when that was, to the day.
"""

import hashlib
import os
import re
import stat
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from coop.engine.config import Engine
from coop.logs import Log

_DIGEST = 32
_FORMAT = b"coop module 4"
_LARGE = 1 << 20
"""From here on, hashing takes longer than starting a thread."""
MOST_BYTES, MOST_ENTRIES = 2 << 30, 4096
"""What a directory may hold; beyond it, the oldest go until three quarters are left."""
_DAY_S = 86400
_NEW = ".new-"
_ENTRY = re.compile("[0-9a-f]{64}")

log = Log("coop.engine")

_unlooked: dict[Path, int] = {}
"""Bytes stored in a directory since this process last looked how much it holds."""

_told: set[tuple[str, str]] = set()
"""Which directories were found unusable, and why: every start would say so for each module again."""


def default_directory() -> Path | None:
    """Return the cache directory: $COOP_CACHE_DIR (empty: none), else below $XDG_CACHE_HOME or ~/.cache.

    A path of the latter that is not absolute is none, as its specification wants: each directory that a
    program is started in, or changes to, would get a cache of its own.
    """
    chosen = os.environ.get("COOP_CACHE_DIR")
    if chosen is not None:
        return Path(chosen) if chosen else None
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        if not base.is_absolute():
            base = Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "coop" if base.is_absolute() else None


def _processor() -> bytes:
    """Name what native code depends on: the machine and its instruction set extensions."""
    lines = [os.uname().machine.encode()]
    try:
        for line in Path("/proc/cpuinfo").read_bytes().splitlines():
            if line.startswith((b"flags", b"Features")):
                lines.append(line)
                break
    except OSError:
        pass
    return b"\n".join(lines)


def _digest(data: bytes) -> bytes:
    """Hash the halves, of much data both at once - hashlib lets go of the GIL - and then the two hashes."""
    view, middle = memoryview(data), len(data) // 2
    one, other = hashlib.sha256(), hashlib.sha256()
    helper = threading.Thread(target=one.update, args=(view[:middle],))
    is_beside = len(data) >= _LARGE
    try:
        if is_beside:
            helper.start()
    except RuntimeError:  # the system has no thread left
        is_beside = False
    other.update(view[middle:])
    if is_beside:
        helper.join()
    else:
        one.update(view[:middle])
    return hashlib.sha256(one.digest() + other.digest()).digest()


class ModuleCache:
    """Entries in one directory; every failure means "not there", and no error.

    directory  -- where; None: nowhere
    most_bytes -- what it may hold
    """

    def __init__(self, directory: Path | None, *, most_bytes: int = MOST_BYTES) -> None:
        self.directory = directory
        self._most_bytes = most_bytes

    def load(self, wasm: bytes, engine: Engine) -> bytes | None:
        """Return the serialized module for `wasm`, or None if there is none to be trusted."""
        path = self._path(wasm, engine)
        if path is None:
            return None
        try:
            with open(path, "rb", buffering=0, opener=_open_entry) as file:
                found = os.fstat(file.fileno())
                if not _is_private(found):
                    log.warning("module cache: entry of others, compiling again", entry=str(path))
                    return None
                # Two reads and no slice, and none through a buffer, which would put the two together: of a
                # large guest, each copy takes as long as loading it.
                digest = file.read(_DIGEST)
                serialized = file.readall()
                if found.st_mtime < time.time() - _DAY_S:
                    with suppress(OSError):  # a disk that is read-only, say
                        os.utime(file.fileno())
        except OSError:
            return None
        if serialized and _digest(serialized) == digest:
            return serialized
        log.warning("module cache: broken entry, compiling again", entry=str(path))
        return None

    def store(self, wasm: bytes, engine: Engine, serialized: bytes) -> None:
        """Keep `serialized` for the next time; a full or read-only disk changes nothing."""
        path = self._path(wasm, engine)
        if path is None:
            return
        temporary = None
        try:
            fd, temporary = tempfile.mkstemp(prefix=_NEW, dir=path.parent)
            with open(fd, "wb") as file:
                file.write(_digest(serialized))
                file.write(serialized)
            os.rename(temporary, path)
        except OSError as error:
            log.warning("module cache: entry not written", entry=str(path), error=str(error))
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            return
        # To look at a full directory takes some 10 ms, so not after each small one.
        _unlooked[path.parent] = _unlooked.get(path.parent, self._most_bytes) + len(serialized)
        if _unlooked[path.parent] > self._most_bytes // 16:
            _unlooked[path.parent] = 0
            with suppress(OSError):
                _make_room(path.parent, self._most_bytes)

    def _path(self, wasm: bytes, engine: Engine) -> Path | None:
        if self.directory is None or not self._is_ours(self.directory):
            return None
        key = hashlib.sha256()
        for part in (_FORMAT, engine.identity.encode(), _processor(), _digest(wasm)):
            key.update(len(part).to_bytes(8, "little"))
            key.update(part)
        return self.directory / key.hexdigest()

    @staticmethod
    def _is_ours(directory: Path) -> bool:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = os.lstat(directory)
        except OSError as error:
            _tell_once(str(directory), str(error))
            return False
        trouble = (
            "it is no directory, or a symlink"
            if not stat.S_ISDIR(found.st_mode)
            else f"it belongs to user {found.st_uid}"
            if found.st_uid != os.geteuid()
            else f"others may use it (mode {stat.S_IMODE(found.st_mode):o}, wanted 700)"
            if stat.S_IMODE(found.st_mode) & 0o077
            else ""
        )
        if trouble:
            _tell_once(str(directory), trouble)
        return not trouble


def _make_room(directory: Path, most_bytes: int) -> None:
    """Remove entries that nobody has used for longest, and what processes that were killed have left.

    Files that are none of ours are left alone, and so is the newest entry, whatever its size.
    """
    entries: list[tuple[float, int, str]] = []
    with os.scandir(directory) as listing:
        for entry in listing:
            with suppress(FileNotFoundError):  # another process has been quicker
                found = entry.stat(follow_symlinks=False)
                if _ENTRY.fullmatch(entry.name) and stat.S_ISREG(found.st_mode):
                    entries.append((found.st_mtime, found.st_size, entry.path))
                elif entry.name.startswith(_NEW) and found.st_mtime < time.time() - _DAY_S:
                    os.unlink(entry.path)
    size, count = sum(entry[1] for entry in entries), len(entries)
    if size <= most_bytes and count <= MOST_ENTRIES:
        return
    entries.sort()
    for _, its_size, path in entries[:-1]:
        if size <= most_bytes * 3 // 4 and count <= MOST_ENTRIES * 3 // 4:
            break
        with suppress(FileNotFoundError):
            os.unlink(path)
        size, count = size - its_size, count - 1
    log.info("module cache: made room", directory=str(directory), entries=count, bytes=size)


def _open_entry(path: str, flags: int) -> int:
    # O_NOFOLLOW: an entry that is a link was not written by us.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _is_private(found: os.stat_result) -> bool:
    """Whether it is a file that we alone have written."""
    is_open = stat.S_IMODE(found.st_mode) & 0o077
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not is_open


def _tell_once(directory: str, reason: str) -> None:
    if (directory, reason) not in _told:
        _told.add((directory, reason))
        log.warning("module cache: not used", directory=directory, reason=reason)
