"""The game of `wasi_calls`, played from bytes: for tools that look for bytes which make it go another way.

Run as `python -m tests.fuzz.guided SECONDS [SEED] [--by TOOL] [--plant MODULE]`.  atheris, where its wheel
is installed, watches which branches of coop the bytes take, and keeps what took new ones; it ends its
process as libFuzzer does, so it has one of its own (`tests.fuzz.libfuzzer`).  Elsewhere hypothesis
makes the bytes, and makes those that fail shorter.  Either says which bytes failed.
"""

import argparse
import importlib
import importlib.util
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tests.children import ROOT, command
from tests.fuzz.seeds import check_fds, open_fds

BATCH = 50
"""How many examples hypothesis tries before the clock is looked at."""

SHORTEST, LONGEST = 500, 2000
"""Bytes of one game; a call takes about twenty."""

FIRST = 20
"""How many games atheris is given to begin with; from nothing it would take long to come to long ones."""


class Bytes(random.Random):
    """Chance that is no chance: each choice is made by the next bytes, and by zeroes after the last."""

    def __new__(cls, data: bytes) -> "Bytes":
        return super().__new__(cls)

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data, self._at = data, 0

    def _take(self, count: int) -> int:
        part = self._data[self._at : self._at + count]
        self._at += count
        return int.from_bytes(part, "little")

    def random(self) -> float:
        """A number from 0 to below 1, from one byte."""
        return self._take(1) / 256

    def getrandbits(self, k: int) -> int:
        """A number of so many bits; what `choice` and `randrange` are made of, which end by zeroes."""
        return self._take((k + 7) // 8) & ((1 << k) - 1)


def play(data: bytes, root: Path) -> None:
    """One guest's life as the bytes say."""
    from tests.fuzz.wasi_calls import one_run  # with coop, which atheris must see when it is imported

    one_run(Bytes(data), root, guests=1)


def limit_files() -> None:
    """Let no file grow far: the disk of whoever runs this is not to be filled."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def by_atheris(seconds: float, first: int, plant: str) -> str:
    """Let libFuzzer play until the time is over; return its last words.  Ends the process if it failed."""
    chance = random.Random(first)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("corpus", "root", "failed"):
            (Path(folder) / name).mkdir()
        for number in range(FIRST):
            data = chance.randbytes(chance.randint(SHORTEST, LONGEST))
            (Path(folder) / "corpus" / str(number)).write_bytes(data)
        game = command(["-m", "tests.fuzz.libfuzzer", folder, str(seconds), str(first), plant])
        done = subprocess.run(game, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        said = done.stdout.decode(errors="replace")
        failed = [f"{path.name}: {path.read_bytes().hex()}" for path in (Path(folder) / "failed").iterdir()]
    if done.returncode or failed:
        sys.exit("\n".join([said, f"libFuzzer ended with {done.returncode}", *failed]))
    return said.splitlines()[-1]


def by_hypothesis(seconds: float, first: int, plant: str) -> str:
    """Try batch after batch until the time is over; return how many were tried."""
    with tempfile.TemporaryDirectory() as folder:
        play(b"", Path(folder))
        if plant:
            importlib.import_module(plant)
        fds = open_fds()
        # To make a bug shorter takes half a minute, and of one that was planted nobody wants to know.
        phases = [Phase.generate] if plant else [Phase.generate, Phase.shrink]
        tried = in_batches(lambda data: play(data, Path(folder)), seconds, first, phases)
        check_fds(fds)
    return f"Done {tried} runs"


def in_batches(
    play_one: Callable[[bytes], None], seconds: float, first: int, phases: Collection[Phase]
) -> int:
    """Give hypothesis' bytes to `play_one`, and return how many times."""
    end, tried = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        checked = given(st.binary(min_size=SHORTEST, max_size=LONGEST))(play_one)
        checked = settings(
            max_examples=BATCH,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        )(checked)
        seeded(first + tried)(checked)()
        tried += BATCH
    return tried


TOOLS = {"atheris": by_atheris, "hypothesis": by_hypothesis}


def main() -> None:
    """Play until the time is over."""
    here = importlib.util.find_spec("atheris") is not None
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--by", choices=TOOLS, default="atheris" if here else "hypothesis")
    parser.add_argument("--plant", default="", help="a module that is imported first, and brings a bug")
    given_here = parser.parse_args()
    limit_files()
    why = "" if here else ", since there is no atheris for this Python"
    sys.stdout.write(f"by {given_here.by}{why}\n")
    sys.stdout.write(f"{TOOLS[given_here.by](given_here.seconds, given_here.seed, given_here.plant)}\n")


if __name__ == "__main__":
    main()
