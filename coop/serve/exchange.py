"""One request and its answer: the connection's side of what a guest's handler does.

    head  --> incoming-request --> handle(request, response-outparam) --> answer --> head
    body  --> pipe --> guest reads            guest writes --> pipe            --> body

The handler runs on a task of its own, so the answer goes out while it still works.
"""

from collections.abc import Callable

from coop.errors import CoopError, GuestTrap
from coop.logs import Log
from coop.scheduler import scheduler
from coop.serve.heads import Head
from coop.serve.instances import HANDLER, Instances
from coop.task import Task
from coop.wasip2.guest import Guest
from coop.wasip2.http.bodies import IncomingBody, Outcome
from coop.wasip2.http.errorcode import HttpFailure, as_os_error
from coop.wasip2.http.fields import Fields
from coop.wasip2.http.messages import IncomingRequest, OutgoingResponse, ResponseOutparam
from coop.wasip2.http.pipe import Pipe

__all__ = ["Exchange"]

log = Log("coop.serve")


class Exchange:
    """A request at a guest.

    body     -- what of the request's body has come; the connection puts it in
    trailers -- what comes after that; for the connection to set
    answer   -- an `OutgoingResponse`, or why there is none
    is_cancelled -- whether nobody waits for it any more
    """

    def __init__(self, instances: Instances, head: Head, on_read: Callable[[], object] | None) -> None:
        self.body = Pipe("a request's body")
        self.trailers = Outcome("the end of a request's body")
        self.answer = Outcome("the answer of a handler")
        self.is_cancelled = False
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
        self.is_cancelled = True
        gone = HttpFailure("connection-terminated")
        self.cut(gone)
        self.answer.fail(gone)
        self.let_answer_go()
        if self._guest is not None:
            self._guest.cancel()
        elif self._task is not None:
            self._task.cancel()  # it starts the guest, or has not come to that

    def cut(self, failure: HttpFailure) -> None:
        """End the request's body, if it has not ended: nothing more of it will come."""
        self.body.end(as_os_error(failure))
        self.trailers.fail(failure)

    def let_answer_go(self) -> None:
        """Take no more of the answer's body."""
        answer = self.answer.peek()
        if isinstance(answer, OutgoingResponse):
            answer.drop()

    def _handle(self) -> None:
        guest = None
        try:
            guest = self._instances.take()
            self._guest = guest
            self._call(guest)
            self.answer.fail(HttpFailure("internal-error", "the handler set no response"))
        except CoopError as error:
            words = "handler trapped" if isinstance(error, GuestTrap) else "handler failed"
            tell = log.debug if self.is_cancelled else log.error
            tell(words, method=self._head.method, target=self._head.target, error=str(error))
            self.answer.fail(HttpFailure("internal-error", str(error)))
        except Exception as error:
            log.error("handler not run", target=self._head.target, error=str(error))
            self.answer.fail(HttpFailure("internal-error", str(error)))
        finally:
            self.answer.fail(HttpFailure("internal-error", "the handler was ended"))
            self._guest = None
            self._finish(guest)

    def _call(self, guest: Guest) -> None:
        head, world = self._head, guest.world
        body = IncomingBody(world, self.body, self.trailers, self._on_read)
        fields = Fields(head.fields, immutable=True, account=world.fields)
        request = IncomingRequest(head.method, head.target, head.scheme, head.authority, fields, body)
        guest.call(HANDLER, "handle", request, ResponseOutparam(self.answer))
        answer = self.answer.peek()
        if isinstance(answer, OutgoingResponse) and answer.sent is not None:
            answer.sent.leave()

    def _finish(self, guest: Guest | None) -> None:
        """Let the guest go; what it wrote is in the pipe."""
        self.body.abandon()
        answer = self.answer.peek()
        if isinstance(answer, OutgoingResponse) and answer.sent is not None:
            answer.sent.drop()  # no more will come of a guest that failed
        if guest is not None:
            self._instances.give_back(guest)
