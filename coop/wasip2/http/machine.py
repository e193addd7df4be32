"""HTTP/1.1 as `h11` knows it, with bounds for what it takes apart in one go.

The lines of a head, of trailers and before a chunk go through regular expressions, while nobody else runs.
Two kinds of them, which nobody sends in earnest, would keep the thread:

- tens of thousands of lines, of a few bytes each, at microseconds a line;
- long runs of blanks in a line that is illegal behind them: the blanks belong to either of two neighbours in
  the expression, all ways to share them out are tried, and those of 64 KiB take half a minute.

1. More lines, or more blanks in a row, than the bounds are no head, no trailers and no size of a chunk.
2. What comes with as many is given to `h11` in small meals, so that this is seen before it is taken apart.
   It may be in the middle of a body as well, which takes a little longer then.
3. Fields have no control characters in their values, but for tabs.
"""

import re
from typing import Any

import h11

__all__ = ["MOST_BLANKS", "MOST_LINES", "Machine"]

MOST_LINES = 1000
MOST_BLANKS = 128

_BLANKS = b" " * MOST_BLANKS
_MEAL = 4 << 10
_MOST_AT_ONCE = 64 << 10

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What `h11` lets pass, and a guest cannot put into fields of its own."""


class Machine(h11.Connection):
    """One side of a connection; used as its base is.

    method -- of the request that was received last, until the next one may come
    """

    def __init__(self, role: Any, head_bytes: int) -> None:
        super().__init__(role, max_incomplete_event_size=head_bytes)
        self._most = max(head_bytes, _MOST_AT_ONCE)
        self.method = b""
        self._untasted = b""  # has come, and was not given to `h11` yet
        self._is_dense = False  # and has very many lines or blanks
        self._is_over = False  # and the end came behind it
        self._begin()

    def _begin(self) -> None:
        """Count anew, when `h11` has made an event of what it had but for a little."""
        self._given = self._lines = 0
        self._has_blanks = False
        self._last = b""  # of what it was given, with blanks for tabs

    @property
    def trailing_data(self) -> tuple[bytes, bool]:
        """What has come and is part of no event yet, and whether that is all."""
        data, is_over = super().trailing_data
        return data + self._untasted, is_over or self._is_over

    def receive_data(self, data: bytes) -> None:
        """Take what comes; b"" is the end."""
        self._untasted += data
        self._is_dense = self._is_dense or data.count(b"\n") > MOST_LINES
        self._is_over = self._is_over or not data

    def next_event(self) -> Any:
        """Return the next event.  Raises: h11.RemoteProtocolError."""
        while (event := super().next_event()) is h11.NEED_DATA:
            # What `h11` has of a body it gives away: so this is a head, or trailers, or the size of a chunk.
            if self._lines > MOST_LINES:
                raise h11.RemoteProtocolError(f"more than {MOST_LINES} lines", error_status_hint=431)
            if self._has_blanks:
                raise h11.RemoteProtocolError(f"{MOST_BLANKS} blanks in a row")
            if self._untasted:
                self._taste()
            elif self._is_over and not super().trailing_data[1]:
                super().receive_data(b"")
            else:
                return event
        self._begin()
        if isinstance(event, h11.Request):
            self.method = event.method
        headers = getattr(event, "headers", ())
        if any(_CONTROL.search(value) is not None for _, value in headers):
            raise h11.RemoteProtocolError("a control character in a header")
        return event

    def start_next_cycle(self) -> None:
        """Turn to the next request."""
        super().start_next_cycle()
        self.method = b""

    def _taste(self) -> None:
        """Give `h11` what has come, or a meal of it that ends where there are many blanks in a row."""
        # One byte above what a head may have, and `h11` refuses it without taking it apart.
        size = _MEAL if self._is_dense else max(self._most + 1 - self._given, 1)
        data = self._last + self._untasted[:size].replace(b"\t", b" ")
        kept, end = len(self._last), len(data)
        if (at := data.find(_BLANKS)) >= 0:
            end, self._is_dense = at + MOST_BLANKS, True
        meal, self._untasted = self._untasted[: end - kept], self._untasted[end - kept :]
        self._given += len(meal)
        self._lines += meal.count(b"\n")
        self._has_blanks = at >= 0
        self._last = data[max(end - MOST_BLANKS + 1, 0) : end]
        self._is_dense = self._is_dense and bool(self._untasted)
        super().receive_data(meal)
