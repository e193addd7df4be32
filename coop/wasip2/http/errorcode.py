"""wasi:http error codes: how an exchange of messages fails, by the names WIT has for it."""

import errno
import socket

from coop.errors import Cancelled, CoopError, DeadlineExceeded
from coop.wit import Case

__all__ = ["ERROR_CODE", "HttpFailure", "as_os_error", "code_of"]

_PLAIN = (
    *("destination-not-found", "destination-unavailable"),
    *("destination-IP-prohibited", "destination-IP-unroutable"),
    *("connection-refused", "connection-terminated", "connection-timeout"),
    *("connection-read-timeout", "connection-write-timeout", "connection-limit-reached"),
    *("TLS-protocol-error", "TLS-certificate-error"),
)

_LATER = (
    "HTTP-request-denied",
    "HTTP-request-length-required",
    "HTTP-request-body-size(option<u64>)",
    "HTTP-request-method-invalid",
    "HTTP-request-URI-invalid",
    "HTTP-request-URI-too-long",
    "HTTP-request-header-section-size(option<u32>)",
    "HTTP-request-header-size(option<field-size-payload>)",
    "HTTP-request-trailer-section-size(option<u32>)",
    "HTTP-request-trailer-size(field-size-payload)",
    "HTTP-response-incomplete",
    "HTTP-response-header-section-size(option<u32>)",
    "HTTP-response-header-size(field-size-payload)",
    "HTTP-response-body-size(option<u64>)",
    "HTTP-response-trailer-section-size(option<u32>)",
    "HTTP-response-trailer-size(field-size-payload)",
    "HTTP-response-transfer-coding(option<string>)",
    "HTTP-response-content-coding(option<string>)",
    "HTTP-response-timeout",
    "HTTP-upgrade-failed",
    "HTTP-protocol-error",
    "loop-detected",
    "configuration-error",
    "internal-error(option<string>)",
)

ERROR_CODE = (
    "variant {DNS-timeout, DNS-error(DNS-error-payload), "
    + ", ".join((*_PLAIN, "TLS-alert-received(TLS-alert-received-payload)", *_LATER))
    + "}"
)
"""The type, as WIT spells it."""

_OF_ERRNO = {
    errno.ECONNREFUSED: "connection-refused",
    errno.ECONNRESET: "connection-terminated",
    errno.ECONNABORTED: "connection-terminated",
    errno.EPIPE: "connection-terminated",
    errno.ETIMEDOUT: "connection-timeout",
    errno.EHOSTUNREACH: "destination-IP-unroutable",
    errno.ENETUNREACH: "destination-IP-unroutable",
    errno.EACCES: "destination-IP-prohibited",
    errno.EMFILE: "connection-limit-reached",
    errno.ENFILE: "connection-limit-reached",
}


_MOST_WORDS = 200
"""Characters that an error's message, and so the log, has of what a guest said."""


class HttpFailure(CoopError):
    """An exchange that failed, with the code a guest is told.

    code -- a case of the type above
    """

    def __init__(self, name: str, value: object = None) -> None:
        super().__init__(name if value is None else f"{name}: {_cut(value)}")
        self.code = Case(name, value)


def _cut(value: object) -> str:
    """Return a value in words, of which there may be megabytes if they are a guest's."""
    words = str(value)
    return words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]}..."


def code_of(error: BaseException) -> Case:
    """Return the code for whatever ended an exchange."""
    if isinstance(error, HttpFailure):
        return error.code
    if isinstance(error.__cause__, HttpFailure):
        return error.__cause__.code
    if isinstance(error, DeadlineExceeded):
        return Case("connection-timeout")
    if isinstance(error, socket.gaierror):
        return Case("DNS-error", (str(error), None))
    if isinstance(error, Cancelled):
        return Case("connection-terminated")
    name = _OF_ERRNO.get(error.errno or 0) if isinstance(error, OSError) else None
    return Case(name) if name is not None else Case("internal-error", str(error))


def as_os_error(error: BaseException) -> OSError:
    """Return what the stream of a body ends with: an error whose code is found behind it.

    It has no number: to a stream "connection reset" would be an end like others, and half a body whole.
    """
    code = code_of(error)
    failure = error if isinstance(error, HttpFailure) else HttpFailure(code.name, code.value)
    found = OSError(str(failure))
    found.__cause__ = failure
    return found
