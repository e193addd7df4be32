"""The two hosts that one program runs on: coop in this process, and native wasmtime beside it.

Both get the same arguments, environment, input and directories, all new and empty.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

import coop
from tests.guestbuild import ToolchainMissing, native_wasmtime

PROGRAMS = Path(__file__).resolve().parent / "programs"
HEADER = PROGRAMS / "facts.h"
#: What the group "environment" of programs/process.c expects.
ENVIRONMENT = {"a": "text", "b": 'escap " ing', "c": "new\nline"}


class Run(NamedTuple):
    """How a program ended and what it printed."""

    status: int
    out: bytes
    err: bytes

    def lines(self) -> list[str]:
        """Its output by lines."""
        return self.out.decode().splitlines()


def on_coop(
    module: coop.Module,
    args: Sequence[str],
    dirs: Sequence[object],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] = ENVIRONMENT,
    poller: str = "hostpoll",
) -> Run:
    """Run a module in this process, to its end."""
    out, err = bytearray(), bytearray()
    guest = coop.Guest(module, args=args, dirs=dirs, env=dict(env), stdin=stdin, stdout=out, stderr=err)
    status = coop.run(guest.run, poller=poller)
    return Run(status, bytes(out), bytes(err))


def natively(
    program: Path,
    args: Sequence[str],
    dirs: Mapping[str, Path],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] = ENVIRONMENT,
) -> Run:
    """Run a built program on native wasmtime; the test is skipped where that is not installed."""
    try:
        wasmtime = native_wasmtime()
    except ToolchainMissing as error:
        pytest.skip(str(error))
    command = [str(wasmtime), "run"]
    for guest, host in dirs.items():
        command += ["--dir", f"{host}::{guest}"]
    for name, value in env.items():
        command += ["--env", f"{name}={value}"]
    done = subprocess.run(
        [*command, str(program), *args],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
        env={"HOME": os.environ.get("HOME", "/"), "PATH": os.environ["PATH"]},
    )
    return Run(done.returncode, done.stdout, done.stderr)
