"""From bytes as a guest writes them to lines of text."""

import codecs
from collections.abc import Callable

_LONGEST = 1 << 16


class text:  # noqa: N801 - it is used like a function: stdout=coop.text(print)
    """A stream for a guest's stdout that calls `line` with each line, decoded and without its newline.

    A last line without a newline is given by `close`, which a guest's `run` and `close` call.
    Bytes that are no UTF-8 become U+FFFD.  A line of more than 65536 characters is given in pieces,
    none of them longer: a guest that never ends one must not fill the host's memory.
    """

    def __init__(self, line: Callable[[str], object], encoding: str = "utf-8") -> None:
        if not callable(line):
            raise TypeError(f"line: a function to call with each line wanted, not {type(line).__name__}")
        self._line = line
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._rest: list[str] = []
        self._room = _LONGEST

    def write(self, data: bytes) -> int:
        """Take bytes, 65536 at most, and return how many; calls `line` for every line that they complete."""
        if len(data) > _LONGEST:
            data = bytes(data[:_LONGEST])
            data = data[: data.rfind(b"\n") + 1 or _LONGEST]  # whole lines, or who shares this stream cuts in
        *lines, rest = self._decoder.decode(bytes(data)).split("\n")
        for line in lines:
            self._add(line)
            self._give()
        self._add(rest)
        return len(data)

    def close(self) -> None:
        """Give the last line, if there is one without a newline."""
        self._add(self._decoder.decode(b"", final=True))
        if self._rest:
            self._give()

    def _add(self, part: str) -> None:
        """Add to the line that is not complete, and give what is too long for one."""
        at = 0
        while len(part) - at > self._room:
            at += self._room
            self._rest.append(part[at - self._room : at])
            self._give()
        if at < len(part):
            self._rest.append(part[at:])
            self._room -= len(part) - at

    def _give(self) -> None:
        line, self._rest, self._room = "".join(self._rest), [], _LONGEST
        self._line(line)
