"""The process in which atheris plays the game of `guided`, which starts it; it ends as libFuzzer does.

Run as `python -m tests.fuzz.libfuzzer FOLDER SECONDS SEED MODULE`.  FOLDER holds `corpus`, the games to
begin with; `root`, where they are played; and `failed`, for the bytes of one that fails.  MODULE, if it is
not empty, is imported before the first game.  Only coop is watched: to watch all that is imported takes
minutes.
"""

import importlib
import sys
from pathlib import Path

import atheris

from tests.fuzz.guided import LONGEST, limit_files, play
from tests.fuzz.seeds import check_fds, open_fds


def main(folder: Path, seconds: float, first: int, plant: str) -> None:
    """Play until the time is over, or a game fails."""
    with atheris.instrument_imports(include=["coop"]):
        importlib.import_module("tests.fuzz.wasi_calls")
    limit_files()
    play(b"", folder / "root")
    if plant:
        importlib.import_module(plant)
    fds = open_fds()

    def one_game(data: bytes) -> None:
        play(data, folder / "root")
        if open_fds().keys() - fds.keys():
            check_fds(fds)

    options = [
        f"-max_total_time={max(int(seconds), 1)}",
        f"-seed={first + 1}",  # 0 means one of its own choice
        f"-max_len={LONGEST}",
        "-len_control=0",
        "-timeout=60",
        "-rss_limit_mb=2048",
        "-handle_xfsz=0",  # a write beyond the limit is told to the guest
        f"-artifact_prefix={folder / 'failed'}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], one_game)
    atheris.Fuzz()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
