"""What is read from pipes and written to them without giving up the GIL, and how it fails."""

import os
import stat

import pytest

from coop.netpoll.contract import HANGUP, READ, WRITE
from coop.netpoll.kernelfiles import PipeFile
from coop.netpoll.openfile import BLOCKED
from coop.netpoll.socksys import MOST_COPIED, MOST_HELD
from tests.children import run_child
from tests.fakes import GuestMemory, some

SIZES = (1, MOST_COPIED, MOST_COPIED + 1, MOST_HELD, MOST_HELD + 1)
"""At the edges of what is copied before, of what keeps the GIL, and of what Python's own calls do."""


@pytest.fixture
def ends():
    read, write = (PipeFile(fd, stat.S_IFIFO) for fd in os.pipe2(os.O_NONBLOCK))
    yield read, write
    for file in (read, write):
        if file.refs:
            file.release()


READS = {
    "memory": lambda file, memory, at, length: file.read_at(memory, at, length),
    "buffer": lambda file, memory, at, length: file.read_one(memory.view[at : at + length]),
    "list": lambda file, memory, at, length: file.try_read([memory.view[at : at + length]]),
}
WRITES = {
    "memory": lambda file, memory, at, length: file.write_at(memory, at, length),
    "buffer": lambda file, memory, at, length: file.write_one(memory.view[at : at + length]),
    "list": lambda file, memory, at, length: file.try_write(
        [memory.view[at : at + 1], memory.view[at + 1 : at + length]]
    ),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("how", READS)
def test_pieces_of_any_size_go_through_and_nothing_beyond(ends, size, how):
    read, write = ends
    given, taken = GuestMemory(some(size)), GuestMemory(b"." * size)
    put = got = 0
    while got < size:
        if put < size:
            put += max(WRITES[how](write, given, 1 + put, size - put), 0)
        count = READS[how](read, taken, 1 + got, size - got)
        assert count > 0
        got += count
        write.ready |= WRITE  # as the poller would, since there is room
    assert taken.view.tobytes() == b"<" + some(size) + b">"


@pytest.mark.parametrize("how", READS)
def test_what_would_block_is_told_and_clears_the_bit(ends, how):
    read, write = ends
    assert READS[how](read, GuestMemory(b"123"), 1, 3) == BLOCKED
    assert not read.ready & READ
    while WRITES[how](write, GuestMemory(b"x" * 4096), 1, 4096) != BLOCKED:
        pass
    assert not write.ready & WRITE


@pytest.mark.parametrize("how", READS)
def test_the_end_and_a_reader_that_is_gone_are_told(ends, how):
    read, write = ends
    write.release()
    assert READS[how](read, GuestMemory(b"123"), 1, 3) == 0
    fd, lonely = os.pipe2(os.O_NONBLOCK)
    os.close(fd)
    file = PipeFile(lonely, stat.S_IFIFO)
    with pytest.raises(BrokenPipeError) as told:
        WRITES[how](file, GuestMemory(b"123"), 1, 3)
    assert str(told.value) == "[Errno 32] Broken pipe"
    file.release()


@pytest.mark.parametrize("how", READS)
def test_a_fifo_whose_first_writer_has_not_come_is_not_at_its_end(tmp_path, how):
    os.mkfifo(tmp_path / "fifo")
    file = PipeFile(os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK), stat.S_IFIFO, await_writer=True)
    memory = GuestMemory(b"123")
    assert READS[how](file, memory, 1, 3) == BLOCKED
    writer = os.open(tmp_path / "fifo", os.O_WRONLY)
    os.write(writer, b"ab")
    assert READS[how](file, memory, 1, 3) == 2
    os.close(writer)
    file.ready |= READ | HANGUP
    assert READS[how](file, memory, 1, 3) == 0
    file.release()


def test_who_reads_and_writes_on_pipes_gives_the_gil_to_no_other_thread():
    run_child(
        """
        import _thread, os, stat, sys
        from coop.netpoll.kernelfiles import PipeFile
        from tests.netpoll.test_pipesys import READS, WRITES, GuestMemory

        sys.setswitchinterval(1000)  # so that only giving up the GIL lets the other thread run
        ran = []
        read, write = (PipeFile(fd, stat.S_IFIFO) for fd in os.pipe2(os.O_NONBLOCK))
        memory = GuestMemory(b"x" * 64)
        for turn in range(3000):
            if turn == 1:  # not before all code is loaded that is to run
                _thread.start_new_thread(ran.append, (1,))
            for how in READS:
                assert WRITES[how](write, memory, 1, 64) == 64
                assert READS[how](read, memory, 1, 64) == 64
        assert not ran
        import time
        while not ran:
            time.sleep(0.001)
        """
    )
