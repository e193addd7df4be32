"""Names of functions that would be dear to show, made harmless before anything is compiled.

wasmtime writes the names of the functions on the stack into the text of every trap, an exit's too,
and spells those of C++ and Rust out, or what looks like one: `_Z1fSt4pairIiiE` is
`f(std::pair<int, int>)`.  Such a name refers to its own parts - `S0_` is one, `T_` an argument, `B7_` in
Rust what stands there - so that each doubles the text as often as it likes: 200 bytes of a name section
stand for gigabytes, and no limit applies to what C does with them.

So the underscore of all that may refer to a part becomes a question mark, with which it is nobody's
name, and `restored` takes that back where names are shown.  Names too short to do harm stay as they are.
"""

import re
from contextlib import suppress

from coop.engine.binary import CUSTOM, Malformed, Reader, files_in

_HARMLESS = 100
"""Bytes of a name that may be spelled out: less than a hundred kilobytes come of it."""

_WORD = r"(?<![0-9A-Za-z])([0-9AC-RU-Za-z]*[STB][0-9A-Za-z]*)"
"""Letters and digits from the first one on, with one of the three among them.  Each is looked at once: were a
match to begin at any of the three, it would be tried at each of the 100,000 that a name may consist of."""

_REFERENCE = re.compile(f"{_WORD}_".encode())
_DEFUSED = re.compile(rf"{_WORD}\?")

_FUNCTIONS = 1
"""The part of a name section that names functions."""


def defused(wasm: bytes) -> bytes:
    """Return the bytes of a module or component, equally long, with no name that would be dear to show."""
    found: list[slice] = []
    for begin, end in files_in(wasm):
        with suppress(Malformed):  # of which wasmtime makes nothing
            _look(Reader(wasm, begin + 8), end, found)
    if not found:
        return wasm
    changed = bytearray(wasm)
    for place in found:
        changed[place] = _REFERENCE.sub(rb"\1?", wasm[place])
    return bytes(changed)


def restored(name: str) -> str:
    """Return a function's name as it was."""
    return name if len(name.encode()) < _HARMLESS else _DEFUSED.sub(r"\1_", name)


def _look(reader: Reader, end: int, found: list[slice]) -> None:
    """Look through the sections of one file, and note where names stand that are to be changed."""
    while reader.at < end:
        number = reader.byte()
        stop = reader.number() + reader.at
        if number == CUSTOM and reader.take() == b"name":
            with suppress(Malformed):  # wasmtime drops the rest of this section, and reads the next one
                _look_at_names(reader, min(stop, end), found)
        reader.at = stop


def _look_at_names(reader: Reader, end: int, found: list[slice]) -> None:
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
                # A copy: with a place to begin at, what stands before the name would count to its first word.
                if length >= _HARMLESS and _REFERENCE.search(reader.data[begin : reader.at]):
                    found.append(slice(begin, reader.at))
        reader.at = stop
