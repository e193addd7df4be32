"""`poll_oneoff` over poll(2): the host half of the one-off poller in a real run.

It watches the wake-up beside what was asked, so that a call with nothing else to
wait for still ends when somebody signals.  A peer's half-close is reported to
readers alone; HUP is WASI's hangup.
"""

from coop.netpoll.contract import READ, WRITE
from coop.netpoll.oneoff import HANGUP_FLAG, Event, EventKind
from coop.netpoll.pollsys import ASK, HUP, IN, event_errno, is_hit, noted, poll_fds
from coop.netpoll.subs import ClockSub, Subscription
from coop.netpoll.wakeup import Wakeup

_KIND = {READ: EventKind.FD_READ, WRITE: EventKind.FD_WRITE}


class HostOneoff:
    """The host function of an `OneoffPoller`.

    wakeup -- watched in every call, drained by a call that may block
    """

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup

    def __call__(self, subscriptions: list[Subscription]) -> list[Event]:
        """Wait for any of `subscriptions`; a clock can only be the first of them, where the table has it."""
        clock = subscriptions[0] if subscriptions else None
        delay_ns = clock.timeout_ns if isinstance(clock, ClockSub) else -1
        fds = [sub for sub in subscriptions if not isinstance(sub, ClockSub)]
        asked = {self._wakeup.fd: IN}
        for sub in fds:
            asked[sub.fd] = asked.get(sub.fd, 0) | ASK[sub.mode]
        seen = poll_fds(asked, delay_ns)
        if not seen:
            return [Event(0, EventKind.CLOCK)]
        if self._wakeup.fd in seen:
            self._wakeup.take(seen[self._wakeup.fd], may_block=delay_ns != 0)
        events = []
        for sub in fds:
            revents = seen.get(sub.fd, 0)
            if is_hit(sub.mode, revents):
                flags = HANGUP_FLAG if revents & HUP else 0
                kind, note = _KIND[sub.mode], noted(sub.mode, revents)
                events.append(Event(sub.userdata, kind, event_errno(revents), flags, note))
        return events
