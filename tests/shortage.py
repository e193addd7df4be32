"""For children of the tests: a system that has no thread left, or little address space."""

import os
import resource

NOBODY = 65534


def be_a_user() -> None:
    """Be no longer root, who may read more: what is needed is imported before."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def end_threads() -> None:
    """Let this process start no thread any more.  The limit holds for users alone."""
    be_a_user()
    resource.setrlimit(resource.RLIMIT_NPROC, (0, resource.getrlimit(resource.RLIMIT_NPROC)[1]))


def end_address_space(left: int) -> None:
    """Let this process map so many bytes more."""
    with open("/proc/self/statm") as sizes:
        taken = int(sizes.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + left, resource.getrlimit(resource.RLIMIT_AS)[1]))
