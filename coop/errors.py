"""Every error coop raises, in one tree.

Host code sees these classes; guests see errno numbers, which only the import
layer makes.  Each message is lower case and says what was attempted on what.

1. `CoopError` is the root of all that a caller may want to handle.
2. `Cancelled` is a BaseException: `except Exception` must not swallow it.
3. `BugError` means that a program is wrong, coop or the one that uses it: a state that
   cannot be, a call from where it must not come.  No code of coop takes it for an answer.
"""

import errno
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "BadModule",
    "BugError",
    "Busy",
    "Cancelled",
    "Closed",
    "CoopError",
    "Deadlock",
    "DeadlineExceeded",
    "GuestExit",
    "GuestTrap",
    "LimitExceeded",
    "LinkError",
    "NoDeadline",
    "NotPollable",
    "TableFull",
    "Unsupported",
    "WasCancelled",
    "WrongThread",
]


LONGEST_NAME = 1000
"""Characters of a name in a message: a module's may have 100,000, and a trap has 20 of them."""


def printable(text: str, most: int | None = None) -> str:
    """Return a text, perhaps a guest's, with what is an order to a terminal, or a new line, spelled out.

    most -- characters of it that are shown; None: all
    """
    if most is not None and len(text) > most:
        text = f"{text[:most]}..."
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class CoopError(Exception):
    """The root of all errors a caller of coop may want to handle."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Be made anew in another process, as pools of processes do, whatever `__init__` takes."""
        return _made_anew, (type(self), self.args, vars(self))


def _made_anew(kind: type[CoopError], args: tuple[Any, ...], attributes: Mapping[str, Any]) -> CoopError:
    error = kind.__new__(kind)
    base: Any = OSError if issubclass(kind, OSError) else Exception
    base.__init__(error, *args)
    vars(error).update(attributes)
    return error


class Cancelled(BaseException):
    """Raised in a task at the place where it parks, after somebody cancelled it."""


class BlockEnded(Cancelled):
    """Ends a block of the task that is interrupted by it, whose end takes it; it never comes out of that."""


class BugError(CoopError):
    """A state that cannot be, or a call from where it must not come: a program is to be mended."""


class Closed(CoopError, OSError):
    """The file or connection was closed, before the call or during it."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EBADF, message)


class Busy(CoopError, OSError):
    """Another task uses this direction of the connection, a guest has it, or the guest is in a call."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EBUSY, message)


class DeadlineExceeded(CoopError, TimeoutError):
    """The deadline of the open file or of the call has passed."""

    def __init__(self, message: str = "i/o timeout") -> None:
        super().__init__(errno.ETIMEDOUT, message)


class NotPollable(CoopError, OSError):
    """The descriptor is of a kind no poller can wait for, such as a regular file."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EPERM, message)


class NoDeadline(CoopError, OSError):
    """The open file is of a kind that cannot have a deadline."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.ENOTSUP, message)


class TableFull(CoopError):
    """The subscription table has no slot left (65 535, the clock's included)."""


class Deadlock(CoopError):
    """Every task is parked and nothing can ever wake one of them."""


class WrongThread(CoopError):
    """A guest, store, task or scheduler was used from a thread or process that does not own it."""


class Unsupported(CoopError):
    """This machine, this Python or this wasmtime lacks something coop needs."""


class BadModule(CoopError, ValueError):
    """The bytes are no WebAssembly module or component that coop can load."""


class LinkError(CoopError):
    """An import is missing or of another type, or an export is not what was asked for."""


class GuestTrap(CoopError):
    """The guest trapped.

    message -- wasmtime's reason, in one line
    frames  -- the wasm frames by name, innermost first
    """

    def __init__(self, message: str, frames: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.frames = frames

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  at {printable(frame, LONGEST_NAME)}" for frame in self.frames)])


class GuestExit(CoopError):
    """The guest ended itself, as by `proc_exit`, while one of its exports was called.

    code -- its exit code, 0 to 2**32 - 1
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"guest called proc_exit({code})")
        self.code = code


class LimitExceeded(CoopError):
    """A guest reached one of its limits.

    limit -- the limit's name, as `Limits` spells it
    """

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(f"limit {limit} exceeded: {message}")
        self.limit = limit


class WasCancelled(CoopError):
    """The task or guest that was waited for ended because somebody cancelled it."""


def combined(error: BaseException | None, late: Sequence[BaseException]) -> BaseException | None:
    """Return one error for `error` and those that came too late to be raised: none may be lost.

    KeyboardInterrupt and SystemExit stand before all others, which are their cause then: whoever waits
    for them must find them.
    """
    if not late:
        return error
    errors = [*([] if error is None or isinstance(error, Cancelled) else [error]), *late]
    urgent = next(
        (each for each in (*late, error) if isinstance(each, (KeyboardInterrupt, SystemExit))), None
    )
    if urgent is None:
        return _one_of(errors)
    others = [each for each in errors if each is not urgent]
    if others:
        urgent.__cause__ = _one_of(others)
    return urgent


def _one_of(errors: list[BaseException]) -> BaseException:
    if len(errors) == 1:
        return errors[0]
    return BaseExceptionGroup("errors that were still to be raised", errors)
