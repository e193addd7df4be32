"""What a wasm file consists of, read from its bytes alone, also where it could not be compiled.

`signatures` reads what has passed validation; this reads anything: a module that asks
for what the engine does not have, a component, a file that is cut off.

1. Nothing is refused once the first four bytes are wasm's: what can be read is told, and
   the first thing that could not is named in `trouble`.
2. A function whose type cannot be read has None for it.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import wasmtime

from coop.engine import binary
from coop.engine.binary import FuncType, Malformed, Reader, files_in, sections
from coop.engine.border import _wasm_types
from coop.engine.code import to_wasm, why_refused
from coop.engine.config import DEFAULT_WASM_STACK, engine_for
from coop.engine.hostfunc import ImportTable

KINDS = ("function", "table", "memory", "global", "tag")
"""What an import or export may be, by its number."""

_COMPONENT_IMPORT, _COMPONENT_EXPORT, _COMPONENT_INSTANCE = 10, 11, 5
_FUNCTION_NAMES = 1
_REFERENCES = (0x63, 0x64)
_SHARED = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """One import.

    module, name -- how it is named; a component's has an empty name
    kind         -- one of KINDS, or "interface" for a component's
    type         -- a function's, if it could be read
    """

    module: str
    name: str
    kind: str
    type: FuncType | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a memory or table is: pages or elements, at first and at most."""

    minimum: int
    maximum: int | None
    is_shared: bool


@dataclass(slots=True)
class Anatomy:
    """What was read of one file.

    imports   -- in order
    exports   -- what each is, one of KINDS; of a component "interface" or "function"
    memories, tables -- imported ones first
    producers -- by field: "language", "processed-by", "sdk"; each entry a name and a version
    features  -- what it was compiled to use, by the names of the tool conventions
    names     -- its functions', where it has kept them
    customs   -- the names of its custom sections
    has_start -- whether it has a start section
    trouble   -- the first thing that could not be read, in words; None: all was, custom sections aside
    """

    wasm: bytes
    is_component: bool
    imports: list[Wanted] = field(default_factory=list)
    exports: dict[str, str] = field(default_factory=dict)
    memories: list[Extent] = field(default_factory=list)
    tables: list[Extent] = field(default_factory=list)
    producers: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    features: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    customs: set[str] = field(default_factory=set)
    has_start: bool = False
    trouble: str | None = None

    def mentions(self, name: str) -> bool:
        """Return whether the bytes hold a name with a NUL behind it, as Go keeps those of its functions."""
        return name.encode() + b"\0" in self.wasm


def read_anatomy(data: bytes, name: str) -> Anatomy:
    """Read a `.wasm` file's bytes, or those of a text.

    Raises: BadModule, which calls it `name`, for what is neither.
    """
    wasm = data if data[:4] == binary.MAGIC else to_wasm(data, name)
    version = wasm[4:8]
    found = Anatomy(wasm, version == binary.COMPONENT)
    if version not in (binary.CORE, binary.COMPONENT):
        found.trouble = f"its version is unknown (bytes 4 to 8 are {version.hex(' ') or 'missing'})"
        return found
    types: list[FuncType | None] = []
    try:
        for kind, section in sections(wasm):
            reason = _read_section(found, types, kind, section)
            found.trouble = found.trouble or reason
    except Malformed as error:
        found.trouble = found.trouble or f"the file is cut off or not wasm to its end: {error}"
    return found


def objection(wasm: bytes, max_wasm_stack: int | None = None, exceptions: bool = False) -> str | None:
    """Return why the engine would refuse a module, or one in a component; None if all are valid here.

    max_wasm_stack, exceptions -- as `coop.load` takes them; None: the usual stack
    Raises: ValueError if the stack's size is out of range.
    """
    engine = engine_for(max_wasm_stack or DEFAULT_WASM_STACK, exceptions=exceptions)
    for begin, end in files_in(wasm):
        if wasm[begin + 4 : begin + 8] == binary.COMPONENT:
            continue  # what is around the modules only compiling would tell
        try:
            wasmtime.Module.validate(engine.handle, wasm[begin:end])
        except wasmtime.WasmtimeError as error:
            return why_refused(str(error), engine)
    return None


def offered(tables: Iterable[ImportTable]) -> dict[tuple[str, str], FuncType]:
    """Return the type of each function of the tables, by its module and name."""
    return {(table.module, raw.name): _wasm_types(raw) for table in tables for raw in table.imports}


def _read_section(found: Anatomy, types: list[FuncType | None], kind: int, section: Reader) -> str | None:
    """Read one section into `found`, as far as that goes; return what is wrong with it, if anything is."""
    try:
        if kind == binary.CUSTOM:
            name = section.text()
            found.customs.add(name)
            if name in _CUSTOM:
                _CUSTOM[name](found, section)
        elif found.is_component:
            if kind == _COMPONENT_IMPORT:
                _each(section, lambda: found.imports.append(_component_import(section)))
            elif kind == _COMPONENT_EXPORT:
                _each(section, lambda: _component_export(found, section))
        elif kind == binary.TYPE:
            _types(types, section)
        elif kind == binary.IMPORT:
            _each(section, lambda: _import(found, types, section))
        elif kind == binary.TABLE:
            _each(section, lambda: found.tables.append(_table(section)))
        elif kind == binary.MEMORY:
            _each(section, lambda: found.memories.append(_extent(section)))
        elif kind == binary.START:
            found.has_start = True
        elif kind == binary.EXPORT:
            _each(section, lambda: _export(found, section))
    except Malformed as error:
        # What tools write beside the program may be anything; the program runs all the same.
        return None if kind == binary.CUSTOM else f"section {kind}: {error}"
    return None


def _each(section: Reader, read: Callable[[], object]) -> None:
    for _ in range(section.number()):
        read()


def _types(types: list[FuncType | None], section: Reader) -> None:
    """Read types up to the first that is not a plain function's: those after it cannot be found."""
    with suppress(Malformed):  # another proposal's type, or nonsense: validation names it
        for _ in range(section.number()):
            types.append(section.functype())  # noqa: PERF401 - those before a bad one count


def _import(found: Anatomy, types: list[FuncType | None], section: Reader) -> None:
    module, name, kind = section.text(), section.text(), section.byte()
    functype = None
    if kind == binary.FUNC_KIND:
        index = section.number()
        functype = types[index] if index < len(types) else None
    elif kind == binary.TABLE_KIND:
        found.tables.append(_table(section))
    elif kind == binary.MEMORY_KIND:
        found.memories.append(_extent(section))
    elif kind == binary.GLOBAL_KIND:
        _valtype(section)
        section.byte()  # whether it is mutable
    elif kind == binary.TAG_KIND:
        section.byte()
        section.number()
    else:
        raise Malformed(f"an import of kind {kind}")
    found.imports.append(Wanted(module, name, KINDS[kind], functype))


def _export(found: Anatomy, section: Reader) -> None:
    name, kind = section.text(), section.byte()
    section.number()
    if kind >= len(KINDS):
        raise Malformed(f"an export of kind {kind}")
    found.exports[name] = KINDS[kind]


def _valtype(section: Reader) -> None:
    if section.byte() in _REFERENCES:
        section.number()  # a signed number of the same length


def _table(section: Reader) -> Extent:
    _valtype(section)
    return _extent(section)


def _extent(section: Reader) -> Extent:
    flags, minimum = section.byte(), section.number()
    maximum = section.number() if flags & 1 else None
    return Extent(minimum, maximum, bool(flags & _SHARED))


def _component_import(section: Reader) -> Wanted:
    section.byte()  # how the name is spelled
    name = section.text()
    _description(section)
    return Wanted(name, "", "interface")


def _component_export(found: Anatomy, section: Reader) -> None:
    section.byte()  # how the name is spelled
    name, sort = section.text(), section.byte()
    if sort == 0:
        section.byte()  # of which kind something of a core module is
    section.number()
    if section.byte():
        _description(section)
    found.exports[name] = "interface" if sort == _COMPONENT_INSTANCE else "function"


def _description(section: Reader) -> None:
    """Pass by what says of which type something is."""
    sort = section.byte()
    if sort == 0:
        section.byte()  # a core module
    elif sort in (2, 3) and section.byte():
        return  # a value or type with a bound of its own
    section.number()


def _producers(found: Anatomy, section: Reader) -> None:
    for _ in range(section.number()):
        entries = found.producers.setdefault(section.text(), [])
        for _ in range(section.number()):
            entries.append((section.text(), section.text()))


def _features(found: Anatomy, section: Reader) -> None:
    for _ in range(section.number()):
        prefix, name = section.byte(), section.text()
        if prefix == ord("+"):
            found.features.append(name)


def _names(found: Anatomy, section: Reader) -> None:
    while not section.is_at_end:
        kind, names = section.byte(), Reader(section.take())
        if kind == _FUNCTION_NAMES:
            for _ in range(names.number()):
                names.number()
                found.names.add(names.text())


_CUSTOM: dict[str, Callable[[Anatomy, Reader], None]] = {
    "producers": _producers,
    "target_features": _features,
    "name": _names,
}
