"""Unix sockets of host code, and names that take long to resolve."""

import os
import socket
import threading
from pathlib import Path

import pytest

import coop
from tests.children import ROOT, run_child

POLLERS = ["hostpoll", "oneoff", "pollset"]
each_poller = pytest.mark.parametrize("poller", POLLERS)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A directory to be in: the name of a Unix socket is short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def leave_stale(path: str) -> None:
    """Leave a socket's file as a server does that was killed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()


@each_poller
@pytest.mark.parametrize("address", ["unix:s", f"unix:@coop-test-{os.getpid()}"])
def test_bytes_go_both_ways_over_a_unix_socket(folder, poller, address):
    def main():
        with coop.listen(address) as listener, coop.connect(listener.address) as client:
            with listener.accept() as server:
                client.sendall(b"ping")
                server.sendall(server.recv() + b" pong")
                client.shutdown()
                return listener.address, client.peer, server.peer, client.recv(), server.recv()

    assert coop.run(main, poller=poller) == (address, address, "", b"ping pong", b"")


def test_connections_of_unix_sockets_are_told_apart_by_the_listeners_name(folder):
    def main():
        with coop.listen("unix:s") as listener, coop.connect("unix:s") as client:
            with listener.accept() as server:
                return repr(listener), repr(client), repr(server)

    names = coop.run(main)
    assert names == ("<Listener listener unix:s>", "<Conn connection to unix:s>", "<Conn connection unix:s>")


def test_the_file_goes_with_the_listener_even_from_another_directory(folder):
    def main():
        with coop.listen("unix:s"):
            there = os.path.exists("s")
            os.chdir("/")
        os.chdir(folder)
        return there, os.listdir()

    assert coop.run(main) == (True, [])


def test_a_file_that_took_the_sockets_place_is_left_alone(folder):
    def main():
        with coop.listen("unix:s"):
            Path("s").unlink()
            Path("s").write_text("precious")

    coop.run(main)
    assert Path("s").read_text() == "precious"


def test_a_successor_keeps_its_socket_when_its_predecessor_ends(folder):
    def main():
        with coop.listen("unix:s") as first:
            Path("s").unlink()
            second = coop.listen("unix:s")
            first.close()
            with second, coop.connect("unix:s") as client, second.accept():
                return client.peer

    assert coop.run(main) == "unix:s"


def test_a_socket_that_a_killed_server_left_is_taken_over(folder):
    leave_stale("s")

    def main():
        with coop.listen("unix:s") as listener, coop.connect("unix:s"), listener.accept():
            return True

    assert coop.run(main)
    assert os.listdir() == []


def test_a_socket_that_somebody_listens_on_is_not_stolen(folder):
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind("s")
        taken.listen()
        with pytest.raises(OSError, match="listen on unix:s: Address already in use"):
            coop.run(coop.listen, "unix:s")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("s")


@pytest.mark.parametrize(
    "make", [lambda p: p.write_text("x"), Path.mkdir, lambda p: p.symlink_to("t"), os.mkfifo]
)
def test_a_file_that_is_no_socket_is_not_touched(folder, make):
    make(folder / "s")
    before = os.lstat("s")
    leave_stale("t")
    with pytest.raises(FileExistsError, match="listen on unix:s: a file that is no socket is there"):
        coop.run(coop.listen, "unix:s")
    assert os.lstat("s") == before


def test_a_socket_of_datagrams_in_use_is_not_stolen(folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
        taken.bind("s")
        with pytest.raises(OSError, match="Address already in use"):
            coop.run(coop.listen, "unix:s")


def test_an_abstract_name_in_use_is_refused(folder):
    address = f"unix:@coop-taken-{os.getpid()}"

    def main():
        with coop.listen(address):
            coop.listen(address)

    with pytest.raises(OSError, match=f"listen on {address}: Address already in use"):
        coop.run(main)


@pytest.mark.parametrize(
    ("address", "says"),
    [("unix:s", "connect to unix:s: No such file"), ("unix:t", "connect to unix:t: Connection refused")],
)
def test_connecting_to_nobody_names_the_address(folder, address, says):
    leave_stale("t")
    with pytest.raises(OSError, match=says):
        coop.run(coop.connect, address)


def test_listening_where_no_file_can_be_names_the_address(folder):
    with pytest.raises(FileNotFoundError, match="listen on unix:no/such/s: No such file"):
        coop.run(coop.listen, "unix:no/such/s")


def crowd(path: str) -> list[socket.socket]:
    """Fill the backlog of a listener."""
    waiting = []
    while True:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        waiting.append(client)
        if client.connect_ex(path):
            return waiting


@each_poller
def test_connecting_waits_for_room_in_the_backlog(folder, poller):
    def main():
        with coop.listen("unix:s", backlog=1) as listener:
            waiting = crowd("s")
            late = coop.spawn(coop.connect, "unix:s")
            coop.pause()
            assert not late.is_done
            served = [listener.accept() for _ in waiting]
            with late.wait() as client:
                client.sendall(b"late")
                got = served[-1].recv()
            for sock in (*waiting, *served):
                sock.close()
            return got

    assert coop.run(main, poller=poller) == b"late"


def test_connecting_to_a_full_backlog_takes_no_longer_than_its_timeout(folder):
    def main():
        with coop.listen("unix:s", backlog=1):
            waiting = crowd("s")
            try:
                with pytest.raises(coop.DeadlineExceeded, match="connect to unix:s"):
                    coop.connect("unix:s", timeout=0.01)
            finally:
                for sock in waiting:
                    sock.close()

    coop.run(main)


def test_a_forked_child_leaves_the_file_to_its_parent(folder):
    child = """
        import os
        import coop

        def main():
            listener = coop.listen("unix:s")
            if os.fork() == 0:
                listener.openfile.destroy()
                os._exit(0)
            assert os.wait()[1] == 0
            print(os.listdir())
            listener.close()
            print(os.listdir())

        coop.run(main)
    """
    assert run_child(child, cwd=folder, env={"PYTHONPATH": str(ROOT)}).stdout == b"['s']\n[]\n"


# -- names


def test_a_name_that_does_not_exist_is_named():
    with pytest.raises(OSError, match=r"connect to no-such-host\.invalid:80: "):
        coop.run(coop.connect, "no-such-host.invalid:80")


@pytest.mark.parametrize("call", [coop.connect, coop.listen])
def test_what_cannot_be_a_name_is_refused_in_words(call):
    with pytest.raises(ValueError, match=r"'a\.\.b' is no host's name"):
        coop.run(call, "a..b:80")


@pytest.fixture
def slow_names(monkeypatch):
    """A resolver that answers when the returned event is set."""
    answer, real = threading.Event(), socket.getaddrinfo

    def resolve(host, *args, flags=0, **more):
        if flags & socket.AI_NUMERICHOST:
            return real(host, *args, flags=flags, **more)
        answer.wait(50)
        return real("127.0.0.1", *args, flags=flags, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield answer
    answer.set()


@each_poller
def test_a_name_that_takes_long_to_resolve_holds_nobody_up(slow_names, poller):
    def main():
        listening = coop.spawn(coop.listen, "slow.example:0")
        coop.spawn(slow_names.set)
        with listening.wait() as listener:
            slow_names.clear()
            connecting = coop.spawn(coop.connect, f"slow.example:{listener.address[1]}")
            coop.spawn(slow_names.set)
            with connecting.wait() as client:
                return client.peer == listener.address

    assert coop.run(main, poller=poller)


def test_the_timeout_covers_the_name_too(slow_names):
    def main():
        with pytest.raises(
            coop.DeadlineExceeded, match=r"slow\.example:80: the name was not resolved in time"
        ):
            coop.connect("slow.example:80", timeout=0.01)
        slow_names.set()

    coop.run(main)


def test_a_task_that_waits_for_a_name_can_be_cancelled(slow_names):
    def main():
        task = coop.spawn(coop.connect, "slow.example:80")
        coop.pause()
        task.cancel()
        with pytest.raises(coop.WasCancelled):
            task.wait()
        slow_names.set()

    coop.run(main)
