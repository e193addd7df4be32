"""Values of WIT on a command line: what is written is read, and what is shown can be read again."""

import pytest

from coop.cli.wave import read, show
from coop.wit import Case, Err, Ok, Some, parse_type

WORDS = "enum {true, none, some-thing}"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", r'"a\n\t\"\\\u{1b}\u{1F600}"', 'a\n\t"\\\x1b\U0001f600'),
        ("char", r"'\''", "'"),
        (WORDS, "%none", "none"),
        (WORDS, "%some-thing", "some-thing"),
        (f"option<{WORDS}>", "%none", "none"),
        (f"option<{WORDS}>", "none", None),
        (f"option<{WORDS}>", "some(%none)", "none"),
        ("variant {none(u8), a}", "%none(1)", Case("none", 1)),
        ("record {%list: u8, b: option<u8>}", "{%list: 1}", {"list": 1, "b": None}),
        ("flags {a, true}", "{%true}", frozenset({"true"})),
        ("result<u8, string>", "1", Ok(1)),
        ("result<u8, string>", 'err("x")', Err("x")),
        ("option<option<u8>>", "some(1)", Some(1)),
        ("option<option<u8>>", "some(none)", Some(None)),
    ],
)
def test_a_value_is_read_by_its_type(kind, text, value):
    found = read(parse_type(kind), text)
    if isinstance(value, Err):
        assert isinstance(found, Err)
        found, value = found.value, value.value
    assert found == value


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("string", r'"\x41"', r"'\\x' is no escape"),
        ("string", r'"\u{d800}"', "is no escape"),
        ("string", r'"\u{110000}"', "is no escape"),
        ("char", "'ab'", "'ab' is no char, but 2 of them"),
        ("flags {a, b}", "{a, a}", "a stands twice"),
        ("record {a: u8}", "{a: 1, a: 2}", "a stands twice"),
        ("option<option<u8>>", "1", "none of some, none"),
        ("result<option<u8>>", "1", "none of ok, err"),
    ],
)
def test_what_is_no_value_is_refused(kind, text, says):
    with pytest.raises(ValueError, match=r".") as refused:
        read(parse_type(kind), text)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("string", 'a"\\\n\x1b[31m\x7f\u2028\u00fc', r'"a\"\\\n\u{1b}[31m\u{7f}\u{2028}' + '\u00fc"'),
        ("char", "\n", r"'\n'"),
        ("char", "'", r"'\''"),
        ("char", "\x00", r"'\u{0}'"),
        (WORDS, "none", "%none"),
        (WORDS, "some-thing", "some-thing"),
        (f"option<{WORDS}>", "none", "some(%none)"),
        (f"option<{WORDS}>", None, "none"),
        ("variant {true, ok(u8)}", Case("ok", 1), "%ok(1)"),
        ("flags {a, true}", frozenset({"true"}), "{true}"),
        ("record {%list: u8}", (1,), "{list: 1}"),
        ("option<option<u8>>", Some(None), "some(none)"),
    ],
)
def test_a_value_is_shown_as_wasmtime_shows_it_and_can_be_read_again(kind, value, text):
    parsed = parse_type(kind)
    assert show(parsed, value) == text
    again = read(parsed, text)
    assert (tuple(again.values()) if isinstance(again, dict) else again) == value
