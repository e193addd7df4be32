"""Waiting for kernel descriptors: one contract, three pollers, one suite of tests.

hostpoll  epoll, registered once, edge-triggered: the default
oneoff    `poll_oneoff` over a subscription table, as runtimes inside WASI guests do
pollset   keyed by pollables, as runtimes over WASI 0.2 do

Read `contract` first; then `polldesc` and `waiter` for who waits, `hostpoll` and `wakeup` for who
is asked, `openfile`, `kernelfiles` and `listenerfile` for what is ready.  `subs` with `oneoff`, and
`pollset`, do the same by other means; `hostoneoff` and `hostpollset` lay poll(2) under them.
`epollsys`, `pollsys`, `looksys`, `socksys` and `pipesys` are the system calls.

What is taken from others, and why:

- `polldesc`: the four states of Go's netpoll.go, so few that every race of readiness, deadline
  and close has one outcome.
- `subs`, `oneoff`: the table of Go's netpoll_wasip1.go.  The list that the host is asked with is
  kept ready: a wait changes an entry of it, and builds no list.
- `wakeup`: the break of Go's netpoll_epoll.go, an eventfd and a flag.  It takes one descriptor
  where a pipe takes two, and at most one write is under way.
- `pollset`: the registry of TinyGo's netpoll_wasip2.go.  A handle that somebody waits for is
  dropped exactly once; and as on TinyGo's idle path one wait covers the clock and everything else.
- `openfile`: the readiness of Emscripten's libepoll.js.  Whoever asks is answered from the same
  bits, so that reads, polls and pollables never disagree; and who polls very many files again and
  again stays queued at each, and looks at those alone that had an event (`wasip1.keptlist`).
- `fdpool`: the pool of wasi-common's fdpool.rs.  Both operations take constant time, and nothing
  is reserved ahead.
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
