"""The list of what a guest has open: nothing that was closed stays in it for long."""

import errno
import gc
import os

import pytest

import coop
from coop.fs.memfile import MemFile
from coop.wasip2.filesystem.openfiles import OpenFiles


@pytest.fixture
def opened():
    """A function that opens a file anew each time."""
    root = coop.MemDir({"f": b""}).open(None)
    yield lambda: root.open(b"f", os.O_RDONLY, follow=True)
    root.release()


def test_what_is_closed_is_forgotten(opened):
    files = OpenFiles(None)
    for _ in range(1000):
        file = opened()
        files.add(file)
        file.release()
    assert sum(isinstance(each, MemFile) for each in gc.get_objects()) < 200
    assert len(files) == 0


def test_the_last_free_place_may_be_taken_and_no_more(opened):
    files = OpenFiles(100)
    for _ in range(100):
        files.check_room()
        files.add(opened())
    with pytest.raises(OSError, match="100 are open") as caught:
        files.check_room()
    assert caught.value.errno == errno.EMFILE
    files.close()
    files.check_room()


def test_a_file_of_several_names_is_closed_with_the_list(opened):
    files, file = OpenFiles(None), opened()
    files.add(file.retain())
    files.close()
    assert file.refs == 0
    assert len(files) == 0
