"""A guest of a component: its instance in a store, and calls of what it exports."""

import ctypes as C
from collections.abc import Callable
from typing import Any

from coop.engine.border import Border
from coop.engine.component.capi import VAL_SIZE, Function, Handle, held
from coop.engine.component.component import Component, Export
from coop.engine.component.decode import make_decoder
from coop.engine.component.encode import make_encoder
from coop.engine.component.handles import Handles
from coop.engine.component.linkage import ComponentLinkage
from coop.engine.limits import Limits
from coop.engine.store import Store
from coop.errors import CoopError, GuestTrap, LimitExceeded, LinkError
from coop.wit.types import Result
from coop.wit.values import Err, Ok

__all__ = ["ComponentInstance"]

_INSTANCES, _TABLES, _MEMORIES = 512, 256, 8
"""How many a store may hold: a component links modules, each with its tables; a composed one has a memory
for each part."""


class ComponentInstance(Store):
    """One instance of a component.

    component -- what it runs
    handles   -- the objects behind its handles
    lent      -- the numbers of those that are lent for the call in progress
    """

    __slots__ = ("_handle", "component", "handles", "lent")

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
        self.lent: list[int] = []
        self._handle = Handle()
        super().__init__(border, component, linkage, limits, state, guest, (_INSTANCES, _TABLES, _MEMORIES))

    def start(self) -> None:
        """Instantiate the component.

        Raises: LinkError; LimitExceeded if its first memory is larger than it may be; GuestTrap.
        """
        self._check_caller()
        try:
            self._await(
                _without_trap(held.wasmtime_component_linker_instantiate_async),
                self.linkage.linker,
                self._context,
                self.component.address,
                C.byref(self._handle),
            )
        except GuestTrap:
            raise
        except CoopError as error:
            raise self._why_not_instantiated(error) from None

    def _why_not_instantiated(self, error: CoopError) -> CoopError:
        text = str(error)
        if type(error) is not CoopError:
            return error
        for words, limit in (("memory limits", "memory"), ("table limits", "table_elements")):
            if f"exceeds {words}" in text:
                return LimitExceeded(limit, f"{self.component.name}: {text}")
        return LinkError(f"{self.component.name}: {text}")

    def _before_close(self) -> None:
        self.handles.close()

    # -- calls

    def call(self, interface: str, name: str, args: tuple[Any, ...]) -> Any:
        """Call an exported function and return its result; see `coop.wit.values` for how values look.

        interface -- the interface it is in, with its version or without; "" for one that stands alone
        Raises: LinkError for a wrong name, number or kind of arguments; Err if the result is an error;
        GuestTrap; LimitExceeded; whatever a host function raised.
        """
        export = self.component.export(interface, name)
        self._check_caller()
        params = export.type.params
        if len(args) != len(params):
            raise LinkError(
                f"{self.component.name}: {export.name} takes {len(params)} arguments, not {len(args)}"
            )
        if self.is_dead:
            raise CoopError(f"{self.component.name}: call {export.name}: the guest has ended")
        arguments = (C.c_uint8 * (VAL_SIZE * max(len(params), 1)))()
        results = (C.c_uint8 * VAL_SIZE)()
        try:
            self.take_cell()
            self._encode(export, C.addressof(arguments), args)
            self._call(export, arguments, results)
            return self._decode(export, C.addressof(results))
        finally:
            for i in range(len(params)):
                held.wasmtime_component_val_delete(C.addressof(arguments) + i * VAL_SIZE)
            held.wasmtime_component_val_delete(C.addressof(results))
            self._take_back()

    def _encode(self, export: Export, at: int, args: tuple[Any, ...]) -> None:
        lender = self.linkage.lender
        for i, ((name, kind), value) in enumerate(zip(export.type.params, args, strict=True)):
            try:
                make_encoder(kind, lender)(at + i * VAL_SIZE, value)
            except TypeError as error:
                raise LinkError(f"{self.component.name}: {export.name}, argument {name}: {error}") from None

    def _call(self, export: Export, arguments: Any, results: Any) -> None:
        function = Function()
        handle = C.byref(self._handle)
        if not held.wasmtime_component_instance_get_func(
            handle, self._context, export.index, C.byref(function)
        ):
            raise LinkError(f"{self.component.name}: {export.name} is not exported")
        try:
            self._await(
                _without_trap(held.wasmtime_component_func_call_async),
                C.byref(function),
                self._context,
                C.byref(arguments),
                len(export.type.params),
                C.byref(results),
                export.type.result is not None,
            )
        except CoopError as error:
            if type(error) is CoopError:  # what the border itself refused has no frames
                raise GuestTrap(str(error)) from None
            raise

    def _decode(self, export: Export, at: int) -> Any:
        kind = export.type.result
        if kind is None:
            return None
        self.take_cell()
        value = make_decoder(kind, self.linkage.lender)(at)
        if not isinstance(kind, Result):
            return value
        if isinstance(value, Err):
            raise value
        assert isinstance(value, Ok)
        return value.value

    def _take_back(self) -> None:
        """End what was lent for the call."""
        lent, self.lent = self.lent, []
        for number in lent:
            self.handles.forget(number)


def _without_trap(begin: Callable[..., int]) -> Callable[..., int]:
    """Leave out where a trap would be told: here it is an error like others."""
    return lambda *arguments: begin(*arguments[:-2], arguments[-1])
