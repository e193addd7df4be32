"""What a report consists of: findings on a file, and the file with what is given to it."""

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from coop.cli.plan import Plan
from coop.cli.toolchain import Toolchain, toolchain_of
from coop.engine.anatomy import Anatomy, objection, offered
from coop.engine.binary import FuncType
from coop.engine.signatures import read_signatures
from coop.wasip1.imports import SNAPSHOT1
from coop.wasip1.snapshot0 import SNAPSHOT0

OFFERED = offered((SNAPSHOT1, SNAPSHOT0))
"""What a guest may import."""

WASI = {table.module: {raw.name for raw in table.imports} for table in (SNAPSHOT1, SNAPSHOT0)}
"""Which functions each snapshot has."""


class Level(Enum):
    """How bad a finding is; the value is how it is called."""

    MISSING = "missing"
    TROUBLE = "trouble"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to tell."""

    level: Level
    text: str


@dataclass
class Patient:
    """A file and what the command line gives to it."""

    anatomy: Anatomy
    plan: Plan
    made_by: Toolchain | None = field(init=False)

    def __post_init__(self) -> None:
        self.made_by = toolchain_of(self.anatomy)

    def is_by(self, name: str) -> bool:
        """Whether a toolchain made it."""
        return self.made_by is not None and self.made_by.name == name

    @cached_property
    def objection(self) -> str | None:
        """Why the engine refuses the module, or one in the component, in its words."""
        return objection(self.anatomy.wasm, self.plan.max_wasm_stack, self.plan.exceptions)

    @cached_property
    def is_readable(self) -> bool:
        """Whether enough of it was read to say more."""
        return not self.anatomy.is_component and not (self.anatomy.trouble and self.objection)

    @cached_property
    def wasi(self) -> set[str]:
        """The names of the WASI functions it imports; those that it has not are told elsewhere."""
        named = ((wanted.module, wanted.name) for wanted in self.anatomy.imports)
        return {name for module, name in named if name in WASI.get(module, ())}

    @cached_property
    def types(self) -> dict[str, FuncType | None]:
        """The types of the functions that a module exports; empty where they cannot be relied on."""
        if self.anatomy.is_component or self.objection:
            return {}
        return read_signatures(self.anatomy.wasm, self.plan.path).exports

    @property
    def sockets(self) -> int:
        """How many sockets it is given."""
        return len(self.plan.listen) + len(self.plan.connect)

    def functions(self) -> list[str]:
        """The functions it exports, but for those that start it."""
        starts = ("", "_start", "_initialize")
        return sorted(n for n, kind in self.anatomy.exports.items() if kind == "function" and n not in starts)


def spelled(functype: FuncType) -> str:
    """Return how a function's type is told."""
    return f"({', '.join(functype[0])}) -> ({', '.join(functype[1])})"


def missing(text: str) -> Finding:
    """Make a finding of what keeps it from running."""
    return Finding(Level.MISSING, text)


def trouble(text: str) -> Finding:
    """Make a finding of what will go wrong."""
    return Finding(Level.TROUBLE, text)


def note(text: str) -> Finding:
    """Make a finding of what is worth knowing."""
    return Finding(Level.NOTE, text)
