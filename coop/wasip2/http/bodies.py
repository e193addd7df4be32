"""wasi:http bodies: streams with a length that was promised, an end that can fail, and trailers."""

from collections.abc import Callable
from contextlib import suppress

from coop.netpoll.contract import READ
from coop.netpoll.openfile import BLOCKED
from coop.netpoll.polldesc import PollDesc
from coop.wasip2.http.errorcode import HttpFailure, as_os_error, code_of
from coop.wasip2.http.fields import Fields
from coop.wasip2.http.pipe import Pipe, PipeInput, PipeOutput, PipePollable
from coop.wasip2.pollables import Pollable
from coop.wasip2.reading import InputStream
from coop.wasip2.world import World
from coop.wasip2.writing import OutputStream
from coop.wit import Err, Ok, Resource, function

__all__ = ["FutureTrailers", "IncomingBody", "OutgoingBody", "Outcome"]


class Outcome:
    """Something that is not known yet: a value or an error, once, for whoever waits.

    desc -- ready to be read when it is known
    """

    def __init__(self, what: str) -> None:
        self.desc = PollDesc(-1, what)
        self._value: object = None
        self._error: BaseException | None = None

    @property
    def is_known(self) -> bool:
        """Whether it has come."""
        return self.desc.ready & READ != 0

    def set(self, value: object) -> None:
        """Let it be known; what came first counts."""
        if not self.is_known:
            self._value = value
            self.desc.notify(READ)

    def fail(self, error: BaseException) -> None:
        """Let it be an error."""
        if not self.is_known:
            self._error = error
            self.desc.notify(READ)

    def get(self) -> object:
        """Return what came.  Raises: the error that came."""
        if self._error is not None:
            raise self._error
        return self._value

    def peek(self) -> object:
        """Return what came, or None: an error, or nothing yet."""
        return self._value

    def wait(self, doing: str) -> object:
        """Park until it is known, and return it."""
        self.desc.wait(READ, doing)
        return self.get()


class IncomingBody(Resource):
    """wasi:http incoming-body: what the guest reads of a message that came in.

    pipe     -- its bytes
    trailers -- what comes after them: `Fields`, or None
    on_read  -- called when the guest sets about reading: the peer may wait to be told to go on
    """

    __slots__ = ("_is_taken", "on_read", "pipe", "trailers", "world")

    def __init__(
        self, world: World, pipe: Pipe, trailers: Outcome, on_read: Callable[[], object] | None = None
    ) -> None:
        super().__init__()
        self.world = world
        self.pipe = pipe
        self.trailers = trailers
        self.on_read = on_read
        self._is_taken = False

    @function("func() -> result<input-stream>", parks=False)
    def stream(self) -> InputStream:
        """Return the stream of its bytes; it can be had once."""
        if self._is_taken:
            raise Err
        self._is_taken = True
        if self.on_read is not None:
            self.on_read()
        return PipeInput(self.world, self.pipe, self)

    def read_on(self) -> None:
        """Read what is left, for what comes after it."""
        if self.on_read is not None:
            self.on_read()
        self.world.spawn(self._drain, name="the rest of a body")

    def _drain(self) -> None:
        try:
            while self.pipe.take_waiting():
                pass
        except OSError:
            pass  # whoever asks for the trailers is told

    def drop(self) -> None:
        """Take no more of it."""
        self.pipe.abandon()


class FutureTrailers(Resource):
    """wasi:http future-trailers: the trailers of a body, once all of it was read.

    world, body -- whose they are
    """

    __slots__ = ("_is_taken", "body", "world")

    def __init__(self, world: World, body: IncomingBody) -> None:
        super().__init__()
        self.world = world
        self.body = body
        self._is_taken = False

    @function("func() -> pollable", parks=False)
    def subscribe(self) -> Pollable:
        """Make a pollable that is ready when they are known."""
        return PipePollable(self.world.owner, self.body.trailers.desc, READ, self)

    @function("func() -> option<result<result<option<trailers>, error-code>>>", parks=False)
    def get(self) -> Ok | Err | None:
        """Return them, once: none yet; or a result, which is an error the second time."""
        outcome = self.body.trailers
        if not outcome.is_known:
            return None
        if self._is_taken:
            return Err()
        self._is_taken = True
        try:
            found = outcome.get()
        except BaseException as error:
            return Ok(Err(code_of(error)))
        if isinstance(found, Fields):
            found.charge_to(self.world.fields)
        return Ok(Ok(found))

    def drop(self) -> None:
        """Take no more of the body."""
        self.body.pipe.abandon()


class _BodyOutput(PipeOutput):
    """The stream of a body whose length may have been promised."""

    __slots__ = ("_body",)

    def __init__(self, body: "OutgoingBody") -> None:
        super().__init__(body.world, body.pipe, body)
        self._body = body

    def put(self, data: bytes | memoryview, *, whole: bool = False) -> int:
        """Put into the pipe, no more than was promised."""
        self._body.check_size(len(data))
        count = super().put(data, whole=whole)
        if count != BLOCKED:
            self._body.count(count)
        return count


class OutgoingBody(Resource):
    """wasi:http outgoing-body: what the guest writes of a message that goes out.

    kind     -- of what message, in the names of codes: "request" or "response"
    pipe     -- its bytes
    trailers -- what comes after them: `Fields`, or None; known when the body is finished
    """

    __slots__ = ("_is_finished", "_is_taken", "_length", "_written", "kind", "pipe", "trailers", "world")

    def __init__(self, world: World, length: int | None, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.world = world
        self.pipe = Pipe("an outgoing body", world.backlog)
        self.trailers = Outcome("the end of an outgoing body")
        self._length = length
        self._written = 0
        self._is_taken = self._is_finished = False

    def check_size(self, more: int) -> None:
        """Raise OSError if so many more bytes are above the length that was promised."""
        if self._length is not None and self._written + more > self._length:
            raise as_os_error(self._wrong_size(self._written + more))

    def count(self, written: int) -> None:
        """Count bytes that were written."""
        self._written += written

    @function("func() -> result<output-stream>", parks=False)
    def write(self) -> OutputStream:
        """Return the stream for its bytes; it can be had once."""
        if self._is_taken:
            raise Err
        self._is_taken = True
        return _BodyOutput(self)

    def finish(self, trailers: Fields | None) -> None:
        """End the body well.  Raises: Err if it is shorter than was promised."""
        self._is_finished = True
        if self._length is not None and self._written != self._length:
            error = self._wrong_size(self._written)
            self._fail(error)
            raise Err(error.code)
        found = [] if trailers is None else trailers.pairs()
        # Behind a body its length would say where another one ends, to whoever takes it for a header.
        self.trailers.set([entry for entry in found if entry[0] != "content-length"])
        self.pipe.end()

    def _wrong_size(self, size: int) -> HttpFailure:
        return HttpFailure(f"HTTP-{self.kind}-body-size", size)

    def _fail(self, error: BaseException) -> None:
        self.trailers.fail(error)
        self.pipe.end(as_os_error(error))

    def leave(self) -> None:
        """End the body well if the guest, which is done, has neither finished nor dropped it.

        JavaScript engines leave it so when a handler fails; other hosts take it for whole.
        """
        if not self._is_finished:
            with suppress(Err):  # of the wrong size: whoever reads hears of it
                self.finish(None)

    def drop(self) -> None:
        """End the body; one that was not finished ends badly, and the peer shall see that."""
        if not self._is_finished:
            self._is_finished = True
            self._fail(HttpFailure("internal-error", "the body was dropped before it was finished"))
