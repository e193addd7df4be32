"""What the check of the project says it did: which interpreters ran, and whether all of it passed.

`make` is a stub here that notes its arguments, since the real one would run these tests again.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import ROOT

CI = ROOT / ".ci" / "run"
MAKE = """#!/bin/sh
echo "$@" >>"$NOTES"
ls -A "$COOP_GUEST_CACHE" | grep -q . && echo "the cache of guests is not empty" >>"$NOTES"
case " $* " in *" $FAILS "*) exit 2 ;; esac
"""


def check(folder: Path, fails: str = "nothing") -> tuple[int, str, list[str]]:
    """Run the check in a copy; return its status, what it said, and how it called make."""
    (folder / ".ci").mkdir()
    shutil.copy(CI, folder / ".ci" / "run")
    tools = folder / "bin"
    tools.mkdir()
    (tools / "make").write_text(MAKE)
    (tools / "make").chmod(0o755)
    # Another version, found on the path as it would be on a machine that has it.
    (tools / "python3.13").write_text("#!/bin/sh\nprintf '3.13.99\\t/opt/python3.13\\n'\n")
    (tools / "python3.13").chmod(0o755)
    notes = folder / "notes"
    env = {
        **os.environ,
        "PATH": f"{tools}:/usr/bin:/bin",
        "PYTHON": sys.executable,
        "HOME": str(folder),
        "NOTES": str(notes),
        "FAILS": fails,
    }
    env.pop("PYENV_ROOT", None)
    run = str(folder / ".ci" / "run")
    done = subprocess.run([run], env=env, capture_output=True, text=True, timeout=50, check=False)
    return done.returncode, done.stdout, notes.read_text().splitlines()


def test_tests_and_lint_run_and_the_tests_again_on_every_other_interpreter(tmp_path):
    status, said, calls = check(tmp_path)
    assert status == 0, said
    assert f"ran on CPython {platform.python_version()}, " in said
    assert ", 3.13.99 in " in said
    targets = [call.split()[1] for call in calls]
    assert targets[:2] == ["test", "lint"]
    assert set(targets[2:]) == {"test"}
    assert " test PYTHON=/opt/python3.13 VENV=.venv-ci/3.13.99 " in calls[-1]


@pytest.mark.parametrize("fails", ["lint", "VENV=.venv-ci/3.13.99"])
def test_one_failure_fails_the_whole_and_is_named(tmp_path, fails):
    status, said, _ = check(tmp_path, fails)
    assert status == 1
    assert "FAILED (2)" in said
