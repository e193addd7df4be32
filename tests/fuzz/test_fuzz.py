"""The fuzzers, each for a few seconds from the same seed, or for FUZZ_SECONDS from a new one."""

import os
import random

import pytest

from tests.children import run_child

SECONDS = float(os.environ.get("FUZZ_SECONDS", "6"))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("fuzzer", ["wasi_calls", "api_calls", "guided"])
def test_nothing_at_random_ends_or_stops_the_process(fuzzer: str):
    seed = random.randrange(1 << 30) if "FUZZ_SECONDS" in os.environ else 0
    run_child(["-m", f"tests.fuzz.{fuzzer}", str(SECONDS), str(seed)], timeout=SECONDS + 50)
