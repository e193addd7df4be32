"""wasi:http fields: the headers and trailers of messages."""

import re
from collections.abc import Iterable

from coop.errors import GuestTrap
from coop.wasip2.world import Account
from coop.wit import Case, Err, Resource, function

__all__ = ["FORBIDDEN", "Fields", "received"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")

FORBIDDEN = frozenset(
    (
        *("connection", "keep-alive", "transfer-encoding", "upgrade", "host", "http2-settings"),
        *("proxy-authenticate", "proxy-authorization", "proxy-connection"),
    )
)
"""Fields that belong to a connection, which is the host's, and not to a message of a guest."""

_MOST = 128 << 10
_EACH = 32
"""Bytes of all names and values, and what each entry counts besides."""

_ALL = 16 << 20
_OBJECTS = 160
"""Bytes of the host's memory that all fields of a guest take, and what Python takes for an entry."""


class Fields(Resource):
    """Names and values, in order; names are compared without regard to case, and kept in small letters.

    immutable -- whether the guest may not change them, as those of a message that came in
    account   -- of the guest that has them; None: no guest has them yet
    """

    __slots__ = ("_account", "_charged", "_entries", "_size", "immutable")

    def __init__(
        self,
        entries: Iterable[tuple[str, bytes]] = (),
        *,
        immutable: bool = False,
        parent: Resource | None = None,
        account: Account | None = None,
    ) -> None:
        """Raises: GuestTrap if the guest has too many already."""
        super().__init__(parent)
        self._account = account
        self._charged = 0
        self._entries = list(entries)
        self._size = sum(map(_size, self._entries))
        self.immutable = immutable
        self._charge()

    def __del__(self) -> None:
        """Give the memory back to the account, as it is to the system."""
        account = getattr(self, "_account", None)  # one that was never made has none
        if account is not None:
            account.used -= self._charged

    def charge_to(self, account: Account) -> None:
        """Count it as a guest's that gets it now.  Raises: GuestTrap if that one has too many already."""
        if self._account is None:
            self._account = account
            self._charge()

    def _charge(self) -> None:
        """Bring the account up to date.  Raises: GuestTrap if that is too much."""
        account = self._account
        if account is None:
            return
        charge = _OBJECTS * (1 + len(self._entries)) + self._size
        account.used += charge - self._charged
        self._charged = charge
        if account.used > _ALL:
            raise GuestTrap(f"fields of more than {_ALL} bytes in all")

    def pairs(self) -> list[tuple[str, bytes]]:
        """Return all of them, for the host."""
        return list(self._entries)

    def frozen(self, parent: Resource | None = None) -> "Fields":
        """Return what a guest sees of the fields of a message that has them already."""
        return Fields(self._entries, immutable=True, parent=parent, account=self._account)

    def content_length(self) -> int | None:
        """Return the number that Content-Length says, if it does.  Raises: ValueError if it is none."""
        found = {value for name, value in self._entries if name == "content-length"}
        if not found:
            return None
        (value,) = found  # several that differ cannot be unpacked
        if not value.isdigit():
            raise ValueError(f"content-length {value!r} is no number")
        return int(value)

    def _check_mutable(self) -> None:
        if self.immutable:
            raise Err(Case("immutable"))

    def add(self, name: str, values: Iterable[bytes]) -> None:
        """Add what a guest gives.  Raises: Err as `checked`; GuestTrap if it gets too much."""
        name, found = self.checked(name, values)
        for value in found:
            self._size += _size((name, value))
            if self._size > _MOST:
                raise GuestTrap(f"fields of more than {_MOST} bytes")
            self._entries.append((name, value))
        self._charge()

    def _remove(self, name: str) -> None:
        name, _ = self.checked(name, ())
        self._entries = [entry for entry in self._entries if entry[0] != name]
        self._size = sum(map(_size, self._entries))
        self._charge()

    @staticmethod
    def checked(name: str, values: Iterable[bytes]) -> tuple[str, list[bytes]]:
        """Return a name as it is kept, and its values.

        Raises: Err for what cannot stand in a header; GuestTrap for what is too long to be looked at.
        """
        found = list(values)
        if len(name) + sum(map(len, found)) > _MOST:
            raise GuestTrap(f"fields of more than {_MOST} bytes")
        if _NAME.fullmatch(name) is None or any(_VALUE.fullmatch(value) is None for value in found):
            raise Err(Case("invalid-syntax"))
        name = name.lower()
        if name in FORBIDDEN:
            raise Err(Case("forbidden"))
        # Space at both ends is no part of a value.
        return name, [value.strip(b" \t") for value in found]

    @function("func(name: field-name) -> list<field-value>", parks=False)
    def get(self, name: str) -> list[bytes]:
        """Return the values of a name, in order."""
        name = _kept(name)
        return [value for found, value in self._entries if found == name]

    @function("func(name: field-name) -> bool", parks=False)
    def has(self, name: str) -> bool:
        """Whether a name is there."""
        name = _kept(name)
        return any(found == name for found, _ in self._entries)

    @function("func(name: field-name, value: list<field-value>) -> result<_, header-error>", parks=False)
    def set(self, name: str, values: list[bytes]) -> None:
        """Make these the values of a name."""
        self._check_mutable()
        self.checked(name, values)
        self._remove(name)
        self.add(name, values)

    @function("func(name: field-name) -> result<_, header-error>", parks=False)
    def delete(self, name: str) -> None:
        """Take a name away."""
        self._check_mutable()
        self._remove(name)

    @function("func(name: field-name, value: field-value) -> result<_, header-error>", parks=False)
    def append(self, name: str, value: bytes) -> None:
        """Add a value to those of a name."""
        self._check_mutable()
        self.add(name, [value])

    @function("func() -> list<tuple<field-name, field-value>>", parks=False)
    def entries(self) -> list[tuple[str, bytes]]:
        """Return all of them, in order."""
        return self.pairs()

    @function("func() -> fields", parks=False)
    def clone(self) -> "Fields":
        """Return a copy that may be changed."""
        return Fields(self._entries, account=self._account)


def received(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, bytes]]:
    """Return the fields of a message that came in, without those of the connection."""
    found = ((bytes(name).decode("latin-1"), bytes(value)) for name, value in headers)
    return [entry for entry in found if entry[0] not in FORBIDDEN]


def _kept(name: str) -> str:
    """Return a name of any length as it would be kept; "" for one that none can have."""
    return name.lower() if len(name) <= _MOST and name.isascii() else ""


def _size(entry: tuple[str, bytes]) -> int:
    return len(entry[0]) + len(entry[1]) + _EACH
