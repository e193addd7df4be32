"""A compiled component."""

import ctypes as C
from collections.abc import Callable
from typing import Any

from wasmtime import _bindings
from wasmtime import component as wc

from coop.engine.binary import COMPONENT
from coop.engine.code import Code
from coop.engine.component.capi import held, released
from coop.engine.component.reflect import Item, read_world, unversioned
from coop.errors import LinkError
from coop.slips import instead
from coop.wit.types import Func

__all__ = ["Component", "Export"]


class Export:
    """One exported function.

    name  -- for messages: the interface's and its own
    type  -- what it takes and gives
    index -- wasmtime's index of it
    """

    __slots__ = ("index", "name", "type")

    def __init__(self, name: str, kind: Func, index: int) -> None:
        self.name = name
        self.type = kind
        self.index = index


class Component(Code):
    """A compiled component of WebAssembly.  Immutable; `from_file` and `from_bytes` make one.

    name    -- for messages: its path, or what the caller gave
    imports -- the interfaces it wants, by name, in order
    exports -- the interfaces it offers, by name
    """

    WHAT = "component"
    VERSION = COMPONENT

    imports: dict[str, Item]
    exports: dict[str, Item]

    def _read(self, wasm: bytes) -> None:
        del wasm
        self.imports, self.exports = read_world(self._handle, self.engine.handle, self.name)
        self._found: dict[tuple[str, str], Export] = {}

    @classmethod
    def _wrapper(cls) -> tuple[Any, Callable[..., Any], Callable[..., Any]]:
        return _wrap, released.wasmtime_component_new, released.wasmtime_component_deserialize

    def export(self, interface: str, function: str) -> Export:
        """Return the exported function of an interface; with "" for that, one that stands alone.

        An interface may be named without its version; of several the last one counts.  Raises: LinkError.
        """
        found = self._found.get((interface, function))
        if found is None:
            found = self._found[interface, function] = self._find(interface, function)
        return found

    def require(self, interface: str, function: str, kind: Func) -> None:
        """Check that an interface's function is exported with the type that will be called.

        Raises: LinkError that names the function and both types.
        """
        found = self.export(interface, function)
        if not found.type.fits(kind):
            raise LinkError(
                f"{self.name}: export {found.name} has type {found.type.brief()}, wanted is {kind.brief()}"
            )

    def _find(self, interface: str, function: str) -> Export:
        if not interface:
            item = self.exports.get(function)
            if item is None or "" not in item.functions:
                others = instead("it exports", self.exports)
                raise LinkError(f"{self.name}: function {function} is not exported{others}")
            return Export(function, item.functions[""], self._index(0, function))
        names = [name for name in self.exports if interface in (name, unversioned(name))]
        if not names:
            others = instead("it exports", self.exports)
            raise LinkError(f"{self.name}: interface {interface} is not exported{others}")
        item = self.exports[names[-1]]
        if function not in item.functions:
            others = instead("it has", item.functions)
            raise LinkError(f"{self.name}: interface {item.name} has no function {function}{others}")
        outer = self._index(0, item.name)
        try:
            inner = self._index(outer, function)
        finally:
            held.wasmtime_component_export_index_delete(outer)
        return Export(f"{item.name} {function}", item.functions[function], inner)

    def _index(self, outer: int, name: str) -> int:
        raw = name.encode()
        index: int | None = held.wasmtime_component_get_export_index(self.address, outer, raw, len(raw))
        if not index:
            raise LinkError(f"{self.name}: {name} is not exported")
        return index


def _wrap(pointer: C.c_void_p) -> wc.Component:
    return wc.Component._from_ptr(C.cast(pointer, C.POINTER(_bindings.wasmtime_component_t)))
