"""wasi:http/types from a guest: what each function gives, and each error."""

import socket
import threading

import pytest

from coop.errors import GuestTrap
from coop.wasip2.http import pipe
from coop.wasip2.http.errorcode import HttpFailure
from coop.wit import Case
from tests.wasip2.web import PRELUDE


@pytest.fixture
def web(python):
    """Run code with the names of `tests.wasip2.web`."""
    return lambda code: python(lambda run: [run(PRELUDE), run(code)][1])


# -- fields


def test_fields_keep_their_order_and_have_small_names(web):
    found = web("""
f = fields(("B", b"1"), ("a", b"2"), ("b", b"3"))
f.append("A", b" 4\\t")
result = f.entries(), f.get("B"), f.has("A"), f.has("c"), f.get("c"), f.get("no name")
""")
    entries = [("b", b"1"), ("a", b"2"), ("b", b"3"), ("a", b"4")]
    assert found == (entries, [b"1", b"3"], True, False, [], [])


def test_a_name_that_no_field_can_have_is_not_there_however_long(web):
    """It must not be turned into small letters once for every field: that would take minutes."""
    found = web("""
f = fields(*(("k", b"") for _ in range(3000)))
names = "K" * 4_000_000, "k" * 131_073, "\\u212a", ""
result = [(f.has(name), f.get(name)) for name in names], f.has("K"), len(f.get("K"))
""")
    assert found == ([(False, [])] * 4, True, 3000)


def test_fields_are_set_and_deleted_by_name(web):
    found = web("""
f = http.Fields()
f.append("a", b"1")
f.append("a", b"2")
f.set("A", [b"3", b"4"])
one = f.entries()
f.set("a", [])
f.append("b", b"5")
f.delete("none")
f.delete("B")
result = one, f.entries()
""")
    assert found == ([("a", b"3"), ("a", b"4")], [])


def test_a_clone_is_another_and_may_be_changed(web):
    found = web("""
f = fields(("a", b"1"))
r = http.OutgoingRequest(f)
c = r.headers().clone()
c.append("b", b"2")
result = c.entries(), r.headers().entries()
""")
    assert found == ([("a", b"1"), ("b", b"2")], [("a", b"1")])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("", b"x"), ("a b", b"x"), ("a:", b"x"), ("a\r\nb", b"x"), ("a\x00", b"x"), ("\xe9", b"x")),
        *(("a", bad) for bad in (b"x\r\ny: z", b"\n", b"x\x00", b"x\x0by", b"x\x0c", b"\x7f", b"\x01")),
    ],
)
def test_what_cannot_stand_in_a_header_is_invalid_syntax(web, name: str, value: bytes):
    found = web(f"""
f = http.Fields()
name, value = {name!r}, {value!r}
result = {{
    tried(f.append, name, value), tried(f.set, name, [b"fine", value]), tried(fields, (name, value)),
    tried(f.delete, name) if value == b"x" else "InvalidSyntax",
}}, f.entries()
""")
    assert found == ({"InvalidSyntax"}, [])


def test_values_may_have_bytes_that_are_no_ascii(web):
    assert web(r"result = fields(('a', b'\xc3\xa9\xff'), ('b', b'')).entries()") == [
        *(("a", b"\xc3\xa9\xff"), ("b", b""))
    ]


@pytest.mark.parametrize("name", ["Connection", "host", "Transfer-Encoding", "upgrade", "Keep-Alive"])
def test_fields_of_the_connection_are_forbidden(web, name: str):
    found = web(f"""
f = http.Fields()
result = [tried(f.append, {name!r}, b"x"), tried(f.set, {name!r}, [b"x"]), tried(f.delete, {name!r})]
result.append(tried(fields, ({name!r}, b"x")))
""")
    assert found == ["Forbidden"] * 4


@pytest.mark.parametrize("made", ["OutgoingRequest", "OutgoingResponse"])
def test_fields_of_a_message_are_immutable(web, made: str):
    found = web(f"""
m = http.{made}(fields(("a", b"1")))
h = m.headers()
result = [tried(h.append, "a", b"x"), tried(h.set, "a", []), tried(h.delete, "a")], h.entries()
""")
    assert found == (["Immutable"] * 3, [("a", b"1")])


def test_fields_that_fill_the_hosts_memory_end_the_guest(web):
    with pytest.raises(GuestTrap, match="fields of more than 131072 bytes"):
        web("f = http.Fields()\nwhile True: f.append('a', b'x' * 1000)")


@pytest.mark.parametrize("more", ["f.append('a' * 200_000, b'')", "f.set('a:', [bytes(100_000)] * 2)"])
def test_fields_that_are_too_long_are_not_looked_at(web, more: str):
    with pytest.raises(GuestTrap, match="fields of more than 131072 bytes"):
        web(f"f = http.Fields()\ntry: {more}\nexcept Err: pass")


MANY = "f = http.Fields()\nfor i in range(100): f.append(f'name-{i}', b'x' * 1000)\n"


@pytest.mark.parametrize("more", ["f.clone()", "http.OutgoingRequest(f.clone())", "r.headers()"])
def test_all_fields_of_a_guest_together_have_a_bound(web, more: str):
    with pytest.raises(GuestTrap, match="fields of more than 16777216 bytes in all"):
        web(MANY + f"r = http.OutgoingRequest(f.clone())\nkept = []\nwhile True: kept.append({more})")


@pytest.mark.parametrize("more", ["f.clone()", "http.OutgoingRequest(f.clone())", "r.headers()"])
def test_fields_that_are_given_back_count_no_more(web, more: str):
    assert (
        web(
            MANY + f"r = http.OutgoingRequest(f.clone())\nfor _ in range(1000): drop({more})\nresult = 'fine'"
        )
        == "fine"
    )


def test_headers_go_before_their_message(web):
    with pytest.raises(GuestTrap, match="OutgoingRequest is given up while 1 made of it"):
        web("r = http.OutgoingRequest(http.Fields()); h = r.headers(); drop(r)")


# -- requests


def test_a_new_request_gets_nothing_in_particular(web):
    found = web("""
r = http.OutgoingRequest(http.Fields())
result = type(r.method()).__name__, r.path_with_query(), r.scheme(), r.authority()
""")
    assert found == ("Method_Get", None, None, None)


@pytest.mark.parametrize(
    "name", ["Get", "Head", "Post", "Put", "Delete", "Connect", "Options", "Trace", "Patch"]
)
def test_a_method_is_kept(web, name: str):
    found = web(f"""
r = http.OutgoingRequest(http.Fields())
r.set_method(http.Method_{name}())
result = type(r.method()).__name__
""")
    assert found == f"Method_{name}"


@pytest.mark.parametrize(
    ("part", "given", "fits"),
    [
        *(("method", f"http.Method_Other({m!r})", True) for m in ("PURGE", "x-y", "GET")),
        *(("method", f"http.Method_Other({m!r})", False) for m in ("", "A B", "A\r\n", "A:", "\xe9")),
        *(("path_with_query", repr(p), True) for p in ("/", "/a?b=c&d", "?q", "", "*", "/%20")),
        *(("path_with_query", repr(p), False) for p in ("a", "/a b", "/\r\nx: y", "/a#b", "/\x00", "*a")),
        *(("scheme", f"http.Scheme_{s}", True) for s in ("Http()", "Https()", "Other('a+b-1.c')")),
        *(("scheme", f"http.Scheme_Other({s!r})", False) for s in ("", "1a", "a b", "a:")),
        *(("authority", repr(a), True) for a in ("a", "a:1", "127.0.0.1:80", "[::1]", "[::1]:443")),
        *(("authority", repr(a), False) for a in ("", "a b", "a\r\nx: y", "u@a", "a:b", "::1", "a:", "a/b")),
        *(("authority", repr("a" * 253 + ".:65535" + more), not more) for more in ("", "0", "0" * 1_000_000)),
        *((part, "None", True) for part in ("path_with_query", "scheme", "authority")),
        *(("path_with_query", repr("/" + "a" * n), n < 65534) for n in (65533, 65534)),
        *(("method", f"http.Method_Other('a' * {n})", n < 65535) for n in (65534, 65535)),
        *(("scheme", f"http.Scheme_Other('a' * {n})", n < 65535) for n in (65534, 65535)),
    ],
)
def test_parts_of_a_request_are_kept_or_refused(web, part: str, given: str, fits: bool):
    found = web(f"""
r = http.OutgoingRequest(http.Fields())
given = {given}
error = tried(r.set_{part}, given)
result = error, r.{part}() == given
""")
    assert found == ((None, True) if fits else ("NoneType", False))


def test_timeouts_are_kept(web):
    found = web("""
o = http.RequestOptions()
result = []
for name in ("connect", "first_byte", "between_bytes"):
    get, put = getattr(o, f"{name}_timeout"), getattr(o, f"set_{name}_timeout")
    result.append(get())
    put(7)
    result.append(get())
    put(2**64 - 1)
    result.append(get() == 2**64 - 1)
    put(None)
    result.append(get())
""")
    assert found == [None, 7, True, None] * 3


# -- responses


def test_a_status_is_kept_or_refused(web):
    found = web("""
r = http.OutgoingResponse(http.Fields())
result = [r.status_code()]
for status in (201, 999, 99, 1000, 0, 100, 65535, 404):
    result.append(tried(r.set_status_code, status))
result.append(r.status_code())
""")
    assert found == [200, None, None, *["NoneType"] * 5, None, 404]


# -- bodies


@pytest.mark.parametrize("made", ["OutgoingRequest", "OutgoingResponse"])
def test_a_body_and_its_stream_are_had_once(web, made: str):
    found = web(f"""
m = http.{made}(http.Fields())
b = m.body()
s = b.write()
result = tried(m.body), tried(b.write)
""")
    assert found == ("NoneType", "NoneType")


@pytest.mark.parametrize("lengths", [["x"], ["1", "2"], ["-1"], ["+1"], ["1, 1"], ["9" * 5000]])
def test_a_body_of_no_length_is_refused(web, lengths: list[str]):
    found = web(f"""
m = http.OutgoingResponse(fields(*(("content-length", v.encode()) for v in {lengths!r})))
result = tried(m.body)
""")
    assert found == "NoneType"


@pytest.mark.parametrize("kind", ["Request", "Response"])
def test_a_body_is_as_long_as_was_promised(web, kind: str):
    found = web(f"""
def made():
    m = http.Outgoing{kind}(fields(("content-length", b"5")))
    return m, m.body()

result = []
for data in (b"", b"four", b"fives"):
    m, b = made()
    s = b.write()
    s.blocking_write_and_flush(data)
    drop(s)
    result.append(tried(http.OutgoingBody.finish, b, None))
m, b = made()
s = b.write()
try:
    s.blocking_write_and_flush(b"sixsix")
except Err as error:
    result.append(code(http.http_error_code(error.value.value)))
""")
    name = f"Http{kind}BodySize"
    assert found == [(name, 0), (name, 4), None, (name, 6)]


def test_a_body_goes_before_what_is_made_of_it(web):
    with pytest.raises(GuestTrap, match="OutgoingBody is given up while 1 made of it"):
        web("""
m = http.OutgoingResponse(http.Fields())
b = m.body()
s = b.write()
http.OutgoingBody.finish(b, None)
""")


def test_a_body_holds_no_more_than_its_room_and_says_so(web):
    found = web("""
m = http.OutgoingResponse(http.Fields())
b = m.body()
s = b.write()
result = [s.check_write()]
s.write(bytes(65000))
result += [s.check_write(), s.subscribe().ready()]
s.write(bytes(536))
result += [s.check_write(), s.subscribe().ready()]
""")
    assert found == [65536, 536, True, 0, False]


FILLED = """
def filled():
    m = http.OutgoingRequest(http.Fields())
    b = m.body()
    s = b.write()
    s.write(b"x" * s.check_write())
    return m, b, s
"""


def test_all_bodies_of_a_guest_together_have_a_bound(web, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipe, "_ALL", 1 << 20)
    with pytest.raises(GuestTrap, match="bodies of more than 1048576 bytes that nobody has read"):
        web(FILLED + "kept = []\nwhile True: kept.append(filled())")


def test_bodies_that_are_given_back_count_no_more(web, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipe, "_ALL", 1 << 20)
    code = """
for _ in range(100):
    m, b, s = filled()
    drop(s); drop(b); drop(m)
result = "fine"
"""
    assert web(FILLED + code) == "fine"


def test_nobody_writes_a_body_of_a_message_that_is_dropped(web):
    found = web("""
m = http.OutgoingRequest(http.Fields())
b = m.body()
s = b.write()
drop(m)
result = tried(s.blocking_write_and_flush, b"x"), tried(s.check_write)
""")
    assert found == ("Closed", "Closed")


def test_an_error_that_is_none_of_http_has_no_code(python):
    code = """
try:
    stdout.get_stdout().blocking_write_and_flush(b"x")
except Err as error:
    result = error.value.value.to_debug_string(), wasi_http_types.http_error_code(error.value.value)
"""
    with open("/dev/full", "wb", buffering=0) as full:
        found = python(lambda run: run(code), stdout=full)
    assert "No space left" in found[0]
    assert found[1] is None


# -- what comes in


def test_an_answer_and_its_parts_are_had_once(python):
    from coop.wasip2 import Network
    from tests.wasip2.web import raw_server, read_head

    trailed = b"HTTP/1.1 299 Odd\r\nA: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nb: 2\r\n\r\n"
    was_early = threading.Event()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        was_early.wait(60)
        sock.sendall(trailed)

    with raw_server(serve) as authority:
        asked = f"""
future = outgoing_handler.handle(request({authority!r}), None)
early = future.get()
"""
        code = """
response = answer(future)
again = future.get().value
body = response.consume()
second = tried(response.consume)
stream = body.stream()
other = tried(body.stream)
drop(stream)
trailers = http.IncomingBody.finish(body)
found = wait(trailers).value.value
late = trailers.get()
headers = response.headers()
result = (
    early, isinstance(again, Err) or type(again).__name__, second, other, found.entries(),
    tried(found.append, "c", b"3"), type(late.value).__name__,
    headers.entries(), tried(headers.delete, "a"), response.status(),
)
"""

        def act(run):
            run(PRELUDE)
            run(asked)
            was_early.set()  # or the answer may be there when it is asked for early
            return run(code)

        found = python(act, network=Network(connect="127.0.0.1:*"))
    assert found[0] is None
    assert found[2:6] == ("NoneType", "NoneType", [("b", b"2")], "Immutable")
    assert found[7:] == ([("a", b"1")], "Immutable", 299)


def test_what_a_guest_says_of_its_failure_is_told_in_brief_and_kept_whole():
    failure = HttpFailure("internal-error", "x" * 1_000_000)
    assert str(failure) == f"internal-error: {'x' * 200}..."
    assert failure.code == Case("internal-error", "x" * 1_000_000)
    assert str(HttpFailure("internal-error", "out of luck")) == "internal-error: out of luck"
