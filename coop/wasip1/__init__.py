"""WASI preview 1: guests as programs with descriptors, on the scheduler's one readiness model.

Read `guest` for what one is given (its life is told in `coop.guest`), `imports` for the table
of its calls, and then a few calls: `io` and `filewait` for those that wait for one file, `poll`
for the one that waits for many, with its arrays in `sublist` and `keptlist`.  All work on `state`
and `fdtable`, and are spelled as `abi` and `errno` say; `fds`, `files`, `paths`, `names`, `dirents`,
`sock` and `process` are the others, by family.  `streams` says what descriptors the guest has of what it
is given, `snapshot0` what was otherwise before preview 1.
"""

from coop.guest import GuestState
from coop.sources import Clocks, RandomSource, SystemRandom
from coop.wasip1.guest import Guest

__all__ = ["Clocks", "Guest", "GuestState", "RandomSource", "SystemRandom"]
