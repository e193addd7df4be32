"""Builds components from Python sources, against WIT that is rendered from what coop offers.

The compiler is `componentize-py` of PyPI; it packs a whole CPython, so a component has 18 MB and takes
seconds to build. What was built lies with the other guests; see `guestbuild`.
"""

import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from coop.wasip2.interfaces import INTERFACES
from coop.wit import Interface, packages
from tests.guestbuild import BuildFailed, ToolchainMissing, cache_dir, locked

__all__ = ["SOURCES", "VERSION", "command", "python_component", "script"]

SOURCES = Path(__file__).parent / "components"

VERSION = "0.2.12"
"""The version of WASI that guests are built for."""

_EXPORTED = {"wasi:cli": "interface run {\n  run: func() -> result;\n}\n"}
"""Interfaces of WASI that a guest provides, by package."""

_UNKNOWN = re.compile(r"^ *network-error-code:.*\n", re.MULTILINE)
"""What the compiler's own WASI, on which it starts each guest once, does not have."""

_COMMAND = "package coop:guest;\n\nworld guest {{\n{imports}\n  export wasi:cli/run@{version};\n}}\n"
_SCRIPT = (
    "package coop:guest;\n\nworld guest {{\n{imports}\n  export run: func(code: string) -> string;\n}}\n"
)


def command(source: Path | str) -> Path:
    """Build a Python file into a command that may import all of WASI; a bare name lies in `SOURCES`."""
    return python_component(SOURCES / source, _COMMAND)


@cache
def script() -> Path:
    """Build the guest that runs the Python code it is sent, with every interface of WASI at hand."""
    return python_component(SOURCES / "script.py", _SCRIPT)


def python_component(
    source: Path, world: str, own: Mapping[str, str] | None = None, imports: tuple[str, ...] = ()
) -> Path:
    """Build one Python file into a component.

    world   -- the text of the world `guest`, with {imports} for the imports and {version} for WASI's
    own     -- texts of WIT packages of one's own, by name
    imports -- interfaces of those that the world imports besides WASI's
    Raises: ToolchainMissing without componentize-py, BuildFailed with the compiler's words.
    """
    compiler = _compiler()
    # Types alone are no interface to import: a guest gets them with what uses them.
    names = [f"  import {each.name}@{VERSION};" for each in INTERFACES if _has_functions(each)]
    names += [f"  import {name};" for name in imports]
    texts = dict(own or {})
    for package, text in packages(INTERFACES, VERSION).items():
        texts[package] = _UNKNOWN.sub("", text) + _EXPORTED.get(package, "")
    text = world.format(imports="\n".join(names), version=VERSION)
    digest = hashlib.sha256()
    for part in (compiler[1], text, *(x for pair in sorted(texts.items()) for x in pair), source.read_text()):
        digest.update(f"{len(part)}:{part}".encode())
    target = cache_dir() / "built" / f"{source.stem}-{digest.hexdigest()[:24]}.wasm"
    if not target.exists():
        with locked(cache_dir()):
            if not target.exists():
                _build(compiler[0], source, text, texts, target)
    return target


def _has_functions(interface: type[Interface]) -> bool:
    return bool(interface.exported())


@cache
def _compiler() -> tuple[str, str]:
    """Return the compiler's path and version."""
    try:
        version = importlib.metadata.version("componentize-py")
    except importlib.metadata.PackageNotFoundError:
        raise ToolchainMissing("find componentize-py: pip install componentize-py") from None
    return str(Path(sys.executable).parent / "componentize-py"), version


def _build(compiler: str, source: Path, world: str, texts: Mapping[str, str], target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache_dir()) as scratch:
        wit = Path(scratch) / "wit"
        for package, text in texts.items():
            folder = wit / "deps" / package.replace(":", "-")
            folder.mkdir(parents=True)
            (folder / "package.wit").write_text(text)
        (wit / "world.wit").write_text(world)
        (Path(scratch) / "app.py").write_text(source.read_text())
        made = Path(scratch) / "made.wasm"
        done = subprocess.run(
            [compiler, "-d", str(wit), "-w", "guest", "componentize", "app", "-o", str(made)],
            cwd=scratch,
            env={**os.environ, "HOME": scratch},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BuildFailed(f"build {source}:\n{done.stderr.strip() or done.stdout.strip()}")
        made.replace(target)
