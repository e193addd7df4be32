"""One core module from its options to its exit status."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

import coop
from coop.cli.plan import Plan, Termination, UsageError
from coop.cli.tell import tell
from coop.cli.values import arguments, shown
from coop.logs import Log
from coop.net.address import shown as shown_address
from coop.scheduler import scheduler
from coop.slips import instead

log = Log("coop.cli")


def prepare(plan: Plan, module: coop.Module) -> Callable[[Termination], int]:
    """Check what was asked for against the module.  Raises: UsageError; LinkError."""
    network = plan.network
    for option, given in (("connect", network.connect), ("listen", network.listen), ("name", network.names)):
        if given:
            raise UsageError(
                f"--allow-{option}: {plan.path} is a core module, which opens no sockets itself"
                " (--tcplisten and --tcpconnect give it some)"
            )
    return partial(_main, plan, module, _arguments(plan, module))


def _arguments(plan: Plan, module: coop.Module) -> list[int | float]:
    """Return the arguments of the export to call; a check of what the guest must have, too."""
    name = module.entry if plan.invoke is None else plan.invoke
    if name is None:
        return []
    signature = module.exports.get(name)
    if signature is None:
        others = sorted(name for name, kind in module.exports.items() if kind is not None)
        known = "is no function" if name in module.exports else "is not exported"
        hint = instead("--invoke NAME calls one of these:", others)
        raise coop.LinkError(f"{plan.path}: {name} {known}{hint}")
    if plan.invoke is None:
        return []
    try:
        return arguments(signature[0], plan.args)
    except ValueError as error:
        raise UsageError(f"--invoke {name}: {error}") from None


def _main(plan: Plan, module: coop.Module, arguments: Sequence[Any], termination: Termination) -> int:
    guest = coop.Guest(
        module,
        args=() if plan.invoke is not None else plan.args,
        name=plan.argv0,
        env=plan.env,
        dirs=plan.dirs,
        listen=plan.listen,
        connections=plan.connect,
        stdin="inherit",
        stdout="inherit",
        stderr="inherit",
        limits=plan.limits,
    )
    termination.will_end(scheduler(), guest)
    with guest:
        try:
            guest.start()
            _tell_sockets(plan, guest.addresses)
            if plan.invoke is None:
                return guest.run()
            _print_results(module, plan.invoke, guest.call(plan.invoke, *arguments))
        except coop.GuestExit as error:  # its start section may end it, too, and so may its `_initialize`
            return error.code
        return 0


def _tell_sockets(plan: Plan, addresses: Sequence[Any]) -> None:
    """Log the guest's sockets; say where it listens if nobody could know, so that clients find it."""
    for fd, (asked, address) in enumerate(zip(plan.listen, addresses, strict=True), 3):
        if isinstance(asked, str) and asked.endswith(":0") and isinstance(address, tuple):
            tell(f"listening on {shown_address(address)} (fd {fd})")
        else:
            log.info("listening", address=shown_address(address), fd=fd)
    for fd, asked in enumerate(plan.connect, 3 + len(addresses)):
        log.info("connected", address=asked if isinstance(asked, str) else "passed to us", fd=fd)


def _print_results(module: coop.Module, name: str, result: Any) -> None:
    signature = module.exports[name]
    assert signature is not None
    kinds = signature[1]
    values = result if len(kinds) > 1 else (result,)
    for kind, value in zip(kinds, values, strict=False):
        click.echo(shown(kind, value))
