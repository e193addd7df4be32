"""What ends a guest that somebody cancels, and what is said of any guest that has ended."""

from coop.engine import Sizes
from coop.errors import Cancelled, GuestExit, GuestTrap
from coop.logs import Log, shown

log = Log("coop.guest")


class _Cancelled(Cancelled):
    """It is put into words when somebody asks: whoever cancels a crowd makes very many at once."""

    __slots__ = ("guest",)
    guest: str

    def __str__(self) -> str:
        return f"guest {self.guest} was cancelled"

    def __repr__(self) -> str:
        return f"Cancelled({str(self)!r})"


def cancelled(guest: str) -> Cancelled:
    """Return what is raised in the task of the guest of that name."""
    error = _Cancelled()
    error.guest = guest
    return error


def tell_end(name: str, code: int | None, error: BaseException | None, sizes: Sizes | None) -> None:
    """Log how a guest ended, and each limit that it was at, or that may be why it failed.

    sizes -- how large it was; None of a guest that was not made
    """
    failed = bool(error.code if isinstance(error, GuestExit) else code) or isinstance(error, GuestTrap)
    for size in sizes.ended if sizes is not None and (failed or sizes.has_grown) else ():
        is_full = size.is_full
        if is_full or (failed and size.is_large):
            event = "limit reached" if is_full else "limit may have been reached"
            log.warning(event, guest=name, limit=size.limit, value=size.value, used=size.used)
    if not log.tells("info"):
        return
    used = {size.limit: size.used for size in sizes.ended if size.used} if sizes is not None else {}
    log.info("guest ended", guest=name, code=code, error=None if error is None else shown(error), **used)
