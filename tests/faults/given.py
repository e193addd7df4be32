"""Guests that are given what others made: a Unix listener, a connection dialled by name, a read-only
directory, and a file as stdin.

In `unix` all of it is open when calls begin to fail; in `given` the host opens it meanwhile.
"""

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import coop
from tests.faults.preload import Failing
from tests.faults.steps import (
    ALL_RIGHTS,
    CREATE,
    DIRECTORY,
    TEXT,
    Setting,
    Transcript,
    listing,
    named,
    read_all,
    write_all,
)
from tests.wasip1.script import OUT, Script, clock_sub

RIGHTS_TO_LIST = (1 << 14) | (1 << 18) | (1 << 21)
"""To read a directory, and to look at what is in it."""


def surroundings(stack: ExitStack) -> tuple[Path, dict[str, Any]]:
    """A folder for the listener, and the options: a directory to read, stdin, and an address to dial."""
    folder = Path(tempfile.mkdtemp())
    stack.callback(shutil.rmtree, folder)
    (folder / "tree").mkdir()
    (folder / "tree" / "f").write_bytes(TEXT)
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    stdin = stack.enter_context((folder / "tree" / "f").open("rb", buffering=0))
    return folder, {
        "listen": [f"unix:{folder / 'socket'}"],
        "connections": [f"localhost:{server.getsockname()[1]}"],
        "dirs": [coop.Dir(folder / "tree", "/", read_only=True)],
        "stdin": stdin,
    }


@contextmanager
def unix() -> Iterator[Setting]:
    """A server on a Unix socket, which reads a file of a directory that it cannot change."""
    with ExitStack() as stack:
        folder, options = surroundings(stack)
        client = stack.enter_context(socket.socket(socket.AF_UNIX))

        def act(guest: Script, failing: Failing) -> Transcript:
            with failing.exempt():
                client.connect(str(folder / "socket"))
            told = {"stdin": read_all(guest, 0, len(TEXT)), "skip": guest.fd_seek(0, 0, 0, OUT)}
            return told | answer(guest, failing, client) | only_read(guest)

        yield Setting(options, act)


def answer(guest: Script, failing: Failing, client: socket.socket) -> Transcript:
    """Accept the client, and talk to it as sockets do; 3 listens, 4 is connected by address."""
    told: Transcript = {"block": guest.fd_fdstat_set_flags(3, 0)}
    fd = told["accept"] = guest.accept(3)
    if isinstance(fd, int):
        told["receive"] = parked(failing, lambda: guest.recv(fd, 8, 2), lambda: client.sendall(b"questions"))
        told["peek"], told["receive rest"] = guest.recv(fd, 1, 1), guest.recv(fd, 1)
        told["send"] = send_all(guest, fd, b"answer")
        told["shut down"], told["fstat"] = guest.sock_shutdown(fd, 2), guest.fd_filestat_get(fd, OUT)
        with failing.exempt():
            told["arrived"] = client.recv(100) if told["shut down"] == "SUCCESS" else told["shut down"]
        told["close"] = guest.fd_close(fd)
    told["unblock"], told["accept nobody"] = guest.fd_fdstat_set_flags(3, 4), guest.accept(3)
    told["send to server"], told["shut down both"] = write_all(guest, 4, b"x"), guest.sock_shutdown(4, 3)
    told["close listener"] = guest.fd_close(3)
    return told


def send_all(guest: Script, fd: int, data: bytes) -> int | str:
    """sock_send until all of `data` is on its way: how many bytes, or the errno."""
    done = 0
    while done < len(data):
        count = guest.send(fd, data[done:])
        if isinstance(count, str):
            return count
        done += count
    return done


def parked(failing: Failing, call: Callable[[], Any], then: Callable[[], Any]) -> Any:
    """The guest comes to its wait before the other end does its part."""
    task = coop.spawn(call)
    coop.pause()
    with failing.exempt():
        then()
    return task.wait()


def only_read(guest: Script) -> Transcript:
    """Use a directory that cannot be changed, 5, and try to change it all the same."""
    told: Transcript = {"create": guest.open(5, b"new", oflags=CREATE, rights=ALL_RIGHTS)}
    told["mkdir"], told["unlink"] = (
        named(guest, "path_create_directory", 5, b"d"),
        named(guest, "path_unlink_file", 5, b"f"),
    )
    told["stat"] = named(guest, "path_filestat_get", 5, 1, b"f", OUT)
    fd = told["open"] = guest.open(5, b"f")
    if isinstance(fd, int):
        told["read"], told["cut"] = read_all(guest, fd, 300), guest.fd_filestat_set_size(fd, 1)
        told["close file"] = guest.fd_close(fd)
    fd = told["open directory"] = guest.open(5, b".", oflags=DIRECTORY, rights=RIGHTS_TO_LIST)
    if isinstance(fd, int):
        told["list"] = listing(guest, fd)
        told["close directory"] = guest.fd_close(fd)
    return told


@contextmanager
def given() -> Iterator[Setting]:
    """A guest that starts while calls fail: its listener takes the place of one that was killed."""
    with ExitStack() as stack:
        folder, options = surroundings(stack)
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(folder / "socket"))
        path = folder / "socket"
        before = path.lstat().st_ctime_ns
        yield Setting(options, look, from_start=True)
        # Of a file that could not be looked at nobody knows whose it is.
        is_left = path.exists() and path.lstat().st_ctime_ns != before
        assert not is_left or Failing().failed in ("lstat64", "unlink")


def look(guest: Script, failing: Failing) -> Transcript:
    """The program of `given`."""
    told: Transcript = {"accept": guest.accept(3), "send": guest.send(4, b"x"), "read": read_all(guest, 0, 9)}
    told["stat"], told["sleep"] = guest.fd_filestat_get(5, OUT), guest.poll(clock_sub(1, 1))
    return told
