"""Malformed requests at random against the server of `coop serve`, as a component answers them.

Run as `python -m tests.fuzz.http_requests SECONDS [SEED] [--plant MODULE]`.  Each seed is a run of its own:
a server, and many clients at a time that cut their requests anywhere, pause, and leave in several ways.

1. The guest is told of a request only if `h11`, given the same bytes at once, lets its head through; and of
   nothing that says in two ways how long it is.
2. What the guest got of a body is what `h11` makes of it.
3. Answers are HTTP, come in order, and refuse what was no request.  One connection has several only if what
   stands behind a request came after its answer, which a pause within it may bring about.
4. Afterwards a good request is answered, and nothing is left: no task, no descriptor, no
   complaint in the log.
"""

import argparse
import importlib
import random
import re
import socket
import struct
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import h11
import structlog

import coop
from coop.engine.component import Component
from coop.net.address import shown
from coop.scheduler import scheduler
from coop.serve import Instances, ServeLimits, Server
from coop.serve.connection import Connection
from coop.serve.heads import Head
from coop.wasip2 import Guest
from coop.wasip2.http.fields import received
from tests.components import service
from tests.fuzz.http_messages import request
from tests.fuzz.seeds import check_fds, open_fds, seeds

CLIENTS = 40
"""How many there are at a time: enough that some send while others pause."""

EACH = 60
"""Requests that each of them sends in a run."""

LIMITS = ServeLimits(head_bytes=16_384, head_seconds=0.3, idle_seconds=0.3, pause_seconds=0.3)
GOOD = b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
ENDS = (type(h11.NEED_DATA), h11.ConnectionClosed)
REFUSALS = (400, 408, 413, 417, 431, 501, 505)


PATIENCE_S = 40
"""How long a client waits for an end, also on a machine with much else to do.  Below what the whole may take
beyond its time."""


class Finding(Exception):
    """Something that must not be."""


@dataclass(frozen=True)
class Verdict:
    """What `h11` makes of some bytes.

    head     -- the head it lets through
    is_clear -- whether that says in one way only how long the request is
    body     -- what of the body it takes from them; `is_whole`: all of it
    """

    head: h11.Request | None
    is_clear: bool = False
    body: bytes = b""
    is_whole: bool = False


def judge(data: bytes) -> list[Verdict]:
    """Ask `h11` alone about each request that it finds; the last may be none."""
    verdicts: list[Verdict] = []
    while True:
        machine = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMITS.head_bytes)
        # The one thing that is looked at before it: empty lines.
        machine.receive_data(re.sub(rb"\A(?:\r\n)+", b"", data))
        verdicts.append(_judge_one(machine))
        data = machine.trailing_data[0]
        if not data or not verdicts[-1].is_whole or machine.their_state is h11.MUST_CLOSE:
            return verdicts


def _judge_one(machine: h11.Connection) -> Verdict:
    head, body, is_whole = None, [], False
    try:
        while not is_whole and not isinstance(event := machine.next_event(), ENDS):
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            is_whole = isinstance(event, h11.EndOfMessage)
    except h11.RemoteProtocolError:
        pass
    if head is None:
        return Verdict(None)
    said = {name for name, _ in head.headers} & {b"content-length", b"transfer-encoding"}
    return Verdict(head, len(said) < 2, b"".join(body), is_whole)


def read_answers(data: bytes, verdicts: list[Verdict]) -> list[tuple[int, bytes, bool]]:
    """Return the status of each answer, its body, and whether that came to its end."""
    answers = []
    for verdict in verdicts:
        if not data:
            break
        machine = h11.Connection(h11.CLIENT)
        method = b"GET" if verdict.head is None else verdict.head.method
        machine.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"a")]))
        machine.send(h11.EndOfMessage())
        machine.receive_data(data)
        answers.append(_read_one(machine))
        data, _ = machine.trailing_data
    if data:
        raise Finding(f"something comes behind the answers: {data[:300]!r}")
    return answers


def _read_one(machine: h11.Connection) -> tuple[int, bytes, bool]:
    status, body = None, []
    machine.receive_data(b"")
    try:
        while not isinstance(event := machine.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
    except h11.RemoteProtocolError as error:
        if status is None:
            raise Finding(f"the answer is none: {error}") from None
        return status, b"".join(body), False  # it was cut
    assert status is not None
    return status, b"".join(body), True


def _is_of(head: Head, event: h11.Request) -> bool:
    """Whether a guest was told what stood there."""
    method, fields = event.method.decode("latin-1"), tuple(received(event.headers))
    target = head.target.removeprefix("/").encode("latin-1")  # what it begins with may be a host, or nothing
    return (head.method, head.fields) == (method, fields) and event.target.partition(b"#")[0].endswith(target)


class Run:
    """One server and its clients."""

    def __init__(self, seed: int, component: Component, counts: Counter[str]) -> None:
        self.chance = random.Random(seed)
        self.component = component
        self.counts = counts
        self.told: dict[str, list[Head]] = defaultdict(list)
        self.sent: dict[str, list[bytes]] = defaultdict(list)
        self.lines: list[dict[str, Any]] = []
        self.address: Any = None
        self.given_up = 0

    def main(self) -> None:
        """Serve, be asked, and look at what is left."""
        instances = Instances(lambda: Guest(self.component), reuse=500, idle=CLIENTS)
        started = [instances.take() for _ in range(CLIENTS)]  # for which clients would wait too long
        for guest in started:
            instances.give_back(guest)
        server = Server(instances, limits=LIMITS)
        self.address = server.listen("127.0.0.1:0")
        with coop.TaskGroup() as group:
            group.spawn(server.run)
            coop.pause()
            before = set(scheduler().tasks)
            try:
                with coop.TaskGroup() as clients:
                    for _ in range(CLIENTS):
                        clients.spawn(self.ask_often, random.Random(self.chance.random()))
                self.wait_for_quiet(before)
                self.check_calls()
                self.ask_well()
                self.wait_for_quiet(before)
            finally:
                server.stop()

    def ask_well(self) -> None:
        """Do all right as a client; again if the machine stood still for longer than a head may take."""
        for _ in range(5):
            began = time.monotonic()
            answers = read_answers(self.exchange(GOOD, random.Random(0)), judge(GOOD))
            if answers == [(200, b"hello\n", True)]:
                return
            if time.monotonic() - began < LIMITS.head_seconds:
                break
        raise Finding(f"a good request is answered with {answers}")

    def ask_often(self, chance: random.Random) -> None:
        """Be a client, many times."""
        for _ in range(EACH):
            data = request(chance)
            try:
                began = time.monotonic()
                received = self.exchange(data, chance)
                # Only within less time than a client may pause has nobody given up on half a body.
                self.check_answers(data, received, is_sure=time.monotonic() - began < LIMITS.pause_seconds)
            except Finding as found:
                raise Finding(f"{found}; sent was {data[:2000]!r}") from None
            self.counts["requests"] += 1

    # -- a client

    def exchange(self, data: bytes, chance: random.Random) -> bytes:
        """Send in pieces, leave in one way or another, and return what came."""
        received = b""
        conn = coop.connect(self.address)
        try:
            conn.set_deadline(PATIENCE_S)
            self.sent[shown(conn.openfile.sock.getsockname())].append(data)
            received = self.talk(conn, data, chance)
        except coop.DeadlineExceeded:
            raise Finding("the server neither answers nor closes") from None
        except OSError:
            pass  # it does not want to hear it all
        finally:
            conn.close()
        return received

    def talk(self, conn: coop.Conn, data: bytes, chance: random.Random) -> bytes:
        """Send it all, then read until the server closes; or do not."""
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 3))))
        try:
            for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                conn.sendall(data[begin:end])
                if end < len(data):
                    coop.sleep(chance.choice((0.0, 0.0, 0.001, 0.01)))
        except OSError as error:
            if isinstance(error, coop.DeadlineExceeded):
                raise
        leaving = chance.random() if data is not GOOD else 1.0
        if leaving < 0.05:
            return b""
        if leaving < 0.1:
            linger = struct.pack("ii", 1, 0)
            conn.openfile.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return b""
        if leaving < 0.8:
            conn.shutdown()
        received = b""
        try:
            while piece := conn.recv():
                received += piece
        except OSError as error:
            if isinstance(error, coop.DeadlineExceeded):
                raise
            self.counts["resets"] += 1
            return b""  # where it was cut may look like an end
        return received

    # -- what must be so

    def check_answers(self, data: bytes, received: bytes, *, is_sure: bool) -> None:
        """Look at what one client got."""
        verdicts = judge(data)
        answers = read_answers(received, verdicts)
        self.counts["unanswered"] += not answers
        for verdict, (status, body, is_whole) in zip(verdicts, answers, strict=False):
            self.counts[f"{status // 100}xx"] += 1
            if (verdict.head is None or not verdict.is_clear) and status not in REFUSALS:
                raise Finding(f"what is no request is answered with {status}")
            if status == 500:
                self.take_back()
            if status == 200 and is_whole and verdict.head.method != b"HEAD":
                self.check_body(verdict, body, is_sure=is_sure and verdict.is_whole)

    def take_back(self) -> None:
        """Allow a guest to fail that was cancelled: its client sends no more, and heard nothing."""
        if not self.given_up:
            raise Finding(f"the guest failed: {self.lines[-3:]}")
        self.given_up -= 1
        self.counts["given up"] += 1

    def check_body(self, verdict: Verdict, body: bytes, *, is_sure: bool) -> None:
        """Look at what the guest has read, if it says so."""
        if verdict.head.target.endswith(b"/echo"):
            self.counts["bodies"] += 1
            if not (body == verdict.body if is_sure else verdict.body.startswith(body)):
                raise Finding(f"the guest read {body[:300]!r}")

    def check_calls(self) -> None:
        """Look at what the guest was told of."""
        for peer, heads in self.told.items():
            self.counts["told"] += len(heads)
            if len(self.sent[peer]) > 1:
                continue  # a port that was used twice
            (data,) = self.sent[peer]
            clear = [verdict.head for verdict in judge(data) if verdict.head is not None and verdict.is_clear]
            for event, head in zip_longest(clear[: len(heads)], heads):
                if event is None or not _is_of(head, event):
                    raise Finding(f"the guest was told of {head}; sent was {data[:2000]!r}")

    def wait_for_quiet(self, before: set[Any]) -> None:
        """Wait until all that the clients left behind is gone."""
        until = time.monotonic() + PATIENCE_S
        while left := set(scheduler().tasks) - before:
            if time.monotonic() > until:
                raise Finding(f"tasks are left: {left}")
            coop.sleep(0.01)

    def note(self, _logger: Any, level: str, line: Any) -> Any:
        """Keep what is logged and may surprise."""
        if level == "debug" and line["event"] == "request failed":
            self.given_up += 1
        elif level in ("warning", "error"):
            self.lines.append({**line, "level": level})
        raise structlog.DropEvent

    def play(self) -> None:
        """Play it to its end.  Raises: Finding, alone or in a group."""
        structlog.configure(processors=[self.note], cache_logger_on_first_use=False)
        answer = Connection._answer

        def told(connection: Connection, head: Head) -> None:
            self.told[connection._peer].append(head)
            answer(connection, head)

        Connection._answer = told  # type: ignore[method-assign]
        try:
            coop.run(self.main, poller=self.chance.choice(("hostpoll", "hostpoll", "oneoff", "pollset")))
        finally:
            Connection._answer = answer  # type: ignore[method-assign]
            structlog.reset_defaults()
        if self.lines:
            raise Finding(f"the log complains: {self.lines}")


def main() -> None:
    """Run with one seed after the other until the time is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--plant")
    given = parser.parse_args()
    if given.plant is not None:
        importlib.import_module(given.plant)
    component = Component.from_file(service("service.py"))
    began, counts, before = time.monotonic(), Counter[str](), {}
    for seed in seeds(given.seed):
        Run(seed, component, counts).play()
        before = before or open_fds()
        check_fds(before)
        counts["runs"] += 1
        if time.monotonic() > began + given.seconds:
            break
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    sys.stdout.write(f"http: {said} in {time.monotonic() - began:.0f} s\n")


if __name__ == "__main__":
    main()
