"""Who made a guest: read from what compilers leave in a file.

    producers    a custom section: languages, compilers and their versions; strip and wasm-opt drop it
    go:buildid   a custom section of Go's linker
    names        a custom section of functions' names; each toolchain's run-time library has its own
    exports      Asyncify's are TinyGo's goroutines; `__new` and `__pin` are AssemblyScript's memory

What is not said is not guessed: a stripped C program has no maker.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from coop.engine.anatomy import Anatomy

GO, TINYGO, RUST, ZIG, ASSEMBLYSCRIPT = "Go", "TinyGo", "Rust", "Zig", "AssemblyScript"
EMSCRIPTEN, C = "Emscripten", "C or C++"

ASYNCIFY = "asyncify_start_unwind"
"""An export of programs whose stack can be put away and taken up again."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What made a file, and its version as it is written there; empty if it is not."""

    name: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


def toolchain_of(anatomy: Anatomy) -> Toolchain | None:
    """Return what made the file; None if it does not say."""
    for name, is_it in _MARKS:
        if is_it(anatomy):
            return Toolchain(name, _version(anatomy, name))
    return None


def _producers(anatomy: Anatomy) -> Iterator[tuple[str, str]]:
    for entries in anatomy.producers.values():
        yield from entries


def _says(*starts: str) -> Callable[[Anatomy], bool]:
    return lambda anatomy: any(name.startswith(starts) for name, _ in _producers(anatomy))


def _has_name(*starts: str) -> Callable[[Anatomy], bool]:
    return lambda anatomy: any(name.startswith(starts) for name in anatomy.names)


def _is_tinygo(anatomy: Anatomy) -> bool:
    if _says("TinyGo")(anatomy) or _has_name("tinygo_", "(*internal/task.", "internal/task.")(anatomy):
        return True
    # Built with -no-debug nothing else is left of it.
    return ASYNCIFY in anatomy.exports and {"malloc", "free"} <= anatomy.exports.keys()


def _is_go(anatomy: Anatomy) -> bool:
    return "go:buildid" in anatomy.customs or _says("Go")(anatomy)


def _is_assemblyscript(anatomy: Anatomy) -> bool:
    return _has_name("~lib/")(anatomy) or {"__new", "__pin"} <= anatomy.exports.keys()


def _is_emscripten(anatomy: Anatomy) -> bool:
    return _says("emscripten", "Emscripten")(anatomy) or any(
        wanted.name.startswith("emscripten_") for wanted in anatomy.imports
    )


_MARKS: tuple[tuple[str, Callable[[Anatomy], bool]], ...] = (
    (TINYGO, _is_tinygo),  # before Go: it compiles Go's own packages
    (GO, _is_go),
    (EMSCRIPTEN, _is_emscripten),  # before C: it is clang
    (RUST, _says("Rust", "rustc")),
    (ASSEMBLYSCRIPT, _is_assemblyscript),
    (ZIG, _has_name("start.startWasi", "debug.FullPanic", "debug.defaultPanic")),
    (C, _says("C", "clang")),  # last: Zig and TinyGo say C99 where debuggers want to hear a language
)


def _version(anatomy: Anatomy, name: str) -> str:
    for producer, version in _producers(anatomy):
        if producer.split(" ")[0] in (name, "rustc", "emscripten") and version:
            return version.removeprefix("go").partition(" ")[0]
        if name == C and version:
            return f"(by {producer} {version.partition(' ')[0]})"
    return ""
