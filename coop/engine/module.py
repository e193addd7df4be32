"""A compiled module: made once, shared by every guest, scheduler and thread of the process."""

import ctypes as C
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wasmtime

from coop.engine.cache import ModuleCache, default_directory
from coop.engine.capi import address, released
from coop.engine.config import DEFAULT_WASM_STACK, Engine, engine_for
from coop.engine.signatures import read_signatures
from coop.engine.traps import take_error
from coop.errors import BadModule, WrongThread

_MAGIC = b"\0asm"
_CORE, _COMPONENT = b"\x01\x00\x00\x00", b"\x0d\x00\x01\x00"


class Module:
    """A compiled WebAssembly module.  Immutable; `from_file` and `from_bytes` make one.

    name    -- for messages: its path, or what the caller gave
    imports -- what it wants, in order
    exports -- the types of the functions it offers, by name; None for what is no function
    others  -- the names of its exports that are no functions
    """

    def __init__(self, engine: Engine, handle: wasmtime.Module, wasm: bytes, name: str) -> None:
        self.engine = engine
        self.name = name
        self.imports, self.exports = read_signatures(wasm, name)
        self.others = tuple(found for found, functype in self.exports.items() if functype is None)
        self._handle = handle
        self._process = os.getpid()
        self._address = address(handle.ptr())

    def __repr__(self) -> str:
        return f"<Module {self.name}>"

    @property
    def address(self) -> int:
        """The C module.  Raises: WrongThread in a process forked after it was compiled."""
        self.check_process()
        return self._address

    def check_process(self) -> None:
        """Raise WrongThread in a process that was forked after the module was compiled."""
        if self._process != os.getpid():
            raise WrongThread(
                f"use {self.name}: this module was compiled before a fork; load it again in the child"
            )

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        max_wasm_stack: int = DEFAULT_WASM_STACK,
        cache: str | os.PathLike[str] | bool = True,
        on_compile: Callable[[], object] | None = None,
    ) -> "Module":
        """Load a `.wasm` or `.wat` file, compiled or from the cache.

        max_wasm_stack -- bytes of stack a guest of this module may use
        cache          -- True: the user's cache directory; False: none; or a directory
        on_compile     -- called before a compile that may take long, not for a cache hit
        Raises: BadModule; OSError if the file cannot be read; ValueError for a bad stack size.
        """
        data = Path(path).read_bytes()
        return cls.from_bytes(
            data, name=str(path), max_wasm_stack=max_wasm_stack, cache=cache, on_compile=on_compile
        )

    @classmethod
    def from_bytes(
        cls,
        data: bytes | str,
        *,
        name: str = "module",
        max_wasm_stack: int = DEFAULT_WASM_STACK,
        cache: str | os.PathLike[str] | bool = True,
        on_compile: Callable[[], object] | None = None,
    ) -> "Module":
        """Load a module from wasm bytes or WAT text; the other arguments are those of `from_file`."""
        engine = engine_for(max_wasm_stack)
        wasm = _to_wasm(data, name)
        if cache is True:
            store = ModuleCache(default_directory())
        else:
            store = ModuleCache(None if cache is False else Path(cache))
        return cls(engine, _load(engine, wasm, name, store, on_compile), wasm, name)


def _to_wasm(data: bytes | str, name: str) -> bytes:
    raw = data.encode() if isinstance(data, str) else bytes(data)
    if raw[:4] == _MAGIC:
        if raw[4:8] == _COMPONENT:
            raise BadModule(f"{name}: this is a component; a core module was expected")
        if raw[4:8] != _CORE:
            raise BadModule(
                f"{name}: wasm of an unknown version (bytes 4 to 8 are {raw[4:8].hex(' ') or 'missing'})"
            )
        return raw
    if not raw:
        raise BadModule(f"{name}: the file is empty")
    if raw.lstrip()[:1] != b"(" and not raw.lstrip().startswith(b";;"):
        raise BadModule(f"{name}: not a wasm file (it starts with {raw[:8]!r})")
    try:
        return bytes(wasmtime.wat2wasm(raw))
    except wasmtime.WasmtimeError as error:
        raise BadModule(f"{name}: not valid WAT: {_one_line(str(error))}") from None


def _load(
    engine: Engine, wasm: bytes, name: str, store: ModuleCache, on_compile: Callable[[], object] | None
) -> wasmtime.Module:
    serialized = store.load(wasm, engine)
    if serialized is not None:
        try:
            return _make(released.wasmtime_module_deserialize, engine, serialized, name)
        except BadModule:
            pass  # made by a wasmtime that calls itself the same but is not: compile again
    if on_compile is not None:
        on_compile()
    handle = _make(released.wasmtime_module_new, engine, wasm, name)
    if store.directory is not None:
        store.store(wasm, engine, bytes(handle.serialize()))
    return handle


def _make(call: Callable[..., Any], engine: Engine, data: bytes, name: str) -> wasmtime.Module:
    """Make a module by one of the two calls that do; the bytes are read where they are."""
    out = C.POINTER(wasmtime._bindings.wasmtime_module_t)()
    error = call(engine.address, C.cast(C.c_char_p(data), C.c_void_p), len(data), C.byref(out))
    if error:
        raise BadModule(f"{name}: {_one_line(str(take_error(error)))}")
    return wasmtime.Module._from_ptr(out)


def _one_line(text: str) -> str:
    return " ".join(text.split())
