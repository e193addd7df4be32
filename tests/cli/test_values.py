"""Values as a command line spells them."""

import pytest

from coop.cli.values import argument, boolean, count, seconds, shown


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2", 2.0),
        ("2s", 2.0),
        ("1.5s", 1.5),
        ("100ms", 0.1),
        ("50us", 50e-6),
        ("50μs", 50e-6),
        ("7ns", 7e-9),
        ("3m", 180.0),
        ("1h", 3600.0),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text, wanted):
    assert seconds(text) == pytest.approx(wanted)


@pytest.mark.parametrize(
    "text", [None, "", "s", "0", "0ms", "-1s", "1 s", "1d", "abc", "1e9s", "99999999h", "nan", "٣s"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match=r"duration|range"):
        seconds(text)


@pytest.mark.parametrize(("text", "wanted"), [("1", 1), ("65536", 65536), ("0x10000", 65536)])
def test_a_count_is_decimal_or_hexadecimal(text, wanted):
    assert count(text) == wanted


@pytest.mark.parametrize("text", [None, "", "0", "-1", "1k", "1_000", "0x", "٣", str(1 << 63)])
def test_what_is_no_count_is_refused(text):
    with pytest.raises(ValueError, match=r"number|range"):
        count(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [(None, True), ("y", True), ("yes", True), ("true", True), ("n", False), ("false", False)],
)
def test_a_setting_without_a_value_means_yes(text, wanted):
    assert boolean(text) is wanted


@pytest.mark.parametrize("text", ["", "maybe", "1", "Y"])
def test_what_is_neither_yes_nor_no_is_refused(text):
    with pytest.raises(ValueError, match="y or n"):
        boolean(text)


@pytest.mark.parametrize(
    ("kind", "text", "wanted"),
    [
        ("i32", "-1", -1),
        ("i32", "4294967295", -1),
        ("i32", "0xff", 255),
        ("i64", "-9223372036854775808", -(1 << 63)),
        ("i64", "18446744073709551615", -1),
        ("f32", "0.5", 0.5),
        ("f64", "-1e300", -1e300),
        ("f64", "inf", float("inf")),
    ],
)
def test_an_argument_is_read_by_its_type(kind, text, wanted):
    assert argument(kind, text) == wanted


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("i32", "4294967296"),
        ("i32", "-2147483649"),
        ("i32", "1.0"),
        ("i32", ""),
        ("i32", "1_0"),
        ("i32", " 1"),
        ("i32", "٣"),
        ("i64", str(1 << 64)),
        ("f64", "1_0.5"),
        ("f64", "1 "),
        ("f32", "1e39"),
        ("f64", "one"),
        ("v128", "0"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused(kind, text):
    with pytest.raises(ValueError, match=kind):
        argument(kind, text)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("i32", -1, "-1"),
        ("f64", 1.0, "1"),
        ("f64", 0.1, "0.1"),
        ("f64", 1e22, "10000000000000000000000"),
        ("f64", 1e-7, "0.0000001"),
        ("f64", -0.0, "-0"),
        ("f64", float("nan"), "NaN"),
        ("f64", float("-inf"), "-inf"),
        ("f32", 0.10000000149011612, "0.1"),
        ("f32", 16777216.0, "16777216"),
        ("f32", 3.4028234663852886e38, "340282350000000000000000000000000000000"),
    ],
)
def test_a_result_is_shown_with_every_digit_and_no_exponent(kind, value, text):
    assert shown(kind, value) == text
