"""An HTTP service that does what the path says."""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import monotonic_clock
from wit_world.imports.wasi_http_types import (
    ErrorCode_HttpRequestDenied,
    Fields,
    IncomingBody,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)

seen = 0
kept = []


def sleep(seconds):
    monotonic_clock.subscribe_duration(int(seconds * 1e9)).block()


def begin(out, headers=()):
    """Answer with a body of which nothing is written yet."""
    response = OutgoingResponse(Fields.from_list([(n, v.encode()) for n, v in headers]))
    outgoing = response.body()
    ResponseOutparam.set(out, Ok(response))
    return outgoing, outgoing.write()


def respond(out, status, body, headers=(), trailers=None):
    response = OutgoingResponse(Fields.from_list([(n, v.encode()) for n, v in headers]))
    response.set_status_code(status)
    outgoing = response.body()
    ResponseOutparam.set(out, Ok(response))
    stream = outgoing.write()
    for at in range(0, len(body), 4096):
        stream.blocking_write_and_flush(body[at : at + 4096])
    stream.__exit__(None, None, None)
    OutgoingBody.finish(outgoing, None if trailers is None else Fields.from_list(trailers))


def read(request):
    """Return a body's bytes, and what its trailers will come from."""
    body = request.consume()
    stream = body.stream()
    data = b""
    while True:
        try:
            data += stream.blocking_read(65536)
        except Exception:
            break
    stream.__exit__(None, None, None)
    return data, IncomingBody.finish(body)


def read_all(request):
    data, _ = read(request)
    return data


def read_whole(request):
    data, future = read(request)
    future.subscribe().block()
    trailers = future.get().value.value
    return data, None if trailers is None else trailers.entries()


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request, response_out):
        global seen
        seen += 1
        path = request.path_with_query()
        if path == "/hello":
            respond(response_out, 200, b"hello\n", [("content-type", "text/plain")])
        elif path == "/echo":
            respond(response_out, 200, read_all(request))
        elif path == "/seen":
            respond(response_out, 200, str(seen).encode())
        elif path == "/large":
            respond(response_out, 200, b"x" * 1_000_000)
        elif path == "/trailers":
            respond(response_out, 200, b"body", [("trailer", "x-sum")], [("x-sum", b"42")])
        elif path == "/head":
            lines = [f"{request.method()} {request.scheme()} {request.authority()}"]
            lines += sorted(f"{n}: {v.decode(errors='replace')}" for n, v in request.headers().entries())
            respond(response_out, 200, "\n".join(lines).encode())
        elif path == "/trap":
            raise RuntimeError("it failed")
        elif path == "/silent":
            pass
        elif path == "/short":
            response = OutgoingResponse(Fields.from_list([("content-length", b"10")]))
            outgoing = response.body()
            ResponseOutparam.set(response_out, Ok(response))
            stream = outgoing.write()
            stream.blocking_write_and_flush(b"short")
            stream.__exit__(None, None, None)
            outgoing.__exit__(None, None, None)
        elif path == "/hang":
            sleep(1000)
        elif path == "/slow":
            sleep(0.5)
            respond(response_out, 200, b"slow")
        elif path == "/half":
            kept.append(begin(response_out))
            kept[0][1].blocking_write_and_flush(b"half")
            sleep(1000)
        elif path == "/gate":  # answers in two halves, and reads the request between them
            outgoing, stream = begin(response_out)
            stream.blocking_write_and_flush(b"first")
            read_all(request)
            stream.blocking_write_and_flush(b"second")
            stream.__exit__(None, None, None)
            OutgoingBody.finish(outgoing, None)
        elif path == "/told":  # sends all that it promised, and ends later
            outgoing, stream = begin(response_out, [("content-length", "4")])
            stream.blocking_write_and_flush(b"told")
            sleep(0.3)
            stream.__exit__(None, None, None)
            OutgoingBody.finish(outgoing, None)
        elif path == "/more":  # than was promised
            _, stream = begin(response_out, [("content-length", "4")])
            stream.blocking_write_and_flush(b"more")
            stream.blocking_write_and_flush(b" of it")
        elif path == "/broken":
            _, stream = begin(response_out)
            stream.blocking_write_and_flush(b"half")
            raise RuntimeError("it failed within its answer")
        elif path == "/twice":
            respond(response_out, 200, b"once")
            ResponseOutparam.set(response_out, Ok(OutgoingResponse(Fields())))
        elif path == "/reads":  # and tells the next one how that ended
            body = request.consume()
            stream = body.stream()
            try:
                while True:
                    stream.blocking_read(65536)
            except Err as error:
                kept.append(type(error.value).__name__)
                respond(response_out, 400, b"cut")
        elif path == "/writes":
            _, stream = begin(response_out)
            try:
                while True:
                    stream.blocking_write_and_flush(b"x" * 4096)
            except Err as error:
                kept.append(type(error.value).__name__)
        elif path == "/told-of":
            respond(response_out, 200, " ".join(kept).encode())
        elif path == "/inject":
            try:
                Fields.from_list([("x-one", b"1\r\nx-two: 2")])
            except Err as error:
                respond(response_out, 200, type(error.value).__name__.encode())
        elif path == "/sum":
            data, trailers = read_whole(request)
            respond(response_out, 200, b"%d %s" % (len(data), str(trailers).encode()))
        elif path == "/kept":
            kept.append((request, request.headers(), begin(response_out)))
        elif path == "/kept-short":
            _, stream = kept_body = begin(response_out, [("content-length", "10")])
            stream.blocking_write_and_flush(b"abc")
            kept.append(kept_body)
        elif path == "/endless":
            _, stream = begin(response_out)
            while True:
                stream.blocking_write_and_flush(b"x" * 4096)
        elif path == "/counted":
            respond(response_out, 200, b"body", [("content-length", "4")], [("x-sum", b"42")])
        elif path == "/misplaced":
            respond(response_out, 200, b"body", [], [("x-sum", b"42"), ("content-length", b"x")])
        elif path == "/bodiless":
            ResponseOutparam.set(
                response_out, Ok(OutgoingResponse(Fields.from_list([("content-length", b"4")])))
            )
        elif path in {"/204", "/304"}:
            respond(response_out, int(path[1:]), b"not sent", [("content-length", "8")])
        elif path == "/refuse":
            ResponseOutparam.set(response_out, Err(ErrorCode_HttpRequestDenied()))
        elif path == "/dropped":
            response_out.__exit__(None, None, None)
            sleep(0.3)
        elif path == "/odd":
            respond(response_out, 299, b"", [("content-length", "1"), ("content-length", "2")])
        elif path == "/spin":
            while True:
                pass
        elif path == "/late":
            respond(response_out, 200, b"early")
            sleep(0.3)
        elif path == "/afterwards":  # reads the request when it has answered
            respond(response_out, 200, b"early")
            read_all(request)
        else:
            respond(response_out, 404, f"no {path}\n".encode())
