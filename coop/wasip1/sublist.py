"""The descriptors that a guest's `poll_oneoff` names, and which of them are worth a look.

A guest passes its whole array with every call.  Go's has an entry for each connection
that waits, and from one call to the next it changes where something happened: a few
entries of thousands.  So there are two ways to take an array apart:

    PlainList   all of it anew, unless it is the same bytes; every entry is looked at.
                For short arrays nothing is faster.
    KeptList    what differs from the last array, found by comparing halves, halves of
                halves and so on; and only those files are looked at that an event has
                marked since, or that were ready when last looked at.

Both say the same of the same array; the plain one is the measure of the other.

1. An entry names a file through the guest's table.  `forget` a file when its number is
   closed, moved or narrowed, before the next array is taken; a number that named nothing is
   looked up again whenever the table has changed.
2. A file is listened to from the moment its entry is taken, before anybody looks at it:
   an event between the look and the wait marks it.
3. Bits of a file are set by events, and otherwise only ahead of an event that is on its
   way (`OpenFile._look`), so that a file without a mark has nothing new to say.
4. What is kept is the array, its columns and an index: so many bytes for each entry.
   An array that differs much from the last one is taken anew, which costs no more than
   a few times what the plain list takes for it.
"""

import struct
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from coop.netpoll.contract import BOTH
from coop.netpoll.openfile import OpenFile
from coop.wasip1.abi import SUBSCRIPTION_SIZE, EventType, subscriptions_layout
from coop.wasip1.fdtable import Descriptor

_FD_READ, _FD_WRITE = int(EventType.FD_READ), int(EventType.FD_WRITE)
_ENTRY = struct.Struct("<QB7xI28x")
assert _ENTRY.size == SUBSCRIPTION_SIZE

SHORT = 64
"""Up to so many entries the plain list is faster."""

LAYOUT_UP_TO = 512
"""The guest chooses how long its arrays are, so only small ones have a layout of their own."""


class Refused:
    """Stands for a file where a subscription cannot be: always ready, with an errno."""

    __slots__ = ("errno",)

    ready = BOTH

    def __init__(self, errno: int) -> None:
        self.errno = errno


Named = OpenFile | Refused
"""What an entry names."""


class Names(Protocol):
    """The guest's table, as a list wants to see it."""

    @property
    def fds(self) -> Mapping[int, Descriptor]:
        """The table itself."""
        ...

    def find(self, number: int, mode: int) -> Named:
        """Return the file of a subscription, or why there is none."""
        ...

    def watch(self, file: OpenFile) -> None:
        """See to it that events on `file` are noted from now on; once is enough."""
        ...


class SubList(Protocol):
    """An array taken apart: three columns of equal length for descriptors, and the rest."""

    @property
    def userdata(self) -> Sequence[int]:
        """What each event gives back to the guest."""
        ...

    @property
    def modes(self) -> Sequence[int]:
        """What is waited for; 0 where the entry is for no descriptor."""
        ...

    @property
    def files(self) -> Sequence[Named]:
        """What each entry names."""
        ...

    @property
    def clocks(self) -> Collection[int]:
        """The indices of all other entries: clocks, and what does not exist."""
        ...

    def __len__(self) -> int:
        """Count the subscriptions for descriptors."""
        ...

    def take(self, array: bytes, version: int, names: Names) -> None:
        """Take an array apart; `version` is the table's."""
        ...

    def candidates(self) -> list[int]:
        """Return the indices of what may be ready, in order; nothing else is."""
        ...

    def names(self, file: OpenFile) -> bool:
        """Whether an entry names `file`."""
        ...

    def forget(self, file: OpenFile) -> None:
        """Take notice that a number names `file` no more, or not with the same rights."""
        ...


def columns(array: bytes) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Return userdata, kind and number of every entry."""
    count = len(array) // SUBSCRIPTION_SIZE
    if count <= LAYOUT_UP_TO:
        flat: Sequence[int] = subscriptions_layout(count).unpack(array)
    else:
        flat = [value for entry in _ENTRY.iter_unpack(array) for value in entry]
    return flat[0::3], flat[1::3], flat[2::3]


class PlainList:
    """The list that is taken anew."""

    __slots__ = ("_array", "_version", "clocks", "files", "modes", "userdata")

    def __init__(self) -> None:
        self._array: bytes | None = None
        self._version = -1
        self.userdata: Sequence[int] = ()
        self.modes: Sequence[int] = ()
        self.files: Sequence[Named] = ()
        self.clocks: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.files)

    def take(self, array: bytes, version: int, names: Names) -> None:
        """See `SubList`; the columns have no place for clocks."""
        if version == self._version and array == self._array:
            return
        self._version, self._array = version, array
        userdata, kinds, numbers = columns(array)
        self.clocks = ()
        if kinds.count(_FD_READ) != len(kinds) and set(kinds) - {_FD_READ, _FD_WRITE}:
            self.clocks = [i for i, kind in enumerate(kinds) if kind not in (_FD_READ, _FD_WRITE)]
            stay = [i for i, kind in enumerate(kinds) if kind in (_FD_READ, _FD_WRITE)]
            userdata, kinds = [userdata[i] for i in stay], [kinds[i] for i in stay]
            numbers = [numbers[i] for i in stay]
        self.userdata, self.modes = userdata, kinds
        files: Any = numbers and [entry and entry.polls for entry in map(names.fds.get, numbers)]
        self.files = list(map(names.find, numbers, kinds)) if None in files else files

    def candidates(self) -> list[int]:
        """See `SubList`."""
        files, modes = self.files, self.modes
        # All of one length, and strict=True would cost what the comprehension saves.
        return [i for i, file, mode in zip(range(len(files)), files, modes) if file.ready & mode]  # noqa: B905

    def names(self, file: OpenFile) -> bool:
        """See `SubList`."""
        return file in self.files

    def forget(self, file: OpenFile) -> None:
        """See `SubList`."""
        del file
        self._array = None


class KeptList:
    """The list that is kept up.

    marks  -- the files that events came for; taken out here
    inside -- those files of the list that no poller watches; they are always looked at
    """

    __slots__ = (
        "_array",
        "_at",
        "_hot",
        "_refused",
        "_stale",
        "_version",
        "clocks",
        "files",
        "inside",
        "marks",
        "modes",
        "userdata",
    )

    def __init__(self) -> None:
        self._array = b""
        self._version = -1
        self.userdata: list[int] = []
        self.modes: list[int] = []
        self.files: list[Named] = []
        self.clocks: set[int] = set()
        self.marks: dict[OpenFile, None] = {}
        self.inside: dict[OpenFile, None] = {}
        self._at: dict[OpenFile, int | set[int]] = {}
        self._hot: dict[OpenFile, None] = {}
        self._refused: set[int] = set()
        self._stale: set[int] = set()

    def __len__(self) -> int:
        return len(self.files) - len(self.clocks)

    # -- taking an array

    def take(self, array: bytes, version: int, names: Names) -> None:
        """See `SubList`."""
        stale = self._stale
        if version != self._version:
            self._version = version
            stale |= self._refused
        if array != self._array:
            count = len(array) // SUBSCRIPTION_SIZE
            changed = differing(self._array, array, most=count // 8)
            if changed is None:
                self._take_all(array, names)
                return
            self._resize(count)
            self._array = array
            stale.update(changed)
        if stale:
            count = len(self.files)
            for at in stale:
                if at < count:
                    self._take_one(at, names)
            stale.clear()

    def _take_all(self, array: bytes, names: Names) -> None:
        self._array = array
        userdata, kinds, numbers = columns(array)
        self.userdata = list(userdata)
        self.modes = [kind if kind in (_FD_READ, _FD_WRITE) else 0 for kind in kinds]
        self.clocks = {i for i, mode in enumerate(self.modes) if not mode}
        pairs = zip(numbers, self.modes, strict=True)
        self.files = [names.find(number, mode) if mode else _NOTHING for number, mode in pairs]
        self._at.clear()
        self.inside.clear()
        self._hot.clear()
        self._refused.clear()
        self._stale.clear()
        for at, mode in enumerate(self.modes):
            if mode:
                self._add(at, self.files[at], names)

    def _resize(self, count: int) -> None:
        before = len(self.files)
        for at in range(count, before):
            self._remove(at)
        del self.userdata[count:], self.modes[count:], self.files[count:]
        for _ in range(before, count):
            self.userdata.append(0)
            self.modes.append(0)
            self.files.append(_NOTHING)

    def _take_one(self, at: int, names: Names) -> None:
        self._remove(at)
        userdata, kind, number = _ENTRY.unpack_from(self._array, at * SUBSCRIPTION_SIZE)
        mode = kind if kind in (_FD_READ, _FD_WRITE) else 0
        self.userdata[at], self.modes[at] = userdata, mode
        if mode:
            self._add(at, names.find(number, mode), names)
        else:
            self.clocks.add(at)

    # -- the index

    def _add(self, at: int, file: Named, names: Names) -> None:
        self.files[at] = file
        if isinstance(file, Refused):
            self._refused.add(at)
            return
        others = self._at.get(file)
        if others is None:
            self._at[file] = at
            names.watch(file)
            if file.poller is None:
                self.inside[file] = None
        elif isinstance(others, int):
            self._at[file] = {others, at}
        else:
            others.add(at)
        self._hot[file] = None

    def _remove(self, at: int) -> None:
        file, self.files[at] = self.files[at], _NOTHING
        self.clocks.discard(at)
        self._refused.discard(at)
        if isinstance(file, Refused):
            return
        others = self._at.get(file)
        if isinstance(others, set):
            others.discard(at)
            if len(others) == 1:
                self._at[file] = others.pop()
        elif others is not None:
            del self._at[file]
            self.inside.pop(file, None)
            self._hot.pop(file, None)

    def names(self, file: OpenFile) -> bool:
        """See `SubList`."""
        return file in self._at

    def modes_of(self, file: OpenFile) -> int:
        """Return the modes in which the entries name `file`."""
        found, modes = self._at[file], 0
        for at in (found,) if isinstance(found, int) else found:
            modes |= self.modes[at]
        return modes

    def forget(self, file: OpenFile) -> None:
        """See `SubList`; nobody hears of the file's events any more."""
        self.marks.pop(file, None)
        self._hot.pop(file, None)
        self.inside.pop(file, None)
        found = self._at.pop(file, ())
        for at in (found,) if isinstance(found, int) else found:
            self.files[at] = _NOTHING
            self._stale.add(at)

    # -- looking

    def candidates(self) -> list[int]:
        """See `SubList`."""
        hot, modes, at = self._hot, self.modes, self._at
        if self.marks:
            hot.update(self.marks)
            self.marks.clear()
        found = list(self._refused)
        cold = []
        for file in hot:
            where = at.get(file)
            ready = file.ready
            if isinstance(where, int):
                if ready & modes[where]:
                    found.append(where)
                    continue
            elif where:
                ones = [i for i in where if ready & modes[i]]
                if ones:
                    found += ones
                    continue
            if file.poller is not None or where is None:
                cold.append(file)
        for file in cold:
            del hot[file]
        found.sort()
        return found


_NOTHING = Refused(0)
"""Stands where an entry names no descriptor; its mode is 0, so that nobody looks at it."""


def differing(old: bytes, new: bytes, most: int) -> list[int] | None:
    """Return the indices of entries that differ, with those that only the new one has; None if above `most`.

    Equal stretches cost what comparing memory costs; each difference some log n comparisons.
    """
    size = SUBSCRIPTION_SIZE
    shared, count = min(len(old), len(new)) // size, len(new) // size
    if count - shared > most:
        return None
    found = list(range(shared, count))
    spans = [(0, shared)]
    while spans:
        begin, end = spans.pop()
        middle = (begin + end) // 2
        if middle == begin:
            if begin < end:
                found.append(begin)
                if len(found) > most:
                    return None
            continue
        # The span is known to differ, but for the first one.  If its first half does not, the other does.
        is_equal = old[begin * size : middle * size] == new[begin * size : middle * size]
        if is_equal or old[middle * size : end * size] != new[middle * size : end * size]:
            spans.append((middle, end))
        if not is_equal:
            spans.append((begin, middle))
    return found
