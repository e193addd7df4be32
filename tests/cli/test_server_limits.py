"""Which components are servers, and so are not ended after an hour."""

import contextlib
from dataclasses import replace

import pytest

import coop
from coop.cli import command, componentrun, serve
from coop.engine.component import Component
from coop.wasip2 import Guest, Network

ONCE, FOR_EVER = coop.Limits(), coop.Limits.for_server()
COMMAND, HANDLER = "wasi:cli/run@0.2.0", "wasi:http/incoming-handler@0.2.0"
LISTENS = ["--allow-listen", "127.0.0.1:0"]


class Seen(Exception):
    """What was looked for has been seen; nothing needs to run."""


@pytest.fixture
def component(tmp_path) -> str:
    """A component that exports what is looked for, empty."""
    path = tmp_path / "guest.wat"
    exports = " ".join(f'(export "{name}" (instance $i))' for name in (COMMAND, HANDLER))
    path.write_text(f"(component (instance $i) {exports})")
    return str(path)


@pytest.fixture
def limits_of(monkeypatch, component):
    """The limits of the guest that a command line makes."""
    found: list[coop.Limits] = []

    def see(*_args, limits: coop.Limits, **_given):
        found.append(limits)
        raise Seen

    def instances(make, **_given):
        make()

    monkeypatch.setattr(Component, "require", lambda *_: None)  # what is exported here has no functions
    monkeypatch.setattr(componentrun, "Guest", see)
    monkeypatch.setattr(serve, "Guest", see)
    monkeypatch.setattr(serve, "Instances", instances)

    def play(name: str, *args: str) -> coop.Limits:
        with contextlib.suppress(Seen):
            command._status([name, *args, component])
        return found.pop()

    return play


@pytest.mark.parametrize(
    ("args", "limits"),
    [
        ([], ONCE),
        (["--allow-connect", "*:*"], ONCE),
        (LISTENS, FOR_EVER),
        (["-S", "inherit-network"], FOR_EVER),
        ([*LISTENS, "-W", "timeout=2s"], replace(FOR_EVER, wall_time=2.0)),
    ],
)
def test_a_command_that_may_listen_is_a_server(limits_of, args: list[str], limits: coop.Limits):
    assert limits_of("run", *args) == limits


@pytest.mark.parametrize(
    ("args", "limits"),
    [
        ([], ONCE),
        (["--reuse", "1"], ONCE),
        (["--reuse", "2"], FOR_EVER),
        (LISTENS, FOR_EVER),
        (["--reuse", "2", "-W", "timeout=2s"], replace(FOR_EVER, wall_time=2.0)),
    ],
)
def test_a_guest_that_answers_again_is_a_server(limits_of, args: list[str], limits: coop.Limits):
    assert limits_of("serve", *args) == limits


@pytest.mark.parametrize(
    ("network", "limits"),
    [
        (None, ONCE),
        (Network(connect="*:*"), ONCE),
        (Network(listen="127.0.0.1:0"), FOR_EVER),
        (Network.all(), FOR_EVER),
    ],
)
def test_a_guest_that_may_listen_is_a_server_unless_limits_are_given(component, network, limits):
    found = Component.from_file(component)
    assert Guest(found, network=network).limits == limits
    assert Guest(found, network=network, limits=ONCE).limits == ONCE
