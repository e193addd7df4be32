"""A guest of a component: its instance in a store, and calls of what it exports."""

import ctypes as C
from collections.abc import Callable
from typing import Any

from coop.engine.border import Border
from coop.engine.component.capi import VAL_SIZE, Function, Handle, held
from coop.engine.component.component import Component, Export
from coop.engine.component.decode import Decoder
from coop.engine.component.encode import Encoder
from coop.engine.component.handles import Handles
from coop.engine.component.linkage import ComponentLinkage
from coop.engine.limits import Limits
from coop.engine.store import Store
from coop.engine.traps import why_not_instantiated
from coop.errors import BugError, CoopError, GuestTrap, LimitExceeded, LinkError
from coop.task import current
from coop.wit.types import Result
from coop.wit.values import Err, Ok

__all__ = ["ComponentInstance"]

_INSTANCES, _TABLES, _MEMORIES = 512, 256, 8
"""How many a store may hold: a component links modules, each with its tables; a composed one has a memory
for each part."""

_NO_FUEL = "fuel allocated for hostcalls has been exhausted"
"""wasmtime's words for values that would take too much memory of the host's: 128 MiB for one call."""


class ComponentInstance(Store):
    """One instance of a component.

    component -- what it runs
    handles   -- the objects behind its handles
    """

    __slots__ = ("_handle", "_is_made", "component", "handles")

    def __init__(
        self,
        border: Border,
        component: Component,
        linkage: ComponentLinkage,
        limits: Limits,
        state: Any,
        guest: Any,
    ) -> None:
        self.component = component
        self.handles = Handles(limits.handles)
        self._handle = Handle()
        self._is_made = False
        super().__init__(border, component, linkage, limits, state, guest, (_INSTANCES, _TABLES, _MEMORIES))

    def start(self) -> None:
        """Instantiate the component.

        Raises: LinkError; LimitExceeded if its first memory is larger than it may be; GuestTrap.
        """
        self._check_caller()
        if self._is_made or self.is_dead:
            raise CoopError(f"start {self.component.name}: the guest was started before")
        if not self.linkage.linker:
            raise BugError(f"start {self.component.name}: its linkage is closed")
        self._await_instance(
            _without_trap(held.wasmtime_component_linker_instantiate_async),
            self.linkage.linker,
            self.context,
            self.component.address,
            C.byref(self._handle),
        )
        self._is_made = True

    def _take(self) -> CoopError | None:
        found = super()._take()
        if found is None or isinstance(found, LimitExceeded):
            return found
        text = found.message if isinstance(found, GuestTrap) else str(found)
        if _NO_FUEL in text:
            return LimitExceeded("bytes_per_list", f"{self.component.name}: {text}")
        if isinstance(found, GuestTrap):
            return found
        # What the border itself refuses has no frames.
        return GuestTrap(text) if self._is_made else why_not_instantiated(self.component.name, text)

    def _before_close(self) -> None:
        self.handles.close()

    # -- calls

    def call(self, interface: str, name: str, args: tuple[Any, ...]) -> Any:
        """Call an exported function and return its result; see `coop.wit.values` for how values look.

        interface -- the interface it is in, with its version or without; "" for one that stands alone
        Raises: LinkError for a wrong name, number or type of arguments; Err if the result is an error;
        GuestTrap; LimitExceeded; whatever a host function raised.
        """
        self._check_caller()
        export = self.component.export(interface, name)
        params = export.type.params
        if len(args) != len(params):
            raise LinkError(
                f"{self.component.name}: {export.name} takes {len(params)} arguments, not {len(args)}"
            )
        if self.is_dead or not self._is_made:
            state = "has ended" if self.is_dead else "was not started"
            raise CoopError(f"{self.component.name}: call {export.name}: the guest {state}")
        encoders, decode = self.linkage.codec(export)
        arguments = (C.c_uint8 * (VAL_SIZE * max(len(params), 1)))()
        results = (C.c_uint8 * VAL_SIZE)()
        try:
            self._encode(export, encoders, C.addressof(arguments), args)
            self._call(export, arguments, results)
            if decode is None:
                return None
            value = self._decode(decode, C.addressof(results))
        finally:
            for i in range(len(params)):
                held.wasmtime_component_val_delete(C.addressof(arguments) + i * VAL_SIZE)
            held.wasmtime_component_val_delete(C.addressof(results))
            self.handles.end_of_call()
        return value if not isinstance(export.type.result, Result) else _opened(value)

    def holding(self) -> "_Holding":
        """Return a context in which values cross the border, and nothing else happens on the scheduler."""
        return _Holding(self)

    def _encode(self, export: Export, encoders: list[Encoder], at: int, args: tuple[Any, ...]) -> None:
        is_right = False
        with self.holding():
            self.handles.begin_call()
            try:
                for i, (encode, value) in enumerate(zip(encoders, args, strict=True)):
                    encode(at + i * VAL_SIZE, value)
                is_right = True
            except TypeError as error:
                name = export.type.params[i][0]
                raise LinkError(f"{self.component.name}: {export.name}, argument {name}: {error}") from None
            finally:
                self.handles.end_of_arguments(is_right=is_right)

    def _decode(self, decode: Decoder, at: int) -> Any:
        try:
            with self.holding():
                return decode(at)
        except BaseException:
            self.close()  # its answer is lost
            raise

    def _call(self, export: Export, arguments: Any, results: Any) -> None:
        function = Function()
        handle = C.byref(self._handle)
        if not held.wasmtime_component_instance_get_func(
            handle, self.context, export.index, C.byref(function)
        ):
            raise LinkError(f"{self.component.name}: {export.name} is not exported")
        self._await(
            _without_trap(held.wasmtime_component_func_call_async),
            C.byref(function),
            self.context,
            C.byref(arguments),
            len(export.type.params),
            C.byref(results),
            export.type.result is not None,
        )


class _Holding:
    """While values cross the border their owners' code may run: an iterator, an attribute, a `__del__`.

    Were that to park, close the guest or call another, the rest would go to another guest or to none.
    """

    __slots__ = ("_instance", "_task", "_was_held", "_was_pinned")

    def __init__(self, instance: ComponentInstance) -> None:
        self._instance = instance

    def __enter__(self) -> None:
        instance, task = self._instance, current()
        self._task, self._was_pinned, self._was_held = task, task.pinned, instance._is_held
        task.pinned = instance._is_held = True
        instance.take_cell()

    def __exit__(self, *_: object) -> None:
        self._task.pinned, self._instance._is_held = self._was_pinned, self._was_held


def _opened(value: Ok | Err) -> Any:
    """Return what a result holds, or raise it if it is an error."""
    if isinstance(value, Err):
        raise value
    return value.value


def _without_trap(begin: Callable[..., int]) -> Callable[..., int]:
    """Leave out where a trap would be told: here it is an error like others."""
    return lambda *arguments: begin(*arguments[:-2], arguments[-1])
