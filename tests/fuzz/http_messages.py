"""Requests as they should not be: made well, then changed where servers have been wrong about them."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Message", "request"]

METHODS = (b"GET", b"POST", b"POST", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"BREW")
TARGETS = (b"/hello", b"/echo", b"/echo", b"/echo", b"/head", b"/none", b"/204", b"/counted", b"/seen")

NUMBERS = (
    *(b"-1", b"+3", b"-0", b"0x3", b"3 3", b"3,3", b"3, 4", b"", b" ", b"3.0", b"3e1", b"1_0", b"\xb2"),
    *(b"03", b"18446744073709551616", b"9" * 19, b"9" * 5000, b"\t3", b"3\x0b", b"3;", b"\xef\xbc\x93"),
)
SIZES = (
    *(b"-1", b"+3", b"0x3", b"g", b"", b" 3", b"3 ", b"3\t", b"f" * 16, b"f" * 17, b"f" * 30, b"3\r", b"03"),
    *(
        b"3;x",
        b"3;x=y",
        b'3;x="\r\n"',
        b"3 ;x",
        b"3;" + b"x" * 300,
        b"3\x00",
        b"00000000000000000000000003",
        b"3,3",
    ),
)
CODINGS = (
    *(
        b"Chunked",
        b"chunked, chunked",
        b"identity",
        b"gzip, chunked",
        b"chunked, gzip",
        b"xchunked",
        b"chunked;q=1",
    ),
    *(
        b"chunked\x0b",
        b"\x0bchunked",
        b"chunked,",
        b", chunked",
        b'"chunked"',
        b"",
        b"chun\x00ked",
        b"chunked chunked",
    ),
)
FIELDS = (
    *(
        b"Host: b",
        b"Host: ",
        b"Host: a b",
        b"Host: u@a",
        b"Host: a:x",
        b"host: a",
        b"Host: a/b",
        b"HOST: \x00",
    ),
    *(b"Expect: 100-continue", b"Expect: 200-ok", b"Connection: close", b"Connection: keep-alive, upgrade"),
    *(
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQAAP__",
        b"TE: trailers",
        b"Trailer: x",
        b"X: y",
        b"X:",
        b": y",
        b"",
    ),
    *(
        b"X : y",
        b" X: y",
        b"\tX: y",
        b"X\x00: y",
        b"X: a\x00b",
        b"X: a\rb",
        b"X: a\nb",
        b"X y",
        b"X: \x01\x7f\xff",
    ),
    *(
        b"X: a\r\n b",
        b"Transfer-Encoding:\r\n chunked",
        b"Content-Length:\r\n 3",
        b"X\xc3\xa4: y",
        b"X: a\x0bb",
    ),
    *(b"Connection: content-length", b"Connection: transfer-encoding", b"Keep-Alive: timeout=0", b"(x): y"),
    *(b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Content_Length: 3", b"X: " + b"y" * 5000),
)
LINES = (
    *(b"GET /hello", b"GET  /hello HTTP/1.1", b"GET\t/hello\tHTTP/1.1", b" GET /hello HTTP/1.1", b"", b"GET"),
    *(b"GET /hello HTTP/1.1 ", b"GET /hello HTTP/0.9", b"GET /hello HTTP/2.0", b"GET /hello HTTP/1.10"),
    *(b"GET /hello http/1.1", b"GET /hello HTTP/1.1\r", b"G\x00T /hello HTTP/1.1", b"GET /\x00 HTTP/1.1"),
    *(b"GET http://b/echo HTTP/1.1", b"GET http:///x HTTP/1.1", b"GET http://[/ HTTP/1.1", b"GET * HTTP/1.1"),
    *(b"OPTIONS * HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"GET hello HTTP/1.1", b"GET /a b HTTP/1.1"),
    *(
        b"PRI * HTTP/2.0",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1",
        b"GET /\xff HTTP/1.1",
    ),
    *(b"POST /echo HTTP/1.0", b"GET /hello HTTP/1.0", b"GET /hello HTTP/1.1\r\n"),
)
ENDS = (b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\r\n\r\n", b"", b"\x00\r\n", b" \r\n")


BLANKS = (b"\r\n", b"\r\n\r\n", b"\r", b"\n")
NEXT = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass
class Message:
    """A request in parts, each of which can be wrong.

    fields -- lines without their ends
    chunks -- pieces of its body: what says the size, and what comes; None: the body is `body`
    """

    line: bytes
    fields: list[bytes] = field(default_factory=list)
    body: bytes = b""
    chunks: list[tuple[bytes, bytes]] | None = None
    trailers: bytes = b""
    end: bytes = b"\r\n"
    behind: bytes = b""
    before: bytes = b""

    def bytes(self) -> bytes:
        """Return it as it is sent."""
        head = self.before + self.end.join([self.line, *self.fields, b"", b""])
        if self.chunks is None:
            return head + self.body + self.behind
        body = b"".join(size + self.end + data + self.end for size, data in self.chunks)
        return head + body + self.trailers + self.end + self.behind


def _sound(chance: random.Random) -> Message:
    """Make a request that is well."""
    method = chance.choice(METHODS)
    made = Message(method + b" " + chance.choice(TARGETS) + b" HTTP/1.1", [b"Host: a"])
    body = chance.randbytes(chance.choice((0, 1, 3, 3, 20, 300, 5000, 70_000)))
    kind = chance.random()
    if kind < 0.4:
        made.body = body
        made.fields.append(b"Content-Length: %d" % len(body))
    elif kind < 0.8:
        cuts = sorted(chance.randrange(len(body) + 1) for _ in range(chance.randrange(6)))
        pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
        made.chunks = [(b"%x" % len(piece), piece) for piece in pieces] + [(b"0", b"")]
        made.fields.append(b"Transfer-Encoding: chunked")
    chance.shuffle(made.fields)
    return made


# -- what is done to a head


def _another_line(made: Message, chance: random.Random) -> None:
    made.line = chance.choice(LINES)


def _another_field(made: Message, chance: random.Random) -> None:
    made.fields.insert(chance.randrange(len(made.fields) + 1), chance.choice(FIELDS))


def _a_field_twice(made: Message, chance: random.Random) -> None:
    if made.fields:
        made.fields.append(chance.choice(made.fields))


def _a_field_less(made: Message, chance: random.Random) -> None:
    if made.fields:
        del made.fields[chance.randrange(len(made.fields))]


def _many_fields(made: Message, chance: random.Random) -> None:
    made.fields += [b"X-%d: y" % i for i in range(chance.choice((50, 500, 2000)))]


def _another_end(made: Message, chance: random.Random) -> None:
    made.end = chance.choice(ENDS)


def _a_length(made: Message, chance: random.Random) -> None:
    """Say another length, or one more."""
    said = b"Content-Length: " + chance.choice((*NUMBERS, b"0", b"3", b"4"))
    if chance.random() < 0.5:
        made.fields = [each for each in made.fields if not each.startswith(b"Content-Length")]
    made.fields.insert(chance.randrange(len(made.fields) + 1), said)


def _a_coding(made: Message, chance: random.Random) -> None:
    said = chance.choice((b"Transfer-Encoding: ", b"Transfer-Encoding:", b"transfer-encoding : "))
    if chance.random() < 0.5:
        made.fields = [each for each in made.fields if not each.startswith(b"Transfer")]
    made.fields.insert(chance.randrange(len(made.fields) + 1), said + chance.choice((*CODINGS, b"chunked")))


def _old(made: Message, _chance: random.Random) -> None:
    made.line = made.line.replace(b"HTTP/1.1", b"HTTP/1.0")


# -- what is done to a body


def _a_size(made: Message, chance: random.Random) -> None:
    if made.chunks:
        at = chance.randrange(len(made.chunks))
        made.chunks[at] = (chance.choice(SIZES), made.chunks[at][1])


def _a_piece(made: Message, chance: random.Random) -> None:
    """Let a piece be longer or shorter than it is said to be."""
    if made.chunks:
        at = chance.randrange(len(made.chunks))
        size, data = made.chunks[at]
        made.chunks[at] = (size, data + b"x" if chance.random() < 0.5 else data[:-1])
    else:
        made.body = made.body[:-1]


def _no_last_piece(made: Message, _chance: random.Random) -> None:
    if made.chunks:
        del made.chunks[-1]


def _a_trailer(made: Message, chance: random.Random) -> None:
    made.trailers = chance.choice((*FIELDS, b"X: y\r\nContent-Length: 3")) + chance.choice(
        (b"\r\n", b"\n", b"")
    )


# -- what is done to all of it


def _one_behind(made: Message, chance: random.Random) -> None:
    """Send what looks like the next request, or its beginning."""
    made.behind = chance.choice((NEXT, NEXT, NEXT * 20, *BLANKS, b"G", b"0\r\n\r\n", b"\x00", b"x" * 100_000))


def _something_before(made: Message, chance: random.Random) -> None:
    made.before = chance.choice((*BLANKS, b" ", b"\x00", b"\xef\xbb\xbf", b"\r\n\r"))


CHANGES: tuple[Callable[[Message, random.Random], None], ...] = (
    *(
        _another_line,
        _another_field,
        _another_field,
        _a_field_twice,
        _a_field_less,
        _many_fields,
        _another_end,
    ),
    *(
        _a_length,
        _a_length,
        _a_coding,
        _a_coding,
        _old,
        _a_size,
        _a_size,
        _a_piece,
        _no_last_piece,
        _a_trailer,
    ),
    *(_one_behind, _one_behind, _something_before),
)


def _spoil(data: bytes, chance: random.Random) -> bytes:
    """Change some bytes, wherever they stand; mostly where the head is."""
    spoiled = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(min(len(spoiled), chance.choice((40, 200, len(spoiled) or 1))) or 1)
        act = chance.random()
        if act < 0.4:
            spoiled[at : at + 1] = bytes([chance.choice(b"\x00\r\n\t :;,0aA\x7f\x80\xff")])
        elif act < 0.6:
            spoiled[at:at] = bytes([chance.choice(b"\x00\r\n\t :;,0aA\x7f\x80\xff")])
        elif act < 0.8:
            del spoiled[at : at + chance.choice((1, 1, 2, 10))]
        else:
            spoiled[at:at] = spoiled[at : at + chance.choice((1, 5, 50))]
    return bytes(spoiled)


def request(chance: random.Random) -> bytes:
    """Make the bytes of one request, which few servers would like; some are well."""
    made = _sound(chance)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3))):
        chance.choice(CHANGES)(made, chance)
    data = made.bytes()
    if chance.random() < 0.3:
        data = _spoil(data, chance)
    if chance.random() < 0.15:
        data = data[: chance.randrange(len(data) + 1)]
    return data
