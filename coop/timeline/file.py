"""A timeline that is written into a file when the run has ended, however it ended."""

import os
from pathlib import Path
from types import TracebackType

from coop.logs import Log, shown
from coop.timeline import perfetto, picture
from coop.timeline.record import Record

log = Log("coop.timeline")

_FORMATS = {".json": perfetto.lines, ".svg": picture.lines}


class Timeline:
    """A block that lasts as long as a run, and is the `Record` that is to be told of it.

    path -- the file; made at once, since nobody wants to hear at the end of a run that it cannot be
    Raises: ValueError for a name that ends neither in .json nor in .svg; OSError.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if self._path.suffix not in _FORMATS:
            raise ValueError(f"timeline {self._path}: a name that ends in {' or '.join(_FORMATS)} wanted")
        self._path.write_bytes(b"")
        self._record = Record()
        self._process = os.getpid()

    def __enter__(self) -> Record:
        return self._record

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() != self._process:
            return  # forked meanwhile: the run is the parent's, and so is its file
        self._record.close()
        try:
            with self._path.open("w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in _FORMATS[self._path.suffix](self._record))
        except OSError as failure:
            if error is None:
                raise
            log.error("the timeline was not written", file=str(self._path), error=shown(failure))
