"""Long arrays of poll_oneoff: what is kept between calls never shows, but in what a call costs."""

import socket
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import coop
from coop.netpoll.contract import READ
from coop.netpoll.openfile import OpenFile
from coop.wasip1 import sublist
from coop.wasip1.abi import SUBSCRIPTION_SIZE as SIZE
from coop.wasip1.keptlist import KeptList, differing
from coop.wasip1.poll import _PLAIN_CALLS, Poll
from coop.wasip1.sublist import PlainList, Refused
from tests.children import run_child
from tests.wasip1.script import EVENTS, OUT, POLLERS, SUBS, Script, clock_sub, fd_sub

CONNECTIONS = 5
NUMBERS = st.integers(0, 14)
READ_SUB, WRITE_SUB = 1, 2

entries = st.one_of(
    st.builds(fd_sub, st.integers(0, 2**64 - 1), st.sampled_from([READ_SUB, WRITE_SUB]), NUMBERS),
    st.builds(fd_sub, st.just(7), st.sampled_from([READ_SUB, READ_SUB, 3, 255]), NUMBERS),
    st.builds(clock_sub, st.just(9), st.sampled_from([0, 10**15]), flags=st.sampled_from([0, 0, 8])),
)
places = st.integers(0, 60)
steps = st.one_of(
    st.tuples(st.sampled_from(["send", "hang", "fill", "drain", "read", "close", "narrow"]), NUMBERS),
    st.tuples(st.sampled_from(["accept", "open", "grow"])),
    st.tuples(st.just("renumber"), NUMBERS, NUMBERS),
    st.tuples(st.sampled_from(["set", "insert"]), places, entries),
    st.tuples(st.sampled_from(["delete", "swap"]), places),
    st.tuples(st.just("again"), places, st.integers(1, 12)),
    st.tuples(st.just("all"), st.lists(entries, max_size=40)),
)


class World:
    """A guest with descriptors of several kinds, the other ends of them, and the array it passes."""

    def __init__(self, guest: Script, opened: list[socket.socket], peers: list[socket.socket], address: Any):
        self.guest, self.opened, self.peers, self.address = guest, opened, peers, address
        self.array: list[bytes] = []

    def do(self, step: tuple[Any, ...]) -> None:
        """Take one step of the guest's, or of somebody at the other end."""
        name, *values = step
        if name in ("set", "insert", "delete", "swap", "again", "all"):
            self.array = edited(self.array, name, values)
        elif name in ("send", "hang", "fill", "drain"):
            touch(self.peers[values[0] % len(self.peers)], name)
        elif name == "accept":
            client = socket.socket(socket.AF_UNIX)
            client.connect(self.address)
            self.peers.append(client)
            self.opened.append(client)
            self.guest.accept(3, 4)
        elif name == "open":
            self.guest.open(4 + CONNECTIONS, b"f")
        elif name == "read":
            self.guest.call("fd_fdstat_set_flags", values[0], 4)
            if values[0] > 3:
                self.guest.recv(values[0], 100)
        elif name == "close":
            self.guest.call("fd_close", values[0])
        elif name == "narrow":
            self.guest.call("fd_fdstat_set_rights", values[0], 1 << 1, 0)
        elif name == "renumber":
            self.guest.call("fd_renumber", *values)
        else:
            self.guest.guest.call("grow", 1)

    def poll(self) -> bytes:
        """Pass the array, with a time-out of zero behind it, and return the events as they are in memory."""
        array = b"".join([*self.array, clock_sub(1, 0)])
        self.guest.put(SUBS, array)
        count = len(array) // SIZE
        self.guest.put(EVENTS, bytes(32 * count))
        assert self.guest.poll_oneoff(SUBS, EVENTS, count, OUT) == "SUCCESS"
        return self.guest.got(EVENTS, 32 * self.guest.u32())


def edited(array: list[bytes], name: str, values: list[Any]) -> list[bytes]:
    """Return the array after one of the edits that guests do."""
    array = list(array)
    if name == "all":
        return list(values[0])
    at = values[0] % (len(array) + 1)
    if name == "insert" or (name == "set" and at == len(array)):
        array.insert(at, values[1])
    elif name == "set":
        array[at] = values[1]
    elif name == "again":
        array += array[at : at + values[1]]
    elif at < len(array):
        last = array.pop()  # as Go takes an entry out: the last one moves into its place
        if name == "swap" and at < len(array):
            array[at] = last
    return array[:100]


def touch(peer: socket.socket, name: str) -> None:
    """Do something at the other end of a connection, as far as it goes."""
    try:
        if name == "send":
            peer.send(b"x" * 10, socket.MSG_DONTWAIT)
        elif name == "hang":
            peer.shutdown(socket.SHUT_WR)
        elif name == "fill":
            while True:
                peer.send(b"x" * 4096, socket.MSG_DONTWAIT)
        else:
            while peer.recv(1 << 16, socket.MSG_DONTWAIT):
                pass
    except OSError:
        pass


@settings(max_examples=150)
@given(st.lists(steps, min_size=1, max_size=40))
@example([("insert", 0, fd_sub(1, READ_SUB, 4)), ("close", 4), ("accept",), ("send", CONNECTIONS)])
@example([("insert", 0, fd_sub(1, READ_SUB, 5)), ("renumber", 5, 4), ("send", 1)])
@example([("insert", 0, fd_sub(1, READ_SUB, 4)), ("renumber", 5, 4), ("send", 0), ("send", 1)])
@example([("insert", 0, fd_sub(n, READ_SUB, 4)) for n in range(9)] + [("close", 4), ("open",), ("send", 0)])
def test_the_kept_list_says_what_the_plain_one_says(tmp_path_factory: Any, steps: list[tuple[Any, ...]]):
    """After every step, the same events in the same order."""
    folder = tmp_path_factory.mktemp("kept", numbered=True)
    (folder / "f").write_bytes(b"text")

    def main() -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "s"))
        listener.listen(50)
        pairs = [socket.socketpair() for _ in range(CONNECTIONS)]
        ours = [mine for mine, _ in pairs]
        guest = Script(listen=[listener], connections=ours, dirs=[str(folder)], stdin=b"in")
        world = World(guest, sockets, [theirs for _, theirs in pairs], str(folder / "s"))
        sockets.extend([listener, *ours, *world.peers])
        with world.guest, pytest.MonkeyPatch.context() as patch:
            patch.setattr("coop.scheduler._FRESH_NS", 0)  # so that each poll asks, or none
            patch.setattr("coop.wasip1.poll._PLAIN_CALLS", 0)
            for step in steps:
                world.do(step)
                patch.setattr("coop.wasip1.poll.SHORT", 0)
                kept = world.poll()
                patch.setattr("coop.wasip1.poll.SHORT", 1 << 20)
                assert kept == world.poll(), step

    sockets: list[socket.socket] = []
    try:
        coop.run(main)
    finally:
        for each in sockets:
            each.close()


# -- what it costs


class Counted(OpenFile):
    """A file in memory that counts how often somebody looks at it."""

    __slots__ = ("looks", "readiness")

    def __init__(self) -> None:
        self.looks, self.readiness = 0, 0
        super().__init__(-1, 0)
        self.poller = object()  # type: ignore[assignment]

    @property  # type: ignore[override]
    def ready(self) -> int:
        self.looks += 1
        return self.readiness

    @ready.setter
    def ready(self, value: int) -> None:
        self.readiness = value


def poll_of(guest: Script) -> Poll:
    wasi = guest.guest._wasi
    assert wasi is not None
    return wasi.poll


def array_of(count: int, first: int = 0) -> bytes:
    return b"".join(fd_sub(n, READ_SUB, n) for n in range(first, first + count))


class Table:
    """Stands for a guest's table, and notes which numbers were looked up."""

    def __init__(self, files: list[Counted]) -> None:
        self.files, self.found = files, list[int]()
        self.fds: dict[int, Any] = {}

    def find(self, number: int, mode: int) -> OpenFile | Refused:
        self.found.append(number)
        return self.files[number] if number < len(self.files) else Refused(8)

    def watch(self, file: OpenFile) -> None:
        pass


def kept_of(count: int) -> tuple[KeptList, Table]:
    files = [Counted() for _ in range(count)]
    kept, table = KeptList(), Table(files)
    for file in files:
        file.readiness = 0
    kept.take(array_of(count), 0, table)
    kept.candidates()
    for file in files:
        file.looks = 0
    table.found.clear()
    return kept, table


def test_of_thousands_of_files_only_those_with_an_event_are_looked_at():
    kept, table = kept_of(5000)
    files = table.files
    for number in (17, 4000):
        files[number].readiness = READ
        kept.marks[files[number]] = None
    for _ in range(3):
        kept.take(array_of(5000), 0, table)
        assert kept.candidates() == [17, 4000]
    assert sum(file.looks for file in files) <= 3 * 2
    files[17].readiness = 0
    assert kept.candidates() == [4000]


def test_of_thousands_of_entries_only_those_that_changed_are_taken():
    kept, table = kept_of(5000)
    found = table.found
    array = bytearray(array_of(5000))
    array[100 * SIZE : 101 * SIZE] = fd_sub(1, READ_SUB, 9000)
    array += array_of(3, first=9001)
    kept.take(bytes(array), 0, table)
    assert sorted(found) == [9000, 9001, 9002, 9003]
    kept.take(bytes(array), 0, table)
    assert len(found) == 4
    kept.take(bytes(array), 1, table)  # the table has changed: what was refused is looked up again
    assert len(found) == 8


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("count", [50, 1000])
def test_a_file_that_is_named_thousands_of_times_is_asked_about_once_a_look(poller: str, count: int):
    asked: list[str] = []

    def note(patch: pytest.MonkeyPatch, name: str) -> None:
        call = getattr(OpenFile, name)
        patch.setattr(OpenFile, name, lambda file: asked.append(name) or call(file))

    def main() -> tuple[int, int]:
        left, right = socket.socketpair()
        with left, Script(connections=[left]) as guest, pytest.MonkeyPatch.context() as patch:
            right.send(b"left behind")
            right.close()
            coop.pause()
            for name in ("_look", "available", "is_hung_up"):
                note(patch, name)
            events = guest.poll(*[fd_sub(n, 1 + n % 2, 3) for n in range(count)])
            assert [event[0] for event in events] == list(range(count))
            assert {event[1:] for event in events} == {("SUCCESS", 1, 11, 1), ("SUCCESS", 2, 1, 1)}
            return len(asked), len(guest.guest._wasi.scheduler.poller.table) if poller == "oneoff" else 0

    calls, slots = coop.run(main, poller=poller)
    assert calls <= 2 * 4
    assert slots <= 3


def test_what_is_kept_is_in_proportion_to_the_array():
    table = Table([Counted() for _ in range(5100)])
    tracemalloc.start()
    kept = KeptList()
    kept.take(array_of(5000), 0, table)
    kept.candidates()
    table.found.clear()
    size, _ = tracemalloc.get_traced_memory()
    for n in range(20):
        kept.take(array_of(5000, first=n), 0, table)
        kept.take(array_of(100), 0, table)
        kept.take(array_of(5000), 0, table)
        kept.candidates()
        table.found.clear()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 10 * 5000 * SIZE
    assert after < 1.2 * size


def test_an_array_that_differs_all_over_is_taken_anew():
    kept, table = kept_of(1000)
    kept.take(array_of(1000, first=500), 0, table)
    assert kept._array == array_of(1000, first=500)
    assert differing(array_of(1000), array_of(1000, first=500), most=125) is None


def test_arrays_that_change_all_over_again_and_again_are_taken_plainly_for_a_while():
    def main() -> list[bool]:
        left, right = socket.socketpair()
        with left, right, Script(connections=[left]) as guest:
            poll = poll_of(guest)

            def is_kept(first: int) -> bool:
                events = guest.poll(*[fd_sub(n, WRITE_SUB, 3) for n in range(first, first + 100)])
                assert [event[0] for event in events] == list(range(first, first + 100))
                assert (poll._waiter.marks is None) is (poll._kept is None)  # noted for the kept list alone
                assert poll._list is (poll._kept or poll._plain)
                return isinstance(poll._list, KeptList)

            changing = [is_kept(first) for first in range(0, 300, 100)]
            calm = [is_kept(0) for _ in range(_PLAIN_CALLS + 2)]
            return changing + calm[-4:]

    assert coop.run(main) == [True, True, False, False, True, True, True]


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 3), max_size=40))
def test_differing_finds_every_difference(old: list[int], new: list[int]):
    def array(numbers: list[int]) -> bytes:
        return b"".join(fd_sub(n, READ_SUB, n) for n in numbers)

    found = differing(array(old), array(new), most=1000)
    assert found is not None
    truly = {n for n in range(len(new)) if n >= len(old) or old[n] != new[n]}
    assert truly <= set(found)
    assert set(found) <= set(range(len(new)))
    assert len(found) <= len(truly) + 1  # one too many costs little; none is missed
    assert differing(array(old), array(new), most=len(truly) - 1) is None or not truly


def test_short_arrays_and_pollers_that_are_armed_for_each_wait_take_the_plain_list():
    def main() -> list[bool]:
        left, right = socket.socketpair()
        found = []
        with left, right, Script(connections=[left]) as guest:
            for count in (sublist.SHORT, sublist.SHORT + 1):
                guest.poll(*[fd_sub(n, WRITE_SUB, 3) for n in range(count)])
                poll = poll_of(guest)
                found.append(isinstance(poll._list, PlainList))
        return found

    assert coop.run(main) == [True, False]
    assert coop.run(main, poller="pollset") == [True, True]
    assert coop.run(main, poller="oneoff") == [True, True]


@pytest.mark.parametrize("count", [2, 100])
def test_a_file_inside_the_process_is_heard_of_in_an_array_of_any_length(count: int):
    """Its input comes from a callable, which is called when somebody waits for it."""

    def main() -> list[tuple[Any, ...]] | str:
        left, right = socket.socketpair()
        with left, right, Script(connections=[left], stdin=lambda: coop.sleep(0.01) or b"x") as guest:
            subs = [fd_sub(n, READ_SUB, 3) for n in range(count)]
            return guest.poll(*subs, fd_sub(77, READ_SUB, 0))

    ((userdata, *_rest),) = coop.run(main)
    assert userdata == 77


@pytest.mark.parametrize("count", [2, 100])
def test_waiting_for_nothing_but_the_same_file_inside_the_process_is_a_deadlock(count: int):
    run_child(f"""
        import pytest
        import coop
        from tests.wasip1.script import Script, fd_sub

        def main():
            with Script(stdin=coop.Channel(), limits=coop.Limits.for_server()) as guest:
                guest.poll(*[fd_sub(n, 1, 0) for n in range({count})])

        with pytest.raises(coop.Deadlock, match="poll_oneoff"):
            coop.run(main)
        """)
