"""wasi:http: the types of messages, and the handler that sends requests."""

from typing import ClassVar

from coop.wasip2.clocks import MonotonicClock
from coop.wasip2.failure import Error
from coop.wasip2.http.bodies import FutureTrailers, IncomingBody, OutgoingBody
from coop.wasip2.http.client import send
from coop.wasip2.http.errorcode import ERROR_CODE, HttpFailure, code_of
from coop.wasip2.http.fields import Fields
from coop.wasip2.http.messages import (
    FutureIncomingResponse,
    IncomingRequest,
    IncomingResponse,
    OutgoingRequest,
    OutgoingResponse,
    RequestOptions,
    ResponseOutparam,
)
from coop.wasip2.io import ErrorInterface, Poll, Streams
from coop.wasip2.world import WorldInterface
from coop.wit import Case, Err, Ok, function

__all__ = ["INTERFACES"]


class Types(WorldInterface):
    """wasi:http/types."""

    name = "wasi:http/types"
    resources: ClassVar = {
        "fields": Fields,
        "incoming-request": IncomingRequest,
        "outgoing-request": OutgoingRequest,
        "request-options": RequestOptions,
        "response-outparam": ResponseOutparam,
        "incoming-response": IncomingResponse,
        "incoming-body": IncomingBody,
        "future-trailers": FutureTrailers,
        "outgoing-response": OutgoingResponse,
        "outgoing-body": OutgoingBody,
        "future-incoming-response": FutureIncomingResponse,
    }
    uses: ClassVar = {
        "duration": MonotonicClock,
        "input-stream": Streams,
        "output-stream": Streams,
        "io-error": (ErrorInterface, "error"),
        "pollable": Poll,
    }
    types: ClassVar = {
        "method": "variant {get, head, post, put, delete, connect, options, trace, patch, other(string)}",
        "scheme": "variant {HTTP, HTTPS, other(string)}",
        "DNS-error-payload": "record {rcode: option<string>, info-code: option<u16>}",
        "TLS-alert-received-payload": "record {alert-id: option<u8>, alert-message: option<string>}",
        "field-size-payload": "record {field-name: option<string>, field-size: option<u32>}",
        "error-code": ERROR_CODE,
        "header-error": "variant {invalid-syntax, forbidden, immutable}",
        "field-key": "string",
        "field-name": "field-key",
        "field-value": "list<u8>",
        "headers": "fields",
        "trailers": "fields",
        "status-code": "u16",
    }

    @function("func(err: borrow<io-error>) -> option<error-code>", parks=False)
    def http_error_code(self, error: Error) -> Case | None:
        """Return the code of an error of a body's stream, if it is one of HTTP."""
        cause = error.cause.__cause__ or error.cause
        return code_of(cause) if isinstance(cause, HttpFailure) else None

    @function("func() -> fields", name="[constructor]fields", parks=False)
    def new_fields(self) -> Fields:
        """Make fields without any."""
        return Fields(account=self.world.fields)

    @function(
        "func(entries: list<tuple<field-name, field-value>>) -> result<fields, header-error>",
        name="[static]fields.from-list",
        parks=False,
    )
    def fields_from_list(self, entries: list[tuple[str, bytes]]) -> Fields:
        """Make fields of a list."""
        found = Fields(account=self.world.fields)
        for name, value in entries:
            found.add(name, [value])
        return found

    @function("func(headers: headers) -> outgoing-request", name="[constructor]outgoing-request", parks=False)
    def new_request(self, headers: Fields) -> OutgoingRequest:
        """Make a request."""
        return OutgoingRequest(self.world, headers)

    @function(
        "func(headers: headers) -> outgoing-response", name="[constructor]outgoing-response", parks=False
    )
    def new_response(self, headers: Fields) -> OutgoingResponse:
        """Make a response."""
        return OutgoingResponse(self.world, headers)

    @function("func() -> request-options", name="[constructor]request-options", parks=False)
    def new_options(self) -> RequestOptions:
        """Make options that say nothing."""
        return RequestOptions()

    @function(
        "func(param: response-outparam, response: result<outgoing-response, error-code>)",
        name="[static]response-outparam.set",
        parks=False,
    )
    def set_response(self, param: ResponseOutparam, response: Ok | Err) -> None:
        """Answer a request."""
        param.give(response)

    @function(
        "func(this: incoming-body) -> future-trailers", name="[static]incoming-body.finish", parks=False
    )
    def finish_incoming(self, body: IncomingBody) -> FutureTrailers:
        """End reading a body, and ask for its trailers."""
        body.read_on()
        return FutureTrailers(self.world, body)

    @function(
        "func(this: outgoing-body, trailers: option<trailers>) -> result<_, error-code>",
        name="[static]outgoing-body.finish",
        parks=False,
    )
    def finish_outgoing(self, body: OutgoingBody, trailers: Fields | None) -> None:
        """End a body well, with trailers or without."""
        body.finish(trailers)


class OutgoingHandler(WorldInterface):
    """wasi:http/outgoing-handler."""

    name = "wasi:http/outgoing-handler"
    uses: ClassVar = {
        "outgoing-request": Types,
        "request-options": Types,
        "future-incoming-response": Types,
        "error-code": Types,
    }

    @function(
        "func(request: outgoing-request, options: option<request-options>)"
        " -> result<future-incoming-response, error-code>",
        parks=False,
    )
    def handle(self, request: OutgoingRequest, options: RequestOptions | None) -> FutureIncomingResponse:
        """Send a request; the answer comes later."""
        try:
            return send(self.world, request, options or RequestOptions())
        except HttpFailure as error:
            request.drop()
            raise Err(error.code) from None


INTERFACES: tuple[type[WorldInterface], ...] = (Types, OutgoingHandler)
