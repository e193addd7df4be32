"""What a command line asked for, and what everything that carries it out needs."""

import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Protocol, Self

import coop
from coop.scheduler import Scheduler

BAD_USAGE, TIMED_OUT, INTERRUPTED, TRAPPED, TERMINATED = 2, 124, 130, 134, 143
"""Exit statuses that coop itself makes, besides 0 and 1."""


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What of the network was asked for.

    inherit         -- whether everything is allowed
    tcp, udp        -- whether these are allowed at all
    connect, listen -- places, as `coop.Network` spells them
    names           -- names that may be looked up
    look_up         -- whether every name may
    """

    inherit: bool
    tcp: bool
    udp: bool
    connect: Sequence[str]
    listen: Sequence[str]
    names: Sequence[str]
    look_up: bool

    @property
    def known(self) -> Sequence[str]:
        """The names that may be looked up, all things considered."""
        return ("*",) if self.look_up else self.names


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a command line asked for.

    argv0   -- the guest's own name; None: its file's
    listen, connect -- addresses, or sockets that were passed to us
    invoke  -- the export to call with `args`; None: the guest's program
    limits  -- what the guest may use; `server_limits`: the same for a component that turns out to be a server
    max_wasm_stack, dense, exceptions, use_cache -- how it is loaded, as `coop.load` takes it; None: the
               usual stack
    network -- what of the network a component may use
    trace   -- whether every park and wait is logged
    timeline -- the file that is to show them
    """

    path: str
    args: Sequence[str]
    argv0: str | None
    dirs: Sequence[coop.Dir]
    env: Mapping[str, str]
    listen: Sequence[str | socket.socket]
    connect: Sequence[str | socket.socket]
    limits: coop.Limits
    server_limits: coop.Limits
    max_wasm_stack: int | None
    dense: bool
    exceptions: bool
    use_cache: bool
    network: NetworkPlan
    invoke: str | None
    poller: str
    trace: bool
    timeline: str | None


class UsageError(Exception):
    """The command line asks for what cannot be meant."""


class Terminated(BaseException):
    """SIGTERM came while no guest was running."""


class CanCancel(Protocol):
    """A guest of any kind."""

    def cancel(self) -> None:
        """End it."""
        ...


class Termination:
    """While it lasts, SIGTERM ends the guest instead of the process; where nobody else handles it.

    was_sent -- whether SIGTERM came
    """

    def __init__(self) -> None:
        self.was_sent = False
        self._is_ours = False
        self._owner: Scheduler | None = None
        self._guest: CanCancel | None = None

    def __enter__(self) -> Self:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_sigterm)
            self._is_ours = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def will_end(self, owner: Scheduler, guest: CanCancel) -> None:
        """Have SIGTERM cancel `guest` from now on."""
        self._owner, self._guest = owner, guest

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        self.was_sent = True
        if self._owner is None or self._guest is None:
            raise Terminated
        # An exception raised here could be lost in a host call of the guest.
        self._owner.post(self._guest.cancel)
