"""Go's own tests on coop: of the packages that touch a host, and of the port to wasip1 itself.

`make gotest` runs many more, and native wasmtime beside.
"""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import ROOT
from tests.conformance import gostd
from tests.guestbuild import cache_dir, go_host_test, goroot

pytestmark = pytest.mark.slow

#: Package -> how many of its tests must have passed, which native wasmtime passes as well.
PASSED = {
    "os": 1100,
    "io": 70,
    "io/fs": 20,
    "path/filepath": 40,
    "syscall": 40,
    "internal/poll": 8,
    "net": 300,
}


@pytest.mark.parametrize("package", PASSED)
def test_a_package_of_go_passes_its_own_tests(package):
    done = gostd.run("coop", package)
    assert done.names("FAIL") == set(), done.said[-3000:]
    assert done.status == 0, done.said[-3000:]
    assert len(done.names("PASS")) >= PASSED[package]


def test_gos_tests_of_its_hosts_pass_with_coop_in_place_of_wasmtime(tmp_path):
    """FIFOs that are read at once, and a TCP server, both started by `go run` and Go's own script."""
    folder = goroot() / "src" / "internal" / "runtime" / "wasitest"
    stand_in = tmp_path / "wasmtime"
    stand_in.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m coop "$@"\n')
    stand_in.chmod(0o755)
    path = [tmp_path, goroot() / "bin", goroot() / "lib" / "wasm", os.environ["PATH"]]
    environment = {
        "PATH": os.pathsep.join(map(str, path)),
        "PYTHONPATH": str(ROOT),
        "HOME": str(cache_dir() / "home"),
        "GOCACHE": str(cache_dir() / "go"),
        "GOTOOLCHAIN": "local",
        "GOENV": "off",
        "GOPROXY": "off",
        "GOWASIENABLERACYTEST": "1",
    }
    command = [go_host_test("internal/runtime/wasitest"), "-test.v", "-target=wasip1/wasm"]
    said = tmp_path / "said"
    with said.open("wb") as output:
        ended = _in_a_group_of_its_own(command, folder, environment, output.fileno())
    text = said.read_text()
    assert ended == 0, text
    assert "--- PASS: TestNonblock" in text
    assert "--- PASS: TestTCPEcho" in text


def _in_a_group_of_its_own(command: list[object], folder: Path, env: dict[str, str], output: int) -> int:
    """Run a command; what it leaves behind, as Go's test of a server does, ends with it."""
    child = subprocess.Popen(
        list(map(str, command)),
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    with child:
        try:
            return child.wait(timeout=240)
        finally:
            os.killpg(child.pid, signal.SIGKILL)
