"""The guest that WASI 0.2 is tested from: a CPython that runs what it is sent; see `tests.components`."""

import ast
from collections.abc import Callable
from typing import Any

import pytest

import coop
from coop.engine.component import Component
from coop.wasip2 import Guest
from tests.components import script
from tests.guestbuild import ToolchainMissing
from tests.wasip2.places import Place


class Python:
    """A guest that runs Python; see tests/components/script.py for what its code finds."""

    def __init__(self, component: Component, **given: Any) -> None:
        self.guest = Guest(component, **given)

    def __call__(self, code: str) -> Any:
        """Run code in the guest and return what it left in `result`; a literal comes back as one."""
        text = self.guest.call("", "run", code)
        assert not text.startswith("!"), text
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError):
            return text


@pytest.fixture(scope="session")
def component() -> Component:
    try:
        found = Component.from_file(script())
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    # wasmtime opens the image of its memory for the first guest, and keeps it for the others.
    coop.run(lambda: Python(found)("pass"))
    return found


@pytest.fixture
def python(component: Component) -> Callable[..., Any]:
    """Run a function with a fresh guest, in a run of its own: python(lambda run: run("result = 1"))."""

    def play(act: Callable[[Python], Any], *, poller: str | None = None, **given: Any) -> Any:
        def main() -> Any:
            run = Python(component, **given)
            with run.guest:
                return act(run)

        return coop.run(main, poller=poller) if poller else coop.run(main)

    return play


@pytest.fixture(params=["host", "memory"])
def place(request, tmp_path, python) -> Place:
    """The directory of `tests.wasip2.places` in one file system after the other."""
    return Place(request.param, tmp_path, python)


@pytest.fixture
def host_place(tmp_path, python) -> Place:
    """The same on the host's disk alone."""
    return Place("host", tmp_path, python)
