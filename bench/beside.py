"""Runs a program of Python's in one process with a thread that computes all the time.

    python -m bench.beside examples/guest_per_client/host.py --port 0
    python -m bench.beside -m bench.peers gevent-echo

The thread begins a moment later: importing beside it takes seconds.
"""

import runpy
import sys
import threading
import time

BEGINS_S = 1.0


def _compute() -> None:
    time.sleep(BEGINS_S)
    count = 0
    while True:
        for _ in range(1000):
            count += 1


if __name__ == "__main__":
    threading.Thread(target=_compute, daemon=True).start()
    del sys.argv[0]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
