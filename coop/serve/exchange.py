"""One request and its answer: the connection's side of what a guest's handler does.

    head  --> incoming-request --> handle(request, response-outparam) --> answer --> head
    body  --> pipe --> guest reads            guest writes --> pipe            --> body

The handler runs on a task of its own, so the answer goes out while it still works.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from coop.errors import CoopError, GuestTrap
from coop.logs import Log
from coop.scheduler import scheduler
from coop.serve.instances import HANDLER, Instances
from coop.task import Task
from coop.wasip2.guest import Guest
from coop.wasip2.http.bodies import IncomingBody, Outcome
from coop.wasip2.http.errorcode import HttpFailure
from coop.wasip2.http.fields import FORBIDDEN, Fields
from coop.wasip2.http.messages import IncomingRequest, OutgoingResponse, ResponseOutparam
from coop.wasip2.http.pipe import Pipe

__all__ = ["Exchange", "Head"]

log = Log("coop.serve")


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request, as a guest is told of it.

    target    -- path and query
    authority -- the host it was meant for
    scheme    -- "HTTP" or "HTTPS"
    """

    method: str
    target: str
    authority: str | None
    scheme: str
    fields: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(cls, event: h11.Request, scheme: str) -> "Head":
        """Return the head of a request that came in."""
        fields = [(name.decode("latin-1"), bytes(value)) for name, value in event.headers]
        host = next((value.decode("latin-1") for name, value in fields if name == "host"), None)
        target = event.target.decode("latin-1")
        if not target.startswith(("/", "*")):  # with scheme and host, as a proxy is asked
            parts = urlsplit(target)
            host = parts.netloc or host
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kept = tuple((name, value) for name, value in fields if name not in FORBIDDEN)
        return cls(event.method.decode("latin-1"), target, host, scheme, kept)


class Exchange:
    """A request at a guest.

    body     -- what of the request's body has come; the connection puts it in
    trailers -- what comes after that; for the connection to set
    answer   -- an `OutgoingResponse`, or why there is none
    """

    def __init__(self, instances: Instances, head: Head, on_read: Callable[[], object] | None) -> None:
        self.body = Pipe("a request's body")
        self.trailers = Outcome("the end of a request's body")
        self.answer = Outcome("the answer of a handler")
        self._instances = instances
        self._head = head
        self._on_read = on_read
        self._guest: Guest | None = None
        self._task: Task | None = None

    def begin(self) -> None:
        """Hand the request to a guest."""
        self._task = scheduler().spawn(self._handle, name=f"{self._head.method} {self._head.target[:80]}")

    def wait_for_answer(self) -> OutgoingResponse:
        """Park until the guest has answered.  Raises: HttpFailure if it has not."""
        found = self.answer.wait("the answer of a handler")
        assert isinstance(found, OutgoingResponse)
        return found

    def cancel(self) -> None:
        """End the guest: nobody waits for the answer any more."""
        self.body.end(ConnectionResetError("the client is gone"))
        self.answer.fail(HttpFailure("connection-terminated"))
        if self._guest is not None:
            self._guest.cancel()

    def _handle(self) -> None:
        guest = None
        try:
            guest = self._guest = self._instances.take()
            self._call(guest)
            self.answer.fail(HttpFailure("internal-error", "the handler set no response"))
        except CoopError as error:
            words = "handler trapped" if isinstance(error, GuestTrap) else "handler failed"
            log.error(words, method=self._head.method, target=self._head.target, error=str(error))
            self.answer.fail(HttpFailure("internal-error", str(error)))
        except Exception as error:
            log.error("handler not run", target=self._head.target, error=str(error))
            self.answer.fail(HttpFailure("internal-error", str(error)))
        finally:
            self.answer.fail(HttpFailure("internal-error", "the handler was ended"))
            self._guest = None
            if guest is not None:
                self._finish(guest)

    def _call(self, guest: Guest) -> None:
        head, world = self._head, guest.world
        body = IncomingBody(world, self.body, self.trailers, self._on_read)
        request = IncomingRequest(
            head.method, head.target, head.scheme, head.authority, Fields(head.fields, immutable=True), body
        )
        guest.call(HANDLER, "handle", request, ResponseOutparam(self.answer))

    def _finish(self, guest: Guest) -> None:
        """Let the guest go, once the connection has taken what it wrote."""
        self.body.abandon()
        answer = self.answer.peek()
        if isinstance(answer, OutgoingResponse) and answer.sent is not None:
            answer.sent.wait_until_taken()
        self._instances.give_back(guest)
