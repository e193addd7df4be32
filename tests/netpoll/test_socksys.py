"""What is sent and received without giving up the GIL, and how it fails."""

import errno
import socket

import pytest

from coop.netpoll.kernelfiles import SocketFile
from coop.netpoll.openfile import BLOCKED
from coop.netpoll.socksys import MOST_COPIED, MOST_HELD
from tests.children import run_child
from tests.fakes import GuestMemory, some

SIZES = (1, MOST_COPIED, MOST_COPIED + 1, MOST_HELD, MOST_HELD + 1)
"""At the edges of what is copied before, of what keeps the GIL, and of what the socket's methods do."""

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def ends():
    """A file, and the socket at the other end, which takes and gives much at once."""
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MOST_HELD)
    file = SocketFile(near)
    with far:
        yield file, far
    if file.refs:
        file.release()


def transmitted(file: SocketFile, far: socket.socket, size: int, write) -> bytes:
    """Write until all is written; return what came."""
    came, done = bytearray(), 0
    while done < size:
        count = write(done)
        if count != BLOCKED:
            done += count
        else:
            file.ready |= 2  # as the poller would, since there is room below
        came += far.recv(1 << 20)
    return bytes(came)


@pytest.mark.parametrize("size", SIZES)
def test_a_buffer_of_any_size_is_written(ends, size):
    file, far = ends
    view = memoryview(some(size))
    assert transmitted(file, far, size, lambda done: file.write_one(view[done:])) == some(size)


@pytest.mark.parametrize("size", SIZES)
def test_a_piece_of_memory_of_any_size_is_written_and_no_more(ends, size):
    file, far = ends
    memory = GuestMemory(some(size))
    found = transmitted(file, far, size, lambda done: file.write_at(memory, 1 + done, size - done))
    assert found == some(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("how", ["buffer", "memory"])
def test_what_comes_is_read_into_a_piece_of_any_size_and_not_beyond(ends, size, how):
    file, far = ends
    memory, done = GuestMemory(b"." * size), 0
    far.settimeout(60)
    sent = 0
    while done < size:
        sent += far.send(some(size)[sent : sent + 65536]) if sent < size else 0
        if how == "buffer":
            count = file.read_one(memory.view[1 + done : 1 + size])
        else:
            count = file.read_at(memory, 1 + done, size - done)
        assert count > 0
        done += count
    assert memory.view.tobytes() == b"<" + some(size) + b">"


def test_what_would_block_is_told_and_no_error(ends):
    file, far = ends
    assert file.read_one(memoryview(bytearray(9))) == file.read_at(GuestMemory(b"123"), 1, 3) == BLOCKED
    far.setblocking(False)
    while file.write_at(GuestMemory(b"x" * 4096), 1, 4096) != BLOCKED:
        pass
    assert file.write_one(memoryview(b"x")) == BLOCKED


def test_the_end_and_a_peer_that_is_gone_are_told_as_the_socket_tells_them(ends):
    file, far = ends
    far.close()
    assert file.read_one(memoryview(bytearray(9))) == file.read_at(GuestMemory(b"123"), 1, 3) == 0
    for write in (lambda: file.write_one(memoryview(b"x")), lambda: file.write_at(GuestMemory(b"x"), 1, 1)):
        with pytest.raises(BrokenPipeError) as told:
            write()
        assert told.value.errno == errno.EPIPE
        assert str(told.value) == "[Errno 32] Broken pipe"


def test_a_file_that_is_closed_reaches_no_other_one_that_has_its_number(ends):
    file, _ = ends
    number = file.fd
    file.release()
    left, right = socket.socketpair()
    with left, right:
        assert number in (left.fileno(), right.fileno())
        for sock in (left, right):
            sock.send(b"not for you")
        memory = GuestMemory(b"123")
        for call in (
            lambda: file.read_one(memoryview(bytearray(9))),
            lambda: file.read_at(memory, 1, 3),
            lambda: file.write_at(memory, 1, 3),
        ):
            with pytest.raises(OSError) as told:
                call()
            assert told.value.errno == errno.EBADF


def test_who_reads_and_writes_on_sockets_gives_the_gil_to_no_other_thread(tmp_path):
    run_child(
        f"""
        import _thread, sys
        import coop
        from coop.engine import slices
        from coop.engine.border import Border
        from coop.scheduler import scheduler
        from tests.wasip1.script import Script

        sys.setswitchinterval(1000)  # so that only giving up the GIL lets the other thread run
        ran = []

        def main():
            owner = scheduler()
            # Where the machine stands still a slice ends, and who has used one up runs without the GIL.
            slices.SHORT_NS = {HOUR_NS}
            owner.resource(Border, lambda: Border(owner, slice_ns={HOUR_NS}))
            with coop.listen("unix:{tmp_path}/s") as listener, coop.connect(listener.address) as near:
                with listener.accept() as far, Script(connections=[near]) as guest:
                    for turn in range(3000):
                        if turn == 1:  # not before all code is loaded that is to run
                            _thread.start_new_thread(ran.append, (1,))
                        assert guest.write(3, b"x" * 64) == 64
                        assert far.recv(64) == b"x" * 64
                        far.sendall(b"y" * 64)
                        assert guest.read(3) == b"y" * 64
                    assert not ran
                    while not ran:
                        coop.sleep(0.001)

        coop.run(main)
        """
    )


def run_beside_a_thread(code: str) -> None:
    """Run code in a child where `asked.set()` lets a thread call `answer`, once the GIL is given up."""
    run_child(
        """
        import signal, socket, struct, sys, threading
        from coop.netpoll.kernelfiles import SocketFile
        from coop.netpoll.listenerfile import ListenerFile

        def wait_and_answer():
            asked.wait()
            answered.append(1)
            answer()

        asked, answered = threading.Event(), []
        thread = threading.Thread(target=wait_and_answer, daemon=True)
        thread.start()
        signal.alarm(60)  # while the GIL is held nothing else would end it
        """
        + code
    )


def test_a_lent_listener_that_its_owner_lets_block_keeps_the_gil_from_nobody():
    run_beside_a_thread(
        """
        def answer():
            clients.append(socket.create_connection(own.getsockname()))

        own, clients = socket.create_server(("127.0.0.1", 0)), []
        file = ListenerFile(own.dup(), lent=True)
        own.setblocking(True)
        sys.setswitchinterval(1000)
        asked.set()
        connection = file.try_accept()
        assert connection is not None and answered
        thread.join()
        connection.close()
        clients[0].close()
        file.release()
        own.close()
        """
    )


def test_a_close_that_waits_until_all_is_sent_as_the_listeners_owner_wants_it_keeps_the_gil_from_nobody():
    run_beside_a_thread(
        """
        def answer():
            client.close()

        own = socket.create_server(("127.0.0.1", 0))
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
        listener = ListenerFile(own.dup(), lent=True)
        client = socket.create_connection(own.getsockname())
        file = SocketFile(listener.try_accept())
        while file.write_one(memoryview(bytes(4096))) > 0:
            pass
        sys.setswitchinterval(1000)
        asked.set()
        file.release()
        assert answered
        thread.join()
        listener.release()
        own.close()
        """
    )


def test_what_would_block_is_told_when_a_handler_has_closed_what_its_peer_had_left():
    run_child(
        """
        import signal
        import coop
        from coop.netpoll.contract import READ
        from coop.netpoll.openfile import BLOCKED

        def main():
            with coop.listen("127.0.0.1:0") as listener, coop.connect(listener.address) as quiet:
                left = [coop.connect(listener.address) for _ in range(100)]
                with listener.accept():
                    for _ in left:
                        peer = listener.accept()
                        peer.openfile.reset_at_end()
                        peer.close()
                    read_while_it_takes_signals(quiet.openfile, left)

        def read_while_it_takes_signals(file, left):
            signal.signal(signal.SIGALRM, lambda number, frame: left and left.pop().close())
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            buffer = memoryview(bytearray(9))
            while left:  # and half of all handlers come when a read has just failed
                file.ready |= READ
                assert file.read_one(buffer) == BLOCKED
            signal.setitimer(signal.ITIMER_REAL, 0)

        coop.run(main)
        """
    )


def test_a_direction_that_is_shut_down_ends_and_what_cannot_be_is_told_as_the_socket_tells_it(ends):
    file, far = ends
    file.shutdown(socket.SHUT_WR)
    assert far.recv(9) == b""
    far.send(b"still")
    assert file.read_one(memoryview(bytearray(9))) == 5
    lonely = socket.socket()
    with pytest.raises(OSError) as told:
        SocketFile(lonely).shutdown(socket.SHUT_RDWR)
    with pytest.raises(OSError) as by_python:
        lonely.shutdown(socket.SHUT_RDWR)
    assert str(told.value) == str(by_python.value)
    lonely.close()


def test_who_shuts_a_connection_down_gives_the_gil_to_no_other_thread():
    run_child(
        """
        import _thread, socket, sys, time
        from coop.netpoll.kernelfiles import SocketFile

        sys.setswitchinterval(1000)  # so that only giving up the GIL lets the other thread run
        near, far = socket.socketpair()
        ran, file = [], SocketFile(near)
        for turn in range(20_000):
            if turn == 1:  # not before all code is loaded that is to run
                _thread.start_new_thread(ran.append, (1,))
            file.shutdown(socket.SHUT_WR)
        assert not ran
        while not ran:
            time.sleep(0.001)
        """
    )
