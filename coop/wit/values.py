"""How values of WIT look in Python.

| WIT                     | Python                                                         |
|-------------------------|----------------------------------------------------------------|
| bool, numbers, string   | bool, int, float, str                                          |
| char                    | a str of one character                                         |
| list<u8>                | bytes (any object with a buffer may be given)                  |
| list, tuple             | list, tuple                                                    |
| record                  | a named tuple; a tuple, a mapping or an object may be given    |
| variant                 | `Case(name, value)`                                            |
| enum                    | its name, a str                                                |
| flags                   | a frozenset of names; any iterable of names may be given       |
| option                  | None or the value; an option of an option: None or `Some`      |
| result                  | `Ok` or `Err`; as a function's result: returned, or raised     |
| own, borrow             | the host's object; of a resource of the guest: `GuestResource` |

An iterable given as a list, and an object given as a record, are read while nothing else may happen on
the scheduler: what they run must not park and must not call a guest.

Names stay as WIT spells them, but a record's fields, which are attributes: `no-delay` is
`no_delay`, and what is a word of Python's has an underscore behind it: `from` is `from_`.
"""

from keyword import iskeyword
from typing import Any, NamedTuple

__all__ = ["Case", "Err", "Ok", "Some", "attribute"]


class Case(NamedTuple):
    """One case of a variant, with its value if it has one."""

    name: str
    value: Any = None


class Ok(NamedTuple):
    """A result that is no error, where it is a part of something else."""

    value: Any = None


class Some(NamedTuple):
    """A value of an option that is itself the value of an option."""

    value: Any = None


class Err(Exception):
    """A result that is an error: raised by a function, and a value inside of others.

    value -- what the error consists of, or None
    """

    def __init__(self, value: Any = None) -> None:
        super().__init__(value)
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Err) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]  # the value may have none

    def __repr__(self) -> str:
        return f"Err({self.value!r})"


def attribute(name: str) -> str:
    """Return a name of WIT as Python spells attributes."""
    spelled = name.replace("-", "_")
    return f"{spelled}_" if iskeyword(spelled) else spelled
