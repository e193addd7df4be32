"""Values across the border of a component: from Python into the guest, to the host, and all the way back."""

import math
import struct
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import coop
from coop.engine.component import Component
from coop.errors import LinkError
from coop.wasip2 import Guest
from coop.wit import Case, Err, Interface, Ok, Some, function, packages
from tests.components import SOURCES, python_component
from tests.engine.component_wat import HOST, call, text
from tests.guestbuild import ToolchainMissing

TYPES = {
    "a-bool": "bool",
    **{f"an-{name}": name for name in ("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64")},
    "a-char": "char",
    "a-string": "string",
    "some-bytes": "list<u8>",
    "numbers": "list<u32>",
    "texts": "list<string>",
    "a-point": "point",
    "points": "list<point>",
    "a-pair": "tuple<u8, string>",
    "a-shape": "shape",
    "a-color": "color",
    "perhaps": "option<u32>",
    "perhaps-twice": "option<option<u32>>",
    "permissions": "perms",
    "outcomes": "list<result<u32, string>>",
    "bare-outcomes": "list<result>",
    "failable": "tuple<result<_, color>>",
}


class Echo(Interface):
    """Gives back what it is given, and remembers it."""

    name = "acme:echo/echo"
    types: ClassVar = {
        "point": "record {x: s32, the-label: string}",
        "shape": "variant {circle(f64), square(u32), none}",
        "color": "enum {red, dark-blue}",
        "perms": "flags {read, write, see-all}",
    }
    seen: Any = None


def _add(name: str, signature: str) -> None:
    def give_back(self: Echo, given: Any) -> Any:
        self.seen = given
        return given

    attribute = name.replace("-", "_")
    give_back.__name__ = attribute
    setattr(Echo, attribute, function(signature, parks=False)(give_back))


for _name, _type in TYPES.items():
    _add(_name, f"func(given: {_type}) -> {_type}")
_add("outcome", "func(given: bool) -> result<bool, string>")

_WORLD = "world echo {\n  include imports;\n  import acme:echo/echo;\n  export acme:echo/echo;\n}\n"


@pytest.fixture(scope="module")
def component() -> Component:
    try:
        path = python_component(SOURCES / "echo.py", "echo", _WORLD, packages([Echo]))
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    found = Component.from_file(path)
    send(found, "a-bool", True)  # from the first guest on, wasmtime keeps the image of its memory open
    return found


def send(component: Component, name: str, *values: Any) -> list[tuple[Any, Any]]:
    host = Echo()

    def main() -> list[tuple[Any, Any]]:
        with Guest(component, imports=[host]) as guest:
            return [(guest.call("acme:echo/echo", name, value), host.seen) for value in values]

    return coop.run(main)


@pytest.fixture
def echo(component: Component) -> Callable[..., list[tuple[Any, Any]]]:
    """Send values through guest and host: echo(name, *values) -> each result, with what the host saw."""
    return partial(send, component)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a-bool", [True, False]),
        ("an-s8", [-128, 127]),
        ("an-u8", [0, 255]),
        ("an-s16", [-(1 << 15), (1 << 15) - 1]),
        ("an-u16", [0, 65535]),
        ("an-s32", [-(1 << 31), (1 << 31) - 1]),
        ("an-u32", [0, (1 << 32) - 1]),
        ("an-s64", [-(1 << 63), (1 << 63) - 1]),
        ("an-u64", [0, (1 << 64) - 1]),
        ("an-f32", [0.0, -1.5, float("inf")]),
        ("an-f64", [0.0, 1e300, -float("inf")]),
        ("a-char", ["a", "\0", "\N{SNOWMAN}", "\U0010ffff"]),
        ("a-string", ["", "a", "\0", "gr\u00fc\u00df \N{SNOWMAN}\U0001f600", "x" * 100_000]),
        ("some-bytes", [b"", b"\0", bytes(range(256)) * 300]),
        ("numbers", [[], [1], list(range(1000))]),
        ("texts", [[], ["", "a", "\N{SNOWMAN}"]]),
        ("a-point", [(1, "one")]),
        ("points", [[(1, "one"), (-2, "")]]),
        ("a-pair", [(7, "seven")]),
        ("a-shape", [Case("circle", 1.5), Case("square", 3), Case("none")]),
        ("a-color", ["red", "dark-blue"]),
        ("perhaps", [None, 0, 5]),
        ("perhaps-twice", [None, Some(None), Some(5)]),
        ("permissions", [frozenset(), frozenset({"read", "see-all"})]),
        ("outcomes", [[Ok(1), Err("no")]]),
        ("bare-outcomes", [[Ok(), Err()]]),
        ("failable", [(Ok(),), (Err("dark-blue"),)]),
    ],
)
def test_a_value_is_the_same_after_guest_and_host(echo: Callable[..., Any], name: str, values: list[Any]):
    for value, (result, seen) in zip(values, echo(name, *values), strict=True):
        assert (result, seen) == (value, value)
        assert type(result) is type(seen)


def test_a_record_has_named_fields_and_is_given_in_several_ways(echo: Callable[..., Any]):
    class Point:
        x, the_label = 3, "three"

    ways = [(3, "three"), {"x": 3, "the_label": "three"}, {"x": 3, "the-label": "three"}, Point()]
    for result, seen in echo("a-point", *ways):
        assert (result.x, result.the_label) == (seen.x, seen.the_label) == (3, "three")


def test_a_result_is_returned_or_raised(component: Component, echo: Callable[..., Any]):
    class Failing(Echo):
        @function("func(given: bool) -> result<bool, string>", parks=False)
        def outcome(self, given: bool) -> bool:
            if not given:
                raise Err("it is false")
            return given

    assert echo("outcome", True) == [(True, True)]

    def main() -> None:
        with Guest(component, imports=[Failing()]) as guest:
            with pytest.raises(Err) as caught:
                guest.call("acme:echo/echo", "outcome", False)
            assert caught.value.value == "it is false"
            assert guest.call("acme:echo/echo", "outcome", True) is True  # an error is no end

    coop.run(main)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("a-bool", 1, "bool wanted, not 1"),
        ("an-u8", 256, "u8 wanted, not 256"),
        ("an-u8", -1, "u8 wanted"),
        ("an-u8", True, "u8 wanted, not True"),
        ("an-s64", 1 << 63, "s64 wanted"),
        ("an-u32", 1.0, "u32 wanted, not 1.0"),
        ("an-f64", "1", "f64 wanted"),
        ("an-f32", 1e300, "f32 wanted"),
        ("a-char", "ab", "char wanted, not 'ab'"),
        ("a-char", "\ud800", "char wanted"),
        ("a-string", b"bytes", "string wanted"),
        ("a-string", "\ud800", "string of Unicode characters wanted"),
        ("some-bytes", "text", "list<u8> wanted"),
        ("some-bytes", [1, 2], "list<u8> wanted"),
        ("numbers", 5, "list<u32> wanted, not 5"),
        ("numbers", "12", "list<u32> wanted"),
        ("numbers", [1, "2"], "u32 wanted, not '2'"),
        ("a-point", (1,), "record {x: s32, the-label: string} wanted"),
        ("a-point", {"x": 1}, "record {x: s32, the-label: string} wanted"),
        ("a-pair", (1, "a", 2), "tuple<u8, string> wanted"),
        ("a-shape", "circle", "f64 wanted, not None"),
        ("a-shape", Case("none", 1), "has no value; 1 is given"),
        ("a-shape", Case("hexagon"), "a Case of variant {circle(f64), square(u32), none} wanted"),
        ("a-color", "green", "enum {red, dark-blue} wanted, not 'green'"),
        ("perhaps-twice", 5, "None or Some of option<option<u32>> wanted"),
        ("permissions", {"fly"}, "flags {read, write, see-all} wanted"),
        ("permissions", "read", "flags {read, write, see-all} wanted"),
        ("permissions", [["read"]], "flags {read, write, see-all} wanted"),
        ("outcomes", [1], "Ok or Err of result<u32, string> wanted, not 1"),
        ("bare-outcomes", [Ok(1)], "has no value; 1 is given"),
    ],
)
def test_a_wrong_argument_is_a_link_error_that_names_it(
    echo: Callable[..., Any], name: str, value: Any, says: str
):
    with pytest.raises(LinkError) as caught:
        echo(name, value)
    assert f"acme:echo/echo {name}, argument given: " in str(caught.value)
    assert says in str(caught.value)


_f32 = st.floats(width=32, allow_nan=False)
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    points=st.lists(st.tuples(st.integers(-(1 << 31), (1 << 31) - 1), _text), max_size=20),
    texts=st.lists(_text, max_size=20),
    data=st.binary(max_size=5000),
    number=_f32,
    shape=st.one_of(
        st.floats(allow_nan=False).map(lambda x: Case("circle", x)),
        st.integers(0, (1 << 32) - 1).map(lambda x: Case("square", x)),
        st.just(Case("none")),
    ),
)
def test_any_value_is_the_same_after_guest_and_host(
    echo: Callable[..., Any], points: Any, texts: Any, data: Any, number: float, shape: Any
):
    for name, value in (
        ("points", points),
        ("texts", texts),
        ("some-bytes", data),
        ("an-f32", number),
        ("a-shape", shape),
    ):
        assert echo(name, value) == [(value, value)]


def test_a_number_that_is_none_stays_one(echo: Callable[..., Any]):
    ((result, seen),) = echo("an-f64", struct.unpack("<d", b"\1\0\0\0\0\0\xf8\x7f")[0])
    assert math.isnan(result)
    assert math.isnan(seen)


@pytest.mark.parametrize("way", ["as it came", "an object", "a mapping", "by the name of WIT"])
def test_a_field_that_is_called_like_a_word_of_python_has_an_underscore(way: str):
    record = "record {%from: u32, to: u32}"

    class Moves(Interface):
        name = HOST

        @function(f"func(move: {record}) -> {record}")
        def move(self, move: Any) -> Any:
            assert move == (move.from_, move.to) == (1, 2)
            ways = {"an object": SimpleNamespace(from_=1, to=2), "a mapping": {"from_": 1, "to": 2}}
            return {**ways, "by the name of WIT": {"from": 1, "to": 2}}.get(way, move)

    wat = text(
        """(type $r (record (field "from" u32) (field "to" u32))) (export "r" (type $move (eq $r)))
        (export "move" (func (param "move" $move) (result $move)))""",
        lower={"move": "(param i32 i32 i32)"},
        body="""(func (export "go") (result i64)
          (call $move (i32.const 1) (i32.const 2) (i32.const 64)) (i64.load (i32.const 64)))""",
        lift={"go": "(result u64)"},
    )
    assert call(wat, "go", imports=[Moves()]) == 1 + (2 << 32)


class Unshown:
    def __repr__(self) -> str:
        raise KeyError("not shown")


@pytest.mark.parametrize(
    ("value", "shown"), [(1 << 20_000, "0x1000"), (Unshown(), "<Unshown>")], ids=["large", "unshown"]
)
def test_a_wrong_value_that_cannot_be_shown_is_named_all_the_same(value: Any, shown: str):
    class Answers(Interface):
        name = HOST

        @function("func() -> u32")
        def answer(self) -> Any:
            return value

    wat = text(
        '(export "answer" (func (result u32)))',
        lower={"answer": "(result i32)"},
        body='(func (export "go") (param i32) (result i32) (call $answer))',
        lift={"go": '(param "x" u32) (result u32)'},
    )
    with pytest.raises(LinkError, match=f"argument x: u32 wanted, not {shown}"):
        call(wat, "go", value, imports=[Answers()])
    with pytest.raises(TypeError, match=f"answer returned {shown}.*: u32 wanted, not {shown}"):
        call(wat, "go", 1, imports=[Answers()])
