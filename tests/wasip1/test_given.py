"""Sockets given to a guest by host code, and taken back when it ends."""

import array
import os
import select
import socket
import ssl
import struct
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import coop
from coop.clock import ManualClock
from coop.scheduler import scheduler
from tests.children import run_child
from tests.fakes import run_by
from tests.wasip1.script import DATA, OUT, POLLERS, Script, fd_sub, scripted

NONBLOCK = 4
PEEK, WAITALL = 1, 2
STREAM, DGRAM = 6, 5
READ, WRITE = 1, 2
TRUNCATED = 1

every_poller = pytest.mark.parametrize("poller", POLLERS)


@contextmanager
def pair(kind=socket.SOCK_STREAM, family=socket.AF_UNIX):
    left, right = socket.socketpair(family, kind)
    with left, right:
        yield left, right


@contextmanager
def conns(address="127.0.0.1:0"):
    """Both ends of a connection of host code."""
    with coop.listen(address) as listener, coop.connect(listener.address) as client:
        with listener.accept() as server:
            yield client, server


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A directory to be in: the name of a Unix socket is short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- addresses: the guest's own


@pytest.mark.seed("T25")
@every_poller
@pytest.mark.parametrize("address", ["127.0.0.1:0", "unix:s", "unix:@coop-given"])
def test_a_guest_serves_on_an_address_and_another_one_connects_to_it(folder, address, poller):
    def main():
        with Script(listen=[address]) as server:
            with Script(connections=server.guest.addresses) as client:
                fd = server.accept(3, NONBLOCK)
                assert client.send(3, b"ping") == 4
                coop.pause()
                heard = server.recv(fd, 9, PEEK), server.read(fd)
                assert server.write(fd, b"pong") == 4
                return heard, client.recv(3, 4, WAITALL), client.fdstat(3)[:2], server.fdstat(3)[:2]

    heard, answer, connected, listening = coop.run(main, poller=poller)
    assert (heard, answer) == ((b"ping", b"ping"), b"pong")
    assert (connected, listening) == ((STREAM, 0), (STREAM, NONBLOCK))
    assert os.listdir() == []


def test_the_addresses_of_a_guest_are_known_when_it_has_started():
    def main():
        module = coop.Module.from_bytes('(module (func (export "_start")))')
        guest = coop.Guest(module, listen=["127.0.0.1:0", "127.0.0.2:0"])
        guest.start()
        hosts = [address[0] for address in guest.addresses]
        with pytest.raises(coop.CoopError, match=r"start .*: it is started"):
            guest.start()
        return hosts, guest.run(), guest.state.value

    assert coop.run(main) == (["127.0.0.1", "127.0.0.2"], 0, "ended")


def test_a_guest_that_was_started_and_called_is_not_run():
    def main():
        module = coop.Module.from_bytes('(module (func (export "_start")) (func (export "f")))')
        with coop.Guest(module) as guest:
            guest.start()
            guest.call("f")
            guest.run()

    with pytest.raises(coop.CoopError, match="runs once"):
        coop.run(main)


def test_a_guest_that_closes_its_own_connection_says_so_to_the_peer():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def act(guest: Script):
            peer, _ = server.accept()
            with peer:
                guest.fd_close(3)
                return peer.recv(1)

        assert scripted(act, connections=[server.getsockname()]) == b""


def test_a_guest_that_closes_its_own_listener_refuses_clients(folder):
    def act(guest: Script):
        guest.fd_close(3)
        with socket.socket() as client:
            refused = client.connect_ex(guest.guest.addresses[0])
        guest.fd_close(4)
        return os.strerror(refused), os.listdir()

    assert scripted(act, listen=["127.0.0.1:0", "unix:s"]) == ("Connection refused", [])


@pytest.mark.parametrize("option", ["listen", "connections"])
def test_an_address_that_cannot_be_had_ends_the_guest_and_gives_back_what_was_opened(folder, option):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "unix:s" if option == "listen" else server.getsockname()
        before = len(os.listdir("/proc/self/fd"))

        def main():
            guest = coop.Guest(coop.Module.from_bytes("(module)"), **{option: [address, "unix:no/such"]})
            with pytest.raises(OSError, match="unix:no/such: No such file"):
                guest.run()
            return guest.state.value

        assert coop.run(main) == "ended"
        assert len(os.listdir("/proc/self/fd")) == before
    assert os.listdir() == []


@contextmanager
def silent_server():
    """An address that does not answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()


@every_poller
def test_a_guest_is_cancelled_while_it_connects(poller):
    def main():
        guest = coop.Guest(coop.Module.from_bytes("(module)"), connections=[address])
        starting = coop.spawn(guest.run)
        coop.pause()
        with pytest.raises(coop.Busy, match="it is being started"):
            guest.start() if guest.state.value != "configured" else guest.run()
        guest.cancel()
        with pytest.raises(coop.WasCancelled):
            starting.wait()
        return guest.state.value

    with silent_server() as address:
        assert coop.run(main, poller=poller) == "ended"


@pytest.mark.parametrize("first", ["its time is over", "it is cancelled"])
def test_a_guest_that_is_ended_twice_while_it_connects_hears_of_it_once(first):
    ends = []

    def start(guest):
        try:
            guest.start()
        except coop.CoopError as error:
            ends.append(type(error))
        coop.pause()  # where another error would be raised

    def main():
        limits = coop.Limits(wall_time=0.5)
        guest = coop.Guest(coop.Module.from_bytes("(module)"), connections=[address], limits=limits)
        starting = coop.spawn(start, guest)
        coop.pause()
        coop.pause()
        if first == "it is cancelled":
            guest.cancel()
        clock.advance(550_000_000)
        coop.spawn(guest.cancel)  # it stands before the task that the timer wakes
        starting.wait()

    clock = ManualClock()
    with silent_server() as address:
        run_by(clock, main)
    assert ends == [coop.LimitExceeded if first == "its time is over" else coop.WasCancelled]


@pytest.mark.parametrize("second", ["its time is over", "it is cancelled"])
def test_what_was_to_end_a_guest_that_connects_is_forgotten_if_something_else_did(second):
    def end(guest, starting):
        starting.interrupt(KeyError("first"))
        if second == "it is cancelled":
            guest.cancel()
        clock.advance(60_000_000)
        scheduler().timers.fire_due(scheduler().now_ns())  # before the other task has run

    def start(guest):
        with pytest.raises(KeyError, match="first"):
            guest.run()
        coop.pause()  # where another error would be raised
        return guest.state.value

    def main():
        limits = coop.Limits(wall_time=0.05)
        guest = coop.Guest(coop.Module.from_bytes("(module)"), connections=[address], limits=limits)
        starting = coop.spawn(start, guest)
        coop.pause()
        coop.pause()
        end(guest, starting)
        return starting.wait()

    clock = ManualClock()
    with silent_server() as address:
        assert run_by(clock, main) == "ended"


# -- connections of host code


@every_poller
@pytest.mark.parametrize("address", ["127.0.0.1:0", "unix:s"])
def test_a_connection_is_the_guests_alone_and_then_the_hosts_again(folder, address, poller):
    def main():
        with conns(address) as (client, server):
            client.sendall(b"before")
            before = server.recv()
            with Script(connections=[server]) as guest:
                guest.fd_fdstat_set_flags(3, NONBLOCK)
                for use in (
                    server.recv,
                    lambda: server.sendall(b"x"),
                    lambda: server.recv_into(bytearray(1)),
                ):
                    with pytest.raises(coop.Busy, match="a guest has it"):
                        use()
                client.sendall(b"during")
                during = guest.poll(fd_sub(1, READ, 3))[0][0], guest.read(3)
            client.sendall(b"after")
            server.sendall(b"alive")
            with Script(connections=[server]) as second:
                flags = second.fdstat(3)[1]
            return before, during, server.recv(), client.recv(), flags

    assert coop.run(main, poller=poller) == (b"before", (1, b"during"), b"after", b"alive", 0)


@pytest.mark.seed("T11", "T12")
def test_a_connection_that_the_guest_closes_is_the_hosts_at_once():
    def main():
        with conns() as (client, server), Script(stdin=server, stdout=server) as guest:
            guest.fd_close(0)
            with pytest.raises(coop.Busy):
                server.recv()
            guest.fd_close(1)
            client.sendall(b"x")
            return server.recv()

    assert coop.run(main) == b"x"


@pytest.mark.seed("T12", "T18")
def test_a_connection_that_host_code_closes_goes_on_with_the_guest_and_ends_with_it():
    def main():
        with conns() as (client, server), Script(connections=[server]) as guest:
            server.close()
            client.sendall(b"still")
            heard = guest.read(3)
            assert guest.write(3, b"there") == 5
            answer = client.recv()
            guest.fd_close(3)
            return heard, answer, client.recv()

    assert coop.run(main) == (b"still", b"there", b"")


def test_a_guest_that_traps_or_is_cancelled_gives_its_connection_back():
    def main():
        with conns() as (client, server):
            with Script(connections=[server]) as trapping:
                with pytest.raises(coop.GuestTrap):
                    trapping.guest.call("trap")
                client.sendall(b"1")
                first = server.recv()
            with Script(connections=[server]) as parked:
                reader = coop.spawn(parked.read, 3)
                coop.pause()
                parked.guest.cancel()
                with pytest.raises(coop.WasCancelled):
                    reader.wait()
            client.sendall(b"2")
            return first, server.recv()

    assert coop.run(main) == (b"1", b"2")


def test_a_connection_that_a_task_reads_cannot_be_given_away():
    def main():
        with conns() as (client, server):
            reader = coop.spawn(server.recv)
            coop.pause()
            with pytest.raises(coop.Busy, match=r"give connection .* to a guest: a task uses it"):
                Script(connections=[server])
            client.sendall(b"for the task")
            return reader.wait()

    assert coop.run(main) == b"for the task"


@pytest.mark.parametrize(("option", "end"), [("listen", 0), ("connections", 1), ("stdin", 1)])
def test_what_host_code_has_closed_cannot_be_given(option, end):
    def main():
        with coop.listen("127.0.0.1:0") as listener, coop.connect(listener.address) as client:
            given = (listener, client)[end]
            given.close()
            with pytest.raises(coop.Closed, match="give away"):
                Script(**{option: given if option == "stdin" else [given]})

    coop.run(main)


@pytest.mark.parametrize("option", ["listen", "connections"])
def test_what_belongs_to_another_run_cannot_be_given(option):
    def main():
        with coop.listen("127.0.0.1:0") as listener, coop.connect(listener.address) as client:
            given = {"listen": [listener], "connections": [client]}[option]
            coop.run_in_thread(coop.run, lambda: refused(given))

    def refused(given):
        with pytest.raises(coop.CoopError, match="it belongs to another run"):
            Script(**{option: given})

    coop.run(main)


@pytest.mark.seed("T12")
def test_a_listener_of_host_code_is_shared_but_not_what_a_guest_sets_on_it():
    def main():
        with coop.listen("127.0.0.1:0") as listener:
            with Script(listen=[listener]) as one, Script(listen=[listener, listener]) as two:
                one.fd_fdstat_set_flags(3, 0)
                one.fd_close(4)
                flags = [two.fdstat(fd)[1] for fd in (3, 4)]
                with coop.connect(listener.address) as client:
                    taken = two.accept(4)
                    assert two.accept(3) == "AGAIN"
                    client.sendall(b"x")
                    read = two.read(taken)
            with coop.connect(listener.address), listener.accept():
                return flags, read

    assert coop.run(main) == ([NONBLOCK, NONBLOCK], b"x")


@pytest.mark.seed("T12", "T24")
def test_a_listener_that_host_code_closes_goes_on_with_the_guest_and_so_does_its_file(folder):
    def main():
        listener = coop.listen("unix:s")
        with Script(listen=[listener]) as guest:
            listener.close()
            guest.fd_fdstat_set_flags(3, 0)
            with coop.connect("unix:s"):
                assert guest.accept() == 4
            there = os.listdir()
        return there, os.listdir()

    assert coop.run(main) == (["s"], [])


@pytest.mark.parametrize("poller", POLLERS)
def test_nobody_goes_on_accepting_where_host_code_has_closed_what_a_guest_still_has(poller):
    def main():
        listener = coop.listen("127.0.0.1:0")
        address = listener.address
        accepts = [coop.spawn(listener.accept), coop.spawn(listener.accept), coop.spawn(list, listener)]
        coop.pause()
        with Script(listen=[listener]) as guest:
            listener.close()
            coop.pause()
            assert all(task.is_done for task in accepts)
            ends = [outcome(task) for task in accepts]
            with coop.connect(address):
                guest.fd_fdstat_set_flags(3, 0)
                return ends, guest.accept()

    def outcome(task):
        try:
            return task.wait()
        except coop.Closed as error:
            return error.strerror.partition(": ")[2]

    closed = "use of closed network connection"
    assert coop.run(main, poller=poller) == ([closed, closed, []], 4)


# -- sockets of the user


def test_a_guest_is_said_to_wait_on_the_address_of_a_listener_of_the_user():
    def main():
        with socket.create_server(("127.0.0.1", 0)) as listener, Script(listen=[listener]) as guest:
            guest.fd_fdstat_set_flags(3, 0)
            accepting = coop.spawn(guest.accept)
            while accepting.reason is None:
                coop.pause()
            reason = str(accepting.reason)
            with coop.connect(listener.getsockname()):
                accepting.wait()
            return reason, listener.getsockname()[1]

    reason, port = coop.run(main)
    assert reason == f"read on listener 127.0.0.1:{port}"


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
@pytest.mark.parametrize("timeout", [None, 0.0, 5.0])
def test_a_socket_comes_back_as_it_was_whatever_the_guest_did_with_its_own(family, timeout):
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        if family == socket.AF_UNIX:
            mine, far = map(stack.enter_context, socket.socketpair())
        else:
            mine = stack.enter_context(socket.create_connection(server.getsockname()))
            far = stack.enter_context(server.accept()[0])
        mine.settimeout(timeout)
        before = mine.gettimeout(), os.get_blocking(mine.fileno()), mine.fileno()

        def act(guest: Script):
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            assert guest.read(3) == "AGAIN"
            return guest.fd_close(3)

        assert scripted(act, connections=[mine]) == "SUCCESS"
        assert (mine.gettimeout(), os.get_blocking(mine.fileno()), mine.fileno()) == before
        mine.sendall(b"still")
        far.sendall(b"alive")
        mine.settimeout(5)
        assert (far.recv(9), mine.recv(9)) == (b"still", b"alive")


def test_a_socket_given_twice_has_two_numbers_and_two_sets_of_flags():
    with pair() as (left, right), socket.create_server(("127.0.0.1", 0)) as listener:

        def act(guest: Script):
            guest.fd_fdstat_set_flags(3, 0)
            guest.fd_fdstat_set_flags(5, NONBLOCK)
            flags = [guest.fdstat(fd)[1] for fd in (3, 4, 5, 6)]
            guest.fd_close(5)
            guest.fd_close(3)
            right.send(b"x")
            with socket.create_connection(listener.getsockname()):
                coop.pause()
                return flags, guest.read(6), guest.accept(4)

        found = scripted(act, listen=[listener, listener], connections=[left, left])
        assert found == ([0, NONBLOCK, NONBLOCK, 0], b"x", 3)
        assert os.get_blocking(listener.fileno())


def closed() -> socket.socket:
    sock = socket.socket()
    sock.close()
    return sock


@contextmanager
def bad_socket(kind: str):
    with ExitStack() as stack:
        if kind == "closed":
            yield closed()
        elif kind == "listening":
            yield stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        elif kind == "not listening":
            yield stack.enter_context(socket.socket())
        elif kind == "datagram":
            yield stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        elif kind == "sequenced":
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            sock.bind("")
            sock.listen()
            yield sock
        else:
            yield stack.enter_context(socket.socketpair()[0])


@pytest.mark.seed("T24")
@pytest.mark.parametrize(
    ("option", "kind", "error", "says"),
    [
        ("listen", "closed", OSError, "listen[1]: the socket is closed"),
        ("listen", "not listening", ValueError, "listen[1]: the socket is no stream socket that listens"),
        ("listen", "datagram", ValueError, "listen[1]: the socket is no stream socket that listens"),
        ("listen", "sequenced", ValueError, "listen[1]: the socket is no stream socket that listens"),
        ("connections", "closed", OSError, "connections[1]: the socket is closed"),
        ("connections", "listening", ValueError, "connections[1]: the socket listens (listen= takes it)"),
        ("stdin", "closed", OSError, "stdin: the socket is closed"),
        ("stdout", "listening", ValueError, "stdout: the socket listens (listen= takes it)"),
    ],
)
def test_a_socket_that_cannot_be_given_is_told_by_its_place(option, kind, error, says):
    with bad_socket(kind) as bad, socket.create_server(("127.0.0.1", 0)) as good, pair() as (left, _):
        given = {"listen": [good, bad], "connections": [left, bad]}.get(option, bad)
        with pytest.raises(error) as caught:
            coop.run(lambda: Script(**{option: given}))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("option", "given", "says"),
    [
        ("listen", "127.0.0.1:0", "listen: a list wanted, not str"),
        ("listen", [3], "listen[0]: an address, a listening socket or a coop.Listener wanted, not int"),
        ("listen", ["127.0.0.1:0", None], "listen[1]: an address"),
        ("connections", {"a:1"}, "connections: a list wanted, not set"),
        (
            "connections",
            [b"a:1"],
            "connections[0]: an address, a connected socket or a coop.Conn wanted, not bytes",
        ),
    ],
)
def test_what_is_no_socket_is_a_type_error_that_names_it(option, given, says):
    with pytest.raises(TypeError) as caught:
        coop.Guest(coop.Module.from_bytes("(module)"), **{option: given})
    assert says in str(caught.value)


def test_listeners_and_connections_of_host_code_are_not_mixed_up():
    def main():
        module = coop.Module.from_bytes("(module)")
        with conns() as (client, _), coop.listen("127.0.0.1:0") as listener:
            with pytest.raises(TypeError, match=r"listen\[0\]: .* wanted, not Conn"):
                coop.Guest(module, listen=[client])
            with pytest.raises(TypeError, match=r"connections\[0\]: .* wanted, not Listener"):
                coop.Guest(module, connections=[listener])
            with pytest.raises(TypeError, match=r"stdin: a coop\.Listener is no connection"):
                coop.Guest(module, stdin=listener).run()

    coop.run(main)


def test_a_socket_that_encrypts_is_refused_because_the_guest_would_see_it_encrypted():
    with pair() as (left, _):
        context = ssl.create_default_context()
        with context.wrap_socket(left, server_hostname="x", do_handshake_on_connect=False) as wrapped:
            with pytest.raises(TypeError, match=r"connections\[0\]: an SSLSocket"):
                coop.Guest(coop.Module.from_bytes("(module)"), connections=[wrapped])
            with pytest.raises(TypeError, match="stdin: an SSLSocket"):
                coop.run(lambda: Script(stdin=wrapped))


# -- sockets of other kinds


@pytest.mark.seed("T13", "T24")
@every_poller
def test_datagrams_keep_their_borders_and_an_error_is_told_once(poller):
    with socket.socket(type=socket.SOCK_DGRAM) as mine, socket.socket(type=socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        mine.connect(far.getsockname())
        far.connect(mine.getsockname())

        def act(guest: Script):
            assert (guest.send(3, b"one"), guest.send(3, b"")) == (3, 0)
            heard = far.recv(9), far.recv(9)
            for data in (b"abcdef", b"", b"gh"):
                far.send(data)
            got = [(guest.recv(3, 4, flags), guest.u16(OUT + 8)) for flags in (PEEK, 0, 0, WAITALL)]
            far.close()
            guest.send(3, b"to nobody")
            assert guest.poll(fd_sub(1, READ, 3))[0][:3] == (1, "SUCCESS", READ)
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            return guest.fdstat(3)[0], heard, got, guest.recv(3), guest.recv(3)

        filetype, heard, got, error, after = scripted(act, connections=[mine], poller=poller)
    assert (filetype, heard) == (DGRAM, (b"one", b""))
    assert got == [(b"abcd", TRUNCATED), (b"abcd", TRUNCATED), (b"", 0), (b"gh", 0)]
    assert (error, after) == ("CONNREFUSED", "AGAIN")


def test_a_datagram_is_taken_by_a_receive_without_room_as_it_is_natively():
    with pair(socket.SOCK_DGRAM) as (left, right):
        right.send(b"lost")
        right.send(b"kept")

        def act(guest: Script):
            assert guest.sock_recv(3, DATA, 0, 0, OUT, OUT + 8) == "SUCCESS"
            return guest.u32(), guest.u16(OUT + 8), guest.recv(3)

        assert scripted(act, connections=[left]) == (0, TRUNCATED, b"kept")


def test_a_datagram_socket_that_is_not_connected_receives_and_cannot_send():
    with socket.socket(type=socket.SOCK_DGRAM) as mine, socket.socket(type=socket.SOCK_DGRAM) as far:
        mine.bind(("127.0.0.1", 0))
        far.sendto(b"hello", mine.getsockname())
        found = scripted(lambda guest: (guest.recv(3), guest.send(3, b"x")), connections=[mine])
    assert found == (b"hello", "DESTADDRREQ")


def test_messages_in_sequence_are_told_as_datagrams_and_end():
    with pair(socket.SOCK_SEQPACKET) as (left, right):
        right.send(b"abcdef")
        right.send(b"gh")
        right.close()

        def act(guest: Script):
            got = [(guest.recv(3, 4), guest.u16(OUT + 8)) for _ in range(3)]
            return guest.fdstat(3)[0], got

        assert scripted(act, connections=[left]) == (DGRAM, [(b"abcd", TRUNCATED), (b"gh", 0), (b"", 0)])


def test_a_stream_that_was_never_connected_says_so():
    with socket.socket() as mine:
        found = scripted(
            lambda guest: (guest.recv(3), guest.send(3, b"x"), guest.sock_shutdown(3, 1)), connections=[mine]
        )
    assert found == ("NOTCONN", "PIPE", "NOTCONN")


def test_descriptors_that_a_peer_sends_along_are_dropped():
    with pair() as (left, right), open("/dev/null", "rb") as secret:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [secret.fileno()] * 3))]
        for data in (b"one", b"two", b"three", b"four"):
            right.sendmsg([data], ancillary)

        def act(guest: Script):
            before = os.listdir("/proc/self/fd")
            vecs = guest.iovecs((DATA, 2), (DATA + 2, 9))
            got = [guest.read(3, 9), guest.recv(3, 9), guest.recv(3, 9, PEEK)]
            assert guest.sock_recv(3, *vecs, 0, OUT, OUT + 8) == "SUCCESS"
            return got, guest.u16(OUT + 8), os.listdir("/proc/self/fd") == before

        assert scripted(act, connections=[left]) == ([b"one", b"two", b"three"], 0, True)


def test_a_write_to_a_peer_that_is_gone_is_an_errno_even_where_signals_would_end_the_process():
    child = """
        import signal, socket
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        import coop
        from tests.wasip1.script import Script

        def main():
            left, right = socket.socketpair()
            right.close()
            with left, coop.listen("127.0.0.1:0") as listener, coop.connect(listener.address) as client:
                with Script(connections=[left, client]) as guest, listener.accept() as server:
                    server.close()
                    while guest.send(4, b"x") == 1:
                        coop.pause()
                    iovs = guest.iovecs((0x1000, 1), (0x1001, 1))
                    print([guest.write(3, b"x"), guest.sock_send(3, *iovs, 0, 0x40), guest.write(4, b"x")])

        coop.run(main)
    """
    assert run_child(child).stdout == b"['PIPE', 'PIPE', 'PIPE']\n"


def reset(sock: socket.socket) -> None:
    """Close with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_a_connection_whose_peer_has_reset_it_already_can_be_given():
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
        reset(far)
        with near:
            assert scripted(lambda guest: (guest.recv(3), guest.recv(3)), connections=[near]) == (
                "CONNRESET",
                b"",
            )


@every_poller
def test_urgent_data_does_not_hide_what_follows_it(poller):
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()

        def act(guest: Script):
            coop.pause()
            for data, flags in ((b"abc", 0), (b"!", socket.MSG_OOB), (b"def", 0)):
                far.send(data, flags)
            coop.sleep(0.001)
            return guest.read(3), guest.read(3), guest.recv(3, 9, WAITALL) if far.send(b"ghi" * 3) else None

        with near, far:
            assert scripted(act, connections=[near], poller=poller) == (b"abc", b"def", b"ghi" * 3)


@pytest.mark.seed("T19", "T23")
def test_a_deadline_of_the_host_ends_the_guests_receives_and_sends():
    def main():
        with conns() as (_, server), Script(connections=[server]) as guest:
            guest.fd_fdstat_set_flags(3, NONBLOCK)
            while guest.send(3, b"x" * 4096) != "AGAIN":
                pass
            guest.fd_fdstat_set_flags(3, 0)
            server.set_deadline(0)
            return [guest.recv(3, 9, flags) for flags in (0, PEEK, WAITALL)], guest.send(3, b"x")

    assert coop.run(main) == (["TIMEDOUT"] * 3, "TIMEDOUT")


def test_a_send_after_a_datagram_that_nobody_received_says_so_once():
    with socket.socket(type=socket.SOCK_DGRAM) as mine, socket.socket(type=socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        mine.connect(gone.getsockname())
        gone.close()
        asker = select.poll()
        asker.register(mine, 0)

        def act(guest: Script):
            sent = guest.send(3, b"x")
            assert asker.poll(30_000)  # the error has come back
            return sent, guest.send(3, b"x"), guest.send(3, b"x")

        assert scripted(act, connections=[mine]) == (1, "CONNREFUSED", 1)


def test_a_socket_without_the_right_is_not_used():
    every = (1 << 30) - 1
    accept, receive, send, shut = 1 << 29, 1 << 1, 1 << 6, 1 << 28

    def act(guest: Script):
        found = []
        for right, fd, use in (
            (accept, 3, lambda: guest.accept(3)),
            (receive, 4, lambda: guest.recv(4)),
            (send, 4, lambda: guest.send(4, b"x")),
            (shut, 4, lambda: guest.sock_shutdown(4, 1)),
        ):
            _, _, rights, inheriting = guest.fdstat(fd)
            assert guest.fd_fdstat_set_rights(fd, rights & (every ^ right), inheriting) == "SUCCESS"
            found.append(use())
        return found

    with pair() as (left, right):
        right.send(b"x")
        assert scripted(act, listen=["127.0.0.1:0"], connections=[left]) == ["NOTCAPABLE"] * 4


def test_a_listener_that_is_the_standard_input_can_be_accepted_on():
    child = """
        import os, socket
        import coop
        from tests.wasip1.script import Script

        def main():
            with Script(stdin="inherit") as guest, socket.create_connection(listener.getsockname()) as client:
                client.sendall(b"x")
                guest.fd_fdstat_set_flags(0, 0)
                print(guest.read(guest.accept(0)), guest.read(0), guest.accept(1))

        with socket.create_server(("127.0.0.1", 0)) as listener:
            os.dup2(listener.fileno(), 0)
            coop.run(main)
            print(os.get_blocking(0))
    """
    assert run_child(child).stdout == b"b'x' NOTCONN NOTSOCK\nTrue\n"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"args": "5"}, "args: a list wanted, not str"),
        ({"args": 5}, "args: a list wanted, not int"),
        ({"dirs": "/tmp"}, "dirs: a list wanted, not str"),
        ({"dirs": Path("/tmp")}, "dirs: a list wanted, not PosixPath"),
        ({"imports": print}, "imports: a list wanted, not builtin_function_or_method"),
        (
            {"imports": [print]},
            "imports[0]: a function marked by coop.host_function wanted, not builtin_function_or_method",
        ),
        ({"module": "x.wasm"}, "module: a coop.Module wanted, not str: coop.Module.from_file loads one"),
        ({"module": b""}, "module: a coop.Module wanted, not bytes: coop.Module.from_bytes makes one"),
        ({"module": None}, "module: a coop.Module wanted, not NoneType"),
    ],
)
def test_a_slip_is_a_type_error_that_names_it(given, says):
    with pytest.raises(TypeError) as caught:
        coop.Guest(**{"module": coop.Module.from_bytes("(module)"), **given})
    assert str(caught.value) == says


def test_a_component_is_no_module():
    with pytest.raises(TypeError, match=r"not Component, whose guest is a coop\.ComponentGuest"):
        coop.Guest(coop.Component.from_bytes("(component)"))
