"""Slips of whoever uses coop, told before they fail far from where they were made."""

import math
import os
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

_ONLY_MAKES = 0x20 | 0x80 | 0x200
"""Flags of code whose call runs nothing of it: generators, coroutines, and what is both (see `inspect`)."""


class Unique:
    """Base of what stands for something outside of Python, which a copy would give back a second time."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied and to be pickled."""
        raise TypeError(f"a {type(self).__name__} can be neither copied nor pickled")


def brief(value: object) -> str:
    """Return a value for a message, cut short; by its type, if it cannot be shown."""
    try:
        text = repr(value)
    except Exception:  # an integer of thousands of digits has only its bits to show
        text = hex(value) if type(value) is int else f"<{type(value).__name__}>"
    return text if len(text) <= 60 else f"{text[:57]}..."


_NAMES = 8
"""How many names a message tells; more are counted."""


def instead(has: str, names: Iterable[str]) -> str:
    """Return the end of a message about a name that is not there: those that are, cut short; "" for none.

    has -- what has them, and that it does, as in "it exports"
    """
    known = list(names)
    shown = [name if name.isprintable() and 0 < len(name) <= 60 else brief(name) for name in known[:_NAMES]]
    more = f" and {len(known) - _NAMES} more" if len(known) > _NAMES else ""
    return f"; {has} {', '.join(shown)}{more}" if known else ""


_GUESTS = {"Module": "Guest", "Component": "ComponentGuest"}


def check_kind(option: str, given: object, kind: type) -> None:
    """Refuse what is of another kind, of coop's public names or the library's.  Raises: TypeError."""
    if isinstance(given, kind):
        return
    room = kind.__module__.partition(".")[0]
    wanted, found, instead = f"{room}.{kind.__name__}", type(given).__name__, ""
    if kind.__name__ in _GUESTS:
        if isinstance(given, (str, os.PathLike)):
            instead = f": {wanted}.from_file loads one"
        elif isinstance(given, (bytes, bytearray)):
            instead = f": {wanted}.from_bytes makes one"
        elif found in _GUESTS:
            instead = f", whose guest is a coop.{_GUESTS[found]}"
    raise TypeError(f"{option}: a {wanted} wanted, not {found}{instead}")


def check_text(option: str, given: object) -> None:
    """Refuse what is no text.  Raises: TypeError."""
    if not isinstance(given, str):
        raise TypeError(f"{option}: a text wanted, not {type(given).__name__}")


def check_context(option: str, given: object, unfit: int, whose: str) -> None:
    """Refuse what is no context for TLS, or is made for the other side.  Raises: TypeError; ValueError.

    unfit -- the protocol of the other side's, of ssl's PROTOCOL_TLS_
    whose -- who needs the context, for the message: "client" or "server"
    """
    if given is None:
        return
    check_kind(option, given, ssl.SSLContext)
    if isinstance(given, ssl.SSLContext) and given.protocol == unfit:
        raise ValueError(f"{option}: a context for a {whose} wanted, not for the other side")


def check_lists(**options: object) -> None:
    """Refuse options that are no lists, a string among them.  Raises: TypeError that names the option."""
    for option, given in options.items():
        # Nearly always one of these, and whether something is a sequence is asked of Python code.
        is_list = given.__class__ in (tuple, list) or isinstance(given, Sequence)
        if not is_list or isinstance(given, (str, bytes)):
            raise TypeError(f"{option}: a list wanted, not {type(given).__name__}")


def check_entries(option: str, given: Sequence[object], kind: type | tuple[type, ...], what: str) -> None:
    """Refuse a list with something in it that is of another kind.  Raises: TypeError that names the place."""
    for place, entry in enumerate(given):
        if not isinstance(entry, kind):
            raise TypeError(f"{option}[{place}]: {what} wanted, not {type(entry).__name__}")


def check_program(name: object, args: Sequence[object], env: object, *text: type) -> None:
    """Refuse a name, arguments and variables that are no texts.  Raises: TypeError that names the option.

    text -- of what types a text may be
    """
    if name is not None:
        check_text("name", name)
    check_entries("args", args, text, "a text")
    if env is None:
        return
    if not isinstance(env, Mapping):
        raise TypeError(f"env: a mapping wanted, not {type(env).__name__}")
    for key, value in env.items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise TypeError(f"env: texts wanted, not {brief(key)}: {brief(value)}")


def check_callable(name: str, given: object) -> None:
    """Refuse what cannot be called, such as the result of the function that was meant, and what only makes
    something, as an async function does.

    Raises: TypeError.
    """
    if not callable(given):
        found = type(given).__name__
        raise TypeError(f"{name}: a function to call wanted, not {found} (main, for instance, not main())")
    code = getattr(given, "__code__", None)
    if code is not None and code.co_flags & _ONLY_MAKES:
        raise TypeError(
            f"{name}: a plain function wanted, not one that is async or yields: a task runs sync code"
        )


def check_number(
    option: str, given: object, *, least: float = 0, most: float = math.inf, whole: bool = False
) -> None:
    """Refuse what is no number from `least` to `most`.  Raises: TypeError; ValueError."""
    kinds = (int,) if whole else (int, float)
    if not isinstance(given, kinds) or isinstance(given, bool):
        raise TypeError(f"{option}: a {'whole ' * whole}number wanted, not {type(given).__name__}")
    if not least <= given <= most:  # as nothing is that is not a number
        wanted = f"{least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
        raise ValueError(f"{option}: {given} is not {wanted}")
