"""wasi:io/error: how a stream tells what went wrong."""

import errno as codes

from coop.wit import Case, Err, Resource, function

__all__ = ["CLOSED", "Error", "failed"]

CLOSED = Case("closed")


class Error(Resource):
    """wasi:io/error: what went wrong, in words; and the system's error for those who know its kind.

    A guest may keep one for ever: wasi-libc never drops the error of a connection that was reset.
    """

    __slots__ = ("cause",)

    _wit_is_small = True

    def __init__(self, cause: BaseException) -> None:
        super().__init__()
        self.cause = cause
        _forget_frames(cause)

    @function("func() -> string", parks=False)
    def to_debug_string(self) -> str:
        """Say what went wrong, for people."""
        return str(self.cause) or type(self.cause).__name__


def _forget_frames(error: BaseException) -> None:
    """Let go of the calls that an error came through, which hold the stream and the buffer of its try."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        each = left.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            left += (each.__cause__, each.__context__)


def failed(error: OSError) -> Err:
    """Return what a stream says after an error of the system."""
    return Err(CLOSED if _is_gone(error) else Case("last-operation-failed", Error(error)))


def _is_gone(error: OSError) -> bool:
    """Whether a stream has simply ended.  A connection that was reset has not: bytes may be lost."""
    return error.errno in (codes.EPIPE, codes.ESHUTDOWN, codes.ENOTCONN)
