"""From the options of a command line to a plan."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import click

import coop
from coop import logs
from coop.cli.passed import OPTION as PASSED
from coop.cli.passed import Passed, take_passed
from coop.cli.plan import NetworkPlan, Plan, UsageError
from coop.cli.settings import TABLES, Settings, list_help, read_list
from coop.net.address import UNIX

__all__ = ["with_plan"]

log = logs.Log("coop.cli")

_LISTS = {"wasm": "-W", "wasi": "-S", "codegen": "-C", "optimize": "-O", "debug": "-D"}
_SOCKETS = {
    "tcplisten": ("listen", ""),
    "unixlisten": ("listen", UNIX),
    "tcpconnect": ("connect", ""),
    "unixconnect": ("connect", UNIX),
}
"""Options for sockets: the setting they add to, and what makes their value an address."""


def _settings(order: Sequence[str | None], given: Mapping[str, Any]) -> Settings:
    """Read every list in the order in which they stand; --tcplisten counts as -S tcplisten."""
    settings = Settings(listen_fds=given.get("listen_fds", False))
    values = {name: iter(given.get(name, ())) for name in (*_LISTS, *_SOCKETS)}
    for name in order:
        if name in _SOCKETS:
            settings_field, prefix = _SOCKETS[name]
            getattr(settings, settings_field).append(prefix + next(values[name]))
        elif name in _LISTS:
            flag, text = _LISTS[name], next(values[name])
            if text == "help":
                click.echo(list_help(flag))
                raise click.exceptions.Exit(0)
            try:
                read_list(flag, text, settings)
            except ValueError as error:
                raise UsageError(str(error)) from None
    for spelled in settings.unused:
        log.info("accepted; changes nothing here", setting=spelled)
    return settings


def with_plan(ctx: click.Context, given: Mapping[str, Any], act: Callable[[Plan], int]) -> int:
    """Log as much as is asked for, make a plan of what was given, and act on it.

    Raises: UsageError; what `act` raises.
    """
    if given["verbose"]:
        logs.show(given["verbose"])
    settings = _settings(ctx.meta["coop.order"], given)
    if not given["guest"]:
        raise UsageError(f"no guest is named (coop {ctx.info_name} --help tells more)")
    passed = take_passed(os.environ, os.getpid()) if settings.listen_fds else Passed()
    if passed.connected and settings.listen:
        # Those that were passed come first, as the guest is told, and those that listen do.
        raise UsageError(f"{PASSED}: a connection was passed, and cannot stand beside sockets that listen")
    with closing(passed):
        return act(_plan(given, settings, passed))


def _plan(given: Mapping[str, Any], settings: Settings, passed: Passed) -> Plan:
    path, argv0 = given["guest"], given["argv0"]
    if path == "-":  # as for wasmtime
        path, argv0 = "/dev/stdin", argv0 or "-"
    return Plan(
        path=path,
        args=given.get("args", ()),
        argv0=argv0,
        dirs=_dirs(given["dirs"]),
        env=passed.env | _env(given["env"], settings.inherit_env),
        listen=[*passed.listening, *settings.listen],
        connect=[*passed.connected, *settings.connect],
        limits=_limits(settings, is_server=bool(passed.listening or settings.listen)),
        server_limits=_limits(settings, is_server=True),
        max_wasm_stack=settings.max_wasm_stack,
        dense=settings.dense,
        exceptions=settings.exceptions,
        use_cache=settings.use_cache,
        network=NetworkPlan(
            settings.inherit_network,
            settings.tcp,
            settings.udp,
            given["allow_connect"],
            given["allow_listen"],
            given["allow_name"],
            settings.look_up,
        ),
        invoke=given.get("invoke"),
        poller=given["poller"],
        trace=given["verbose"] > 1,
        timeline=given["timeline"],
    )


def _dirs(texts: Sequence[str]) -> list[coop.Dir]:
    found: dict[str, coop.Dir] = {}
    for text in texts:
        host, *more = text.split("::")
        if not host or "" in more or len(more) > 2 or more[1:] not in ([], ["ro"]):
            raise UsageError(f"--dir {text}: HOST, HOST::GUEST or HOST::GUEST::ro wanted")
        if more and more[0].endswith(":ro"):
            raise UsageError(f"--dir {text}: two colons stand before ro")
        directory = coop.Dir(host, more[0] if more else None, read_only=len(more) == 2)
        if directory.guest_name in found:
            raise UsageError(
                f"--dir {text}: another directory has the guest name {directory.guest_name!r} already"
            )
        found[directory.guest_name] = directory
        try:
            os.close(os.open(host, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            is_short = isinstance(error, FileNotFoundError) and ":" in host
            hint = " (HOST::GUEST has two colons)" if is_short else ""
            raise coop.CoopError(f"--dir {text}: {error.strerror}{hint}") from None
    return list(found.values())


def _env(texts: Sequence[str], inherit: bool) -> dict[str, str]:
    found = dict(os.environ) if inherit else {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"--env {text}: NAME or NAME=VALUE wanted")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def _limits(settings: Settings, *, is_server: bool) -> coop.Limits:
    limits = coop.Limits.for_server() if is_server else coop.Limits()
    if settings.timeout is not None:
        # Whoever names a time has decided how long the guest may compute as well.
        limits = replace(limits, wall_time=settings.timeout, cpu_time=None)
    if settings.memory is not None:
        limits = replace(limits, memory=settings.memory)
    if settings.table_elements is not None:
        limits = replace(limits, table_elements=settings.table_elements)
    return limits


assert set(_LISTS.values()) == set(TABLES)
