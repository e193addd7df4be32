"""Errno: WASI's numbers, and one total function from the host's errors to them.

Source: the `errno` enumeration of WASI snapshot preview 1.
"""

import errno as host
from enum import IntEnum

from coop.engine import OutOfBounds


class Errno(IntEnum):
    """WASI preview 1's error numbers; what each means to a call stands in that call's text."""

    SUCCESS = 0
    TOOBIG = 1
    ACCES = 2
    ADDRINUSE = 3
    ADDRNOTAVAIL = 4
    AFNOSUPPORT = 5
    AGAIN = 6
    ALREADY = 7
    BADF = 8
    BADMSG = 9
    BUSY = 10
    CANCELED = 11
    CHILD = 12
    CONNABORTED = 13
    CONNREFUSED = 14
    CONNRESET = 15
    DEADLK = 16
    DESTADDRREQ = 17
    DOM = 18
    DQUOT = 19
    EXIST = 20
    FAULT = 21
    FBIG = 22
    HOSTUNREACH = 23
    IDRM = 24
    ILSEQ = 25
    INPROGRESS = 26
    INTR = 27
    INVAL = 28
    IO = 29
    ISCONN = 30
    ISDIR = 31
    LOOP = 32
    MFILE = 33
    MLINK = 34
    MSGSIZE = 35
    MULTIHOP = 36
    NAMETOOLONG = 37
    NETDOWN = 38
    NETRESET = 39
    NETUNREACH = 40
    NFILE = 41
    NOBUFS = 42
    NODEV = 43
    NOENT = 44
    NOEXEC = 45
    NOLCK = 46
    NOLINK = 47
    NOMEM = 48
    NOMSG = 49
    NOPROTOOPT = 50
    NOSPC = 51
    NOSYS = 52
    NOTCONN = 53
    NOTDIR = 54
    NOTEMPTY = 55
    NOTRECOVERABLE = 56
    NOTSOCK = 57
    NOTSUP = 58
    NOTTY = 59
    NXIO = 60
    OVERFLOW = 61
    OWNERDEAD = 62
    PERM = 63
    PIPE = 64
    PROTO = 65
    PROTONOSUPPORT = 66
    PROTOTYPE = 67
    RANGE = 68
    ROFS = 69
    SPIPE = 70
    SRCH = 71
    STALE = 72
    TIMEDOUT = 73
    TXTBSY = 74
    XDEV = 75
    NOTCAPABLE = 76


_SPELLED_OTHERWISE = {"TOOBIG": "E2BIG", "NOTCAPABLE": None}

FROM_HOST: dict[int, Errno] = {}
"""Host errno -> WASI errno; `from_host` adds the default."""

for _wasi in Errno:
    _name = _SPELLED_OTHERWISE.get(_wasi.name, f"E{_wasi.name}")
    if _name is not None and hasattr(host, _name):
        FROM_HOST[getattr(host, _name)] = _wasi
FROM_HOST[host.EOPNOTSUPP] = Errno.NOTSUP


def from_host(number: int | None) -> int:
    """Return the WASI errno for a host errno; what WASI has no number for is IO."""
    return int(FROM_HOST.get(number or 0, Errno.IO))


class WasiError(Exception):
    """Raised below the import layer where no host error fits: the guest gets `errno`."""

    def __init__(self, errno: Errno) -> None:
        super().__init__(errno.name)
        self.errno = errno


def errno_of(error: BaseException) -> int | None:
    """Return the errno a guest gets for an exception of an import, or None if the guest ends with it."""
    if isinstance(error, WasiError):
        return int(error.errno)
    if isinstance(error, OutOfBounds):
        return int(Errno.FAULT)
    if isinstance(error, MemoryError):
        return int(Errno.NOMEM)
    if isinstance(error, OSError):
        return from_host(error.errno)
    return None
