"""A server with a CPython service behind it, in a run of its own; clients are threads with real sockets."""

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import structlog

import coop
from coop.engine.component import Component
from coop.scheduler import scheduler
from coop.serve import Instances, ServeLimits, Server
from coop.wasip2 import Guest
from tests.components import service
from tests.guestbuild import ToolchainMissing


@pytest.fixture(scope="session")
def component() -> Component:
    try:
        found = Component.from_file(service("service.py"))
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    start_once(found)
    return found


def start_once(component: Component) -> None:
    """Start a guest: from the first one on, wasmtime keeps the image of its memory open."""

    def once() -> None:
        with Guest(component) as guest:
            guest.start()

    coop.run(once)


@pytest.fixture
def serve(component: Component) -> Callable[..., Any]:
    """Serve while a client, a function of the address, runs in a thread; return what it returns."""

    def play(client: Callable[[tuple[str, int]], Any], *, reuse: int = 1, context: Any = None, **limits: Any):
        def main() -> Any:
            instances = Instances(lambda: Guest(component), reuse=reuse)
            server = Server(instances, limits=ServeLimits(**limits), context=context)
            address = server.listen("127.0.0.1:0")
            with coop.TaskGroup() as group:
                group.spawn(server.run)
                try:
                    return coop.run_in_thread(client, address)
                finally:
                    server.stop()

        return coop.run(main)

    return play


class Watched:
    """A server whose guests are counted."""

    def __init__(self, component, **limits) -> None:
        self.guests: list[Guest] = []
        self.limits = limits
        self.component = component
        self.given: dict = {}

    def make(self) -> Guest:
        self.guests.append(Guest(self.component, **self.given))
        return self.guests[-1]

    def alive(self) -> int:
        return sum(guest.state.value == "started" for guest in self.guests)

    def run(self, client, *, reuse: int = 1, grace: float = 5.0):
        """Serve while a client runs; return what it returned, once all that it left behind is gone."""

        def main():
            server = Server(Instances(self.make, reuse=reuse), limits=ServeLimits(**self.limits))
            address = server.listen("127.0.0.1:0")
            with coop.TaskGroup() as group:
                group.spawn(server.run, grace)
                before = set(scheduler().tasks)
                try:
                    found = coop.run_in_thread(client, address)
                    self.wait_for_quiet(before)
                finally:
                    server.stop()
            return found

        return coop.run(main)

    def wait_for_quiet(self, before) -> None:
        until = time.monotonic() + 60
        while (left := set(scheduler().tasks) - before) or self.alive() > 16:
            assert time.monotonic() < until, (left, self.alive())
            coop.sleep(0.02)


@pytest.fixture
def watched(component):
    return lambda **limits: Watched(component, **limits)


@pytest.fixture
def logged():
    """What is logged meanwhile, at any level."""
    lines: list[dict[str, Any]] = []

    def keep(_logger: Any, level: str, line: Any) -> Any:
        lines.append({**line, "level": level})
        raise structlog.DropEvent

    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    try:
        yield lines
    finally:
        structlog.reset_defaults()


def exchange(address: tuple[str, int], data: bytes) -> bytes:
    """Send bytes as they are, and return all that comes back until the server closes."""
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        received = b""
        while piece := sock.recv(65536):
            received += piece
        return received


def get(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: a", *headers, "", ""]
    return "\r\n".join(lines).encode()
