"""What the check of the project says it did: which interpreters ran, and whether all of it passed.

`make` is a stub here that notes its arguments, since the real one would run these tests again.
"""

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.children import ROOT

CI = ROOT / ".ci" / "run"
APART = ("tests/cli", "tests/conformance", "tests/examples/test_javascript.py")
"""Of the default interpreter's tests, those that run in the lane beside."""
MAKE = """#!/bin/sh
echo "$@" >>"$NOTES"
[ -z "$SLEEPS" ] || [ "$2" = venv ] || { echo "$$" >>"$SLEEPS"; exec sleep 100; }
ls -A "$COOP_GUEST_CACHE" | grep -q . && echo "the cache of guests is not empty" >>"$NOTES"
case " $* " in *" $FAILS "*)
    echo '  File "/coop/tests/test_fast.py", line 7 in test_fast'
    echo '  File "/coop/.venv/lib/python3.11/site-packages/_pytest/runner.py", line 139 in runtestprotocol'
    echo 'FAILED tests/test_slow.py::test_slow - AssertionError'
    exit 2 ;;
esac
"""


OTHERS = {"python3.13": "3.13.99", "python3.14": "3.14.0", "python3.15": "3.15.99", "python3.12": "3.12.0rc1"}
"""Interpreters in the path.  Of these, 3.14.0 is one that coop refuses, and candidates are no releases."""

PATIENCE_S = 100
"""How long something may take on a machine with much else to do, before it counts as never."""


def check(folder: Path, fails: str = "nothing") -> tuple[int, str, list[str]]:
    """Run the check in a copy; return its status, what it said, and how it called make."""
    run, env = prepared(folder, fails)
    done = subprocess.run([run], env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, done.stdout, Path(env["NOTES"]).read_text().splitlines()


def prepared(folder: Path, fails: str = "nothing") -> tuple[Path, dict[str, str]]:
    """Make a copy; return its path, and what it is to be run with."""
    (folder / ".ci").mkdir()
    shutil.copy(CI, folder / ".ci" / "run")
    tools = folder / "bin"
    tools.mkdir()
    (tools / "make").write_text(MAKE)
    (tools / "make").chmod(0o755)
    # What the script calls, and none of this machine's own interpreters.
    system = folder / "system"
    system.mkdir()
    for path in (*Path("/usr/bin").iterdir(), *Path("/bin").iterdir()):
        if not path.name.startswith("python") and not (system / path.name).is_symlink():
            (system / path.name).symlink_to(path)
    # Other versions, found on the path as they would be on a machine that has them.
    for name, version in OTHERS.items():
        (tools / name).write_text(f"#!/bin/sh\nprintf '{version}\\t/opt/{name}\\n'\n")
        (tools / name).chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{tools}:{system}",
        "PYTHON": sys.executable,
        "HOME": str(folder),
        "NOTES": str(folder / "notes"),
        "FAILS": fails,
    }
    env.pop("PYENV_ROOT", None)
    return folder / ".ci" / "run", env


def test_tests_and_lint_run_and_the_tests_again_on_every_other_interpreter(tmp_path):
    status, said, calls = check(tmp_path)
    assert status == 0, said
    assert f"ran on CPython {platform.python_version()}, " in said
    assert ", 3.13.99, 3.15.99 in " in said
    targets = [call.split()[1] for call in calls]
    assert targets[0] == "venv"
    assert targets.count("lint") == 1
    assert set(targets[1:]) == {"test", "lint"}
    (most,) = [call for call in calls if call.endswith("".join(f" --ignore={path}" for path in APART))]
    (rest,) = [call for call in calls if call.endswith(" " + " ".join(APART))]
    assert f"PYTHON={sys.executable}" in most
    assert f"PYTHON={sys.executable}" in rest
    newest = [call for call in calls if " test PYTHON=/opt/python3.15 VENV=.venv-ci/3.15.99 " in call]
    between = [call for call in calls if " test PYTHON=/opt/python3.13 VENV=.venv-ci/3.13.99 " in call]
    assert len(newest) == len(between) == 1
    assert "tests/netpoll" in newest[0]
    assert "tests/netpoll" not in between[0]


@pytest.mark.parametrize("fails", ["lint", "VENV=.venv-ci/3.13.99"])
def test_one_failure_fails_the_whole_and_is_named(tmp_path, fails):
    status, said, _ = check(tmp_path, fails)
    assert status == 1
    assert "FAILED (2)" in said
    end = said[said.index("=== failed: ") :].splitlines()
    assert end[1] == "FAILED tests/test_slow.py::test_slow - AssertionError"
    assert end[2] == '  File "/coop/tests/test_fast.py", line 7 in test_fast'
    assert "site-packages" not in "".join(end)


def test_a_check_that_is_stopped_leaves_nothing_running(tmp_path):
    run, env = prepared(tmp_path)
    pids = tmp_path / "pids"
    with subprocess.Popen([run], env={**env, "SLEEPS": str(pids)}, stdout=subprocess.DEVNULL) as check:
        wait_until(lambda: pids.exists() and pids.read_text().count("\n") == 2)  # both of its lanes
        check.terminate()
        assert check.wait(PATIENCE_S) == 128 + signal.SIGTERM
    for pid in pids.read_text().split():
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists())


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
