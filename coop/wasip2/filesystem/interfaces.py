"""wasi:filesystem: the directories a guest is granted, and what lies below them.

The files are those of `coop.fs`, which preview 1 has too: one sandbox, whatever the
guest speaks.  The resources are in `descriptors` and `streams`.
"""

from typing import ClassVar

from coop.wasip2.clocks import WallClock
from coop.wasip2.failure import Error
from coop.wasip2.filesystem.descriptors import Descriptor, of_directory
from coop.wasip2.filesystem.errorcode import ERROR_CODE, error_code
from coop.wasip2.filesystem.streams import DirectoryEntries
from coop.wasip2.io import Streams
from coop.wasip2.world import WorldInterface
from coop.wit import function

__all__ = ["INTERFACES", "Preopens", "Types"]


class Types(WorldInterface):
    """wasi:filesystem/types."""

    name = "wasi:filesystem/types"
    resources: ClassVar = {"descriptor": Descriptor, "directory-entry-stream": DirectoryEntries}
    uses: ClassVar = {
        "input-stream": Streams,
        "output-stream": Streams,
        "error": Streams,
        "datetime": WallClock,
    }
    types: ClassVar = {
        "filesize": "u64",
        "link-count": "u64",
        "descriptor-type": "enum {unknown, block-device, character-device, directory, fifo, symbolic-link,"
        " regular-file, socket}",
        "descriptor-flags": "flags {read, write, file-integrity-sync, data-integrity-sync,"
        " requested-write-sync, mutate-directory}",
        "descriptor-stat": "record {%type: descriptor-type, link-count: link-count, size: filesize,"
        " data-access-timestamp: option<datetime>, data-modification-timestamp: option<datetime>,"
        " status-change-timestamp: option<datetime>}",
        "path-flags": "flags {symlink-follow}",
        "open-flags": "flags {create, directory, exclusive, truncate}",
        "new-timestamp": "variant {no-change, now, timestamp(datetime)}",
        "directory-entry": "record {%type: descriptor-type, name: string}",
        "error-code": ERROR_CODE,
        "advice": "enum {normal, sequential, random, will-need, dont-need, no-reuse}",
        "metadata-hash-value": "record {lower: u64, upper: u64}",
    }

    @function("func(err: borrow<error>) -> option<error-code>", parks=False)
    def filesystem_error_code(self, error: Error) -> str | None:
        """Return the code behind what a stream says; None if it is not the system's."""
        return error_code(error.cause) if isinstance(error.cause, OSError) else None


class Preopens(WorldInterface):
    """wasi:filesystem/preopens."""

    name = "wasi:filesystem/preopens"
    uses: ClassVar = {"descriptor": Types}

    @function("func() -> list<tuple<descriptor, string>>", parks=False)
    def get_directories(self) -> list[tuple[Descriptor, str]]:
        """Return what is granted, as new descriptors each time."""
        found = []
        for directory, name in self.world.directories:
            directory.retain()
            found.append((of_directory(self.world, directory), name))
        return found


INTERFACES: tuple[type[WorldInterface], ...] = (Types, Preopens)
