"""Small guests in WAT for the tests of the command line, and what the tests ask of a run."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.children import ROOT, run_child

SPIN = ROOT / "tests" / "guests" / "spin.wat"
TRAP = ROOT / "tests" / "guests" / "trap.wat"
RECURSE = ROOT / "tests" / "guests" / "recurse.wat"
TICKER = ROOT / "examples" / "ticker" / "guest.wat"
TCPECHO = ROOT / "examples" / "tcpecho" / "guest.wat"
CAT = ROOT / "examples" / "guest_per_client" / "guest.wat"

_IMPORTS = """
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
    (func $fd_prestat_dir_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 2)
  (func $print (param $at i32) (param $length i32)
    (i32.store (i32.const 8) (local.get $at))
    (i32.store (i32.const 12) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16))))
"""

#: Prints its arguments, each with a NUL behind it, a line break, and its environment in the same way.
ARGS_ENV = f"""(module {_IMPORTS}
  (data (i32.const 32) "\\n")
  (func (export "_start")
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (drop (call $args_get (i32.const 64) (i32.const 4096)))
    (call $print (i32.const 4096) (i32.load (i32.const 4)))
    (call $print (i32.const 32) (i32.const 1))
    (drop (call $environ_sizes_get (i32.const 0) (i32.const 4)))
    (drop (call $environ_get (i32.const 64) (i32.const 65536)))
    (call $print (i32.const 65536) (i32.load (i32.const 4)))))"""

#: Prints what was opened for it, a line for each descriptor from 3 on.
PREOPENS = f"""(module {_IMPORTS}
  (data (i32.const 32) "\\n")
  (func (export "_start") (local $fd i32)
    (local.set $fd (i32.const 3))
    (loop $next
      (if (call $fd_prestat_get (local.get $fd) (i32.const 0)) (then (return)))
      (drop (call $fd_prestat_dir_name (local.get $fd) (i32.const 4096) (i32.load (i32.const 4))))
      (call $print (i32.const 4096) (i32.load (i32.const 4)))
      (call $print (i32.const 32) (i32.const 1))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br $next))))"""

#: Says "spinning", then computes for ever.
SAYS_AND_SPINS = f"""(module {_IMPORTS}
  (data (i32.const 32) "spinning\\n")
  (func (export "_start")
    (call $print (i32.const 32) (i32.const 9))
    (loop $again (br $again))))"""

#: Exports to call.
EXPORTS = f"""(module {_IMPORTS}
  (global (export "a_global") i32 (i32.const 1))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "big") (param i64) (result i64) (local.get 0))
  (func (export "half") (param f32) (result f32) (f32.div (local.get 0) (f32.const 2)))
  (func (export "same") (param f64) (result f64) (local.get 0))
  (func (export "both") (param i64) (result i64 i32) (local.get 0) (i32.const -1))
  (func (export "nothing"))
  (func (export "leave") (call $proc_exit (i32.const 9)))
  (func (export "vector") (param v128))
  (func (export "fail") (unreachable)))"""


def exits(code: int) -> str:
    """A guest that ends with an exit code."""
    return f'(module {_IMPORTS} (func (export "_start") (call $proc_exit (i32.const {code}))))'


def save(folder: Path, text: str, name: str = "guest.wat") -> str:
    """Write a guest's text and return its path."""
    path = folder / name
    path.write_text(text)
    return str(path)


def coop(*args: str | Path, expect: int = 0, **more) -> subprocess.CompletedProcess[bytes]:
    """Run a command line to its end and check the exit status."""
    return run_child(["-m", "coop", *map(str, args)], expect=expect, **more)


def complaint(args: Sequence[str | Path], status: int, **more) -> str:
    """Run a command line that must fail with one line on stderr and nothing on stdout; return the line."""
    done = coop(*args, expect=status, **more)
    lines = done.stderr.decode().splitlines()
    assert done.stdout == b""
    assert len(lines) == 1, lines
    assert lines[0].startswith("coop: ")
    return lines[0].removeprefix("coop: ")
