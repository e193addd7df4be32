"""The game of `wasi_calls`, played from bytes: for tools that look for bytes which make it go another way.

Run as `python -m tests.fuzz.guided SECONDS [SEED]`.  Where the package atheris is installed (it is no
part of any extra: there is no wheel of it for every Python), it watches which branches of coop the
bytes take, and keeps what took new ones; otherwise hypothesis makes the bytes, and makes those that fail
shorter.  Either says which bytes failed.
"""

import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tests.fuzz.seeds import check_fds, open_fds
from tests.fuzz.wasi_calls import one_run

BATCH = 50
"""How many examples hypothesis tries before the clock is looked at."""


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
    one_run(Bytes(data), root, guests=1)


def by_hypothesis(play_one: Callable[[bytes], None], seconds: float, first: int) -> int:
    """Try batch after batch until the time is over; returns how many."""
    end, tried = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        checked = given(st.binary(min_size=200, max_size=2000))(play_one)
        checked = settings(
            max_examples=BATCH,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )(checked)
        seeded(first + tried)(checked)()
        tried += BATCH
    return tried


def main(seconds: float, first: int) -> None:
    """Play until the time is over."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with tempfile.TemporaryDirectory() as folder:
        play(b"", Path(folder))
        fds = open_fds()
        try:
            import atheris
        except ImportError:
            tried = by_hypothesis(lambda data: play(data, Path(folder)), seconds, first)
            check_fds(fds)
            sys.stdout.write(f"{tried} runs\n")
            return
        limits = [f"-max_total_time={int(seconds)}", f"-seed={first + 1}", "-max_len=2000", "-timeout=60"]
        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *limits], lambda data: play(data, Path(folder)))
        atheris.Fuzz()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
