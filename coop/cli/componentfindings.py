"""What may surprise when a component meets what it is given: rules over its modules, imports and exports.

As in `findings`, nothing is compiled or run.
"""

from collections.abc import Iterator, Mapping

from coop.cli.finding import Finding, Patient, missing, note, trouble
from coop.cli.imports import some

_RUN, _SERVE = "wasi:cli/run", "wasi:http/incoming-handler"


def component_findings(patient: Patient) -> Iterator[Finding]:
    """Yield what is to be told of a component."""
    anatomy = patient.anatomy
    if anatomy.trouble:
        yield missing(anatomy.trouble)
    elif reason := patient.objection:
        yield missing(f"the engine refuses a module in it: {reason}")
    yield from _exports(patient)
    yield from _imports(patient)
    yield from _given(patient)


def _unversioned(names: list[str]) -> set[str]:
    return {name.partition("@")[0] for name in names}


def _exports(patient: Patient) -> Iterator[Finding]:
    exports = list(patient.anatomy.exports)
    names = _unversioned(exports)
    if patient.plan.invoke is not None:
        yield from _invoked(patient.plan.invoke, patient.anatomy.exports)
        return
    if _RUN in names:
        return
    if _SERVE in names:
        yield missing(f"it serves HTTP ({_SERVE}) and is no command: coop serve runs it, coop run does not")
    else:
        yield missing(
            f"it does not export {_RUN}, so it is no command; it exports {some(exports) or 'nothing'}"
            " (--invoke INTERFACE#FUNCTION calls one)"
        )


def _invoked(invoke: str, exports: Mapping[str, str]) -> Iterator[Finding]:
    """Say what of an export to call is not there; what is in an interface, its name does not tell."""
    name = invoke.partition("(")[0].strip()
    interface, sign, _ = name.rpartition("#")
    if sign and interface:
        if interface not in exports and interface not in _unversioned(list(exports)):
            yield missing(
                f"it exports no interface {interface}; it exports {some(list(exports)) or 'nothing'}"
            )
    elif name.removeprefix("#") not in exports and (sign or "interface" not in exports.values()):
        yield missing(
            f"it exports no function {name.removeprefix('#')}; it exports {some(list(exports)) or 'nothing'}"
        )


def _imports(patient: Patient) -> Iterator[Finding]:
    from coop.wasip2.interfaces import INTERFACES  # its import takes as long as half of coop's

    offered = {interface.name for interface in INTERFACES}
    wanted = [each.module for each in patient.anatomy.imports]
    newer = [name for name in wanted if name.startswith("wasi:") and not _is_02(name)]
    if newer:
        yield missing(f"it is for another WASI than 0.2: {some(newer)}. Build it for 0.2")
    unknown = [name for name in wanted if name.partition("@")[0] not in offered and name not in newer]
    if unknown:
        yield trouble(
            f"nobody provides {some(unknown)}: the first call of a function there ends the guest (in Python,"
            " coop.ComponentGuest(..., imports=[...]) provides it)"
        )


def _is_02(name: str) -> bool:
    version = name.partition("@")[2]
    return not version or version.startswith("0.2")


def _given(patient: Patient) -> Iterator[Finding]:
    plan, network = patient.plan, patient.plan.network
    names = _unversioned([wanted.module for wanted in patient.anatomy.imports])
    if plan.listen or plan.connect:
        yield missing(
            "it is given sockets, and a component opens its own: --allow-listen and --allow-connect let it"
        )
    uses = any(name.startswith(("wasi:sockets/tcp", "wasi:sockets/udp")) for name in names)
    allowed = network.inherit or network.connect or network.listen
    if uses and not allowed:
        yield note(
            "it can open sockets, and is allowed none: opening one fails (--allow-connect HOST:PORT,"
            " --allow-listen HOST:PORT, -S inherit-network)"
        )
    if allowed and not uses:
        yield note("it is allowed to use the network, and imports no sockets")
    if "wasi:filesystem/preopens" in names and not plan.dirs:
        yield note("it can open files, and is given no directory: opening one fails (--dir gives one)")
    if plan.dirs and "wasi:filesystem/preopens" not in names:
        yield note("it is given a directory, and imports nothing that opens a file")
