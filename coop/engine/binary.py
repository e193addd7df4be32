"""The binary format's smallest parts: a position in bytes, numbers, texts, types, sections.

Nothing here trusts the bytes.  What is wrong with them is a `Malformed` in half a
sentence; no count in them makes anything larger than they are.
"""

from collections.abc import Iterator
from contextlib import suppress

FuncType = tuple[tuple[str, ...], tuple[str, ...]]
"""Parameter and result types by name: "i32", "i64", "f32", "f64", "v128", "externref", ..."""

TYPE, IMPORT, FUNCTION, TABLE, MEMORY, EXPORT, START = 1, 2, 3, 4, 5, 7, 8
CUSTOM = 0
"""Numbers of sections."""

_CORE_MODULE, _NESTED = 1, 4
"""Sections of a component that are files themselves."""

FUNC_KIND, TABLE_KIND, MEMORY_KIND, GLOBAL_KIND, TAG_KIND = range(5)
"""What may be imported and exported."""

MAGIC = b"\0asm"
CORE, COMPONENT = b"\x01\x00\x00\x00", b"\x0d\x00\x01\x00"
"""What follows the magic number."""

PAGE = 65536
"""Bytes in a page of memory."""

_PLAIN = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}
_REFERENCE = {
    0x70: ("funcref", "(ref func)"),
    0x6F: ("externref", "(ref extern)"),
    0x69: ("exnref", "(ref exn)"),
    0x74: ("nullexnref", "(ref noexn)"),
}
"""References to what needs no type of the module's own: one that may be null, and one that may not."""

_OR_NULL, _NOT_NULL = 0x63, 0x64
_FUNCTYPE = 0x60
_LONGEST_SHIFT = 63


class Malformed(ValueError):
    """Bytes that cannot be what they should be."""


class Reader:
    """A position in some bytes."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    @property
    def is_at_end(self) -> bool:
        """Whether every byte was read."""
        return self.at >= len(self.data)

    def byte(self) -> int:
        """Read one byte."""
        if self.at >= len(self.data):
            raise Malformed("it ends too early")
        value = self.data[self.at]
        self.at += 1
        return value

    def number(self) -> int:
        """Read an unsigned LEB128 of at most 64 bits."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > _LONGEST_SHIFT:
                raise Malformed("a number is too long")

    def take(self) -> bytes:
        """Read bytes that stand behind their length."""
        length = self.number()
        if length > len(self.data) - self.at:
            raise Malformed("it ends too early")
        taken = self.data[self.at : self.at + length]
        self.at += length
        return taken

    def text(self) -> str:
        """Read a name."""
        try:
            return self.take().decode()
        except UnicodeDecodeError:
            raise Malformed("a name is not UTF-8") from None

    def values(self) -> tuple[str, ...]:
        """Read a list of value types."""
        return tuple(self.value() for _ in range(self.number()))

    def value(self) -> str:
        """Read a value type that refers to no type of the module's own."""
        byte = self.byte()
        if byte in _PLAIN:
            return _PLAIN[byte]
        is_not_null = byte == _NOT_NULL
        if byte in (_OR_NULL, _NOT_NULL):  # a reference spelled at length, which those of one byte may be too
            byte = self.byte()
        if byte not in _REFERENCE:
            raise Malformed(f"a value type 0x{byte:02x}")
        return _REFERENCE[byte][is_not_null]

    def functype(self) -> FuncType:
        """Read the type of a function."""
        if self.byte() != _FUNCTYPE:
            raise Malformed("a type that is no function's")
        return self.values(), self.values()


def sections(wasm: bytes) -> Iterator[tuple[int, Reader]]:
    """Give each section's number and its bytes, in order; the first 8 bytes of `wasm` are passed by.

    Raises: Malformed where the file is cut off.
    """
    file = Reader(wasm, 8)
    while not file.is_at_end:
        yield file.byte(), Reader(file.take())


def files_in(wasm: bytes) -> Iterator[tuple[int, int]]:
    """Give where a file begins and ends, and then the same of each that components in it have in them.

    What cannot be read, of that wasmtime makes nothing either.
    """
    files = [(0, len(wasm))]
    while files:
        begin, end = files.pop()
        yield begin, end
        if wasm[begin + 4 : begin + 8] != COMPONENT:
            continue
        reader = Reader(wasm, begin + 8)
        with suppress(Malformed):
            while reader.at < end:
                number, length = reader.byte(), reader.number()
                stop = reader.at + length
                if number in (_CORE_MODULE, _NESTED):
                    files.append((reader.at, min(stop, end)))
                reader.at = stop
