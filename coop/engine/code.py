"""Compiled code: made once, shared by every guest, scheduler and thread of the process."""

import ctypes as C
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import wasmtime

from coop.engine.binary import COMPONENT, CORE, MAGIC
from coop.engine.cache import ModuleCache, default_directory
from coop.engine.capi import address
from coop.engine.codefile import read_code
from coop.engine.config import DEFAULT_WASM_STACK, Engine, engine_for
from coop.engine.mangled import defused
from coop.engine.traps import take_error
from coop.errors import BadModule, WrongThread, printable
from coop.forks import abandon_in_children
from coop.slips import Unique

_OF_VERSION = {CORE: "core module", COMPONENT: "component"}

_THROWS = re.compile("exceptions proposal not enabled|without the exception handling feature")
HOW_TO_THROW = " (exceptions=True, or -W exceptions)"


class Code(Unique):
    """A compiled module or component.  Immutable; `from_file` and `from_bytes` make one.

    name    -- for messages: its path, or what the caller gave
    program -- the name's last part, which is what its guests are called by
    """

    WHAT: ClassVar[str]
    """What it is called in messages."""
    VERSION: ClassVar[bytes]
    """Bytes 4 to 8 of its files."""

    def __init__(self, engine: Engine, handle: Any, wasm: bytes, name: str) -> None:
        self.engine = engine
        self.name, self.program = name, os.path.basename(name)
        self._handle = handle
        self._is_copy = False
        abandon_in_children(self)
        self._address = address(handle.ptr())
        self._read(wasm)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def abandon(self) -> None:
        """Refuse to be used: this is a copy, in a process forked from the one that compiled it."""
        self._is_copy = True

    @classmethod
    def _compiled_of(cls, wasm: bytes) -> bytes:
        """Return what is given to the compiler."""
        return defused(wasm)

    def _read(self, wasm: bytes) -> None:
        """Find out what it imports and exports.  Raises: BadModule."""
        raise NotImplementedError

    @classmethod
    def _wrapper(cls) -> tuple[Any, Callable[..., Any], Callable[..., Any]]:
        """Return what wraps a pointer to it, and the C functions that compile it and load it compiled."""
        raise NotImplementedError

    @property
    def address(self) -> int:
        """Where it is in C.  Raises: WrongThread in a process forked after it was compiled."""
        self.check_process()
        return self._address

    def check_process(self) -> None:
        """Raise WrongThread in a process that was forked after it was compiled."""
        if self._is_copy:
            raise WrongThread(
                f"use {self.name}: this {self.WHAT} was compiled before a fork; load it again in the child"
            )

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        max_wasm_stack: int = DEFAULT_WASM_STACK,
        dense: bool = False,
        exceptions: bool = False,
        cache: str | os.PathLike[str] | bool = True,
        on_compile: Callable[[], object] | None = None,
    ) -> Self:
        """Load a `.wasm` or `.wat` file, compiled or from the cache.

        max_wasm_stack -- bytes of stack a guest of it may use
        dense          -- True: its guests take less of the process, so that more of them fit; they are
                          slower, and have 64 MiB of memory each at most
        exceptions     -- True: its guests may throw exceptions of wasm, as C++ and setjmp do
        cache          -- True: the user's cache directory; False: none; or a directory
        on_compile     -- called before a compile that may take long, not for a cache hit
        Raises: BadModule; OSError if the file cannot be read; ValueError for a bad stack size.
        """
        data = read_code(path)
        return cls.from_bytes(
            data,
            name=str(path),
            max_wasm_stack=max_wasm_stack,
            dense=dense,
            exceptions=exceptions,
            cache=cache,
            on_compile=on_compile,
        )

    @classmethod
    def from_bytes(
        cls,
        data: bytes | str,
        *,
        name: str = "module",
        max_wasm_stack: int = DEFAULT_WASM_STACK,
        dense: bool = False,
        exceptions: bool = False,
        cache: str | os.PathLike[str] | bool = True,
        on_compile: Callable[[], object] | None = None,
    ) -> Self:
        """Load it from wasm bytes or WAT text; the other arguments are those of `from_file`."""
        engine = engine_for(max_wasm_stack, dense, exceptions)
        wasm = to_wasm(data, name, cls)
        if cache is True:
            store = ModuleCache(default_directory())
        else:
            store = ModuleCache(None if cache is False else Path(cache))
        return cls(engine, _load(cls, engine, wasm, name, store, on_compile), wasm, name)


def to_wasm(data: bytes | str, name: str, kind: type[Code] | None = None) -> bytes:
    """Return the wasm bytes of a file or of WAT text.

    Raises: BadModule if they are none, or not those of `kind` (None: of either kind).
    """
    raw = data.encode() if isinstance(data, str) else bytes(data)
    if raw[:4] == MAGIC:
        found = _OF_VERSION.get(raw[4:8])
        if found is None:
            raise BadModule(
                f"{name}: wasm of an unknown version (bytes 4 to 8 are {raw[4:8].hex(' ') or 'missing'})"
            )
        if kind is not None and raw[4:8] != kind.VERSION:
            raise BadModule(f"{name}: this is a {found}; a {kind.WHAT} was expected")
        return raw
    if not raw:
        raise BadModule(f"{name}: the file is empty")
    if raw.lstrip()[:1] != b"(" and not raw.lstrip().startswith(b";;"):
        raise BadModule(f"{name}: not a wasm file (it starts with {raw[:8]!r})")
    try:
        wasm = bytes(wasmtime.wat2wasm(raw))
    except wasmtime.WasmtimeError as error:
        raise BadModule(f"{name}: not valid WAT: {one_line(str(error))}") from None
    return to_wasm(wasm, name, kind)


def _load(
    kind: type[Code],
    engine: Engine,
    wasm: bytes,
    name: str,
    store: ModuleCache,
    on_compile: Callable[[], object] | None,
) -> Any:
    wrapper, new, deserialize = kind._wrapper()
    serialized = store.load(wasm, engine)
    if serialized is not None:
        try:
            return _make(wrapper, deserialize, engine, serialized, name)
        except BadModule:
            pass  # made by a wasmtime that calls itself the same but is not: compile again
    engine.prepare()
    if on_compile is not None:
        on_compile()
    handle = _make(wrapper, new, engine, kind._compiled_of(wasm), name)
    if store.directory is not None:
        store.store(wasm, engine, bytes(handle.serialize()))
    return handle


def _make(wrapper: Any, call: Callable[..., Any], engine: Engine, data: bytes, name: str) -> Any:
    """Make code by one of the two calls that do; the bytes are read where they are."""
    out = C.c_void_p()
    error = call(engine.address, C.cast(C.c_char_p(data), C.c_void_p), len(data), C.byref(out))
    if error:
        raise BadModule(f"{name}: {why_refused(str(take_error(error)), engine)}")
    return wrapper(out)


def why_refused(text: str, engine: Engine) -> str:
    """Return what the engine says of wasm that it refuses, and what to ask for if that would help."""
    if not engine.exceptions and _THROWS.search(text):
        return f"{one_line(text)}: it throws exceptions of wasm, which are to be asked for{HOW_TO_THROW}"
    return one_line(text)


def one_line(text: str) -> str:
    """Return a text with every run of white space made one space, and nothing that commands a terminal."""
    return printable(" ".join(text.split()))
