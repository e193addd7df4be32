"""wasi:sockets/ip-name-lookup: the addresses that a name of a host stands for.

The C library looks names up, in a helper thread that nobody can stop.  So a guest has a few
such threads at most, whatever it asks for: further names wait for their turn.
"""

from collections import deque
from typing import ClassVar

from coop.net.resolve import resolve
from coop.netpoll.contract import READ
from coop.netpoll.polldesc import PollDesc
from coop.wasip2.io import Poll
from coop.wasip2.pollables import Pollable
from coop.wasip2.sockets.network import NetworkInterface, NetworkRight, error_code, ip_to_wit
from coop.wasip2.sockets.policy import ascii_name, is_address
from coop.wasip2.world import World, WorldInterface
from coop.wit import Case, Err, Resource, function

__all__ = ["INTERFACES"]

_AT_ONCE = 8
"""How many names are looked up for one guest at the same time."""

_WAITING = 256
"""How many names of one guest are not answered yet; beyond that it is told to try again later."""


class Answers(Resource):
    """wasi:sockets/ip-name-lookup resolve-address-stream.

    name -- what was asked for
    done -- readable once the addresses are here
    """

    __slots__ = ("_addresses", "_error", "done", "name", "world")

    def __init__(self, world: World, name: str) -> None:
        super().__init__()
        self.world = world
        self.name = name
        self.done = PollDesc(-1, f"the address of {name}")
        self._addresses: deque[Case] = deque()
        self._error: str | None = None

    def look_up(self) -> None:
        """Find the addresses, and wake who waits for them; parks."""
        try:
            found = [info[4][0] for info in resolve(self.name, 0, whom=self.world)]
            self._addresses.extend(dict.fromkeys(map(ip_to_wit, found)))
        except OSError as error:
            self._error = error_code(error)
        self.done.notify(READ)

    @function("func() -> result<option<ip-address>, error-code>", parks=False)
    def resolve_next_address(self) -> Case | None:
        """Return the next address, the best one first; None: there are no more."""
        if not self.done.ready & READ:
            raise Err("would-block")
        if self._error is not None:
            raise Err(self._error)
        return self._addresses.popleft() if self._addresses else None

    @function("func() -> pollable", parks=False)
    def subscribe(self) -> Pollable:
        """Make a pollable that is ready once the addresses are here, or it is known why not."""
        return _AnswersPollable(self)


class _AnswersPollable(Pollable):
    """Ready once a name was looked up."""

    __slots__ = ("_done",)

    def __init__(self, answers: Answers) -> None:
        super().__init__(answers.world.owner, answers)
        self._done = answers.done

    def is_ready(self) -> bool:
        """Look."""
        return self._done.ready & READ != 0

    def source(self) -> tuple[PollDesc, int] | None:
        """Wait for the answer."""
        return self._done, READ


class IpNameLookup(WorldInterface):
    """wasi:sockets/ip-name-lookup."""

    name = "wasi:sockets/ip-name-lookup"
    resources: ClassVar = {"resolve-address-stream": Answers}
    uses: ClassVar = {
        "pollable": Poll,
        "network": NetworkInterface,
        "error-code": NetworkInterface,
        "ip-address": NetworkInterface,
    }

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._waiting: deque[Answers] = deque()
        self._lookers = 0

    @function(
        "func(network: borrow<network>, name: string) -> result<resolve-address-stream, error-code>",
        parks=False,
    )
    def resolve_addresses(self, network: NetworkRight, name: str) -> Answers:
        """Begin to look a name up.  The text of an address stands for itself, and needs no right."""
        if is_address(name):
            return _itself(self.world, name)
        try:
            asked = ascii_name(name)
        except ValueError:
            raise Err("invalid-argument") from None
        if not network.policy.may_look_up(asked):
            self.world.network_refused("names", asked)
            raise Err("access-denied")
        if len(self._waiting) >= _WAITING:
            raise Err("temporary-resolver-failure")
        answers = Answers(self.world, asked)
        self._waiting.append(answers)
        if self._lookers < _AT_ONCE:
            self._lookers += 1
            self.world.spawn(self._look_up, name="names to look up")
        return answers

    def _look_up(self) -> None:
        """Look up what waits, one name after the other.

        Also what the guest has dropped meanwhile: its thread may run already, and counts.
        """
        try:
            while self._waiting:
                self._waiting.popleft().look_up()
        finally:
            self._lookers -= 1


def _itself(world: World, text: str) -> Answers:
    answers = Answers(world, text)
    answers._addresses.append(ip_to_wit(text))
    answers.done.notify(READ)
    return answers


INTERFACES: tuple[type[WorldInterface], ...] = (IpNameLookup,)
