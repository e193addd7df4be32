"""Random polls of a guest on descriptors of every kind, and poll(2) beside it to say what is true.

Run as `python -m tests.fuzz.poll_calls SECONDS [SEED]`.  Between the guest's calls somebody writes, reads,
shuts down, closes or resets at the other end.  What the guest is told must be what the kernel says of the
same descriptors at that moment, event for event and in the order of the array; a poll that waits ends when
the kernel says so, and not before; and what a guest was told is ready does not answer AGAIN.  Each poller
plays the same game.
"""

import itertools
import os
import random
import select
import socket
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import coop
import coop.scheduler
from coop.netpoll.openfile import OpenFile
from coop.wasip1.abi import Filetype, Rights
from tests.fuzz.peers import ClientPeer, FifoPeer, Peer, SocketPeer, kernel, tcp_pair, udp_pair, waiting
from tests.fuzz.seeds import check_fds, open_fds, seeds
from tests.wasip1.script import POLLERS, Script, clock_sub, fd_sub

CLOCK, READ, WRITE = 0, 1, 2
NONBLOCK, PEEK, HANGUP = 4, 1, 1
NEVER = 2**64 - 1
LISTENER = 3
BELL = 4
"""The number of a connection that ends every wait, and is left alone otherwise."""
NUMBERS = 16
TURNS = 30
"""So many turns are enough for any event to be heard of."""

FIFOS = {"in": Rights.FD_READ, "out": Rights.FD_WRITE, "both": Rights.FD_READ | Rights.FD_WRITE}

_IN = select.POLLIN | select.POLLRDHUP | select.POLLHUP | select.POLLERR
_OUT = select.POLLOUT | select.POLLHUP | select.POLLERR
_ENDED = select.POLLRDHUP | select.POLLHUP
_GONE = select.POLLHUP | select.POLLERR

Event = tuple[int, str, int, int, int]


class Game:
    """One guest, its descriptors, and those at the other ends."""

    def __init__(self, chance: random.Random, folder: Path, log: list[object]) -> None:
        self.chance, self.log = chance, log
        self.peers: list[Peer] = []
        near, self.bell = socket.socketpair()
        self.given = [near, *self._connections()]
        (folder / "f").write_bytes(b"text")
        for name in FIFOS:
            os.mkfifo(folder / name)
        self.peers += [FifoPeer(folder / "in", os.O_WRONLY), FifoPeer(folder / "out", os.O_RDONLY)]
        with self._inherited():
            self.guest = Script(
                listen=["127.0.0.1:0"],
                connections=self.given,
                dirs=[folder],
                stdin="inherit",
                stdout="inherit",
            )
        wasi = self.guest.guest._wasi
        assert wasi is not None
        self.fds, self.is_permanent = wasi.fds, wasi.scheduler.poller.permanent
        self.peers.append(ClientPeer(self.guest.guest.addresses[0]))
        for number in list(self.fds):
            self.guest.call("fd_fdstat_set_flags", number, NONBLOCK)

    @contextmanager
    def _inherited(self) -> Iterator[None]:
        """Let stdin be a terminal and stdout a pipe, while the guest is made."""
        master, terminal = os.openpty()
        end, pipe = os.pipe()
        self.peers += [Peer(master), Peer(end)]
        modes = termios.tcgetattr(terminal)
        modes[3] &= ~termios.ECHO  # an echo takes room away that the guest was told of
        termios.tcsetattr(terminal, termios.TCSANOW, modes)
        kept = os.dup(0), os.dup(1)
        try:
            os.dup2(terminal, 0)
            os.dup2(pipe, 1)
            yield
        finally:
            for number in (0, 1):
                os.dup2(kept[number], number)
            for number in (*kept, terminal, pipe):
                os.close(number)

    def _connections(self) -> list[socket.socket]:
        found = []
        for _ in range(2):
            for near, far in (tcp_pair(), socket.socketpair(), udp_pair()):
                for each in (near, far):
                    if self.chance.random() < 0.5:
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                found.append(near)
                self.peers.append(SocketPeer(far))
        return found

    def close(self) -> None:
        """Give everything back."""
        self.guest.guest.cancel()  # if an error came during a call
        for each in (self.bell, *self.given, *self.peers):
            each.close()

    # -- what the guest does besides

    def number(self) -> int:
        """One of the guest's numbers, or one that names nothing."""
        found = [number for number in self.fds if number != BELL]
        return self.chance.choice(found) if found and self.chance.random() < 0.97 else 77

    def guest_acts(self) -> None:
        """Make a call that is no poll; it never waits."""
        chance, guest, fd = self.chance, self.guest, self.number()
        what = chance.choice(
            ("read", "read", "read", "write", "write", "fill", "drain", "accept", "open", "peek", "other")
        )
        result: object = None
        if what == "read":
            result = guest.read(fd, chance.choice((0, 1, 2, 10, 80, 4096, 6000)))
        elif what == "write":
            result = guest.write(fd, b"y" * chance.choice((0, 1, 2, 4096, 20000)))
        elif what == "fill":
            for _ in range(200):
                result = guest.write(fd, b"y" * 20000)
                if not isinstance(result, int):
                    break
        elif what == "drain":
            for _ in range(200):
                result = guest.read(fd, 20000)
                if isinstance(result, str) or not result:
                    break
        elif what == "accept":
            result = guest.accept(LISTENER, NONBLOCK) if len(self.fds) < NUMBERS else None
        elif what == "open":
            if len(self.fds) < NUMBERS:
                result = self._open()
        elif what == "peek":
            result = guest.recv(fd, 10, PEEK)
        elif chance.random() < 0.4:
            what, result = self._rare(fd)
        if isinstance(result, bytes):
            result = len(result)
        self.log.append((what, fd, result))

    def _open(self) -> object:
        """Open a file, or a FIFO that is not open: a second reader would take what the first was told of."""
        name = self.chance.choice(("f", *FIFOS, *FIFOS))
        where = [number for number, entry in self.fds.items() if entry.filetype == Filetype.DIRECTORY]
        if not where or any(entry.file.what == f"file {name}" for entry in self.fds.values()):
            return None
        rights = FIFOS.get(name, Rights.FD_READ) | Rights.POLL_FD_READWRITE | Rights.FD_FDSTAT_SET_FLAGS
        return self.guest.open(where[0], name.encode(), rights=rights, fdflags=NONBLOCK), name

    def _rare(self, fd: int) -> tuple[str, object]:
        chance, guest = self.chance, self.guest
        what = chance.choice(("close", "renumber", "shutdown", "narrow", "flags"))
        if what == "close":
            return what, guest.fd_close(fd)
        if what == "renumber":
            to = self.number()
            return f"renumber to {to}", guest.fd_renumber(fd, to)
        if what == "shutdown":
            how = chance.choice((1, 2, 3))
            return f"shutdown {how}", guest.sock_shutdown(fd, how)
        if what == "narrow" and chance.random() < 0.3:
            has = guest.fdstat(fd)[2] if fd in self.fds else 0
            less = has & ~chance.choice((Rights.FD_READ, Rights.FD_WRITE, Rights.POLL_FD_READWRITE))
            return what, guest.fd_fdstat_set_rights(fd, less, 0)
        return "flags", guest.fd_fdstat_set_flags(fd, NONBLOCK)

    # -- polls

    def subs(self, *, clocks: bool) -> list[tuple[int, int, int, int]]:
        """A list of every shape: userdata, kind, number or time-out, flags."""
        chance = self.chance
        count = chance.choice((1, 1, 2, 3, 8, 30, 70, 200))
        found = []
        for _ in range(count):
            userdata = chance.choice((7, chance.getrandbits(64)))
            if clocks and chance.random() < 0.1:
                when = chance.choice(((0, 0), (0, 1), (NEVER, 0), (NEVER, 1), (10**15, 0)))
                found.append((userdata, CLOCK, *when))
            else:
                found.append((userdata, chance.choice((READ, READ, WRITE)), self.number(), 0))
        return found

    def ask(self, subs: list[tuple[int, int, int, int]]) -> list[Event]:
        """Make the call."""
        packed = []
        for userdata, kind, value, flags in subs:
            if kind == CLOCK:
                packed.append(clock_sub(userdata, value, flags=flags))
            else:
                packed.append(fd_sub(userdata, kind, value))
        found = self.guest.poll(*packed)
        assert isinstance(found, list), found
        return found

    def files(self, subs: list[tuple[int, int, int, int]]) -> list[OpenFile]:
        """The open files that a list names."""
        named = {sub[2]: None for sub in subs if sub[1] != CLOCK and sub[2] in self.fds}
        return [self.fds[number].file for number in named]

    def expected(self, subs: list[tuple[int, int, int, int]], says: dict[OpenFile, int]) -> list[Event]:
        """What the guest is to be told."""
        found: list[Event] = []
        is_one = len([sub for sub in subs if sub[1] != CLOCK]) == 1
        for userdata, kind, number, _ in subs:
            if kind == CLOCK:
                continue
            entry = self.fds.get(number)
            if entry is None or entry.filetype == Filetype.DIRECTORY:
                found.append((userdata, "BADF", kind, 0, 0))
            elif not entry.may_poll(kind):
                found.append((userdata, "NOTCAPABLE", kind, 0, 0))
            elif entry.file.poller is None:
                nbytes = 1
                if kind == READ and is_one:
                    nbytes = entry.file.available()
                found.append((userdata, "SUCCESS", kind, nbytes, 0))
            else:
                events = says[entry.file]
                if events & (_IN if kind == READ else _OUT):
                    hangup = events & _ENDED and (kind == READ or events & _GONE)
                    counted = kind == READ and (hangup or is_one)
                    nbytes = waiting(entry.file) if counted else 1
                    found.append((userdata, "SUCCESS", kind, nbytes, HANGUP if hangup else 0))
        found += [
            (userdata, "SUCCESS", CLOCK, 0, 0)
            for userdata, kind, when, _ in subs
            if kind == CLOCK and not when
        ]
        return found

    def look(self) -> None:
        """Poll without a wait: by a clock, or because something is ready."""
        subs = self.subs(clocks=True)
        says = kernel(self.files(subs))
        if not self.expected(subs, says):
            subs.insert(self.chance.choice((0, len(subs))), (9, CLOCK, 0, 0))
        has_turned = self.chance.random() < 0.6
        if has_turned:
            coop.pause()
        found = self.ask(subs)
        wanted = self.expected(subs, says)
        self.log.append(("poll", subs, found, has_turned))
        if kernel(self.files(subs)) != says:
            return
        if has_turned or not self.is_permanent:
            self.check(subs, found, wanted, says)
        else:
            # What else is ready may come with the next poll, but something has to.
            for event in found:
                plain = [(each[0], each[1], each[2]) for each in wanted]
                assert event[:3] in plain, (event, wanted)
            if any(event[2] != CLOCK for event in wanted):
                assert any(event[2] != CLOCK for event in found), ("nothing told", wanted)
        self.check_tries(subs, found)

    def check(self, subs: Any, found: list[Event], wanted: list[Event], says: dict[OpenFile, int]) -> None:
        """Compare, and say where they differ and what is known of each descriptor."""
        if found != wanted:
            names = {sub[2] for sub in subs if sub[1] != CLOCK and sub[2] in self.fds}
            files = [(number, self.fds[number].file) for number in sorted(names)]
            known = [f"{number}: {file.what} {file.ready:#x} {says[file]:#x}" for number, file in files]
            first = next(pair for pair in itertools.zip_longest(found, wanted) if pair[0] != pair[1])
            raise AssertionError((first, len(found), len(wanted), known))

    def check_tries(self, subs: Any, found: list[Event]) -> None:
        """Try what was told to be ready."""
        if self.chance.random() < 0.5:
            return
        tried = set()
        told = {(event[0], event[2]) for event in found if event[1] == "SUCCESS"}
        for userdata, kind, number, _ in subs:
            if kind == CLOCK or (userdata, kind) not in told or number in tried or userdata == 7:
                continue
            tried.add(number)
            entry = self.fds[number]
            if kind == READ:
                result: object = guest_read(self, number)
            else:
                result = self.guest.write(number, b"z")
            self.log.append(("try", kind, number, result))
            assert result != "AGAIN", (kind, number, entry.file)

    def wait(self) -> None:
        """Poll with a wait, while those at the other ends act."""
        subs = self.subs(clocks=False)
        files = self.files(subs)
        if self.expected(subs, kernel(files)):
            return
        subs.insert(self.chance.randrange(len(subs) + 1), (5, READ, BELL, 0))
        if self.chance.random() < 0.5:
            subs.insert(self.chance.randrange(len(subs) + 1), (6, CLOCK, NEVER, 0))
        self.log.append(("wait", subs))
        task = coop.spawn(self.ask, subs)
        task.observe()
        if self.chance.random() < 0.9:
            coop.pause()
        for _ in range(10):
            for _ in range(self.chance.randrange(1, 4)):
                self.peer_acts()
            says = kernel(files)
            due = self.expected(subs, {**says, self.fds[BELL].file: 0})
            for _ in range(TURNS):
                if task.is_done:
                    break
                coop.pause()
            if task.is_done or due:
                assert task.is_done, ("still waits", due)
                found = task.wait()
                self.log.append(("woken", found))
                if kernel(files) != says:
                    return
                wanted = self.expected(subs, kernel(self.files(subs)))
                for event in found:
                    assert event[:3] in [each[:3] for each in wanted], (event, wanted)
                return
        self.bell.send(b"x")
        assert [event[0] for event in task.wait()] == [5]
        assert self.guest.read(BELL) == b"x"

    def block(self) -> None:
        """Read or write, and wait for that."""
        fd = self.number()
        entry = self.fds.get(fd)
        if entry is None or entry.file.poller is None or fd == LISTENER:
            return
        kind = self.chance.choice((READ, WRITE))
        if not entry.may_poll(kind) or kernel([entry.file])[entry.file] & (_IN if kind == READ else _OUT):
            return
        self.guest.call("fd_fdstat_set_flags", fd, 0)
        call: Callable[..., object] = self.guest.read if kind == READ else self.guest.write
        task = coop.spawn(call, fd, 10 if kind == READ else b"w")
        task.observe()
        self.log.append(("block", kind, fd))
        for _ in range(40):
            coop.pause()
            self.peer_acts()
            says = kernel([entry.file])[entry.file] & (_IN if kind == READ else _OUT)
            for _ in range(TURNS):
                if task.is_done:
                    break
                coop.pause()
            if says:
                assert task.is_done, ("still blocks", kind, fd, hex(entry.file.ready), hex(says))
            if task.is_done:
                break
        if not task.is_done and entry.filetype == Filetype.SOCKET_STREAM:
            with suppress(OSError):
                socket.socket(fileno=os.dup(entry.file.fd)).shutdown(socket.SHUT_RDWR)
            for _ in range(TURNS):
                coop.pause()
        if not task.is_done:
            self.guest.guest.cancel()
            raise Over
        self.log.append(("unblocked", task.wait()))
        self.guest.call("fd_fdstat_set_flags", fd, NONBLOCK)

    def peer_acts(self) -> None:
        """Let somebody at another end do something."""
        at = self.chance.randrange(len(self.peers))
        self.log.append(("peer", at, self.peers[at].act(self.chance)))

    def play(self, steps: int) -> None:
        """Take so many steps."""
        for _ in range(steps):
            what = self.chance.random()
            if what < 0.3:
                self.peer_acts()
            elif what < 0.6:
                self.guest_acts()
            elif what < 0.9:
                self.look()
            elif what < 0.97:
                self.wait()
            else:
                self.block()


class Over(Exception):
    """The guest waits for what never comes."""


def guest_read(game: Game, number: int) -> object:
    """Read, or accept from a listener."""
    if number == LISTENER:
        return game.guest.accept(LISTENER, NONBLOCK)
    return game.guest.read(number, 1)


def one_game(seed: int, poller: str, folder: Path, steps: int = 150) -> None:
    """Play one game."""
    chance = random.Random(seed)
    folder.mkdir()
    logged: list[object] = []

    def main() -> None:
        game = Game(chance, folder, logged)
        try:
            game.play(steps)
        except Over:
            pass
        finally:
            game.close()

    try:
        coop.run(main, poller=poller)
    except BaseException:
        for line in logged:
            sys.stderr.write(f"{line}\n")
        raise
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def main(seconds: float, first: int, pollers: tuple[str, ...] = POLLERS) -> None:
    """Play with one seed after the other until the time is over."""
    end, games = time.monotonic() + seconds, 0
    coop.scheduler._FRESH_NS = 0  # so that each poll asks
    fds: dict[int, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds(first):
            for poller in pollers:
                one_game(seed, poller, Path(folder) / f"{seed}-{poller}")
                games += 1
            fds = fds or open_fds()
            check_fds(fds)
            if time.monotonic() > end:
                break
    sys.stdout.write(f"{games} games\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, tuple(sys.argv[3:]) or POLLERS)
