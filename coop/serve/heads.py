"""The heads of requests and answers, apart from any connection: what is understood, and what is refused."""

import re
from dataclasses import dataclass
from http import HTTPStatus

import h11

from coop.wasip2.http.fields import received

__all__ = ["Head", "has_body", "objection", "reason"]

_BODILESS = (204, 304)
_FRAMING = (b"content-length", b"transfer-encoding")

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(:[0-9]*)?")
_ABSOLUTE = re.compile(r"(?i:https?)://([^/?]*)([/?].*)?")  # no character could belong to either part


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request, as a guest is told of it.

    target    -- path and query
    authority -- the host it was meant for
    scheme    -- "HTTP" or "HTTPS"
    """

    method: str
    target: str
    authority: str | None
    scheme: str
    fields: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(cls, event: h11.Request, scheme: str) -> "Head":
        """Return the head of a request that came in.  Raises: ValueError that says what is wrong with it."""
        method = event.method.decode("latin-1")
        target = event.target.decode("latin-1").partition("#")[0]  # what stands behind it is the client's own
        host = next((value.decode("latin-1") for name, value in event.headers if name == b"host"), None)
        if (found := _ABSOLUTE.fullmatch(target)) is not None:  # as a proxy is asked
            host, target = found[1], found[2] or ""
            if not host:
                raise ValueError("the request names no host")
            if not target.startswith("/"):
                target = f"/{target}"
        elif not target.startswith("/") and (target, method) != ("*", "OPTIONS"):
            raise ValueError("the target of the request is no path")
        if host and _AUTHORITY.fullmatch(host) is None:
            raise ValueError("the host of the request is none")
        return cls(method, target, host or None, scheme, tuple(received(event.headers)))


def objection(event: h11.Request, head_bytes: int, body_bytes: int) -> tuple[int, str] | None:
    """Return why a request is not even shown to a guest, as a status and words; None if it is."""
    # What came at once `h11` has not measured.
    size = len(event.target) + sum(len(name) + len(value) + 4 for name, value in event.headers)
    if size > head_bytes:
        return 431, "the head of the request is too long"
    if event.http_version not in (b"1.0", b"1.1"):
        return 505, "HTTP/1.1 is spoken here"
    if event.method == b"CONNECT":
        return 501, "no tunnels are made here"
    said = {name: value for name, value in event.headers if name in _FRAMING}
    # Whoever stands between might take the other of the two for the body's end.
    if len(said) == 2 or (b"transfer-encoding" in said and event.http_version == b"1.0"):
        return 400, "where the body of the request ends cannot be told"
    if int(said.get(b"content-length", 0)) > body_bytes:
        return 413, "the body of the request is too long"
    return None


def has_body(method: str, status: int) -> bool:
    """Whether an answer has a body at all."""
    return method != "HEAD" and status not in _BODILESS


def reason(status: int) -> bytes:
    """Return the words that stand behind a status for people."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
