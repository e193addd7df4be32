"""Waiting for kernel descriptors: one contract, three pollers, one suite of tests.

hostpoll  epoll, registered once, edge-triggered: the default
oneoff    `poll_oneoff` over a subscription table, as runtimes inside WASI guests do
pollset   keyed by pollables, as runtimes over WASI 0.2 do
"""

from collections.abc import Callable

from coop.netpoll.contract import BOTH, FAILED, HANGUP, READ, WRITE, Poller
from coop.netpoll.fdpool import FdPool
from coop.netpoll.hostoneoff import HostOneoff
from coop.netpoll.hostpoll import HostPoller
from coop.netpoll.hostpollset import HostPollset
from coop.netpoll.oneoff import OneoffPoller
from coop.netpoll.polldesc import PollDesc
from coop.netpoll.pollset import PollsetPoller
from coop.netpoll.waiter import Waiter
from coop.netpoll.wakeup import Wakeup

__all__ = [
    "BOTH",
    "FAILED",
    "HANGUP",
    "POLLERS",
    "READ",
    "WRITE",
    "FdPool",
    "HostPoller",
    "OneoffPoller",
    "PollDesc",
    "Poller",
    "PollsetPoller",
    "Waiter",
    "make_poller",
]


def _make_oneoff() -> OneoffPoller:
    wakeup = Wakeup()
    return OneoffPoller(HostOneoff(wakeup), wakeup)


def _make_pollset() -> PollsetPoller:
    return PollsetPoller(HostPollset(), Wakeup())


POLLERS: dict[str, Callable[[], Poller]] = {
    "hostpoll": HostPoller,
    "oneoff": _make_oneoff,
    "pollset": _make_pollset,
}
"""How to make each poller for a real run, by its name."""


def make_poller(name: str) -> Poller:
    """Make the poller called `name`: "hostpoll", "oneoff" or "pollset".

    Raises: ValueError for any other name.
    """
    try:
        make = POLLERS[name]
    except KeyError:
        raise ValueError(f"make poller {name!r}: there are {', '.join(POLLERS)}") from None
    return make()
