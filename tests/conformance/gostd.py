"""Runs the tests of Go's standard library as wasip1 guests: `python -m tests.conformance.gostd [PACKAGE...]`.

Each package is built once, then run on coop and on native wasmtime with the options that Go's own
script `go_wasip1_wasm_exec` gives.  Every test that passes there must pass on coop.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.children import ROOT
from tests.guestbuild import BuildFailed, go_test, goroot, native_wasmtime

#: What `make gotest` runs: all that touches a host, and some that only compute.
PACKAGES = (
    *(
        "os",
        "os/exec",
        "os/signal",
        "os/user",
        "io",
        "io/fs",
        "io/ioutil",
        "path",
        "path/filepath",
        "syscall",
    ),
    *("internal/poll", "net", "net/http", "time", "bufio", "context", "log", "fmt", "mime", "runtime"),
    *("archive/tar", "archive/zip", "compress/gzip", "go/build", "testing/fstest", "text/template"),
)
#: Files that tests of `os` look for in Go's tree, some of which the wheel leaves out.
TREE_FILES = ("go.env", "LICENSE", "CONTRIBUTING.md")
SECONDS = 280


class Outcome(NamedTuple):
    """How one package's tests ended."""

    status: int | None
    """None if they did not end in time."""
    tests: dict[str, str]
    """Each test -> PASS, FAIL or SKIP."""
    said: str
    seconds: float

    def names(self, verdict: str) -> set[str]:
        """The tests that ended so."""
        return {name for name, was in self.tests.items() if was == verdict}


def command(host: str) -> list[str]:
    """The start of a host's command line."""
    if host == "coop":
        return [sys.executable, "-m", "coop", "run"]
    return [str(native_wasmtime()), "run"]


def run(host: str, package: str, *options: str) -> Outcome:
    """Run a package's tests on "coop" or "wasmtime", in the package's folder."""
    program, folder = go_test(package), goroot() / "src" / package
    with tempfile.TemporaryDirectory() as scratch:
        root = _tree(Path(scratch)) if package == "os" else goroot()
        env = {"PWD": folder, "PATH": os.environ["PATH"], "TMPDIR": scratch, "GOROOT": root}
        flags = ["--dir=/", *(f"--env={name}={value}" for name, value in env.items())]
        argv = [
            *command(host),
            *flags,
            "-W",
            "max-wasm-stack=8388608",
            str(program),
            "-test.v",
            "-test.short",
        ]
        begin = time.monotonic()
        try:
            done = subprocess.run(
                [*argv, *options],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            )
            status, output = done.returncode, done.stdout
        except subprocess.TimeoutExpired as error:
            status, output = None, error.stdout or b""
    said = output.decode(errors="replace")
    tests = {name: was for was, name in re.findall(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", said, re.MULTILINE)}
    return Outcome(status, tests, said, time.monotonic() - begin)


def _tree(scratch: Path) -> Path:
    """Make a root of Go that has what tests of `os` look for."""
    root = scratch / "goroot"
    root.mkdir()
    for name in TREE_FILES:
        (root / name).write_text(f"{name}\n")
    return root


def main(packages: Sequence[str]) -> int:
    """Compare the hosts, print a table, and return 1 if coop fails what native wasmtime passes."""
    worse = 0
    sys.stdout.write(f"{'package':16}{'passed':>8}{'skipped':>9}{'failed':>8}{'coop':>9}{'wasmtime':>10}\n")
    for package in packages or PACKAGES:
        try:
            there, here = run("wasmtime", package), run("coop", package)
        except BuildFailed as error:
            sys.stdout.write(f"{package:16}{error}\n")
            worse = 1
            continue
        lost = sorted(there.names("PASS") - here.names("PASS"))
        counts = Counter(here.tests.values())
        sys.stdout.write(
            f"{package:16}{counts['PASS']:8}{counts['SKIP']:9}{counts['FAIL']:8}"
            f"{here.seconds:7.1f} s{there.seconds:8.1f} s\n"
        )
        for name in lost:
            sys.stdout.write(f"    passes on wasmtime alone: {name}\n")
        if lost or (here.status != 0 and there.status == 0):
            sys.stdout.write(f"    coop ended with {here.status}: {here.said[-2000:]}\n")
            worse = 1
        sys.stdout.flush()
    return worse


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
