"""Python children of the tests: started without a shell, so that a crash shows as a negative status."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent


def command(code_or_args: str | Sequence[str]) -> list[str]:
    """The command line for some code, or for the arguments of an interpreter (`["-m", "coop", ...]`)."""
    # Where warnings are errors, CPython 3.15 lets no process with threads fork; coop sees to its own threads.
    python = [
        sys.executable,
        "-X",
        "faulthandler",
        "-W",
        "error",
        "-W",
        "ignore:This process:DeprecationWarning",
    ]
    if isinstance(code_or_args, str):
        return [*python, "-c", textwrap.dedent(code_or_args)]
    return [*python, *code_or_args]


def run_child(
    code_or_args: str | Sequence[str],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 200,
    expect: int | None = 0,
    pass_fds: Sequence[int] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run a Python child to its end; fail if it crashed, hung, or left another status than `expect`.

    `expect=None` takes any status but a crash.  `env` is added to ours.
    """
    argv = command(code_or_args)
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        cwd=cwd or ROOT,
        pass_fds=pass_fds,
        process_group=0,
    ) as child:
        said: list[tuple[bytes, bytes]] = []
        talk = threading.Thread(target=lambda: said.append(child.communicate(stdin)))
        talk.start()
        try:
            # Second by second: after a pause of the machine its clock may have jumped.
            seconds = 0
            while talk.is_alive() and seconds < timeout:
                talk.join(1.0)
                seconds += 1
            is_ended = not talk.is_alive()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # one that it has forked may hold the pipes
            talk.join()
    ((stdout, stderr),) = said
    if not is_ended:
        _fail(f"the child, or one that it has forked, did not end within {timeout} s", stdout, stderr)
    assert_no_crash(child.returncode, stdout, stderr)
    if expect is not None and child.returncode != expect:
        _fail(f"the child ended with {child.returncode}, not {expect}", stdout, stderr)
    return subprocess.CompletedProcess(argv, child.returncode, stdout, stderr)


@contextmanager
def start_child(
    code_or_args: str | Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    new_session: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python child that lives while the block runs; killed at its end if it still does.

    One that ended by itself, or by a signal sent to it, is checked: a crash fails the test.
    """
    child = subprocess.Popen(
        command(code_or_args),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, **(env or {})},
        cwd=cwd or ROOT,
        pass_fds=pass_fds,
        start_new_session=new_session,
    )
    with child:
        try:
            yield child
            ended = child.poll()
        finally:
            child.kill()
    if ended is not None:
        assert_no_crash(ended)


#: Signals that a test may send; any other negative status is a crash.
SENT = {-signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL, -signal.SIGHUP}


def assert_no_crash(status: int, stdout: bytes = b"", stderr: bytes = b"") -> None:
    """Fail with the child's output if a signal that nobody sent ended it."""
    if status < 0 and status not in SENT:
        _fail(f"the child crashed: {signal.Signals(-status).name}", stdout, stderr)


def _fail(what: str, stdout: bytes, stderr: bytes) -> NoReturn:
    shown = [
        f"--- its {name}:\n{data.decode(errors='replace')}"
        for name, data in (("stdout", stdout), ("stderr", stderr))
        if data
    ]
    pytest.fail("\n".join([what, *shown]), pytrace=False)
