"""From wasmtime's component values to Python's: a closure for each kind, composed once.

A decoder gets the address of a value and returns what it is in Python; see
`coop.wit.values` for what that is.  The value is wasmtime's, and gone when the call it
belongs to returns, so everything is copied.
"""

import struct
from collections import namedtuple
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from coop.engine.component.capi import ENTRY_SIZE, NAME_SIZE, PAYLOAD, VAL_SIZE
from coop.engine.marshal import space
from coop.wit.types import (
    Borrow,
    Enum,
    Flags,
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
from coop.wit.values import Case, Err, Ok, Some, attribute

if TYPE_CHECKING:
    from coop.engine.component.handles import Lender

__all__ = ["Decoder", "make_decoder", "make_decoders", "record_class"]

Decoder = Callable[[int], Any]

_BUILT = 512
"""Bytes that an element of a list counts if it is no number: it takes time, in which nobody else runs."""

_NUMBERS = {
    "bool": "?",
    "s8": "b",
    "u8": "B",
    "s16": "h",
    "u16": "H",
    "s32": "i",
    "u32": "I",
    "s64": "q",
    "u64": "Q",
    "f32": "f",
    "f64": "d",
}
"""The letters of `struct` for primitives that are numbers."""

_WHERE = struct.Struct("<QQ").unpack_from
_POINTER = struct.Struct("<Q").unpack_from
_CHAR = struct.Struct("<I").unpack_from


def make_decoders(types: tuple[Type, ...], lender: "Lender") -> Callable[[int], tuple[Any, ...]]:
    """Return a function from the address of an array of values, of these types, to a tuple."""
    letters = [_NUMBERS.get(kind.name) if isinstance(kind, Primitive) else None for kind in types]
    if None not in letters:  # numbers alone: one layout for all
        unpack = _layout(letters)
        return lambda at: unpack(space, at)
    if isinstance(types[0], Borrow) and types[0].resource in lender.hosts and None not in letters[1:]:
        return _object_and_numbers(_layout(["Q", *letters[1:]]), lender)  # as most methods have
    decoders = [make_decoder(kind, lender) for kind in types]
    if len(decoders) == 1:
        only = decoders[0]
        return lambda at: (only(at),)
    if len(decoders) == 2:
        first, second = decoders
        return lambda at: (first(at), second(at + VAL_SIZE))
    placed = [(i * VAL_SIZE, decoder) for i, decoder in enumerate(decoders)]
    return lambda at: tuple([decoder(at + offset) for offset, decoder in placed])


def _layout(letters: Iterable[str | None]) -> Callable[[Any, int], tuple[Any, ...]]:
    most = VAL_SIZE - PAYLOAD
    fields = (f"{PAYLOAD}x{letter}{most - struct.calcsize(letter)}x" for letter in letters if letter)
    return struct.Struct("<" + "".join(fields)).unpack_from


def _object_and_numbers(
    unpack: Callable[[Any, int], tuple[Any, ...]], lender: "Lender"
) -> Callable[[int], tuple[Any, ...]]:
    border: Any = lender.border  # a guest runs whenever this is asked
    number = lender.number

    def decode(at: int) -> tuple[Any, ...]:
        raw = unpack(space, at)
        return (border.instance.handles.objects[number(raw[0])],) + raw[1:]  # noqa: RUF005 - unpacking takes longer

    return decode


def make_decoder(kind: Type, lender: "Lender") -> Decoder:
    """Return the decoder of one kind; `lender` knows the objects behind handles."""
    match kind:
        case Primitive(name):
            return _string(lender) if name == "string" else _primitive(name)
        case List(Primitive("u8")):
            return _bytes(lender)
        case List(element):
            is_number = isinstance(element, Primitive) and element.name in _NUMBERS
            return _list(make_decoder(element, lender), lender, VAL_SIZE if is_number else _BUILT)
        case Record():
            return _record(kind, lender)
        case Tuple(elements):
            return _tuple([make_decoder(each, lender) for each in elements])
        case Variant(cases):
            return _variant({name: _optional(each, lender) for name, each in cases})
        case Enum(names):
            return _enum(names)
        case Option(some):
            return _option(make_decoder(some, lender), isinstance(some, Option))
        case Result(ok, err):
            return _result(_optional(ok, lender), _optional(err, lender))
        case Flags():
            return _flags
        case Own(resource):
            return lender.taker(resource)
        case Borrow(resource):
            return lender.borrower(resource)


def _optional(kind: Type | None, lender: "Lender") -> Decoder | None:
    return None if kind is None else make_decoder(kind, lender)


def _primitive(name: str) -> Decoder:
    if name == "char":
        return lambda at: chr(_CHAR(space, at + PAYLOAD)[0])
    unpack = struct.Struct("<" + _NUMBERS[name]).unpack_from
    return lambda at: unpack(space, at + PAYLOAD)[0]


def _string(lender: "Lender") -> Decoder:
    def decode(at: int) -> str:
        text = _text(at + PAYLOAD)
        lender.check_list(len(text))
        return str(text, "utf-8")

    return decode


def _text(at: int) -> memoryview:
    """Return the bytes that a size and a pointer at space[at] tell of."""
    size, data = _WHERE(space, at)
    return space[data : data + size] if size else space[0:0]


def _bytes(lender: "Lender") -> Decoder:
    def decode(at: int) -> bytes:
        count, data = _WHERE(space, at + PAYLOAD)
        if not count:
            return b""
        lender.check_list(count)
        begin = data + PAYLOAD
        return bytes(space[begin : begin + count * VAL_SIZE : VAL_SIZE])

    return decode


def _list(element: Decoder, lender: "Lender", size: int) -> Decoder:
    """`size` -- what an element counts."""

    def decode(at: int) -> list[Any]:
        count, data = _WHERE(space, at + PAYLOAD)
        lender.check_list(count * size)
        return [element(data + i * VAL_SIZE) for i in range(count)]

    return decode


@lru_cache(1024)
def record_class(fields: tuple[str, ...]) -> Any:
    """Return the named tuple for a record with these fields, given as WIT spells them."""
    return namedtuple("Record", [attribute(name) for name in fields], rename=True)  # noqa: PYI024 - made at run time


def _record(kind: Record, lender: "Lender") -> Decoder:
    make = record_class(tuple(name for name, _ in kind.fields))._make
    placed = [
        (i * ENTRY_SIZE + NAME_SIZE, make_decoder(each, lender)) for i, (_, each) in enumerate(kind.fields)
    ]

    def decode(at: int) -> Any:
        data = _POINTER(space, at + PAYLOAD + 8)[0]
        return make([decoder(data + offset) for offset, decoder in placed])

    return decode


def _tuple(decoders: list[Decoder]) -> Decoder:
    placed = [(i * VAL_SIZE, decoder) for i, decoder in enumerate(decoders)]

    def decode(at: int) -> tuple[Any, ...]:
        data = _POINTER(space, at + PAYLOAD + 8)[0]
        return tuple([decoder(data + offset) for offset, decoder in placed])

    return decode


def _variant(cases: dict[str, Decoder | None]) -> Decoder:
    known = {name.encode(): (name, Case(name), decoder) for name, decoder in cases.items()}

    def decode(at: int) -> Case:
        name, plain, decoder = known[bytes(_text(at + PAYLOAD))]
        return plain if decoder is None else Case(name, decoder(_POINTER(space, at + PAYLOAD + 16)[0]))

    return decode


def _enum(names: tuple[str, ...]) -> Decoder:
    known = {name.encode(): name for name in names}
    return lambda at: known[bytes(_text(at + PAYLOAD))]


def _option(some: Decoder, is_nested: bool) -> Decoder:
    def decode(at: int) -> Any:
        data = _POINTER(space, at + PAYLOAD)[0]
        if not data:
            return None
        return Some(some(data)) if is_nested else some(data)

    return decode


def _result(ok: Decoder | None, err: Decoder | None) -> Decoder:
    def decode(at: int) -> Ok | Err:
        is_ok, decoder = (True, ok) if space[at + PAYLOAD] else (False, err)
        value = None if decoder is None else decoder(_POINTER(space, at + PAYLOAD + 8)[0])
        return Ok(value) if is_ok else Err(value)

    return decode


def _flags(at: int) -> frozenset[str]:
    count, data = _WHERE(space, at + PAYLOAD)
    return frozenset(str(_text(data + i * NAME_SIZE), "utf-8") for i in range(count))
