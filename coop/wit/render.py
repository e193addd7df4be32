"""Interfaces as the text of WIT packages: what a guest's tools want to know of them.

print(packages([Counters], "1.0.0")["acme:metrics"])
"""

import re
from collections.abc import Iterable

from coop.wit.interface import Exported, Interface
from coop.wit.types import escaped

__all__ = ["packages"]

_TOKEN = re.compile(r"([%\w][\w-]*)(\s*:)?|->|[<>(){},]")
_PART = re.compile(r"[a-z][a-z0-9-]*")


def packages(interfaces: Iterable[type[Interface]], version: str = "") -> dict[str, str]:
    """Return the text of each package that the interfaces belong to, by its name without the version.

    Raises: ValueError for a function without a signature.
    """
    suffix = f"@{version}" if version else ""
    found: dict[str, list[str]] = {}
    for interface in interfaces:
        package = interface.name.partition("/")[0]
        lines = found.setdefault(package, [f"package {_spelled(package)}{suffix};"])
        lines += ["", *_interface(interface, suffix)]
    return {package: "\n".join(lines) + "\n" for package, lines in found.items()}


def _interface(interface: type[Interface], suffix: str) -> list[str]:
    package, _, own = interface.name.partition("/")
    lines = [f"interface {escaped(own)} {{"]
    for name, origin in interface.uses.items():
        used, original = origin if isinstance(origin, tuple) else (origin, name)
        there, _, short = used.name.partition("/")
        source = escaped(short) if there == package else _spelled(used.name) + suffix
        renamed = "" if name == original else f" as {escaped(name)}"
        lines.append(f"  use {source}.{{{escaped(original)}{renamed}}};")
    lines += [f"  {_named(name, text)}" for name, text in interface.types.items()]
    functions = interface.exported()
    for resource in interface.resources:
        lines += _resource(resource, functions)
    for name, exported in functions.items():
        if "[" not in name:
            lines.append(f"  {escaped(name)}: {_func(name, exported)};")
    return [*lines, "}"]


def _named(name: str, text: str) -> str:
    """Return the declaration of a type that has a name."""
    text = _marked(text)
    kind, _, rest = text.partition(" ")
    if kind in ("record", "variant", "enum", "flags"):
        return f"{kind} {escaped(name)} {rest}"
    return f"type {escaped(name)} = {text};"


def _resource(resource: str, functions: dict[str, Exported]) -> list[str]:
    lines = [f"  resource {escaped(resource)} {{"]
    for name, exported in functions.items():
        kind, _, rest = name.partition("]")
        owner, _, method = rest.partition(".")
        if owner != resource:
            continue
        if kind == "[constructor":
            signature = _func(name, exported)
            lines.append(f"    constructor{signature.removeprefix('func').partition(' -> ')[0]};")
        elif kind == "[method":
            lines.append(f"    {escaped(method)}: {_func(name, exported)};")
        elif kind == "[static":
            lines.append(f"    {escaped(method)}: static {_func(name, exported)};")
    return [*lines, "  }"]


def _func(name: str, exported: Exported) -> str:
    # Types keep the names that the signature has for them: to a compiler of WIT an alias is another type.
    if exported.text is None:
        raise ValueError(f"function {name} has no signature")
    return _marked(exported.text)


def _marked(text: str) -> str:
    """Return a type's text with a percent sign before each name that is a word of WIT's.

    A name stands before a colon, or first in braces and behind the commas there; other words are types.
    """
    opened, last = [""], ""

    def mark(found: re.Match[str]) -> str:
        nonlocal last
        before, last = last, found[0]
        if found[1] is None:
            if last in "<({":
                opened.append(last)
            elif last in ">)}":
                opened.pop()
        elif found[2] or (opened[-1] == "{" and before in "{,"):
            return escaped(found[1]) + (found[2] or "")
        return last

    return _TOKEN.sub(mark, text)


def _spelled(name: str) -> str:
    """Return the full name of a package or an interface as WIT spells it."""
    return _PART.sub(lambda found: escaped(found[0]), name)
