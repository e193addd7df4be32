"""Files and directories as capabilities, for guests of every kind.

`contract` says what a file system offers.  `hostdir` offers a directory of the
host through it, `memdir` one that lives in memory.  A guest holds open
directories, and reaches what lies below them and nothing else.
"""

from coop.fs.contract import LAST_NS, MAX_OFFSET, NOW, Directory, Entry, RegularFile, Stat, to_stat
from coop.fs.grants import Dir, Grant, MemDir, checked_grants

__all__ = [
    "LAST_NS",
    "MAX_OFFSET",
    "NOW",
    "Dir",
    "Directory",
    "Entry",
    "Grant",
    "MemDir",
    "RegularFile",
    "Stat",
    "checked_grants",
    "to_stat",
]
