"""Builds components from Python sources, against the WIT that `coop wit` writes.

The compiler is `componentize-py` of PyPI; it packs a whole CPython, so a component has 18 MB and takes
seconds to build. What was built lies with the other guests; see `guestbuild`.
"""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from coop.wasip2.worlds import wit_files
from tests.guestbuild import BuildFailed, ToolchainMissing, cache_dir, locked

__all__ = ["SOURCES", "command", "python_component", "script", "service"]

SOURCES = Path(__file__).parent / "components"

_SCRIPT = (
    "world script {\n  include imports;\n  include http;\n  export run: func(code: string) -> string;\n}\n"
)


def command(source: Path | str) -> Path:
    """Build a Python file into a command that may import all of WASI; a bare name lies in `SOURCES`."""
    return python_component(SOURCES / source, "command")


def service(source: Path | str) -> Path:
    """Build a Python file into an HTTP service; a bare name lies in `SOURCES`."""
    return python_component(SOURCES / source, "service")


@cache
def script() -> Path:
    """Build the guest that runs the Python code it is sent, with every interface of WASI at hand."""
    return python_component(SOURCES / "script.py", "script", worlds=_SCRIPT)


def python_component(
    source: Path, world: str, worlds: str = "", packages: Mapping[str, str] | None = None
) -> Path:
    """Build one Python file into a component.

    world    -- the world it is for: `command`, `service`, or one of `worlds`
    worlds   -- more worlds, which may include `imports`
    packages -- texts of more WIT packages, by name
    Raises: ToolchainMissing without componentize-py, BuildFailed with the compiler's words.
    """
    compiler, version = _compiler()
    files = wit_files()
    files["world.wit"] += worlds
    for name, text in (packages or {}).items():
        files[f"deps/{name.replace(':', '-')}/package.wit"] = text
    digest = hashlib.sha256()
    for part in (version, world, *(x for pair in sorted(files.items()) for x in pair), source.read_text()):
        digest.update(f"{len(part)}:{part}".encode())
    target = cache_dir() / "built" / f"{source.stem}-{digest.hexdigest()[:24]}.wasm"
    if not target.exists():
        with locked(cache_dir()):
            if not target.exists():
                _build(compiler, source, world, files, target)
    return target


@cache
def _compiler() -> tuple[str, str]:
    """Return the compiler's path and version."""
    try:
        version = importlib.metadata.version("componentize-py")
    except importlib.metadata.PackageNotFoundError:
        raise ToolchainMissing("find componentize-py: pip install componentize-py") from None
    return str(Path(sys.executable).parent / "componentize-py"), version


def _build(compiler: str, source: Path, world: str, files: Mapping[str, str], target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache_dir()) as scratch:
        wit = Path(scratch) / "wit"
        for name, text in files.items():
            (wit / name).parent.mkdir(parents=True, exist_ok=True)
            (wit / name).write_text(text)
        (Path(scratch) / "app.py").write_text(source.read_text())
        made = Path(scratch) / "made.wasm"
        done = subprocess.run(
            [compiler, "-d", str(wit), "-w", world, "componentize", "app", "-o", str(made)],
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
