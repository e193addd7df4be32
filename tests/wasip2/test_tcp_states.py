"""wasi:sockets/tcp from a guest: what each call answers in each state, and the end of a socket in each."""

import pytest

from coop.wasip2.sockets.tcp import State
from tests.wasip2.net import descriptors, player


@pytest.fixture
def play(python):
    return player(python)


_STATES = """
def in_state(name):
    if name == 'unbound':
        return new()
    if name == 'bind in progress':
        sock = new()
        sock.start_bind(net, address('127.0.0.1'))
        return sock
    if name == 'bound':
        return bound()
    if name == 'listen in progress':
        sock = bound()
        sock.start_listen()
        return sock
    if name == 'listening':
        return listening()
    if name == 'connect in progress':
        global listener
        listener = listening()
        sock = new()
        sock.start_connect(net, listener.local_address())
        return sock
    if name == 'connected':
        global ours, theirs
        ours, theirs = pair()
        return ours[0]
    sock = new()
    gone = listening()
    where = gone.local_address()
    drop(gone)
    sock.start_connect(net, where)
    sock.subscribe().block()
    error(sock.finish_connect)
    return sock
"""

_BUSY = {state: "concurrency-conflict" for state in State if "progress" in state.value}
_INVALID = dict.fromkeys(State, "invalid-state") | _BUSY

#: What is answered in each state in which the call does not do what it is for.
ANSWERS = {
    "start_bind, net, address('127.0.0.1')": {s: a for s, a in _INVALID.items() if s is not State.UNBOUND},
    "start_connect, net, address('127.0.0.1', 9)": {
        s: a for s, a in _INVALID.items() if s not in (State.UNBOUND, State.BOUND)
    },
    "start_listen": {s: a for s, a in _INVALID.items() if s is not State.BOUND},
    "finish_bind": dict.fromkeys(set(State) - {State.BINDING}, "not-in-progress"),
    "finish_connect": dict.fromkeys(set(State) - {State.CONNECTING}, "not-in-progress"),
    "finish_listen": dict.fromkeys(set(State) - {State.LISTEN_STARTED}, "not-in-progress"),
    "accept": dict.fromkeys(set(State) - {State.LISTENING}, "invalid-state")
    | {State.LISTENING: "would-block"},
    "local_address": dict.fromkeys((State.UNBOUND, State.BINDING, State.CLOSED), "invalid-state"),
    "remote_address": dict.fromkeys(set(State) - {State.CONNECTED}, "invalid-state"),
    "shutdown, tcp.ShutdownType.SEND": dict.fromkeys(set(State) - {State.CONNECTED}, "invalid-state"),
    "set_listen_backlog_size, 5": dict.fromkeys(
        (State.CONNECTING, State.CONNECTED, State.CLOSED), "invalid-state"
    ),
    "set_listen_backlog_size, 0": dict.fromkeys(State, "invalid-argument"),
}


@pytest.mark.parametrize("call", ANSWERS)
def test_a_call_that_the_state_does_not_allow_is_told_why(play, call):
    name, *rest = call.split(", ", 1)

    def act(run):
        run(_STATES)
        asked = ", ".join([f"sock.{name}", *rest])
        return {
            state: run(f"sock = in_state({state.value!r}); result = error({asked})")
            for state in ANSWERS[call]
        }

    assert play(act) == ANSWERS[call]


def test_only_a_listener_says_that_it_listens(play):
    def act(run):
        run(_STATES)
        return [s for s in State if run(f"sock = in_state({s.value!r}); result = sock.is_listening()")]

    assert play(act) == [State.LISTENING]


def test_a_guest_s_end_closes_its_sockets_in_every_state(play):
    def act(run):
        before = descriptors()
        run(_STATES)
        for state in State:
            run(f"kept_{state.name} = in_state({state.value!r})")
        run("kept, unused, other = pair(), udp_new(), udp_bound(); kept_streams = other.stream(None)")
        assert descriptors() > before + 8
        run.guest.close()
        assert descriptors() == before

    play(act)
