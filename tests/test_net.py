"""Connections and listeners of host code: sync style, live deadlines, one reader and one writer."""

import gc
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

import coop
from coop.clock import NEVER_NS, ManualClock
from coop.net.address import parse_address
from coop.netpoll.contract import BOTH, READ, WRITE
from coop.netpoll.openfile import BLOCKED
from coop.scheduler import scheduler
from tests.children import run_child
from tests.fakes import run_by

POLLERS = ["hostpoll", "oneoff", "pollset"]
each_poller = pytest.mark.parametrize("poller", POLLERS)


def with_pair(
    body: Callable[[coop.Conn, coop.Conn], object], poller: str = "hostpoll", clock: ManualClock | None = None
) -> object:
    """Run `body(client, server)` over one connection, both ends in this run; on a clock of the test's own."""

    def main() -> object:
        with ExitStack() as stack:
            listener = stack.enter_context(coop.listen("127.0.0.1:0"))
            client = stack.enter_context(coop.connect(listener.address))
            server = stack.enter_context(listener.accept())
            return body(client, server)

    if clock is None:
        return coop.run(main, poller=poller)
    return run_by(clock, main, poller)


def reset(conn: coop.Conn) -> None:
    """Close with an RST instead of a FIN."""
    conn.openfile.reset_at_end()
    conn.close()


# -- bytes


@pytest.mark.seed("T16")
@each_poller
def test_bytes_arrive_whole_and_in_order_through_a_full_socket(poller: str):
    data = bytes(range(256)) * 20_000

    def body(client: coop.Conn, server: coop.Conn) -> bool:
        sender = coop.spawn(lambda: (client.sendall(data), client.shutdown()))
        got = bytearray()
        while part := server.recv(10_000):
            got += part
        sender.wait()
        return got == data

    assert with_pair(body, poller)


@each_poller
def test_the_end_of_the_stream_is_an_empty_read_again_and_again(poller: str):
    def body(client: coop.Conn, server: coop.Conn) -> list[bytes]:
        client.sendall(b"last")
        client.shutdown()
        return [server.recv(), server.recv(), server.recv()]

    assert with_pair(body, poller) == [b"last", b"", b""]


@pytest.mark.seed("D14", "T16")
def test_reading_nothing_returns_at_once():
    assert with_pair(lambda client, _server: (client.recv(0), client.recv_into(bytearray()))) == (b"", 0)


def test_sending_nothing_returns_at_once():
    assert with_pair(lambda client, _server: client.sendall(b"")) is None


def test_a_connection_may_be_read_and_written_at_the_same_time():
    def body(client: coop.Conn, server: coop.Conn) -> bytes:
        reader = coop.spawn(client.recv)
        coop.pause()
        client.sendall(b"ping")
        server.sendall(server.recv() + b" pong")
        return bytes(reader.wait())

    assert with_pair(body) == b"ping pong"


@pytest.mark.seed("D2")
@each_poller
def test_a_second_reader_is_busy_and_the_first_reads_on(poller: str):
    def body(client: coop.Conn, server: coop.Conn) -> bytes:
        first = coop.spawn(client.recv)
        coop.pause()
        with pytest.raises(coop.Busy, match="another task reads"):
            client.recv()
        server.sendall(b"for the first")
        return bytes(first.wait())

    assert with_pair(body, poller) == b"for the first"


@pytest.mark.seed("D2")
def test_a_second_writer_is_busy():
    def body(client: coop.Conn, _server: coop.Conn) -> None:
        first = coop.spawn(client.sendall, bytes(50_000_000))
        coop.pause()
        with pytest.raises(coop.Busy, match="another task writes"):
            client.sendall(b"x")
        first.cancel()
        with pytest.raises(coop.WasCancelled):
            first.wait()

    with_pair(body)


@each_poller
def test_a_client_that_does_not_read_parks_only_its_own_stream(poller: str):
    def main() -> bytes:
        with coop.listen("127.0.0.1:0") as listener:
            slow, fast = coop.connect(listener.address), coop.connect(listener.address)
            to_slow, to_fast = listener.accept(), listener.accept()
            stuck = coop.spawn(to_slow.sendall, bytes(50_000_000))
            coop.pause()
            to_fast.sendall(b"still served")
            got = fast.recv()
            assert not stuck.is_done
            stuck.cancel()
            for conn in (slow, fast, to_slow, to_fast):
                conn.close()
            return got

    assert coop.run(main, poller=poller) == b"still served"


@each_poller
def test_a_reset_is_an_error_and_leaves_nothing_open(poller: str):
    def body(client: coop.Conn, server: coop.Conn) -> None:
        reader = coop.spawn(server.recv)
        coop.pause()
        reset(client)
        with pytest.raises(ConnectionResetError):
            reader.wait()

    with_pair(body, poller)


@pytest.mark.seed("T16")
def test_a_write_to_a_peer_that_went_away_says_how_much_went_out():
    def body(client: coop.Conn, server: coop.Conn) -> None:
        writer = coop.spawn(client.sendall, bytes(50_000_000))
        coop.pause()
        reset(server)
        with pytest.raises(OSError) as caught:
            writer.wait()
        assert isinstance(caught.value, ConnectionResetError | BrokenPipeError)
        assert 0 < caught.value.sent < 50_000_000  # type: ignore[union-attr]

    with_pair(body)


# -- calls of one's own


@pytest.mark.seed("T27")
@each_poller
def test_who_makes_calls_of_his_own_tries_waits_and_tries_again_until_the_end_is_closed(poller: str):
    buffer = bytearray(9)

    def body(client: coop.Conn, server: coop.Conn) -> list[int]:
        file, tries = client.openfile, []

        def read() -> None:
            while True:
                tries.append(file.try_read([memoryview(buffer)]))
                if tries[-1] == BLOCKED:
                    file.wait(READ)

        reader = coop.spawn(read)
        coop.pause()
        server.sendall(b"later")
        while len(tries) < 3:
            coop.pause()
        client.close()
        with pytest.raises(coop.Closed, match="use of closed network connection"):
            reader.wait()
        return tries

    assert with_pair(body, poller) == [BLOCKED, 5, BLOCKED]
    assert buffer[:5] == b"later"


# -- accept


@each_poller
def test_any_number_of_tasks_may_accept(poller: str):
    def main() -> int:
        with coop.listen("127.0.0.1:0") as listener:
            acceptors = [coop.spawn(listener.accept) for _ in range(5)]
            coop.pause()
            clients = [coop.connect(listener.address) for _ in range(5)]
            servers = [task.wait() for task in acceptors]
            peers = {server.peer for server in servers}
            assert peers == {client.address for client in clients}
            for conn in (*clients, *servers):
                conn.close()
            return len(peers)

    assert coop.run(main, poller=poller) == 5


def test_iterating_over_a_listener_ends_when_it_is_closed():
    def main() -> int:
        listener = coop.listen("127.0.0.1:0")
        served = 0

        def serve() -> None:
            nonlocal served
            for conn in listener:
                served += 1
                conn.close()

        task = coop.spawn(serve)
        for _ in range(3):
            with coop.connect(listener.address) as conn:
                conn.recv()
        listener.close()
        task.wait()
        return served

    assert coop.run(main) == 3


NO_ROOM = """
import os, resource, select, socket, sys
import coop

def fill():
    held = []
    try:
        while True:
            held.append(os.dup(2))
    except OSError:
        return held

def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with coop.listen("127.0.0.1:0") as listener, socket.socket() as client:
        def serve():
            for conn in listener:
                with conn:
                    conn.sendall(b"hello")
        client.connect(listener.address)
        client.setblocking(False)
        select.select([listener.fileno()], [], [])  # until it waits to be accepted
        held = fill()
        task = coop.spawn(serve)
        for _ in range(3):
            coop.sleep(0.01)
        assert not task.is_done, task
        for fd in held:
            os.close(fd)
        # There is room again: it is served by whoever iterates, and nothing had to be begun anew.
        while True:
            try:
                print(client.recv(100))
                break
            except BlockingIOError:
                coop.sleep(0.01)
        listener.close()
        task.wait()

coop.run(main, poller=sys.argv[1])
"""


@each_poller
def test_iterating_over_a_listener_waits_while_there_is_no_descriptor_for_a_client(poller: str):
    done = run_child(["-c", NO_ROOM, poller])
    assert done.stdout == b"b'hello'\n"
    assert b"client not accepted" in done.stderr


@pytest.mark.seed("T26")
@each_poller
def test_a_hundred_clients_at_once_each_get_their_own_bytes(poller: str):
    def echo(conn: coop.Conn) -> None:
        with conn:
            while data := conn.recv():
                conn.sendall(data)

    def client(address: tuple[str, int], i: int) -> bool:
        data = str(i).encode() * 500
        with coop.connect(address) as conn:
            for _ in range(3):
                conn.sendall(data)
                got = b""
                while len(got) < len(data):
                    got += conn.recv()
                if got != data:
                    return False
        return True

    def main() -> int:
        with coop.listen("127.0.0.1:0") as listener, coop.TaskGroup() as group:

            def serve() -> None:
                for conn in listener:
                    group.spawn(echo, conn)

            group.spawn(serve)
            clients = [group.spawn(client, listener.address, i) for i in range(100)]
            right = sum(task.wait() for task in clients)
            listener.close()
            return right

    assert coop.run(main, poller=poller) == 100


@pytest.mark.slow
@each_poller
def test_two_thousand_connections_half_of_them_reset_leave_no_descriptor(poller: str):
    def echo(conn: coop.Conn) -> None:
        with conn:
            try:
                conn.sendall(conn.recv())
                conn.recv()
            except OSError:
                pass

    def main() -> None:
        gc.collect()  # what other tests have left is no part of the count
        before = len(os.listdir("/proc/self/fd"))
        with coop.listen("127.0.0.1:0") as listener, coop.TaskGroup() as group:

            def serve() -> None:
                for conn in listener:
                    group.spawn(echo, conn)

            group.spawn(serve)
            for i in range(2000):
                conn = coop.connect(listener.address)
                conn.sendall(b"x")
                if i % 2:
                    reset(conn)
                else:
                    assert conn.recv() == b"x"
                    conn.close()
            listener.close()
        assert len(os.listdir("/proc/self/fd")) == before

    coop.run(main, poller=poller)


# -- deadlines


@pytest.mark.seed("D8", "D9", "T19")
@pytest.mark.parametrize("seconds", [0, -1])
def test_a_deadline_of_now_or_earlier_is_never_taken_for_none(seconds: float):
    def body(client: coop.Conn, server: coop.Conn) -> None:
        server.sendall(b"there to be read")
        client.set_deadline(seconds)
        with pytest.raises(coop.DeadlineExceeded):
            client.recv()
        with pytest.raises(coop.DeadlineExceeded):
            client.sendall(b"x")

    with_pair(body)


@pytest.mark.seed("D8", "T19", "T20")
@each_poller
def test_a_deadline_ends_a_read_in_progress(poller: str):
    def body(client: coop.Conn, _server: coop.Conn) -> None:
        client.set_deadline(0.001)
        with pytest.raises(TimeoutError, match="i/o timeout"):
            client.recv()

    with_pair(body, poller)


@pytest.mark.seed("D8", "T21")
@each_poller
def test_a_deadline_set_on_a_read_in_progress_ends_it(poller: str):
    def body(client: coop.Conn, _server: coop.Conn) -> None:
        reader = coop.spawn(client.recv)
        coop.pause()
        client.set_deadline(0)
        with pytest.raises(coop.DeadlineExceeded):
            reader.wait()

    with_pair(body, poller)


@pytest.mark.seed("D10", "T21")
@each_poller
def test_a_deadline_moved_away_lets_a_read_in_progress_go_on(poller: str):
    clock = ManualClock()

    def body(client: coop.Conn, server: coop.Conn) -> bytes:
        client.set_deadline(0.002)
        reader = coop.spawn(client.recv)
        coop.pause()
        client.set_deadline(None)
        clock.advance(5_000_000)
        coop.pause()
        server.sendall(b"late")
        return bytes(reader.wait())

    assert with_pair(body, poller, clock) == b"late"


@pytest.mark.seed("D10")
def test_a_reader_woken_for_a_deadline_that_has_moved_waits_again():
    def body(client: coop.Conn, server: coop.Conn) -> bytes:
        reader = coop.spawn(client.recv)
        coop.pause()
        client.set_deadline(0)  # wakes the reader
        client.set_deadline(100)  # before it has looked
        coop.pause()
        assert not reader.is_done
        server.sendall(b"after all")
        return bytes(reader.wait())

    assert with_pair(body) == b"after all"


@pytest.mark.seed("D8", "T19")
def test_read_and_write_deadlines_are_apart():
    def body(client: coop.Conn, _server: coop.Conn) -> None:
        client.set_read_deadline(0)
        client.sendall(b"x")
        with pytest.raises(coop.DeadlineExceeded):
            client.recv()
        client.set_read_deadline(None)
        client.set_write_deadline(0)
        with pytest.raises(coop.DeadlineExceeded):
            client.sendall(b"x")

    with_pair(body)


@pytest.mark.seed("T19")
def test_there_is_no_deadline_until_one_is_set_and_then_it_is_that_of_both_directions():
    def body(client: coop.Conn, _server: coop.Conn) -> None:
        file = client.openfile
        assert file.deadline_ns(BOTH) == NEVER_NS
        client.set_deadline(100)
        assert file.deadline_ns(READ) == file.deadline_ns(WRITE) < NEVER_NS
        client.set_deadline(None)
        assert file.deadline_ns(BOTH) == NEVER_NS

    with_pair(body)


@pytest.mark.seed("T19", "T20")
@each_poller
def test_a_deadline_ends_a_write_in_progress_that_says_how_much_went_out(poller: str):
    def body(client: coop.Conn, server: coop.Conn) -> tuple[int, int]:
        client.set_write_deadline(0.01)
        with pytest.raises(coop.DeadlineExceeded) as caught:
            client.sendall(bytes(50_000_000))
        client.shutdown()
        received = 0
        while data := server.recv():
            received += len(data)
        return received, caught.value.sent  # type: ignore[attr-defined]

    received, sent = with_pair(body, poller)  # type: ignore[misc]
    assert 0 < received == sent < 50_000_000


@pytest.mark.seed("T20")
def test_the_timer_of_an_attempt_to_connect_is_gone_when_it_has_come_to_something():
    def main() -> int:
        timers = scheduler().timers
        with coop.listen("127.0.0.1:0") as listener:
            before = len(timers)
            with coop.connect(listener.address, timeout=100):
                return len(timers) - before

    assert coop.run(main) == 0


@pytest.mark.seed("D8")
def test_equal_deadlines_share_a_timer():
    def body(client: coop.Conn, _server: coop.Conn) -> list[int]:
        timers = scheduler().timers
        before = len(timers)
        counts = []
        for step in (client.set_deadline, client.set_read_deadline):
            step(100)
            counts.append(len(timers) - before)
        client.set_deadline(None)
        counts.append(len(timers) - before)
        return counts

    assert with_pair(body) == [1, 2, 0]


@pytest.mark.seed("D8")
def test_a_deadline_beyond_the_end_of_time_is_the_end_of_time():
    def body(client: coop.Conn, server: coop.Conn) -> bytes:
        client.set_deadline(1e300)
        server.sendall(b"x")
        return client.recv()

    assert with_pair(body) == b"x"


@pytest.mark.seed("D8")
def test_an_accept_has_a_deadline_too():
    def main() -> None:
        with coop.listen("127.0.0.1:0") as listener:
            listener.set_deadline(0.001)
            with pytest.raises(coop.DeadlineExceeded):
                listener.accept()

    coop.run(main)


@pytest.mark.seed("D8")
def test_a_deadline_set_after_closing_has_no_effect():
    def body(client: coop.Conn, _server: coop.Conn) -> None:
        timers = scheduler().timers
        client.close()
        before = len(timers)
        client.set_deadline(1)
        assert len(timers) == before

    with_pair(body)


# -- close


@pytest.mark.seed("D6", "T22")
@each_poller
@pytest.mark.parametrize("call", ["recv", "sendall"])
def test_closing_wakes_a_call_in_progress_with_closed(poller: str, call: str):
    def body(client: coop.Conn, _server: coop.Conn) -> None:
        busy = coop.spawn(client.recv) if call == "recv" else coop.spawn(client.sendall, bytes(50_000_000))
        coop.pause()
        client.close()
        with pytest.raises(coop.Closed, match="use of closed network connection"):
            busy.wait()

    with_pair(body, poller)


@pytest.mark.seed("D6", "T22")
@each_poller
def test_closing_a_listener_wakes_every_acceptor_with_closed(poller: str):
    def main() -> None:
        listener = coop.listen("127.0.0.1:0")
        acceptors = [coop.spawn(listener.accept) for _ in range(3)]
        coop.pause()
        listener.close()
        for task in acceptors:
            with pytest.raises(coop.Closed):
                task.wait()

    coop.run(main, poller=poller)


@pytest.mark.seed("D13", "T11", "T16", "T23")
@pytest.mark.parametrize(
    "use",
    [
        lambda conn: conn.close(),
        lambda conn: conn.recv(),
        lambda conn: conn.recv(0),
        lambda conn: conn.sendall(b"x"),
        lambda conn: conn.shutdown(),
    ],
)
def test_using_or_closing_a_closed_connection_is_closed(use: Callable[[coop.Conn], object]):
    def body(client: coop.Conn, _server: coop.Conn) -> None:
        client.close()
        with pytest.raises(coop.Closed, match="use of closed network connection"):
            use(client)

    with_pair(body)


@pytest.mark.seed("T11")
def test_an_open_file_has_one_name_at_first_and_ends_with_the_last():
    def body(client: coop.Conn, _server: coop.Conn) -> None:
        file = client.openfile
        assert file.refs == 1
        assert file.retain() is file
        client.close()
        assert (file.refs, file.sock.fileno() >= 0) == (1, True)
        file.release()
        assert (file.refs, file.sock.fileno()) == (0, -1)
        for use in (file.release, file.retain):
            with pytest.raises(coop.Closed, match="use of closed network connection"):
                use()

    with_pair(body)


@pytest.mark.seed("T18")
@each_poller
def test_the_peer_reads_the_end_when_the_last_name_is_given_back_and_not_before(poller: str):
    def body(client: coop.Conn, server: coop.Conn) -> bytes:
        file = client.openfile.retain()
        client.close()
        server.set_read_deadline(0.005)
        with pytest.raises(coop.DeadlineExceeded):
            server.recv()
        server.set_read_deadline(None)
        file.release()
        return server.recv()

    assert with_pair(body, poller) == b""


@pytest.mark.seed("T18")
def test_closing_what_the_peer_has_reset_is_no_error():
    def body(client: coop.Conn, server: coop.Conn) -> None:
        reset(client)
        with pytest.raises(ConnectionResetError):
            server.recv()
        with pytest.raises(OSError, match="not connected"):
            server.shutdown()
        server.close()

    with_pair(body)


@pytest.mark.seed("T18")
def test_closing_sends_the_end_of_the_stream_though_another_process_holds_a_dup():
    def body(client: coop.Conn, server: coop.Conn) -> bytes:
        dup = os.dup(client.fileno())
        client.close()
        try:
            return server.recv()
        finally:
            os.close(dup)

    assert with_pair(body) == b""


def test_who_looks_at_frames_keeps_no_buffer_from_being_resized(kept_frames):
    def body(client: coop.Conn, server: coop.Conn) -> tuple[bytes, bytes, bytes]:
        data = bytearray(b"hello")
        client.sendall(data)
        data += b" there"
        received = server.recv()
        client.sendall(data)
        buffer = bytearray(100)
        del buffer[server.recv_into(buffer) :]
        return received, bytes(data), bytes(buffer)

    assert with_pair(body) == (b"hello", b"hello there", b"hello there")


def test_what_cannot_be_sent_leaves_the_connection_free():
    def body(client: coop.Conn, server: coop.Conn) -> bytes:
        text: Any = "hello"
        with pytest.raises(TypeError):
            client.sendall(text)
        client.sendall(b"hello")
        return server.recv()

    assert with_pair(body) == b"hello"


# -- runs that are not a connection's own


USES: list[Callable[[coop.Conn], object]] = [
    lambda conn: conn.recv(),
    lambda conn: conn.sendall(b"x"),
    lambda conn: conn.set_deadline(1),
    lambda conn: conn.close(),
]


@each_poller
@pytest.mark.parametrize("use", USES)
def test_a_run_in_another_thread_may_not_use_a_connection_and_harms_nobody(use, poller: str):
    def elsewhere(client: coop.Conn) -> str:
        try:
            coop.run(use, client)
        except coop.WrongThread as error:
            return str(error)
        return "nothing was said"

    def body(client: coop.Conn, server: coop.Conn) -> tuple[str, bytes]:
        said = coop.run_in_thread(elsewhere, client)
        reader = coop.spawn(client.recv)
        coop.pause()
        server.sendall(b"hello")
        return said, reader.wait()

    said, got = with_pair(body, poller)
    assert "connection to 127.0.0.1" in said
    assert "belongs to another thread" in said
    assert got == b"hello"


def test_a_run_in_another_thread_may_not_accept():
    def main() -> None:
        with coop.listen("127.0.0.1:0") as listener:
            with pytest.raises(coop.WrongThread, match=r"accept on listener 127\.0\.0\.1.* another thread"):
                coop.run_in_thread(coop.run, listener.accept)

    coop.run(main)


@pytest.mark.parametrize("use", USES[:2])
def test_the_next_run_may_not_use_a_connection_of_the_one_before(use):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = coop.run(coop.connect, listener.getsockname())
        with pytest.raises(coop.WrongThread, match="it belongs to another run"):
            coop.run(use, client)
        client.close()


@each_poller
@pytest.mark.parametrize("how", ["client.close()", "client.__exit__()", "listener.close()"])
def test_what_a_forked_child_closes_stays_open_for_its_parent(how: str, poller: str):
    child = f"""
        import os
        import coop

        def main():
            listener = coop.listen("127.0.0.1:0")
            client = coop.connect(listener.address)
            server = listener.accept()
            if os.fork() == 0:
                number = client.fileno() if "client" in {how!r} else listener.fileno()
                {how}
                try:
                    os.fstat(number)
                except OSError:
                    os._exit(0)
                os._exit(1)
            assert os.wait()[1] == 0
            for conn in client, server, listener:
                conn.set_deadline(30)
            reader, acceptor = coop.spawn(client.recv), coop.spawn(listener.accept)
            coop.pause()
            server.sendall(b"hello")
            print(reader.wait())
            coop.connect(listener.address)
            print(acceptor.wait() is not None)

        coop.run(main, poller={poller!r})
    """
    assert run_child(child).stdout == b"b'hello'\nTrue\n"


def test_tls_that_a_forked_child_has_closed_sends_nothing_to_who_has_its_number_now():
    # With another poller nothing would be tried, since the kernel had no room when it was tried last.
    run_child(
        """
        import os, socket, ssl
        import coop
        from coop.net.tls import TlsConn

        def main():
            with coop.listen("127.0.0.1:0") as listener, coop.connect(listener.address) as client:
                while client.openfile.try_write([memoryview(bytes(65536))]) > 0:
                    pass
                tls = TlsConn(client, ssl.create_default_context(), "localhost")
                tls.set_deadline(0.01)
                try:
                    tls.handshake()  # whose first words stay here
                except coop.DeadlineExceeded:
                    pass
                if os.fork() == 0:
                    number = client.fileno()
                    client.close()
                    near, far = socket.socketpair()
                    if near.fileno() != number:
                        near, far = far, near
                    assert near.fileno() == number
                    try:
                        tls.close()
                    except coop.Closed:
                        pass
                    far.setblocking(False)
                    try:
                        print(far.recv(9))
                    except BlockingIOError:
                        print("nothing", flush=True)
                        os._exit(0)
                    os._exit(1)
                assert os.wait()[1] == 0

        coop.run(main, poller="oneoff")
        """
    )


# -- connect, listen, and addresses


@each_poller
def test_connecting_to_a_port_nobody_listens_on_names_the_address(poller: str):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConnectionRefusedError, match=f"connect to 127.0.0.1:{port}"):
            coop.run(coop.connect, f"127.0.0.1:{port}", poller=poller)


def test_listening_on_an_address_in_use_names_it():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"listen on 127.0.0.1:{port}: Address already in use"):
            coop.run(coop.listen, f"127.0.0.1:{port}")


def test_a_name_is_resolved_without_holding_up_the_others():
    def main() -> str:
        with coop.listen("127.0.0.1:0") as listener:
            with coop.connect(("localhost", listener.address[1])) as conn:
                return str(conn.peer[0])

    assert coop.run(main) == "127.0.0.1"


def test_a_name_that_has_no_address_is_told_by_its_address(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(OSError, match=r"connect to nowhere\.example:80: the name has no address"):
        coop.run(coop.connect, "nowhere.example:80")


def test_connecting_takes_no_longer_than_its_timeout():
    # A listener whose backlog is full does not answer; nothing leaves this machine.
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    with full, ExitStack() as stack:
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        message = r"make connection to 127\.0\.0\.1:[0-9]+: i/o timeout"
        with pytest.raises(coop.DeadlineExceeded, match=message):
            coop.run(lambda: coop.connect(full.getsockname(), timeout=0.01))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_addresses_are_split_into_host_and_port(text: str, address: tuple[str, int]):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", ":80", "host", "host:", "host:x", "host:65536", "host:-1", "::1:80", "host:²"]
)
def test_what_is_no_address_is_refused_by_name(text: str):
    with pytest.raises(ValueError, match="address"):
        parse_address(text)


def test_ipv6_works_where_the_machine_has_it():
    def main() -> str:
        try:
            listener = coop.listen("[::1]:0")
        except OSError:
            pytest.skip("this machine has no IPv6")
        with listener, coop.connect(listener.address[:2]) as conn, listener.accept() as server:
            conn.sendall(b"x")
            assert server.recv() == b"x"
            return repr(server)

    assert "[::1]:" in coop.run(main)


# -- waiting is counted


@pytest.mark.seed("D12")
@each_poller
def test_waits_count_themselves_in_and_out_however_they_end(poller: str):
    def body(client: coop.Conn, server: coop.Conn) -> list[int]:
        counter = scheduler().poller
        counts = [counter.waiters]
        reader = coop.spawn(client.recv)
        coop.pause()
        counts.append(counter.waiters)
        server.sendall(b"x")
        reader.wait()
        counts.append(counter.waiters)
        reader = coop.spawn(client.recv)
        coop.pause()
        reader.cancel()
        coop.pause()
        counts.append(counter.waiters)
        client.set_deadline(0.001)
        with pytest.raises(coop.DeadlineExceeded):
            client.recv()
        counts.append(counter.waiters)
        return counts

    assert with_pair(body, poller) == [0, 1, 0, 0, 0]


@pytest.mark.seed("D13")
def test_reprs_name_the_ends():
    def body(client: coop.Conn, _server: coop.Conn) -> None:
        assert f"127.0.0.1:{client.peer[1]}" in repr(client)
        client.close()
        assert "closed" in repr(client)

    with_pair(body)
