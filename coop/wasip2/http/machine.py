"""HTTP/1.1 as `h11` knows it, with a bound for lines.

`h11` takes a head, or the trailers of a body, apart in one go, and that takes a few microseconds a line.
Ordinary heads have some dozens; who sends tens of thousands, of a few bytes each, would keep the thread.

1. A head, or trailers, of more than `MOST_LINES` lines is none.
2. What comes with very many line ends in it is given to `h11` in small meals, so that this is seen in time.
   It may be the text of a body as well, which takes a little longer then.
"""

from typing import Any

import h11

__all__ = ["MOST_LINES", "Machine"]

MOST_LINES = 1000

_MANY = MOST_LINES
"""Line ends in one piece that comes; above it is taken in meals."""

_MEAL = 4 << 10


class Machine(h11.Connection):
    """One side of a connection; used as its base is."""

    def __init__(self, role: Any, head_bytes: int) -> None:
        super().__init__(role, max_incomplete_event_size=head_bytes)
        self._untasted = b""  # has come, and was not given to `h11` yet
        self._is_over = False  # and the end behind it
        self._lines = 0  # it was given since it last made an event of something

    @property
    def trailing_data(self) -> tuple[bytes, bool]:
        """What has come and is part of no event yet, and whether that is all."""
        data, is_over = super().trailing_data
        return data + self._untasted, is_over or self._is_over

    def receive_data(self, data: bytes) -> None:
        """Take what comes; b"" is the end."""
        lines = data.count(b"\n")
        if self._untasted or lines > _MANY:
            self._untasted += data
            self._is_over = self._is_over or not data
        else:
            self._lines += lines
            super().receive_data(data)

    def next_event(self) -> Any:
        """Return the next event.  Raises: h11.RemoteProtocolError."""
        while (event := super().next_event()) is h11.NEED_DATA:
            # What `h11` has of a body it gives away: so this is a head, or trailers.
            if self._lines > MOST_LINES:
                raise h11.RemoteProtocolError(f"more than {MOST_LINES} lines", error_status_hint=431)
            if not self._untasted:
                return event
            self._taste()
        self._lines = 0
        return event

    def _taste(self) -> None:
        meal, self._untasted = self._untasted[:_MEAL], self._untasted[_MEAL:]
        self._lines += meal.count(b"\n")
        super().receive_data(meal)
        if self._is_over and not self._untasted:
            super().receive_data(b"")
