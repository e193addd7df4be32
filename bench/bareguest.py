"""A guest with nothing around it: what wasmtime and a host in Python need for one, and no more.

This is no way to run guests: it has no limits, no slices, no rights and no errors, and nobody minds who it
belongs to. What coop takes beyond it is coop's own work.
"""

import ctypes as C
from collections.abc import Callable
from typing import Any

import wasmtime

from coop.engine.capi import UncheckedCallback, address, held
from coop.engine.cells import ERROR, FUNCTION, INSTANCE, Cells, take_function, take_memory
from coop.engine.memory import Memory

__all__ = ["BareGuest", "new_linker"]


class BareGuest:
    """A store with one instance, whose `_start` has been called and has not run yet.

    future -- the call, for `wasmtime_call_future_poll`, which runs it until it ends or is suspended
    view   -- the guest's memory
    """

    def __init__(self, module: Any, linker: int) -> None:
        self.store = held.wasmtime_store_new(module.engine.address, None, None)
        self.context = held.wasmtime_store_context(self.store)
        held.wasmtime_context_set_epoch_deadline(self.context, 1)
        held.wasmtime_context_epoch_deadline_async_yield_and_update(self.context, 1)
        self.cells, self.memory = Cells(), Memory()
        at = C.addressof(self.cells)
        begin = held.wasmtime_linker_instantiate_async
        future = begin(linker, self.context, module.address, at + INSTANCE, at, at + ERROR)
        assert held.wasmtime_call_future_poll(future)
        held.wasmtime_call_future_delete(future)
        assert take_memory(self.context, self.cells, "memory")
        assert take_function(self.context, self.cells, "_start")
        self.memory.attach(self.context, self.cells)
        self.view = self.memory.view
        call = held.wasmtime_func_call_async
        self.future = call(self.context, at + FUNCTION, None, 0, None, 0, at, at + ERROR)

    def suspend(self) -> None:
        """Have the guest leave its fiber at its next call, until it is polled again."""
        held.wasmtime_context_set_epoch_deadline(self.context, 0)

    def end(self) -> None:
        """Unwind its fiber, and give back all that it has."""
        held.wasmtime_call_future_delete(self.future)
        del self.view
        self.memory.release()
        held.wasmtime_store_delete(self.store)


def new_linker(module: Any, **imports: tuple[int, int, Callable[[int, int, int], int]]) -> tuple[int, Any]:
    """Return a linker with functions of a module "bare", and what must be kept as long as it is used.

    imports -- by name: how many parameters and how many results, all i32, and the callback
    """
    linker = held.wasmtime_linker_new(module.engine.address)
    i32, kept = wasmtime.ValType.i32(), []
    for name, (params, results, call) in imports.items():
        functype, callback = wasmtime.FuncType([i32] * params, [i32] * results), UncheckedCallback(call)
        raw, at = name.encode(), C.cast(callback, C.c_void_p)
        define = held.wasmtime_linker_define_func_unchecked
        assert not define(linker, b"bare", 4, raw, len(raw), address(functype.ptr()), at, None, None)
        kept.append((functype, callback))
    return linker, kept
