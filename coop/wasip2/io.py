"""wasi:io: errors, polls and streams.

A stream of bytes is read and written in two ways.  The plain calls never wait: a read
gives what is there, and a write takes as much as `check_write` allows.  The
`blocking_` calls park the task.  Both end in the same try of the open file below.

1. The peer's end is `closed`; whatever else goes wrong is `last-operation-failed`, with an error
   that says what.
2. A write of more than is permitted, asked for or not, is a mistake of the guest and ends it.

The resources are in `failure`, `pollables`, `reading` and `writing`.
"""

from typing import ClassVar

from coop.errors import GuestTrap
from coop.wasip2.failure import Error
from coop.wasip2.pollables import Pollable, ready_among, wait_for_any
from coop.wasip2.reading import InputStream
from coop.wasip2.world import WorldInterface
from coop.wasip2.writing import OutputStream
from coop.wit import Later, function

__all__ = ["INTERFACES", "ErrorInterface", "Poll", "Streams"]


class ErrorInterface(WorldInterface):
    """wasi:io/error."""

    name = "wasi:io/error"
    resources: ClassVar = {"error": Error}


class Poll(WorldInterface):
    """wasi:io/poll."""

    name = "wasi:io/poll"
    resources: ClassVar = {"pollable": Pollable}

    @function("func(in: list<borrow<pollable>>) -> list<u32>", parks=None)
    def poll(self, pollables: list[Pollable]) -> list[int] | Later:
        """Wait until one of `pollables` is ready; return the indices of those that are."""
        if not pollables:
            raise GuestTrap("poll of an empty list would never return")
        limit = self.world.limits.subscriptions
        if limit is not None and len(pollables) > limit:
            raise GuestTrap(f"poll of {len(pollables)} pollables; {limit} are allowed (limit subscriptions)")
        return ready_among(pollables) or Later(lambda: wait_for_any(self.world.owner, pollables))


class Streams(WorldInterface):
    """wasi:io/streams."""

    name = "wasi:io/streams"
    resources: ClassVar = {"input-stream": InputStream, "output-stream": OutputStream}
    uses: ClassVar = {"error": ErrorInterface, "pollable": Poll}
    types: ClassVar = {"stream-error": "variant {last-operation-failed(error), closed}"}


INTERFACES: tuple[type[WorldInterface], ...] = (ErrorInterface, Poll, Streams)
