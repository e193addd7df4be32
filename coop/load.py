"""Load what a file holds: a core module or a component, as the first bytes of its wasm say."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from coop.engine import Module
from coop.engine.binary import COMPONENT
from coop.engine.code import to_wasm
from coop.engine.codefile import read_code
from coop.engine.config import DEFAULT_WASM_STACK

if TYPE_CHECKING:
    from coop.engine.component import Component

__all__ = ["load"]


def load(
    path: str | os.PathLike[str],
    *,
    max_wasm_stack: int = DEFAULT_WASM_STACK,
    dense: bool = False,
    exceptions: bool = False,
    cache: str | os.PathLike[str] | bool = True,
    on_compile: Callable[[], object] | None = None,
) -> "Module | Component":
    """Load a `.wasm` or `.wat` file, compiled or from the cache: a `Module` or a `Component`.

    max_wasm_stack -- bytes of stack a guest of it may use
    dense          -- True: its guests take less of the process, so that more of them fit; they are
                      slower, and have 64 MiB of memory each at most
    exceptions     -- True: its guests may throw exceptions of wasm, as C++ and setjmp do
    cache          -- True: the user's cache directory; False: none; or a directory
    on_compile     -- called before a compile that may take long, not for a cache hit
    Raises: BadModule; OSError if the file cannot be read; ValueError for a bad stack size.
    """
    wasm = to_wasm(read_code(path), str(path))
    kind: type[Module | Component] = Module
    if wasm[4:8] == COMPONENT:
        from coop.engine import component  # its import takes as long as half of coop's

        kind = component.Component
    return kind.from_bytes(
        wasm,
        name=str(path),
        max_wasm_stack=max_wasm_stack,
        dense=dense,
        exceptions=exceptions,
        cache=cache,
        on_compile=on_compile,
    )
