"""Random calls of the raw WASI functions with hostile numbers, on descriptors of every kind.

Run as `python -m tests.fuzz.wasi_calls SECONDS [SEED]`.  A call that waits is left alone for a
moment and then cancelled, with its guest.  The process must live, every answer must be an errno, a
second guest must stay as it was, no descriptor may be left, and nothing outside the directory may
be seen or changed.
"""

import random
import socket
import sys
import tempfile
import time
from pathlib import Path

import coop
from coop.wasip1.imports import SNAPSHOT1
from tests.fuzz.seeds import check_fds, open_fds, seeds
from tests.wasip1.script import BITS, DATA, END, EVENTS, IOVS, OUT, PAGE, SUBS, Script, clock_sub, fd_sub

CALLS = [raw for raw in SNAPSHOT1.imports if raw.name != "proc_exit"]
OFTEN = [
    raw
    for raw in CALLS
    if raw.parks or raw.name in {"fd_close", "path_open", "fd_fdstat_set_flags", "fd_seek"}
]
EDGES = (0, 1, 2, 3, 7, 8, OUT, IOVS, DATA, SUBS, EVENTS, END - 48, END - 8, END - 1, END, END + 1)
HUGE = (1023, 1024, 1025, 65534, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 48, 2**32 - 8, 2**32 - 1)
SECRET = b"what lies outside"
PATHS = [
    *(b"f", b"sub/g", b".", b"..", b"../secret", b"sub/../../secret", b"up/secret", b"out", b"loop", b"fifo"),
    *(
        b"/etc/passwd",
        b"",
        b"\0",
        b"f\0x",
        b"\xff\xfe",
        b"a" * 256,
        b"a/" * 5000,
        b"new",
        b"../new",
        b"up/new",
    ),
]


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
    return given


def lay_out(chance: random.Random, guest: Script) -> None:
    """Put into memory what calls may take for iovecs, subscriptions and paths."""
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
    guest.put(DATA, chance.choice(PATHS))


def numbers(chance: random.Random, name: str, params: tuple[str, ...]) -> list[int]:
    """Arguments: now and then plausible ones, else from the edges."""
    sensible = chance.random() < 0.6
    if sensible and name == "path_open":
        size, rights = chance.choice((1, 2, 5, 9, 10)), chance.choice((2**64 - 1, 2, 64, 0))
        found = [chance.choice((5, 6)), chance.getrandbits(1), DATA, size, chance.getrandbits(4)]
        return [*found, rights, rights, chance.choice((0, 4)), OUT]
    if sensible and name == "poll_oneoff":
        return [SUBS, chance.choice((EVENTS, SUBS, SUBS + 16)), chance.choice((1, 2, 8, 40)), OUT]
    found = []
    for i, kind in enumerate(params):
        if BITS[kind] == 64:
            found.append(chance.choice((0, 1, 2**63 - 1, 2**63, 2**64 - 1, chance.getrandbits(64))))
        elif i == 0 and sensible:
            found.append(chance.randrange(10))
        elif sensible:
            found.append(chance.choice(EDGES))
        else:
            found.append(chance.choice((*EDGES, *HUGE, chance.getrandbits(32))))
    return found


def one_guest(chance: random.Random, given: Path, other: Script) -> None:
    """Start a guest and call it until it ends, or for some time."""
    pairs = [socket.socketpair() for _ in range(2)]
    pairs[1][0].close()
    options = {"stdin": chance.choice((None, b"some", "")), "stdout": chance.choice((None, bytearray()))}
    if options["stdin"] == "":
        options["stdin"] = lambda: b"called"
    given_sockets = [pairs[0][1], pairs[1][1]]
    limits = coop.Limits(fds=24, memory=4 * PAGE, subscriptions=chance.choice((65535, 10)))
    listen = ["127.0.0.1:0"]
    try:
        with Script(
            listen=listen, connections=given_sockets, dirs=[given], limits=limits, **options
        ) as guest:
            for _ in range(chance.randrange(1, 120)):
                if not one_call(chance, guest, pairs[0][0]):
                    break
            assert guest.guest.state.value == "ended" or SECRET not in guest.image()
            guest.guest.cancel()
    finally:
        for sock in (pairs[0][0], *given_sockets):
            sock.close()
    assert other.got(0, 64) == b"\xa5" * 64


def one_call(chance: random.Random, guest: Script, peer: socket.socket) -> bool:
    """Make one call; False if it had to be cancelled."""
    lay_out(chance, guest)
    raw = chance.choice(OFTEN if chance.random() < 0.7 else CALLS)
    given = numbers(chance, raw.name, raw.params)
    if chance.random() < 0.1:
        guest.guest.call("grow", 1)
    task = coop.spawn(guest.call, raw.name, *given)
    task.observe()
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


def one_run(seed: int, given: Path) -> None:
    """Some guests, one after the other, in one run."""
    chance = random.Random(seed)

    def main() -> None:
        with Script() as other:
            for _ in range(8):
                one_guest(chance, given, other)

    coop.run(main, poller=chance.choice(("hostpoll", "hostpoll", "oneoff", "pollset")))


def main(seconds: float, first: int) -> None:
    """Run with one seed after the other until the time is over."""
    end, runs, before = time.monotonic() + seconds, 0, {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        given = directory(root)
        for seed in seeds(first):
            one_run(seed, given)
            assert sorted(path.name for path in root.iterdir()) == ["given", "secret"]
            assert (root / "secret").read_bytes() == SECRET
            before = before or open_fds()
            check_fds(before)
            runs += 1
            if time.monotonic() > end:
                break
    sys.stdout.write(f"{runs} runs\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
