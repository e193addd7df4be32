"""The seams by which a loop of somebody else's can drive a scheduler: turn, next_deadline_ns, fileno."""

import select
import socket

import pytest

from coop.errors import Unsupported
from coop.netpoll import POLLERS, make_poller
from coop.netpoll.contract import READ
from coop.netpoll.kernelfiles import SocketFile
from coop.scheduler import Scheduler


def test_a_select_loop_drives_tasks_that_sleep_and_wait():
    left, right = socket.socketpair()
    poller = make_poller("hostpoll")
    owner = Scheduler(poller)
    said: list[object] = []

    def read() -> None:
        file = SocketFile(left, poller=poller)
        buffer = bytearray(8)
        while (count := file.try_read([memoryview(buffer)])) < 0:
            file.wait(READ)
        said.append(bytes(buffer[:count]))
        file.release()

    def sleep() -> None:
        owner.sleep_ns(5_000_000)
        said.append("slept")
        right.send(b"x")

    try:
        tasks = [owner.spawn(read), owner.spawn(sleep)]
        while not all(task.is_done for task in tasks):
            due_ns = owner.next_deadline_ns()
            delay = None if due_ns is None else max(due_ns - owner.now_ns(), 0) / 1e9
            if not owner.runq:
                select.select([owner.fileno()], [], [], delay)
            owner.turn()
        assert said == ["slept", b"x"]
    finally:
        poller.shutdown()
        right.close()


@pytest.mark.parametrize("name", sorted(set(POLLERS) - {"hostpoll"}))
def test_a_poller_without_a_descriptor_says_so(name):
    poller = make_poller(name)
    try:
        with pytest.raises(Unsupported, match="has no descriptor"):
            Scheduler(poller).fileno()
    finally:
        poller.shutdown()
