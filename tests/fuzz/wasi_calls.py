"""Random calls of the WASI functions of both snapshots, with hostile numbers, on descriptors of every kind.

Run as `python -m tests.fuzz.wasi_calls SECONDS [SEED]`.  A call that waits is left alone for a
moment and then cancelled, with its guest.  The process must live, every answer must be an errno, a
second guest must stay as it was, no descriptor may be left, no call may take much memory, and
nothing outside the directory may be seen or changed.
"""

import os
import random
import resource
import shutil
import socket
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import coop
from coop.wasip1.imports import SNAPSHOT1
from coop.wasip1.snapshot0 import SNAPSHOT0
from tests.fuzz.seeds import check_fds, open_fds, seeds
from tests.wasip1.script import (
    BITS,
    DATA,
    END,
    EVENTS,
    IOVS,
    OUT,
    PAGE,
    SUBS,
    Script,
    clock_sub,
    fd_sub,
    wat,
)

TABLES = (SNAPSHOT1, SNAPSHOT0)
CALLS = {table: [raw for raw in table.imports if raw.name != "proc_exit"] for table in TABLES}
MODULES: dict[Any, coop.Module] = {}
GOOD_PATHS = (b"f", b"f", b"sub/g", b"sub", b"new", b"new2", b".", b"sub/new")
EVERYTHING = (1 << 29) - 1
EDGES = (0, 1, 2, 3, 7, 8, OUT, IOVS, DATA, SUBS, EVENTS, END - 48, END - 8, END - 1, END, END + 1)
HUGE = (1023, 1024, 1025, 65534, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 48, 2**32 - 8, 2**32 - 1)
LONG = (0, 1, END - 1, END, END + 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1)
SECRET = b"what lies outside"
PATHS = [
    *(b"f", b"sub/g", b"sub", b".", b"..", b"../secret", b"sub/../../secret", b"up/secret", b"out", b"loop"),
    *(b"/etc/passwd", b"", b"\0", b"f\0x", b"\xff\xfe", b"a" * 255, b"a" * 256, b"a/" * 5000, b"fifo"),
    *(b"../new", b"up/new", b"new/", b"sub/", b"f/", b"new/new", b"out/x", b"../given/f", b"s/../new"),
]
SECOND = DATA + 0x3000
"""Where the second path of a call lies."""

#: What a plausible argument list looks like: D a directory, F any descriptor, P a path and its length,
#: Q a second one, I iovecs and their count, S subscriptions, B a buffer and its length, O a place for
#: a result, n a small number, R rights, L a 64-bit number from the edges.
SHAPES = {
    "path_create_directory": "D P",
    "path_filestat_get": "D n P O",
    "path_filestat_set_times": "D n P L L n",
    "path_link": "D n P D Q",
    "path_open": "D n P n R R n O",
    "path_readlink": "D P B O",
    "path_remove_directory": "D P",
    "path_rename": "D P D Q",
    "path_symlink": "P D Q",
    "path_unlink_file": "D P",
    "poll_oneoff": "S O",
    "fd_readdir": "D B L O",
    "fd_read": "F I O",
    "fd_write": "F I O",
    "fd_pread": "F I L O",
    "fd_pwrite": "F I L O",
    "fd_seek": "F L n O",
    "fd_filestat_set_size": "F L",
    "fd_filestat_set_times": "F L L n",
    "fd_allocate": "F L L",
    "fd_advise": "F L L n",
    "fd_sync": "F",
    "sock_accept": "F n O",
    "sock_recv": "F I n O O",
    "sock_send": "F I n O",
    "random_get": "B",
}
MOST = 4 << 20
"""No call may take more of Python's memory at a time than this: thirty times what the guest has."""


def directory(root: Path) -> Path:
    """A directory to be given, with ways out of it that must not work; the secret lies beside it."""
    (root / "secret").write_bytes(SECRET)
    given = root / "given"
    (given / "sub").mkdir(parents=True)
    (given / "f").write_bytes(b"inside" * 100)
    (given / "sub" / "g").write_bytes(b"g")
    (given / "up").symlink_to("..")
    (given / "out").symlink_to(root / "secret")
    (given / "loop").symlink_to("loop")
    os.mkfifo(given / "fifo")
    return given


def outside(root: Path) -> object:
    """What a guest may not change: the names beside its directory, and the secret's bytes, mode and times."""
    found = (root / "secret").stat()
    names = sorted(path.name for path in root.iterdir())
    return names, (root / "secret").read_bytes(), found.st_mode, found.st_nlink, found.st_mtime_ns


def lay_out(chance: random.Random, guest: Script) -> None:
    """Put into memory what calls may take for iovecs, subscriptions and paths."""
    guest.put(DATA, chance.choice(PATHS))
    # The rest costs two bytes of a game that is played from bytes, so that there are some for the calls.
    chance = random.Random(chance.getrandbits(16))
    number = lambda: chance.choice((*EDGES, *HUGE, chance.getrandbits(32)))  # noqa: E731
    guest.put(IOVS, b"".join(number().to_bytes(4, "little") for _ in range(64)))
    if chance.random() < 0.5:
        guest.iovecs(*((DATA + 64 * i, chance.choice((0, 1, 16, 4096))) for i in range(8)))
    subs = []
    for i in range(chance.choice((1, 2, 8, 40))):
        if chance.random() < 0.3:
            timeout = chance.choice((0, 1, 1000, 10**6, 2**63, 2**64 - 1))
            subs.append(
                clock_sub(i, timeout, clock=chance.choice((0, 1, 2, 9)), flags=chance.choice((0, 1, 2)))
            )
        else:
            subs.append(fd_sub(i, chance.choice((1, 2, 1, 2, 3, 255)), chance.randrange(12)))
    guest.put(SUBS, b"".join(subs))


def numbers(chance: random.Random, guest: Script, name: str, params: tuple[str, ...]) -> list[int]:
    """Arguments: now and then plausible ones, else from the edges."""
    if chance.random() < 0.6 and name in SHAPES:
        return [number for letter in SHAPES[name].split() for number in plausible(chance, guest, letter)]
    sensible = chance.random() < 0.6
    found = []
    for i, kind in enumerate(params):
        if BITS[kind] == 64:
            found.append(chance.choice((*LONG, chance.getrandbits(64))))
        elif i == 0 and sensible:
            found.append(chance.randrange(12))
        elif sensible:
            found.append(chance.choice(EDGES))
        else:
            found.append(chance.choice((*EDGES, *HUGE, chance.getrandbits(32))))
    return found


def plausible(chance: random.Random, guest: Script, letter: str) -> list[int]:
    """The numbers for one letter of a shape."""
    if letter in "PQ":
        at = DATA if letter == "P" else SECOND
        return [at, guest.put(at, chance.choice(GOOD_PATHS if chance.random() < 0.6 else PATHS))]
    if letter == "B":
        return list(chance.choice(((DATA, 24), (DATA, 40), (DATA, 4096), (0, END), (END - 8, 8), (END, 1))))
    found: dict[str, list[int]] = {
        "D": [chance.choice((6, 6, 7, 8, 8, 9, 12))],
        "F": [chance.choice((*range(14), 9, 10, 11, 9, 10, 11))],
        "I": [IOVS, chance.choice((0, 1, 2, 8, 64))],
        "S": [SUBS, chance.choice((EVENTS, SUBS, SUBS + 16)), chance.choice((1, 2, 8, 40))],
        "O": [chance.choice((OUT, OUT, END - 64, END - 4, END - 3))],
        "n": [chance.choice((0, 0, 1, 1, 2, 3, 4, 5, 8, 9, 16, 255))],
        "R": [chance.choice((EVERYTHING, EVERYTHING, EVERYTHING, 66, 2, 64, 0, 2**64 - 1))],
        "L": [chance.choice((0, 0, 1, 5, 100, 4096, *LONG))],
    }
    return found[letter]


def module(table: Any) -> coop.Module:
    """The guest that calls a snapshot's functions; made once."""
    if table not in MODULES:
        MODULES[table] = coop.Module.from_bytes(wat(table), name="script")
    return MODULES[table]


def one_guest(chance: random.Random, given: Path, other: Script) -> None:
    """Start a guest and call it until it ends, or for some time."""
    pairs = [socket.socketpair() for _ in range(2)]
    pairs[1][0].close()
    options: dict[str, Any] = {
        "stdin": chance.choice((None, b"some", lambda: b"called")),
        "stdout": chance.choice((None, bytearray())),
        "listen": ["127.0.0.1:0"],
        "connections": [pairs[0][1], pairs[1][1]],
        "dirs": [
            coop.Dir(given, "/"),
            coop.Dir(given, "/ro", read_only=True),
            coop.MemDir({"f": b"inside" * 100, "sub": {"g": "g"}}, "/mem", max_bytes=1 << 20, max_entries=50),
        ],
        "limits": coop.Limits(fds=24, memory=4 * PAGE, subscriptions=chance.choice((65535, 10))),
    }
    table = chance.choice(TABLES)
    try:
        with Script(module=module(table), **options) as guest:
            for directory in (6, 7, 8):  # 9, 10 and 11 are files
                guest.open(directory, b"f", rights=chance.choice((EVERYTHING, 2 | 4 | 32 | 1 << 21)))
            for _ in range(chance.randrange(1, 120)):
                if not one_call(chance, table, guest, pairs[0][0]):
                    break
            assert guest.guest.state.value == "ended" or SECRET not in guest.image()
            guest.guest.cancel()
    finally:
        for sock in (pairs[0][0], pairs[0][1], pairs[1][1]):
            sock.close()
    assert other.got(0, 64) == b"\xa5" * 64


def one_call(chance: random.Random, table: Any, guest: Script, peer: socket.socket) -> bool:
    """Make one call; False if it had to be cancelled."""
    lay_out(chance, guest)
    often = chance.random() < 0.7
    raw = chance.choice([raw for raw in CALLS[table] if not often or raw.name in SHAPES])
    given = numbers(chance, guest, raw.name, raw.params)
    if chance.random() < 0.1:
        guest.guest.call("grow", 1)
    if tracemalloc.is_tracing():
        tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    task = coop.spawn(guest.call, raw.name, *given)
    task.observe()
    try:
        for turn in range(6):
            coop.pause()
            if task.is_done:
                error = task.wait()
                assert 0 <= error <= 76, (raw.name, given, error)
                return True
            if turn == 3 and chance.random() < 0.5:
                try:
                    peer.send(b"news", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                except OSError:
                    pass
        guest.guest.cancel()
        try:
            task.wait()
        except coop.WasCancelled:
            pass
        return False
    finally:
        taken = tracemalloc.get_traced_memory()[1] - before
        assert taken < MOST, (raw.name, given, taken)


def one_run(chance: random.Random, root: Path, guests: int = 8) -> None:
    """Some guests, one after the other, in one run, on a directory of their own."""
    given = directory(root)
    before = outside(root)

    def main() -> None:
        with Script() as other:
            for _ in range(guests):
                one_guest(chance, given, other)

    try:
        coop.run(main, poller=chance.choice(("hostpoll", "hostpoll", "oneoff", "pollset")))
        assert outside(root) == before
    finally:
        shutil.rmtree(given)


def resident() -> int:
    """How many bytes of memory this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(seconds: float, first: int) -> None:
    """Run with one seed after the other until the time is over."""
    end, runs = time.monotonic() + seconds, 0
    fds: dict[int, str] = {}
    # The disk of whoever runs this is not to be filled.
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds(first):
            if seed % 4 == 0:
                tracemalloc.start()
            one_run(random.Random(seed), Path(folder))
            tracemalloc.stop()
            fds = fds or open_fds()
            check_fds(fds)
            runs += 1
            if runs == 20:
                taken = resident()
            assert runs <= 20 or resident() - taken < 256 << 20, "the process grows and grows"
            if time.monotonic() > end:
                break
    sys.stdout.write(f"{runs} runs\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
