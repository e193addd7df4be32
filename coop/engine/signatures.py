"""What a module imports and exports, read from its bytes.

wasmtime's C API describes types too, but ends the process at every type it has no
name for, such as the 128-bit vector.  A guest must not be able to do that by
merely being loaded; so the few sections that matter are read here.

1. The bytes have passed wasmtime's validation, by an engine without garbage collection:
   every type is a function's, and no value's type refers to one of them.
2. Bytes that cannot be read all the same are a `BadModule`, never another error.
"""

from dataclasses import dataclass
from typing import NamedTuple

from coop.engine.binary import (
    EXPORT,
    FUNC_KIND,
    FUNCTION,
    GLOBAL_KIND,
    IMPORT,
    MEMORY_KIND,
    START,
    TABLE_KIND,
    TAG_KIND,
    TYPE,
    FuncType,
    Reader,
    sections,
)
from coop.errors import LONGEST_NAME, BadModule, printable

__all__ = ["FuncType", "Import", "read_signatures"]


@dataclass(frozen=True)
class Import:
    """What a module wants: `type` is None for anything but a function."""

    module: str
    name: str
    type: FuncType | None

    def __str__(self) -> str:
        return printable(f"{self.module}.{self.name}", LONGEST_NAME)


class Signatures(NamedTuple):
    """What was read of one module.

    imports -- in order
    exports -- by name; None for what is no function
    start   -- the type of the function that its start section names; None if it has none
    """

    imports: tuple[Import, ...]
    exports: dict[str, FuncType | None]
    start: FuncType | None


def read_signatures(wasm: bytes, name: str) -> Signatures:
    """Return what a module imports and exports.  Raises: BadModule."""
    try:
        return _read(wasm)
    except (IndexError, ValueError) as error:
        raise BadModule(f"{name}: imports and exports cannot be read: {error!r}") from None


def _read(wasm: bytes) -> Signatures:
    types: list[FuncType] = []
    functions: list[FuncType] = []
    imports: list[Import] = []
    exports: dict[str, FuncType | None] = {}
    start: FuncType | None = None
    for kind, section in sections(wasm):
        if kind == START:
            start = functions[section.number()]
        if kind not in (TYPE, IMPORT, FUNCTION, EXPORT):
            continue
        for _ in range(section.number()):
            if kind == TYPE:
                types.append(section.functype())
            elif kind == IMPORT:
                wanted = Import(section.text(), section.text(), _imported(section, types))
                imports.append(wanted)
                if wanted.type is not None:
                    functions.append(wanted.type)
            elif kind == FUNCTION:
                functions.append(types[section.number()])
            else:
                name, what, index = section.text(), section.byte(), section.number()
                exports[name] = functions[index] if what == FUNC_KIND else None
    return Signatures(tuple(imports), exports, start)


def _imported(section: Reader, types: list[FuncType]) -> FuncType | None:
    """Read what one import is, and return its type if it is a function."""
    kind = section.byte()
    if kind == FUNC_KIND:
        return types[section.number()]
    if kind in (TABLE_KIND, GLOBAL_KIND):
        section.value()
    if kind == GLOBAL_KIND:
        section.byte()  # whether it is mutable
    elif kind in (TABLE_KIND, MEMORY_KIND):
        has_maximum = section.byte() & 1
        section.number()
        if has_maximum:
            section.number()
    elif kind == TAG_KIND:
        section.byte()
        section.number()
    else:
        raise ValueError(f"an import of kind {kind}")
    return None
