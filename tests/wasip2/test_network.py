"""wasi:sockets/network: the policy, addresses, and errors by name."""

import errno
import socket

import pytest

from coop.wasip2.failure import Error
from coop.wasip2.sockets.network import Network, NetworkInterface, check_family, error_code, to_kernel, to_wit
from coop.wit import Err
from coop.wit.types import Enum
from tests.wasip2.net import player


@pytest.fixture
def play(python):
    return player(python)


# -- the policy


def test_nothing_is_allowed_by_default():
    network = Network()
    assert not network.may_use("tcp")
    assert not network.may_use("udp")
    assert not network.may_connect("127.0.0.1", 80)
    assert not network.may_listen("127.0.0.1", 0)
    assert not network.may_bind_as_client("0.0.0.0", 0)
    assert not network.may_look_up("localhost")


def test_everything_is_allowed_where_all_is_given():
    network = Network.all()
    assert network.may_use("tcp")
    assert network.may_use("udp")
    assert network.may_connect("2001:db8::1", 443)
    assert network.may_listen("0.0.0.0", 0)
    assert network.may_look_up("www.example.org")


@pytest.mark.parametrize(
    ("place", "inside", "outside"),
    [
        ("192.0.2.7:443", ("192.0.2.7", 443), ("192.0.2.7", 80)),
        ("192.0.2.7:443", ("192.0.2.7", 443), ("192.0.2.8", 443)),
        ("192.0.2.7:*", ("192.0.2.7", 1), ("192.0.2.70", 1)),
        ("10.0.0.0/8:5432", ("10.255.0.1", 5432), ("11.0.0.1", 5432)),
        ("*:53", ("2001:db8::1", 53), ("192.0.2.7", 54)),
        ("*:0", ("127.0.0.1", 0), ("127.0.0.1", 1)),
        ("[::1]:80", ("::1", 80), ("127.0.0.1", 80)),
        ("[fd00::/8]:*", ("fd12::1", 9), ("fe80::1", 9)),
        ("0.0.0.0/0:*", ("127.0.0.1", 9), ("::1", 9)),
        ("127.0.0.1:80", ("127.0.0.1", 80), ("::ffff:127.0.0.1", 80)),
        ("[::/0]:*", ("::1", 80), ("::ffff:127.0.0.1", 80)),
    ],
)
def test_a_place_covers_what_it_says_and_nothing_else(place, inside, outside):
    for network, may in (
        (connecting := Network(connect=place), connecting.may_connect),
        (listening := Network(listen=[place]), listening.may_listen),
    ):
        assert may(*inside)
        assert not may(*outside)
        assert network.may_use("tcp")


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("www.example.org", "www.example.org", "example.org"),
        ("WWW.Example.ORG", "www.example.org", "www.example.com"),
        ("*.example.org", "a.b.example.org", "example.org"),
        ("*.example.org", "a.example.org", "badexample.org"),
        ("b\u00fccher.example", "xn--bcher-kva.example", "bucher.example"),
        ("localhost", "localhost", "a.localhost"),
    ],
)
def test_a_name_covers_what_it_says_and_nothing_else(entry, inside, outside):
    network = Network(names=entry)
    assert network.may_look_up(inside)
    assert not network.may_look_up(outside)


@pytest.mark.parametrize(
    "place",
    [
        "",
        "127.0.0.1",
        ":80",
        "127.0.0.1:",
        "::1:80",
        "[::1]",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:http",
        "localhost:80",
        "10.0.0.1/8:80",
        "[127.0.0.1:80",
        "127.0.0.1:\u0663",
    ],
)
@pytest.mark.parametrize("which", ["connect", "listen"])
def test_a_place_that_is_none_is_named(which, place):
    with pytest.raises(ValueError) as caught:
        Network(**{which: ["127.0.0.1:1", place]})
    assert f"network {which} {place!r}: " in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "*.", "a.*", "**", "a..b", "-a", "a-", "x" * 64, "a/b"])
def test_a_name_that_is_none_is_named(name):
    with pytest.raises(ValueError) as caught:
        Network(names=["localhost", name])
    assert f"network names {name!r}: " in str(caught.value)


def test_a_kind_that_is_switched_off_is_of_no_use():
    network = Network(connect="*:*", listen="*:*", tcp=False)
    assert not network.may_use("tcp")
    assert network.may_use("udp")


def test_policies_of_the_same_entries_are_equal_and_can_be_keys():
    assert Network(connect="*:53") == Network(connect=["*:53"]) != Network(listen="*:53")
    assert len({Network(names="a"), Network(names=("a",))}) == 1


# -- what a guest meets


def test_a_guest_without_a_network_makes_no_sockets_and_looks_nothing_up(play):
    found = play(
        lambda run: run("result = error(new), error(udp_new), error(look_up, 'localhost')"), network=None
    )
    assert found == ("access-denied",) * 3


def test_a_guest_may_use_the_kind_it_is_given_alone(play):
    def act(run):
        return run(
            "result = error(new), udp_new().address_family().name, udp_new('::1').address_family().name"
        )

    assert play(act, network=Network(connect="*:*", tcp=False)) == ("access-denied", "IPV4", "IPV6")


def test_each_right_is_asked_for_where_it_is_used(play):
    def act(run):
        return run("""
sock = new()
result = [
    error(sock.start_bind, net, address('127.0.0.2')),
    error(sock.start_connect, net, address('127.0.0.1', 2)),
    error(udp_new().start_bind, net, address('0.0.0.0', 1)),
]
mine = udp_bound('127.0.0.1')
result.append(error(mine.stream, address('127.0.0.1', 2)))
source, sink = mine.stream(None)
result.append(error(send, sink, (b'x', address('127.0.0.1', 2))))
sock.start_bind(net, address('127.0.0.1'))
""")

    assert play(act, network=Network(connect="127.0.0.1:1", listen="127.0.0.1:*")) == ["access-denied"] * 5


def test_the_log_names_what_is_denied_once_for_each_right(play, capsys: pytest.CaptureFixture[str]):
    def act(run):
        return run("""
for _ in range(3):
    sock = new()
    error(sock.start_bind, net, address('127.0.0.2', 80))
    error(sock.start_connect, net, address('127.0.0.1', 2))
    error(look_up, 'localhost')
bound('0.0.0.0')
""")

    play(act, network=Network(connect="127.0.0.1:1"))
    told = [line.rpartition("' ")[2] for line in capsys.readouterr().err.splitlines()]
    assert told == ["listen='127.0.0.2:80'", "connect='127.0.0.1:2'", "names='localhost'"]


def test_the_log_names_the_kind_of_socket_that_is_denied(play, capsys: pytest.CaptureFixture[str]):
    play(lambda run: run("error(new), error(udp_new), error(new)"), network=Network(connect="*:*", tcp=False))
    assert "coop: warning: not allowed on the network guest=" in (told := capsys.readouterr().err)
    assert told.splitlines()[0].endswith("tcp='any socket'")
    assert len(told.splitlines()) == 1


def test_a_server_that_may_not_listen_says_more_than_its_exit_code(play, capsys: pytest.CaptureFixture[str]):
    play(lambda run: run("error(bound('0.0.0.0').start_listen)"), network=Network(connect="*:1"))
    assert "listen='0.0.0.0:" in capsys.readouterr().err


def test_who_may_connect_binds_as_a_client_and_does_not_listen(play):
    def act(run):
        return run("""
sock = bound('0.0.0.0')
result = error(sock.start_listen), plain(sock.local_address())[0], error(bound, '127.0.0.1')
""")

    assert play(act, network=Network(connect="127.0.0.1:1")) == ("access-denied", "0.0.0.0", "access-denied")


def test_what_is_denied_is_denied_before_anything_else_is_said(play):
    def act(run):
        return run("""
listener = listening()
result = [
    error(listener.start_connect, net, address('127.0.0.1', 1)),
    error(listener.start_bind, net, address('127.0.0.2', 1)),
    error(new().start_connect, net, address('::1', 0)),
]
""")

    assert play(act, network=Network(listen="127.0.0.1:*")) == ["access-denied"] * 3


# -- addresses


@pytest.mark.parametrize(
    "found",
    [
        ("127.0.0.1", 80),
        ("255.0.1.2", 65535),
        ("::1", 80, 0, 0),
        ("2001:db8::ff:1", 1, 0xFFFFF, 0),
        ("fe80::1", 9, 0, 4),
    ],
)
def test_an_address_of_the_kernel_s_comes_back_the_same(found):
    assert to_kernel(to_wit(found)) == found


def test_the_name_of_an_interface_is_left_out_and_its_number_is_not():
    assert to_kernel(to_wit(("fe80::1%lo", 9, 0, 1))) == ("fe80::1", 9, 0, 1)


def test_a_flow_label_of_more_than_20_bits_is_no_address():
    with pytest.raises(Err, match="invalid-argument"):
        to_kernel(to_wit(("::1", 80, 1 << 20, 0)))


@pytest.mark.parametrize("host", ["::1", "::", "2001:db8::1", "1::", "::1:0:0"])
def test_an_address_of_ipv6_suits_a_socket_of_ipv6_alone(host):
    given = to_wit((host, 80, 0, 0))
    check_family(given, "ipv6")
    with pytest.raises(Err, match="invalid-argument"):
        check_family(given, "ipv4")


@pytest.mark.parametrize("host", ["::ffff:1.2.3.4", "::1.2.3.4", "::2", "::ffff:0:0"])
def test_an_address_of_ipv4_in_disguise_suits_no_socket(play, host):
    assert play(lambda run: run(f"result = error(new('::1').start_bind, net, address({host!r}, 9))")) == (
        "invalid-argument"
    )


# -- errors


def test_every_error_of_the_system_has_a_name_that_wit_knows():
    codes = NetworkInterface.named()["error-code"]
    assert isinstance(codes, Enum)
    numbers = [
        *errno.errorcode,
        *(getattr(socket, name) for name in dir(socket) if name.startswith("EAI_")),
        0,
    ]
    assert {error_code(OSError(number, "")) for number in numbers} < set(codes.names)
    assert error_code(OSError("without a number")) == error_code(OSError(errno.EIO, "")) == "unknown"


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (errno.ENETUNREACH, "remote-unreachable"),
        (errno.EHOSTDOWN, "remote-unreachable"),
        (errno.ETIMEDOUT, "timeout"),
        (errno.ENOBUFS, "out-of-memory"),
        (errno.EMFILE, "new-socket-limit"),
        (errno.ECONNABORTED, "connection-aborted"),
        (socket.EAI_AGAIN, "temporary-resolver-failure"),
        (socket.EAI_FAIL, "permanent-resolver-failure"),
        (socket.EAI_NODATA, "name-unresolvable"),
    ],
)
def test_errors_that_cannot_be_had_on_loopback_have_their_names(number, name):
    assert error_code(OSError(number, "")) == name


def test_a_stream_s_error_is_told_by_its_name_here_if_it_is_the_system_s():
    told = NetworkInterface.network_error_code
    assert told(None, Error(ConnectionResetError(errno.ECONNRESET, ""))) == "connection-reset"
    assert told(None, Error(ValueError("of a reader's own"))) is None
