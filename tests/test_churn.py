"""Connections that come and go by the thousand, half of them abruptly: none is left, on either side."""

from pathlib import Path

import pytest

import coop
from tests.children import ROOT
from tests.fuzz.seeds import open_fds
from tests.guestbuild import c_guest, go_guest
from tests.wasip1.script import loaded

ECHO = ROOT / "examples" / "tcpecho"
CONNECTS = 2000
AT_ONCE = 20


def visit(address: tuple[str, int], number: int) -> None:
    """Connect, be served once, and leave: every second time by RST, with an answer outstanding."""
    conn = coop.connect(address)
    message = b"client %d" % number
    conn.sendall(message)
    if number % 2:
        # The file of the connection is asked to close at once, which throws away what is on its way.
        conn.openfile.reset_at_end()
        conn.close()
        return
    with conn:
        assert conn.recv() == message


def churn(address: tuple[str, int]) -> None:
    numbers = iter(range(CONNECTS))

    def visitor() -> None:
        for number in numbers:
            visit(address, number)

    with coop.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.spawn(visitor)


@pytest.fixture(scope="module", params=[".wat", ".go", ".c"])
def echo(request) -> coop.Module:
    build = {".wat": Path, ".go": go_guest, ".c": c_guest}[request.param]
    return loaded(build(ECHO / f"guest{request.param}"))


@pytest.mark.slow
def test_a_guest_that_served_2000_clients_half_of_them_reset_holds_no_descriptor(echo):
    def main():
        server = coop.Guest(echo, listen=["127.0.0.1:0"], stderr="inherit")
        task = coop.spawn(server.run)
        while not server.addresses:
            coop.pause()
        visit(server.addresses[0], 0)
        before = open_fds()
        churn(server.addresses[0])
        visit(server.addresses[0], 0)
        # The guest closes the last ones in its own time.
        left = open_fds().items() - before.items()
        for _ in range(1000):
            if not left:
                break
            coop.sleep(0.005)
            left = open_fds().items() - before.items()
        assert not task.is_done
        task.cancel()
        return left

    assert not coop.run(main)


@pytest.mark.slow
@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_a_host_that_served_2000_clients_half_of_them_reset_holds_no_descriptor(poller):
    def serve(conn: coop.Conn) -> None:
        with conn:
            try:
                while data := conn.recv():
                    conn.sendall(data)
            except (ConnectionResetError, BrokenPipeError):
                pass

    def main():
        before = open_fds()
        with coop.listen("127.0.0.1:0") as listener:

            def accept() -> None:
                with coop.TaskGroup() as group:
                    for conn in listener:
                        group.spawn(serve, conn)

            server = coop.spawn(accept)
            churn(listener.address[:2])
        server.wait()
        return open_fds().items() - before.items()

    assert not coop.run(main, poller=poller)
