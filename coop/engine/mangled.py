"""Names of functions that would be dear to show, made harmless before anything is compiled.

wasmtime writes the names of the functions on the stack into the text of every trap, an exit's too,
and spells those of C++ out, or what looks like one: `_Z1fSt4pairIiiE` is `f(std::pair<int, int>)`.
Such a name refers to its own parts, so that each doubles the text as often as it likes: 200 bytes of
a name section stand for gigabytes, and no limit applies to what C does with them.

So a name that refers to its parts gets another first letter, with which it is none of C++'s, and
`restored` gives it back where names are shown.  Names too short to do harm stay as they are.
"""

import re

from coop.engine.binary import COMPONENT, CUSTOM, Malformed, Reader

_HARMLESS = 100
"""Bytes of a name that may be spelled out: less than a hundred kilobytes come of it."""

_REFERS = re.compile(rb"[ST][0-9A-Z]*_")
_MARK = ord("?")
_MARKED = re.compile(r"\?(?=_{0,3}Z|GLOBAL_)")

_CORE_MODULE, _NESTED = 1, 4
"""Sections of a component that are files themselves."""

_FUNCTIONS = 1
"""The part of a name section that names functions."""


def defused(wasm: bytes) -> bytes:
    """Return the bytes of a module or component, equally long, with no name that would be dear to show."""
    found: list[int] = []
    files = [(0, len(wasm))]
    while files:
        try:
            _look(wasm, *files.pop(), files, found)
        except Malformed:
            pass  # wasmtime stops there as well
    if not found:
        return wasm
    changed = bytearray(wasm)
    for at in found:
        changed[at] = _MARK
    return bytes(changed)


def restored(name: str) -> str:
    """Return a function's name as it was, if it was one of C++'s."""
    return _MARKED.sub("_", name, count=1)


def _look(wasm: bytes, begin: int, end: int, files: list[tuple[int, int]], found: list[int]) -> None:
    """Look through the sections of one file, and note where names begin that are to be changed."""
    is_component = wasm[begin + 4 : begin + 8] == COMPONENT
    reader = Reader(wasm, begin + 8)
    while reader.at < end:
        number = reader.byte()
        stop = reader.number() + reader.at
        if number == CUSTOM:
            if reader.take() == b"name":
                _look_at_names(reader, min(stop, end), found)
        elif is_component and number in (_CORE_MODULE, _NESTED):
            files.append((reader.at, min(stop, end)))
        reader.at = stop


def _look_at_names(reader: Reader, end: int, found: list[int]) -> None:
    while reader.at < end:
        part = reader.byte()
        stop = reader.number() + reader.at
        if part == _FUNCTIONS:
            for _ in range(reader.number()):
                reader.number()
                length = reader.number()
                begin, reader.at = reader.at, reader.at + length
                if reader.at > min(stop, end):
                    return
                is_long = length >= _HARMLESS and reader.data[begin] < 0x80
                if is_long and _REFERS.search(reader.data, begin, reader.at):
                    found.append(begin)
        reader.at = stop
