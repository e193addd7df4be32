"""Addresses as text and as the kernel takes them."""

import re
import socket

import pytest

from coop.net.address import host_and_port, shown, spelled, unix_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("unix:/run/app.sock", "/run/app.sock"),
        ("unix:relative", "relative"),
        ("unix:./@file", "./@file"),
        ("unix:@abstract", "\0abstract"),
        ("unix:" + "x" * 107, "x" * 107),
        ("127.0.0.1:80", None),
        ("unix.example:80", None),
        (("127.0.0.1", 80), None),
    ],
)
def test_a_unix_address_becomes_the_name_that_the_kernel_takes(text, name):
    assert unix_name(text) == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("unix:", "unix:PATH or unix:@NAME wanted"),
        ("unix:@", "unix:PATH or unix:@NAME wanted"),
        ("unix:a\0b", "NUL"),
        ("unix:" + "x" * 108, "107 bytes at most"),
        ("unix:" + "ä" * 54, "107 bytes at most"),
        ("unix:@" + "x" * 107, "107 bytes at most"),
    ],
)
def test_what_is_no_unix_address_is_refused_in_words(text, says):
    with pytest.raises(ValueError, match=says):
        unix_name(text)


def test_the_longest_name_is_one_that_the_kernel_takes():
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(unix_name("unix:@" + "x" * 106))
        assert spelled(sock.getsockname()) == "unix:@" + "x" * 106


@pytest.mark.parametrize(
    ("found", "address", "text"),
    [
        (("127.0.0.1", 80), ("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), ("::1", 80, 0, 0), "[::1]:80"),
        ("/run/x", "unix:/run/x", "unix:/run/x"),
        (b"\0name", "unix:@name", "unix:@name"),
        (b"\0\xff", "unix:@\udcff", "unix:@\udcff"),
        ("", "", "a Unix socket without a name"),
        (b"", "", "a Unix socket without a name"),
        (None, "", "a Unix socket without a name"),
    ],
)
def test_what_the_kernel_says_is_an_address_again(found, address, text):
    assert spelled(found) == address
    assert shown(address) == text


def test_what_a_listener_of_ipv6_says_is_an_address_to_connect_to():
    assert host_and_port(("::1", 80, 0, 0)) == ("::1", 80)
    with pytest.raises(ValueError, match="host and port wanted"):
        host_and_port(("::1",))


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (("127.0.0.1", 65536), ValueError),
        (("127.0.0.1", -1), ValueError),
        (("127.0.0.1", 2**70), ValueError),
        (("", 80), ValueError),
        (("127.0.0.1",), ValueError),
        ("127.0.0.1:" + "9" * 5000, ValueError),
        (("127.0.0.1", True), TypeError),
        (("127.0.0.1", "http"), TypeError),
        (("127.0.0.1", None), TypeError),
        ((None, 80), TypeError),
        ((b"127.0.0.1", 80), TypeError),
        (b"127.0.0.1:80", TypeError),
        (None, TypeError),
        (80, TypeError),
    ],
)
def test_what_is_no_host_and_port_is_refused_and_does_not_become_another(address, kind):
    with pytest.raises(kind, match=re.escape(f"address {address!r}: ")):
        host_and_port(address)


def test_a_list_is_shown_as_the_pair_that_it_stands_for():
    assert shown(["::1", 80]) == "[::1]:80"
