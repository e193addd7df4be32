"""What is said of a guest that has ended."""

from coop.engine import Size
from coop.errors import GuestExit, GuestTrap
from coop.logs import Log, shown

log = Log("coop.guest")


def tell_end(name: str, code: int | None, error: BaseException | None, sizes: tuple[Size, ...]) -> None:
    """Log how a guest ended, and each limit that it was at, or that may be why it failed."""
    failed = bool(error.code if isinstance(error, GuestExit) else code) or isinstance(error, GuestTrap)
    for size in sizes:
        is_full = size.is_full
        if is_full or (failed and size.is_large):
            event = "limit reached" if is_full else "limit may have been reached"
            log.warning(event, guest=name, limit=size.limit, value=size.value, used=size.used)
    if not log.tells("info"):
        return
    used = {size.limit: size.used for size in sizes if size.used}
    log.info("guest ended", guest=name, code=code, error=None if error is None else shown(error), **used)
