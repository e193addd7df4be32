"""The guests that answer requests.

A fresh guest for each request keeps them apart: what one request leaves in memory no other
finds.  A guest that may be used again answers one request at a time, and saves its start.
"""

from collections.abc import Callable

from coop.guest import GuestState
from coop.slips import check_callable, check_number
from coop.wasip2.guest import Guest
from coop.wit.types import Func, Own

__all__ = ["HANDLER", "HANDLER_TYPE", "Instances"]

HANDLER = "wasi:http/incoming-handler"
HANDLER_TYPE = Func(
    (
        ("request", Own("wasi:http/types/incoming-request")),
        ("response-out", Own("wasi:http/types/response-outparam")),
    ),
    None,
)
"""The type of its function `handle`."""


class Instances:
    """Guests of one component, idle or at work.

    make  -- makes a guest that has not been started
    reuse -- requests one guest may answer; 1: each has a fresh one
    idle  -- guests that are kept for later at most
    Raises: TypeError, ValueError for what is no function, or no such number.
    """

    def __init__(self, make: Callable[[], Guest], *, reuse: int = 1, idle: int = 16) -> None:
        check_callable("make", make)
        check_number("reuse", reuse, least=1, whole=True)
        check_number("idle", idle, whole=True)
        self._make = make
        self._reuse = reuse
        self._most_idle = idle
        self._idle: list[Guest] = []
        self._served: dict[Guest, int] = {}
        self._is_closed = False

    def take(self) -> Guest:
        """Return a guest that is started and idle.  Raises: what starting one raises."""
        while self._idle:
            guest = self._idle.pop()
            if guest.state is not GuestState.ENDED:
                return guest
            self._served.pop(guest, None)
        guest = self._make()
        if not isinstance(guest, Guest):
            raise TypeError(f"make: a coop.ComponentGuest wanted, not {type(guest).__name__}")
        self._served[guest] = 0
        try:
            guest.start()
        except BaseException:
            self._end(guest)
            raise
        return guest

    def give_back(self, guest: Guest) -> None:
        """Keep a guest for the next request, or end it."""
        served = self._served[guest] = self._served.get(guest, 0) + 1
        may_stay = guest.state is not GuestState.ENDED and len(self._idle) < self._most_idle
        if may_stay and served < self._reuse and not self._is_closed:
            self._idle.append(guest)
        else:
            self._end(guest)

    def close(self) -> None:
        """End every guest, at work or idle."""
        self._is_closed = True
        while self._idle:
            self._end(self._idle.pop())
        for guest in list(self._served):  # those at work, which are given back when they have ended
            guest.cancel()

    def _end(self, guest: Guest) -> None:
        self._served.pop(guest, None)
        guest.close()
