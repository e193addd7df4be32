"""wasi:sockets/tcp from a guest: options and their bounds, addresses that fit and those that do not."""

import pytest

import coop
from tests.wasip2.net import FAMILIES, player


@pytest.fixture
def play(python):
    return player(python)


# -- addresses


@pytest.mark.parametrize(
    ("host", "where", "binds"),
    [
        ("127.0.0.1", "'::1', 9", "invalid-argument"),
        ("::1", "'127.0.0.1', 9", "invalid-argument"),
        ("::1", "'::ffff:127.0.0.1', 9", "invalid-argument"),
        ("127.0.0.1", "'224.0.0.1', 9", "invalid-argument"),
        ("::1", "'ff02::1', 9", "invalid-argument"),
        ("127.0.0.1", "'255.255.255.255', 9", "invalid-argument"),
        ("::1", "'::1', 9, 0, 1 << 20", "invalid-argument"),
        ("127.0.0.1", "'0.0.0.0', 9", None),
        ("::1", "'::', 9", None),
        ("127.0.0.1", "'127.0.0.1', 0", None),
    ],
)
def test_an_address_that_does_not_fit_changes_nothing(play, host, where, binds):
    def act(run):
        return run(f"""
sock = new({host!r})
where = address({where})
result = [error(sock.start_connect, net, where)]
if {binds!r}:
    result.append(error(sock.start_bind, net, where))
sock.start_bind(net, address({host!r}))
sock.finish_bind()
result.append(error(sock.start_connect, net, where))
sock.start_listen()
""")

    assert play(act) == ["invalid-argument"] * (3 if binds else 2)


# -- options


@pytest.mark.parametrize(
    ("option", "default", "values"),
    [
        (
            "keep_alive_idle_time",
            None,
            {1: 10**9, 10**9: 10**9, 10**9 + 1: 2 * 10**9, 2**64 - 1: 32767 * 10**9},
        ),
        ("keep_alive_interval", None, {1: 10**9, 7 * 10**9: 7 * 10**9, 2**64 - 1: 32767 * 10**9}),
        ("keep_alive_count", None, {1: 1, 127: 127, 128: 127, 2**32 - 1: 127}),
        ("keep_alive_enabled", False, {True: True, False: False}),
        ("hop_limit", None, {1: 1, 42: 42, 255: 255}),
        ("receive_buffer_size", None, {65536: 65536, 8192: 8192}),
        ("send_buffer_size", None, {65536: 65536, 8192: 8192}),
    ],
)
@pytest.mark.parametrize("host", FAMILIES.values(), ids=FAMILIES)
def test_an_option_is_kept_and_cut_to_what_the_kernel_takes(play, host, option, default, values):
    found = play(
        lambda run: run(f"""
sock = new({host!r})
result = [sock.{option}()]
for value in {list(values)!r}:
    sock.set_{option}(value)
    result.append(sock.{option}())
""")
    )
    assert found[1:] == list(values.values())
    assert default is None or found[0] is default


@pytest.mark.parametrize("option", ["receive_buffer_size", "send_buffer_size"])
def test_a_buffer_may_be_asked_for_in_any_size(play, option):
    found = play(
        lambda run: run(f"""
sock, result = new(), []
for value in (1, 2 ** 64 - 1):
    sock.set_{option}(value)
    result.append(sock.{option}())
""")
    )
    assert 0 < found[0] < found[1]


_TIMES = ("keep_alive_idle_time", "keep_alive_interval")
_SIZES = ("receive_buffer_size", "send_buffer_size", "listen_backlog_size")


@pytest.mark.parametrize("option", [*_TIMES, *_SIZES, "keep_alive_count", "hop_limit"])
def test_no_option_can_be_nothing(play, option):
    assert play(lambda run: run(f"result = error(new().set_{option}, 0)")) == "invalid-argument"


def test_what_is_accepted_has_the_options_of_its_listener(play):
    found = play(
        lambda run: run("""
listener = bound()
listener.set_keep_alive_enabled(True)
listener.set_keep_alive_idle_time(7 * 10 ** 9)
listener.set_keep_alive_interval(8 * 10 ** 9)
listener.set_keep_alive_count(9)
listener.set_hop_limit(10)
listener.set_receive_buffer_size(32768)
listener.start_listen()
listener.finish_listen()
ours = connected(*plain(listener.local_address()))
sock, source, sink = accepted(listener)
result = (
    sock.keep_alive_enabled(), sock.keep_alive_idle_time(), sock.keep_alive_interval(),
    sock.keep_alive_count(), sock.hop_limit(), sock.receive_buffer_size(), sock.address_family().name,
)
""")
    )
    assert found == (True, 7 * 10**9, 8 * 10**9, 9, 10, 32768, "IPV4")


def test_a_listener_s_queue_may_be_made_longer_while_it_listens(play):
    def act(run):
        port = run("""
listener = bound()
listener.set_listen_backlog_size(2 ** 64 - 1)
listener.start_listen()
listener.finish_listen()
listener.set_listen_backlog_size(3)
result = plain(listener.local_address())[1]
""")
        with coop.connect(("127.0.0.1", port)):
            return run("result = len(accepted(listener))")

    assert play(act) == 3
