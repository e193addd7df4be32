"""wasi:http messages: requests and responses, coming in and going out."""

import re
from collections.abc import Callable
from typing import ClassVar

from coop.netpoll.contract import READ
from coop.wasip2.http.bodies import IncomingBody, Outcome, OutgoingBody
from coop.wasip2.http.errorcode import HttpFailure, code_of
from coop.wasip2.http.fields import Fields
from coop.wasip2.http.pipe import PipePollable
from coop.wasip2.pollables import Pollable
from coop.wasip2.world import World
from coop.wit import Case, Err, Ok, Resource, function

__all__ = [
    "FutureIncomingResponse",
    "IncomingRequest",
    "IncomingResponse",
    "OutgoingRequest",
    "OutgoingResponse",
    "RequestOptions",
    "ResponseOutparam",
    "method_case",
]

_METHODS = ("get", "head", "post", "put", "delete", "connect", "options", "trace", "patch")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH = re.compile(r"[/?][!\"$-~]*|\*")  # no "#": what stands behind it is not sent
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(:[0-9]{1,5})?")
_LONGEST_AUTHORITY = 260
"""Characters of a name, a dot at its end, and a port; what a guest gives may have any length."""
_LONGEST = 65534
"""Characters of a path, or anything else that a guest gives; as other hosts have it."""


def _is_made_of(expression: re.Pattern[str], text: str) -> bool:
    """Whether a guest's text is what it should be."""
    return len(text) <= _LONGEST and expression.fullmatch(text) is not None


def method_case(name: str) -> Case:
    """Return a method as WIT has it."""
    return Case(name.lower()) if name.lower() in _METHODS and name.isupper() else Case("other", name)


class _Incoming(Resource):
    """What messages that come in have in common: fields and a body that can be had once."""

    __slots__ = ("_body", "fields")

    def __init__(self, fields: Fields, body: IncomingBody) -> None:
        super().__init__()
        self.fields = fields
        self._body: IncomingBody | None = body

    @function("func() -> headers", parks=False)
    def headers(self) -> Fields:
        """Return its headers, which cannot be changed."""
        return self.fields.frozen(self)

    @function("func() -> result<incoming-body>", parks=False)
    def consume(self) -> IncomingBody:
        """Return its body, once."""
        body, self._body = self._body, None
        if body is None:
            raise Err
        return body

    def drop(self) -> None:
        """Drop the body, if nobody took it."""
        if self._body is not None:
            self._body.drop()


class IncomingRequest(_Incoming):
    """wasi:http incoming-request."""

    __slots__ = ("_authority", "_method", "_path", "_scheme")

    def __init__(
        self,
        method: str,
        path: str | None,
        scheme: str,
        authority: str | None,
        fields: Fields,
        body: IncomingBody,
    ) -> None:
        super().__init__(fields, body)
        self._method = method_case(method)
        self._path = path
        self._scheme = Case(scheme)
        self._authority = authority

    @function("func() -> method", parks=False)
    def method(self) -> Case:
        """Return its method."""
        return self._method

    @function("func() -> option<string>", parks=False)
    def path_with_query(self) -> str | None:
        """Return the path and query that are asked for."""
        return self._path

    @function("func() -> option<scheme>", parks=False)
    def scheme(self) -> Case | None:
        """Return whether it came by HTTP or HTTPS."""
        return self._scheme

    @function("func() -> option<string>", parks=False)
    def authority(self) -> str | None:
        """Return the host that it was meant for."""
        return self._authority


class IncomingResponse(_Incoming):
    """wasi:http incoming-response."""

    __slots__ = ("_status",)

    def __init__(self, status: int, fields: Fields, body: IncomingBody) -> None:
        super().__init__(fields, body)
        self._status = status

    @function("func() -> status-code", parks=False)
    def status(self) -> int:
        """Return its status."""
        return self._status


class _Outgoing(Resource):
    """What messages that go out have in common.

    kind -- which message it is
    sent -- the body, once the guest has asked for it
    """

    __slots__ = ("fields", "sent", "world")

    kind: ClassVar[str]

    def __init__(self, world: World, fields: Fields) -> None:
        super().__init__()
        self.world = world
        self.fields = fields
        self.sent: OutgoingBody | None = None

    @function("func() -> headers", parks=False)
    def headers(self) -> Fields:
        """Return its headers, which cannot be changed any more."""
        return self.fields.frozen(self)

    @function("func() -> result<outgoing-body>", parks=False)
    def body(self) -> OutgoingBody:
        """Return the body to be written, once."""
        if self.sent is not None:
            raise Err
        try:
            length = self.fields.content_length()
        except ValueError:
            raise Err from None
        self.sent = OutgoingBody(self.world, length, self.kind)
        return self.sent

    def drop(self) -> None:
        """Tell whoever writes the body that it goes nowhere."""
        if self.sent is not None:
            self.sent.pipe.abandon()


class OutgoingRequest(_Outgoing):
    """wasi:http outgoing-request.

    verb, target, protocol, host -- method, path, scheme and authority as they were set
    """

    __slots__ = ("host", "protocol", "target", "verb")

    kind = "request"

    def __init__(self, world: World, fields: Fields) -> None:
        super().__init__(world, fields)
        self.verb = Case("get")
        self.target: str | None = None
        self.protocol: Case | None = None
        self.host: str | None = None

    @function("func() -> method", parks=False)
    def method(self) -> Case:
        """Return the method."""
        return self.verb

    @function("func(method: method) -> result", parks=False)
    def set_method(self, method: Case) -> None:
        """Set the method; an error for what is no token."""
        if method.name == "other" and not _is_made_of(_TOKEN, method.value):
            raise Err
        self.verb = method

    @function("func() -> option<string>", parks=False)
    def path_with_query(self) -> str | None:
        """Return the path and query."""
        return self.target

    @function("func(path-with-query: option<string>) -> result", parks=False)
    def set_path_with_query(self, path: str | None) -> None:
        """Set path and query; an error for what is neither."""
        if path and not _is_made_of(_PATH, path):
            raise Err
        self.target = path

    @function("func() -> option<scheme>", parks=False)
    def scheme(self) -> Case | None:
        """Return the scheme."""
        return self.protocol

    @function("func(scheme: option<scheme>) -> result", parks=False)
    def set_scheme(self, scheme: Case | None) -> None:
        """Set the scheme; an error for what is none."""
        if scheme is not None and scheme.name == "other" and not _is_made_of(_SCHEME, scheme.value):
            raise Err
        self.protocol = scheme

    @function("func() -> option<string>", parks=False)
    def authority(self) -> str | None:
        """Return the host, with a port or without."""
        return self.host

    @function("func(authority: option<string>) -> result", parks=False)
    def set_authority(self, authority: str | None) -> None:
        """Set host and port; an error for what is neither."""
        if authority is not None and (
            len(authority) > _LONGEST_AUTHORITY or _AUTHORITY.fullmatch(authority) is None
        ):
            raise Err
        self.host = authority


class OutgoingResponse(_Outgoing):
    """wasi:http outgoing-response.

    status -- what was set
    """

    __slots__ = ("status",)

    kind = "response"

    def __init__(self, world: World, fields: Fields) -> None:
        super().__init__(world, fields)
        self.status = 200

    @function("func() -> status-code", parks=False)
    def status_code(self) -> int:
        """Return the status."""
        return self.status

    @function("func(status-code: status-code) -> result", parks=False)
    def set_status_code(self, status: int) -> None:
        """Set the status; an error for what is none."""
        if not 200 <= status <= 999:
            raise Err
        self.status = status


class ResponseOutparam(Resource):
    """wasi:http response-outparam: where the answer to a request goes.

    answer -- an `OutgoingResponse`, once the guest has set it
    """

    __slots__ = ("answer",)

    def __init__(self, answer: Outcome) -> None:
        super().__init__()
        self.answer = answer

    def give(self, response: Ok | Err) -> None:
        """Take the guest's answer; one that nobody waits for any more is dropped."""
        if isinstance(response, Err):
            self.answer.fail(HttpFailure(*response.value))
        elif self.answer.is_known:
            response.value.drop()
        else:
            self.answer.set(response.value)

    def drop(self) -> None:
        """Let it be known that there will be no answer."""
        self.answer.fail(HttpFailure("internal-error", "the handler set no response"))


class RequestOptions(Resource):
    """wasi:http request-options: how long to wait, in nanoseconds; None: as long as the sender chooses."""

    __slots__ = ("between_bytes_ns", "connect_ns", "first_byte_ns")

    def __init__(self) -> None:
        super().__init__()
        self.connect_ns: int | None = None
        self.first_byte_ns: int | None = None
        self.between_bytes_ns: int | None = None

    @function("func() -> option<duration>", parks=False)
    def connect_timeout(self) -> int | None:
        """Return how long connecting may take."""
        return self.connect_ns

    @function("func(duration: option<duration>) -> result", parks=False)
    def set_connect_timeout(self, duration: int | None) -> None:
        """Set how long connecting may take."""
        self.connect_ns = duration

    @function("func() -> option<duration>", parks=False)
    def first_byte_timeout(self) -> int | None:
        """Return how long the answer's first byte may take."""
        return self.first_byte_ns

    @function("func(duration: option<duration>) -> result", parks=False)
    def set_first_byte_timeout(self, duration: int | None) -> None:
        """Set how long the answer's first byte may take."""
        self.first_byte_ns = duration

    @function("func() -> option<duration>", parks=False)
    def between_bytes_timeout(self) -> int | None:
        """Return how long the bytes of the answer may pause."""
        return self.between_bytes_ns

    @function("func(duration: option<duration>) -> result", parks=False)
    def set_between_bytes_timeout(self, duration: int | None) -> None:
        """Set how long the bytes of the answer may pause."""
        self.between_bytes_ns = duration


class FutureIncomingResponse(Resource):
    """wasi:http future-incoming-response: the answer to a request that was sent.

    answer -- an `IncomingResponse`, or how it failed
    cancel -- ends the exchange when nobody waits for the answer any more
    """

    __slots__ = ("_is_taken", "answer", "cancel", "world")

    def __init__(self, world: World, answer: Outcome, cancel: Callable[[], object]) -> None:
        super().__init__()
        self.world = world
        self.answer = answer
        self.cancel = cancel
        self._is_taken = False

    @function("func() -> pollable", parks=False)
    def subscribe(self) -> Pollable:
        """Make a pollable that is ready when the answer is there, or will never be."""
        return PipePollable(self.world.owner, self.answer.desc, READ, self)

    @function("func() -> option<result<result<incoming-response, error-code>>>", parks=False)
    def get(self) -> Ok | Err | None:
        """Return the answer, once: none yet; or a result, which is an error the second time."""
        if not self.answer.is_known:
            return None
        if self._is_taken:
            return Err()
        self._is_taken = True
        try:
            return Ok(Ok(self.answer.get()))
        except BaseException as error:
            return Ok(Err(code_of(error)))

    def drop(self) -> None:
        """Give up on an answer that nobody took."""
        if not self._is_taken:
            self.cancel()
