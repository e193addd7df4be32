"""Names of hosts to addresses, without holding up the other tasks."""

import socket
from functools import partial
from typing import Any

from coop.errors import DeadlineExceeded
from coop.scheduler import scheduler
from coop.task import current
from coop.threads import Job, crew_of

AddressInfo = tuple[Any, Any, int, str, Any]
"""One answer of `socket.getaddrinfo`."""


def resolve(
    host: str, port: int, *, flags: int = 0, until_ns: int | None = None, whom: object = None
) -> list[AddressInfo]:
    """Return what `socket.getaddrinfo` finds for a stream to `host`, which may be a number.

    flags    -- AI_...
    until_ns -- the moment by which a name must be found; None: the resolver's own
    whom     -- the guest that it is for, which takes turns with the others; None: the host, which has none
    Raises: OSError; DeadlineExceeded; ValueError for what is no name; BugError for one outside any task.
    """
    ask = socket.getaddrinfo
    try:
        return ask(host, port, type=socket.SOCK_STREAM, flags=flags | socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    except UnicodeError:
        raise ValueError(f"address {(host, port)!r}: {host!r} is no host's name") from None
    # A name: the C library's resolver blocks, so it runs in a helper thread.
    owner, task = scheduler(), current()
    look_up = partial(ask, host, port, type=socket.SOCK_STREAM, flags=flags)
    job = Job(owner, look_up, lambda _: task.wake(), None if whom is None else crew_of(owner, "names"), whom)
    timer = None if until_ns is None else owner.timers.set(until_ns, task.wake)
    try:
        while not job.is_done:
            if until_ns is not None and owner.now_ns() >= until_ns:
                raise DeadlineExceeded(f"connect to {host}:{port}: the name was not resolved in time")
            task.park(f"the address of {host}")
    finally:
        job.drop()
        if timer is not None:
            timer.cancel()
    if job.error is not None:
        raise job.error
    found: list[AddressInfo] = job.result
    return found
