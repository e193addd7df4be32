"""wasi:sockets/ip-name-lookup from a guest: with the machine's resolver, and with one that does as told."""

import socket
import threading
import tracemalloc
from functools import partial

import pytest

import coop
from coop.errors import WasCancelled
from coop.net.resolve import resolve
from coop.netpoll import POLLERS
from coop.wasip2.sockets.network import Network
from coop.wasip2.sockets.policy import ascii_name, is_address
from tests.wasip2.net import player


@pytest.fixture
def play(python):
    return player(python)


class Resolver:
    """Answers names in place of the C library's resolver, when it is let.

    answers -- by name: addresses, or the number of an error
    asked   -- the names that came to it, in order
    most    -- how many it was asked for at the same time
    """

    def __init__(self, monkeypatch):
        self.answers = {}
        self.asked = []
        self.most = self._now = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._lock = threading.Lock()
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host, port, *args, flags=0, **rest):
        if flags & socket.AI_NUMERICHOST:
            return self._real(host, port, *args, flags=flags, **rest)
        with self._lock:
            self.asked.append(host)
            self._now += 1
            self.most = max(self.most, self._now)
        self.may_answer.wait()
        with self._lock:
            self._now -= 1
        answer = self.answers.get(host, ["192.0.2.1"])
        if isinstance(answer, int):
            raise socket.gaierror(answer, "as told")
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, port)) for each in answer
        ]


@pytest.fixture
def resolver(monkeypatch):
    made = Resolver(monkeypatch)
    yield made
    made.may_answer.set()


@pytest.mark.parametrize("poller", POLLERS)
def test_a_name_of_this_machine_is_found(play, poller):
    expected = {info[4][0] for info in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    assert set(play(lambda run: run("result = look_up('localhost')"), poller=poller)) == expected


@pytest.mark.parametrize("poller", POLLERS)
def test_everything_goes_on_while_a_name_is_looked_up(play, resolver, poller):
    resolver.may_answer.clear()

    def act(run):
        ticks = []

        def tick():
            for _ in range(10):
                ticks.append(1)
                coop.sleep(0.001)
            resolver.may_answer.set()

        found = run("""
stream = ip_name_lookup.resolve_addresses(net, 'slow.example')
answered = stream.subscribe()
result = [error(stream.resolve_next_address), answered.ready()]
""")
        coop.spawn(tick)
        found += run("""
answered.block()
result = [answered.ready(), text(stream.resolve_next_address().value), stream.resolve_next_address()]
""")
        assert len(ticks) == 10
        return found

    assert play(act, poller=poller) == ["would-block", False, True, "192.0.2.1", None]


def test_addresses_come_once_in_order_and_in_their_own_family(play, resolver):
    resolver.answers["many.example"] = [
        "2001:db8::1",
        "192.0.2.1",
        "::ffff:192.0.2.2",
        "192.0.2.1",
        "fe80::1%lo",
    ]
    found = play(lambda run: run("result = look_up('many.example')"))
    assert found == ["2001:db8::1", "192.0.2.1", "192.0.2.2", "fe80::1"]


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (socket.EAI_NONAME, "name-unresolvable"),
        (socket.EAI_NODATA, "name-unresolvable"),
        (socket.EAI_AGAIN, "temporary-resolver-failure"),
        (socket.EAI_FAIL, "permanent-resolver-failure"),
        (socket.EAI_MEMORY, "out-of-memory"),
        (socket.EAI_BADFLAGS, "unknown"),
    ],
)
def test_a_name_that_is_not_found_is_told_why_each_time(play, resolver, number, name):
    resolver.answers["lost.example"] = number
    found = play(
        lambda run: run("""
stream = ip_name_lookup.resolve_addresses(net, 'lost.example')
stream.subscribe().block()
result = error(stream.resolve_next_address), error(stream.resolve_next_address)
""")
    )
    assert found == (name, name)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_an_address_stands_for_itself_and_nobody_is_asked(play, resolver, text, address):
    found = play(lambda run: run(f"result = look_up({text!r})"), network=Network(connect="*:*"))
    assert found == [address]
    assert resolver.asked == []


@pytest.mark.parametrize(
    "name", ["", ".", "a b", "a..b", "-a", "x" * 64, "a/b", "[::1]", "fe80::1%1", "a:1", "a\0", "a." * 128]
)
def test_what_is_no_name_is_told_so_and_nobody_is_asked(play, resolver, name):
    assert play(lambda run: run(f"result = error(look_up, {name!r})")) == "invalid-argument"
    assert resolver.asked == []


def test_a_name_is_asked_for_in_ascii(play, resolver):
    play(lambda run: run("look_up('B\u00fccher.Example.')"))
    assert resolver.asked == ["xn--bcher-kva.example"]


def test_names_that_are_not_allowed_are_denied_and_nobody_is_asked(play, resolver):
    def act(run):
        return run(
            "result = look_up('a.b.example'), error(look_up, 'b.example'), error(look_up, 'localhost')"
        )

    found = play(act, network=Network(connect="*:*", names="*.b.example"))
    assert found == (["192.0.2.1"], "access-denied", "access-denied")
    assert resolver.asked == ["a.b.example"]


def test_a_name_that_is_found_is_no_right_to_connect_to_it(play):
    def act(run):
        return run("""
found = [each for each in look_up('localhost') if ':' not in each]
result = error(new().start_connect, net, address(found[0], 9))
""")

    assert play(act, network=Network(connect="192.0.2.1:9", names="localhost")) == "access-denied"


def test_a_guest_has_few_helper_threads_and_further_names_wait_for_their_turn(play, resolver):
    resolver.may_answer.clear()

    def act(run):
        def let():
            while resolver.most < 8:
                coop.sleep(0.001)
            coop.sleep(0.01)
            assert len(resolver.asked) == 8
            resolver.may_answer.set()

        letting = coop.spawn(let)
        found = run("""
asked = [ip_name_lookup.resolve_addresses(net, f'n{i}.example') for i in range(30)]
result = 0
for stream in asked:
    stream.subscribe().block()
    result += stream.resolve_next_address() is not None
""")
        letting.wait()
        return found

    assert play(act) == 30
    assert resolver.most == 8
    assert sorted(resolver.asked) == sorted(f"n{i}.example" for i in range(30))


def test_all_guests_together_have_a_bound_and_the_host_waits_for_none_of_them(play, resolver):
    resolver.may_answer.clear()

    def act(run):
        others = [coop.spawn(partial(resolve, whom=i // 8), f"n{i}.example", 0) for i in range(64)]

        def let():
            while len(resolver.asked) < 64:
                coop.sleep(0.001)
            coop.sleep(0.02)
            assert len(resolver.asked) == 64
            own = coop.spawn(resolve, "host.example", 0)
            while "host.example" not in resolver.asked:
                coop.sleep(0.001)
            assert "guest.example" not in resolver.asked
            resolver.may_answer.set()
            own.wait()

        letting = coop.spawn(let)
        found = run("result = look_up('guest.example')")
        for task in (letting, *others):
            task.wait()
        return found

    assert play(act) == ["192.0.2.1"]
    assert resolver.most == 65


def test_a_guest_that_asks_for_too_much_is_to_try_again_later(play, resolver):
    resolver.may_answer.clear()

    def act(run):
        found = run("""
for count in range(1000):
    try:
        drop(ip_name_lookup.resolve_addresses(net, 'some.example'))  # it counts all the same
    except Err as caught:
        result = caught.value.name, count
        break
""")
        resolver.may_answer.set()
        run("look_up('127.0.0.1')")
        return found

    name, count = play(act)
    assert name == "TEMPORARY_RESOLVER_FAILURE"
    assert 256 <= count <= 256 + 8  # some may be looked up already


@pytest.mark.parametrize("poller", POLLERS)
def test_a_guest_that_waits_for_a_name_can_be_cancelled(play, resolver, poller):
    resolver.may_answer.clear()

    def act(run):
        call = coop.spawn(run, "look_up('slow.example')")
        while not resolver.asked:
            coop.sleep(0.001)
        run.guest.cancel()
        with pytest.raises(WasCancelled):
            call.wait()
        resolver.may_answer.set()
        # Another thread, the watcher's, is there as well if the guest has used up a slice.
        while any(thread.name == "coop helper" for thread in threading.enumerate()):
            coop.sleep(0.001)

    play(act, poller=poller)


def test_the_resolver_of_python_s_own_library_works_in_a_guest(play, resolver):
    resolver.answers["www.example"] = ["192.0.2.7"]
    resolver.answers["none.example"] = socket.EAI_NONAME
    found = play(
        lambda run: run("""
import socket
result = [info[4] for info in socket.getaddrinfo('www.example', 80, type=socket.SOCK_STREAM)]
try:
    socket.getaddrinfo('none.example', 80)
except socket.gaierror as caught:
    result.append(type(caught).__name__)
""")
    )
    assert found == [("192.0.2.7", 80), "gaierror"]


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "255.255.255.255",
        "::",
        "1111:2222:3333:4444:5555:6666:7777:8888",
        "1111:2222:3333:4444:5555:6666:123.123.123.123",
    ],
)
def test_addresses_of_every_length_are_told_from_names(text: str):
    assert is_address(text)
    assert not is_address(text + "%lo")
    assert not is_address("g" + text)


@pytest.mark.parametrize("text", [".", ":", "1."])
def test_a_text_of_any_length_is_refused_without_being_taken_apart(text: str):
    text *= 1_000_000
    tracemalloc.start()
    try:
        assert not is_address(text)
        with pytest.raises(ValueError, match="is no host's name"):
            ascii_name(text)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 100_000
