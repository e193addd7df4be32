"""The bytes of a file that may hold a guest."""

import os
from pathlib import Path

from coop.errors import BadModule

LARGEST = 1 << 30
"""Bytes of the largest file that is read; of a module this is also all that WebAssembly's engines take."""

_PIECE = 1 << 20


def read_code(path: str | os.PathLike[str]) -> bytes:
    """Return what a file holds, or a pipe, up to its end.

    What was named by mistake may be an image of a disk, or a device that has no end: it must not fill the
    memory of the machine before it is seen to be no guest.
    Raises: BadModule if it holds too much; OSError.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size  # of a pipe or a device it is 0
        pieces = []
        rest = LARGEST if size <= LARGEST else -1
        while rest >= 0 and (piece := file.read(max(size, _PIECE))):
            pieces.append(piece)
            rest -= len(piece)
    if rest < 0:
        raise BadModule(f"{os.fspath(path)}: more than {LARGEST} bytes, and no guest is so large")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
