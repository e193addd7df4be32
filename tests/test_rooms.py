"""The rooms of coop: imports go down only, private names stay inside, modules and functions stay small.

Every import counts, wherever it stands: at the top, inside a function, or for the type checker alone.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.children import ROOT

#: The rooms, low to high.  A room may import itself and every room of a lower line, none of its own line.
LAYERS = (
    ("errors", "clock", "logs", "text", "sources", "slips", "forks"),
    ("system", "wit"),
    ("task",),
    ("timers",),
    ("netpoll",),
    ("runq", "report"),
    ("scheduler",),
    ("stint",),
    ("group", "timeout", "channel", "threads", "signals"),
    ("trace", "timeline"),
    ("net", "run"),
    ("engine", "fs"),
    ("given", "ends"),
    ("guest", "load"),
    ("wasip1", "wasip2"),
    ("serve",),
    ("face",),  # coop/__init__.py: what `import coop` gives
    ("cli",),
)

#: Modules that lie in another room than their name says.
PLACED = {"coop": "face", "coop.__main__": "cli", "coop.owner": "task"}

#: Rooms that may import less than the lines allow: room -> what of coop it may import.
NARROWER: dict[str, set[str]] = {
    "engine": {"clock", "errors", "forks", "logs", "scheduler", "signals", "slips", "stint", "task", "wit"},
    "fs": {"clock", "errors", "logs", "netpoll", "scheduler", "slips", "threads"},
}

#: What is imported by those who use coop.
PUBLIC = ("coop", "coop.wit")

#: Packages that one room alone may import: package -> module or package of coop.
ONLY_IN = {"greenlet": "coop.task", "wasmtime": "coop.engine"}

MODULE_LINES = 400
FUNCTION_LINES = 40

#: Longer ones, each with its reason: "coop/x.py" or "coop/x.py::Class.method" -> reason.
LONG: dict[str, str] = {
    "coop/engine/drive.py::Driven._drive": "where a guest gives up the thread: one loop, one reading",
}


class Import(NamedTuple):
    """One imported module, or a name that may be one, with its line."""

    name: str
    line: int
    is_member: bool  # `name` is module.member of a from-import


class Source(NamedTuple):
    """One parsed file: its path below the root and its module name."""

    path: str
    module: str
    tree: ast.Module
    lines: int


def parse(path: Path, root: Path = ROOT) -> Source:
    """Read one file; a package's __init__ has the package's name."""
    text = path.read_text()
    below = path.relative_to(root)
    parts = below.with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(str(below), module, ast.parse(text), text.count("\n"))


def sources(folder: str) -> list[Source]:
    """Every Python file below one folder of the project."""
    return [parse(path) for path in sorted((ROOT / folder).rglob("*.py"))]


def imports(source: Source) -> Iterator[Import]:
    """What a file imports; `from a import b` gives both a and a.b, since b may be a module."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = source.module.split(".")
                keep = len(package) - node.level + source.path.endswith("__init__.py")
                module = ".".join([*package[:keep], *filter(None, [module])])
            yield Import(module, node.lineno, False)
            yield from (Import(f"{module}.{alias.name}", node.lineno, True) for alias in node.names)


def is_below(name: str, package: str) -> bool:
    """Whether a dotted name is a package or something in it."""
    return name == package or name.startswith(package + ".")


def room(module: str) -> str:
    """The room a module of coop lies in; rooms of no line are found by `test_every_module_has_a_room`."""
    return PLACED.get(module) or module.split(".")[1]


def imported_rooms(source: Source, known: set[str]) -> Iterator[tuple[str, int]]:
    """The rooms a file imports from; `from coop import errors` counts as errors, not as the face."""
    found = list(imports(source))
    submodule_lines = {i.line for i in found if i.is_member and i.name in known}
    for name, line, is_member in found:
        if not is_below(name, "coop") or (is_member and name not in known):
            continue
        if name == "coop" and line in submodule_lines:
            continue
        yield room(name), line


CODE = sources("coop")
EXAMPLES = sources("examples")
#: All modules, and all packages even where no file marks them.
KNOWN = {part for s in CODE for part in (s.module, s.module.rpartition(".")[0]) if part}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

each_module = pytest.mark.parametrize("source", CODE, ids=lambda s: s.path)


def wrong_imports(source: Source, known: set[str]) -> list[str]:
    """Every import of a file that does not go down."""
    mine = room(source.module)
    wrong = []
    for other, line in imported_rooms(source, known):
        if other == mine:
            continue
        goes_down = LEVEL.get(other, len(LAYERS)) < LEVEL[mine]
        if not goes_down or other not in NARROWER.get(mine, {other}):
            wrong.append(f"{source.path}:{line}: {mine} must not import {other}")
    return wrong


def test_every_module_has_a_room():
    assert CODE
    assert {s.path for s in CODE if room(s.module) not in LEVEL} == set()


def test_the_face_lists_the_rooms_as_they_are():
    text = next(ast.get_docstring(s.tree) or "" for s in CODE if s.module == "coop")
    listed = re.findall(r"^    ([a-z0-9]+(?:, [a-z0-9]+)*) {2,}", text, re.MULTILINE)
    lines = [{room(f"coop.{name}") for name in line.split(", ")} for line in listed]
    rooms = [set(names) for names in LAYERS if names != ("face",)]
    assert lines[: len(rooms)] == rooms  # what is listed behind them are words


@pytest.mark.parametrize(
    "package",
    [s for s in CODE if s.path.count("/") > 1 and s.path.endswith("__init__.py")],
    ids=lambda s: s.module,
)
def test_the_text_of_a_package_names_what_is_in_it(package: Source):
    text = ast.get_docstring(package.tree) or ""
    inside = {s.module.rpartition(".")[2] for s in CODE if s.module.rpartition(".")[0] == package.module}
    assert {name for name in inside if not re.search(rf"\b{name}\b", text)} == set()


@each_module
def test_imports_go_down_only(source: Source):
    assert wrong_imports(source, KNOWN) == []


@each_module
def test_greenlet_and_wasmtime_have_one_room_each(source: Source):
    wrong = [
        f"{source.path}:{i.line}: {package} belongs to {home}"
        for package, home in ONLY_IN.items()
        for i in imports(source)
        if is_below(i.name, package) and not is_below(source.module, home)
    ]
    assert wrong == []


@each_module
def test_no_room_imports_a_private_name_of_another(source: Source):
    wrong = [
        f"{source.path}:{i.line}: {i.name} is private"
        for i in imports(source)
        if is_below(i.name, "coop")
        and any(part.startswith("_") and not part.endswith("__") for part in i.name.split("."))
        and room(i.name) != room(source.module)
    ]
    assert wrong == []


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda s: s.path)
def test_examples_import_only_coop_itself(source: Source):
    ours = {(i.name, i.line) for i in imports(source) if not i.is_member}
    wrong = [
        f"{source.path}:{line}: {name}"
        for name, line in sorted(ours)
        if name not in PUBLIC and (is_below(name, "coop") or name.split(".")[0] in ("tests", "bench"))
    ]
    assert wrong == []


def functions(source: Source) -> Iterator[tuple[str, int]]:
    """Each function with its qualified name and its lines, docstring not counted."""

    def visit(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{prefix}.{child.name}" if prefix else child.name
                if not isinstance(child, ast.ClassDef):
                    yield name, length(child)
            yield from visit(child, name)

    yield from visit(source.tree, "")


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring: words about a function do not make it long."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        doc = function.body[0]
        lines -= (doc.end_lineno or doc.lineno) - doc.lineno + 1
    return lines


def too_long() -> dict[str, int]:
    """Every module and function over its bound."""
    long = {s.path: s.lines for s in CODE if s.lines > MODULE_LINES}
    for source in CODE:
        long |= {f"{source.path}::{name}": n for name, n in functions(source) if n > FUNCTION_LINES}
    return long


def test_modules_and_functions_are_small_or_say_why_not():
    assert {name: lines for name, lines in too_long().items() if name not in LONG} == {}


def test_no_reason_is_given_for_what_is_small():
    assert set(LONG) - set(too_long()) == set()


@pytest.mark.parametrize(
    ("module", "text", "is_wrong"),
    [
        ("timers", "from coop.errors import BugError", False),
        ("timers", "from coop import clock", False),
        ("timers", "import coop.scheduler", True),
        ("timers", "from coop import scheduler", True),
        ("timers", "import coop", True),
        ("timers", "def f():\n    from coop.scheduler import Scheduler", True),
        ("timers", "from .scheduler import Scheduler", True),
        ("timers", "from . import errors", False),
        ("errors", "from coop.clock import Clock", True),
        ("engine/x", "from coop.net import Conn", True),
        ("netpoll/x", "from coop.netpoll.polldesc import PollDesc", False),
        ("netpoll/x", "from ..scheduler import Scheduler", True),
        ("wasip1/x", "from coop.wasip2 import Guest", True),
        ("wasip1/x", "from coop.nowhere import thing", True),
        ("run", "import coop.cli", True),
        ("cli/x", "import coop", False),
        ("cli/x", "from coop import run", False),
    ],
)
def test_the_check_tells_imports_down_from_others(tmp_path: Path, module: str, text: str, is_wrong: bool):
    path = tmp_path / "coop" / f"{module}.py"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    known = KNOWN | {"coop.errors", "coop.clock", "coop.scheduler", "coop.wasip2", "coop.nowhere", "coop.run"}
    assert bool(wrong_imports(parse(path, tmp_path), known)) is is_wrong
