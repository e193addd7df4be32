"""`coop run`: what the guest gets, what comes back."""

import json
import os
import socket
import subprocess

import pytest

from coop import __version__
from tests.children import run_child, start_child
from tests.cli.guests import (
    ARGS_ENV,
    CAT,
    EXPORTS,
    PREOPENS,
    SPIN,
    TICKER,
    TRAP,
    complaint,
    coop,
    exits,
    save,
)
from tests.native import native


def words(data: bytes) -> list[str]:
    return data.decode().split("\0")[:-1]


# -- the command itself


def test_it_tells_its_version():
    assert coop("--version").stdout.decode() == f"coop {__version__}\n"


@pytest.mark.parametrize("args", [["run", "--help"], ["run", "-h"]])
def test_its_help_teaches_by_examples_and_lists_the_exit_statuses(args):
    text = coop(*args).stdout.decode()
    assert "coop run --tcplisten 127.0.0.1:9999 server.wasm" in text
    assert all(f"\n    {status} " in text for status in (1, 2, 124, 130, 134, 143))


def test_the_list_of_commands_says_what_each_is_for_in_whole_sentences():
    commands = coop("--help").stdout.decode().partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in commands] == ["doctor", "run", "serve", "wit"]
    assert all(line.endswith(".") and not line.endswith("...") for line in commands)


def test_the_help_of_a_list_needs_no_guest():
    assert b"max-wasm-stack" in coop("run", "-W", "help").stdout


def test_without_arguments_it_shows_how_it_is_used():
    done = coop(expect=2)
    assert done.stderr.startswith(b"Usage: coop")


def test_run_may_be_left_out(tmp_path):
    guest = save(tmp_path, ARGS_ENV)
    assert coop(guest, "x").stdout == coop("run", guest, "x").stdout
    assert coop("--env=K=v", guest).stdout == coop("run", "--env=K=v", guest).stdout


def test_nothing_but_the_guest_writes(tmp_path):
    done = coop("run", TICKER, "1", "2")
    assert (done.stdout, done.stderr) == (b"tick 1\ntick 2\n", b"")


# -- arguments and environment


def test_everything_after_the_file_is_the_guests(tmp_path):
    guest = save(tmp_path, ARGS_ENV)
    args = ["-v", "--env", "A=b", "--help", "--", "-W", "bogus", "two words", ""]
    assert words(coop("run", guest, *args).stdout.partition(b"\n")[0]) == ["guest.wat", *args]


def test_a_guest_may_come_from_standard_input():
    done = coop("run", "-", "x", stdin=ARGS_ENV.encode())
    assert words(done.stdout.partition(b"\n")[0]) == ["-", "x"]
    assert coop("-", "x", stdin=ARGS_ENV.encode()).stdout == done.stdout
    assert b"verdict" in coop("doctor", "-", stdin=ARGS_ENV.encode()).stdout


def test_argv0_can_be_given(tmp_path):
    done = coop("run", "--argv0", "tool", save(tmp_path, ARGS_ENV))
    assert words(done.stdout.partition(b"\n")[0]) == ["tool"]


def test_the_environment_of_the_guest_is_empty(tmp_path):
    done = coop("run", save(tmp_path, ARGS_ENV), env={"COOP_TEST": "x"})
    assert done.stdout.partition(b"\n")[2] == b""


def test_variables_are_given_with_a_value_or_inherited_by_name(tmp_path):
    args = [
        "--env",
        "A=1",
        "--env=COOP_TEST",
        "--env",
        "EMPTY=",
        "--env",
        "COOP_IS_NOT_SET",
        "--env",
        "A=2=3",
    ]
    done = coop("run", *args, save(tmp_path, ARGS_ENV), env={"COOP_TEST": "x"})
    assert words(done.stdout.partition(b"\n")[2]) == ["A=2=3", "COOP_TEST=x", "EMPTY="]


def test_the_whole_environment_can_be_inherited(tmp_path):
    done = coop(
        "run", "-S", "inherit-env", "--env", "COOP_TEST=y", save(tmp_path, ARGS_ENV), env={"COOP_TEST": "x"}
    )
    found = words(done.stdout.partition(b"\n")[2])
    assert "COOP_TEST=y" in found
    assert f"PATH={os.environ['PATH']}" in found


def test_stdin_is_the_guests():
    assert coop("run", CAT, stdin=b"one\ntwo").stdout == b"one\ntwo"


# -- directories and sockets


def test_sockets_come_first_in_the_order_given_and_directories_after(tmp_path):
    args = [
        "--dir",
        "/tmp::/first",
        "--tcplisten=127.0.0.1:0",
        "-Stcplisten=[::1]:0,cli",
        "--dir",
        ".",
        "--tcplisten",
    ]
    done = coop("run", *args, "127.0.0.2:0", save(tmp_path, PREOPENS))
    assert done.stdout.decode().splitlines() == ["socket:3", "socket:4", "socket:5", "/first", "."]
    told = [line.rpartition(":")[0] + line[line.index(" (") :] for line in done.stderr.decode().splitlines()]
    assert told == [
        "listening on 127.0.0.1 (fd 3)",
        "listening on [::1] (fd 4)",
        "listening on 127.0.0.2 (fd 5)",
    ]


def test_a_port_that_was_named_is_not_told(tmp_path):
    with socket.create_server(("127.9.8.7", 0)) as free:  # where nobody else takes a port meanwhile
        port = free.getsockname()[1]
    assert coop("run", "--tcplisten", f"127.9.8.7:{port}", save(tmp_path, PREOPENS)).stderr == b""


# -- exports


@pytest.mark.parametrize(
    ("args", "out"),
    [
        (["add", "1", "2"], "3\n"),
        (["add", "0x10", "-1"], "15\n"),
        (["big", "18446744073709551615"], "-1\n"),
        (["half", "0.2"], "0.1\n"),
        (["same", "1e22"], "10000000000000000000000\n"),
        (["both", "5"], "5\n-1\n"),
        (["nothing"], ""),
    ],
)
def test_an_export_is_called_and_its_results_are_printed(tmp_path, args, out):
    name, *rest = args
    assert coop("run", f"--invoke={name}", save(tmp_path, EXPORTS), *rest).stdout.decode() == out


def test_an_export_may_end_the_guest(tmp_path):
    coop("run", "--invoke", "leave", save(tmp_path, EXPORTS), expect=9)


def test_an_export_may_trap(tmp_path):
    done = coop("run", "--invoke", "fail", save(tmp_path, EXPORTS), expect=134)
    assert b"unreachable" in done.stderr


def test_an_export_may_have_an_empty_name(tmp_path):
    guest = save(tmp_path, '(module (func (export "") (result i32) (i32.const 7)))')
    assert coop("run", "--invoke", "", guest).stdout == b"7\n"


# -- exit statuses


@pytest.mark.parametrize("code", [0, 1, 7, 125, 126, 200, 255])
def test_the_exit_status_is_the_guests(tmp_path, code):
    assert coop("run", save(tmp_path, exits(code)), expect=code).stderr == b""


@pytest.mark.parametrize("how", ["(start $leave)", '(export "_initialize" (func $leave))'])
@pytest.mark.parametrize("options", [[], ["--invoke", "main"]])
def test_a_guest_may_end_before_it_is_called(tmp_path, how, options):
    guest = save(
        tmp_path,
        f"""(module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (func $leave (call $exit (i32.const 3))) {how}
          (func (export "_start")) (func (export "main")))""",
    )
    assert coop("run", *options, guest, expect=3).stderr == b""


@pytest.mark.parametrize("kind", ["func", "global"])
def test_the_function_without_a_name_is_the_program_before_start(tmp_path, kind):
    unnamed = {"func": "(call $exit (i32.const 8))", "global": "i32 (i32.const 8)"}[kind]
    guest = save(
        tmp_path,
        f"""(module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (func (export "_start") (call $exit (i32.const 9)))
          ({kind} (export "") {unnamed}))""",
    )
    code = {"func": 8, "global": 9}[kind]
    assert coop("run", guest, expect=code).stderr == b""
    assert subprocess.run([*native("run"), guest], check=False, timeout=120).returncode == code


def test_a_module_with_initialize_and_a_function_without_a_name_is_a_program(tmp_path):
    guest = save(
        tmp_path,
        """(module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (global $code (mut i32) (i32.const 1))
          (func (export "_initialize") (global.set $code (i32.const 5)))
          (func (export "") (call $exit (global.get $code))))""",
    )
    assert coop("run", guest, expect=5).stderr == b""
    assert b"verdict                       it will run" in coop("doctor", guest).stdout


@pytest.mark.parametrize("code", [256, 4294967295])
def test_a_code_that_no_process_can_end_with_becomes_one(tmp_path, code):
    assert (
        f"exit code {code} is above 255".encode() in coop("run", save(tmp_path, exits(code)), expect=1).stderr
    )


def test_a_trap_shows_its_reason_and_the_wasm_frames_innermost_first():
    done = coop("run", TRAP, expect=134)
    first, *frames = done.stderr.decode().splitlines()
    assert first == f"coop: {TRAP}: the guest trapped: wasm `unreachable` instruction executed"
    assert frames == ["  at innermost", "  at middle", "  at outermost", "  at start"]


@pytest.mark.parametrize("guest", [SPIN, CAT], ids=["computing", "parked"])
@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_a_guest_whose_time_is_over_ends_with_124(guest, poller):
    read, write = os.pipe()  # nobody writes: the guest that reads stays parked
    code = f"import os, sys; os.dup2({read}, 0); from coop.cli import main; main(sys.argv[1:])"
    try:
        args = ["-c", code, "run", f"--poller={poller}", "-W", "timeout=50ms", str(guest)]
        done = run_child(args, expect=124, pass_fds=[read])
    finally:
        os.close(read)
        os.close(write)
    assert done.stderr.decode() == (
        f"coop: {guest}: limit wall_time exceeded: guest {guest.name} has run for 0.05 s"
        " (-W timeout=... sets another)\n"
    )


def test_a_memory_limit_is_the_guests_own_affair(tmp_path):
    text = """(module (memory (export "memory") 1)
      (func (export "grow") (result i32) (memory.grow (i32.const 1))))"""
    guest = save(tmp_path, text)
    assert coop("run", "-W", "max-memory-size=65536", "--invoke=grow", guest).stdout == b"-1\n"
    assert coop("run", "-W", "max-memory-size=131072", "--invoke=grow", guest).stdout == b"1\n"


def test_a_larger_stack_lets_a_guest_go_deeper(tmp_path):
    text = """(module (memory (export "memory") 1)
      (func $deep (export "deep") (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
          (else (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1))))))))"""
    guest = save(tmp_path, text)
    assert b"stack" in coop("run", "--invoke=deep", guest, "100000", expect=134).stderr
    done = coop("run", "-W", "max-wasm-stack=8388608", "--invoke=deep", guest, "100000")
    assert done.stdout == b"100000\n"


# -- logging


def test_v_shows_the_life_of_the_guest_and_settings_that_change_nothing(tmp_path):
    log = coop(
        "run", "-v", "-Spreview2=false,cli", "-O", "opt-level=2", save(tmp_path, exits(3)), expect=3
    ).stderr
    assert b"guest started" in log
    (ended,) = [line for line in log.splitlines() if b"guest ended" in line]
    assert all(b" %s " % word in ended + b" " for word in (b"code=3", b"memory=131072"))
    assert [spelled in log for spelled in (b"-S preview2=false", b"-S cli", b"-O opt-level=2")] == [True] * 3
    assert b"combined wait" not in log


@pytest.mark.parametrize("poller", ["hostpoll", "oneoff", "pollset"])
def test_vv_shows_every_park_and_wake_and_each_combined_wait_with_its_list(poller):
    # Long enough to be waited for on a machine that is busy.
    log = coop("run", "-vv", "--poller", poller, TICKER, "200", "1").stderr.decode().splitlines()
    waits = [line for line in log if "combined wait" in line]
    assert all("clock=" in line and "waits=[" in line for line in waits)
    assert any("'main: poll_oneoff(the clock" in line for line in waits)
    assert any("park " in line and "task=main" in line for line in log)
    assert any("ready " in line and "task=main" in line for line in log)


def test_a_timeline_shows_when_the_guest_ran_and_what_it_waited_for(tmp_path):
    # Long enough to be waited for on a machine that is busy.
    coop("run", "--timeline", tmp_path / "run.svg", TICKER, "200", "1")
    assert "poll_oneoff(the clock" in (tmp_path / "run.svg").read_text()
    coop("run", "--timeline", tmp_path / "run.json", "--poller", "oneoff", TICKER, "200", "1")
    names = {event["name"] for event in json.loads((tmp_path / "run.json").read_text())}
    assert {"runs", "combined wait", "wake"} <= names


@pytest.mark.parametrize(
    ("file", "status", "words"),
    [("run.txt", 2, "a name that ends in .json or .svg"), ("none/run.svg", 1, "No such file or directory")],
)
def test_a_timeline_that_cannot_be_is_told_before_the_guest_runs(tmp_path, file, status, words):
    assert words in complaint(["run", "--timeline", tmp_path / file, TICKER, "5", "2"], status)


def test_results_that_nobody_reads_are_no_traceback(tmp_path):
    read, write = os.pipe()
    os.close(read)
    try:
        args = ["-m", "coop", "run", "--invoke=add", save(tmp_path, EXPORTS), "1", "2"]
        with start_child(args, stdout=write, stderr=subprocess.PIPE) as child:
            _, err = child.communicate(timeout=60)
    finally:
        os.close(write)
    assert b"Traceback" not in err
    assert child.returncode == 1


CLOSED = """
import os, sys
for fd in (0, 1, 2):
    os.close(fd)
os.execv(sys.executable, [sys.executable, "-m", "coop", "run", *sys.argv[1:]])
"""


@pytest.mark.parametrize(
    ("args", "status"), [(["--bogus"], 2), ([str(TRAP)], 134), (["--invoke=add", "exports", "1", "2"], 0)]
)
def test_closed_streams_change_nothing(tmp_path, args, status):
    guest = save(tmp_path, EXPORTS)
    run_child(["-c", CLOSED, *(guest if arg == "exports" else arg for arg in args)], expect=status)


#: A command line whose stderr is a full disk.
FULL = """
import os, sys
os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
os.execv(sys.executable, [sys.executable, "-m", "coop", *sys.argv[1:]])
"""


@pytest.mark.parametrize(
    ("args", "status", "out"),
    [
        (["run", "--bogus"], 2, b""),
        (["run", "nope.wasm"], 1, b""),
        (["run", str(TRAP)], 134, b""),
        (["run", "-W", "timeout=50ms", str(SPIN)], 124, b""),
        (["run", "--tcplisten", "127.0.0.1:0", str(TICKER), "1", "1"], 0, b"tick 1\n"),
    ],
    ids=["usage", "no file", "trap", "time", "listener"],
)
def test_what_cannot_be_said_changes_neither_the_guest_nor_the_status(args, status, out):
    assert run_child(["-c", FULL, *args], expect=status).stdout == out
