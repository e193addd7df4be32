"""coop in the place of `wasmtime run`: what toolchains start guests with works unchanged.

Go brings a script that runs `wasmtime run` with options of its own; cargo runs the words of its `runner` with
the program behind them; a makefile has a line for it.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.children import ROOT
from tests.cli.guests import ARGS_ENV, coop, save
from tests.guestbuild import c_guest, cache_dir, goroot

GUESTS = ROOT / "tests" / "guests"

GO_MODULE = "module example.org/words\n\ngo 1.21\n"
GO_TESTS = """package words

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestItRunsInItsOwnFolder(t *testing.T) {
	text, err := os.ReadFile("testdata/in.txt")
	if err != nil || string(text) != "hello" {
		t.Fatal(string(text), err)
	}
	here, err := os.Getwd()
	if err != nil || here != os.Getenv("PWD") || os.Getenv("PATH") == "" {
		t.Fatal(here, os.Getenv("PWD"), err)
	}
}

func TestItHasADirectoryOfItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "c"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if names, err := filepath.Glob(filepath.Join(path, "*")); len(names) != 1 {
		t.Fatal(names, err)
	}
}

//go:noinline
func deep(n int) int {
	if n == 0 {
		return 0
	}
	return deep(n-1) + 1
}

// Goes deeper than half a megabyte of wasm's stack: the script asks for eight.
func TestItHasTheStackThatTheScriptAsksFor(t *testing.T) {
	if deep(40000) != 40000 {
		t.Fatal("lost count")
	}
}

func TestGoroutinesSleepAtATime(t *testing.T) {
	done := make(chan bool)
	for range make([]int, 100) {
		go func() { time.Sleep(time.Millisecond); done <- true }()
	}
	for range make([]int, 100) {
		<-done
	}
}
"""
GO_FAILS = """package words

import "testing"

func TestItFails(t *testing.T) { t.Fatal("as it should") }
"""


@pytest.fixture
def tools(tmp_path) -> Path:
    """A folder for PATH in which coop is called coop, and wasmtime too."""
    folder = tmp_path / "tools"
    folder.mkdir()
    program = folder / "coop"
    program.write_text(f"#!{sys.executable}\nfrom coop.cli import main\nmain()\n")
    program.chmod(0o755)
    (folder / "wasmtime").symlink_to("coop")
    (folder / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (folder / "python").chmod(0o755)
    return folder


def run(
    command: Sequence[str | Path], cwd: Path, tools: Path, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GOCACHE": str(cache_dir() / "go"),
        "ZIG_GLOBAL_CACHE_DIR": str(cache_dir() / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(cache_dir() / "zig-local"),
        **(more or {}),
    }
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=250, check=False
    )


# -- Go


@pytest.fixture
def package(tmp_path) -> Path:
    """A module of Go with tests."""
    folder = tmp_path / "words"
    (folder / "testdata").mkdir(parents=True)
    (folder / "testdata" / "in.txt").write_text("hello")
    (folder / "go.mod").write_text(GO_MODULE)
    (folder / "words_test.go").write_text(GO_TESTS)
    return folder


def go(package: Path, tools: Path, *args: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "GOOS": "wasip1",
        "GOARCH": "wasm",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "",
        "GOWORK": "off",
        "GOWASIRUNTIME": "wasmtime",
    }
    return run([goroot() / "bin" / "go", *args], package, tools, settings)


@pytest.mark.slow
def test_gos_own_script_runs_a_packages_tests_by_the_name_of_wasmtime(package, tools):
    script = goroot() / "lib" / "wasm" / "go_wasip1_wasm_exec"
    done = go(package, tools, "test", "-count=1", "-v", f"-exec={script}", ".")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("--- PASS") == 4


@pytest.mark.slow
def test_go_finds_its_script_on_the_path_and_sees_a_test_fail(package, tools):
    (package / "fails_test.go").write_text(GO_FAILS)
    (tools / "go_wasip1_wasm_exec").symlink_to(goroot() / "lib" / "wasm" / "go_wasip1_wasm_exec")
    done = go(package, tools, "test", "-count=1", "-run=TestItFails", ".")
    assert (done.returncode, "as it should" in done.stdout) == (1, True), done.stdout + done.stderr


@pytest.mark.slow
def test_go_run_takes_coop_itself(package, tools):
    source = GUESTS / "args_env.go"
    done = go(package, tools, "run", "-exec=coop run --env A=1", str(source), "one", "two words")
    assert done.returncode == 0, done.stderr
    assert 'arg "two words"' in done.stdout
    assert 'env "A=1"' in done.stdout


# -- cargo and make


@pytest.mark.slow
def test_cargos_runner_is_coop_with_the_program_and_its_arguments_behind_it(tmp_path, tools):
    # As cargo calls it: the runner's words, the program's whole path, what followed `--`; its folder is the
    # package's.
    (tmp_path / "Cargo.toml").touch()
    runner = ["coop", "run", "--dir", "."]
    done = run([*runner, c_guest(GUESTS / "hello.c"), "--nocapture", "one"], tmp_path, tools)
    assert (done.returncode, done.stdout) == (0, "hello from c\narg --nocapture\narg one\n")


MAKEFILE = """\
CC = python -m ziglang cc -target wasm32-wasi
CFLAGS = -O2 -Wall
RUN = {run}

hello.wasm: hello.c
	$(CC) $(CFLAGS) -o $@ $<

check: hello.wasm
	$(RUN) $< one "two words" >out
	! $(RUN) --invoke nothing $< 2>/dev/null
	diff out wanted
"""


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["coop run", "coop", "wasmtime run", "wasmtime run --dir=."])
def test_a_makefile_of_wasi_libc_runs_its_check(tmp_path, tools, runner: str):
    (tmp_path / "Makefile").write_text(MAKEFILE.format(run=runner))
    (tmp_path / "hello.c").write_text((GUESTS / "hello.c").read_text())
    (tmp_path / "wanted").write_text("hello from c\narg one\narg two words\n")
    done = run(["make", "check"], tmp_path, tools)
    assert done.returncode == 0, done.stdout + done.stderr


# -- wasmtime's spellings, as scripts have them


@pytest.mark.parametrize(
    "line",
    [
        "run --dir=/ --env PWD=/x --env PATH=/bin -W max-wasm-stack=8388608 GUEST one",
        "run --dir=. -- GUEST one",
        "run --dir=.::/ --env=A=b GUEST one",
        "run -Wmax-wasm-stack=8388608 -Scli,inherit-env -Ccache=n GUEST one",
        "run -S preview2=n -S tcplisten=127.0.0.1:0 GUEST one",
        "run -O opt-level=0 -D debug-info=n GUEST one",
        "run --argv0 prog GUEST one",
        "run --wasm timeout=10s --wasi cli=y GUEST one",
        "--dir . GUEST one",
    ],
)
def test_a_line_of_wasmtime_run_works_unchanged(tmp_path, line: str):
    guest = save(tmp_path, ARGS_ENV)
    words = [guest if word == "GUEST" else word for word in shlex.split(line)]
    done = coop(*words)
    name = b"prog" if "--argv0" in line else b"guest.wat"
    assert done.stdout.partition(b"\n")[0] == name + b"\0one\0"
