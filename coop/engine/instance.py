"""A guest of a core module: its instance in a store, and calls of what it exports."""

import ctypes as C
from typing import Any

from coop.engine.border import Border, Linkage
from coop.engine.capi import Handle, Val, held
from coop.engine.cells import FUNCTION, INSTANCE, take_function
from coop.engine.limits import Limits
from coop.engine.marshal import KIND, pack_value, unpack_value
from coop.engine.module import Module
from coop.engine.signatures import FuncType
from coop.engine.store import Store
from coop.engine.traps import take_error, why_not_instantiated
from coop.errors import CoopError, LinkError
from coop.slips import instead

_TABLES, _MEMORIES = 16, 1
"""How many a store may hold: more tables than compilers make; one memory, because the limit of memory is
counted for each."""


class Instance(Store):
    """One instance of a module.

    module -- what it runs
    """

    __slots__ = ("_linker", "module")

    def __init__(
        self, border: Border, module: Module, linkage: Linkage, limits: Limits, state: Any, guest: Any
    ) -> None:
        self.module = module
        self._linker = 0
        most = 1 + len(linkage.shims), _TABLES, _MEMORIES
        super().__init__(border, module, linkage, limits, state, guest, most)

    # -- life

    def start(self) -> None:
        """Instantiate the shims and the module, running its start section if it has one.

        Raises: LinkError; LimitExceeded if its first memory is larger than it may be; GuestTrap.
        """
        self.linkage.require(self.module)
        self._check_caller()
        try:
            self._instantiate()
        except CoopError as error:
            if type(error) is not CoopError:
                raise
            raise why_not_instantiated(self.module.name, str(error)) from None
        self.sizes.attach(self.context, self._cells, self.module.others)
        if self.module.start is not None:
            self._call(self.module.start, None, 0, None, 0)

    def _instantiate(self) -> None:
        self._linker = held.wasmtime_linker_clone(self.linkage.linker)
        shim = Handle()
        for name, pre in self.linkage.shims:
            self._await(held.wasmtime_instance_pre_instantiate_async, pre, self.context, C.byref(shim))
            error = held.wasmtime_linker_define_instance(
                self._linker, self.context, name, len(name), C.byref(shim)
            )
            if error:
                raise take_error(error)
        self._await_instance(
            held.wasmtime_linker_instantiate_async,
            self._linker,
            self.context,
            self.module.address,
            C.addressof(self._cells) + INSTANCE,
        )
        held.wasmtime_linker_delete(self._linker)
        self._linker = 0

    def _before_close(self) -> None:
        if self._linker:
            held.wasmtime_linker_delete(self._linker)
            self._linker = 0

    # -- calls

    def call(self, name: str, args: tuple[Any, ...]) -> Any:
        """Call the export `name` and return its result: None, a value, or a tuple.

        Raises: LinkError for a wrong name, number or type of arguments; GuestTrap;
        LimitExceeded; whatever a host function raised.
        """
        params, results = self._signature(name)
        self._check_caller()
        if len(args) != len(params):
            raise LinkError(f"{self.module.name}: {name} takes {len(params)} arguments, not {len(args)}")
        arguments = (Val * len(params))() if params else None
        for i, (kind, value) in enumerate(zip(params, args, strict=True)):
            try:
                payload = pack_value(kind, value)
            except TypeError as error:
                raise LinkError(f"{self.module.name}: {name}, argument {i + 1}: {error}") from None
            assert arguments is not None
            _store_value(arguments[i], kind, payload)
        out = (Val * len(results))() if results else None
        if self.is_dead:
            raise CoopError(f"{self.module.name}: call {name}: the guest has ended")
        self._call(name, arguments, len(params), out, len(results))
        if out is None:
            return None
        values = tuple(
            unpack_value(kind, bytes(slot.of)[:8]) for kind, slot in zip(results, out, strict=True)
        )
        return values[0] if len(values) == 1 else values

    def _signature(self, name: str) -> FuncType:
        """Return the type of an export that can be called.  Raises: LinkError."""
        exports = self.module.exports
        signature = exports.get(name)
        if signature is None:
            known = "is no function" if name in exports else "is not exported"
            others = instead("it exports", (each for each, kind in exports.items() if kind is not None))
            raise LinkError(f"{self.module.name}: {name} {known}{others}")
        for kind in (*signature[0], *signature[1]):
            if kind not in KIND:
                raise LinkError(f"{self.module.name}: {name} has type {kind}, which coop cannot pass")
        return signature

    def _call(self, name: str, arguments: Any, takes: int, out: Any, gives: int) -> None:
        """Call an export that is there, with arrays of as many values as it takes and gives."""
        is_there = take_function(self.context, self._cells, name)
        assert is_there, name
        function = C.addressof(self._cells) + FUNCTION
        self._await(held.wasmtime_func_call_async, self.context, function, arguments, takes, out, gives)


def _store_value(slot: Any, kind: str, payload: bytes) -> None:
    slot.kind = KIND[kind]
    slot.of.i64 = int.from_bytes(payload, "little", signed=True)
