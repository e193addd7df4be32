"""Names that are words of WIT's: with a percent sign in texts, without one everywhere else."""

from typing import ClassVar

from coop.wit import Interface, function, packages, parse_func, parse_type
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


class Words(Interface):
    """An interface of which every name is a word."""

    name = "acme:words/all"
    types: ClassVar = {"kind": "record {%type: u8}"}

    @function("func(%flags: kind) -> kind", parks=False)
    def type(self, flags: object) -> object:
        """Give it back."""
        return flags


def test_a_package_can_be_read_by_those_who_know_the_words():
    text = packages([Words])["acme:words"]
    assert "record kind {%type: u8}" in text
    assert "%type: func(%flags: kind) -> kind;" in text
