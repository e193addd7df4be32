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
from typing import TYPE_CHECKING, Any

from coop.engine.component.capi import held
from coop.engine.component.decode import Decoder
from coop.engine.component.encode import Encoder
from coop.engine.marshal import space
from coop.engine.traps import take_error
from coop.errors import BugError, GuestTrap, LimitExceeded
from coop.logs import Log
from coop.wit.interface import Resource

if TYPE_CHECKING:
    from coop.engine.border import Border
    from coop.engine.component.instance import ComponentInstance

__all__ = ["GuestResource", "Handles", "Lender"]

_RESOURCE = 21
_PAYLOAD = 8
_get_word = struct.Struct("<Q").unpack_from
_put_word = struct.Struct("<Q").pack_into

log = Log("coop.engine")


class Handles:
    """One guest's table of objects, by number.

    limit -- how many there may be at once; None: any number
    """

    __slots__ = ("_free", "_objects", "limit")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._objects: dict[int, Resource] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._objects)

    def add(self, thing: Resource) -> int:
        """Give an object a number.  Raises: LimitExceeded."""
        count = len(self._objects)
        if self.limit is not None and count >= self.limit:
            raise LimitExceeded("handles", f"a guest has {count} handles of the host's resources")
        number = self._free.pop() if self._free else count
        self._objects[number] = thing
        return number

    def get(self, number: int) -> Resource:
        """Return the object of a number."""
        return self._objects[number]

    def take(self, number: int) -> Resource:
        """Return the object of a number, which ends.  Raises: GuestTrap while others need it."""
        thing = self._objects[number]
        thing.release()
        self.forget(number)
        return thing

    def forget(self, number: int) -> None:
        """End a number and leave its object alone."""
        del self._objects[number]
        self._free.append(number)

    def close(self) -> None:
        """Drop what is left, the newest first: what was made of another goes before that."""
        while self._objects:
            _, thing = self._objects.popitem()
            try:
                thing.drop()
            except Exception as error:
                log.warning("resource not dropped", resource=type(thing).__name__, error=repr(error))


class GuestResource:
    """A handle of something that lives in a guest; it can be given back to that guest only.

    Dropping it tells the guest nothing; the guest's end ends it.
    """

    __slots__ = ("_at", "_instance", "resource")

    def __init__(self, instance: "ComponentInstance", resource: str, at: int) -> None:
        self.resource = resource
        self._instance = instance
        self._at = at

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
        if not self._at or self._instance is not instance or self.resource != resource:
            raise TypeError(
                f"a {resource} of this guest wanted, not {self!r}{'' if self._at else ', given away'}"
            )
        if moves:
            at, self._at = self._at, 0
            return at
        return int(held.wasmtime_component_resource_any_clone(self._at))


class Lender:
    """One linkage's way between handles and objects.

    hosts -- the resources that the host defines: their full names, and the number wasmtime tells them by
    """

    def __init__(self, border: "Border", hosts: dict[str, int]) -> None:
        self.hosts = hosts
        self._border = border
        self._out = C.c_void_p()

    def instance(self) -> "ComponentInstance":
        """Return the guest whose call this is."""
        return self._border.instance  # type: ignore[return-value]

    def check_list(self, size: int) -> None:
        """Raise LimitExceeded if a list of so many bytes is longer than the guest may pass."""
        limit = self.instance().limits.bytes_per_list
        if limit is not None and size > limit:
            raise LimitExceeded(
                "bytes_per_list", f"a guest passes a list of {size} bytes; {limit} are allowed"
            )

    # -- from the guest

    def taker(self, resource: str) -> Decoder:
        """Return the decoder of handles that pass with what is behind them."""
        if resource not in self.hosts:
            return self._guest_taker(resource)
        return lambda at: self.instance().handles.take(self._number(at))

    def borrower(self, resource: str) -> Decoder:
        """Return the decoder of handles that are lent for a call."""
        if resource not in self.hosts:
            return self._guest_taker(resource)
        border, number = self._border, self._number
        return lambda at: border.instance.handles.get(number(at))  # type: ignore[union-attr]

    def _number(self, at: int) -> int:
        out = self._out
        handle = _get_word(space, at - 1 + _PAYLOAD)[0]
        error = held.wasmtime_component_resource_any_to_host(
            self._border.instance._context,  # type: ignore[union-attr]
            handle,
            C.addressof(out),
        )
        if error:
            raise GuestTrap(str(take_error(error)))
        host = out.value
        number: int = held.wasmtime_component_resource_host_rep(host)
        held.wasmtime_component_resource_host_delete(host)
        return number

    def _guest_taker(self, resource: str) -> Decoder:
        def take(at: int) -> GuestResource:
            handle = _get_word(space, at - 1 + _PAYLOAD)[0]
            copy = held.wasmtime_component_resource_any_clone(handle)
            return GuestResource(self.instance(), resource, copy)

        return take

    # -- to the guest

    def giver(self, resource: str) -> Encoder:
        """Return the encoder of handles that pass with what is behind them."""
        if resource not in self.hosts:
            return self._guest_giver(resource, moves=True)
        kind = self.hosts[resource]

        def give(at: int, thing: Any) -> None:
            if not isinstance(thing, Resource):
                raise TypeError(f"a resource wanted for {resource}, not {thing!r}")
            self._put(at, kind, self.instance().handles.add(thing), is_owned=True)

        return give

    def lender(self, resource: str) -> Encoder:
        """Return the encoder of handles that are lent to a guest's export for one call."""
        if resource not in self.hosts:
            return self._guest_giver(resource, moves=False)
        kind = self.hosts[resource]

        def lend(at: int, thing: Any) -> None:
            if not isinstance(thing, Resource):
                raise TypeError(f"a resource wanted for {resource}, not {thing!r}")
            instance = self.instance()
            number = instance.handles.add(thing)
            instance.lent.append(number)
            self._put(at, kind, number, is_owned=False)

        return lend

    def _put(self, at: int, kind: int, number: int, *, is_owned: bool) -> None:
        out = self._out
        host = held.wasmtime_component_resource_host_new(is_owned, number, kind)
        error = held.wasmtime_component_resource_host_to_any(
            self._border.instance._context,  # type: ignore[union-attr]
            host,
            C.addressof(out),
        )
        held.wasmtime_component_resource_host_delete(host)
        if error:
            raise BugError(str(take_error(error)))
        _put_word(space, at - 1 + _PAYLOAD, out.value)
        space[at - 1] = _RESOURCE

    def _guest_giver(self, resource: str, *, moves: bool) -> Encoder:
        def give(at: int, thing: Any) -> None:
            if not isinstance(thing, GuestResource):
                raise TypeError(f"a GuestResource wanted for {resource}, not {thing!r}")
            _put_word(space, at - 1 + _PAYLOAD, thing.handle(self.instance(), resource, moves=moves))
            space[at - 1] = _RESOURCE

        return give
