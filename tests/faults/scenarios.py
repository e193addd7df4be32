"""What guests do while a system call of the host's fails: work with files, sockets, streams and clocks.

Each scenario is a context manager that makes its surroundings and gives the options of a guest
and the function that works on it.  That function returns a transcript: what the guest was told, in
order, by the step's name.  Whatever it does, it does to the end: an errno ends a step and no more.
"""

import io
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import coop
from tests.faults.given import given, unix
from tests.faults.preload import Failing
from tests.faults.steps import (
    A_MS,
    ALL_RIGHTS,
    CREATE,
    DIRECTORY,
    MINUTE,
    READ,
    TEXT,
    TRUNCATE,
    WRITE,
    Setting,
    Transcript,
    listing,
    named,
    positioned,
    read_all,
    write_all,
)
from tests.wasip1.script import DATA, EVENTS, OUT, SUBS, Script, clock_sub, fd_sub

# -- files


@contextmanager
def files() -> Iterator[Setting]:
    """A program that uses a directory in every way."""
    folder = Path(tempfile.mkdtemp())
    try:
        yield Setting({"dirs": [folder]}, work_with_files)
    finally:
        shutil.rmtree(folder)


def work_with_files(guest: Script, failing: Failing) -> Transcript:
    """The program of `files`."""
    told: Transcript = {"mkdir": named(guest, "path_create_directory", 3, b"d")}
    fd = told["open"] = guest.open(3, b"d/f", oflags=CREATE | TRUNCATE, rights=ALL_RIGHTS)
    if isinstance(fd, int):
        told |= use_file(guest, fd)
        told["close"] = guest.fd_close(fd)
    told["stat"] = named(guest, "path_filestat_get", 3, 1, b"d/f", OUT)
    told["times"] = named(guest, "path_filestat_set_times", 3, 1, b"d/f", 10**9, 10**9, 5)
    told["symlink"] = named(guest, "path_symlink", b"f", 3, b"d/s")
    told["readlink"] = named(guest, "path_readlink", 3, b"d/s", DATA + 100, 10, OUT)
    told["stat through link"] = named(guest, "path_filestat_get", 3, 1, b"d/s", OUT)
    told["link"] = named(guest, "path_link", 3, 0, b"d/f", 3, b"d/h")
    told["rename"] = named(guest, "path_rename", 3, b"d/h", 3, b"d/r")
    fd = told["open directory"] = guest.open(3, b"d", oflags=DIRECTORY, rights=ALL_RIGHTS & ~(1 << 6))
    if isinstance(fd, int):
        told["list"] = listing(guest, fd)
        told["sync directory"] = guest.fd_sync(fd)
        told["close directory"] = guest.fd_close(fd)
    for name in (b"f", b"s", b"h", b"r"):
        told[f"unlink {name.decode()}"] = named(guest, "path_unlink_file", 3, b"d/" + name)
    told["rmdir"] = named(guest, "path_remove_directory", 3, b"d")
    told["renumber"] = guest.fd_renumber(3, 9)
    told["close renumbered"] = guest.fd_close(9)
    return told


def use_file(guest: Script, fd: int) -> Transcript:
    """Everything that is done with an open file."""
    told: Transcript = {"write": write_all(guest, fd, TEXT), "rewind": guest.fd_seek(fd, 0, 0, OUT)}
    told["read"] = read_all(guest, fd, len(TEXT))
    guest.put(DATA, TEXT)
    told["pwrite"] = positioned(guest, "fd_pwrite", fd, 100, 5000)
    told["pread"] = positioned(guest, "fd_pread", fd, 200, 4950)
    told["fstat"] = guest.fd_filestat_get(fd, OUT)
    told["set size"] = guest.fd_filestat_set_size(fd, 6000)
    told["allocate"] = guest.fd_allocate(fd, 0, 7000)
    told["advise"] = guest.fd_advise(fd, 0, 100, 3)
    told["set times"] = guest.fd_filestat_set_times(fd, 10**9, 10**9, 5)
    told["set append"] = guest.fd_fdstat_set_flags(fd, 1)
    told["sync"] = guest.fd_sync(fd)
    told["datasync"] = guest.fd_datasync(fd)
    told["end"] = guest.fd_seek(fd, 0, 2, OUT), guest.u64()
    told["tell"] = guest.fd_tell(fd, OUT)
    told["poll"] = guest.poll(fd_sub(7, READ, fd), fd_sub(8, WRITE, fd))
    return told


# -- sockets


@contextmanager
def sockets() -> Iterator[Setting]:
    """A server that accepts, and a connection that it was given; the other ends are played by the test."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = stack.enter_context(socket.create_connection(listener.getsockname()))
        left, right = map(stack.enter_context, socket.socketpair())
        unused, gone = map(stack.enter_context, socket.socketpair())
        gone.close()

        def act(guest: Script, failing: Failing) -> Transcript:
            return serve(guest, failing, client, right)

        yield Setting({"listen": [listener], "connections": [left, unused]}, act)


def serve(guest: Script, failing: Failing, client: socket.socket, right: socket.socket) -> Transcript:
    """The program of `sockets`: 3 listens, 4 is connected to `right`, 5's peer is gone."""
    told: Transcript = {}

    def parked(what: str, call: Callable[[], Any], then: Callable[[], Any]) -> None:
        # The guest comes to its wait before the other end does its part.
        task = coop.spawn(call)
        coop.pause()
        with failing.exempt():
            then()
        told[what] = task.wait()

    told["block"] = guest.fd_fdstat_set_flags(3, 0)
    fd = told["accept"] = guest.accept(3)
    if isinstance(fd, int):
        parked("read accepted", lambda: read_all(guest, fd, 5), lambda: client.sendall(b"hello"))
        told["send"] = write_all(guest, fd, b"answer")
        told["unblock"], told["read nothing"] = guest.fd_fdstat_set_flags(fd, 4), guest.read(fd)
        told["shut down"], told["close"] = guest.sock_shutdown(fd, 2), guest.fd_close(fd)
    parked("read", lambda: read_all(guest, 4, 3000), lambda: right.sendall(TEXT[:3000]))
    parked("wait for all", lambda: guest.recv(4, 8, 2), lambda: right.sendall(b"ABCDEFGH"))
    parked("poll", lambda: guest.poll(fd_sub(1, READ, 4)), lambda: right.sendall(b"WXYZ"))
    told["peek"] = guest.recv(4, 1, 1)
    told["read rest"], told["write"] = read_all(guest, 4, 4), write_all(guest, 4, TEXT)
    told["poll all"] = guest.poll(fd_sub(1, READ, 4), fd_sub(2, WRITE, 4), clock_sub(3, MINUTE))
    guest.put(SUBS, b"".join((fd_sub(1, READ, 3), fd_sub(2, READ, 4), clock_sub(3, A_MS))))
    told["poll in vain"] = guest.poll_oneoff(SUBS, EVENTS, 3, OUT), guest.events(guest.u32())
    told["read end"], told["write to nobody"] = guest.read(5), guest.write(5, b"x")
    told["fstat"], told["shut down both"] = guest.fd_filestat_get(4, OUT), guest.sock_shutdown(4, 3)
    told["renumber"] = guest.fd_renumber(4, 5)
    return told


# -- streams, clocks and randomness


@contextmanager
def streams() -> Iterator[Setting]:
    """A program on pipes and a FIFO that sleeps, takes random bytes, and is slow to be read."""
    folder = Path(tempfile.mkdtemp())
    os.mkfifo(folder / "fifo")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        read, feed = os.pipe()
        drain, write = os.pipe()
        stdin = stack.enter_context(os.fdopen(read, "rb", buffering=0))
        stdout = stack.enter_context(os.fdopen(write, "wb", buffering=0))
        stack.callback(os.close, feed)
        stack.callback(os.close, drain)

        def act(guest: Script, failing: Failing) -> Transcript:
            return talk(guest, failing, folder, feed, drain)

        yield Setting({"stdin": stdin, "stdout": stdout, "stderr": io.BytesIO(), "dirs": [folder]}, act)


def talk(guest: Script, failing: Failing, folder: Path, feed: int, drain: int) -> Transcript:
    """The program of `streams`."""
    told: Transcript = {"write": write_all(guest, 1, b"prompt"), "note": write_all(guest, 2, b"note")}
    task = coop.spawn(read_all, guest, 0, 5)
    coop.pause()
    with failing.exempt():
        os.write(feed, b"line\n")
    told["read"] = task.wait()
    fifo = told["open"] = guest.open(3, b"fifo")
    if isinstance(fifo, int):
        task = coop.spawn(read_all, guest, fifo, 6)
        coop.pause()
        with failing.exempt():
            end = os.open(folder / "fifo", os.O_WRONLY | os.O_NONBLOCK)
            os.write(end, b"abcdef")
        try:
            told["read fifo"] = task.wait()
        finally:
            with failing.exempt():
                os.close(end)
        told["close"] = guest.fd_close(fifo)
    told["random"] = guest.random_get(DATA, 5000)
    told["sleep"], told["no sleep"] = guest.poll(clock_sub(1, A_MS)), guest.poll(clock_sub(1, 0))
    told["now"], told["yield"] = guest.clock_time_get(1, 0, OUT), guest.sched_yield()
    told["poll"] = guest.poll(fd_sub(1, WRITE, 1), fd_sub(2, READ, 0), clock_sub(3, MINUTE))
    told["fstat"], told["fdstat"] = guest.fd_filestat_get(0, OUT), guest.fd_fdstat_get(1, OUT)
    told["close stdin"] = guest.fd_close(0)
    with failing.exempt():
        told["written"] = os.read(drain, 100) if told["write"] == 6 else told["write"]
    return told


# -- the beginning and the end


@contextmanager
def life() -> Iterator[Setting]:
    """A guest that is given some of everything and hardly uses it, from the start of its run."""
    folder = Path(tempfile.mkdtemp())
    left, right = socket.socketpair()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        stack.enter_context(left)
        stack.enter_context(right)
        options = {
            "listen": ["127.0.0.1:0"],
            "connections": [left],
            "dirs": [folder],
            "stdin": "inherit",
            "stdout": "inherit",
            "stderr": io.BytesIO(),
        }
        yield Setting(options, live, from_start=True)


def live(guest: Script, failing: Failing) -> Transcript:
    """The program of `life`."""
    told: Transcript = {"stat": guest.fd_filestat_get(5, OUT), "send": guest.send(4, b"x")}
    told["sleep"] = guest.poll(clock_sub(1, 1))
    return told


@contextmanager
def loading() -> Iterator[Setting]:
    """A host that compiles a module and keeps it in a cache of its own, then finds it there."""
    folder = tempfile.mkdtemp()
    before = os.environ.get("COOP_CACHE_DIR")
    os.environ["COOP_CACHE_DIR"] = folder
    try:
        yield Setting({}, load, from_start=True)
    finally:
        shutil.rmtree(folder)
        if before is None:
            del os.environ["COOP_CACHE_DIR"]
        else:
            os.environ["COOP_CACHE_DIR"] = before


def load(guest: Script, failing: Failing) -> Transcript:
    """The program of `loading`."""
    text = '(module (memory (export "memory") 1) (data (i32.const 0) "x") (func (export "_start")))'
    codes = []
    for _ in range(2):
        with coop.Guest(coop.Module.from_bytes(text)) as loaded:
            codes.append(loaded.run())
    return {"codes": codes}


SCENARIOS: dict[str, Callable[[], AbstractContextManager[Setting]]] = {
    "files": files,
    "sockets": sockets,
    "streams": streams,
    "life": life,
    "loading": loading,
    "unix": unix,
    "given": given,
}
