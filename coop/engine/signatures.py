"""What a module imports and exports, read from its bytes.

wasmtime's C API describes types too, but ends the process at every type it has no
name for, such as the 128-bit vector.  A guest must not be able to do that by
merely being loaded; so the few sections that matter are read here.

1. The bytes have passed wasmtime's validation, by an engine without garbage collection:
   every type is a function's, and every value's type is one byte.
2. Bytes that cannot be read all the same are a `BadModule`, never another error.
"""

from dataclasses import dataclass

from coop.errors import BadModule

FuncType = tuple[tuple[str, ...], tuple[str, ...]]
"""Parameter and result types by name: "i32", "i64", "f32", "f64", "v128", "externref", ..."""

_VALUE = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x6F: "externref",
}
_TYPE, _IMPORT, _FUNCTION, _EXPORT = 1, 2, 3, 7
_FUNC, _TABLE, _MEMORY, _GLOBAL = range(4)
_FUNCTYPE = 0x60


@dataclass(frozen=True)
class Import:
    """What a module wants: `type` is None for anything but a function."""

    module: str
    name: str
    type: FuncType | None

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def read_signatures(wasm: bytes, name: str) -> tuple[tuple[Import, ...], dict[str, FuncType | None]]:
    """Return a module's imports, in order, and its exports; an export that is no function has None.

    Raises: BadModule.
    """
    try:
        return _read(wasm)
    except (IndexError, KeyError, ValueError) as error:
        raise BadModule(f"{name}: imports and exports cannot be read: {error!r}") from None


class _Reader:
    """A position in some bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def number(self) -> int:
        """Read an unsigned LEB128."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def take(self) -> bytes:
        """Read bytes that stand behind their length."""
        length = self.number()
        taken = self.data[self.at : self.at + length]
        if len(taken) != length:
            raise ValueError("it ends too early")
        self.at += length
        return taken

    def text(self) -> str:
        return self.take().decode()

    def values(self) -> tuple[str, ...]:
        return tuple(_VALUE[self.byte()] for _ in range(self.number()))


def _read(wasm: bytes) -> tuple[tuple[Import, ...], dict[str, FuncType | None]]:
    types: list[FuncType] = []
    functions: list[FuncType] = []
    imports: list[Import] = []
    exports: dict[str, FuncType | None] = {}
    file = _Reader(wasm)
    file.at = 8
    while file.at < len(wasm):
        kind, section = file.byte(), _Reader(file.take())
        if kind not in (_TYPE, _IMPORT, _FUNCTION, _EXPORT):
            continue
        for _ in range(section.number()):
            if kind == _TYPE:
                types.append(_functype(section))
            elif kind == _IMPORT:
                wanted = Import(section.text(), section.text(), _imported(section, types))
                imports.append(wanted)
                if wanted.type is not None:
                    functions.append(wanted.type)
            elif kind == _FUNCTION:
                functions.append(types[section.number()])
            else:
                name, what, index = section.text(), section.byte(), section.number()
                exports[name] = functions[index] if what == _FUNC else None
    return tuple(imports), exports


def _functype(section: _Reader) -> FuncType:
    if section.byte() != _FUNCTYPE:
        raise ValueError("a type that is no function's")
    return section.values(), section.values()


def _imported(section: _Reader, types: list[FuncType]) -> FuncType | None:
    """Read what one import is, and return its type if it is a function."""
    kind = section.byte()
    if kind == _FUNC:
        return types[section.number()]
    if kind in (_TABLE, _GLOBAL):
        section.byte()
    if kind == _GLOBAL:
        section.byte()  # whether it is mutable
    elif kind in (_TABLE, _MEMORY):
        has_maximum = section.byte() & 1
        section.number()
        if has_maximum:
            section.number()
    else:
        raise ValueError(f"an import of kind {kind}")
    return None
