"""`h11` with a bound for lines: the same messages as without, except for those with too many."""

import random

import h11
import pytest

from coop.wasip2.http.machine import MOST_BLANKS, MOST_LINES, Machine

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
TEXT = b"a line\n" * 30_000
BLANK = b" \t" * 10_000


def played(machine: h11.Connection, pieces: list[bytes]) -> tuple:
    """What was understood of these pieces and the end: body, trailers, how it ended, what is left."""
    body, trailers, end = b"", [], ""
    try:
        for piece in [*pieces, b""]:
            machine.receive_data(piece)
            while (event := machine.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    trailers = list(event.headers)
                elif not isinstance(event, h11.Request):
                    end = str(event)
                    break
    except h11.RemoteProtocolError as error:
        end = f"{error.error_status_hint} {error}"
    return body, trailers, end, machine.trailing_data


def cut(data: bytes, seed: int) -> list[bytes]:
    """The same bytes in pieces of any size."""
    dice, pieces = random.Random(seed), []
    while data:
        size = dice.choice((1, 700, 5_000, 65_536))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: %d\r\n\r\n%s" % (len(TEXT), TEXT),
        POST + b"Content-Length: %d\r\n\r\n%s" % (len(TEXT) + 1, TEXT),
        POST + b"Content-Length: %d\r\n\r\n%s" % (len(TEXT) - 9_000, TEXT),
        CHUNKED + b"%x\r\n%s\r\n0\r\nX: y\r\n\r\n" % (len(TEXT), TEXT),
        CHUNKED + b"1\r\n\n\r\n" * 5_000 + b"0\r\n\r\n" + TEXT,
        CHUNKED + b"1\r\n\n\r\n" * 5_000 + b"z\r\n",
        CHUNKED + b"%x\r\n%s\r\n0\r\nX: y\r\n\r\n" % (len(BLANK), BLANK),
        POST + b"Content-Length: %d\r\n\r\n%s" % (len(BLANK), BLANK),
        POST + b"X: y\r\n" * (MOST_LINES - 3) + b"\r\n",
        POST + b"X:" + b" " * (MOST_BLANKS - 1) + b"y" + b" " * (MOST_BLANKS - 1) + b"\r\n\r\n",
    ],
)
def test_what_has_many_lines_is_understood_as_ever(data: bytes, seed: int):
    pieces = cut(data, seed)
    ours, theirs = played(Machine(h11.SERVER, 65_536), pieces), played(h11.Connection(h11.SERVER), pieces)
    assert ours == theirs


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "before", [POST, CHUNKED + b"0\r\n", CHUNKED + b"%x\r\n%s\r\n0\r\n" % (len(TEXT), TEXT)]
)
def test_a_head_and_trailers_of_too_many_lines_are_refused(before: bytes, seed: int):
    data = before + b"x:\n" * 5_000 + b"\n"
    assert played(Machine(h11.SERVER, 65_536), cut(data, seed))[2] == f"431 more than {MOST_LINES} lines"


ILLEGAL = [  # each takes a regular expression of `h11` seconds or minutes
    POST + b"X:" + b" " * 60_000 + b"\x00\r\n\r\n",
    POST + b"X:" + b"\t" * 60_000 + b"y\x00\r\n\r\n",
    CHUNKED + b"1;" + b" " * 60_000 + b"\nx\r\nx\r\n",
    CHUNKED + b"3\r\nabc\r\n0\r\nX:" + b" " * 60_000 + b"\x00\r\n\r\n",
    CHUNKED + b"%x\r\n%s\r\n0\r\nX:" % (len(BLANK), BLANK) + b" " * 60_000 + b"\x00\r\n\r\n",
]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("data", ILLEGAL)
def test_a_long_run_of_blanks_where_none_belongs_is_refused_at_once(data: bytes, seed: int):
    assert played(Machine(h11.SERVER, 65_536), cut(data, seed))[2] == f"400 {MOST_BLANKS} blanks in a row"


@pytest.mark.parametrize("size", [30_000, 65_000, 66_000, 100_000])
@pytest.mark.parametrize("piece", [40_000, 60_000])
def test_a_head_that_is_too_long_is_not_taken_apart_though_its_end_has_come(size: int, piece: int):
    data = POST + b"X: " + b"y" * (size - len(POST) - 7) + b"\r\n\r\n"
    machine = Machine(h11.SERVER, 65_536)
    assert played(machine, [data[:piece], data[piece:]])[2].startswith("431 ") == (size > 65_536)
