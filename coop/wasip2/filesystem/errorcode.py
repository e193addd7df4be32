"""wasi:filesystem's error-code: one total function from the host's errors to its names.

What no name stands for is `io`.  A host or guest that has no descriptor left is short of a
resource, and `insufficient-memory` says so best; `io` would send people looking for a broken disk.
"""

import errno as host
from collections.abc import Callable
from functools import wraps
from typing import Any

from coop.wit import Err, Later, function

__all__ = ["ERROR_CODE", "FROM_HOST", "error_code", "fallible"]

_NAMES = {
    "access": "EACCES",
    "would-block": "EAGAIN",
    "already": "EALREADY",
    "bad-descriptor": "EBADF",
    "busy": "EBUSY",
    "deadlock": "EDEADLK",
    "quota": "EDQUOT",
    "exist": "EEXIST",
    "file-too-large": "EFBIG",
    "illegal-byte-sequence": "EILSEQ",
    "in-progress": "EINPROGRESS",
    "interrupted": "EINTR",
    "invalid": "EINVAL",
    "io": "EIO",
    "is-directory": "EISDIR",
    "loop": "ELOOP",
    "too-many-links": "EMLINK",
    "message-size": "EMSGSIZE",
    "name-too-long": "ENAMETOOLONG",
    "no-device": "ENODEV",
    "no-entry": "ENOENT",
    "no-lock": "ENOLCK",
    "insufficient-memory": "ENOMEM",
    "insufficient-space": "ENOSPC",
    "not-directory": "ENOTDIR",
    "not-empty": "ENOTEMPTY",
    "not-recoverable": "ENOTRECOVERABLE",
    "unsupported": "ENOTSUP",
    "no-tty": "ENOTTY",
    "no-such-device": "ENXIO",
    "overflow": "EOVERFLOW",
    "not-permitted": "EPERM",
    "pipe": "EPIPE",
    "read-only": "EROFS",
    "invalid-seek": "ESPIPE",
    "text-file-busy": "ETXTBSY",
    "cross-device": "EXDEV",
}
"""Each case of the enumeration in its order, and what the host calls the same."""

ERROR_CODE = f"enum {{{', '.join(_NAMES)}}}"
"""The type, as WIT spells it."""

FROM_HOST: dict[int, str] = {
    **{getattr(host, theirs): name for name, theirs in _NAMES.items()},
    host.ENOSYS: "unsupported",
    host.EOPNOTSUPP: "unsupported",
    host.EMFILE: "insufficient-memory",
    host.ENFILE: "insufficient-memory",
}
"""Host errno -> error-code; `error_code` adds the default."""


def error_code(error: OSError) -> str:
    """Return the name that a guest gets for an error of the host."""
    return FROM_HOST.get(error.errno or 0, "io")


def fallible(signature: str, *, parks: bool | None = False) -> Callable[[Callable[..., Any]], Any]:
    """Mark a function whose result may be an error-code: what the host raises becomes that."""

    def mark(call: Callable[..., Any]) -> Any:
        @wraps(call)
        def answer(self: object, *args: Any) -> Any:
            try:
                found = call(self, *args)
            except (OSError, MemoryError) as error:
                raise _refused(error) from error
            if found.__class__ is Later:
                later = found.call
                return Later(lambda: _caught(later))
            return found

        return function(signature, parks=parks)(answer)

    return mark


def _caught(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (OSError, MemoryError) as error:
        raise _refused(error) from error


def _refused(error: OSError | MemoryError) -> Err:
    return Err(error_code(error) if isinstance(error, OSError) else "insufficient-memory")
