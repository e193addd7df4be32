"""Types from text, as WIT writes them: `func(len: u64) -> result<list<u8>, stream-error>`.

Names that are no types of WIT's own, or have a percent sign, are looked up among those the caller gives.
`own<r>` and plain `r` are the same.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from coop.wit.types import (
    PRIMITIVES,
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

__all__ = ["parse_func", "parse_type"]

_T = TypeVar("_T")

_TOKEN = re.compile(r"\s*(->|[%\w][\w-]*|[<>(){},:])")


def parse_type(text: str, names: Mapping[str, Type] | None = None) -> Type:
    """Return the type that `text` spells.

    names -- the types that have a name of their own
    Raises: ValueError that names what was not understood.
    """
    parser = _Parser(text, names or {})
    return parser.all(parser.type)


def parse_func(text: str, names: Mapping[str, Type] | None = None) -> Func:
    """Return the type of a function that `text` spells.  Raises: ValueError."""
    parser = _Parser(text, names or {})
    return parser.all(parser.func)


class _Parser:
    """One text on its way to a type, from the left."""

    def __init__(self, text: str, names: Mapping[str, Type]) -> None:
        self._text = text
        self._names = names
        self._tokens = self._split(text)
        self._at = 0

    def _split(self, text: str) -> list[str]:
        tokens, at = [], 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"type {text!r}: not understood from {text[at:].strip()[:20]!r}")
            tokens.append(found[1])
            at = found.end()
        return tokens

    def all(self, rule: Callable[[], _T]) -> _T:
        """Read by one rule until the end of the text."""
        read = rule()
        if self._next() is not None:
            raise self._error(f"nothing more was expected after it, but {self._next()!r} comes")
        return read

    def _error(self, trouble: str) -> ValueError:
        return ValueError(f"type {self._text!r}: {trouble}")

    def _next(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, wanted: str | None = None) -> str:
        token = self._next()
        if token is None or (wanted is not None and token != wanted):
            raise self._error(f"{wanted or 'a name'!r} expected, not {token!r}")
        self._at += 1
        return token

    def _has(self, token: str) -> bool:
        if self._next() != token:
            return False
        self._at += 1
        return True

    def _many(self, begin: str, rule: Callable[[], _T], end: str) -> tuple[_T, ...]:
        """Read what stands between two brackets, with commas between and perhaps one at the end."""
        self._take(begin)
        read: list[_T] = []
        while not self._has(end):
            if read:
                self._take(",")
                if self._has(end):
                    break
            read.append(rule())
        return tuple(read)

    # -- the rules

    def func(self) -> Func:
        self._take("func")
        params = self._many("(", self._field, ")")
        return Func(params, self.type() if self._has("->") else None)

    def type(self) -> Type:
        token = self._next()
        name = self._name()
        if name == token and name in _BUILT:
            built: Type = getattr(self, f"_{name}")()
            return built
        if name == token and name in PRIMITIVES:
            return Primitive(name)
        if name not in self._names:
            raise self._error(f"{token!r} is no type that is known here")
        return self._names[name]

    def _name(self) -> str:
        """Read a name; the percent sign that sets it apart from a word of WIT's is no part of it."""
        return self._take().removeprefix("%")

    def _field(self) -> tuple[str, Type]:
        name = self._name()
        self._take(":")
        return name, self.type()

    def _case(self) -> tuple[str, Type | None]:
        name = self._name()
        return name, self._one("(", ")") if self._next() == "(" else None

    def _one(self, begin: str = "<", end: str = ">") -> Type:
        found = self._many(begin, self.type, end)
        if len(found) != 1:
            raise self._error(f"one type expected from {begin!r} to {end!r}, not {len(found)}")
        return found[0]

    def _perhaps(self) -> Type | None:
        return None if self._has("_") else self.type()

    def _list(self) -> Type:
        return List(self._one())

    def _option(self) -> Type:
        return Option(self._one())

    def _own(self) -> Type:
        return Own(self._resource())

    def _borrow(self) -> Type:
        return Borrow(self._resource())

    def _resource(self) -> str:
        named = self._one()
        if not isinstance(named, Own):
            raise self._error("a handle is of a resource")
        return named.resource

    def _tuple(self) -> Type:
        return Tuple(self._many("<", self.type, ">"))

    def _record(self) -> Type:
        return Record(self._many("{", self._field, "}"))

    def _variant(self) -> Type:
        return Variant(self._many("{", self._case, "}"))

    def _enum(self) -> Type:
        return Enum(self._many("{", self._name, "}"))

    def _flags(self) -> Type:
        return Flags(self._many("{", self._name, "}"))

    def _result(self) -> Type:
        if self._next() != "<":
            return Result(None, None)
        parts = self._many("<", self._perhaps, ">")
        if not 0 < len(parts) <= 2:
            raise self._error("a result with brackets has one part or two")
        return Result(parts[0], parts[1] if len(parts) == 2 else None)


_BUILT = frozenset(
    ("list", "option", "own", "borrow", "tuple", "record", "variant", "enum", "flags", "result")
)
