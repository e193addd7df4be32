"""wasi:sockets beside native wasmtime, fact by fact: what each call answers in each state, and to each value.

Where coop departs from native wasmtime, `DIFFERENT` has the reason.
"""

import subprocess
from collections import Counter
from functools import cache
from typing import NamedTuple

import pytest

import coop
from coop.engine.component import Component
from coop.netpoll import POLLERS
from coop.wasip2 import Guest
from coop.wasip2.sockets.network import Network
from tests.components import command
from tests.guestbuild import ToolchainMissing
from tests.native import native

pytestmark = pytest.mark.slow

GROUPS = ("asked", "finished", "started", "addresses", "options", "streams_end", "datagrams", "names")

#: What lets native wasmtime run a guest that imports all of WASI 0.2.
ALL_OF_WASI = ("-S", "cli-exit-with-code", "-S", "network-error-code")
ALL_OF_NETWORK = ("-S", "inherit-network", "-S", "allow-ip-name-lookup")


class Different(NamedTuple):
    """Where coop departs from native wasmtime: facts of one, facts of the other, and why."""

    native: tuple[str, ...]
    coop: tuple[str, ...]
    why: str


DIFFERENT: dict[str, Different] = {
    "asked": Different(
        (
            "local-address, binding: concurrency-conflict",
            "hop-limit, binding: invalid-state",
            "keep-alive-enabled, binding: invalid-state",
            "set-listen-backlog-size, binding: invalid-state",
            "local-address, starting to listen: invalid-state",
            "hop-limit, starting to listen: invalid-state",
            "keep-alive-enabled, starting to listen: invalid-state",
            "set-listen-backlog-size, starting to listen: invalid-state",
            "local-address, connecting: invalid-state",
            "remote-address, connecting: concurrency-conflict",
            "hop-limit, connecting: invalid-state",
            "keep-alive-enabled, connecting: invalid-state",
        ),
        (
            "local-address, binding: invalid-state",
            "hop-limit, binding: 64",
            "keep-alive-enabled, binding: False",
            "set-listen-backlog-size, binding: ok",
            "local-address, starting to listen: IpSocketAddress_Ipv4",
            "hop-limit, starting to listen: 64",
            "keep-alive-enabled, starting to listen: False",
            "set-listen-backlog-size, starting to listen: ok",
            "local-address, connecting: IpSocketAddress_Ipv4",
            "remote-address, connecting: invalid-state",
            "hop-limit, connecting: 64",
            "keep-alive-enabled, connecting: False",
        ),
        "WIT's text refuses these in the closed state alone, and calls a socket bound from `bound` on",
    ),
    "started": Different(
        (
            "start-bind, starting to listen: invalid-state",
            "start-bind, connecting: invalid-state",
            "start-connect, binding: invalid-state",
            "start-connect, starting to listen: invalid-state",
            "start-listen, binding: invalid-state",
            "start-listen, connecting: invalid-state",
        ),
        (
            "start-bind, starting to listen: concurrency-conflict",
            "start-bind, connecting: concurrency-conflict",
            "start-connect, binding: concurrency-conflict",
            "start-connect, starting to listen: concurrency-conflict",
            "start-listen, binding: concurrency-conflict",
            "start-listen, connecting: concurrency-conflict",
        ),
        "native wasmtime says so only if the same operation is in progress; WIT's text says any other",
    ),
    "streams_end": Different(
        ("ready after shutdown send: True", "read after a reset: streamerror-lastoperationfailed"),
        ("ready after shutdown send: False", "read after a reset: streamerror-closed"),
        "there is nothing to read, and native wasmtime remembers that there was; and the peer, which is "
        "coop's as well, ends its connection before it closes it over bytes that it has not read",
    ),
    "datagrams": Different(
        ("udp local-address, binding: concurrency-conflict", "the port is what it was: False"),
        ("udp local-address, binding: invalid-state", "the port is what it was: True"),
        "WIT's text knows one error of it; and Linux gives up a port that it chose itself with the peer",
    ),
    "names": Different(
        (
            "resolve 'a..b': name-unresolvable",
            "resolve '-': name-unresolvable",
            "resolve '[::1]': 1",
            f"resolve '{'x' * 20}': name-unresolvable",
            f"resolve '{chr(92)}xfc{(chr(92) + 'xfc') * 19}': name-unresolvable",
        ),
        (
            "resolve 'a..b': invalid-argument",
            "resolve '-': invalid-argument",
            "resolve '[::1]': invalid-argument",
            f"resolve '{'x' * 20}': invalid-argument",
            f"resolve '{chr(92)}xfc{(chr(92) + 'xfc') * 19}': invalid-argument",
        ),
        "these are no names of hosts, so nobody is asked; brackets belong to a port",
    ),
    "denied": Different(
        (
            "bind tcp to any: access-denied",
            "bind udp to any: access-denied",
            "bind udp to another family: invalid-argument",
            "resolve localhost: permanent-resolver-failure",
        ),
        (
            "bind tcp to any: ok",
            "bind udp to any: ok",
            "bind udp to another family: access-denied",
            "resolve localhost: access-denied",
        ),
        "who may connect at all may bind as clients do; the right is looked at first, with UDP too; and a "
        "name that may not be looked up is no failure of the resolver",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def program() -> Component:
    """Built and loaded, and its image opened, before the first test looks for leaks."""
    try:
        found = Component.from_file(command("sockets_facts.py"))
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    coop.run(Guest(found).run)
    return found


def facts_here(program: Component, group: str, poller: str, network: Network) -> list[str]:
    out = bytearray()
    assert coop.run(Guest(program, args=[group], network=network, stdout=out).run, poller=poller) == 0
    return out.decode().splitlines()


@cache
def facts_there(group: str, options: tuple[str, ...]) -> list[str]:
    try:
        run = native("run")
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    whole = [*run, *ALL_OF_WASI, *options, command("sockets_facts.py"), group]
    done = subprocess.run(whole, capture_output=True, text=True, check=True, timeout=200)
    return done.stdout.splitlines()


def only_in(one: list[str], other: list[str]) -> list[str]:
    """What the first has more often than the second, in order of the alphabet."""
    return sorted((Counter(one) - Counter(other)).elements())


def compare(group: str, here: list[str], there: list[str]) -> None:
    assert here
    expected = DIFFERENT.get(group, Different((), (), ""))
    assert only_in(there, here) == sorted(expected.native)
    assert only_in(here, there) == sorted(expected.coop)


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize("group", GROUPS)
def test_every_fact_is_as_on_native_wasmtime_or_has_its_reason(program, group, poller):
    compare(group, facts_here(program, group, poller, Network.all()), facts_there(group, ALL_OF_NETWORK))


def test_a_guest_without_a_right_is_told_so_as_on_native_wasmtime(program):
    elsewhere = Network(connect="192.0.2.1:1")
    compare("denied", facts_here(program, "denied", "hostpoll", elsewhere), facts_there("denied", ()))


def test_reasons_are_given_for_groups_that_exist():
    assert DIFFERENT.keys() <= {*GROUPS, "denied"}
