"""wasi:sockets/udp from a guest."""

import os
import socket

import pytest

import coop
from coop.engine import Limits
from coop.errors import GuestTrap, WasCancelled
from coop.netpoll import POLLERS
from coop.netpoll.contract import WRITE
from coop.wasip2.sockets.network import Network
from coop.wasip2.sockets.udp import DatagramFile
from tests.wasip2.net import FAMILIES, player


@pytest.fixture
def play(python):
    return player(python)


@pytest.fixture
def peer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(30)
        yield sock


# -- datagrams


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("host", FAMILIES.values(), ids=FAMILIES)
def test_datagrams_go_to_a_peer_and_come_back_with_its_address(play, host, poller):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    def act(run):
        with socket.socket(family, socket.SOCK_DGRAM) as theirs:
            theirs.bind((host, 0))
            theirs.settimeout(30)
            port = theirs.getsockname()[1]
            mine = run(f"""
sock = udp_bound({host!r})
source, sink = sock.stream(None)
result = send(sink, (b'one', address({host!r}, {port})), (b'', address({host!r}, {port})))
""")
            assert mine == 2
            data, where = theirs.recvfrom(100)
            assert (data, theirs.recvfrom(100)[0]) == (b"one", b"")
            assert run("result = [d.data for d in source.receive(5)], source.subscribe().ready()") == (
                [],
                False,
            )

            def answer():
                coop.sleep(0.005)
                theirs.sendto(b"two", where)

            coop.spawn(answer)
            assert run("result = receive(source, 5)") == [(b"two", (host, port))]
            assert run("result = plain(sock.local_address())") == where[:2]

    play(act, poller=poller)


def test_a_batch_holds_sixteen_and_the_rest_comes_next(play, peer):
    def act(run):
        port = run(
            "sock = udp_bound(); source, sink = sock.stream(None); result = plain(sock.local_address())[1]"
        )
        for i in range(20):
            peer.sendto(b"%d" % i, ("127.0.0.1", port))
        return run("""
result = [[int(d.data) for d in source.receive(most)] for most in (0, 1, 2, 2 ** 64 - 1, 16, 16)]
""")

    assert play(act) == [[], [0], [1, 2], [*range(3, 19)], [19], []]


def test_large_datagrams_come_a_few_at_a_time(play, peer):
    """While they are on their way to the guest nobody else runs."""

    def act(run):
        port = run(
            "sock = udp_bound(); source, sink = sock.stream(None); result = plain(sock.local_address())[1]"
        )
        for size in (40_000, 40_000, 100, 40_000):
            peer.sendto(bytes(size), ("127.0.0.1", port))
        return run("result = [[len(d.data) for d in source.receive(16)] for _ in range(3)]")

    assert play(act) == [[40_000, 40_000], [100, 40_000], []]


def test_the_largest_datagram_goes_and_one_more_byte_does_not(play, peer):
    def act(run):
        port = peer.getsockname()[1]
        found = run(f"""
sock = udp_bound()
source, sink = sock.stream(None)
to = address('127.0.0.1', {port})
result = [send(sink, (bytes(65507), to))]
result += [error(send, sink, (bytes(length), to)) for length in (65508, 65535, 65536)]
result.append(send(sink, (b'a', to), (bytes(65508), to), (b'b', to)))
""")
        assert found == [1, *["datagram-too-large"] * 3, 1]
        assert [len(peer.recv(70000)) for _ in range(2)] == [65507, 1]

    play(act)


def test_a_send_needs_a_permit_of_its_own(play):
    def act(run):
        return run("""
sock = udp_bound()
source, sink = sock.stream(None)
to = sock.local_address()
result = [sink.check_send(), send(sink), sink.check_send(), sink.subscribe().ready()]
result.append(send(sink, *[(b'x', to)] * 16))
""")

    assert play(act) == [16, 0, 16, True, 16]


@pytest.mark.parametrize("before", ["pass", "sink.check_send(); sink.send([])"])
def test_a_send_without_a_permit_ends_the_guest(play, before):
    with pytest.raises(GuestTrap, match="send of 0 datagrams to a stream that permitted 0"):
        play(
            lambda run: run(f"sock = udp_bound(); source, sink = sock.stream(None); {before}; sink.send([])")
        )


def test_a_send_of_more_than_was_permitted_ends_the_guest(play):
    with pytest.raises(GuestTrap, match="send of 17 datagrams to a stream that permitted 16"):
        play(
            lambda run: run("""
sock = udp_bound()
source, sink = sock.stream(None)
send(sink, *[(b'x', sock.local_address())] * 17)
""")
        )


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("None", "invalid-argument"),
        ("address('127.0.0.1', 0)", "invalid-argument"),
        ("address('0.0.0.0', 9)", "invalid-argument"),
        ("address('::1', 9)", "invalid-argument"),
        ("address('::ffff:127.0.0.1', 9)", "invalid-argument"),
        ("address('255.255.255.255', 9)", "access-denied"),
    ],
)
def test_a_datagram_to_nowhere_is_told_so(play, where, name):
    def act(run):
        return run(
            f"sock = udp_bound(); both = sock.stream(None); result = error(send, both[1], (b'x', {where}))"
        )

    assert play(act) == name


def test_what_the_kernel_does_not_take_is_not_sent_and_waits_for_room():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    file = DatagramFile(ours)
    with theirs:
        count = 0
        while file.try_send(b"x", None):
            count += 1
        assert count > 0
        assert not file.level(WRITE)
        file.release()


# -- one peer


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("host", FAMILIES.values(), ids=FAMILIES)
def test_streams_of_one_peer_hear_and_reach_nobody_else(play, host, poller):
    def act(run):
        return run(f"""
sock, peer, other = udp_bound({host!r}), udp_bound({host!r}), udp_bound({host!r})
streams_of = [each.stream(None) for each in (peer, other)]
send(streams_of[1][1], (b'before', sock.local_address()))
source, sink = sock.stream(peer.local_address())
send(streams_of[1][1], (b'after', sock.local_address()))
send(streams_of[0][1], (b'right', sock.local_address()))
result = [
    plain(sock.remote_address()) == plain(peer.local_address()),
    [data for _ in range(2) for data, where in receive(source)],
    send(sink, (b'a', None), (b'b', peer.local_address())),
    error(send, sink, (b'c', other.local_address())),
    [data for data, where in receive(streams_of[0][0], 9)],
]
""")

    assert play(act, poller=poller) == [True, [b"right"], 2, "invalid-argument", [b"a", b"b"]]


def test_streams_are_for_one_peer_after_another_and_the_port_stays(play):
    def act(run):
        return run("""
sock, one, two = udp_bound(), udp_bound(), udp_bound()
mine = plain(sock.local_address())
result = []
for remote in (one.local_address(), two.local_address(), None, one.local_address()):
    source, sink = sock.stream(remote)
    seen = error(sock.remote_address) if remote is None else plain(sock.remote_address()) == plain(remote)
    result.append((seen, plain(sock.local_address()) == mine))
    drop(source, sink)
""")

    assert play(act) == [(True, True), (True, True), ("invalid-state", True), (True, True)]


def test_who_was_bound_to_every_address_is_so_again_without_a_peer(play, peer):
    def act(run):
        return run(f"""
sock = udp_bound("0.0.0.0")
mine = plain(sock.local_address())
drop(*sock.stream(address("127.0.0.1", {peer.getsockname()[1]})))
source, sink = sock.stream(None)
result = plain(sock.local_address()) == mine, mine[0]
""")

    assert play(act) == (True, "0.0.0.0")


def test_a_peer_that_does_not_fit_leaves_the_socket_without_one(play):
    def act(run):
        return run("""
sock, one = udp_bound(), udp_bound()
drop(*sock.stream(one.local_address()))
result = [error(sock.stream, address('::1', 9)), error(sock.remote_address), len(sock.stream(None))]
""")

    # The streams are dropped with the tuple that `len` was asked of.
    assert play(act) == ["invalid-argument", "invalid-state", 2]


@pytest.mark.parametrize("where", ["'127.0.0.1', 0", "'0.0.0.0', 9", "'::1', 9"])
def test_there_are_no_streams_to_nowhere(play, where):
    assert (
        play(lambda run: run(f"result = error(udp_bound().stream, address({where}))")) == "invalid-argument"
    )


@pytest.mark.parametrize("poller", POLLERS)
def test_a_peer_that_is_not_there_is_told_once_and_wakes_who_waits(play, poller):
    def act(run):
        return run("""
gone = udp_bound()
where = gone.local_address()
drop(gone)
sock = udp_bound()
source, sink = sock.stream(where)
result = [send(sink, (b'x', None))]
source.subscribe().block()
result += [error(source.receive, 1), error(source.receive, 1)]
result.append(send(sink, (b'x', None)))
result.append(error(send, sink, (b'x', None)))
""")

    assert play(act, poller=poller) == [1, "connection-refused", "no error but []", 1, "connection-refused"]


@pytest.mark.parametrize("kept", ["source", "sink"])
def test_new_streams_while_one_of_the_old_is_in_use_end_the_guest(play, kept):
    other = {"source": "sink", "sink": "source"}[kept]
    with pytest.raises(GuestTrap, match="streams are made of a UDP socket while others of it are in use"):
        play(
            lambda run: run(
                f"sock = udp_bound(); source, sink = sock.stream(None); drop({other}); sock.stream(None)"
            )
        )


def test_a_socket_whose_streams_are_in_use_cannot_be_dropped(play):
    with pytest.raises(GuestTrap, match="a UdpSocket is given up while 2 made of it are in use"):
        play(lambda run: run("sock = udp_bound(); source, sink = sock.stream(None); drop(sock)"))


# -- states and options


def test_each_call_is_told_what_the_state_does_not_allow(play):
    def act(run):
        return run("""
sock = udp_new()
result = [error(sock.local_address), error(sock.remote_address), error(sock.finish_bind)]
result.append(error(sock.stream, None))
sock.start_bind(net, address('127.0.0.1'))
result += [error(sock.local_address), error(sock.stream, None)]
result.append(error(sock.start_bind, net, address('127.0.0.1')))
sock.finish_bind()
result += [error(sock.finish_bind), error(sock.start_bind, net, address('127.0.0.1'))]
result.append(sock.subscribe().ready())
""")

    assert play(act) == [
        *("invalid-state", "invalid-state", "not-in-progress", "invalid-state"),
        *("invalid-state", "invalid-state", "concurrency-conflict"),
        *("not-in-progress", "invalid-state", True),
    ]


@pytest.mark.parametrize(
    ("host", "where", "name"),
    [
        ("127.0.0.1", "'::1'", "invalid-argument"),
        ("::1", "'127.0.0.1'", "invalid-argument"),
        ("::1", "'::ffff:127.0.0.1'", "invalid-argument"),
        ("127.0.0.1", "'192.0.2.1'", "address-not-bindable"),
    ],
)
def test_a_bind_that_cannot_be_is_told_why_and_may_be_tried_again(play, host, where, name):
    def act(run):
        return run(f"""
sock = udp_new({host!r})
result = [error(sock.start_bind, net, address({where}))]
sock.start_bind(net, address({host!r}))
sock.finish_bind()
result.append(plain(sock.local_address())[0])
""")

    assert play(act) == [name, host]


def test_a_port_is_bound_once(play):
    def act(run):
        return run("sock = udp_bound(); result = error(udp_bound, *plain(sock.local_address()))")

    assert play(act) == "address-in-use"


@pytest.mark.parametrize("host", FAMILIES.values(), ids=FAMILIES)
def test_options_are_kept_and_none_can_be_nothing(play, host):
    def act(run):
        return run(f"""
sock = udp_new({host!r})
result = [sock.address_family().name]
for name, value in (('unicast_hop_limit', 42), ('receive_buffer_size', 65536), ('send_buffer_size', 8192)):
    put, get = getattr(sock, 'set_' + name), getattr(sock, name)
    put(value)
    result += [get() == value, error(put, 0), get() == value]
""")

    expected = "IPV6" if ":" in host else "IPV4"
    assert play(act) == [expected, *[True, "invalid-argument", True] * 3]


# -- the policy and the end


def test_who_is_bound_as_a_client_hears_only_from_where_it_may_send_to(play, peer):
    port = peer.getsockname()[1]

    def act(run):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            run("sock = udp_bound('0.0.0.0'); source, sink = sock.stream(None)")
            mine = run("result = plain(sock.local_address())")
            stranger.sendto(b"unasked", ("127.0.0.1", mine[1]))
            peer.sendto(b"expected", ("127.0.0.1", mine[1]))
            found = run("result = [data for _ in range(2) for data, where in receive(source)]")
            return found, run(f"result = error(send, sink, (b'x', address('127.0.0.1', {port + 1})))")

    assert play(act, network=Network(connect=f"127.0.0.1:{port}")) == ([b"expected"], "access-denied")


def test_a_server_answers_where_it_may_send_to_alone(play, peer):
    port = peer.getsockname()[1]

    def act(run):
        mine = run(
            "sock = udp_bound(); source, sink = sock.stream(None); result = plain(sock.local_address())"
        )
        peer.sendto(b"question", mine)
        return run(f"result = receive(source), error(send, sink, (b'x', address('127.0.0.1', {port})))")

    heard = [(b"question", ("127.0.0.1", port))]
    assert play(act, network=Network(listen="127.0.0.1:*")) == (heard, "access-denied")


def test_sockets_are_limited(play):
    found = play(
        lambda run: run("kept = [udp_new(), udp_new()]; result = error(udp_new)"), limits=Limits(fds=2)
    )
    assert found == "new-socket-limit"


@pytest.mark.parametrize("poller", POLLERS)
def test_a_guest_that_waits_for_a_datagram_can_be_cancelled_and_leaves_nothing(play, poller):
    def act(run):
        before = len(os.listdir("/proc/self/fd"))
        call = coop.spawn(
            run, "sock = udp_bound(); source, sink = sock.stream(None); source.subscribe().block()"
        )
        coop.sleep(0.01)
        run.guest.cancel()
        with pytest.raises(WasCancelled):
            call.wait()
        assert len(os.listdir("/proc/self/fd")) == before

    play(act, poller=poller)


@pytest.mark.parametrize("poller", POLLERS)
def test_the_datagrams_of_python_s_own_library_work_in_a_guest(play, peer, poller):
    def act(run):
        run(f"""
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.sendto(b'ping', ('127.0.0.1', {peer.getsockname()[1]}))
""")
        data, where = peer.recvfrom(100)

        def answer():
            coop.sleep(0.005)
            peer.sendto(data[::-1], ("127.0.0.1", where[1]))

        coop.spawn(answer)
        return run("result = sock.recvfrom(100); sock.close()")

    assert play(act, poller=poller) == (b"gnip", peer.getsockname())
