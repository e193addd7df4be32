"""What `coop wit` leaves in a folder: files of its own, which it writes again, and nobody else's."""

from pathlib import Path

import coop

MARK = "// Written by coop wit, which will write it again; a file without this line is left alone.\n"
"""The first line of every file."""

VERSIONS = tuple(f"0.2.{patch}" for patch in range(13))
"""What can be written."""


def write_wit(folder: Path, version: str) -> None:
    """Write the WIT of one version into a folder.

    Raises: OSError; CoopError, before anything is written, for a file that is somebody else's.
    """
    from coop.wasip2.worlds import wit_files  # its imports take as long as half of coop's

    files = wit_files(version)
    for name in files:
        if not _is_ours(folder / name, name):
            raise coop.CoopError(
                f"{folder / name}: not written by coop wit, so it stays; move it, or name another folder"
            )
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MARK + text)


def _is_ours(path: Path, name: str) -> bool:
    """Whether a file may be written: there is none, it has the mark, or what is written but for it."""
    from coop.wasip2.worlds import wit_files

    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return True
    return found.startswith(MARK.encode()) or any(
        found == wit_files(version)[name].encode() for version in VERSIONS
    )
