"""The fuzzers, each for a few seconds from the same seed, or for FUZZ_SECONDS from a new one.

The one of the HTTP server has a minute: most of its requests say something that others do not.
"""

import importlib.util
import os
import random
import sys

import pytest

from tests.children import run_child
from tests.components import service
from tests.fuzz import native_calls
from tests.guestbuild import ToolchainMissing, native_wasmtime

SECONDS = float(os.environ.get("FUZZ_SECONDS", "6"))
HTTP_SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
FINDING_S = 40
"""The longest that a fuzzer looks for a bug that was planted; either finds it within seconds."""

pytestmark = pytest.mark.slow


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("fuzzer", ["wasi_calls", "poll_calls", "api_calls", "deadlines", "guided"])
def test_nothing_at_random_ends_or_stops_the_process(fuzzer: str):
    play(fuzzer, SECONDS)


@pytest.mark.timeout(HTTP_SECONDS + 120)  # it may have a guest to build
def test_no_request_at_random_reaches_a_guest_or_stops_the_server():
    try:
        service("service.py")
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    play("http_requests", HTTP_SECONDS)


@pytest.mark.timeout(SECONDS + 60)
def test_calls_at_random_are_answered_as_native_wasmtime_answers_them():
    try:
        native_wasmtime()
        native_calls.program()
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    play("native_calls", SECONDS)


def play(fuzzer: str, seconds: float) -> None:
    seed = random.randrange(1 << 30) if "FUZZ_SECONDS" in os.environ else 0
    done = run_child(["-m", f"tests.fuzz.{fuzzer}", str(seconds), str(seed)], timeout=seconds + 50)
    sys.stdout.write(done.stdout.decode())  # which tool it was, and how often


@pytest.mark.timeout(FINDING_S + 60)
@pytest.mark.parametrize("tool", ["atheris", "hypothesis"])
def test_a_bug_that_was_planted_is_found(tool: str):
    if tool == "atheris" and importlib.util.find_spec("atheris") is None:
        pytest.skip("no atheris here: it has wheels for CPython 3.11 to 3.14 on x86-64 alone")
    options = [str(FINDING_S), "0", "--by", tool, "--plant", "tests.fuzz.planted"]
    done = run_child(["-m", "tests.fuzz.guided", *options], timeout=FINDING_S + 50, expect=1)
    assert b"this bug was planted" in done.stderr


@pytest.mark.timeout(FINDING_S + 120)
def test_a_bug_that_was_planted_in_the_http_server_is_found():
    try:
        service("service.py")
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    options = [str(FINDING_S), "0", "--plant", "tests.fuzz.planted_http"]
    done = run_child(["-m", "tests.fuzz.http_requests", *options], timeout=FINDING_S + 50, expect=1)
    assert b"Finding" in done.stderr
