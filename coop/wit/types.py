"""The types of WIT, as values that can be compared.

A component says what it imports and exports in these; a host function says in them what
it takes and gives.  Two types are the same if they are built the same: WIT's names for
records and variants are for people.  Only a resource is told apart by its name.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Union

__all__ = [
    "PRIMITIVES",
    "Borrow",
    "Enum",
    "Flags",
    "Func",
    "List",
    "Option",
    "Own",
    "Primitive",
    "Record",
    "Result",
    "Tuple",
    "Type",
    "Variant",
    "escaped",
    "parts",
    "show",
]

PRIMITIVES = (
    *("bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"),
    *("f32", "f64", "char", "string"),
)
"""The names of the types that are built of nothing else."""

_KEYWORDS = frozenset(
    (
        *PRIMITIVES,
        *("as", "async", "borrow", "constructor", "enum", "export", "flags", "from", "func", "future"),
        *("import", "include", "interface", "list", "option", "own", "package", "record", "resource"),
        *("result", "static", "stream", "tuple", "type", "use", "variant", "with", "world"),
    )
)
"""Words of WIT's own: a name that is spelled so has a percent sign before it."""

_MOST_TEXT = 1000
"""Characters of a type that a message shows."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """A number, a truth value, a character or a text; `name` is one of PRIMITIVES."""

    name: str


@dataclass(frozen=True, slots=True)
class List:
    """Any number of elements of one type."""

    element: "Type"


@dataclass(frozen=True, slots=True)
class Record:
    """Named fields, in order."""

    fields: tuple[tuple[str, "Type"], ...]


@dataclass(frozen=True, slots=True)
class Tuple:
    """Values without names."""

    elements: tuple["Type", ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """One of several named cases, each with a value or without (None)."""

    cases: tuple[tuple[str, Union["Type", None]], ...]


@dataclass(frozen=True, slots=True)
class Enum:
    """One of several names."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """A value or nothing."""

    some: "Type"


@dataclass(frozen=True, slots=True)
class Result:
    """What was asked for, or an error; each with a value or without (None)."""

    ok: Union["Type", None]
    err: Union["Type", None]


@dataclass(frozen=True, slots=True)
class Flags:
    """Any of several names."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Own:
    """A handle that passes with the thing behind it; `resource` is the resource's name."""

    resource: str


@dataclass(frozen=True, slots=True)
class Borrow:
    """A handle that is lent for one call."""

    resource: str


Type = Primitive | List | Record | Tuple | Variant | Enum | Option | Result | Flags | Own | Borrow


@dataclass(frozen=True, slots=True)
class Func:
    """What a function takes, by name and in order, and what it gives (None: nothing)."""

    params: tuple[tuple[str, Type], ...]
    result: Type | None

    def fits(self, other: "Func") -> bool:
        """Whether both take and give the same; the names of parameters are for people."""
        mine, theirs = [t for _, t in self.params], [t for _, t in other.params]
        return mine == theirs and self.result == other.result

    def spelled(self, names: Mapping["Type", str]) -> str:
        """Return it as WIT spells it; types in `names` by these."""
        params = ", ".join(f"{escaped(name)}: {show(kind, names)}" for name, kind in self.params)
        return f"func({params})" + ("" if self.result is None else f" -> {show(self.result, names)}")

    def brief(self) -> str:
        """Return it as WIT spells it, cut short: a component could make it as long as it likes."""
        text = str(self)
        return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}..."

    def __str__(self) -> str:
        return self.spelled({})


def parts(kind: Type) -> tuple[Type, ...]:
    """Return the types that a type is directly built of."""
    match kind:
        case List(part) | Option(part):
            return (part,)
        case Tuple(elements):
            return elements
        case Record(named) | Variant(named):
            return tuple(each for _, each in named if each is not None)
        case Result(ok, err):
            return tuple(each for each in (ok, err) if each is not None)
    return ()


def show(kind: Type, names: Mapping[Type, str] | None = None) -> str:
    """Return the type as WIT spells it.

    names -- types that have a name of their own; what others consist of is written out
    """
    names = names or {}
    if kind in names:
        return names[kind]

    def inner(each: Type | None) -> str:
        return "_" if each is None else show(each, names)

    def braces(word: str, members: Iterable[str]) -> str:
        return f"{word} {{{', '.join(members)}}}"

    match kind:
        case Primitive(name) | Own(name):
            return name
        case Borrow(name):
            return f"borrow<{inner(Own(name))}>"
        case List(element):
            return f"list<{inner(element)}>"
        case Option(some):
            return f"option<{inner(some)}>"
        case Tuple(elements):
            return f"tuple<{', '.join(map(inner, elements))}>"
        case Record(fields):
            return braces("record", (f"{escaped(name)}: {inner(each)}" for name, each in fields))
        case Variant(cases):
            return braces("variant", (_case(name, each, inner) for name, each in cases))
        case Enum(members):
            return braces("enum", map(escaped, members))
        case Flags(members):
            return braces("flags", map(escaped, members))
        case Result(ok, None):
            return "result" if ok is None else f"result<{inner(ok)}>"
        case Result(ok, err):
            return f"result<{inner(ok)}, {inner(err)}>"


def _case(name: str, kind: Type | None, inner: Callable[[Type], str]) -> str:
    return escaped(name) if kind is None else f"{escaped(name)}({inner(kind)})"


def escaped(name: str) -> str:
    """Return a name with the percent sign that sets it apart, if it is a word of WIT's."""
    return f"%{name}" if name in _KEYWORDS else name
