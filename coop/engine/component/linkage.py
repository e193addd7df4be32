"""What a component is linked against: host interfaces behind callbacks, made once for all its guests.

Three ways to call a host function, by what it says of itself:

    never parks        on the guest's fiber
    may answer Later   on the fiber; if it answers that, the guest is suspended, and what the answer
                       holds is called on the task
    may park           the guest is suspended, and all of it runs on the task

Also one that never parks is called in a way that could suspend the guest, though wasmtime has a cheaper
one.  Within a call wasmtime does not look whether the slice is over, but where a function or a turn of a
loop begins: a guest with a hundred thousand calls one behind the other would have the thread for all of
them (`Border.rest`).

The callback of each function is composed of its decoders and encoders; what a function
means is found on the guest's own objects, so that guests share the rest.

1. Arguments are decoded before the callback returns: wasmtime takes them back then.  The
   room for the results stays.
2. An interface nobody provides, and a function of one that nobody knows, is linked all the
   same: it ends the guest when it is called, with its name.
3. What is provided must be of the type the component says, or it is not linked at all.
"""

import ctypes as C
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from coop.engine.border import store_continuation
from coop.engine.component.capi import AsyncCallback, Callback, Destructor, held
from coop.engine.component.component import Component, Export
from coop.engine.component.decode import Decoder, make_decoder, make_decoders
from coop.engine.component.encode import Encoder, make_encoder
from coop.engine.component.handles import Lender
from coop.engine.component.reflect import Item
from coop.engine.marshal import space
from coop.engine.preempt import now_ns
from coop.engine.traps import take_error
from coop.errors import BugError, GuestTrap, LinkError
from coop.slips import brief
from coop.wit.interface import Exported, Interface, Later, Resource
from coop.wit.types import Func, Result
from coop.wit.values import Err, Ok

if TYPE_CHECKING:
    from coop.engine.border import Border
    from coop.engine.component.instance import ComponentInstance

__all__ = ["ComponentLinkage"]

Call = Callable[[tuple[Any, ...]], Any]

_MOST_TROUBLES = 20
"""How many imports an error of linking tells of."""

Codec = tuple[list[Encoder], Decoder | None]
"""How the arguments of an exported function are encoded, and its result decoded, if it has one."""

_put_word = struct.Struct("<Q").pack_into


class ComponentLinkage:
    """A linker for one component and the interfaces it is offered.

    linker -- the C linker
    lender -- the way between handles and objects
    """

    def __init__(self, border: "Border", component: Component, interfaces: Sequence[type[Interface]]) -> None:
        self.linker: int = held.wasmtime_component_linker_new(component.engine.address)
        self._border = border
        self._component = component
        self._interfaces = interfaces
        self._exported: dict[type[Interface], dict[str, Exported]] = {}
        self._keep: list[Any] = []
        self._codecs: dict[Export, Codec] = {}
        names: dict[str, None] = {}
        for item in component.imports.values():
            names |= dict.fromkeys(item.resources.values())
        hosts = {name: number for number, name in enumerate(names, 1)}
        self.lender = Lender(border, hosts, _classes(interfaces))
        self._destructor: Any = Destructor(self._drop)
        try:
            self._link()
        except BaseException:
            self.close()
            raise
        self._exported.clear()

    def close(self) -> None:
        """Delete the linker, once no guest is left that was made with it.  Raises: BugError before."""
        if any(instance.linkage is self for instance in self._border.instances):
            raise BugError(f"close the linkage of {self._component.name}: guests still use it")
        if self.linker:
            held.wasmtime_component_linker_delete(self.linker)
            self.linker = 0
            # These lead back here; without them the component goes with its last user.
            self._destructor = None
            self._keep.clear()
            self._codecs.clear()

    def codec(self, export: Export) -> "Codec":
        """Return how the values of an exported function cross the border; composed once."""
        found = self._codecs.get(export)
        if found is None:
            lender = self.lender
            encoders = [make_encoder(kind, lender) for _, kind in export.type.params]
            result = export.type.result
            decode = None if result is None else lender.whole((result,), make_decoder(result, lender))
            found = self._codecs[export] = (encoders, decode)
        return found

    def _link(self) -> None:
        trouble: list[str] = []
        root = held.wasmtime_component_linker_root(self.linker)
        try:
            for item in self._component.imports.values():
                if not item.is_interface:
                    self._add_item(root, item, trouble)
                    continue
                inner, name = C.c_void_p(), item.name.encode()
                _check(
                    held.wasmtime_component_linker_instance_add_instance(
                        root, name, len(name), C.byref(inner)
                    )
                )
                try:
                    self._add_item(inner.value or 0, item, trouble)
                finally:
                    held.wasmtime_component_linker_instance_delete(inner)
        finally:
            held.wasmtime_component_linker_instance_delete(root)
        if trouble:
            more = len(trouble) - _MOST_TROUBLES
            if more > 0:
                trouble[_MOST_TROUBLES:] = [f"{more} more imports are wrong"]
            raise LinkError(f"{self._component.name}: {'; '.join(trouble)}")

    def _provider(self, item: Item) -> tuple[int, dict[str, Exported]] | None:
        """Return what offers an import: its place among a guest's interfaces, and its functions.

        Of the interfaces for functions that stand alone it is the first one that has this function.
        """
        name, _, version = item.name.partition("@")
        wanted = name if item.is_interface else ""
        for place, interface in enumerate(self._interfaces):
            if interface.name != wanted or not _suits(interface.version, version):
                continue
            exported = self._exported.get(interface)
            if exported is None:
                exported = self._exported[interface] = interface.exported()
            if item.is_interface or item.name in exported:
                return place, exported
        return None

    def _add_item(self, linker: int, item: Item, trouble: list[str]) -> None:
        for name, full in item.resources.items():
            self._add_resource(linker, name, full)
        provider = self._provider(item)
        exported = {} if provider is None else provider[1]
        for function, kind in item.functions.items():
            name = function or item.name
            shown = f"{item.name} {function}".strip()
            found = exported.get(name)
            if provider is None or found is None:
                self._add_missing(linker, name, shown)
            elif found.type is not None and not found.type.fits(kind):
                trouble.append(f"import {shown} has type {kind.brief()}, provided is {found.type.brief()}")
            else:
                call = self._caller(provider[0], found)
                self._add_function(linker, name, call, found.parks, kind, shown)

    def _add_resource(self, linker: int, name: str, full: str) -> None:
        kind = held.wasmtime_component_resource_type_new_host(self.lender.hosts[full])
        raw = name.encode()
        error = held.wasmtime_component_linker_instance_add_resource(
            linker, raw, len(raw), kind, C.cast(self._destructor, C.c_void_p), None, None
        )
        held.wasmtime_component_resource_type_delete(kind)
        _check(error)

    def _caller(self, place: int, found: Exported) -> Call:
        """Return a function from arguments to what the host function answers."""
        border, attribute = self._border, found.attribute
        if found.is_method:
            return lambda values: getattr(values[0], attribute)(*values[1:])
        return lambda values: getattr(border.state[place], attribute)(*values)

    def _add_missing(self, linker: int, name: str, shown: str) -> None:
        """Add a function that ends the guest.  It leaves its arguments alone, so nothing of them is taken."""

        def callback(*_: int) -> int:
            return self._fail(GuestTrap(f"{shown} was called, which nobody provides"))

        self._define(held.wasmtime_component_linker_instance_add_func, linker, name, Callback(callback))

    def _add_function(
        self, linker: int, name: str, call: Call, parks: bool | None, kind: Func, shown: str
    ) -> None:
        params = tuple(each for _, each in kind.params)
        decode = self.lender.whole(params, make_decoders(params, self.lender))
        encode = _result_encoder(kind, self.lender, shown)
        if isinstance(kind.result, Result):
            call = _catching(call)
        compose = self._at_once if parks is False else partial(self._perhaps_later, always=parks is True)
        callback = AsyncCallback(compose(decode, encode, call))
        self._define(held.wasmtime_component_linker_instance_add_func_async, linker, name, callback)

    def _define(self, add: Callable[..., int], linker: int, name: str, callback: Any) -> None:
        self._keep.append(callback)
        raw = name.encode()
        _check(add(linker, raw, len(raw), C.cast(callback, C.c_void_p), None, None))

    # -- called by wasmtime, on a guest's fiber

    def _at_once(
        self, decode: Callable[[int], Any], encode: Encoder | None, call: Call
    ) -> Callable[..., None]:
        border, fail = self._border, self._fail
        go_on, most_ns = border.continuation, border.most_ns

        def callback(
            env: int,
            context: int,
            kind: int,
            args: int,
            nargs: int,
            results: int,
            nresults: int,
            error_out: int,
            continuation: int,
        ) -> None:
            try:
                border.is_silent = False
                answer = call(decode(args))
                if encode is not None:
                    encode(results, answer)
                if now_ns() - border.begin_ns > most_ns:
                    border.rest()
            except BaseException as error:
                _put_word(space, error_out, fail(error))
            store_continuation(space, continuation, go_on)

        return callback

    def _perhaps_later(
        self, decode: Callable[[int], Any], encode: Encoder | None, call: Call, *, always: bool
    ) -> Callable[..., None]:
        border, fail, suspend = self._border, self._fail, self._border.suspender()
        go_on, most_ns = border.continuation, border.most_ns

        def callback(
            env: int,
            context: int,
            kind: int,
            args: int,
            nargs: int,
            results: int,
            nresults: int,
            error_out: int,
            continuation: int,
        ) -> None:
            instance: Any = border.instance
            try:
                values = decode(args)
                if always:
                    later: Callable[[], Any] = partial(call, values)
                else:
                    border.is_silent = False
                    answer = call(values)
                    if answer.__class__ is not Later:
                        if encode is not None:
                            encode(results, answer)
                        if now_ns() - border.begin_ns > most_ns:
                            border.rest()
                        store_continuation(space, continuation, go_on)
                        return
                    later = answer.call
                suspend(continuation)
                instance.pending = lambda: _finish(instance, later, encode, results)
            except BaseException as error:
                _put_word(space, error_out, fail(error))
                store_continuation(space, continuation, go_on)

        return callback

    def _fail(self, error: BaseException) -> int:
        """Keep `error` for the task and return an error that ends the guest."""
        instance = self._border.instance
        assert instance is not None
        instance.failure = _no_answer(error)
        return int(held.wasmtime_error_new(b"host function failed"))

    def _drop(self, _env: int, _context: int, number: int) -> int:
        """Drop what a guest has dropped its handle of."""
        instance: Any = self._border.instance
        try:
            instance.handles.take(number).drop()
        except BaseException as error:
            return self._fail(error)
        return 0


def _check(error: int | None) -> None:
    if error:
        raise take_error(error)


def _finish(
    instance: "ComponentInstance", later: Callable[[], Any], encode: Encoder | None, results: int
) -> None:
    """Do on the task what the fiber could not wait for, and store what it came to."""
    try:
        answer = later()
        if encode is not None:
            with instance.holding():  # others may have run meanwhile
                encode(results, answer)
    except Err as error:
        raise _no_answer(error) from error


def _no_answer(error: BaseException) -> BaseException:
    """Return what ends the guest for an error of host code: an `Err` would be taken for the guest's own."""
    if not isinstance(error, Err):
        return error
    wrong = TypeError(
        f"host code raised {brief(error)}, which cannot be answered here: the type has no result"
    )
    wrong.__cause__ = error
    return wrong


def _suits(offered: str | None, version: str) -> bool:
    """Whether an interface offered for versions that begin so is right for one of this version."""
    return offered is None or version == offered or version.startswith(f"{offered}.")


def _classes(interfaces: Sequence[type[Interface]]) -> dict[str, tuple[type[Resource], ...]]:
    """Return the classes of every resource offered, by its full name; there may be several versions."""
    found: dict[str, tuple[type[Resource], ...]] = {}
    for interface in interfaces:
        for name, kind in interface.resources.items():
            full = interface.full_name(name)
            found[full] = (*found.get(full, ()), kind)
    return found


def _catching(call: Call) -> Call:
    """Make what a function returns, or raises as an `Err`, its result."""

    def caught(values: tuple[Any, ...]) -> Any:
        try:
            answer = call(values)
        except Err as error:
            return error
        if answer.__class__ is Later:
            later = answer.call
            return Later(lambda: _caught_later(later))
        return answer if isinstance(answer, (Ok, Err)) else Ok(answer)

    return caught


def _caught_later(later: Callable[[], Any]) -> Any:
    try:
        answer = later()
    except Err as error:
        return error
    return answer if isinstance(answer, (Ok, Err)) else Ok(answer)


def _result_encoder(kind: Func, lender: Lender, name: str) -> Encoder | None:
    if kind.result is None:
        return None
    encode = make_encoder(kind.result, lender)

    def put(at: int, answer: Any) -> None:
        try:
            encode(at, answer)
        except TypeError as error:
            raise TypeError(f"host function {name} returned {brief(answer)}: {error}") from None

    return put
