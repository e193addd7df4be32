"""How much memory a process has taken at most.

Not `getrusage`: its ru_maxrss lives through fork and exec, so that a child's begins at its parent's, and what
the child itself takes does not show until it takes more.
"""

from pathlib import Path


def peak() -> int:
    """The most that was resident since the program began, or since `forget_peak`; KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def forget_peak() -> int:
    """Begin again at what is resident now, and tell it; KiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()
