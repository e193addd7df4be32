"""What is granted to a guest: directories, each under the name it has for the guest."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from coop.fs.contract import Directory
from coop.fs.hostdir import HostDirectory
from coop.scheduler import Scheduler


class Grant(Protocol):
    """A directory that may be given to guests, to any number of them."""

    @property
    def guest_name(self) -> str:
        """The name the guest sees."""

    def open(self, owner: Scheduler) -> Directory:
        """Open it for one guest that runs on `owner`."""


@dataclass(frozen=True)
class Dir:
    """A host directory that a guest may use.

    host      -- its path here
    guest     -- its name for the guest; the same as here unless given
    read_only -- nothing in it can be changed: EROFS
    Raises: OSError when a guest starts and the directory cannot be opened.
    """

    host: str | os.PathLike[str]
    guest: str | None = None
    read_only: bool = False

    @property
    def guest_name(self) -> str:
        """The name the guest sees."""
        return os.fspath(self.host) if self.guest is None else self.guest

    def open(self, owner: Scheduler) -> Directory:
        """Open the directory for one guest."""
        fd = os.open(self.host, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return HostDirectory(owner, fd, f"directory {Path(self.host)}", read_only=self.read_only)
