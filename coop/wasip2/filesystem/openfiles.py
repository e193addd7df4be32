"""The open files of one guest: how many there may be, and that none outlives it.

A file is named by descriptors and by streams made of them, which come and go in any
order; it closes with the last.  So nobody says when one is gone: what is closed is
swept out now and then, so rarely that an open costs the same however many there are.
"""

import errno

from coop.netpoll.openfile import OpenFile

__all__ = ["OpenFiles"]

_FEW = 64


class OpenFiles:
    """All files that one guest has opened or was given.

    limit -- how many may be open at once; None: any number
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._files: dict[OpenFile, None] = {}
        self._sweep_at = _FEW

    def __len__(self) -> int:
        self._sweep()
        return len(self._files)

    def check_room(self) -> None:
        """Raise OSError(EMFILE) if no more may be opened; for use before an open changes anything."""
        if self.limit is not None and len(self._files) >= self.limit and len(self) >= self.limit:
            raise OSError(errno.EMFILE, f"open a file: {self.limit} are open (limit fds)")

    def add(self, file: OpenFile) -> None:
        """Keep a file in view until it is closed."""
        if len(self._files) >= self._sweep_at:
            self._sweep()
        self._files[file] = None

    def close(self) -> None:
        """Close what is left."""
        files, self._files = self._files, {}
        for file in files:
            while file.refs:
                file.release()

    def _sweep(self) -> None:
        self._files = {file: None for file in self._files if file.refs}
        self._sweep_at = max(2 * len(self._files), _FEW)
