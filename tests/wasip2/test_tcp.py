"""wasi:sockets/tcp from a guest: connecting, listening, accepting, ends and limits.

States are in test_tcp_states, options in test_tcp_options, and how bytes move in test_tcp_streams.
"""

import contextlib
import errno
import os
import socket
import struct

import pytest

import coop
from coop.engine import Limits
from coop.errors import GuestTrap, WasCancelled
from coop.netpoll import POLLERS
from coop.netpoll.listenerfile import ListenerFile
from coop.wasip2.sockets.tcp import TcpSocket
from coop.wasip2.sockets.tcpstreams import Idle
from coop.wit import Err
from tests.wasip2.net import FAMILIES, descriptors, player


@pytest.fixture
def play(python):
    return player(python)


#: IP_LOCAL_PORT_RANGE, of Linux 6.3.
_PORT_RANGE = 51


# -- connect


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("host", FAMILIES.values(), ids=FAMILIES)
def test_a_guest_connects_to_the_host_and_each_knows_the_other_s_address(play, host, poller):
    def act(run):
        with coop.listen((host, 0)) as listener:
            run.peer = None

            def serve():
                with listener.accept() as conn:
                    run.peer = conn.peer[:2]
                    conn.sendall(conn.recv())

            server = coop.spawn(serve)
            port = listener.address[1]
            found = run(f"""
sock, source, sink = connected({host!r}, {port})
sink.blocking_write_and_flush(b'hello')
result = read(source), plain(sock.local_address()), plain(sock.remote_address()), sock.address_family().name
""")
            server.wait()
            assert found == (b"hello", run.peer, (host, port), "IPV6" if ":" in host else "IPV4")

    play(act, poller=poller)


@pytest.mark.parametrize("poller", POLLERS)
def test_a_refused_connection_is_told_once_and_closes_the_socket(play, poller):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    found = play(
        lambda run: run(f"""
sock = new()
sock.start_connect(net, address('127.0.0.1', {port}))
sock.subscribe().block()
result = [
    error(sock.finish_connect),
    error(sock.finish_connect),
    error(sock.start_connect, net, address('127.0.0.1', {port})),
    error(sock.local_address),
    error(sock.hop_limit),
    error(sock.set_keep_alive_enabled, True),
    sock.subscribe().ready(),
]
"""),
        poller=poller,
    )
    assert found == ["connection-refused", "not-in-progress", *["invalid-state"] * 4, True]


@pytest.mark.parametrize("poller", POLLERS)
def test_a_connection_that_takes_time_would_block_until_it_is_there(play, poller):
    def act(run):
        with socket.socket() as full, contextlib.ExitStack() as clients:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            # The queue takes one; who comes after it is not answered until that one is accepted.
            clients.enter_context(socket.create_connection(full.getsockname()))
            found = run(f"""
sock = new()
sock.start_connect(net, address('127.0.0.1', {full.getsockname()[1]}))
waiting = sock.subscribe()
result = error(sock.finish_connect), waiting.ready(), error(sock.finish_connect)
""")
            assert found == ("would-block", False, "would-block")
            clients.enter_context(full.accept()[0])
            assert run(
                "waiting.block(); source, sink = sock.finish_connect(); result = sink.check_write() > 0"
            )

    play(act, poller=poller)


def test_what_the_kernel_refuses_at_once_is_told_when_it_is_finished(play):
    found = play(
        lambda run: run("""
sock = bound('127.0.0.1')
sock.start_connect(net, address('192.0.2.1', 9))
result = sock.subscribe().ready(), error(sock.finish_connect), error(sock.finish_connect)
""")
    )
    # Nobody leaves the machine from an address of loopback.
    assert found == (True, "invalid-argument", "not-in-progress")


def test_a_connection_for_which_no_port_is_left_is_told_so(play):
    """The kernel is allowed one port, to the same place, for two connections."""

    def act(run):
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as spare:
            port = listener.getsockname()[1]
            spare.bind(("127.0.0.1", 0))
            free = spare.getsockname()[1]
            spare.close()
            run("one, two = new(), new()")
            for file in run.guest._world.files._files:
                if isinstance(file, Idle):
                    file._sock.setsockopt(socket.IPPROTO_IP, _PORT_RANGE, struct.pack("I", free << 16 | free))
            found = run(f"""
for sock in (one, two):
    sock.start_connect(net, address('127.0.0.1', {port}))
one.subscribe().block()
streams_of_one = one.finish_connect()
result = error(two.finish_connect)
""")
            listener.accept()[0].close()
            return found

    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.IPPROTO_IP, _PORT_RANGE, 0)
        except OSError:
            pytest.skip("the kernel knows no range of ports for one socket")
    assert play(act) == "address-in-use"


# -- bind and listen


@pytest.mark.parametrize("host", FAMILIES.values(), ids=FAMILIES)
def test_a_port_is_chosen_and_can_be_bound_once(play, host):
    found = play(
        lambda run: run(f"""
sock = bound({host!r})
host, port = plain(sock.local_address())
listener = listening({host!r})
result = host, port > 0, error(bound, *plain(listener.local_address()))
""")
    )
    assert found == (host, True, "address-in-use")


def test_a_bind_that_failed_may_be_tried_again(play):
    found = play(
        lambda run: run("""
sock = new()
result = [error(sock.start_bind, net, address('192.0.2.1')), error(sock.finish_bind)]
sock.start_bind(net, address('127.0.0.1'))
sock.finish_bind()
result.append(plain(sock.local_address())[0])
""")
    )
    assert found == ["address-not-bindable", "not-in-progress", "127.0.0.1"]


def test_a_port_is_free_again_though_its_last_connection_lingers(play):
    found = play(
        lambda run: run("""
listener = listening()
where = plain(listener.local_address())
sock, source, sink = connected(*where)
theirs = accepted(listener)
drop(*theirs[1:], theirs[0], listener)  # the side that ends first is the one that lingers
read(source)
drop(source, sink, sock)
result = listening(*where).is_listening()
""")
    )
    assert found is True


def test_what_ipv6_binds_to_is_not_taken_from_ipv4(play):
    found = play(
        lambda run: run("""
six = listening('::')
port = plain(six.local_address())[1]
result = listening('0.0.0.0', port).is_listening()
""")
    )
    assert found is True


# -- accept


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("host", FAMILIES.values(), ids=FAMILIES)
def test_a_guest_waits_for_a_client_as_long_as_it_takes(play, host, poller):
    """Until then everything else goes on."""

    def act(run):
        port = run(f"listener = listening({host!r}); result = plain(listener.local_address())[1]")
        ticks = []

        def come():
            for _ in range(20):
                ticks.append(run.guest.state.value)
                coop.sleep(0.001)
            with coop.connect((host, port)) as conn:
                run.client = conn.address[:2]
                return conn.recv()

        client = coop.spawn(come)
        found = run("""
early = error(listener.accept)
sock, source, sink = accepted(listener)
late = error(listener.accept)
sink.blocking_write_and_flush(b'welcome')
result = early, late, plain(sock.remote_address()), plain(sock.local_address())
""")
        assert client.wait() == b"welcome"
        assert found == ("would-block", "would-block", run.client, (host, port))
        assert len(ticks) == 20

    play(act, poller=poller)


@pytest.mark.parametrize("poller", POLLERS)
def test_one_pollable_serves_a_socket_all_its_life(play, poller):
    def act(run):
        port = run("""
sock = new()
life = sock.subscribe()
result = [life.ready()]
sock.start_bind(net, address('127.0.0.1'))
sock.finish_bind()
sock.start_listen()
sock.finish_listen()
result = plain(sock.local_address())[1] if result == [True] and not life.ready() else 0
""")
        with coop.connect(("127.0.0.1", port)):
            return run("life.block(); result = len(sock.accept()), life.ready()")

    assert play(act, poller=poller) == (3, False)


@pytest.mark.parametrize("number", [errno.ENETDOWN, errno.EPROTO, errno.ECONNRESET])
def test_a_connection_that_failed_before_it_was_accepted_is_aborted(python, number):
    """Linux tells a listener of it; loopback never fails so."""

    class Failing(ListenerFile):
        def try_accept(self):
            raise OSError(number, os.strerror(number))

    def act(run):
        run("pass")
        listener = object.__new__(TcpSocket)
        listener.world = run.guest._world
        with socket.socket() as sock:
            listener._file = Failing(sock)
            with pytest.raises(Err, match="connection-aborted"):
                listener.accept()

    python(act)


def test_a_client_that_is_gone_before_it_is_accepted_is_accepted_as_it_is(play):
    def act(run):
        port = run("listener = listening(); result = plain(listener.local_address())[1]")
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return run("""
sock, source, sink = accepted(listener)
result = error(sock.remote_address), error(source.blocking_read, 1)
""")

    assert play(act) == ("invalid-state", "streamerror-lastoperationfailed")


# -- the end


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize(
    "wait",
    [
        "accepted(listener)",
        "poll.poll([listener.subscribe()])",
        "kept = connected(*where); kept[1].blocking_read(1)",
    ],
)
def test_a_guest_that_waits_can_be_cancelled_and_leaves_nothing(play, poller, wait):
    before = []

    def act(run):
        before.append(descriptors())
        run("listener = listening(); where = plain(listener.local_address())")
        call = coop.spawn(run, wait)
        coop.sleep(0.01)
        run.guest.cancel()
        with pytest.raises(WasCancelled):
            call.wait()
        assert descriptors() == before[0]

    play(act, poller=poller)


@pytest.mark.parametrize("first", ["ours[0]", "theirs[0]"])
def test_a_socket_whose_streams_are_in_use_cannot_be_dropped(play, first):
    with pytest.raises(GuestTrap, match="a TcpSocket is given up while 2 made of it are in use"):
        play(lambda run: run(f"ours, theirs = pair(); drop({first})"))


def test_dropped_sockets_and_streams_close_the_connection(play):
    def act(run):
        with coop.listen("127.0.0.1:0") as listener:
            run(f"sock, source, sink = connected('127.0.0.1', {listener.address[1]})")
            with listener.accept() as conn:
                conn.set_deadline(0.02)
                run("drop(source, sink)")
                with pytest.raises(coop.DeadlineExceeded):
                    conn.recv()  # the socket holds the connection
                conn.set_deadline(None)
                run("drop(sock)")
                assert conn.recv() == b""

    play(act)


def test_sockets_count_as_files_and_are_limited(play):
    def act(run):
        return run("""
kept = [new(), udp_new()]
result = [error(new), error(udp_new)]
drop(kept.pop())
listener = listening() if len(kept) == 1 else None
result.append(error(new))
drop(kept.pop())
sock = new()
sock.start_connect(net, listener.local_address())
result.append(error(listener.accept))
drop(sock)
""")

    assert play(act, limits=Limits(fds=2)) == ["new-socket-limit"] * 4


def test_a_client_waits_while_its_guest_has_no_room_for_it(play):
    def act(run):
        port = run("listener = listening(); other = new(); result = plain(listener.local_address())[1]")
        with coop.connect(("127.0.0.1", port)) as conn:
            assert run("listener.subscribe().block(); result = error(listener.accept)") == "new-socket-limit"
            run("drop(other); sock, source, sink = listener.accept(); sink.blocking_write_and_flush(b'now')")
            assert conn.recv() == b"now"

    play(act, limits=Limits(fds=2))
