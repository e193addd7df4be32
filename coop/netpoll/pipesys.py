"""What is read from pipes and written to them, by calls that keep the GIL; see `socksys` for why.

They are for descriptors that were opened non-blocking, and never for others: whoever waited here for the
other end would hold up all threads of the process, the one at the other end among them.
"""

import ctypes

from coop.netpoll.socksys import ARGUMENTS

__all__ = ["read", "write"]

_held = ctypes.PyDLL(None, use_errno=True)

read = _held["read"]
"""read(fd, address, length) -> bytes read to an address of this process, 0 at the end, or -1."""
read.argtypes = ARGUMENTS

write = _held["write"]
"""write(fd, where, length) -> how many of the bytes at an address, or of bytes, were taken, or -1."""
write.argtypes = ARGUMENTS
