"""wasi:cli: a command's arguments, environment, streams and end."""

from typing import Any, ClassVar

from coop.errors import GuestExit
from coop.wasip2.io import Streams
from coop.wasip2.reading import FileInput, InputStream
from coop.wasip2.world import WorldInterface
from coop.wasip2.writing import FileOutput, OutputStream
from coop.wit import Err, Ok, Resource, function

__all__ = ["INTERFACES"]


class Environment(WorldInterface):
    """wasi:cli/environment."""

    name = "wasi:cli/environment"

    @function("func() -> list<tuple<string, string>>", parks=False)
    def get_environment(self) -> list[tuple[str, str]]:
        """Return the environment, in order."""
        return list(self.world.env)

    @function("func() -> list<string>", parks=False)
    def get_arguments(self) -> list[str]:
        """Return the command line, the program's name first."""
        return list(self.world.args)

    @function("func() -> option<string>", parks=False)
    def initial_cwd(self) -> str | None:
        """Return the directory that relative paths begin at: none is given."""
        return None


class Exit(WorldInterface):
    """wasi:cli/exit."""

    name = "wasi:cli/exit"

    @function("func(status: result)", parks=False)
    def exit(self, status: Ok | Err) -> None:
        """End the guest, with 0 or 1."""
        raise GuestExit(0 if isinstance(status, Ok) else 1)

    @function("func(status-code: u8)", parks=False)
    def exit_with_code(self, code: int) -> None:
        """End the guest with a code of its own."""
        raise GuestExit(code)


class StandardOutput(FileOutput):
    """A stream of which the end of a command loses nothing; see `World.await_output`."""

    __slots__ = ()

    def _keep(self, data: bytes) -> None:
        super()._keep(data)
        self.world.unwritten.add(self)

    def _drain(self) -> None:
        try:
            super()._drain()
        finally:
            self.world.unwritten.discard(self)


class _Stdin(WorldInterface):
    """wasi:cli/stdin."""

    name = "wasi:cli/stdin"
    uses: ClassVar = {"input-stream": Streams}

    @function("func() -> input-stream", parks=False)
    def get_stdin(self) -> InputStream:
        """Return a stream of what the guest is given to read."""
        return FileInput(self.world, self.world.stream(0).file.retain())


class _Stdout(WorldInterface):
    """wasi:cli/stdout."""

    name = "wasi:cli/stdout"
    uses: ClassVar = {"output-stream": Streams}

    @function("func() -> output-stream", parks=False)
    def get_stdout(self) -> OutputStream:
        """Return a stream to where the guest's output goes."""
        return StandardOutput(self.world, self.world.stream(1).file.retain())


class _Stderr(WorldInterface):
    """wasi:cli/stderr."""

    name = "wasi:cli/stderr"
    uses: ClassVar = {"output-stream": Streams}

    @function("func() -> output-stream", parks=False)
    def get_stderr(self) -> OutputStream:
        """Return a stream to where the guest's messages go."""
        return StandardOutput(self.world, self.world.stream(2).file.retain())


class Terminal(Resource):
    """A terminal, of which nothing can be asked."""

    __slots__ = ()


class _TerminalInput(WorldInterface):
    """wasi:cli/terminal-input."""

    name = "wasi:cli/terminal-input"
    resources: ClassVar = {"terminal-input": Terminal}


class _TerminalOutput(WorldInterface):
    """wasi:cli/terminal-output."""

    name = "wasi:cli/terminal-output"
    resources: ClassVar = {"terminal-output": Terminal}


def _terminal(number: int, name: str, origin: type[WorldInterface]) -> type[WorldInterface]:
    """Make the interface that says whether a standard stream is a terminal."""

    def get(self: Any) -> Terminal | None:
        return Terminal() if self.world.stream(number).is_terminal else None

    (direction,) = origin.resources
    mark = function(f"func() -> option<{direction}>", name=f"get-terminal-{name}", parks=False)
    members = {"name": f"wasi:cli/terminal-{name}", "uses": {direction: origin}, "get": mark(get)}
    return type(f"_Terminal{name.capitalize()}", (WorldInterface,), members)


INTERFACES: tuple[type[WorldInterface], ...] = (
    Environment,
    Exit,
    _Stdin,
    _Stdout,
    _Stderr,
    _TerminalInput,
    _TerminalOutput,
    _terminal(0, "stdin", _TerminalInput),
    _terminal(1, "stdout", _TerminalOutput),
    _terminal(2, "stderr", _TerminalOutput),
)
