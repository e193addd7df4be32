"""TLS over a connection of host code, with the `ssl` module's own sockets at the other end."""

import socket
import ssl
import threading

import pytest

import coop
from coop.net.tls import TlsConn
from tests.serve.certificate import make_certificate


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """A server's context, and one of a client that trusts it."""
    cert, key = make_certificate(tmp_path_factory.mktemp("certificate"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=cert)


def with_server(contexts, serve, act):
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
