"""Values as a command line spells them: sizes, durations, arguments and results of exports.

Everything here takes text and returns a value, or a value and returns text; what
is wrong is a ValueError that says so in half a sentence.  The spellings are those of
wasmtime's command line; floats are shown as there, with every digit and no exponent.
"""

import re
import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "μs": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([a-zμµ]*)")
_PLAIN = re.compile(r"[0-9A-Za-z.+-]*")
_LONGEST_S = 100 * 365 * 86400
_BITS = {"i32": 32, "i64": 64}
_LAYOUT = {"f32": struct.Struct("<f"), "f64": struct.Struct("<d")}


def boolean(text: str | None) -> bool:
    """Read y or n; a setting without a value is meant as y."""
    if text is None or text in ("y", "yes", "true"):
        return True
    if text in ("n", "no", "false"):
        return False
    raise ValueError(f"y or n wanted, not {text!r}")


def count(text: str | None) -> int:
    """Read a number above zero, decimal or 0x..."""
    if text is None:
        raise ValueError("a number wanted")
    if re.fullmatch(r"0x[0-9a-fA-F]+", text):
        found = int(text, 16)
    elif re.fullmatch(r"[0-9]+", text):
        found = int(text)
    else:
        raise ValueError(f"a number wanted, not {text!r}")
    if not 0 < found < 1 << 63:
        raise ValueError(f"{text} is out of range")
    return found


def seconds(text: str | None) -> float:
    """Read a duration: 2, 2s, 1.5s, 100ms, 50us, 10ns, 3m, 1h; a number alone is seconds."""
    if text is None:
        raise ValueError("a duration such as 2s or 100ms wanted")
    match = _DURATION.fullmatch(text)
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"a duration such as 2s or 100ms wanted, not {text!r}")
    found = float(match[1]) * _UNITS[match[2]]
    if not 1e-9 <= found <= _LONGEST_S:
        raise ValueError(f"{text} is out of range (1ns to 100 years)")
    return found


def is_plain(text: str) -> bool:
    """Whether a text has nothing in it but what numbers are spelled with.

    Python takes more for a number: underscores, blanks around it, the digits of any script.
    """
    return _PLAIN.fullmatch(text) is not None


def argument(kind: str, text: str) -> int | float:
    """Read an argument of wasm type `kind`; integers may be given signed or unsigned, decimal or 0x..."""
    bits = _BITS.get(kind)
    if bits is None and kind not in _LAYOUT:
        raise ValueError(f"a command line cannot give a {kind}")
    try:
        if not is_plain(text):
            raise ValueError
        if bits is None:
            value = float(text)
            _LAYOUT[kind].pack(value)
            return value
        number = int(text, 16 if "0x" in text.lower() else 10)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no {kind}") from None
    if not -(1 << bits - 1) <= number < 1 << bits:
        raise ValueError(f"{text} does not fit into {kind}")
    return number - (1 << bits) if number >= 1 << bits - 1 else number


def arguments(kinds: Sequence[str], texts: Sequence[str]) -> list[int | float]:
    """Read the arguments of a function that takes such types.  Raises: ValueError."""
    if len(kinds) != len(texts):
        raise ValueError(f"it takes {len(kinds)} arguments ({', '.join(kinds)}), not {len(texts)}")
    values = []
    for number, (kind, text) in enumerate(zip(kinds, texts, strict=True), 1):
        try:
            values.append(argument(kind, text))
        except ValueError as error:
            raise ValueError(f"argument {number}: {error}") from None
    return values


def shown(kind: str, value: Any) -> str:
    """Return a result of wasm type `kind` as text; integers are signed."""
    if kind not in _LAYOUT:
        return str(value)
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return str(value)
    text = format(Decimal(_shortest_f32(value) if kind == "f32" else repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _shortest_f32(value: float) -> str:
    """Return the fewest digits that still mean this f32; Python would show those of the nearest f64."""
    layout = _LAYOUT["f32"]
    for digits in range(1, 9):
        text = f"{value:.{digits}g}"
        try:
            if layout.unpack(layout.pack(float(text)))[0] == value:
                return text
        except OverflowError:
            pass  # rounded up beyond the largest f32
    return f"{value:.9g}"
