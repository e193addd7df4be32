"""Values of WIT as a command line spells them, in the notation that wasmtime calls WAVE.

    true  42  1.5  'c'  "text"  [1, 2]  (1, "a")  {x: 1, y: 2}  case(5)  some(1)  none  ok(1)  {read, write}

What is read is led by its type.  A whole argument that is a string needs no quotation marks, `some(...)`
and `ok(...)` may be left out around what is no option or result itself, and a name that is a word of the
notation is marked: `%none`.  What is shown can be read again.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from coop.cli.values import is_plain
from coop.cli.values import shown as shown_number
from coop.wit import Case, Err, Ok, Some
from coop.wit import types as wit

__all__ = ["read", "read_arguments", "show"]

_T = TypeVar("_T")

_TOKEN = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)+'|[\[\](){},:]|[^\s\[\](){},:"']+)""")
_ESCAPES = re.compile(r"\\u\{([0-9a-fA-F]{1,6})\}|\\(.?)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_SHOWN = {character: f"\\{letter}" for letter, character in _ESCAPED.items()}
_WORDS = ("true", "false", "inf", "nan", "some", "none", "ok", "err")
"""What is the name of a case only behind a percent sign."""


def read(kind: wit.Type, text: str) -> Any:
    """Return the value that `text` spells.  Raises: ValueError that says what was wanted."""
    if kind == wit.Primitive("string") and not text.startswith('"'):
        return text
    reader = _Reader(text)
    value = reader.value(kind)
    reader.end()
    return value


def read_arguments(kinds: Sequence[wit.Type], text: str) -> list[Any]:
    """Return arguments in parentheses, of which options at the end may be left out.  Raises: ValueError."""
    reader = _Reader(text)
    values = list(reader.elements(kinds, least=_needed(kinds)))
    reader.end()
    return values + [None] * (len(kinds) - len(values))


def _needed(kinds: Sequence[wit.Type]) -> int:
    """How many values there are at least: the last that is no option must be there."""
    return max((n for n, kind in enumerate(kinds, 1) if not isinstance(kind, wit.Option)), default=0)


class _Reader:
    """One text, read from the left."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = []
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"{text!r}: not understood from {text[at : at + 20]!r}")
            self._tokens.append(found[1])
            at = found.end()
        self._at = 0

    def end(self) -> None:
        """Raise unless all was read."""
        if self._at < len(self._tokens):
            raise ValueError(f"{self._text!r}: nothing more was expected after it")

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> str:
        token = self._next()
        if not token or (wanted and token != wanted):
            raise ValueError(f"{self._text!r}: {wanted or 'a value'} expected, not {token or 'its end'}")
        self._at += 1
        return token

    def _many(self, begin: str, rule: Callable[[], _T], end: str) -> list[_T]:
        self._take(begin)
        found: list[_T] = []
        while self._next() != end:
            if found:
                self._take(",")
                if self._next() == end:
                    break
            found.append(rule())
        self._take(end)
        return found

    def value(self, kind: wit.Type) -> Any:
        """Read a value of a type."""
        match kind:
            case wit.Primitive(name):
                return _primitive(name, self._take())
            case wit.List(wit.Primitive("u8")):
                return bytes(self._many("[", lambda: self.value(wit.Primitive("u8")), "]"))
            case wit.List(element):
                return self._many("[", lambda: self.value(element), "]")
            case wit.Tuple(elements):
                return self.elements(elements, least=len(elements))
            case wit.Record(fields):
                return self._record(dict(fields))
            case wit.Flags(names):
                return frozenset(self._once(self._many("{", lambda: _one_of(names, self._take()), "}")))
            case wit.Enum(names):
                return _one_of(names, self._take())
            case wit.Option(some):
                return self._option(some)
            case wit.Result(ok, err):
                if ok is not None and _may_be_bare(ok) and self._next() not in ("ok", "err"):
                    return Ok(self.value(ok))
                name, value = self._case({"ok": ok, "err": err})
                return Ok(value) if name == "ok" else Err(value)
            case wit.Variant(cases):
                return Case(*self._case(dict(cases)))
        raise ValueError(f"a command line cannot give a {wit.show(kind)}")

    def elements(self, elements: Sequence[wit.Type], least: int) -> tuple[Any, ...]:
        """Read values in parentheses, of a type each; `least` of them must be there."""
        kinds = iter(elements)

        def one() -> Any:
            kind = next(kinds, None)
            if kind is None:
                raise ValueError(f"{self._text!r}: {len(elements)} values expected")
            return self.value(kind)

        found = tuple(self._many("(", one, ")"))
        if len(found) < least:
            raise ValueError(f"{self._text!r}: {least} values expected, not {len(found)}")
        return found

    def _record(self, fields: dict[str, wit.Type]) -> dict[str, Any]:
        def field() -> tuple[str, Any]:
            name = _one_of(tuple(fields), self._take())
            self._take(":")
            return name, self.value(fields[name])

        pairs = self._many("{", field, "}")
        self._once([name for name, _ in pairs])
        found = dict(pairs)
        for name, kind in fields.items():
            if name not in found and isinstance(kind, wit.Option):
                found[name] = None
        if missing := [name for name in fields if name not in found]:
            raise ValueError(f"{self._text!r}: {', '.join(missing)} missing")
        return found

    def _once(self, names: list[str]) -> list[str]:
        """Return the names, none of which may stand twice."""
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{self._text!r}: {twice} stands twice")
        return names

    def _option(self, some: wit.Type) -> Any:
        if self._next() in ("some", "none") or not _may_be_bare(some):
            name, value = self._case({"some": some, "none": None})
            return None if name == "none" else Some(value) if isinstance(some, wit.Option) else value
        return self.value(some)

    def _case(self, cases: dict[str, wit.Type | None]) -> tuple[str, Any]:
        name = _one_of(tuple(cases), self._take())
        kind = cases[name]
        if kind is None:
            return name, None
        self._take("(")
        value = self.value(kind)
        self._take(")")
        return name, value


def _may_be_bare(kind: wit.Type) -> bool:
    """Whether a value may stand without the `some` or `ok` around it: it looks like neither by itself."""
    return not isinstance(kind, (wit.Option, wit.Result))


def _one_of(names: tuple[str, ...], token: str) -> str:
    name = token.removeprefix("%")
    if name not in names:
        raise ValueError(f"{token!r} is none of {', '.join(names)}")
    return name


def _unescaped(text: str) -> str:
    """Return what stands between quotation marks as it is meant.  Raises: ValueError."""

    def meant(found: re.Match[str]) -> str:
        if found[1] is None:
            character = _ESCAPED.get(found[2], "")
        else:
            number = int(found[1], 16)
            character = chr(number) if number < 0xD800 or 0xDFFF < number <= 0x10FFFF else ""
        if not character:
            raise ValueError(f"{found[0]!r} is no escape: \\n \\r \\t \\\\ \\\" \\' and \\u{{1f600}} are")
        return character

    return _ESCAPES.sub(meant, text)


def _primitive(name: str, token: str) -> Any:
    if name == "bool":
        return _one_of(("true", "false"), token) == "true"
    if name in ("string", "char"):
        mark = '"' if name == "string" else "'"
        if token[0] != mark:
            raise ValueError(f"{token} is no {name}; it stands in {mark}")
        text = _unescaped(token[1:-1])
        if name == "char" and len(text) != 1:
            raise ValueError(f"{token} is no char, but {len(text)} of them")
        return text
    try:
        if not is_plain(token):
            raise ValueError
        if name in ("f32", "f64"):
            return float(token)
        number = int(token)
    except ValueError:
        raise ValueError(f"{token!r} is no {name}") from None
    bits = int(name[1:])
    low, high = (0, 1 << bits) if name[0] == "u" else (-(1 << bits - 1), 1 << bits - 1)
    if not low <= number < high:
        raise ValueError(f"{token} does not fit into {name}")
    return number


def show(kind: wit.Type, value: Any) -> str:
    """Return a value as text."""
    match kind:
        case wit.Primitive("string"):
            return f'"{_escaped(value)}"'
        case wit.Primitive("char"):
            return f"'{_escaped(value)}'"
        case wit.Primitive("bool"):
            return "true" if value else "false"
        case wit.Primitive(name):
            return shown_number(name, value).lower() if name in ("f32", "f64") else str(value)
        case wit.List(element):
            return f"[{', '.join(show(element, each) for each in value)}]"
        case wit.Tuple(elements):
            return f"({_joined(elements, value)})"
        case wit.Record(fields):
            shown = (f"{name}: {show(each, part)}" for (name, each), part in zip(fields, value, strict=True))
            return f"{{{', '.join(shown)}}}"
        case wit.Flags(names):
            return f"{{{', '.join(name for name in names if name in value)}}}"
        case wit.Enum():
            return _label(value)
        case wit.Option(some):
            inner = value.value if isinstance(value, Some) else value
            return "none" if value is None else f"some({show(some, inner)})"
        case wit.Result(ok, err):
            return _shown_case("ok", ok, value) if isinstance(value, Ok) else _shown_case("err", err, value)
        case wit.Variant(cases):
            return _shown_case(_label(value.name), dict(cases)[value.name], value)
    return f"<{wit.show(kind)}>"


def _escaped(text: str) -> str:
    """Return a text with nothing in it that would end it, or command a terminal."""
    return "".join(_SHOWN.get(c) or (c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in text)


def _label(name: str) -> str:
    return f"%{name}" if name in _WORDS else name


def _joined(kinds: tuple[wit.Type, ...], values: tuple[Any, ...]) -> str:
    return ", ".join(show(kind, value) for kind, value in zip(kinds, values, strict=True))


def _shown_case(name: str, kind: wit.Type | None, holder: Any) -> str:
    return name if kind is None else f"{name}({show(kind, holder.value)})"
