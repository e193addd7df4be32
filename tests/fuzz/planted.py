"""A bug on purpose, for whoever imports this: a fuzzer that is given it must find it."""

from coop.fs.hostdir import HostDirectory

_make = HostDirectory.make_directory


def _make_or_fail(self: HostDirectory, path: bytes) -> None:
    if path.startswith(b"sub"):
        raise ZeroDivisionError("this bug was planted")
    _make(self, path)


HostDirectory.make_directory = _make_or_fail  # type: ignore[method-assign]
