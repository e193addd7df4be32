"""What a component imports and exports, in WIT's types.

wasmtime tells the types of a compiled component one by one; here they become values.
A resource is a handle in wasmtime's telling too, and has no name: it gets that of the
first interface that offers it, without the version, so that `wasi:io/poll/pollable` is
the same thing wherever it is used.  What a component defines itself is never the same as what it imports,
or exports in another version: a component may stand between others and offer the interface it uses.

1. A type that no host function could be given a value of - a stream, a future, an
   error-context - is a `BadModule` that names where it stands, never an abort.
2. What takes long to read is not read to its end: wasmtime's lists of imports and exports take time
   that grows with the square of their length, and a type's text may be much shorter than the type, or of
   names alone that are much longer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from wasmtime import _bindings as ffi
from wasmtime import component as wc
from wasmtime.component import _types as wt

from coop.errors import BadModule
from coop.wit.types import (
    Borrow,
    Enum,
    Flags,
    Func,
    List,
    Option,
    Own,
    Primitive,
    Record,
    Result,
    Tuple,
    Type,
    Variant,
)

__all__ = ["Item", "read_world", "unversioned"]

_PRIMITIVES: dict[type, Primitive] = {
    getattr(wt, name): Primitive(name.lower())
    for name in ("Bool", "S8", "U8", "S16", "U16", "S32", "U32", "S64", "U64", "F32", "F64", "Char", "String")
}

_MOST_MEMBERS = 10_000
"""Imports, exports and what is in them; real programs have some hundred."""

_MOST_RESOURCES = 1_000

_MOST_COMPARED = 1_000_000
"""How often one resource is compared with another, which is the one way to tell which of them it is."""

_MOST_TYPES = 100_000
"""Types in all signatures, and names of cases and flags, each counted where it is used."""

_MOST_TEXT = 16 << 20
"""Characters of all names, each counted where it is used: what stands once may be used by thousands."""

_NOT_PASSED: dict[type, str] = {
    wt.StreamType: "a stream",
    wt.FutureType: "a future",
    wt.ErrorContext: "an error-context",
}


@dataclass(slots=True)
class Item:
    """One import or export: an interface with what is in it, or one function under its own name.

    name         -- as the component spells it, with a version
    is_interface -- whether its functions and resources are parts of it, or it is one itself
    functions    -- their types; a function that stands alone has the name ""
    resources    -- by the names they have here: their full names
    """

    name: str
    is_interface: bool
    functions: dict[str, Func] = field(default_factory=dict)
    resources: dict[str, str] = field(default_factory=dict)


def unversioned(name: str) -> str:
    """Return an interface's name without its version."""
    return name.partition("@")[0]


def read_world(component: wc.Component, engine: Any, name: str) -> tuple[dict[str, Item], dict[str, Item]]:
    """Return what a component imports, and what it exports.

    Raises: BadModule that names what could not be passed, or an import that no host can give.
    """
    reader = _Reader(engine, name)
    world = component.type
    pointers = world.ptr(), engine.ptr()
    reader.count(ffi.wasmtime_component_type_import_count(*pointers), "imports")
    imports = reader.items(world.imports(engine).items(), "import")
    reader.count(ffi.wasmtime_component_type_export_count(*pointers), "exports")
    exports = reader.items(world.exports(engine).items(), "export")
    return imports, exports


class _Reader:
    """One component on its way to types.

    _known     -- every resource met so far: wasmtime's type and the name given to it
    _direction -- whether its imports or its exports are read: "import" or "export"
    """

    def __init__(self, engine: Any, name: str) -> None:
        self._known: list[tuple[Any, str]] = []
        self._engine = engine
        self._name = name
        self._direction = ""
        self._where = ""
        self._members = self._types = self._text = self._compared = 0

    def count(self, more: int, where: str) -> None:
        """Count imports, exports or parts of one before they are read.  Raises: BadModule for too many."""
        self._members += more
        if self._members > _MOST_MEMBERS:
            raise BadModule(f"{self._name}: {where}: more than {_MOST_MEMBERS} imports and exports")

    def items(self, externs: Iterable[tuple[str, Any]], direction: str) -> dict[str, Item]:
        found: dict[str, Item] = {}
        self._direction = direction
        for name, extern in externs:
            self._where = f"{direction} {name}"
            kind = self._ask(extern)
            if isinstance(kind, wt.ComponentInstanceType):
                found[name] = self._interface(name, kind)
            elif isinstance(kind, wt.FuncType):
                found[name] = Item(name, False, {"": self._func(kind)})
            elif isinstance(kind, wc.ResourceType):
                found[name] = Item(name, False, {}, {name: self._resource(kind, name, self._where)})
            elif direction == "import" and isinstance(kind, (wt.ComponentType, wt.ModuleType)):
                raise BadModule(
                    f"{self._name}: {self._where} is a whole component or module, not an interface"
                )
        return found

    def _interface(self, name: str, kind: Any) -> Item:
        item = Item(name, True)
        pointers = kind.ptr(), self._engine.ptr()
        self.count(ffi.wasmtime_component_instance_type_export_count(*pointers), self._where)
        members = [(member, self._ask(extern)) for member, extern in kind.exports(self._engine).items()]
        self._count_text(member for member, _ in members)
        for member, what in members:
            if isinstance(what, wc.ResourceType):
                full = f"{unversioned(name)}/{member}"
                item.resources[member] = self._resource(what, full, f"{self._where}/{member}")
        outer = self._where
        for member, what in members:
            if isinstance(what, wt.FuncType):
                self._where = f"{outer}, function {member}"
                item.functions[member] = self._func(what)
        return item

    def _ask(self, extern: Any) -> Any:
        try:
            return extern.ty
        except TypeError as error:
            raise BadModule(f"{self._name}: {self._where}: {error}") from None

    def _resource(self, kind: Any, name: str, longer: str = "?") -> str:
        """Return the name of a resource; one met for the first time gets `name`.

        longer -- the name it gets instead if the component defines it, and another one is called `name`
        """
        count = len(self._known)
        place = next((i for i, (known, _) in enumerate(self._known) if known == kind), count)
        self._compared += place
        if self._compared > _MOST_COMPARED:
            raise BadModule(f"{self._name}: {self._where}: too many uses of {count} resources")
        if place < count:
            return self._known[place][1]
        if self._direction == "export" and any(full == name for _, full in self._known):
            name = longer
        if count >= _MOST_RESOURCES:
            raise BadModule(f"{self._name}: {self._where}: more than {_MOST_RESOURCES} resources")
        self._known.append((kind, name))
        return name

    def _func(self, kind: Any) -> Func:
        try:
            params = self._parts(kind.params)
            result = kind.result
            return Func(params, None if result is None else self._type(result))
        except TypeError as error:  # wasmtime-py's word for a type it does not know
            raise BadModule(f"{self._name}: {self._where}: {error}") from None

    def _type(self, kind: Any) -> Type:
        self._count_types(1)
        primitive = _PRIMITIVES.get(type(kind))
        if primitive is not None:
            return primitive
        refused = _NOT_PASSED.get(type(kind))
        if refused is not None:
            raise BadModule(f"{self._name}: {self._where} has {refused} in its type, which coop cannot pass")
        return self._built(kind)

    def _count_types(self, more: int) -> None:
        self._types += more
        if self._types > _MOST_TYPES:
            raise BadModule(f"{self._name}: {self._where}: more than {_MOST_TYPES} types in all signatures")

    def _count_text(self, names: Iterable[str]) -> None:
        self._text += sum(map(len, names))
        if self._text > _MOST_TEXT:
            raise BadModule(f"{self._name}: {self._where}: names of more than {_MOST_TEXT} characters in all")

    def _names(self, kind: Any) -> tuple[str, ...]:
        names = tuple(kind.names)
        self._count_types(len(names))
        self._count_text(names)
        return names

    def _parts(self, named: Sequence[tuple[str, Any]]) -> tuple[tuple[str, Type], ...]:
        self._count_text(name for name, _ in named)
        return tuple((name, self._type(each)) for name, each in named)

    def _built(self, kind: Any) -> Type:
        match kind:
            case wt.ListType():
                return List(self._type(kind.element))
            case wt.RecordType():
                return Record(self._parts(kind.fields))
            case wt.TupleType():
                return Tuple(tuple(map(self._type, kind.elements)))
            case wt.VariantType():
                cases = kind.cases
                self._count_types(len(cases))
                self._count_text(name for name, _ in cases)
                return Variant(tuple((name, self._optional(each)) for name, each in cases))
            case wt.EnumType():
                return Enum(self._names(kind))
            case wt.OptionType():
                return Option(self._type(kind.payload))
            case wt.ResultType():
                return Result(self._optional(kind.ok), self._optional(kind.err))
            case wt.FlagsType():
                return Flags(self._names(kind))
            case wt.OwnType():
                return Own(self._resource(kind.ty, "?"))
            case wt.BorrowType():
                return Borrow(self._resource(kind.ty, "?"))
        raise BadModule(f"{self._name}: {self._where} has a {type(kind).__name__} in its type")

    def _optional(self, kind: Any) -> Type | None:
        return None if kind is None else self._type(kind)
