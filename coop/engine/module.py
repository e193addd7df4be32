"""A compiled core module."""

import ctypes as C
from collections.abc import Callable
from typing import Any

import wasmtime

from coop.engine.beginning import deferred, name_of_start
from coop.engine.binary import CORE, FuncType
from coop.engine.capi import released
from coop.engine.code import Code
from coop.engine.signatures import read_signatures
from coop.errors import BadModule

__all__ = ["Module"]

_PLAIN: FuncType = ((), ())


class Module(Code):
    """A compiled WebAssembly module.  Immutable; `from_file` and `from_bytes` make one.

    name    -- for messages: its path, or what the caller gave
    imports -- what it wants, in order
    exports -- the types of the functions it offers, by name; None for what is no function
    wanted, wanted_of -- the names of all that it wants, each with its module's; and those modules
    start   -- the name by which its start section is called; None: it has none
    others  -- the names of its exports that are no functions
    entry   -- the function that is its program: the one exported without a name, or else `_start`; None: what
               its start section does is all of it
    """

    WHAT = "core module"
    VERSION = CORE

    def _read(self, wasm: bytes) -> None:
        self.imports, self.exports, start = read_signatures(wasm, self.name)
        if start not in (None, _PLAIN):  # wasmtime did not see that this is where it begins
            raise BadModule(f"{self.name}: invalid start function type")
        self.start = None if start is None else name_of_start(self.exports)
        self.wanted = frozenset((each.module, each.name) for each in self.imports)
        self.wanted_of = frozenset(each.module for each in self.imports)
        self.others = tuple(name for name, kind in self.exports.items() if kind is None)
        self.entry = self._entry()

    def _entry(self) -> str | None:
        if self.exports.get("") is not None:
            return ""
        is_all = self.start is not None and self.exports.keys().isdisjoint({"_start", "_initialize"})
        return None if is_all else "_start"

    @classmethod
    def _compiled_of(cls, wasm: bytes) -> bytes:
        return deferred(super()._compiled_of(wasm))

    @classmethod
    def _wrapper(cls) -> tuple[Any, Callable[..., Any], Callable[..., Any]]:
        return _wrap, released.wasmtime_module_new, released.wasmtime_module_deserialize


def _wrap(pointer: C.c_void_p) -> wasmtime.Module:
    return wasmtime.Module._from_ptr(C.cast(pointer, C.POINTER(wasmtime._bindings.wasmtime_module_t)))
