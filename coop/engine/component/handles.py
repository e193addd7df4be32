"""Handles: what a guest calls a resource by, and the objects behind them.

A guest never sees an object.  It holds a number of its own, behind which wasmtime keeps
a number of ours, behind which a table of the guest keeps the object.  wasmtime sees to it
that a handle is the guest's, of the right resource, and used no longer than it was lent;
so a number that comes back is always one that was given.

1. Each guest has its own table, and nothing in it outlives the guest.
2. A handle of a resource that a guest defines itself is wasmtime's; Python keeps it as a
   `GuestResource`, for one guest.
"""

import ctypes as C
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from coop.engine.component.capi import PAYLOAD, held
from coop.engine.component.decode import Decoder
from coop.engine.component.encode import RESOURCE, Encoder
from coop.engine.marshal import space
from coop.engine.traps import take_error
from coop.errors import BugError, GuestTrap, LimitExceeded
from coop.logs import Log
from coop.slips import Unique, brief
from coop.wit.interface import Resource, hold_of
from coop.wit.types import Own, Type, parts

if TYPE_CHECKING:
    from coop.engine.border import Border
    from coop.engine.component.instance import ComponentInstance

__all__ = ["GuestResource", "Handles", "Lender"]

_SMALL = 16
"""How many small things count as one: who leaks an error with each connection lasts so much longer."""
_get_word = struct.Struct("<Q").unpack_from
_put_word = struct.Struct("<Q").pack_into

log = Log("coop.engine")


class Handles:
    """One guest's table of objects, by number.

    limit   -- how many there may be at once, `_SMALL` small ones counting as one; None: any number
    objects -- by number; to be looked at only
    taken   -- what the guest has given up in the values that are being decoded; see `Lender.whole`
    """

    __slots__ = ("_free", "_lent", "_lent_things", "_new", "_small", "_used", "limit", "objects", "taken")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.taken: list[Resource] = []
        self.objects: dict[int, Resource] = {}
        self._small = 0
        self._free: list[int] = []
        self._lent: list[int] = []
        self._lent_things: set[int] = set()  # by identity: nobody says that they have a hash
        self._new: list[int] | None = None
        self._used: list[GuestResource] = []

    def __len__(self) -> int:
        return len(self.objects)

    def add(self, thing: Resource) -> int:
        """Give an object a number, and to the guest.  Raises: LimitExceeded; TypeError if a guest has it."""
        self._check_room()
        hold_of(thing).give(thing)
        number = self._number(thing)
        if self._new is not None:
            self._new.append(number)
        return number

    def lend(self, thing: Resource) -> int:
        """Give an object a number for the call that begins.  Raises: LimitExceeded."""
        self._check_room()
        number = self._number(thing)
        self._lent.append(number)
        self._lent_things.add(id(thing))
        return number

    def use(self, thing: "GuestResource") -> None:
        """Note that a thing of the guest's own is an argument of the call that begins."""
        self._used.append(thing)

    def _check_room(self) -> None:
        count = len(self.objects) - self._small + self._small // _SMALL
        if self.limit is not None and count >= self.limit:
            raise LimitExceeded("handles", f"a guest has {count} handles of the host's resources")

    def _number(self, thing: Resource) -> int:
        number = self._free.pop() if self._free else len(self.objects)
        self.objects[number] = thing
        self._small += thing._wit_is_small
        return number

    def take(self, number: int) -> Resource:
        """Return the object of a number, which ends.

        Raises: GuestTrap while others need it, or it is lent to the guest, which would use what is dropped.
        """
        thing = self.objects[number]
        if id(thing) in self._lent_things:
            raise GuestTrap(f"a {type(thing).__name__} is given up while it is lent to the guest as well")
        hold_of(thing).release(thing)
        self._forget(number)
        return thing

    def _forget(self, number: int) -> None:
        self._small -= self.objects.pop(number)._wit_is_small
        self._free.append(number)

    def begin_call(self) -> None:
        """Note from now on what is given, until `end_of_arguments`."""
        self._new = []

    def end_of_arguments(self, *, is_right: bool) -> None:
        """Let what was given go; or take all of it back, when an argument was wrong and there is no call."""
        new, self._new = self._new or [], None
        used, self._used = self._used, []
        for thing in used:
            thing.end_of_arguments(is_right=is_right)
        if not is_right:
            for number in reversed(new):
                hold_of(self.objects[number]).is_given = False
                self._forget(number)

    def end_of_call(self) -> None:
        """End what was lent for a call; the objects are left alone."""
        lent, self._lent = self._lent, []
        self._lent_things.clear()
        for number in lent:
            self._forget(number)

    def close(self) -> None:
        """Drop what is left, but for what was only lent: what was made of another goes before that.

        Whatever one of them does, the others are dropped.  Raises: what they raised, if it is no Exception.
        """
        self.end_of_call()
        newest_first, self.objects, self._small = [*self.objects.values()][::-1], {}, 0
        drop_all(_children_first(newest_first))


def _children_first(things: list[Resource]) -> list[Resource]:
    """Take things from their guest and return them in an order in which what was made of another is first."""
    left = {hold_of(thing): thing for thing in things}
    ready = [hold for hold in left if not hold.children]
    order = []
    for hold in ready:  # which grows meanwhile
        order.append(left.pop(hold))
        parent = hold.parent
        hold.leave()
        if parent in left and not parent.children:
            ready.append(parent)
    return order + list(left.values())  # the last were made into what somebody else holds


def drop_all(things: Iterable[Resource]) -> None:
    """Drop what nobody has a handle of any more, in this order; see `Handles.close`."""
    last: BaseException | None = None
    for thing in things:
        try:
            hold_of(thing).leave()
            thing.drop()
        except Exception as error:
            log.warning("resource not dropped", resource=type(thing).__name__, error=repr(error))
        except BaseException as error:
            last = error
    if last is not None:
        raise last


class GuestResource(Unique):
    """A handle of something that lives in a guest; it can be given back to that guest only.

    Dropping it tells the guest nothing; the guest's end ends it.
    """

    __slots__ = ("_at", "_instance", "_use", "resource")

    def __init__(self, instance: "ComponentInstance", resource: str, at: int) -> None:
        self.resource = resource
        self._instance = instance
        self._at = at
        self._use = ""

    def __repr__(self) -> str:
        return f"<GuestResource {self.resource}>"

    def __del__(self) -> None:
        if self._at:
            held.wasmtime_component_resource_any_delete(self._at)
            self._at = 0

    def handle(self, instance: "ComponentInstance", resource: str, *, moves: bool) -> int:
        """Return wasmtime's handle, for a call of its guest; with `moves`, it is given away.

        Raises: TypeError if it is of another guest or resource, or was given away.
        """
        use = self._use if self._at else "given away"
        if self._instance is not instance or self.resource != resource:
            use = "of another guest" if self.resource == resource else "of another kind"
        if use == "lent" and not moves:
            use = ""
        if use:
            raise TypeError(f"a {resource} of this guest wanted, not {self!r}, {use}")
        if not self._use:
            instance.handles.use(self)
        self._use = "given away" if moves else "lent"
        return int(held.wasmtime_component_resource_any_clone(self._at))

    def end_of_arguments(self, *, is_right: bool) -> None:
        """Hear that all arguments of a call were read; if they were right, what was given away is."""
        use, self._use = self._use, ""
        if is_right and use == "given away":
            self.__del__()


class Lender:
    """One linkage's way between handles and objects.

    hosts   -- the resources that the host defines: their full names, and the number wasmtime tells them by
    classes -- what their objects are in Python; of one that nobody provides, nothing is known
    """

    def __init__(
        self, border: "Border", hosts: dict[str, int], classes: Mapping[str, tuple[type[Resource], ...]]
    ) -> None:
        self.hosts = hosts
        self.classes = classes
        self.border = border
        self._out = C.c_void_p()
        self.number = self._make_number()

    def instance(self) -> "ComponentInstance":
        """Return the guest whose call this is."""
        return self.border.instance  # type: ignore[return-value]

    def check_list(self, size: int) -> None:
        """Raise LimitExceeded if a list of so many bytes is longer than the guest may pass."""
        limit = self.instance().limits.bytes_per_list
        if limit is not None and size > limit:
            raise LimitExceeded("bytes_per_list", f"a list of {size} bytes is passed; {limit} are allowed")

    # -- from the guest

    def whole(self, types: tuple[Type, ...], decode: Callable[[int], Any]) -> Callable[[int], Any]:
        """Return a decoder of values of these types that drops what it took when it fails halfway."""
        if not any(map(_has_own, types)):
            return decode

        def decode_all(at: int) -> Any:
            handles = self.instance().handles
            handles.taken = []
            try:
                return decode(at)
            except BaseException:
                drop_all(handles.taken)
                raise
            finally:
                handles.taken = []

        return decode_all

    def taker(self, resource: str) -> Decoder:
        """Return the decoder of handles that pass with what is behind them."""
        if resource not in self.hosts:
            return self._guest_taker(resource)
        number = self.number

        def take(at: int) -> Resource:
            handles = self.instance().handles
            thing = handles.take(number(_get_word(space, at + PAYLOAD)[0]))
            handles.taken.append(thing)
            return thing

        return take

    def borrower(self, resource: str) -> Decoder:
        """Return the decoder of handles that are lent for a call."""
        if resource not in self.hosts:
            return self._guest_taker(resource)
        number = self.number

        def borrow(at: int) -> Resource:
            return self.instance().handles.objects[number(_get_word(space, at + PAYLOAD)[0])]

        return borrow

    def _make_number(self) -> Callable[[int], int]:
        """Return a function from wasmtime's word for a handle of the host's to our number."""
        border: Any = self.border  # a guest runs whenever this is asked
        out, out_at = self._out, C.addressof(self._out)
        # Nearly every call of a method begins here, so nothing is looked up twice.
        to_host = held.wasmtime_component_resource_any_to_host
        number_of = held.wasmtime_component_resource_host_rep
        delete = held.wasmtime_component_resource_host_delete

        def number(handle: int) -> int:
            error = to_host(border.instance.context, handle, out_at)
            if error:
                raise GuestTrap(str(take_error(error)))
            host = out.value
            found: int = number_of(host)
            delete(host)
            return found

        return number

    def _guest_taker(self, resource: str) -> Decoder:
        def take(at: int) -> GuestResource:
            handle = _get_word(space, at + PAYLOAD)[0]
            copy = held.wasmtime_component_resource_any_clone(handle)
            return GuestResource(self.instance(), resource, copy)

        return take

    # -- to the guest

    def giver(self, resource: str) -> Encoder:
        """Return the encoder of handles that pass with what is behind them."""
        if resource not in self.hosts:
            return self._guest_giver(resource, moves=True)
        kind, classes = self.hosts[resource], self._classes(resource)

        def give(at: int, thing: Any) -> None:
            if not isinstance(thing, classes):
                raise TypeError(f"a {_names(classes)} wanted for {resource}, not {brief(thing)}")
            self._put(at, kind, self.instance().handles.add(thing), is_owned=True)

        return give

    def lender(self, resource: str) -> Encoder:
        """Return the encoder of handles that are lent to a guest's export for one call."""
        if resource not in self.hosts:
            return self._guest_giver(resource, moves=False)
        kind, classes = self.hosts[resource], self._classes(resource)

        def lend(at: int, thing: Any) -> None:
            if not isinstance(thing, classes):
                raise TypeError(f"a {_names(classes)} wanted for {resource}, not {brief(thing)}")
            self._put(at, kind, self.instance().handles.lend(thing), is_owned=False)

        return lend

    def _classes(self, resource: str) -> tuple[type[Resource], ...]:
        return self.classes.get(resource) or (Resource,)

    def _put(self, at: int, kind: int, number: int, *, is_owned: bool) -> None:
        out, running = self._out, self.border.instance
        assert running is not None
        host = held.wasmtime_component_resource_host_new(is_owned, number, kind)
        error = held.wasmtime_component_resource_host_to_any(running.context, host, C.addressof(out))
        held.wasmtime_component_resource_host_delete(host)
        if error:
            raise BugError(str(take_error(error)))
        _put_word(space, at + PAYLOAD, out.value)
        space[at] = RESOURCE

    def _guest_giver(self, resource: str, *, moves: bool) -> Encoder:
        def give(at: int, thing: Any) -> None:
            if not isinstance(thing, GuestResource):
                raise TypeError(f"a GuestResource wanted for {resource}, not {brief(thing)}")
            _put_word(space, at + PAYLOAD, thing.handle(self.instance(), resource, moves=moves))
            space[at] = RESOURCE

        return give


def _has_own(kind: Type) -> bool:
    """Whether a value of this type may hold a handle that passes with what is behind it."""
    return isinstance(kind, Own) or any(map(_has_own, parts(kind)))


def _names(classes: tuple[type, ...]) -> str:
    return " or ".join(each.__name__ for each in classes)
