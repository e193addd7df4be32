"""What one guest may use, with a default for everything."""

from dataclasses import dataclass, fields, replace

MIB = 1 << 20

_SECONDS = ("wall_time", "cpu_time")


@dataclass(frozen=True, slots=True)
class Limits:
    """One guest's limits.  None means: no limit.

    memory         -- bytes of linear memory; `memory.grow` beyond it answers -1.  A component with
                      several memories may use as much in each of them, and a guest that may throw
                      exceptions of wasm as much again for those that it keeps
    wall_time      -- seconds from its start to its end
    cpu_time       -- seconds it may compute
    fds            -- open file descriptors; beyond it the guest gets EMFILE, a component `new-socket-limit`
                      for a socket and `insufficient-memory` for a file
    subscriptions  -- entries of one poll; beyond it the guest gets EINVAL, and a component ends
    bytes_per_call -- bytes one read or write moves; a longer one is cut short
    table_elements -- elements of its tables, 8 bytes each
    handles        -- resources of the host that a component holds at once; 16 errors of streams are one
    bytes_per_list -- bytes of one list or string that a component passes; for lists of anything but bytes,
                      32 for each number and, from the guest, 512 for each element that is none.  Of a
                      `list<u8>` the border takes 4 MiB at most, whatever is said, and so many random bytes
                      are given

    A limit that is reached names itself in the log, once a guest.  What of memory and tables was refused
    only the guest is told, so these two do when it ends, if it grew up to them or failed near them.

    `Limits()` suits a function that is called and ends.  A guest that is given a listener,
    and a component whose `Network` lets it listen, is a server, which is meant to stay: unless
    limits are given, it gets `Limits.for_server()`, the same without an end of time and with room
    for more connections.
    """

    memory: int | None = 512 * MIB
    wall_time: float | None = 3600.0
    cpu_time: float | None = 600.0
    fds: int | None = 4096
    subscriptions: int | None = 65535
    bytes_per_call: int | None = 16 * MIB
    table_elements: int | None = 1 << 20
    handles: int | None = 16384
    bytes_per_list: int | None = 16 * MIB

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"limit {field.name}: a number wanted, not {type(value).__name__}")
            if not value > 0:  # as nothing is of what is not a number
                raise ValueError(f"limit {field.name}: {value} is not above zero (None means no limit)")
            if field.name not in _SECONDS and not isinstance(value, int):
                raise ValueError(f"limit {field.name}: {value!r} is not a whole number")

    @classmethod
    def for_server(cls) -> "Limits":
        """Return the defaults of a guest that serves for ever: no limit of time, and 16384 descriptors."""
        return replace(cls(), wall_time=None, cpu_time=None, fds=16384)
