"""The fuzzers, each for a few seconds from the same seed, or for FUZZ_SECONDS from a new one."""

import importlib.util
import os
import random
import sys

import pytest

from tests.children import run_child

SECONDS = float(os.environ.get("FUZZ_SECONDS", "6"))
FINDING_S = 40
"""The longest that a fuzzer looks for a bug that was planted; either finds it within seconds."""

pytestmark = pytest.mark.slow


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("fuzzer", ["wasi_calls", "api_calls", "guided"])
def test_nothing_at_random_ends_or_stops_the_process(fuzzer: str):
    seed = random.randrange(1 << 30) if "FUZZ_SECONDS" in os.environ else 0
    done = run_child(["-m", f"tests.fuzz.{fuzzer}", str(SECONDS), str(seed)], timeout=SECONDS + 50)
    sys.stdout.write(done.stdout.decode())  # which tool it was, and how often


@pytest.mark.timeout(FINDING_S + 60)
@pytest.mark.parametrize("tool", ["atheris", "hypothesis"])
def test_a_bug_that_was_planted_is_found(tool: str):
    if tool == "atheris" and importlib.util.find_spec("atheris") is None:
        pytest.skip("no atheris here: it has wheels for CPython 3.11 to 3.14 on x86-64 alone")
    options = [str(FINDING_S), "0", "--by", tool, "--plant", "tests.fuzz.planted"]
    done = run_child(["-m", "tests.fuzz.guided", *options], timeout=FINDING_S + 50, expect=1)
    assert b"this bug was planted" in done.stderr
