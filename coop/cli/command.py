"""The command `coop`: its options, its help, its exit statuses, and one line for whatever goes wrong."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

import coop
from coop.cli.doctor import examine
from coop.cli.given import with_plan
from coop.cli.guestrun import run_plan
from coop.cli.plan import BAD_USAGE, INTERRUPTED, TIMED_OUT, TRAPPED, UsageError
from coop.cli.tell import tell
from coop.cli.witfolder import VERSIONS, write_wit
from coop.netpoll import POLLERS

_SETS = {
    "wall_time": "-W timeout",
    "cpu_time": "-W timeout",
    "memory": "-W max-memory-size",
    "table_elements": "-W max-table-elements",
}
"""Which setting moves a limit."""

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
  COOP_CACHE_DIR  where compiled modules are kept (empty: nowhere; default: coop in XDG_CACHE_HOME, which is
                  ~/.cache unless set)

A guest may run for an hour and compute for ten minutes; -W timeout=... sets another time for both, and one
that listens has no such limit. A guest gets nothing that is not named: no variable, no directory, no socket.
"""


_DOCTOR_EPILOG = """\b
Examples:
  coop doctor server.wasm
  coop doctor --tcplisten 127.0.0.1:9999 --dir .::/ server.wasm

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
        tell(ctx.get_help())
        return BAD_USAGE
    return 0


@program.command(
    "run",
    cls=RunCommand,
    short_help="Run a guest until it ends.",
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
    help="Call this export with the arguments, and print its results; in a component, INTERFACE#NAME"
    " or 'NAME(1, \"two\")'.",
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
    type=click.Choice(list(POLLERS)),
    default="hostpoll",
    show_default=True,
    help="What waits when all is idle.",
)
@click.option(
    "-v", "--verbose", count=True, help="Log the life of the guest; -vv: every park, wake and wait."
)
@click.option(
    "--timeline",
    metavar="FILE",
    help="Write who ran when at the end: a picture as .svg, or .json for ui.perfetto.dev.",
)
@click.argument("guest", metavar="GUEST", required=False)
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
@click.pass_context
def run(ctx: click.Context, /, **given: Any) -> int:
    """Run GUEST, a .wasm or .wat file, a module or a component, with ARGS until it ends.

    A GUEST of - is read from standard input.
    """
    name = given["guest"]
    code = _ended(name, lambda: with_plan(ctx, given, run_plan))
    # The low byte of a larger code might be 0, which would say that all is well.
    return code if code < 256 else _say(f"{name}: the guest's exit code {code} is above 255", 1)


def _ended(name: str, act: Callable[[], int]) -> int:
    """Return the exit status of what runs a guest, however that ended."""
    try:
        return act()
    except KeyboardInterrupt:
        return INTERRUPTED  # click would write a line break for it
    except coop.GuestTrap as trap:
        return _say(f"{name}: the guest trapped: {trap}", TRAPPED)
    except coop.LimitExceeded as error:
        hint = f" ({_SETS[error.limit]}=... sets another)" if error.limit in _SETS else ""
        return _say(f"{name}: {error}{hint}", TIMED_OUT if error.limit in ("wall_time", "cpu_time") else 1)
    except coop.Deadlock as error:
        return _say(f"{name}: {str(error).partition(chr(10))[0]}", 1)


_SERVE_EPILOG = """\b
Examples:
  coop serve service.wasm                            on 127.0.0.1:8080
  coop serve --addr 0.0.0.0:80 --dir data service.wasm
  coop serve --tls-cert cert.pem --tls-key key.pem --addr 0.0.0.0:443 service.wasm
  coop serve --reuse 1000 service.wasm               one guest answers up to 1000 requests, one at a time

\b
SIGTERM and ^C let the requests in progress end, for up to ten seconds.
Every request has a fresh guest unless --reuse is given: what one leaves in memory no other finds.
A fresh one may run for an hour and compute for ten minutes; one that is used again, or may listen, has no
such limit. -W timeout=... sets another time for either, for all of a guest's life.

\b
Exit status:
  0  after SIGTERM or ^C, once it listens; before that, as coop run
"""

_WIT_EPILOG = """\b
Examples:
  coop wit wit
  componentize-py -d wit -w command componentize app -o app.wasm
"""

_SHARED = (
    *("dirs", "env", "argv0", "wasm", "wasi", "codegen", "optimize", "debug"),
    *("allow_connect", "allow_listen", "allow_name", "poller", "verbose", "timeline"),
)
"""Options of `coop run` that `coop serve` has as well."""

_SERVE_OPTIONS = [
    click.Option(
        ["--addr"],
        metavar="HOST:PORT",
        default="127.0.0.1:8080",
        show_default=True,
        help="Where to listen, or unix:PATH. Port 0 is any.",
    ),
    click.Option(
        ["--reuse"],
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Requests one guest answers before it is ended, one at a time.",
    ),
    click.Option(["--tls-cert"], metavar="FILE", help="Serve HTTPS with this certificate chain, in PEM."),
    click.Option(["--tls-key"], metavar="FILE", help="The certificate's key, in PEM."),
    click.Option(
        ["--max-connections"],
        type=click.IntRange(1),
        default=1024,
        show_default=True,
        help="Clients at once; others wait.",
    ),
    click.Option(
        ["--max-body"],
        metavar="BYTES",
        type=click.IntRange(0),
        default=1 << 30,
        show_default=True,
        help="The longest body of a request.",
    ),
    click.Argument(["guest"], metavar="GUEST", required=False),
]


@program.command(
    "serve",
    cls=RunCommand,
    short_help="Serve HTTP with a component.",
    params=[*(option for option in run.params if option.name in _SHARED), *_SERVE_OPTIONS],
    context_settings={**_HELP, "max_content_width": 110},
    epilog=_SERVE_EPILOG,
)
@click.pass_context
def serve(ctx: click.Context, /, **given: Any) -> int:
    """Serve HTTP with GUEST, a component that exports wasi:http/incoming-handler."""
    from coop.cli.serve import serve_plan  # its imports take as long as half of coop's

    return _ended(given["guest"], lambda: with_plan(ctx, given, lambda plan: serve_plan(plan, given)))


@program.command(
    "wit",
    short_help="Write the interfaces for who builds components.",
    context_settings=_HELP,
    epilog=_WIT_EPILOG,
)
@click.option(
    "--wasi",
    metavar="VERSION",
    type=click.Choice(VERSIONS),
    default=VERSIONS[-1],
    show_default=True,
    help="The version to write, for tools that need an older one: 0.2.0 to 0.2.12.",
)
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
def wit(folder: Path, wasi: str) -> int:
    """Write the WIT of every interface that a component finds here, for the tools that build one.

    The worlds in it are `command`, for coop run, `service`, for coop serve, and, to be included in worlds
    of your own, `imports` and `http`. A file that it has not written it does not overwrite.
    """
    write_wit(folder, wasi)
    tell(f"wrote {folder}")
    return 0


@program.command(
    "doctor",
    cls=RunCommand,
    short_help="Say whether a guest will run, and why not.",
    params=list(run.params),
    context_settings=run.context_settings,
    epilog=_DOCTOR_EPILOG,
)
@click.pass_context
def doctor(ctx: click.Context, /, **given: Any) -> int:
    """Say in words what GUEST imports, what of it these options give, and what is missing.

    Takes the options of `coop run`. Nothing is run, opened for the guest or listened on.
    """
    return with_plan(ctx, given, examine)


# -- from how it ended to an exit status


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line `argv`, or the process's own, and end with its exit status."""
    sys.exit(_status(sys.argv[1:] if argv is None else argv))


_OF_PROGRAM = {*program.commands, "-h", "--help", "-V", "--version"}


def _status(argv: Sequence[str]) -> int:
    short = argv[0] if argv and argv[0] not in _OF_PROGRAM else None
    if short is not None:
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
        return _say(_file_words(error, short), 1)
    except coop.CoopError as error:
        return _say(str(error), 1)
    except ValueError as error:
        # A value that only its user could judge: an address, the size of a stack, a NUL in an argument.
        return _say(str(error), BAD_USAGE)


def _file_words(error: OSError, short: str | None) -> str:
    """Say what is wrong with a file; `short` is the first word of `coop GUEST`, perhaps a slip."""
    where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
    hint = ""
    if short is not None and short.startswith("-") and error.filename in program.commands:
        hint = f" (options stand behind the command: coop {error.filename} {short} ...)"
    elif short is not None and error.filename == short and short.isalpha():
        hint = " (coop has no command of that name; coop --help lists those it has)"
    return f"{where}{error.strerror or error}{hint}"


def _usage_words(error: UsageError | click.UsageError) -> str:
    if isinstance(error, UsageError):
        return str(error)
    words = " ".join(error.format_message().split()).removesuffix(".")
    where = "coop run" if error.ctx is None else error.ctx.command_path
    return f"{words[:1].lower()}{words[1:]} ({where} --help tells more)"


def _say(words: str, status: int) -> int:
    tell(f"coop: {words}")
    return status
