"""TLS over a connection of host code, with the `ssl` module's own sockets at the other end."""

import os
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

import coop
import coop.stint
from coop.net.tls import TlsConn
from coop.netpoll.contract import READ
from tests.keyupdate import Client
from tests.serve.certificate import make_certificate


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """A server's context, and one of a client that trusts it."""
    cert, key = make_certificate(tmp_path_factory.mktemp("certificate"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=cert)


def with_server(contexts, serve, act, after=lambda: None):
    """Connect to a thread that serves one client over `ssl`, and act on the connection in a run."""
    server, trusts = contexts
    failed = []

    def run(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        sock.settimeout(20)
        try:
            with server.wrap_socket(sock, server_side=True) as secured:
                serve(secured)
        except BaseException as error:
            failed.append(error)

    def main():
        with coop.connect(listener.getsockname()) as conn:
            tls = TlsConn(conn, trusts, "localhost")
            tls.handshake()
            found = act(tls)
            tls.close()
            after()
            return found

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run, args=(listener,))
        thread.start()
        try:
            return coop.run(main)
        finally:
            thread.join()
            assert not failed, failed


def everything(tls: TlsConn) -> bytes:
    found = b""
    while data := tls.recv():
        found += data
    return found


def test_one_task_reads_while_another_writes(contexts):
    data = bytes(range(256)) * 20_000

    def serve(sock: ssl.SSLSocket) -> None:
        left = len(data)
        while left:
            piece = sock.recv(65536)
            sock.sendall(piece)
            left -= len(piece)

    def act(tls: TlsConn) -> bytes:
        writer = coop.spawn(tls.sendall, data)
        found = b""
        while len(found) < len(data):
            found += tls.recv(10_000)
        writer.wait()
        return found

    assert with_server(contexts, serve, act) == data


def test_what_is_made_of_larger_numbers_is_sent_to_the_last_byte(contexts):
    data = memoryview(bytes(range(256)) * 2000).cast("H")
    found = bytearray()

    def serve(sock: ssl.SSLSocket) -> None:
        while piece := sock.recv(65536):
            found.extend(piece)

    def act(tls: TlsConn) -> bytes:
        tls.sendall(data)
        tls.shutdown()
        return everything(tls)

    assert with_server(contexts, serve, act) == b""
    assert found == data.tobytes()


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_an_end_without_a_goodbye_is_told_apart(contexts, says_goodbye: bool):
    def serve(sock: ssl.SSLSocket) -> None:
        sock.sendall(b"abc")
        if says_goodbye:
            sock.unwrap()

    def act(tls: TlsConn):
        return everything(tls), tls.was_cut

    assert with_server(contexts, serve, act) == (b"abc", not says_goodbye)


@pytest.mark.parametrize("end", ["close", "shutdown"])
def test_the_peer_reads_a_goodbye(contexts, end: str):
    seen = []

    def serve(sock: ssl.SSLSocket) -> None:
        sock.suppress_ragged_eofs = False
        seen.append(sock.recv(10))
        seen.append(sock.recv(10))

    def act(tls: TlsConn) -> None:
        tls.sendall(b"x")
        if end == "shutdown":
            tls.shutdown()

    with_server(contexts, serve, act)
    assert seen == [b"x", b""]


def test_what_was_sent_before_a_close_arrives_though_the_servers_tickets_were_never_read(contexts):
    data = bytes(range(256)) * 1500  # more than the server's side takes before it reads
    found, closed = bytearray(), threading.Event()

    def serve(sock: ssl.SSLSocket) -> None:
        assert closed.wait(20)
        while piece := sock.recv(65536):
            found.extend(piece)

    def act(tls: TlsConn) -> None:
        tls.conn.openfile.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(data))
        tls.sendall(data)

    with_server(contexts, serve, act, closed.set)
    assert found == data


def test_what_a_forked_child_closes_stays_open_for_its_parent(contexts):
    def serve(sock: ssl.SSLSocket) -> None:
        sock.sendall(b"on")  # for the parent to read, though the child closes first
        assert sock.recv(10) == b"go"

    def act(tls: TlsConn) -> bytes:
        tls.conn.openfile.wait(READ)
        child = os.fork()
        if child == 0:
            try:
                tls.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        tls.sendall(b"go")
        return tls.recv()

    assert with_server(contexts, serve, act) == b"on"


def test_a_deadline_ends_a_read_and_not_the_connection(contexts):
    def serve(sock: ssl.SSLSocket) -> None:
        assert sock.recv(10) == b"go"
        sock.sendall(b"on")

    def act(tls: TlsConn) -> bytes:
        tls.set_read_deadline(0.05)
        with pytest.raises(coop.DeadlineExceeded):
            tls.recv()
        tls.set_read_deadline(None)
        tls.sendall(b"go")
        return tls.recv()

    assert with_server(contexts, serve, act) == b"on"


def with_client(contexts, play, act, buffer: int | None = None):
    """Let a thread play a client, and act on the server's end of its connection once it has played."""
    played = threading.Event()

    def run(sock: socket.socket) -> None:
        client = Client(sock)
        try:
            with suppress(ConnectionError):  # the server may have heard enough
                play(client)
        finally:
            client.free()
            played.set()

    def main():
        with coop.listen("127.0.0.1:0") as listener, socket.socket() as sock:
            if buffer is not None:
                listener.openfile.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # who has played has sent it all
            sock.connect(listener.address)
            playing = threading.Thread(target=run, args=(sock,))
            playing.start()
            try:
                with listener.accept() as conn:
                    tls = TlsConn(conn, contexts[0], None)
                    tls.handshake()
                    return act(tls, lambda: coop.run_in_thread(played.wait))
            finally:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                coop.run_in_thread(playing.join)

    return coop.run(main)


def test_a_peer_that_has_tls_answer_and_does_not_read_is_given_up(contexts):
    def play(client: Client) -> None:
        for _ in range(200):
            client.write(b"x")
            for _ in range(200):
                client.update_keys(asks=True)

    def act(tls: TlsConn, _) -> None:
        tls.set_write_deadline(5)  # of which a reader knows nothing
        with pytest.raises(ConnectionAbortedError, match="does not read"):
            everything(tls)

    with_client(contexts, play, act, buffer=4096)


def changes_keys(count: int, *, asks: bool) -> Callable[[Client], None]:
    """What a client does that changes its keys so often, and then writes something."""

    def play(client: Client) -> None:
        for _ in range(count):
            client.update_keys(asks=asks)
        client.write(b"x")

    return play


def test_a_peer_that_only_changes_keys_is_given_up(contexts):
    def act(tls: TlsConn, _) -> None:
        with pytest.raises(ConnectionAbortedError, match="no data"):
            tls.recv()

    with_client(contexts, changes_keys(10_000, asks=False), act)


def test_others_run_while_a_peer_has_tls_work(contexts, monkeypatch):
    def act(tls: TlsConn, play_to_the_end) -> int:
        play_to_the_end()
        monkeypatch.setattr(coop.stint, "MOST_NS", 0)
        reader = coop.spawn(tls.recv)
        turns = 0
        while not reader.is_done:
            coop.pause()
            turns += 1
        assert reader.wait() == b"x"
        return turns

    assert with_client(contexts, changes_keys(3000, asks=False), act) > 10


def test_a_reader_answers_without_regard_to_the_deadline_of_writing(contexts):
    def act(tls: TlsConn, play_to_the_end) -> bytes:
        play_to_the_end()
        tls.set_write_deadline(0)
        return tls.recv()

    assert with_client(contexts, changes_keys(3, asks=True), act) == b"x"


@pytest.mark.parametrize("end", ["deadline", "cancel"])
def test_what_tls_has_made_is_sent_once_whatever_interrupts_it(contexts, end: str):
    data, read = bytes(range(256)) * 40_000, bytearray()
    interrupted = threading.Event()

    def serve(sock: ssl.SSLSocket) -> None:
        interrupted.wait(20)
        while not read.endswith(b"the end"):
            read.extend(sock.recv(65536))
        sock.sendall(b"heard")

    def act(tls: TlsConn) -> None:
        if end == "deadline":
            tls.set_write_deadline(0.05)
        writer = coop.spawn(tls.sendall, data)
        if end == "cancel":
            coop.sleep(0.05)
            writer.cancel()
        with pytest.raises((coop.DeadlineExceeded, coop.WasCancelled)):
            writer.wait()
        interrupted.set()
        tls.set_write_deadline(None)
        tls.sendall(b"the end")
        assert tls.recv() == b"heard"

    with_server(contexts, serve, act)
    assert data.startswith(read.removesuffix(b"the end"))
