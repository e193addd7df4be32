"""The arrays of a guest's `poll_oneoff`: what it names, what is worth a look, and the answer.

A guest passes its whole array with every call.  There are two ways to take it apart:

    PlainList   all of it anew, unless it is the same bytes; every entry is looked at.
                For short arrays, and for such as change all over, nothing is faster.
    KeptList    what differs from the last array, and only what an event has marked
                is looked at; it has a module of its own, `keptlist`.

Both say the same of the same array; the plain one is the measure of the other.

An entry names a file through the guest's table.  `forget` a file when its number is
closed, moved or narrowed, before the next array is taken.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from coop.netpoll.contract import BOTH, FAILED, HANGUP, MODE_NAMES, READ, STALE_READ, STALE_WRITE
from coop.netpoll.openfile import OpenFile
from coop.wasip1.abi import (
    EVENT,
    EVENT_FD_READWRITE_HANGUP,
    EVENT_SIZE,
    SUBSCRIPTION_SIZE,
    EventType,
    events_layout,
    subscriptions_layout,
)
from coop.wasip1.fdtable import Descriptor

_FD_READ = int(EventType.FD_READ)
FD_MODES = _FD_READ, int(EventType.FD_WRITE)
_FD_KINDS = frozenset(FD_MODES)
_OF_MODE = 0, ~STALE_WRITE, ~STALE_READ
"""For a mode, a file's bits without the one that concerns the other mode alone."""

SHORT = 64
"""Up to so many entries the plain list is faster."""

LAYOUT_UP_TO = 512
"""The guest chooses how long its arrays are, so only small ones have a layout of their own."""


class Refused:
    """Stands in the place of a file that may not be polled, with the errno that says why.

    Its bits are those of a file that is ready and failed, so that every look stops at it.
    """

    __slots__ = ("errno",)

    ready = BOTH | FAILED

    def __init__(self, errno: int) -> None:
        self.errno = errno


Named = OpenFile | Refused
"""What an entry names."""


class Finder(Protocol):
    """Who knows what the guest's numbers name, and hears of files: `poll.Poll`."""

    @property
    def fds(self) -> Mapping[int, Descriptor]:
        """The guest's table."""
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

    def take(self, array: bytes, version: int, finder: Finder) -> None:
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
        flat = []
        for i in range(0, count, LAYOUT_UP_TO):
            layout = subscriptions_layout(min(count - i, LAYOUT_UP_TO))
            flat += layout.unpack_from(array, i * SUBSCRIPTION_SIZE)
    return flat[0::3], flat[1::3], flat[2::3]


def look(subs: SubList, found: list[int]) -> None:
    """Append the events that hold now, of each its five values.

    What the kernel said of a file holds for the whole look: a guest may name one thousands of times.
    """
    files, modes, userdata = subs.files, subs.modes, subs.userdata
    is_one = len(subs) == 1
    # Bits above these ask for a closer look, which a file alone always gets: its bytes are counted.  In a
    # list of several 1 byte stands for "some": a system call for each would cost too much.
    plain = -1 if is_one else BOTH
    known: dict[tuple[OpenFile, int], tuple[int, ...]] = {}
    for i in subs.candidates():
        # Looked at again: asking for the level of the same file in an earlier slot may have changed it.
        file, mode = files[i], modes[i]
        ready = file.ready
        if not ready & _OF_MODE[mode] > plain:
            if ready & mode:
                found += (userdata[i], 0, mode, 1, 0)
        elif isinstance(file, Refused):
            found += (userdata[i], file.errno, mode, 0, 0)
        else:
            said = known.get((file, mode))
            if said is None:
                said = known[file, mode] = _look_closely(file, mode, is_one)
            if said:
                found += (userdata[i], *said)


def _look_closely(file: OpenFile, mode: int, is_one: bool) -> tuple[int, ...]:
    """Return what a file that is stale or hung up, or the only one, says in a mode, without the userdata."""
    if not file.level(mode):
        return ()
    hangup = file.ready & HANGUP and (mode == READ or file.is_hung_up())
    is_counted = mode == READ and (hangup or is_one)  # at a hangup 0 is the end
    return 0, mode, file.available() if is_counted else 1, EVENT_FD_READWRITE_HANGUP if hangup else 0


def store_events(view: memoryview, at: int, found: Sequence[int]) -> None:
    """Store events, of each its five values in one flat list, where a guest wants them."""
    count = len(found) // 5
    if count == 1:
        EVENT.pack_into(view, at, *found)
    elif count <= LAYOUT_UP_TO:
        events_layout(count).pack_into(view, at, *found)
    else:
        for i in range(0, count, LAYOUT_UP_TO):
            some = found[i * 5 : (i + LAYOUT_UP_TO) * 5]
            events_layout(len(some) // 5).pack_into(view, at + i * EVENT_SIZE, *some)


def told(subs: SubList) -> list[str]:
    """Put into words what an array names, as far as a line has room for it."""
    pairs = zip(subs.files, subs.modes, strict=True)
    named = [(file, mode) for file, mode in pairs if isinstance(file, OpenFile)]
    parts = [f"{MODE_NAMES[mode]} on {file.what}" for file, mode in named[:8]]
    return [*parts, f"{len(named) - 8} more"] if len(named) > 8 else parts


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

    def take(self, array: bytes, version: int, finder: Finder) -> None:
        """See `SubList`; the columns have no place for clocks."""
        if version == self._version and array == self._array:
            return
        self._version, self._array = version, array
        userdata, kinds, numbers = columns(array)
        self.clocks = ()
        if kinds.count(_FD_READ) != len(kinds) and not set(kinds) <= _FD_KINDS:
            self.clocks = [i for i, kind in enumerate(kinds) if kind not in FD_MODES]
            stay = [i for i, kind in enumerate(kinds) if kind in FD_MODES]
            userdata, kinds = [userdata[i] for i in stay], [kinds[i] for i in stay]
            numbers = [numbers[i] for i in stay]
        self.userdata, self.modes = userdata, kinds
        files: Any = numbers and [entry and entry.polls for entry in map(finder.fds.get, numbers)]
        self.files = list(map(finder.find, numbers, kinds)) if None in files else files

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
