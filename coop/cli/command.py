"""The command `coop`: its options, its help, its exit statuses, and one line for whatever goes wrong."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, NoReturn

import click

import coop
from coop import logs
from coop.address import UNIX
from coop.cli.doctor import examine
from coop.cli.guestrun import run_plan
from coop.cli.passed import OPTION as PASSED
from coop.cli.passed import Passed, take_passed
from coop.cli.plan import (
    BAD_USAGE,
    INTERRUPTED,
    TIMED_OUT,
    TRAPPED,
    NetworkPlan,
    Plan,
    UsageError,
)
from coop.cli.settings import TABLES, Settings, list_help, read_list

POLLERS = ("hostpoll", "oneoff", "pollset")

_SETS = {
    "wall_time": "-W timeout",
    "cpu_time": "-W timeout",
    "memory": "-W max-memory-size",
    "table_elements": "-W max-table-elements",
}
"""Which setting moves a limit."""

log = logs.Log("coop.cli")

_HELP = {"help_option_names": ["-h", "--help"]}
_EPILOG = """\b
Examples:
  coop run hello.wasm one two            arguments after the file are the guest's
  coop run --dir . --env HOME tool.wasm  a directory and a variable
  coop run --dir data::/in::ro tool.wasm ./data, which the guest sees as /in and cannot change
  coop run --tcplisten 127.0.0.1:9999 server.wasm
  coop run --unixlisten /run/app.sock --tcpconnect localhost:5432 server.wasm
  coop run --invoke add sum.wat 1 2      call an export, print what it returns
  coop run --allow-connect 192.0.2.7:443 client.wasm   a component, which connects itself
  coop run -W timeout=2s,max-memory-size=67108864 untrusted.wasm
  coop run -Spreview2=false -Stcplisten=127.0.0.1:0 server.wasm

\b
Exit status:
  the guest's own, 0 to 255 (a larger code becomes 1, with a message)
  1    the guest could not be loaded or started, or another error
  2    bad usage
  124  the guest ran out of time
  130  ^C
  134  the guest trapped
  143  SIGTERM

\b
Environment:
  COOP_CACHE_DIR  where compiled modules are kept (default ~/.cache/coop; empty: nowhere)

A guest may run for an hour and compute for ten minutes; -W timeout=... sets another time for both, and one
that listens has no such limit. A guest gets nothing that is not named: no variable, no directory, no socket.
"""


_DOCTOR_EPILOG = """\b
Examples:
  coop doctor server.wasm
  coop doctor --tcplisten 127.0.0.1:9999 --dir . server.wasm

\b
Exit status:
  0  it will run
  1  something is missing, or it will dead-lock, spin or fail; or the file cannot be read
  2  bad usage
"""


class RunCommand(click.Command):
    """Remembers in which order the options came: listeners of two options are numbered as they stand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse twice; the first time for the order alone."""
        order = self.make_parser(ctx).parse_args(list(args))[2]
        ctx.meta["coop.order"] = [parameter.name for parameter in order]
        return super().parse_args(ctx, args)


@click.group(context_settings=_HELP, invoke_without_command=True)
@click.version_option(coop.__version__, "-V", "--version", message="coop %(version)s")
@click.pass_context
def program(ctx: click.Context) -> int:
    """Run WebAssembly guests as green threads.

    `coop GUEST` is short for `coop run GUEST`; `coop run --help` tells all.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        return BAD_USAGE
    return 0


@program.command(
    "run",
    cls=RunCommand,
    context_settings={**_HELP, "allow_interspersed_args": False, "max_content_width": 110},
    epilog=_EPILOG,
)
@click.option(
    "--dir",
    "dirs",
    metavar="HOST[::GUEST[::ro]]",
    multiple=True,
    help="Let the guest use a directory, under another name if one follows; with ::ro it may only read.",
)
@click.option(
    "--env", metavar="NAME[=VALUE]", multiple=True, help="Give the guest a variable; without a value, ours."
)
@click.option(
    "--tcplisten",
    metavar="HOST:PORT",
    multiple=True,
    help="Listen, and give the guest the socket: fd 3 on, before directories. Port 0 is any, and is printed.",
)
@click.option(
    "--unixlisten",
    metavar="PATH",
    multiple=True,
    help="Listen on a Unix socket; its file goes with the guest. @NAME has no file. Numbered as --tcplisten.",
)
@click.option(
    "--listen-fds",
    is_flag=True,
    help="Give the guest the sockets that the service manager passed (LISTEN_FDS), before the other ones.",
)
@click.option(
    "--tcpconnect",
    metavar="HOST:PORT",
    multiple=True,
    help="Connect before the guest starts, and give it the connection: numbered after those that listen.",
)
@click.option(
    "--unixconnect",
    metavar="PATH",
    multiple=True,
    help="Connect to a Unix socket; @NAME is one without a file. Numbered as --tcpconnect.",
)
@click.option(
    "--allow-connect",
    metavar="HOST:PORT",
    multiple=True,
    help="Let a component connect, and send datagrams, there: an address, a range as 10.0.0.0/8, or *.",
)
@click.option(
    "--allow-listen",
    metavar="HOST:PORT",
    multiple=True,
    help="Let a component listen, and bind sockets, there.",
)
@click.option(
    "--allow-name", metavar="NAME", multiple=True, help="Let a component look up a name, *.NAME or *."
)
@click.option(
    "--invoke",
    metavar="NAME",
    help="Call this export with the arguments, and print its results; in a component, INTERFACE#NAME.",
)
@click.option("--argv0", metavar="NAME", help="What the guest is told is its own name.")
@click.option(
    "-W", "--wasm", metavar="LIST", multiple=True, help="Limits: name=value,... (-W help lists them)."
)
@click.option("-S", "--wasi", metavar="LIST", multiple=True, help="WASI settings (-S help).")
@click.option("-C", "--codegen", metavar="LIST", multiple=True, help="Compiler settings (-C help).")
@click.option("-O", "--optimize", metavar="LIST", multiple=True, help="Optimizer settings (-O help).")
@click.option("-D", "--debug", metavar="LIST", multiple=True, help="Debugging settings (-D help).")
@click.option(
    "--poller",
    type=click.Choice(POLLERS),
    default="hostpoll",
    show_default=True,
    help="What waits when all is idle.",
)
@click.option(
    "-v", "--verbose", count=True, help="Log the life of the guest; -vv: every park, wake and wait."
)
@click.argument("guest", metavar="GUEST", required=False)
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
@click.pass_context
def run(ctx: click.Context, /, **given: Any) -> int:
    """Run GUEST, a .wasm or .wat file, a module or a component, with ARGS until it ends."""
    if given["verbose"]:
        logs.show(given["verbose"])
    name = given["guest"]
    try:
        code = _with_plan(ctx, given, run_plan)
    except KeyboardInterrupt:
        return INTERRUPTED  # click would write a line break for it
    except coop.GuestTrap as trap:
        return _say(f"{name}: the guest trapped: {trap}", TRAPPED)
    except coop.LimitExceeded as error:
        hint = f" ({_SETS[error.limit]}=... sets another)" if error.limit in _SETS else ""
        return _say(f"{name}: {error}{hint}", TIMED_OUT if error.limit in ("wall_time", "cpu_time") else 1)
    except coop.Deadlock as error:
        return _say(f"{name}: {str(error).partition(chr(10))[0]}", 1)
    # The low byte of a larger code might be 0, which would say that all is well.
    return code if code < 256 else _say(f"{name}: the guest's exit code {code} is above 255", 1)


@program.command(
    "doctor",
    cls=RunCommand,
    params=list(run.params),
    context_settings=run.context_settings,
    epilog=_DOCTOR_EPILOG,
)
@click.pass_context
def doctor(ctx: click.Context, /, **given: Any) -> int:
    """Say in words what GUEST imports, what of it these options give, and what is missing.

    Takes the options of `coop run`. Nothing is run, opened for the guest or listened on.
    """
    return _with_plan(ctx, given, examine)


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
    settings = Settings(listen_fds=given["listen_fds"])
    values = {name: iter(given[name]) for name in (*_LISTS, *_SOCKETS)}
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


def _with_plan(ctx: click.Context, given: Mapping[str, Any], act: Callable[[Plan], int]) -> int:
    settings = _settings(ctx.meta["coop.order"], given)
    if given["guest"] is None:
        raise UsageError(f"no guest is named (coop {ctx.info_name} --help tells more)")
    passed = take_passed(os.environ, os.getpid()) if settings.listen_fds else Passed()
    if passed.connected and settings.listen:
        # Those that were passed come first, as the guest is told, and those that listen do.
        raise UsageError(f"{PASSED}: a connection was passed, and cannot stand beside sockets that listen")
    with closing(passed):
        return act(_plan(given, settings, passed))


def _plan(given: Mapping[str, Any], settings: Settings, passed: Passed) -> Plan:
    return Plan(
        path=given["guest"],
        args=given["args"],
        argv0=given["argv0"],
        dirs=_dirs(given["dirs"]),
        env=passed.env | _env(given["env"], settings.inherit_env),
        listen=[*passed.listening, *settings.listen],
        connect=[*passed.connected, *settings.connect],
        limits=_limits(settings, is_server=bool(passed.listening or settings.listen)),
        max_wasm_stack=settings.max_wasm_stack,
        use_cache=settings.use_cache,
        network=NetworkPlan(
            settings.inherit_network,
            settings.tcp,
            settings.udp,
            given["allow_connect"],
            given["allow_listen"],
            ("*",) if settings.look_up else given["allow_name"],
        ),
        invoke=given["invoke"],
        poller=given["poller"],
        trace=given["verbose"] > 1,
    )


def _dirs(texts: Sequence[str]) -> list[coop.Dir]:
    found: dict[str, coop.Dir] = {}
    for text in texts:
        host, *more = text.split("::")
        if not host or "" in more or len(more) > 2 or more[1:] not in ([], ["ro"]):
            raise UsageError(f"--dir {text}: HOST, HOST::GUEST or HOST::GUEST::ro wanted")
        directory = coop.Dir(host, more[0] if more else None, read_only=len(more) == 2)
        if directory.guest_name in found:
            raise UsageError(
                f"--dir {text}: another directory has the guest name {directory.guest_name!r} already"
            )
        found[directory.guest_name] = directory
        try:
            os.close(os.open(host, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise coop.CoopError(f"--dir {text}: {error.strerror}") from None
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


# -- from how it ended to an exit status


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line `argv`, or the process's own, and end with its exit status."""
    sys.exit(_status(sys.argv[1:] if argv is None else argv))


_OF_PROGRAM = {"run", "doctor", "-h", "--help", "-V", "--version"}


def _status(argv: Sequence[str]) -> int:
    if argv and argv[0] not in _OF_PROGRAM:
        argv = ["run", *argv]
    try:
        return int(program.main(list(argv), "coop", standalone_mode=False) or 0)
    except (UsageError, click.UsageError) as error:
        return _say(_usage_words(error), BAD_USAGE)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except coop.BugError:
        raise
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        return _say(f"{where}{error.strerror or error}", 1)
    except coop.CoopError as error:
        return _say(str(error), 1)
    except ValueError as error:
        # A value that only its user could judge: an address, the size of a stack, a NUL in an argument.
        return _say(str(error), BAD_USAGE)


def _usage_words(error: UsageError | click.UsageError) -> str:
    if isinstance(error, UsageError):
        return str(error)
    words = " ".join(error.format_message().split()).removesuffix(".")
    return f"{words[:1].lower()}{words[1:]} (coop run --help tells more)"


def _say(words: str, status: int) -> int:
    click.echo(f"coop: {words}", err=True)
    return status


assert set(_LISTS.values()) == set(TABLES)
