"""Fixtures of this room."""

from collections.abc import Iterator

import pytest

from tests.wasip1.places import KINDS, Place

READ_ONLY = [f"{kind}, read-only" for kind in KINDS]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path) -> Place:
    """The same directory, once for each file system."""
    return Place(request.param, tmp_path)


@pytest.fixture(params=READ_ONLY)
def read_only_place(request: pytest.FixtureRequest, tmp_path) -> Iterator[Place]:
    """The same directory, once for each file system, given to guests for reading; nothing in it changes."""
    yield from _unchanged(request.param, tmp_path)


@pytest.fixture(params=[*KINDS, *READ_ONLY])
def any_place(request: pytest.FixtureRequest, tmp_path) -> Iterator[Place]:
    """The same directory in every form there is, for tests that change nothing in it."""
    yield from _unchanged(request.param, tmp_path)


@pytest.fixture
def host_place(tmp_path) -> Place:
    """The directory on the host, for what only a host has."""
    return Place("host", tmp_path)


def _unchanged(form: str, tmp_path) -> Iterator[Place]:
    kind, _, how = form.partition(", ")
    place = Place(kind, tmp_path, read_only=bool(how))
    before = place.tree()
    yield place
    assert place.tree() == before
