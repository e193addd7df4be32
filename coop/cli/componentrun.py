"""One component from its options to its exit status."""

import re
from collections.abc import Sequence
from typing import Any

import click

import coop
from coop.cli.plan import Plan, Termination, UsageError
from coop.cli.tell import tell
from coop.cli.wave import read, read_arguments, show
from coop.engine.component import Component
from coop.scheduler import scheduler
from coop.wasip2 import Guest, Network
from coop.wit.types import Func, Result
from coop.wit.types import show as show_type
from coop.wit.values import Err

_RUN, _SERVE = "wasi:cli/run", "wasi:http/incoming-handler"
_RUN_TYPE = Func((), Result(None, None))


def prepare(plan: Plan, component: Component) -> "ComponentRun":
    """Check what was asked for against the component.  Raises: UsageError; LinkError."""
    refuse_sockets(plan)
    return ComponentRun(plan, component)


def refuse_sockets(plan: Plan) -> None:
    """Raise UsageError if a component is to be given sockets."""
    for option, given in (("listen", plan.listen), ("connect", plan.connect)):
        if given:
            raise UsageError(
                f"--tcp{option}, --unix{option}: {plan.path} is a component, which opens its sockets itself"
                f" (--allow-{option} or -S inherit-network lets it)"
            )


class ComponentRun:
    """What is to be run, checked: call it within `coop.run`."""

    def __init__(self, plan: Plan, component: Component) -> None:
        self._plan = plan
        self._component = component
        self._network = network_of(plan)
        self._interface, self._function, self._values = self._find_call()

    def _find_call(self) -> tuple[str, str, list[Any]]:
        plan, component = self._plan, self._component
        if plan.invoke is None:
            exported = {name.partition("@")[0] for name in component.exports}
            if _RUN not in exported:
                others = ", ".join(component.exports) or "nothing"
                hint = ", coop serve serves HTTP with it" if _SERVE in exported else ""
                raise coop.LinkError(
                    f"{plan.path}: {_RUN} is not exported, so it is no command (it exports {others};"
                    f" --invoke INTERFACE#FUNCTION calls one{hint})"
                )
            component.require(_RUN, "run", _RUN_TYPE)
            return _RUN, "run", []
        name, parenthesis, rest = plan.invoke.partition("(")
        interface, function = self._place(name.strip())
        export = component.export(interface, function)
        if parenthesis:
            return interface, function, self._called(export.type, parenthesis + rest)
        params = export.type.params
        if len(params) != len(plan.args):
            raise coop.LinkError(
                f"--invoke {plan.invoke}: it is {export.type} and takes {len(params)} arguments,"
                f" not {len(plan.args)}"
            )
        values = []
        for (name, kind), text in zip(params, plan.args, strict=True):
            try:
                values.append(read(kind, text))
            except ValueError as error:
                raise coop.LinkError(
                    f"--invoke {plan.invoke}: argument {name}, a {show_type(kind)}: {error}"
                ) from None
        return interface, function, values

    def _place(self, name: str) -> tuple[str, str]:
        """Return the interface and the name of a function; one that only one interface has needs no more."""
        interface, sign, function = name.rpartition("#")
        if sign or not name or name in self._component.exports:
            return interface, function
        places = [item.name for item in self._component.exports.values() if name in item.functions]
        if len(places) > 1:
            raise coop.LinkError(
                f"--invoke {name}: several interfaces have it; {' or '.join(f'{p}#{name}' for p in places)}?"
            )
        return (places[0] if places else ""), name

    def _called(self, kind: Func, arguments: str) -> list[Any]:
        """Read the arguments of a call as wasmtime spells one: `add(1, 2)`."""
        if self._plan.args:
            raise UsageError(
                f"--invoke {self._plan.invoke}: its arguments stand in parentheses, and"
                f" {len(self._plan.args)} more after the file"
            )
        try:
            return read_arguments([each for _, each in kind.params], arguments)
        except ValueError as error:
            raise coop.LinkError(f"--invoke {self._plan.invoke}: it is {kind}: {error}") from None

    def __call__(self, termination: Termination) -> int:
        """Run the guest and return its exit code.  Raises: what `Guest.run` raises."""
        plan = self._plan
        guest = Guest(
            self._component,
            args=() if plan.invoke is not None else plan.args,
            name=plan.argv0,
            env=plan.env,
            dirs=plan.dirs,
            network=self._network,
            stdin="inherit",
            stdout="inherit",
            stderr="inherit",
            limits=limits_of(plan, self._network),
        )
        termination.will_end(scheduler(), guest)
        with guest:
            if plan.invoke is None:
                return guest.run()
            try:
                result = guest.call(self._interface, self._function, *self._values)
            except coop.GuestExit as error:
                return error.code
            except Err as error:
                return self._print_error(error)
            self._print(result)
            return 0

    def _type(self) -> Func:
        return self._component.export(self._interface, self._function).type

    def _print(self, result: Any) -> None:
        kind = self._type().result
        if kind is None:
            return
        if isinstance(kind, Result):
            kind = kind.ok
        if kind is not None:
            click.echo(show(kind, result))

    def _print_error(self, error: Err) -> int:
        kind = self._type().result
        kind = kind.err if isinstance(kind, Result) else None
        tell("err" if kind is None else f"err({show(kind, error.value)})")
        return 1


def limits_of(plan: Plan, network: Network | None) -> coop.Limits:
    """Return what a guest may use: one that may listen is a server, which is meant to stay."""
    return plan.server_limits if network is not None and network.listen else plan.limits


def network_of(plan: Plan) -> Network | None:
    """Return what of the network was allowed; None: nothing.  Raises: UsageError."""
    asked = plan.network
    if asked.inherit:
        connect: Sequence[str] = ("*:*",)
        listen: Sequence[str] = ("*:*",)
    else:
        connect, listen = asked.connect, asked.listen
    if not (connect or listen or asked.known):
        return None
    try:
        return Network(connect=connect, listen=listen, names=asked.known, tcp=asked.tcp, udp=asked.udp)
    except ValueError as error:
        words = str(error).removeprefix("network ")
        raise UsageError("--allow-" + re.sub("^names ", "name ", words)) from None
