"""From bytes as a guest writes them to lines of text."""

import codecs
from collections.abc import Callable


class text:  # noqa: N801 - it is used like a function: stdout=coop.text(print)
    """A stream for a guest's stdout that calls `line` with each line, decoded and without its newline.

    A last line without a newline is given by `close`, which a guest's `run` and `close` call.
    Bytes that are no UTF-8 become U+FFFD.
    """

    def __init__(self, line: Callable[[str], object], encoding: str = "utf-8") -> None:
        self._line = line
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._rest = ""

    def write(self, data: bytes) -> int:
        """Take bytes; calls `line` for every line that is complete with them."""
        *lines, self._rest = (self._rest + self._decoder.decode(bytes(data))).split("\n")
        for line in lines:
            self._line(line)
        return len(data)

    def close(self) -> None:
        """Give the last line, if there is one without a newline."""
        rest, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        if rest:
            self._line(rest)
