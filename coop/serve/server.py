"""A server: it listens, gives every client a task, and ends when all of them are done."""

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from coop.clock import to_ns
from coop.errors import BugError, Closed
from coop.logs import Log
from coop.net import Conn, Listener, listen
from coop.net.address import Address, shown
from coop.net.tls import TlsConn
from coop.scheduler import Scheduler, scheduler
from coop.serve.connection import Connection
from coop.serve.instances import Instances
from coop.slips import Unique, check_context, check_number
from coop.task import Task, current

__all__ = ["ServeLimits", "Server"]

_PAUSE_S = 0.1
"""How long nobody is accepted after that has failed, unless a client leaves before."""

log = Log("coop.serve")


@dataclass(frozen=True, slots=True)
class ServeLimits:
    """What a client may ask of a server.

    connections   -- clients at once; others wait until one leaves
    head_bytes    -- bytes of a request's head
    body_bytes    -- bytes of a request's body
    head_seconds  -- how long a head may take, from its first byte
    idle_seconds  -- how long a connection may wait for a request
    pause_seconds -- how long a client may pause within a body, or in taking an answer
    """

    connections: int = 1024
    head_bytes: int = 64 << 10
    body_bytes: int = 1 << 30
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    pause_seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            is_time = field.name.endswith("_seconds")
            check_number(field.name, value, least=0, whole=not is_time)
            if not value and field.name != "body_bytes":
                raise ValueError(f"{field.name}: {value} is not above zero")


class Server(Unique):
    """An HTTP server whose requests are answered by guests.

    instances -- the guests
    limits    -- what clients may ask
    context   -- for TLS; None: none
    is_ending -- whether it takes no more requests
    """

    def __init__(
        self,
        instances: Instances,
        *,
        limits: ServeLimits | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        if not isinstance(instances, Instances):
            raise TypeError(f"instances: a coop.HttpGuests wanted, not {type(instances).__name__}")
        check_context("context", context, ssl.PROTOCOL_TLS_CLIENT, "server")
        self.instances = instances
        self.limits = limits or ServeLimits()
        self.is_ending = False
        self._context = context
        self._owner: Scheduler | None = None
        self._listener: Listener | None = None
        self._open: dict[Task, Connection | None] = {}  # None: TLS, if there is any, is not agreed upon
        self._waiter: Task | None = None

    @property
    def is_tls(self) -> bool:
        """Whether it serves HTTPS."""
        return self._context is not None

    def listen(self, address: Address) -> Any:
        """Begin to listen, as `coop.listen` does, and return the address, as `Listener.address` has it.

        Raises: OSError; ValueError; BugError if it listens already, or has been stopped.
        """
        if self._listener is not None or self.is_ending:
            raise BugError(f"listen on {shown(address)}: a server listens at one address, and once")
        self._owner = scheduler()
        self._listener = listen(address)
        return self._listener.address

    def run(self, grace: float = 10.0) -> None:
        """Serve until `stop`, then let requests in progress end.

        grace -- seconds they have for that; after it they are cancelled
        Raises: BugError if it does not listen yet.
        """
        if self._listener is None:
            raise BugError("run an HTTP server that does not listen: call its `listen` before")
        try:
            try:
                self._accept(self._listener)
            except KeyboardInterrupt:
                self._stop()  # a second one ends those in progress
            self._wait_for_the_last(grace)
        finally:
            self._stop()
            if self._open:
                log.warning("requests in progress are cancelled", count=len(self._open))
            for task in list(self._open):
                task.cancel()
            try:
                self._wait_for_the_last(None)
            finally:  # who was cancelled does not wait
                self.instances.close()

    def stop(self) -> None:
        """Have it take no more clients and no more requests, soon.

        Callable from any thread and from a signal's handler.
        """
        if self._owner is None:
            self.is_ending = True
        else:
            self._owner.post(self._stop)

    def _stop(self) -> None:
        if not self.is_ending:
            self.is_ending = True
            if self._listener is not None:
                self._listener.close()
            for task, connection in list(self._open.items()):
                if connection is None or connection.is_idle:
                    task.cancel()
            if self._waiter is not None:
                self._waiter.wake()

    def _accept(self, listener: Listener) -> None:
        while not self.is_ending:
            if len(self._open) >= self.limits.connections:
                self._wait()
                continue
            try:
                conn = listener.accept()
            except Closed:
                return
            except OSError as error:
                # Out of descriptors, perhaps: they come back as clients leave.
                log.warning("client not accepted", error=str(error))
                self._wait(_PAUSE_S)
                continue
            self._take(conn)

    def _take(self, conn: Conn) -> None:
        task = scheduler().spawn(lambda: self._serve(conn), name="client")
        self._open[task] = None
        task.on_end(lambda task: self._left(task, conn))  # also of one that ends before it begins

    def _left(self, task: Task, conn: Conn) -> None:
        del self._open[task]
        with suppress(Closed):  # as the connection has left it, unless there was none
            conn.close()
        if self._waiter is not None:
            self._waiter.wake()

    def _serve(self, conn: Conn) -> None:
        task = current()
        try:
            peer = shown(conn.peer)
            _send_at_once(conn)
            stream: Conn | TlsConn = conn
            if self._context is not None:
                stream = tls = TlsConn(conn, self._context, None)
                conn.set_deadline(self.limits.head_seconds)
                tls.handshake()
                conn.set_deadline(None)
            scheme = "HTTP" if self._context is None else "HTTPS"
            connection = self._open[task] = Connection(self, conn, stream, peer, scheme)
            connection.run()
        except OSError as error:
            log.debug("client lost", error=str(error))

    def _wait(self, seconds: float | None = None) -> None:
        """Park until a client leaves, the server ends, or the time has passed."""
        owner = scheduler()
        task = self._waiter = current()
        timer = None if seconds is None else owner.timers.set(owner.now_ns() + to_ns(seconds), task.wake)
        try:
            task.park("a client to leave")
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wait_for_the_last(self, grace: float | None) -> None:
        owner = scheduler()
        due_ns = None if grace is None else owner.now_ns() + to_ns(grace)
        while self._open and (due_ns is None or owner.now_ns() < due_ns):
            self._wait(None if due_ns is None else (due_ns - owner.now_ns()) / 1e9)


def _send_at_once(conn: Conn) -> None:
    """Keep the kernel from waiting for more to send: an answer's head and body are written apart."""
    sock = conn.openfile.sock
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
