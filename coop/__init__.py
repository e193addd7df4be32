"""coop: many WebAssembly guests and plain sync code on one thread, as green threads.

    import coop

    def main():
        module = coop.Module.from_file("ticker.wasm")
        coop.Guest(module, stdout=coop.text(print)).run()

    coop.run(main)

Everything public is here.  Below it lie layers, low to high, of which each imports only those above
it in this list, and nothing beside it on its line:

    errors, clock, logs, text, sources, slips, forks         what needs nothing else of coop
    system, wit                                              whether it can run here; the types of components
    owner, task                                              one room: a green thread, and its owner to it
    timers                                                   a heap of moments
    netpoll                                                  descriptors, who waits for them, three pollers
    runq, report                                             who may run next; what is told of who cannot
    scheduler                                                the loop that decides who runs
    stint                                                    how long a task may work without a park
    group, timeout, channel, threads, signals                what a run has besides
    trace, timeline                                          what is told of it, and drawn
    net, run                                                 sockets in sync style; a run as a whole
    engine, fs                                               wasmtime; files
    given, ends                                              what any guest is given; what is said of its end
    guest, load                                              a guest's life; a file of either kind
    wasip1, wasip2                                           the two kinds of guests and what they import
    serve                                                    HTTP
    cli                                                      the command

To read it as a book, begin with `scheduler` and `task`; then `netpoll.polldesc` and
`netpoll.hostpoll` tell how a task waits, `engine.drive` how a guest gives up the thread,
`wasip1.io` and `wasip1.poll` what it asks for.  The text of each of these packages says
what to read next, and that of `netpoll` what is taken from Go, TinyGo, Emscripten and wasmtime.

The words that recur, and the module where each is at home:

    task         a green thread, which is a greenlet                              task
    park, wake   to give up the thread; to make a task that did so ready again    task
    hub          the greenlet of the scheduler's loop                             scheduler
    turn         one round of that loop                                           scheduler
    idle path    its one combined wait, when no task is ready                     scheduler
    late         behind the run queue: of a guest that used up its slice          runq
    stint        a stretch of Python without a park                               stint
    poller       what waits for every descriptor at once                          netpoll.contract
    arm, fire    to have a poller listen; to note an event, and find who waited   netpoll.polldesc
    waiter       a task's place in the queue of a descriptor                      netpoll.waiter
    open file    what a number names, and what its duplicates share               netpoll.openfile
    level        whether a file is ready now; an edge: that it became so          netpoll.openfile
    stale        of a level: it was true once, and nobody has looked since        netpoll.openfile
    wake-up      what ends a poller's wait from any thread                        netpoll.wakeup
    guest        a program at work: configured, started, ended                    guest
    fiber        the stack of wasmtime's on which a guest runs                    engine.drive
    shim         the wasm between a guest and the imports of Python's             engine.shim
    border       where the calls of all guests become Python calls                engine.border
    slice, busy  how long a guest may compute; one that has used a slice up       engine.slices
    held         called with the GIL kept; `released`: without it                 engine.capi
    dense        of a guest: slower, so that very many fit                        engine.dense
"""

from typing import TYPE_CHECKING, Any

import coop.system  # noqa: F401 - first of all: it says in words what is missing  # isort: split
from coop.channel import Channel
from coop.engine import Caller, HostFunction, Limits, Memory, Module, OutOfBounds, host_function
from coop.errors import (
    BadModule,
    BugError,
    Busy,
    Cancelled,
    Closed,
    CoopError,
    DeadlineExceeded,
    Deadlock,
    GuestExit,
    GuestTrap,
    LimitExceeded,
    LinkError,
    NoDeadline,
    NotPollable,
    TableFull,
    Unsupported,
    WasCancelled,
    WrongThread,
)
from coop.fs import Dir, MemDir
from coop.group import TaskGroup
from coop.guest import GuestStats
from coop.load import load
from coop.net import Conn, Listener, connect, listen
from coop.run import pause, run, sleep, spawn
from coop.task import Task, current
from coop.text import text
from coop.threads import run_in_thread
from coop.timeout import Timeout
from coop.wasip1 import Guest

if TYPE_CHECKING:
    from coop.engine.component import Component
    from coop.serve import Instances as HttpGuests
    from coop.serve import ServeLimits as HttpLimits
    from coop.serve import Server as HttpServer
    from coop.wasip2 import Guest as ComponentGuest
    from coop.wasip2 import Network

__version__ = "0.1.0"

__all__ = [
    "BadModule",
    "BugError",
    "Busy",
    "Caller",
    "Cancelled",
    "Channel",
    "Closed",
    "Component",
    "ComponentGuest",
    "Conn",
    "CoopError",
    "Deadlock",
    "DeadlineExceeded",
    "Dir",
    "Guest",
    "GuestExit",
    "GuestStats",
    "GuestTrap",
    "HostFunction",
    "HttpGuests",
    "HttpLimits",
    "HttpServer",
    "LimitExceeded",
    "Limits",
    "LinkError",
    "Listener",
    "MemDir",
    "Memory",
    "Module",
    "Network",
    "NoDeadline",
    "NotPollable",
    "OutOfBounds",
    "TableFull",
    "Task",
    "TaskGroup",
    "Timeout",
    "Unsupported",
    "WasCancelled",
    "WrongThread",
    "connect",
    "current",
    "host_function",
    "listen",
    "load",
    "pause",
    "run",
    "run_in_thread",
    "sleep",
    "spawn",
    "text",
]

_LATER = {
    "Component": ("coop.engine.component", "Component"),
    "ComponentGuest": ("coop.wasip2", "Guest"),
    "HttpGuests": ("coop.serve", "Instances"),
    "HttpLimits": ("coop.serve", "ServeLimits"),
    "HttpServer": ("coop.serve", "Server"),
    "Network": ("coop.wasip2", "Network"),
}
"""What is imported when it is first asked for: a program that runs no component need not wait for it."""


def __getattr__(name: str) -> Any:
    try:
        module, attribute = _LATER[name]
    except KeyError:
        raise AttributeError(f"module 'coop' has no attribute {name!r}") from None
    from importlib import import_module

    return globals().setdefault(name, getattr(import_module(module), attribute))
