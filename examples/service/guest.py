"""An HTTP service: it greets whoever asks, and gives back what is posted to it.

Build it with componentize-py for the world `service` that `coop wit` writes.
"""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports.wasi_http_types import (
    Fields,
    IncomingBody,
    IncomingRequest,
    Method_Post,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)


class IncomingHandler(exports.IncomingHandler):
    """What the host calls for each request."""

    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        """Answer one request."""
        if isinstance(request.method(), Method_Post):
            answer(response_out, 200, body_of(request))
        elif request.path_with_query() == "/":
            answer(response_out, 200, b"hello\n")
        else:
            answer(response_out, 404, b"nothing is here\n")


def body_of(request: IncomingRequest) -> bytes:
    """Read all that was posted."""
    body = request.consume()
    data = b""
    with body.stream() as stream:
        while True:
            try:
                data += stream.blocking_read(65536)
            except Err:  # the end
                break
    IncomingBody.finish(body)
    return data


def answer(response_out: ResponseOutparam, status: int, data: bytes) -> None:
    """Send a status and a body."""
    response = OutgoingResponse(Fields.from_list([("content-type", b"text/plain")]))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    with body.write() as stream:
        for at in range(0, len(data), 4096):
            stream.blocking_write_and_flush(data[at : at + 4096])
    OutgoingBody.finish(body, None)
