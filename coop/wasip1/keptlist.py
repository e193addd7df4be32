"""Long arrays of `poll_oneoff` that change little from call to call.

Go's array has an entry for each connection that waits, and from one call to the next it
changes where something happened: a few entries of thousands.  What differs is found by
comparing halves, halves of halves and so on; and only those files are looked at that an
event has marked since, or that were ready when last looked at.

The reader may know the ready list of an epoll, Emscripten's for instance: a listener stays
at each file, an event puts the file on the list, and a look derives anew what is ready.

1. A number that named nothing is looked up again whenever the table has changed.
2. A file is listened to from the moment its entry is taken, before anybody looks at it:
   an event between the look and the wait marks it.
3. Bits of a file are set by events, and otherwise only ahead of an event that is on its
   way (`OpenFile._look`) or of a try that finds out (`OpenFile.worth_trying`), so that a
   file without a mark has nothing new to say.
4. What is kept is the array, its columns and an index: memory in proportion to the array.
   An array that differs much from the last one is taken anew, which costs a few times
   what the plain list takes for it.  Where that happens again and again, as it does
   while all connections are busy, nothing is gained by keeping: `anew` says so.
"""

from coop.netpoll.openfile import OpenFile
from coop.wasip1.abi import FD_SUBSCRIPTION, SUBSCRIPTION_SIZE
from coop.wasip1.sublist import FD_MODES, Finder, Named, Refused, columns


class KeptList:
    """The list that is kept up.

    marks  -- the files that events came for; taken out here
    inside -- those files of the list that no poller watches; they are always looked at
    places -- for each file, the index of its entry, or of all that name it
    anew   -- how many arrays in a row differed too much from the one before
    _hot   -- the files to look at: an event has marked them since, or they were ready at the last look
    _refused, _stale -- indices of entries that name no file, and of those to be taken again
    """

    __slots__ = (
        "_array",
        "_hot",
        "_refused",
        "_stale",
        "_version",
        "anew",
        "clocks",
        "files",
        "inside",
        "marks",
        "modes",
        "places",
        "userdata",
    )

    def __init__(self) -> None:
        self._array = b""
        self._version = -1
        self.anew = 0
        self.userdata: list[int] = []
        self.modes: list[int] = []
        self.files: list[Named] = []
        self.clocks: set[int] = set()
        self.marks: dict[OpenFile, None] = {}
        self.inside: dict[OpenFile, None] = {}
        self.places: dict[OpenFile, int | set[int]] = {}
        self._hot: dict[OpenFile, None] = {}
        self._refused: set[int] = set()
        self._stale: set[int] = set()

    def __len__(self) -> int:
        return len(self.files) - len(self.clocks)

    # -- taking an array

    def take(self, array: bytes, version: int, finder: Finder) -> None:
        """See `SubList`."""
        stale = self._stale
        if version != self._version:
            self._version = version
            stale |= self._refused
        if array != self._array:
            count = len(array) // SUBSCRIPTION_SIZE
            changed = differing(self._array, array, most=count // 8)
            if changed is None:
                self.anew += 1
                self._take_all(array, finder)
                return
            self.anew = 0
            self._resize(count)
            self._array = array
            stale.update(changed)
        if stale:
            count = len(self.files)
            for at in stale:
                if at < count:
                    self._take_one(at, finder)
            stale.clear()

    def _take_all(self, array: bytes, finder: Finder) -> None:
        self._array = array
        userdata, kinds, numbers = columns(array)
        self.userdata = list(userdata)
        self.modes = [kind if kind in FD_MODES else 0 for kind in kinds]
        self.clocks = {i for i, mode in enumerate(self.modes) if not mode}
        pairs = zip(numbers, self.modes, strict=True)
        self.files = [finder.find(number, mode) if mode else _NOTHING for number, mode in pairs]
        self.places.clear()
        self.inside.clear()
        self._hot.clear()
        self._refused.clear()
        self._stale.clear()
        for at, mode in enumerate(self.modes):
            if mode:
                self._add(at, self.files[at], finder)

    def _resize(self, count: int) -> None:
        before = len(self.files)
        for at in range(count, before):
            self._remove(at)
        del self.userdata[count:], self.modes[count:], self.files[count:]
        for _ in range(before, count):
            self.userdata.append(0)
            self.modes.append(0)
            self.files.append(_NOTHING)

    def _take_one(self, at: int, finder: Finder) -> None:
        self._remove(at)
        userdata, kind, number = FD_SUBSCRIPTION.unpack_from(self._array, at * SUBSCRIPTION_SIZE)
        mode = kind if kind in FD_MODES else 0
        self.userdata[at], self.modes[at] = userdata, mode
        if mode:
            self._add(at, finder.find(number, mode), finder)
        else:
            self.clocks.add(at)

    # -- the index

    def _add(self, at: int, file: Named, finder: Finder) -> None:
        self.files[at] = file
        if isinstance(file, Refused):
            self._refused.add(at)
            return
        others = self.places.get(file)
        if others is None:
            self.places[file] = at
            finder.watch(file)
            if file.poller is None:
                self.inside[file] = None
        elif isinstance(others, int):
            self.places[file] = {others, at}
        else:
            others.add(at)
        self._hot[file] = None

    def _remove(self, at: int) -> None:
        file, self.files[at] = self.files[at], _NOTHING
        self.clocks.discard(at)
        self._refused.discard(at)
        if isinstance(file, Refused):
            return
        others = self.places.get(file)
        if isinstance(others, set):
            others.discard(at)
            if len(others) == 1:
                self.places[file] = others.pop()
        elif others is not None:
            del self.places[file]
            self.inside.pop(file, None)
            self._hot.pop(file, None)

    def names(self, file: OpenFile) -> bool:
        """See `SubList`."""
        return file in self.places

    def modes_of(self, file: OpenFile) -> int:
        """Return the modes in which the entries name `file`."""
        found, modes = self.places[file], 0
        for at in (found,) if isinstance(found, int) else found:
            modes |= self.modes[at]
        return modes

    def forget(self, file: OpenFile) -> None:
        """See `SubList`; nobody hears of the file's events any more."""
        self.marks.pop(file, None)
        self._hot.pop(file, None)
        self.inside.pop(file, None)
        found = self.places.pop(file, ())
        for at in (found,) if isinstance(found, int) else found:
            self.files[at] = _NOTHING
            self._stale.add(at)

    # -- looking

    def candidates(self) -> list[int]:
        """See `SubList`."""
        hot, modes, places = self._hot, self.modes, self.places
        if self.marks:
            hot.update(self.marks)
            self.marks.clear()
        found = list(self._refused)
        cold = []
        for file in hot:
            where = places.get(file)
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
