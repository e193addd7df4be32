"""Fixtures of this room."""

import pytest

from tests.wasip1.places import KINDS, Place


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path) -> Place:
    """The same directory, once for each file system."""
    return Place(request.param, tmp_path)


@pytest.fixture
def host_place(tmp_path) -> Place:
    """The directory on the host, for what only a host has."""
    return Place("host", tmp_path)
