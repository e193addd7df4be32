"""Texts of types that are none: a ValueError that says so, never another error or half of the text."""

import re

import pytest

from coop.wit import Interface, Resource, function, parse_func, parse_type


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("list<>", "one type expected from '<' to '>', not 0"),
        ("option<u8, u16>", "one type expected from '<' to '>', not 2"),
        ("variant {a()}", "one type expected from '(' to ')', not 0"),
        ("variant {a(u8, u16)}", "one type expected from '(' to ')', not 2"),
        ("result<>", "has one part or two"),
        ("result<u8, u8, u8>", "has one part or two"),
    ],
)
def test_a_type_with_too_many_or_too_few_parts_is_refused(text: str, says: str):
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_type(text)
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_func(f"func(a: {text})")


def test_a_method_whose_type_is_none_is_a_value_error():
    class Thing(Resource):
        @function("func")
        def go(self) -> None:
            """Never called."""

    class Things(Interface):
        name, resources = "acme:things/things", {"thing": Thing}

    with pytest.raises(ValueError, match="type 'func'"):
        Things.exported()
