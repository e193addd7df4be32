"""Slips of whoever uses coop: what is told, and where."""

import copy
import pickle
import re
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import coop
from coop.engine.component.handles import GuestResource

ASKS = """(module (import "h" "ask" (func (param i32))) (memory (export "memory") 1)
  (func (export "go") (call 0 (i32.const 0))))"""


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_stands_for_something_outside_is_neither_copied_nor_pickled(again: Callable[[object], object]):
    told: list[str] = []
    no_instance: Any = None

    def refuse(thing: object) -> None:
        with pytest.raises(TypeError, match="can be neither copied nor pickled") as caught:
            again(thing)
        told.append(str(caught.value))

    @coop.host_function("h", "ask", params=["i32"], results=[])
    def ask(caller: coop.Caller, _: int) -> None:
        refuse(caller)
        refuse(caller.memory)
        refuse(caller.guest)

    def main() -> None:
        module = coop.Module.from_bytes(ASKS)
        refuse(module)
        with coop.Guest(module, imports=[ask]) as guest:
            guest.call("go")
        refuse(coop.current())
        with coop.TaskGroup() as group:
            refuse(group)
        with coop.listen("127.0.0.1:0") as listener:
            refuse(listener)
            with coop.connect(listener.address) as conn:
                refuse(conn)
        component = coop.Component.from_bytes("(component)")
        refuse(component)
        refuse(coop.ComponentGuest(component))
        refuse(GuestResource(no_instance, "r", 0))

    coop.run(main)
    names = "Module Caller Memory Guest Task TaskGroup Listener Conn Component Guest GuestResource"
    assert [words.split()[1] for words in told] == names.split()


@pytest.mark.parametrize("run", [coop.run, lambda given: coop.run(lambda: coop.spawn(given))])
def test_the_result_of_a_function_is_no_function(run: Callable[[Any], object]):
    with pytest.raises(TypeError, match="a function to call wanted, not NoneType"):
        run(None)


async def a_coroutine() -> None: ...


def a_generator() -> Iterator[None]:
    yield


@pytest.mark.parametrize("given", [a_coroutine, a_generator])
@pytest.mark.parametrize("run", [coop.run, lambda given: coop.run(lambda: coop.spawn(given))])
def test_a_function_whose_call_runs_nothing_is_no_task(run: Callable[[Any], object], given: Any):
    with pytest.raises(TypeError, match="a plain function wanted, not one that is async or yields"):
        run(given)


@pytest.mark.parametrize(
    ("limit", "given", "says"),
    [
        ("wall_time", "10", "limit wall_time: a number wanted, not str"),
        ("memory", True, "limit memory: a number wanted, not bool"),
        ("handles", [1], "limit handles: a number wanted, not list"),
    ],
)
def test_a_limit_that_is_no_number_is_named(limit: str, given: Any, says: str):
    with pytest.raises(TypeError) as caught:
        coop.Limits(**{limit: given})
    assert str(caught.value) == says


def test_a_weight_that_is_no_number_is_named():
    weight: Any = "2"
    with pytest.raises(TypeError, match="weight of guest module: a number wanted, not str"):
        coop.Guest(coop.Module.from_bytes("(module)"), weight=weight)


def test_a_guest_does_not_wait_for_itself():
    @coop.host_function("h", "ask", params=["i32"], results=[])
    def ask(caller: coop.Caller, _: int) -> None:
        caller.guest.wait()

    with pytest.raises(coop.BugError, match="it cannot wait for itself"):
        coop.run(lambda: coop.Guest(coop.Module.from_bytes(ASKS), imports=[ask]).call("go"))


NETWORKS = [
    ({"connect": None}, TypeError, "network connect: a text or a list wanted, not NoneType"),
    ({"listen": 80}, TypeError, "network listen: a text or a list wanted, not int"),
    ({"connect": b"10.0.0.1:80"}, TypeError, "network connect: a text or a list wanted, not bytes"),
    ({"connect": [("10.0.0.1", 80)]}, TypeError, "network connect[0]: a text wanted, not tuple"),
    ({"names": ["a", None]}, TypeError, "network names[1]: a text wanted, not NoneType"),
    ({"connect": "[fe80::1%lo]:80"}, ValueError, "the name of an interface has no place here"),
    ({"connect": "10.0.0.1:" + "9" * 5000}, ValueError, "the port is a number from 0 to 65535"),
]
LIMITS = [
    ({"connections": 0}, ValueError, "connections: 0 is not above zero"),
    ({"connections": "5"}, TypeError, "connections: a whole number wanted, not str"),
    ({"head_bytes": 1.5}, TypeError, "head_bytes: a whole number wanted, not float"),
    ({"body_bytes": None}, TypeError, "body_bytes: a whole number wanted, not NoneType"),
    ({"head_seconds": -1}, ValueError, "head_seconds: -1 is not 0 or more"),
    ({"idle_seconds": "3"}, TypeError, "idle_seconds: a number wanted, not str"),
    ({"pause_seconds": float("nan")}, ValueError, "pause_seconds: nan is not 0 or more"),
]


@pytest.mark.parametrize(
    ("make", "given", "error", "words"),
    [*((coop.Network, *each) for each in NETWORKS), *((coop.HttpLimits, *each) for each in LIMITS)],
)
def test_an_option_that_does_not_fit_is_named_where_it_is_given(make, given, error, words):
    with pytest.raises(error, match=re.escape(words)):
        make(**given)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            partial(coop.listen, "127.0.0.1:0", backlog="5"),
            TypeError,
            "backlog: a whole number wanted",
        ),
        (partial(coop.listen, "127.0.0.1:0", backlog=-1), ValueError, "backlog: -1 is not 0 or more"),
        (partial(coop.connect, "127.0.0.1:1", timeout="5"), TypeError, "a number wanted, not str"),
        (partial(coop.sleep, []), TypeError, "a number wanted, not list"),
        (
            partial(coop.connect, ("\udcff", 1)),
            ValueError,
            r"address ('\udcff', 1): '\udcff' is no host's name",
        ),
        (partial(coop.connect, "unix:/\ud800"), ValueError, r"address 'unix:/\ud800': no file system has"),
        (partial(coop.Network, tcp="no"), TypeError, "network tcp: True or False wanted, not 'no'"),
        (partial(coop.Network, udp=1), TypeError, "network udp: True or False wanted, not 1"),
    ],
)
def test_an_argument_that_does_not_fit_is_named_where_it_is_given(call, error, words):
    with pytest.raises(error, match=re.escape(words)):
        coop.run(call)


def test_what_is_to_secure_connections_is_a_context_of_ssl():
    component = coop.Component.from_bytes("(component)")
    with pytest.raises(TypeError, match=r"tls: a ssl\.SSLContext wanted, not str"):
        coop.ComponentGuest(component, tls="x")
    with pytest.raises(TypeError, match=r"context: a ssl\.SSLContext wanted, not str"):
        coop.HttpServer(coop.HttpGuests(lambda: coop.ComponentGuest(component)), context="x")


def test_a_context_of_the_other_side_is_refused():
    component = coop.Component.from_bytes("(component)")
    with pytest.raises(ValueError, match="tls: a context for a client wanted"):
        coop.ComponentGuest(component, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    with pytest.raises(ValueError, match="context: a context for a server wanted"):
        coop.HttpServer(
            coop.HttpGuests(lambda: coop.ComponentGuest(component)), context=ssl.create_default_context()
        )


def test_a_backlog_may_have_any_length():
    def main() -> None:
        coop.listen("127.0.0.1:0", backlog=1 << 40).close()

    coop.run(main)


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"args": ["a", 1]}, "args[1]: a text wanted, not int"),
    ({"env": {"A": 1}}, "env: texts wanted, not 'A': 1"),
    ({"env": {1: "a"}}, "env: texts wanted, not 1: 'a'"),
    ({"env": ["A=1"]}, "env: a mapping wanted, not list"),
    ({"dirs": [".", ("/tmp", "/x")]}, "dirs[1]: a path, a coop.Dir or a coop.MemDir wanted, not tuple"),
    ({"limits": {"memory": 1}}, "limits: a coop.Limits wanted, not dict"),
    ({"name": 5}, "name: a text wanted, not int"),
]


@pytest.mark.parametrize(("options", "words"), OPTIONS)
def test_what_a_guest_cannot_be_given_is_named_where_it_is_made(options, words):
    module, component = coop.Module.from_bytes("(module)"), coop.Component.from_bytes("(component)")
    for make in (partial(coop.Guest, module), partial(coop.ComponentGuest, component)):
        with pytest.raises(TypeError, match=f"^{re.escape(words)}$"):
            make(**options)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: coop.Dir(5), "host of a Dir: a path wanted, not int"),
        (lambda: coop.Dir("/tmp", 5), "guest name of a Dir: a text wanted, not int"),
        (lambda: coop.Dir("/tmp", "/x", "rw"), "read_only of a Dir: True or False wanted, not 'rw'"),
        (lambda: coop.MemDir({}, 5), "guest name of a MemDir: a text wanted, not int"),
        (lambda: coop.MemDir(read_only=0), "read_only of a MemDir: True or False wanted, not 0"),
        (lambda: coop.MemDir(max_bytes="1"), "max_bytes: a whole number wanted, not str"),
        (lambda: coop.MemDir(max_entries=1.5), "max_entries: a whole number wanted, not float"),
    ],
)
def test_what_is_no_directory_to_give_is_named_where_it_is_made(make: Callable[[], Any], words: str):
    with pytest.raises(TypeError, match=f"^{re.escape(words)}$"):
        make()


def test_a_host_function_is_declared_with_its_module_and_lists_of_types():
    decorate: Any = coop.host_function
    with pytest.raises(TypeError, match="the name of the import's module comes first"):
        decorate(lambda caller: None)
    with pytest.raises(TypeError, match="params: a list wanted, not str"):
        decorate("h", params="i32")


BOTH = """(module (func (export "spin") (loop $l (br $l))) (func (export "trap") unreachable))"""


def test_of_many_guests_of_one_module_the_one_that_failed_is_named():
    def main() -> None:
        module = coop.Module.from_bytes(BOTH, name="plug-in.wasm")
        limits = coop.Limits(cpu_time=0.02)
        with pytest.raises(coop.LimitExceeded, match=r"guest number 3 computed for more than 0\.02 s"):
            coop.Guest(module, name="number 3", limits=limits).call("spin")
        with pytest.raises(coop.GuestTrap) as caught:
            coop.Guest(module, name="number 4").call("trap")
        assert caught.value.__notes__ == ["in guest number 4"]

    coop.run(main)
