"""The border of one scheduler: where its guests' calls become Python calls.

wasmtime calls a host function with no hint of which guest calls.  All guests of
a scheduler share the same callbacks, so the scheduler keeps one cell - here, the
attributes `instance` and `state` - and whoever lets a guest run sets it
first.  Only one guest of a scheduler runs at a time, and it is always the one in
the cell.

A user's function that parks gives wasmtime a *continuation*: a C function that is
asked, once for every poll of the guest, whether the call may go on.  Ours is
libc's `strlen`, over two bytes of which the first says yes or no; so asking costs
no Python.  One flag serves every guest, because it is read only while one of
them is being polled: suspending clears it, and resuming sets it.  Raw imports wait
without one; see `shim`.

1. Python that runs on a fiber - everything called from here - is short, never
   switches, and lets no exception out: wasmtime would go on with garbage.
2. Callbacks, linkers and cells belong to one scheduler and die with it; engines
   and modules are shared.
"""

import ctypes as C
import struct
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import wasmtime

from coop.engine.capi import AsyncCallback, Continuation, UncheckedCallback, address, held
from coop.engine.config import Engine
from coop.engine.faults import restore_handlers
from coop.engine.hostfunc import HostFunction, ImportTable, RawImport
from coop.engine.marshal import (
    WASM_TYPE,
    compile_fast,
    compile_raw,
    make_decoder,
    make_encoder,
    space,
    store_i32,
)
from coop.engine.module import Module
from coop.engine.preempt import SLICE_NS
from coop.engine.shim import TRY_MODULE, Tried, shim_module
from coop.engine.signatures import FuncType, Import
from coop.engine.slices import Slices
from coop.engine.traps import new_trap, take_error
from coop.engine.watcher import Watcher
from coop.errors import LinkError

if TYPE_CHECKING:
    from coop.engine.drive import Driven
    from coop.engine.store import Store
    from coop.scheduler import Scheduler

_libc = C.PyDLL(None)
_STRLEN = C.cast(_libc.strlen, C.c_void_p).value or 0
store_continuation = struct.Struct(f"{C.sizeof(Continuation)}s").pack_into

_LINKAGES_KEPT = 32
"""Sets of imports that are kept for guests to come; each takes a quarter of a megabyte."""


_MOST_TROUBLES, _MOST_TEXT = 20, 1000
"""How many imports an error of linking tells of, and characters of each."""


class Border:
    """One scheduler's side of every call between its guests and Python.

    instance, state -- the guest that runs now: its engine half, and what its raw imports work on
    begin_ns        -- the moment from which on what it computes is not in its account yet
    is_silent       -- whether it has called no host function since it was let run; the first call says so
    flag            -- flag[0] is 1 when the pending host call may go on
    continuation    -- what tells wasmtime to look at it, and to go on at once while it is 1
    slice_ns        -- how long a busy guest runs before the others get a turn
    most_ns         -- how long it may run among calls that stand one behind the other
    """

    def __init__(self, scheduler: "Scheduler", slice_ns: int = SLICE_NS) -> None:
        self.scheduler = scheduler
        self.slice_ns = slice_ns
        self.most_ns = 2 * slice_ns
        self.instance: Driven | None = None
        self.state: Any = None
        self.begin_ns = 0
        self.is_silent = False
        self.flag = (C.c_ubyte * 2)(0, 0)
        self.instances: dict[Store, None] = {}
        """Every instance with a store, so that none outlives the run."""
        self.continuation = bytes(Continuation(_STRLEN, C.addressof(self.flag), None))
        self._slices: dict[int, Slices] = {}
        self._watcher: Watcher | None = None
        self._linkages: dict[object, Any] = {}
        self._sweep_at = _LINKAGES_KEPT
        restore_handlers()

    def slices(self, engine: Engine) -> Slices:
        """Return what ends slices on `engine`."""
        found = self._slices.get(engine.address)
        if found is None:
            if self._watcher is None and self.scheduler.watchable is not None:
                self._watcher = Watcher(self.scheduler.watchable)
            found = Slices(self.scheduler, engine, self.slice_ns, self._watcher)
            self._slices[engine.address] = found
        return found

    def linkage(
        self, module: Module, tables: tuple[ImportTable, ...], functions: tuple[HostFunction, ...]
    ) -> "Linkage":
        """Return what guests of `module` are linked against; made once for all that import the same.

        tables, functions -- what they are offered
        """
        # By identity: functions that compare equal may still do different things.  The linkage keeps them.
        engine, wanted = module.engine, module.wanted
        key = (engine.address, wanted, tuple(map(id, tables)), tuple(map(id, functions)))
        found: Linkage = self.keep_linkage(key, lambda: Linkage(self, engine, wanted, tables, functions))
        return found

    def keep_linkage(self, key: object, make: Callable[[], Any]) -> Any:
        """Return the linkage, of whatever kind, that is known by `key`; made once."""
        found = self._linkages.get(key)
        if found is None:
            if len(self._linkages) >= self._sweep_at:
                self._sweep()
            found = self._linkages[key] = make()
        return found

    def _sweep(self) -> None:
        """Close the linkages no guest uses: a host that makes functions for each guest would pile them up."""
        used = {id(instance.linkage) for instance in self.instances}
        for key, linkage in list(self._linkages.items()):
            if id(linkage) not in used:
                del self._linkages[key]
                linkage.close()
        # Looking at all of them may cost no more than making as many.
        self._sweep_at = max(_LINKAGES_KEPT, 2 * len(self._linkages))

    def suspender(self) -> Callable[[int], None]:
        """Return a function that suspends the guest, by the structure at an address, until `flag` is set."""
        flag, continuation = self.flag, self.continuation

        def suspend(continuation_out: int) -> None:
            flag[0] = 0
            store_continuation(space, continuation_out, continuation)

        return suspend

    def rest(self) -> None:
        """Have the guest yield before the call in progress returns, which can suspend it and need not.

        For one that has had `most_ns`: wasmtime makes it yield nowhere among calls that stand one behind
        the other.
        """
        instance = self.instance
        assert instance is not None
        self.flag[0] = 0
        instance.pending = instance.rest

    def close(self) -> None:
        """End what still lives, in the order wasmtime needs: instances, linkers, slices."""
        with ExitStack() as ends:  # each comes, the last one first, whatever another raises
            for slices in self._slices.values():
                ends.callback(slices.close)
            if self._watcher is not None:
                ends.callback(self._watcher.close)
            for linkage in self._linkages.values():
                ends.callback(linkage.close)
            for instance in reversed(list(self.instances)):
                ends.callback(instance.end_with_run)
        self._linkages.clear()
        self._slices.clear()
        self.instance = self.state = None


class Linkage:
    """A linker with the imports that a module wants, and the shims before those that answer on the fiber.

    What the module does not want is left out, since every guest's start copies the linker and makes an
    instance of each shim.

    linker -- the C linker; every guest clones it
    shims  -- for each module that is imported from: its name and the shim's pre-instance
    """

    def __init__(
        self,
        border: Border,
        engine: Engine,
        wanted: frozenset[tuple[str, str]],
        tables: tuple[ImportTable, ...],
        functions: tuple[HostFunction, ...],
    ) -> None:
        self._wanted = wanted
        self._fits: weakref.ref[Module] | None = None  # whose imports were looked at last
        self.linker: int = held.wasmtime_linker_new(engine.address)
        self.shims: list[tuple[bytes, int]] = []
        self._border = border
        self._offered: dict[tuple[str, str], FuncType] = {}
        self._keep: list[Any] = [tables, functions]
        self._tried: dict[str, list[Tried]] = {}
        for table in tables:
            self._add_table(table)
        for function in functions:
            self._add_function(function)
        for name, tried in self._tried.items():
            self._add_shim(engine, name, tuple(tried))

    def require(self, module: Module) -> None:
        """Raise LinkError, naming the first ones, unless every import of `module` is here and of its type."""
        if self._fits is not None and self._fits() is module:
            return
        offered = self._offered
        wrong = [w for w in module.imports if w.type is None or offered.get((w.module, w.name)) != w.type]
        if wrong:
            says = [f"import {self._trouble(wanted)}" for wanted in wrong[:_MOST_TROUBLES]]
            if len(wrong) > _MOST_TROUBLES:
                says.append(f"{len(wrong) - _MOST_TROUBLES} more imports are wrong")
            raise LinkError(f"{module.name}: {'; '.join(says)}")
        self._fits = weakref.ref(module)

    def _trouble(self, wanted: Import) -> str:
        """Return what is wrong with an import, cut short: a module could make it as long as it likes."""
        offered = self._offered.get((wanted.module, wanted.name))
        if offered is None:
            text = f"{wanted} is not provided"
        else:
            text = f"{wanted} has type {_show(wanted.type)}, provided is {_show(offered)}"
        return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}..."

    def close(self) -> None:
        """Delete the pre-instances, then the linker."""
        for _, pre in self.shims:
            held.wasmtime_instance_pre_delete(pre)
        self.shims.clear()
        if self.linker:
            held.wasmtime_linker_delete(self.linker)
            self.linker = 0

    # -- raw imports

    def _add_table(self, table: ImportTable) -> None:
        def fail(at: int, error: BaseException) -> int:
            errno = table.errno_of(self._border.state, error)
            if errno is None:
                return self._fail(error)
            store_i32(at, errno)
            return 0

        for raw in table.imports:
            self._offered[table.module, raw.name] = _wasm_types(raw)
            if (table.module, raw.name) in self._wanted:
                tried = Tried(raw.name, raw.params, raw.results, raw.parks)
                self._define_tried(table.module, tried, compile_raw(self._border, raw, fail))

    # -- users' functions

    def _add_function(self, function: HostFunction) -> None:
        types = _wasm_types(function)
        if (function.module, function.name) in self._offered:
            raise LinkError(f"host function {function} is provided already")
        self._offered[function.module, function.name] = types
        if (function.module, function.name) not in self._wanted:
            return
        if not function.parks:
            trampoline = compile_fast(
                self._border,
                function.call,
                function.params,
                function.results,
                function.check,
                lambda _, error: self._fail(error),
                str(function),
            )
            tried = Tried(function.name, function.params, function.results, parks=False)
            self._define_tried(function.module, tried, trampoline)
            return
        border, call = self._border, function.call
        decode = make_decoder(function.params)
        encode = make_encoder(function.results, function.check)

        def begin(args: Any, results: int) -> None:
            # The arguments are wasmtime's, and gone when this returns; the room for the results stays.
            values, instance = decode(args), border.instance
            assert instance is not None
            caller = instance.caller
            instance.pending = lambda: encode(results, call(caller, *values))

        self._define_async(function.module, function.name, function.params, function.results, begin)

    def _fail(self, error: BaseException) -> int:
        """Keep `error` for the task and return a trap that ends the guest."""
        instance = self._border.instance
        assert instance is not None
        instance.failure = error
        return new_trap("host function failed")

    # -- wasmtime's side

    def _add_shim(self, engine: Engine, name: str, functions: tuple[Tried, ...]) -> None:
        shim = shim_module(engine, name, functions)
        pre = C.c_void_p()
        error = held.wasmtime_linker_instantiate_pre(self.linker, shim.address, C.byref(pre))
        if error:
            raise take_error(error)
        self._keep.append(shim)
        self.shims.append((name.encode(), pre.value or 0))

    def _define_tried(self, module: str, tried: Tried, call: Any) -> None:
        """Define what the shim of `module` will call."""
        callback = UncheckedCallback(call)
        self._tried.setdefault(module, []).append(tried)
        define = held.wasmtime_linker_define_func_unchecked
        self._define(define, TRY_MODULE + module, tried.name, tried.params, tried.results, callback)

    def _define_async(
        self, module: str, name: str, params: tuple[str, ...], results: tuple[str, ...], begin: Any
    ) -> None:
        border, suspend = self._border, self._border.suspender()

        def start(
            _env: int,
            _caller: int,
            args: Any,
            _nargs: int,
            out: int,
            _nout: int,
            _trap: int,
            continuation: int,
        ) -> None:
            suspend(continuation)
            try:
                begin(args, out)
            except BaseException as error:
                instance, failure = border.instance, error
                assert instance is not None
                instance.pending = lambda: _raise(failure)

        callback = AsyncCallback(start)
        self._define(held.wasmtime_linker_define_async_func, module, name, params, results, callback)

    def _define(
        self,
        define: Any,
        module: str,
        name: str,
        params: tuple[str, ...],
        results: tuple[str, ...],
        callback: Any,
    ) -> None:
        functype = wasmtime.FuncType(_valtypes(params), _valtypes(results))
        self._keep += [functype, callback]
        m, n = module.encode(), name.encode()
        error = define(
            self.linker,
            m,
            len(m),
            n,
            len(n),
            address(functype.ptr()),
            C.cast(callback, C.c_void_p),
            None,
            None,
        )
        if error:
            raise take_error(error)


def _raise(error: BaseException) -> None:
    raise error


def _valtypes(kinds: tuple[str, ...]) -> list[wasmtime.ValType]:
    return [getattr(wasmtime.ValType, WASM_TYPE[kind])() for kind in kinds]


def _wasm_types(function: RawImport | HostFunction) -> FuncType:
    return (
        tuple(WASM_TYPE[kind] for kind in function.params),
        tuple(WASM_TYPE[kind] for kind in function.results),
    )


def _show(functype: FuncType | None) -> str:
    if functype is None:
        return "no function"
    return f"({', '.join(functype[0])}) -> ({', '.join(functype[1])})"
