"""Logging through structlog, quiet unless somebody asked.

A program that has configured structlog gets everything, by its own rules.  In one
that has not, only warnings and errors are shown, on stderr, and what it asked for by name:
a trace of its run.
"""

import os
import sys
from typing import Any, TextIO

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Log:
    """A named logger; each method takes an event and its values.

    shown -- the level from which on it is shown in a program that has not configured structlog
    """

    __slots__ = ("_name", "_shown")

    def __init__(self, name: str, *, shown: str = "warning") -> None:
        self._name, self._shown = name, _LEVELS[shown]

    def tells(self, level: str) -> bool:
        """Whether anything of `level` may be shown: for values that are dear to come by."""
        return _LEVELS[level] >= self._shown or _configured() is not None

    def debug(self, event: str, **values: Any) -> None:
        """Tell what only a study of the scheduler wants."""
        self._emit("debug", event, values)

    def info(self, event: str, **values: Any) -> None:
        """Tell of the life of tasks and guests."""
        self._emit("info", event, values)

    def warning(self, event: str, **values: Any) -> None:
        """Tell what may surprise a user."""
        self._emit("warning", event, values)

    def error(self, event: str, **values: Any) -> None:
        """Tell what went wrong."""
        self._emit("error", event, values)

    def _emit(self, level: str, event: str, values: dict[str, Any]) -> None:
        try:
            self._write(level, event, values)
        except Exception:  # noqa: S110 - there is nowhere to say it
            # A log that cannot be written must neither become a guest's errno nor stop what it tells of.
            pass

    def _write(self, level: str, event: str, values: dict[str, Any]) -> None:
        structlog = _configured()
        if structlog is not None:
            getattr(structlog.get_logger(self._name), level)(event, **values)
        elif _LEVELS[level] >= self._shown and sys.stderr is not None:  # `print` would take stdout for None
            words = " ".join(f"{key}={value!r}" for key, value in values.items())
            print(f"coop: {level}: {event} {words}", file=sys.stderr)


def _configured() -> Any:
    """Return structlog if the program has configured it, or None."""
    # Not imported here: a program that has not imported structlog has not configured it either.
    structlog = sys.modules.get("structlog")
    return structlog if structlog is not None and structlog.is_configured() else None


def shown(error: BaseException) -> str:
    """Return the error's text for a log, also if its own `__repr__` fails."""
    try:
        return repr(error)
    except Exception:
        return f"<{type(error).__name__}, which cannot be shown>"


def wants_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which colours are wanted: NO_COLOR, and TERM=dumb, say no."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show(verbosity: int) -> None:
    """Configure structlog for a command line: 0 warnings, 1 the life of guests, 2 every park and wait."""
    if sys.stderr is None:  # it was closed when Python began
        return
    import structlog

    level = (30, 20, 10)[min(verbosity, 2)]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S.%f"),
            structlog.dev.ConsoleRenderer(colors=wants_colours(sys.stderr)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
