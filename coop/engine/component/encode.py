"""From Python's values to wasmtime's component values: a closure for each kind, composed once.

An encoder gets the address of a value to fill, which so far is a plain `false`, and what to put there.

1. What stands there is a valid value at every moment, since wasmtime takes it back also
   after an encoder has failed: the kind is written after the room for the parts was made,
   and the parts, which begin as plain `false`s, after the kind.
2. A value of another type or out of range is a TypeError that says what was wanted.
3. No room is made for a list that is longer than the guest may be passed: it is 32 times what it
   holds, and where there is none the process ends.
"""

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from coop.engine.component.capi import ENTRY_SIZE, NAME_SIZE, PAYLOAD, VAL_SIZE, held
from coop.engine.marshal import space
from coop.slips import brief
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
    show,
)
from coop.wit.values import Case, Err, Ok, Some, attribute

if TYPE_CHECKING:
    from coop.engine.component.handles import Lender

__all__ = ["RESOURCE", "Encoder", "make_encoder"]

Encoder = Callable[[int, Any], None]

_KIND = {
    "bool": 0,
    "s8": 1,
    "u8": 2,
    "s16": 3,
    "u16": 4,
    "s32": 5,
    "u32": 6,
    "s64": 7,
    "u64": 8,
    "f32": 9,
    "f64": 10,
    "char": 11,
    "string": 12,
}
_LIST, _RECORD, _TUPLE, _VARIANT, _ENUM, _OPTION, _RESULT, _FLAGS, RESOURCE = range(13, 22)

_NUMBERS = {
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

_WHERE = struct.Struct("<QQ").unpack_from
_put_word = struct.Struct("<Q").pack_into

_FALSE = struct.pack("<32x")


def make_encoder(kind: Type, lender: "Lender") -> Encoder:
    """Return the encoder of one kind; `lender` gives handles to objects."""
    match kind:
        case Primitive(name):
            return _primitive(name)
        case List(Primitive("u8")):
            return _bytes(lender)
        case List(element):
            return _list(make_encoder(element, lender), kind, lender)
        case Record():
            return _record(kind, lender)
        case Tuple(elements):
            return _tuple([make_encoder(each, lender) for each in elements], kind)
        case Variant(cases):
            return _variant({name: _optional(each, lender) for name, each in cases}, kind)
        case Enum(names):
            return _enum(names, kind)
        case Option(some):
            return _option(make_encoder(some, lender), isinstance(some, Option), kind)
        case Result(ok, err):
            return _result(_optional(ok, lender), _optional(err, lender), kind)
        case Flags(names):
            return _flags(names, kind)
        case Own(resource):
            return lender.giver(resource)
        case Borrow(resource):
            return lender.lender(resource)


def _optional(kind: Type | None, lender: "Lender") -> Encoder | None:
    return None if kind is None else make_encoder(kind, lender)


def _wanted(what: str, value: object) -> TypeError:
    return TypeError(f"{what} wanted, not {brief(value)}")


def _put_name(at: int, name: bytes) -> None:
    held.wasm_byte_vec_new(at, len(name), name)


def _fill_box(at: int, encoder: Encoder, value: Any) -> None:
    """Make room for a value elsewhere, leave its address at `at`, and fill it."""
    box = held.wasmtime_component_val_new(_FALSE)
    _put_word(space, at, box)
    encoder(box, value)


# -- primitives


def _primitive(name: str) -> Encoder:
    if name == "string":
        return _encode_string
    if name == "char":
        return _encode_char
    if name == "bool":
        return _encode_bool
    return _number(name)


def _number(name: str) -> Encoder:
    kind, letter = _KIND[name], _NUMBERS[name]
    pack = struct.Struct(f"<Q{letter}").pack_into
    is_float = name in ("f32", "f64")

    def encode(at: int, value: Any) -> None:
        if value.__class__ is bool or (not is_float and not isinstance(value, int)):
            raise _wanted(name, value)
        try:
            pack(space, at, kind, value)
        except (struct.error, OverflowError):
            raise _wanted(name, value) from None

    return encode


def _encode_bool(at: int, value: Any) -> None:
    if value is not True and value is not False:
        raise _wanted("bool", value)
    space[at + PAYLOAD] = value


def _encode_char(at: int, value: Any) -> None:
    if not isinstance(value, str) or len(value) != 1 or "\ud800" <= value <= "\udfff":
        raise _wanted("char", value)
    _put_word(space, at + PAYLOAD, ord(value))
    space[at] = _KIND["char"]


def _encode_string(at: int, value: Any) -> None:
    if not isinstance(value, str):
        raise _wanted("string", value)
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise _wanted("string of Unicode characters", value) from None
    held.wasm_byte_vec_new(at + PAYLOAD, len(raw), raw)
    space[at] = _KIND["string"]


def _bytes(lender: "Lender") -> Encoder:
    def encode(at: int, value: Any) -> None:
        try:
            raw = memoryview(value).cast("B")
        except TypeError:
            raise _wanted("list<u8>", value) from None
        count = len(raw)
        lender.check_list(count)
        held.wasmtime_component_vallist_new_uninit(at + PAYLOAD, count)
        space[at] = _LIST
        if count:
            begin = _WHERE(space, at + PAYLOAD)[1]
            end = begin + count * VAL_SIZE
            space[begin + PAYLOAD : end : VAL_SIZE] = raw
            space[begin:end:VAL_SIZE] = bytes((_KIND["u8"],)) * count

    return encode


# -- what is built of others


def _list(element: Encoder, kind: Type, lender: "Lender") -> Encoder:
    def encode(at: int, value: Any) -> None:
        if isinstance(value, (str, bytes, Mapping)):
            raise _wanted(show(kind), value)
        try:
            values = list(value)
        except TypeError:
            raise _wanted(show(kind), value) from None
        lender.check_list(len(values) * VAL_SIZE)
        held.wasmtime_component_vallist_new_uninit(at + PAYLOAD, len(values))
        space[at] = _LIST
        data = _WHERE(space, at + PAYLOAD)[1]
        for i, each in enumerate(values):
            element(data + i * VAL_SIZE, each)

    return encode


def _tuple(encoders: list[Encoder], kind: Type) -> Encoder:
    count = len(encoders)
    placed = [(i * VAL_SIZE, encoder) for i, encoder in enumerate(encoders)]

    def encode(at: int, value: Any) -> None:
        if not isinstance(value, (tuple, list)) or len(value) != count:
            raise _wanted(show(kind), value)
        held.wasmtime_component_valtuple_new_uninit(at + PAYLOAD, count)
        space[at] = _TUPLE
        data = _WHERE(space, at + PAYLOAD)[1]
        for (offset, encoder), each in zip(placed, value, strict=True):
            encoder(data + offset, each)

    return encode


def _record(kind: Record, lender: "Lender") -> Encoder:
    names = [name for name, _ in kind.fields]
    attributes = [attribute(name) for name in names]
    keys = list(zip(attributes, names, strict=True))
    placed = [
        (i * ENTRY_SIZE, name.encode(), make_encoder(each, lender))
        for i, (name, each) in enumerate(kind.fields)
    ]

    def fields_of(value: Any) -> list[Any]:
        if isinstance(value, (tuple, list)):
            if len(value) == len(names):
                return list(value)
        elif isinstance(value, Mapping):
            if len(value) == len(names) and all(a in value or n in value for a, n in keys):
                return [value[a] if a in value else value[n] for a, n in keys]
        elif all(hasattr(value, each) for each in attributes):
            return [getattr(value, each) for each in attributes]
        raise _wanted(show(kind), value)

    def encode(at: int, value: Any) -> None:
        values = fields_of(value)
        held.wasmtime_component_valrecord_new_uninit(at + PAYLOAD, len(placed))
        space[at] = _RECORD
        data = _WHERE(space, at + PAYLOAD)[1]
        for (offset, name, encoder), each in zip(placed, values, strict=True):
            _put_name(data + offset, name)
            encoder(data + offset + NAME_SIZE, each)

    return encode


def _variant(cases: dict[str, Encoder | None], kind: Type) -> Encoder:
    known = {name: (name.encode(), encoder) for name, encoder in cases.items()}

    def encode(at: int, value: Any) -> None:
        name, payload = value if isinstance(value, Case) else (value, None)
        found = known.get(name) if isinstance(name, str) else None
        if found is None:
            raise _wanted(f"a Case of {show(kind)}", value)
        raw, encoder = found
        if encoder is None and payload is not None:
            raise TypeError(f"case {name} of {show(kind)} has no value; {brief(payload)} is given")
        _put_word(space, at + PAYLOAD + NAME_SIZE, 0)
        _put_name(at + PAYLOAD, raw)
        space[at] = _VARIANT
        if encoder is not None:
            _fill_box(at + PAYLOAD + NAME_SIZE, encoder, payload)

    return encode


def _enum(names: tuple[str, ...], kind: Type) -> Encoder:
    known = {name: name.encode() for name in names}

    def encode(at: int, value: Any) -> None:
        raw = known.get(value) if isinstance(value, str) else None
        if raw is None:
            raise _wanted(show(kind), value)
        _put_name(at + PAYLOAD, raw)
        space[at] = _ENUM

    return encode


def _option(some: Encoder, is_nested: bool, kind: Type) -> Encoder:
    def encode(at: int, value: Any) -> None:
        _put_word(space, at + PAYLOAD, 0)
        space[at] = _OPTION
        if value is None:
            return
        if is_nested:
            if not isinstance(value, Some):
                raise _wanted(f"None or Some of {show(kind)}", value)
            value = value.value
        _fill_box(at + PAYLOAD, some, value)

    return encode


def _result(ok: Encoder | None, err: Encoder | None, kind: Type) -> Encoder:
    def encode(at: int, value: Any) -> None:
        if not isinstance(value, (Ok, Err)):
            raise _wanted(f"Ok or Err of {show(kind)}", value)
        encoder = ok if isinstance(value, Ok) else err
        if encoder is None and value.value is not None:
            raise TypeError(
                f"{type(value).__name__} of {show(kind)} has no value; {brief(value.value)} is given"
            )
        _put_word(space, at + PAYLOAD, isinstance(value, Ok))
        _put_word(space, at + PAYLOAD + 8, 0)
        space[at] = _RESULT
        if encoder is not None:
            _fill_box(at + PAYLOAD + 8, encoder, value.value)

    return encode


def _flags(names: tuple[str, ...], kind: Type) -> Encoder:
    known = {name: name.encode() for name in names}

    def encode(at: int, value: Any) -> None:
        try:
            given = None if isinstance(value, str) else [known[each] for each in value]
        except (KeyError, TypeError):
            given = None
        if given is None:
            raise _wanted(show(kind), value)
        held.wasmtime_component_valflags_new_uninit(at + PAYLOAD, len(given))
        space[at] = _FLAGS
        data = _WHERE(space, at + PAYLOAD)[1]
        for i, raw in enumerate(given):
            _put_name(data + i * NAME_SIZE, raw)

    return encode
