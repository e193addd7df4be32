"""A module's start section, made an export that is called once the instance is there.

wasmtime runs that section while it makes the instance, and what a host function needs of the instance, which
is its memory, is only found afterwards: by name, among its exports.  (Natively the caller's exports are at
hand by then; here the caller is the shim.)  A text that the section writes would lie nowhere.

So the section is taken out before anything is compiled, and its function gets a name among the exports that
no other has.  The specification, too, runs it last, when tables and memories have what belongs into them.

A section that is not as the format has it stays, and wasmtime refuses it.
"""

from collections.abc import Collection
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from coop.engine.binary import (
    CUSTOM,
    EXPORT,
    FUNC_KIND,
    FUNCTION,
    IMPORT,
    MEMORY,
    START,
    TABLE,
    TYPE,
    Malformed,
    Reader,
)

_GLOBAL, _TAG = 6, 13
_BEFORE = frozenset({TYPE, IMPORT, FUNCTION, TABLE, MEMORY, _TAG, _GLOBAL, EXPORT})
"""The sections that stand before that of the start; all others stand behind it."""


class _Section(NamedTuple):
    number: int
    begin: int
    end: int
    content: bytes


def name_of_start(exports: Collection[str]) -> str:
    """Return what the start function of a module with these exports is exported as."""
    return next(name for n in count() if (name := f"start {n}") not in exports)


def deferred(wasm: bytes) -> bytes:
    """Return the bytes of a module with its start section made an export, if it has one."""
    with suppress(Malformed):
        found = [section for section in _sections(wasm) if section.number != CUSTOM]
        numbers = [section.number for section in found]
        if START in numbers:
            at = numbers.index(START)
            if _BEFORE.issuperset(numbers[:at]) and not {START, *_BEFORE}.intersection(numbers[at + 1 :]):
                return _without(wasm, found[at], [each for each in found if each.number == EXPORT])
    return wasm


def _without(wasm: bytes, start: _Section, exports: list[_Section]) -> bytes:
    content = Reader(start.content)
    function = content.number()
    if not content.is_at_end or len(exports) > 1:
        return wasm
    # Where there are no exports yet, theirs is the place of the start section.
    old = exports[0] if exports else _Section(EXPORT, start.begin, start.begin, b"\0")
    entries = Reader(old.content)
    total, first, names = entries.number(), entries.at, set[str]()
    for _ in range(total):
        names.add(entries.text())
        entries.byte()
        entries.number()
    name = name_of_start(names).encode()
    added = _number(len(name)) + name + bytes([FUNC_KIND]) + _number(function)
    new = _number(total + 1) + old.content[first:] + added
    section = bytes([EXPORT]) + _number(len(new)) + new
    return b"".join((wasm[: old.begin], section, wasm[old.end : start.begin], wasm[start.end :]))


def _sections(wasm: bytes) -> list[_Section]:
    found: list[_Section] = []
    reader = Reader(wasm, 8)
    while not reader.is_at_end:
        begin, number = reader.at, reader.byte()
        content = reader.take()
        found.append(_Section(number, begin, reader.at, content))
    return found


def _number(value: int) -> bytes:
    """Write an unsigned LEB128."""
    raw = bytearray()
    while value >= 0x80:
        raw.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*raw, value))
