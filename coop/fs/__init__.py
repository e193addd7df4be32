"""Files and directories as capabilities, for guests of every kind.

A guest holds open directories, and reaches what lies below them and nothing else.  Read
`contract` for what a file system offers, and `paths` for what a path may be; then one of the two:

- `hostdir` and `hostfile`, of the host, where `contain` resolves paths; `dirents` lists
  directories, `busy` and `closing` keep what is slow off the thread, `hostsys` is system calls
- `memdir` and `memfile`, in memory: `memtree` is its paths and names, `memnode` and `memdata` what
  they stand for

`grants` gives either to guests.
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
