"""Host functions: what a guest may import from Python.

Two kinds.  A *user's* function is any Python function with declared types; it gets
a `Caller` first.  A *raw* import is a WASI function: numbers in, an errno out, on the
state that its table's package keeps for each guest.

A user's function that `parks` runs on the task's greenlet, where it may sleep, receive
and wait as any host code.  One that does not runs on the guest's fiber, in a fifth of
the time, and must not park: a park tried there is an error that ends the guest, because
switching with wasm on the stack would end the process.

A raw import always runs on the fiber.  One that `parks` may have the guest suspended
(`Driven.suspend`): it says what to wait for, the task waits for it, and then the `shim`
calls the import again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from coop.engine.marshal import WASM_TYPE, check_value
from coop.slips import Unique, brief, check_lists
from coop.task import Task

if TYPE_CHECKING:
    from coop.engine.memory import Memory


class Waits(Protocol):
    """Something that a guest waits for."""

    def wait(self, task: Task) -> None:
        """Park `task`, the current one, until the guest may go on."""
        ...


@dataclass(frozen=True)
class RawImport:
    """A WASI function.

    call  -- call(state, *numbers) -> errno, or what `Driven.suspend` has returned, or AT_ONCE
    parks -- whether it may answer anything but an errno
    """

    name: str
    params: tuple[str, ...]
    results: tuple[str, ...]
    call: Callable[..., Any]
    parks: bool


@dataclass(frozen=True)
class ImportTable:
    """The raw imports of one WASI module, and how their exceptions become errno numbers.

    errno_of -- errno_of(state, error) -> errno for an exception, or None if the exception ends the guest
    """

    module: str
    imports: tuple[RawImport, ...]
    errno_of: Callable[[Any, BaseException], int | None]


class Caller(Unique):
    """What a host function knows of the guest that calls it.

    memory -- the guest's memory, checked
    guest  -- the guest, as the host code that made it sees it
    """

    __slots__ = ("guest", "memory")

    def __init__(self, memory: "Memory", guest: Any) -> None:
        self.memory = memory
        self.guest = guest


@dataclass(frozen=True)
class HostFunction:
    """A Python function that guests may import.

    module, name -- what the guest imports it as
    params       -- its parameter types: "i32", "u32", "i64", "u64", "f32", "f64"
    results      -- its result types; none: the function returns None, several: a tuple
    call         -- call(caller, *params) -> results, in plain sync style
    parks        -- True: it may park. False: it never does, and costs a fifth
    Raises: ValueError for a type that cannot be declared.
    """

    module: str
    name: str
    params: tuple[str, ...]
    results: tuple[str, ...]
    call: Callable[..., Any]
    parks: bool = True

    def __post_init__(self) -> None:
        for kind in (*self.params, *self.results):
            if kind not in WASM_TYPE:
                raise ValueError(
                    f"host function {self}: type {kind!r} cannot be declared (one of {', '.join(WASM_TYPE)})"
                )

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    def check(self, answer: Any) -> tuple[Any, ...]:
        """Return what `call` answered as a tuple, one value for each result.

        Raises: TypeError that says what was wanted: another number of values, or another kind or range.
        """
        kinds = self.results
        answers = (answer,) if len(kinds) == 1 else () if answer is None else answer
        if not isinstance(answers, tuple) or len(answers) != len(kinds):
            raise TypeError(
                f"host function {self} returned {brief(answer)}; declared are {len(kinds)} results"
            )
        for kind, value in zip(kinds, answers, strict=True):
            try:
                check_value(kind, value)
            except TypeError as error:
                raise TypeError(f"host function {self} returned {brief(answer)}: {error}") from None
        return answers


def host_function(
    module: str,
    name: str | None = None,
    *,
    params: Sequence[str] = (),
    results: Sequence[str] = (),
    parks: bool = True,
) -> Callable[[Callable[..., Any]], HostFunction]:
    """Make a `HostFunction` of the function below, whose first argument is a `Caller`.

    module -- what the guest imports it from
    name   -- its name there; the function's own unless given
    params, results, parks -- as `HostFunction` has them
    Raises: TypeError; ValueError for a type that cannot be declared.
    """
    if not isinstance(module, str):
        raise TypeError(
            'host_function: the name of the import\'s module comes first, as in host_function("env")'
        )
    check_lists(params=params, results=results)

    def decorate(call: Callable[..., Any]) -> HostFunction:
        return HostFunction(module, name or call.__name__, tuple(params), tuple(results), call, parks)

    return decorate
