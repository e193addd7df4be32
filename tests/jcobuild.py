"""Builds components with tools of npm: from preview 1 modules, from C that imports WASI 0.2, from JavaScript.

A preview 1 module becomes a component by `jco new`, which lays an adapter between it and WASI 0.2. A C file
may import interfaces of 0.2 beside preview 1; `jco embed` writes their types into its module first.
JavaScript is compiled by `componentize-js`, which packs a whole engine of 13 MB. What was built lies with the
other guests; see `guestbuild`, which also says what happens without Node.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from coop.wasip2.worlds import VERSION, wit_files
from tests.guestbuild import Recipe, _build, _npm, c_guest, cache_dir, locked

__all__ = ["TOOLS", "adapted", "c_component", "js_component"]

TOOLS = ("@bytecodealliance/jco@1.16.1", "@bytecodealliance/componentize-js@0.19.3")
"""Each wants the other in this version, so npm fetches one of both; that halves the 300 MB of newer ones."""


def adapted(core: Path) -> Path:
    """Make a component that exports wasi:cli/run of a preview 1 module that exports `_start`.

    Raises: ToolchainMissing without Node, or where npm cannot fetch the tools; BuildFailed with their words.
    """
    # A guest's name ends in its hash; that of the module it is made of would only lengthen it.
    name = f"{core.stem.rpartition('-')[0] or core.stem}-adapted.wasm"
    return _made("jco", core, name, "new", "--wasi-command")


def c_component(source: Path, world: Path) -> Path:
    """Build one C file into a command; `world` is a WIT file that has what it imports beside preview 1.

    Raises: as `adapted`; ToolchainMissing without the package ziglang as well.
    """
    files = {**wit_files(), "world.wit": world.read_text()}
    # No world is named, since this version of jco would not look at the name: there is one to choose from.
    return adapted(
        _made("jco", c_guest(source), f"{source.stem}-typed.wasm", "embed", "--wit", _folder(files))
    )


def js_component(source: Path, world: str, worlds: str = "", version: str = VERSION) -> Path:
    """Build one JavaScript file into a component.

    world   -- the world it is for: `command`, `service`, or one of `worlds`
    worlds  -- more worlds, which may include `imports` and `http`
    version -- of WASI
    Raises: as `adapted`.
    """
    files = wit_files(version)
    files["world.wit"] += worlds
    return _made("componentize-js", source, f"{source.stem}.wasm", "-w", _folder(files), "-n", world)


def _made(tool: str, source: Path, name: str, *words: str) -> Path:
    program = str(_npm(TOOLS) / ".bin" / tool)
    return _build(Recipe(name, source.parent, (source.name,), " ".join(TOOLS), (program, *words, "-o")))


def _folder(files: Mapping[str, str]) -> str:
    """Return a folder that has these texts, named by what is in them."""
    digest = hashlib.sha256(repr(sorted(files.items())).encode())
    folder = cache_dir() / "wit" / digest.hexdigest()[:24]
    with locked(cache_dir()):
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    return str(folder)
