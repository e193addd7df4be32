"""Names that are words of WIT's: with a percent sign in texts, without one everywhere else."""

from typing import ClassVar

import pytest

from coop.wit import Interface, Resource, function, packages, parse_func, parse_type
from coop.wit.types import show


def test_the_percent_sign_is_no_part_of_a_name():
    for plain, marked in (
        ("record {kind: u8}", "record {%kind: u8}"),
        ("variant {kind(u8), other}", "variant {%kind(u8), %other}"),
        ("enum {kind, other}", "enum {kind, %other}"),
        ("flags {kind}", "flags {%kind}"),
    ):
        assert parse_type(plain) == parse_type(marked)
    assert parse_func("func(%flags: u8)").params[0][0] == "flags"


def test_a_word_of_wits_is_marked_where_it_is_a_name():
    for text in (
        "record {%type: u8, name: string}",
        "variant {%record(u8), %own, plain}",
        "enum {%list, %u8, plain}",
        "flags {%static}",
    ):
        assert show(parse_type(text)) == text
    assert str(parse_func("func(%flags: u8, size: u8)")) == "func(%flags: u8, size: u8)"


class Plain(Interface):
    """An interface that leaves the percent signs to whoever writes its text."""

    name = "acme:demo/plain"
    types: ClassVar = {
        "r": "record {type: u8, a: tuple<u8, u16, list<u8>>, of: option<bool>}",
        "e": "enum {from, to}",
        "f": "flags {use}",
        "v": "variant {list(tuple<u8, u16, u32>), own, z(result<u8, string>), u8}",
    }

    @function("func(from: r, to: list<u8>) -> result<e, v>", parks=False)
    def go(self, given: object, to: object) -> object:
        """Give it back."""
        return given


def test_names_are_marked_in_the_text_of_a_package_wherever_they_stand():
    text = packages([Plain])["acme:demo"]
    assert text.split("\n")[3:-2] == [
        "  record r {%type: u8, a: tuple<u8, u16, list<u8>>, of: option<bool>}",
        "  enum e {%from, to}",
        "  flags f {%use}",
        "  variant v {%list(tuple<u8, u16, u32>), %own, z(result<u8, string>), %u8}",
        "  go: func(%from: r, to: list<u8>) -> result<e, v>;",
    ]


class Stream(Resource):
    """A resource that is called as a type of WIT's."""

    @function("func(from: borrow<%stream>)", parks=False)
    def include(self, other: object) -> None:
        """Do nothing."""


class Words(Interface):
    """An interface of which every name is a word."""

    name = "use:package/interface"
    resources: ClassVar = {"stream": Stream}
    types: ClassVar = {"list": "record {%type: u8}", "u8": "list<%list>", "enum": "enum {%world, %static}"}

    @function("func(flags: %list, of: list<u8>) -> %u8", parks=False)
    def type(self, flags: object, of: object) -> object:
        """Give it back."""
        return [flags]


class Users(Interface):
    """Another one, which uses the first."""

    name = "use:package/world"
    uses: ClassVar = {"stream": Words, "tuple": (Words, "list")}

    @function("func(own: %tuple) -> own<%stream>", parks=False)
    def export(self, own: object) -> object:
        """Make one."""
        return Stream()


def test_a_type_that_is_called_as_one_of_wits_is_meant_with_the_percent_sign_alone():
    found = Words.exported()["type"].type
    assert found == parse_func("func(flags: record {%type: u8}, of: list<u8>) -> list<record {%type: u8}>")
    with pytest.raises(ValueError, match="'%list' is no type that is known here"):
        parse_type("%list")


def test_a_package_can_be_read_by_those_who_know_the_words():
    text = packages([Words, Users], "1.0.0")["use:package"]
    assert text.split("\n") == [
        "package %use:%package@1.0.0;",
        "",
        "interface %interface {",
        "  record %list {%type: u8}",
        "  type %u8 = list<%list>;",
        "  enum %enum {%world, %static}",
        "  resource %stream {",
        "    %include: func(%from: borrow<%stream>);",
        "  }",
        "  %type: func(%flags: %list, of: list<u8>) -> %u8;",
        "}",
        "",
        "interface %world {",
        "  use %interface.{%stream};",
        "  use %interface.{%list as %tuple};",
        "  %export: func(%own: %tuple) -> own<%stream>;",
        "}",
        "",
    ]
