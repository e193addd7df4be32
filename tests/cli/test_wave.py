"""Values of WIT on a command line: what is written is read, and what is shown can be read again."""

import subprocess

import pytest

from coop.cli.wave import read, read_arguments, show
from coop.wit import Case, Err, Ok, Some, parse_type
from tests.cli.guests import complaint, coop, save
from tests.guestbuild import ToolchainMissing
from tests.native import native

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
        ("u32", "1_0", "'1_0' is no u32"),
        ("f64", "٣", "'٣' is no f64"),
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


# -- a call, as wasmtime spells it

SUMS = """
(component
  (core module $m (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1))))
  (core instance $i (instantiate $m))
  (func $add (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (instance (export "acme:demo/sums@1.0.0") (export "add" (func $add)) (export "twin" (func $add)))
  (instance (export "acme:demo/twins") (export "twin" (func $add)))
  (export "total" (func $add)))
"""


@pytest.mark.parametrize("call", ["add(1, 2)", "total(1,2)", " add ( 1 , 2 ) "])
def test_a_call_with_its_arguments_is_what_it_is_on_native_wasmtime(tmp_path, call):
    try:
        argv = [*native("run"), "--invoke", call, save(tmp_path, SUMS)]
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    there = subprocess.run(argv, capture_output=True, check=True, timeout=60)
    assert coop("run", "--invoke", call, save(tmp_path, SUMS)).stdout == there.stdout == b"3\n"


@pytest.mark.parametrize("name", ["add", "total", "acme:demo/sums#add", "acme:demo/twins#twin"])
def test_a_function_is_found_by_its_name_where_one_interface_has_it(tmp_path, name):
    guest = save(tmp_path, SUMS)
    assert coop("run", "--invoke", name, guest, "1", "2").stdout == b"3\n"
    assert coop("run", "--invoke", f"{name}(1, 2)", guest).stdout == b"3\n"


@pytest.mark.parametrize(
    ("call", "args", "status", "says"),
    [
        ("twin(1, 2)", [], 1, "acme:demo/sums@1.0.0#twin or acme:demo/twins#twin?"),
        ("add(1)", [], 1, "2 values expected, not 1"),
        ("add(1, 2, 3)", [], 1, "2 values expected"),
        ("add(1, 2", [], 1, "expected, not its end"),
        ("add(1, 2) + 3", [], 1, "nothing more was expected"),
        ("add(1, 2)", ["3"], 2, "its arguments stand in parentheses, and 1 more after the file"),
        ("nothing(1, 2)", [], 1, "function nothing is not exported"),
        ("(1, 2)", [], 1, "is not exported"),
    ],
)
def test_a_call_that_cannot_be_meant_is_one_line(tmp_path, call, args, status, says):
    assert says in complaint(["run", "--invoke", call, save(tmp_path, SUMS), *args], status)


def test_options_at_the_end_of_a_call_may_be_left_out():
    kinds = [parse_type(each) for each in ("option<u8>", "u8", "option<u8>", "option<string>")]
    assert read_arguments(kinds, "(none, 1)") == [None, 1, None, None]
    assert read_arguments(kinds, "(2, 1, 3)") == [2, 1, 3, None]
    with pytest.raises(ValueError, match="2 values expected, not 1"):
        read_arguments(kinds, "(2)")
