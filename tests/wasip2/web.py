"""What a guest is given to speak HTTP with: names for its code; and servers that do as a test says."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["PRELUDE", "raw_server", "read_head"]

PRELUDE = r"""
http = wasi_http_types

def drop(*handles):
    for handle in handles:
        handle.__exit__(None, None, None)

def code(error):
    "Name an error code, or the error of fields or a stream, with its value if it has one."
    value = error.value if isinstance(error, Err) else error
    name = type(value).__name__.rpartition("_")[2]
    inner = getattr(value, "value", None)
    return name if inner is None else (name, inner)

def tried(call, *args):
    try:
        return call(*args)
    except Err as error:
        return code(error)

def fields(*pairs):
    return http.Fields.from_list(list(pairs))

def request(authority, path="/", method=None, headers=(), scheme=None):
    made = http.OutgoingRequest(fields(*headers))
    made.set_method(method or http.Method_Get())
    made.set_authority(authority)
    made.set_path_with_query(path)
    made.set_scheme(scheme or http.Scheme_Http())
    return made

def options(**milliseconds):
    made = http.RequestOptions()
    for name, value in milliseconds.items():
        getattr(made, f"set_{name}_timeout")(value * 1_000_000)
    return made

def wait(thing):
    with thing.subscribe() as pollable:
        pollable.block()
    return thing.get()

def answer(future):
    "The response, or the code of what went wrong."
    found = wait(future).value
    return found.value if isinstance(found, Ok) else code(found)

def read(body):
    "All of a body, and how its stream ended."
    data = b""
    stream = body.stream()
    try:
        while True:
            data += stream.blocking_read(65536)
    except Err as error:
        value = error.value
        end = "closed" if type(value).__name__.endswith("Closed") else code(http.http_error_code(value.value))
        drop(*([value.value] if end != "closed" else []))
    drop(stream)
    return data, end

def whole(response):
    "Status, body, its end, trailers."
    body = response.consume()
    data, end = read(body)
    future = http.IncomingBody.finish(body)
    found = wait(future).value
    if isinstance(found, Ok):
        trailers = found.value and found.value.entries()
    else:
        trailers = code(found)
    status = response.status()
    return status, data, end, trailers

def write(body, data, trailers=None):
    stream = body.write()
    for at in range(0, len(data), 4096):
        stream.blocking_write_and_flush(data[at:at + 4096])
    drop(stream)
    http.OutgoingBody.finish(body, trailers)

def fetch(authority, path="/", given=None, **kw):
    found = answer(outgoing_handler.handle(request(authority, path, **kw), given))
    return found if isinstance(found, (str, tuple)) else whole(found)
"""


def read_head(sock: socket.socket) -> bytes:
    """Read the head of a request, and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return data


@contextmanager
def raw_server(serve: Callable[[socket.socket], object], clients: int = 1) -> Iterator[str]:
    """Give `clients` clients, one after the other, to a function in a thread; yield the authority."""
    failed: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def run() -> None:
            for _ in range(clients):
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                sock.settimeout(20)
                with sock:
                    try:
                        serve(sock)
                    except BaseException as error:
                        failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()
    if failed:
        raise failed[0]
