"""The streams of TCP connections from a guest: how bytes move, wait, and end."""

import gc
import hashlib
import socket
import struct
import time

import pytest

import coop
from coop.engine import Limits
from coop.errors import LimitExceeded
from coop.netpoll import POLLERS
from coop.wasip2 import writing
from coop.wasip2.reading import FileInput
from tests.wasip2.net import FAMILIES, player

MUCH = 3 << 20


@pytest.fixture
def play(python):
    return player(python)


def take(conn: coop.Conn, size: int) -> bytes:
    """Receive so many bytes, fewer at the end."""
    got = bytearray()
    while len(got) < size and (piece := conn.recv()):
        got.extend(piece)
    return bytes(got)


def reset(conn: socket.socket) -> None:
    """Close a connection the hard way."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def blocks(count: int) -> bytes:
    """Bytes of which no two pieces are the same."""
    return b"".join(hashlib.sha256(i.to_bytes(4, "big")).digest() for i in range(count // 32))


FILL = """
while permit := sink.check_write():
    sink.write(bytes(permit))
"""
"""Writes as much as is permitted."""


# -- backpressure


@pytest.mark.parametrize("poller", POLLERS)
def test_a_slow_reader_takes_the_permit_away_and_nothing_is_lost(play, poller):
    def act(run):
        with coop.listen("127.0.0.1:0") as listener:
            run(f"sock, source, sink = connected('127.0.0.1', {listener.address[1]})")
            with listener.accept() as conn:
                written = run("""
written = 0
while permit := sink.check_write():
    sink.write(bytes([written >> 20 & 255]) * permit)
    written += permit
result = written
""")
                assert run("result = sink.subscribe().ready(), error(sink.flush)") == (
                    False,
                    "no error but None",
                )
                got = bytearray()

                def take():
                    while len(got) < written + 3:
                        got.extend(conn.recv())

                taker = coop.spawn(take)
                run("sink.subscribe().block(); write(sink, b'end')")
                taker.wait()
                assert (
                    bytes(got)
                    == b"".join(bytes([i >> 20 & 255]) * (1 << 20) for i in range(0, written, 1 << 20))
                    + b"end"
                )

    play(act, poller=poller)


def test_peers_that_do_not_read_stop_neither_the_guest_nor_the_others(play, monkeypatch):
    """However many they are: a write that was permitted does not wait."""
    monkeypatch.setattr(writing, "_ALL", 3 << 20)

    def act(run):
        with coop.listen("127.0.0.1:0") as listener:
            listener.openfile.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            run(f"""
idle = [connected('127.0.0.1', {listener.address[1]}) for _ in range(8)]
for sock, _, sink in idle:
    sock.set_send_buffer_size(4096)
    while permit := sink.check_write():
        for _ in range(4):
            sink.write(bytes(permit // 4))
sock, source, sink = connected('127.0.0.1', {listener.address[1]})
""")
            # All of the account, but for what the kernel may have taken meanwhile.
            assert run.guest.world.backlog.used > (3 << 20) - (64 << 10)
            idle = [listener.accept() for _ in range(8)]
            with listener.accept() as conn:
                taker = coop.spawn(take, conn, 300_000)
                run("write(sink, b'x' * 300_000)")
                assert taker.wait() == b"x" * 300_000
            for conn in idle:
                conn.close()

    play(act, limits=Limits(wall_time=30))


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("host", FAMILIES.values(), ids=FAMILIES)
def test_much_goes_both_ways_at_once(play, host, poller):
    data = blocks(MUCH)

    def act(run):
        with coop.listen((host, 0)) as listener:
            digests = []

            def serve():
                with listener.accept() as conn:
                    sender = coop.spawn(lambda: (conn.sendall(data), conn.shutdown()))
                    digest = hashlib.sha256()
                    while piece := conn.recv():
                        digest.update(piece)
                    sender.wait()
                    digests.append(digest.hexdigest())

            server = coop.spawn(serve)
            found = run(f"""
sock, source, sink = connected({host!r}, {listener.address[1]})
got, left, is_open = [], b'x' * {MUCH}, True
readable, writable = source.subscribe(), sink.subscribe()
while left or is_open:
    poll.poll(([readable] if is_open else []) + ([writable] if left else []))
    if left and (permit := sink.check_write()):
        sink.write(left[:permit])
        left = left[permit:]
    try:
        got.append(source.read(65536) if is_open else b'')
    except Err:
        is_open = False
sock.shutdown(tcp.ShutdownType.SEND)
result = b''.join(got)
""")
            server.wait()
            assert found == data
            assert digests == [hashlib.sha256(b"x" * MUCH).hexdigest()]

    play(act, poller=poller)


@pytest.mark.parametrize("poller", POLLERS)
def test_a_guest_that_never_polls_reads_all_the_same(play, poller):
    def act(run):
        with coop.listen("127.0.0.1:0") as listener:
            run(f"sock, source, sink = connected('127.0.0.1', {listener.address[1]})")
            with listener.accept() as conn:
                assert run("result = source.read(10)") == b""
                conn.sendall(b"now")
                return run("""
result = b''
while not result:
    result = source.read(10)
""")

    assert play(act, poller=poller) == b"now"


# -- the end of one direction


@pytest.mark.parametrize("poller", POLLERS)
def test_after_its_own_end_a_guest_still_hears_the_peer(play, poller):
    def act(run):
        with coop.listen("127.0.0.1:0") as listener:

            def serve():
                with listener.accept() as conn:
                    asked = b""
                    while piece := conn.recv():
                        asked += piece
                    conn.sendall(asked[::-1])

            coop.spawn(serve)
            return run(f"""
sock, source, sink = connected('127.0.0.1', {listener.address[1]})
write(sink, b'abc')
sock.shutdown(tcp.ShutdownType.SEND)
sock.shutdown(tcp.ShutdownType.SEND)
result = [error(sink.check_write), error(sink.blocking_write_and_flush, b'x'), error(sink.flush)]
result.append(read(source))
""")

    assert play(act, poller=poller) == ["streamerror-closed"] * 3 + [b"cba"]


@pytest.mark.parametrize("poller", POLLERS)
def test_what_was_taken_before_the_end_is_sent_before_it(play, poller):
    def act(run):
        with coop.listen("127.0.0.1:0") as listener:
            run(f"sock, source, sink = connected('127.0.0.1', {listener.address[1]})")
            with listener.accept() as conn:
                written = run("""
written = 0
while permit := sink.check_write():
    sink.write(bytes(permit))
    written += permit
sock.shutdown(tcp.ShutdownType.SEND)
result = written
""")
                assert run("result = sink.subscribe().ready(), error(sink.check_write)") == (
                    True,
                    "streamerror-closed",
                )
                got = 0
                while piece := conn.recv():
                    got += len(piece)
                assert got == written

    play(act, poller=poller)


@pytest.mark.parametrize("poller", POLLERS)
def test_what_was_taken_is_sent_though_stream_and_socket_are_dropped(play, poller):
    def act(run):
        with coop.listen("127.0.0.1:0") as listener:
            run(f"sock, source, sink = connected('127.0.0.1', {listener.address[1]})")
            with listener.accept() as conn:
                written = run("""
written = 0
while permit := sink.check_write():
    sink.write(bytes(permit))
    written += permit
drop(sink, source, sock)
result = written
""")
                got = 0
                while piece := conn.recv():
                    got += len(piece)
                assert got == written

    play(act, poller=poller)


def test_a_connection_that_was_dropped_is_given_up_when_nobody_reads(play, monkeypatch):
    monkeypatch.setattr(writing, "_PATIENCE_NS", 50_000_000)

    def act(run):
        with coop.listen("127.0.0.1:0") as listener:
            run(f"sock, source, sink = connected('127.0.0.1', {listener.address[1]})")
            with listener.accept() as conn:
                run(FILL)
                world = run.guest.world
                before = len(world.files)
                run("drop(sink, source, sock)")
                while world.backlog.used or len(world.files) == before:
                    coop.sleep(0.01)
                with pytest.raises(ConnectionResetError):
                    take(conn, 1 << 40)

    play(act, limits=Limits(wall_time=30))


def test_a_slow_reader_of_a_connection_that_was_dropped_is_waited_for(play, monkeypatch):
    monkeypatch.setattr(writing, "_PATIENCE_NS", 2_000_000_000)

    def act(run):
        with coop.listen("127.0.0.1:0") as listener:
            listener.openfile.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            run(f"sock, source, sink = connected('127.0.0.1', {listener.address[1]})")
            with listener.accept() as conn:
                run("sock.set_send_buffer_size(4096); sink.check_write()")
                run("sink.write(bytes(300_000)); drop(sink, source, sock)")
                got, began = 0, time.monotonic()
                while piece := conn.recv(1 << 12):
                    got += len(piece)
                    coop.sleep(0.03)
                assert got == 300_000
                assert time.monotonic() - began > 2

    play(act)


def test_a_guest_that_ends_with_bytes_unsent_leaves_nothing_open(play):
    def act(run):
        with coop.listen("127.0.0.1:0") as listener:
            run(f"sock, source, sink = connected('127.0.0.1', {listener.address[1]})")
            with listener.accept() as conn:
                run(FILL + "drop(sink)")
                run.guest.close()
                while conn.recv():
                    pass

    play(act)


def test_who_hears_no_more_loses_what_was_not_read_and_may_still_speak(play):
    def act(run):
        with coop.listen("127.0.0.1:0") as listener:
            run(f"sock, source, sink = connected('127.0.0.1', {listener.address[1]})")
            with listener.accept() as conn:
                conn.sendall(b"unheard")
                found = run("""
source.subscribe().block()
sock.shutdown(tcp.ShutdownType.RECEIVE)
result = [error(source.read, 10), error(source.blocking_read, 10), source.subscribe().ready()]
write(sink, b'still here')
""")
                assert found == ["streamerror-closed", "streamerror-closed", True]
                assert conn.recv() == b"still here"

    play(act)


def test_who_hears_no_more_is_told_so_at_once(play):
    def act(run):
        return run("""
ours, theirs = pair()
sock, source, sink = ours
assert source.read(10) == b""
told = source.subscribe()
result = [told.ready()]
sock.shutdown(tcp.ShutdownType.RECEIVE)
result.append(told.ready())
""")

    assert play(act) == [False, True]


def test_both_directions_end_at_once(play):
    def act(run):
        with coop.listen("127.0.0.1:0") as listener:
            run(f"sock, source, sink = connected('127.0.0.1', {listener.address[1]})")
            with listener.accept() as conn:
                found = run("""
sock.shutdown(tcp.ShutdownType.BOTH)
result = [error(source.read, 10), error(sink.check_write), plain(sock.remote_address())[0]]
""")
                assert found == ["streamerror-closed", "streamerror-closed", "127.0.0.1"]
                assert conn.recv() == b""

    play(act)


# -- the peer's end


@pytest.mark.parametrize("poller", POLLERS)
def test_bytes_that_come_with_the_end_are_read_before_it(play, poller):
    def act(run):
        with coop.listen("127.0.0.1:0") as listener:
            run(f"sock, source, sink = connected('127.0.0.1', {listener.address[1]})")
            with listener.accept() as conn:
                conn.sendall(b"last words")
            return run("""
result = []
for _ in range(2):
    source.subscribe().block()
    result.append(source.read(4))
result += [source.blocking_skip(100), error(source.read, 1), error(source.skip, 1), error(source.read, 0)]
""")

    assert play(act, poller=poller) == [
        *(b"last", b" wor", 2, "streamerror-closed", "streamerror-closed"),
        "no error but b''",
    ]


@pytest.mark.parametrize("poller", POLLERS)
def test_a_reset_is_no_end_but_a_failure_once(play, poller):
    def act(run):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            run(f"sock, source, sink = connected('127.0.0.1', {listener.getsockname()[1]})")
            reset(listener.accept()[0])
            return run("""
source.subscribe().block()
result = []
try:
    source.read(1)
except Err as caught:
    result.append(caught.value.value.to_debug_string())
result += [error(source.read, 1), error(sink.blocking_write_and_flush, b'x'), error(sink.check_write)]
result.append(error(sock.shutdown, tcp.ShutdownType.BOTH))
""")

    found = play(act, poller=poller)
    assert "reset by peer" in found[0]
    assert found[1:] == ["streamerror-closed"] * 3 + ["no error but None"]


@pytest.mark.parametrize("read", ["source.subscribe().block(); source.read", "source.blocking_read"])
def test_an_error_that_a_guest_keeps_keeps_nothing_of_its_connection(play, read):
    def streams():
        gc.collect()
        return sum(isinstance(thing, FileInput) for thing in gc.get_objects())

    def act(run):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            before = streams()
            run(f"sock, source, sink = connected('127.0.0.1', {listener.getsockname()[1]})")
            conn, _ = listener.accept()
            coop.spawn(reset, conn)  # which runs when the guest waits
            run(f"""
try:
    {read}(1)
except Err as caught:
    kept = caught.value.value
drop(source, sink, sock)
""")
            return streams() - before, run("result = kept.to_debug_string()")

    left, said = play(act)
    assert "reset by peer" in said
    assert left == 0


def test_a_guest_may_keep_more_errors_than_other_things_but_not_any_number(play):
    def keep(run, count):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for _ in range(count):
                run(f"sock, source, sink = connected('127.0.0.1', {listener.getsockname()[1]})")
                reset(listener.accept()[0])
                run("""
try:
    source.blocking_read(1)
except Err as caught:
    errors.append(caught.value.value)
drop(source, sink, sock)
""")
            return run("result = len(errors), errors[-1].to_debug_string()")

    def act(run):
        run("errors = []")
        count, words = keep(run, 100)
        with pytest.raises(LimitExceeded, match="a guest has 30 handles"):
            keep(run, 400)
        return count, words

    count, words = play(act, limits=Limits(handles=30))
    assert count == 100
    assert "reset by peer" in words


@pytest.mark.parametrize("poller", POLLERS)
def test_a_reset_ends_a_wait_for_room(play, poller):
    def act(run):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            run(f"sock, source, sink = connected('127.0.0.1', {listener.getsockname()[1]})")
            conn, _ = listener.accept()
            run("""
while permit := sink.check_write():
    sink.write(bytes(permit))
""")

            def leave():
                coop.sleep(0.01)
                reset(conn)

            coop.spawn(leave)
            return run("sink.subscribe().block(); result = error(sink.check_write), error(sink.check_write)")

    assert play(act, poller=poller) == ("streamerror-lastoperationfailed", "streamerror-closed")


# -- a server


_SERVER = """
listener = listening({host!r})
comes = listener.subscribe()
clients = {{}}


def serve(count):
    "Echo to everybody at once, until so many have come and gone."
    gone = 0
    while gone < count:
        order = list(clients)
        for i in poll.poll([comes, *(clients[each][0] for each in order)]):
            if i == 0:
                sock, source, sink = listener.accept()
                clients[sock] = source.subscribe(), source, sink
                continue
            readable, source, sink = clients[order[i - 1]]
            try:
                write(sink, source.read(1000))
            except Err:
                gone += 1
                clients.pop(order[i - 1])
                drop(readable, source, sink, order[i - 1])
    return gone


result = plain(listener.local_address())[1]
"""


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("host", FAMILIES.values(), ids=FAMILIES)
def test_a_guest_serves_two_clients_at_once_while_everything_else_goes_on(play, host, poller):
    def act(run):
        port = run(_SERVER.format(host=host))
        ticks = []

        def tick():
            while True:
                coop.sleep(0.001)
                ticks.append(1)

        here, turns = [], []

        def talk(name):
            with coop.connect((host, port)) as conn:
                here.append(name)
                while len(here) < 2:
                    coop.pause()
                for i in range(20):
                    conn.sendall(b"%d" % i)
                    assert conn.recv() == b"%d" % i
                    turns.append(name)
                    coop.sleep(0.001)

        ticker = coop.spawn(tick)
        talkers = [coop.spawn(talk, name) for name in "ab"]
        assert run("result = serve(2)") == 2
        for talker in talkers:
            talker.wait()
        ticker.cancel()
        assert len(ticks) > 5
        assert turns.count("a") == turns.count("b") == 20
        assert "ab" in "".join(turns)
        assert "ba" in "".join(turns)

    play(act, poller=poller)


# -- what guests use instead


@pytest.mark.parametrize("poller", POLLERS)
def test_the_sockets_of_python_s_own_library_work_in_a_guest(play, poller):
    def act(run):
        with coop.listen("127.0.0.1:0") as listener:

            def serve():
                with listener.accept() as conn:
                    while piece := conn.recv():
                        conn.sendall(piece.upper())

            server = coop.spawn(serve)
            found = run(f"""
import socket
conn = socket.create_connection(('localhost', {listener.address[1]}))
conn.settimeout(30)
conn.sendall(b'plain')
conn.shutdown(socket.SHUT_WR)
got = b''
while piece := conn.recv(100):
    got += piece
conn.close()
result = got
""")
            server.wait()
            return found

    assert play(act, poller=poller) == b"PLAIN"


@pytest.mark.parametrize("poller", POLLERS)
def test_asyncio_works_in_a_guest(play, poller):
    def act(run):
        with coop.listen("127.0.0.1:0") as listener:

            def serve():
                for conn in listener:
                    with conn:
                        conn.sendall(conn.recv() * 2)

            server = coop.spawn(serve)
            found = run(f"""
import asyncio


async def ask(what):
    reader, writer = await asyncio.open_connection('127.0.0.1', {listener.address[1]})
    writer.write(what)
    found = await reader.read()
    writer.close()
    return found


async def both():
    return await asyncio.gather(ask(b'a'), ask(b'b'))

result = asyncio.run(both())
""")
            server.cancel()
            return found

    assert play(act, poller=poller) == [b"aa", b"bb"]
