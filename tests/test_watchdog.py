"""A test that hangs is named, and its stack shown, whatever holds it; one on a paused machine is not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.children import command

HANGS = {
    "in Python": "import time\n    while True: time.sleep(1)",
    "in C with the GIL": "import ctypes\n    ctypes.PyDLL(None).pause()",
}
RUN = """
    import faulthandler
    from tests.watchdog import Watchdog
    faulthandler.enable()
    dog = Watchdog()
    dog.tell("60 tests/test_fast.py::test_fast")
    dog.tell("")
    dog.tell("{limit} tests/test_slow.py::test_slow[a b]")
    {then}
"""


@pytest.mark.parametrize("how", HANGS)
def test_a_test_that_hangs_ends_the_run_with_its_name_and_its_stack(how: str):
    code = "def hangs():\n    " + HANGS[how] + RUN.format(limit=2, then="hangs()").replace("\n    ", "\n")
    done = subprocess.run(command(code), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGABRT
    said = "Timeout: tests/test_slow.py::test_slow[a b] has run for 2 s\n"
    before, stacks, after = done.stderr.split(said)
    assert before == "\n"
    assert "in hangs\n" in stacks
    (line,) = after.splitlines()
    assert sys.executable in line


def test_a_test_that_was_not_let_run_is_not_taken_for_one_that_hangs():
    code = RUN.format(limit=6, then="print(flush=True); time.sleep(7); dog.close(); print('ended')")
    with subprocess.Popen(
        command("import time\n" + code.replace("\n    ", "\n")),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "\n"
        time.sleep(1)
        os.killpg(run.pid, signal.SIGSTOP)
        time.sleep(8)
        os.killpg(run.pid, signal.SIGCONT)
        assert run.stdout.read() == "ended\n"
        assert run.wait() == 0
