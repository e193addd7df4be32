"""`coop doctor`: what a guest imports, what of it is given, what is missing, in words; nothing is run.

The report is plain text, coloured on a terminal.  Names in a file are whatever its
maker wrote: none reaches a terminal before its control characters are made visible.
"""

import os
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import click

from coop.cli.finding import OFFERED, WASI, Finding, Level, Patient, spelled
from coop.cli.findings import findings
from coop.cli.imports import GROUPS, MEANINGS, group_of, some
from coop.cli.plan import Plan
from coop.engine.anatomy import Anatomy, read_anatomy
from coop.engine.codefile import read_code
from coop.errors import printable
from coop.logs import wants_colours
from coop.net.address import parse_address, unix_name
from coop.net.address import shown as shown_address

WIDTH = 100
_LONGEST_WORD = 200
_LABEL = 30

_COLOURS = {Level.MISSING: "red", Level.TROUBLE: "red", Level.NOTE: "yellow"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report: a label, what it says, and how it looks on a terminal."""

    label: str
    text: str = ""
    colour: str | None = None
    is_heading: bool = False


def examine(plan: Plan) -> int:
    """Print the report on the guest of `plan`; return 0 if it will run, 1 if something is missing.

    Raises: OSError if the file cannot be read; BadModule if it is neither wasm nor its text; ValueError
    for an address that is none, or a size; UsageError for a place that is none.
    """
    for address in (*plan.listen, *plan.connect):
        if isinstance(address, str) and unix_name(address) is None:
            parse_address(address)
    patient = Patient(read_anatomy(read_code(plan.path), plan.path), plan)
    if patient.anatomy.is_component:
        from coop.cli.componentrun import network_of  # its import takes as long as half of coop's

        network_of(plan)
    found = findings(patient)
    for line in _report(patient, found):
        _print(line)
    return 1 if any(finding.level is not Level.NOTE for finding in found) else 0


def _report(patient: Patient, found: list[Finding]) -> Iterator[Line]:
    yield Line(f"{patient.plan.path}: {_what(patient)}", is_heading=True)
    yield Line("imports", is_heading=True)
    yield from _imports(patient.anatomy)
    yield Line("exports", is_heading=True)
    yield from _exports(patient)
    yield Line("given", is_heading=True)
    yield from _given(patient.plan, patient.anatomy.is_component)
    if found:
        yield Line("findings", is_heading=True)
    for finding in found:
        yield Line(f"  {finding.level.value}", finding.text, _COLOURS[finding.level])
    yield _verdict(found)


def _what(patient: Patient) -> str:
    kind = "a component" if patient.anatomy.is_component else "a module"
    made_by = f"made by {patient.made_by}" if patient.made_by else "its maker is not said in it"
    return f"{kind} of {len(patient.anatomy.wasm):,} bytes, {made_by}"


def _imports(anatomy: Anatomy) -> Iterator[Line]:
    modules: dict[str, dict[str, None]] = {}
    for wanted in anatomy.imports:
        modules.setdefault(wanted.module, {})[wanted.name] = None  # some linkers import one function twice
    if anatomy.is_component:
        yield Line("  interfaces", some(list(modules)) or "none")
    elif not modules:
        yield Line("  nothing")
    else:
        for module, names in modules.items():
            yield from _module(module, list(names))


def _module(module: str, names: list[str]) -> Iterator[Line]:
    count = f"{len(names)} {'import' if len(names) == 1 else 'imports'}"
    if module not in WASI:
        yield Line(f"  {module}", f"{count}, not offered here: {some(names)}", "red")
        return
    yield Line(f"  {module}", f"{MEANINGS[module]}, {count}")
    for words in dict.fromkeys([*(words for words, _ in GROUPS), "unknown"]):
        members = [name for name in names if group_of(name) == words]
        here = [name for name in members if (module, name) in OFFERED]
        if here:
            yield Line(f"    {words}", ", ".join(here))
        if absent := [name for name in members if name not in here]:
            yield Line(f"    {words}", f"not offered here: {some(absent)}", "red")


def _exports(patient: Patient) -> Iterator[Line]:
    words = {
        "": "one without a name (a program)",
        "_start": "_start (a program)",
        "_initialize": "_initialize (a library)",
    }
    exports = patient.anatomy.exports
    starts = [words[name] for name in exports if name in words]
    others = [_export(patient, name, kind) for name, kind in exports.items() if name not in words]
    yield Line("  names", some([*starts, *others]) or "none")


def _export(patient: Patient, name: str, kind: str) -> str:
    functype = patient.types.get(name)
    if functype is not None:
        return f"{name}{spelled(functype)}"
    return name if kind in {"function", "interface", name} else f"{name} ({kind})"


def _given(plan: Plan, is_component: bool) -> Iterator[Line]:
    yield Line("  standard streams", "those of this command")
    yield Line("  arguments", f"{len(plan.args)}" if plan.args else "none")
    yield Line("  variables", some(sorted(plan.env)) or "none (--env NAME gives one)")
    numbered = enumerate((*plan.listen, *plan.connect), 3)
    for fd, asked in numbered:
        verb = "listens, non-blocking" if fd < 3 + len(plan.listen) else "is connected"
        where = asked if isinstance(asked, str) else shown_address(asked.getsockname())
        yield Line("  sockets", f"fd {fd}: {where}, {verb}")
    if is_component:
        yield Line("  network", _network(plan) or "nothing (--allow-connect HOST:PORT allows something)")
    elif not plan.listen and not plan.connect:
        yield Line("  sockets", "none (--tcplisten HOST:PORT gives one)")
    for fd, entry in enumerate(plan.dirs, 3 + len(plan.listen) + len(plan.connect)):
        how = " (read-only)" if entry.read_only else ""
        yield Line("  directories", f"fd {fd}: {os.fspath(entry.host)}, as {entry.guest_name}{how}")
    if not plan.dirs:
        yield Line("  directories", "none (--dir PATH gives one)")


def _network(plan: Plan) -> str:
    asked = plan.network
    if asked.inherit:
        allowed = ["everything"]
    else:
        allowed = [f"connect {place}" for place in asked.connect] + [
            f"listen {place}" for place in asked.listen
        ]
    return ", ".join([*allowed, *(f"look up {name}" for name in asked.known)])


def _verdict(found: list[Finding]) -> Line:
    levels = {finding.level for finding in found}
    if Level.MISSING in levels:
        return Line("verdict", "it will not run like this: see what is missing", "red")
    if Level.TROUBLE in levels:
        return Line("verdict", "it will start, and then not work: see the trouble", "red")
    return Line("verdict", "it will run", "green")


def _print(line: Line) -> None:
    label, text = _visible(line.label), _visible(line.text)
    if not text:
        _echo(click.style(_encodable(label), bold=line.is_heading))
        return
    wide = textwrap.wrap(text, WIDTH - _LABEL, break_long_words=False, break_on_hyphens=False)
    first = click.style(_encodable(f"{label:<{_LABEL - 1}} "), fg=line.colour)
    _echo(first + _encodable(wide[0]))
    for more in wide[1:]:
        _echo(" " * _LABEL + _encodable(more))


def _echo(styled: str) -> None:
    click.echo(styled, color=sys.stdout is not None and wants_colours(sys.stdout))


def _visible(text: str) -> str:
    """Return a text in which nothing commands a terminal, and no word is endless."""
    return re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda word: f"{word[0][:_LONGEST_WORD]}...", printable(text))


def _encodable(text: str) -> str:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
