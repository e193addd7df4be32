"""The tests' own children: one that leaves something behind, or hangs, holds nobody up."""

import time

import pytest

from tests.children import run_child

LEAVES = """
    import os, time
    if not os.fork():
        time.sleep(1000)
    print("ended", flush=True)
"""


def test_a_process_that_a_child_leaves_behind_is_killed_and_fails_the_test():
    begin = time.monotonic()
    with pytest.raises(pytest.fail.Exception) as failed:
        run_child(LEAVES, timeout=3)
    assert time.monotonic() - begin < 100
    assert str(failed.value).startswith("the child, or one that it has forked, did not end within 3 s")
    assert "ended" in str(failed.value)
