"""Channels as standard streams: what host code sends a guest reads and polls, and what it writes arrives."""

import threading

import pytest

import coop
from tests.children import ROOT
from tests.wasip1.script import POLLERS, Script, clock_sub, fd_sub

CLOCK, READ = 0, 1

every_poller = pytest.mark.parametrize("poller", POLLERS)


def sent(*values, **options):
    """A channel that holds `values` and is closed."""
    channel = coop.Channel(len(values), **options)
    for value in values:
        channel.send(value)
    channel.close()
    return channel


def test_a_guest_reads_until_the_channel_is_closed():
    def main():
        with Script(stdin=sent(b"abcd", b"ef")) as guest:
            return [guest.read(0, 3) for _ in range(5)]

    assert coop.run(main) == [b"abc", b"d", b"ef", b"", b""]


@pytest.mark.parametrize("nothing", [b"", bytearray(), memoryview(b"")], ids=lambda each: type(each).__name__)
def test_an_empty_value_is_no_end(nothing):
    def main():
        with Script(stdin=sent(nothing, b"a", nothing, nothing, b"b")) as guest:
            return [guest.read(0) for _ in range(3)]

    assert coop.run(main) == [b"a", b"b", b""]


@every_poller
def test_a_guest_polls_it_beside_other_things(poller):
    def main():
        channel = coop.Channel(1)
        with Script(stdin=channel) as guest:
            nothing = guest.poll(clock_sub(1, 1_000_000), fd_sub(2, READ, 0))
            channel.send(b"news")
            told = guest.poll(fd_sub(2, READ, 0)), guest.read(0)
            channel.close()
            return [nothing], told, (guest.poll(fd_sub(2, READ, 0))[0][0], guest.read(0))

    nothing, told, end = coop.run(main, poller=poller)
    assert nothing == [[(1, "SUCCESS", CLOCK, 0, 0)]]
    assert told == ([(2, "SUCCESS", READ, 1, 0)], b"news")
    assert end == (2, b"")


@every_poller
def test_other_threads_talk_to_a_guest_that_waits(poller):
    def main():
        channel = coop.Channel(from_threads=True)
        thread = threading.Timer(0.01, lambda: (channel.post(b"hello"), channel.close()))
        with Script(stdin=channel) as guest:
            thread.start()
            found = guest.poll(fd_sub(2, READ, 0))[0][0], guest.read(0), guest.read(0)
        thread.join()
        return found

    assert coop.run(main, poller=poller) == (2, b"hello", b"")


def test_what_a_guest_writes_waits_for_who_receives():
    log = []
    note = log.append

    def receive(channel):
        for data in channel:
            note(data)

    def main():
        channel = coop.Channel()
        receiver = coop.spawn(receive, channel)
        with Script(stdout=channel) as guest:
            for data in (b"one", b"two"):
                assert guest.write(1, data) == 3
                coop.pause()
                note("guest")
        channel.close()
        receiver.wait()

    coop.run(main)
    assert log == [b"one", "guest", b"two", "guest"]


def test_writing_to_a_closed_one_ends_the_guest():
    def main():
        with Script(stdout=sent()) as guest, pytest.raises(coop.Closed, match="send to a channel"):
            guest.write(1, b"x")

    coop.run(main)


def test_guests_stand_in_a_row():
    def cat(module, source, sink):
        coop.Guest(module, stdin=source, stdout=sink).run()
        if isinstance(sink, coop.Channel):
            sink.close()

    def main():
        module = coop.Module.from_file(ROOT / "examples/guest_per_client/guest.wat")
        channels, out = [coop.Channel(), coop.Channel(4)], bytearray()
        with coop.TaskGroup() as group:
            for source, sink in zip([b"x" * 300_000, *channels], [*channels, out], strict=True):
                group.spawn(cat, module, source, sink)
        return out

    assert coop.run(main) == b"x" * 300_000


def test_a_guest_that_ends_while_it_polls_takes_nothing_with_it():
    def main():
        channel = coop.Channel(1)
        with Script(stdin=channel) as guest:
            guest.poll(clock_sub(1, 1_000_000), fd_sub(2, READ, 0))
        coop.pause()
        channel.send(b"kept")
        return len(channel)

    assert coop.run(main) == 1


def test_what_is_no_bytes_is_told_so():
    def main():
        said = r"stdin: bytes wanted from .*coop\.channel\.Channel object.*, not str"
        with Script(stdin=sent("text")) as guest, pytest.raises(TypeError, match=said):
            guest.read(0)

    coop.run(main)


def test_a_channel_of_another_run_is_told_so():
    def main(channel):
        with Script(stdin=channel) as guest, pytest.raises(coop.WrongThread, match="another run"):
            guest.read(0)

    coop.run(main, coop.run(coop.Channel))
