"""Bad input gets one line that says what and where, and an exit status."""

import os
import socket
import stat
import threading

import pytest
import wasmtime

from tests.children import run_child
from tests.cli.guests import EXPORTS, TICKER, TRAP, complaint, coop, exits, save

# -- the file


def test_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "nope.wasm"
    assert complaint(["run", path], 1) == f"{path}: No such file or directory"


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["rnu", TICKER], " (coop has no command of that name; coop --help lists those it has)"),
        (["run", "rnu"], ""),
        (["rnu.wasm"], ""),
        (["./rnu.wasm"], ""),
        (["-v", "run", TICKER], " (options stand behind the command: coop run -v ...)"),
        (
            ["--poller=oneoff", "doctor", TICKER],
            " (options stand behind the command: coop doctor --poller=oneoff ...)",
        ),
        (["-v", "rnu"], ""),
    ],
)
def test_a_misspelled_command_is_guessed(args, hint):
    assert complaint(args, 1).partition(": ")[2] == f"No such file or directory{hint}"


@pytest.mark.parametrize("args", [["run", ""], ["run"], ["doctor", ""], ["serve", ""]])
def test_a_name_that_is_empty_is_none(args):
    assert complaint(args, 2) == f"no guest is named (coop {args[0]} --help tells more)"


def test_a_file_that_is_a_directory(tmp_path):
    assert complaint(["run", tmp_path], 1) == f"{tmp_path}: Is a directory"


def test_a_file_that_is_no_wasm(tmp_path):
    path = tmp_path / "a.wasm"
    path.write_bytes(b"\x7fELF and so on")
    assert complaint(["run", path], 1).startswith(f"{path}: not a wasm file")


@pytest.mark.parametrize("command", ["run", "doctor", "serve"])
def test_a_file_that_is_too_large_is_not_read(tmp_path, command):
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert complaint([command, path], 1) == f"{path}: more than {1 << 30} bytes, and no guest is so large"


def test_a_guest_may_come_through_a_pipe_in_pieces(tmp_path):
    pipe = tmp_path / "guest.wat"
    os.mkfifo(pipe)
    text = b";" * 3_000_000 + b"\n" + TICKER.read_bytes()
    writer = threading.Thread(target=lambda: pipe.write_bytes(text), daemon=True)
    writer.start()
    assert coop("run", pipe, "1", "1").stdout == b"tick 1\n"
    writer.join(60)


def test_an_empty_file(tmp_path):
    path = tmp_path / "a.wasm"
    path.touch()
    assert complaint(["run", path], 1) == f"{path}: the file is empty"


@pytest.mark.parametrize("keep", [4, 6, 8.5, 0.5])
def test_a_truncated_module(tmp_path, keep):
    wasm = bytes(wasmtime.wat2wasm(exits(0)))
    path = tmp_path / "a.wasm"
    path.write_bytes(wasm[: int(keep if keep > 1 else len(wasm) * keep) + (keep == 8.5)])
    assert complaint(["run", path], 1).startswith(f"{path}: ")


def test_a_text_that_is_no_module(tmp_path):
    path = save(tmp_path, "(module (func (i32.bogus)))")
    line = complaint(["run", path], 1)
    assert line.startswith(f"{path}: not valid WAT")
    assert "i32.bogus" in line


def test_a_component_that_is_no_command(tmp_path):
    path = tmp_path / "a.wasm"
    path.write_bytes(bytes(wasmtime.wat2wasm("(component)")))
    assert complaint(["run", path], 1) == (
        f"{path}: wasi:cli/run is not exported, so it is no command (it exports nothing; --invoke"
        " INTERFACE#FUNCTION calls one)"
    )
    assert complaint(["serve", path], 1) == (
        f"{path}: wasi:http/incoming-handler is not exported, so it serves nothing"
    )


def test_only_of_a_service_it_is_said_that_it_serves(tmp_path):
    text = '(component (import "x" (instance $i)) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))'
    line = complaint(["run", save(tmp_path, text)], 1)
    assert "--invoke INTERFACE#FUNCTION calls one, coop serve serves HTTP with it)" in line


def test_a_module_where_a_component_is_wanted(tmp_path):
    path = save(tmp_path, "(module)")
    assert complaint(["serve", path], 1) == f"{path}: this is a core module; only a component serves HTTP"


def test_a_component_of_what_is_refused_is_told_in_words(tmp_path):
    text = '(component (import "acme:a/b" (instance (export "f" (func (param "s" (stream u8)))))))'
    path = tmp_path / "a.wat"
    path.write_text(text)
    assert "component model async" in complaint(["run", path], 1)


def test_an_import_of_another_type_is_named_with_both(tmp_path):
    text = """(component
      (import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u32)))))
      (core module $m (func (export "run") (result i32) (i32.const 0)))
      (core instance $i (instantiate $m))
      (func $f (result (result)) (canon lift (core func $i "run")))
      (instance $run (export "run" (func $f)))
      (export "wasi:cli/run@0.2.0" (instance $run)))"""
    path = tmp_path / "a.wat"
    path.write_text(text)
    assert complaint(["run", path], 1) == (
        f"{path}: import wasi:random/random@0.2.0 get-random-u64 has type func() -> u32,"
        " provided is func() -> u64"
    )


def program(*, imports: str = "", interface: str = "wasi:cli/run@0.2.0", **functions: tuple[str, str]) -> str:
    """A component with one interface: by the names of its functions, their types and the core ones."""
    core = " ".join(f'(func (export "{name}") {kind[1]})' for name, kind in functions.items())
    lifted = " ".join(
        f'(func ${name} {kind[0]} (canon lift (core func $m "{name}")))' for name, kind in functions.items()
    )
    named = " ".join(f'(export "{name}" (func ${name}))' for name in functions)
    return f"""(component {imports} (core module $m {core}) (core instance $m (instantiate $m))
      {lifted} (instance $i {named}) (export "{interface}" (instance $i)))"""


HANDLER = "wasi:http/incoming-handler@0.2.0"
HTTP = """(import "wasi:http/types@0.2.0" (instance $http
    (export "incoming-request" (type (sub resource))) (export "response-outparam" (type (sub resource)))))
  (alias export $http "incoming-request" (type $in)) (alias export $http "response-outparam" (type $out))"""
HANDLES = '(param "request" (own $in)) (param "response-out" (own $out))', "(param i32 i32)"
OTHER = '(import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u32)))))'


def test_a_command_s_run_of_another_type_is_named_with_both(tmp_path):
    path = save(tmp_path, program(run=('(param "x" u32)', "(param i32)")))
    assert complaint(["run", path], 1) == (
        f"{path}: export wasi:cli/run@0.2.0 run has type func(x: u32), wanted is func() -> result"
    )
    path = save(tmp_path, program(walk=("", "")))
    assert complaint(["run", path], 1) == (
        f"{path}: interface wasi:cli/run@0.2.0 has no function run; it has walk"
    )


def test_a_handler_of_another_type_is_named_with_both(tmp_path):
    path = save(tmp_path, program(interface=HANDLER, handle=("", "")))
    assert complaint(["serve", path], 1) == (
        f"{path}: export {HANDLER} handle has type func(), wanted is"
        " func(request: wasi:http/types/incoming-request, response-out: wasi:http/types/response-outparam)"
    )


def test_a_server_says_what_keeps_its_guests_from_starting_before_it_serves(tmp_path):
    path = save(tmp_path, program(imports=HTTP + OTHER, interface=HANDLER, handle=HANDLES))
    assert complaint(["serve", "--addr", "127.0.0.1:0", path], 1) == (
        f"{path}: import wasi:random/random@0.2.0 get-random-u64 has type func() -> u32,"
        " provided is func() -> u64"
    )
    traps = (HANDLES[0], f"{HANDLES[1]}) (start $s) (func $s unreachable")
    path = save(tmp_path, program(imports=HTTP, interface=HANDLER, handle=traps))
    done = coop("serve", "--addr", "127.0.0.1:0", path, expect=134)
    first, *frames = done.stderr.decode().splitlines()
    assert first == f"coop: {path}: the guest trapped: wasm `unreachable` instruction executed"
    assert frames == ["  at s"]
    path = save(tmp_path, program(imports=HTTP, interface=HANDLER, handle=(HANDLES[0], MEMORY)))
    limits = ["-W", "max-memory-size=1", "--addr", "127.0.0.1:0"]
    assert "limit memory exceeded" in complaint(["serve", *limits, path], 1)


MEMORY = f"{HANDLES[1]}) (memory 1"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["x"], "--invoke acme:a/b#f: argument of, a u32: 'x' is no u32"),
        (["some(1)"], "--invoke acme:a/b#f: argument of, a u32: "),
        ([], "--invoke acme:a/b#f: it is func(of: u32) and takes 1 arguments, not 0"),
    ],
    ids=" ".join,
)
def test_arguments_that_an_export_does_not_take_are_named_with_its_type(tmp_path, args, says):
    path = save(tmp_path, program(interface="acme:a/b@1.0.0", f=('(param "of" u32)', "(param i32)")))
    assert complaint(["run", "--invoke", "acme:a/b#f", path, *args], 1).startswith(says)


def test_a_component_that_needs_more_than_interfaces_is_told_in_words(tmp_path):
    path = save(tmp_path, '(component (import "m" (core module)))')
    assert complaint(["run", path], 1) == f"{path}: import m is a whole component or module, not an interface"


def test_missing_imports_are_named_each(tmp_path):
    path = save(
        tmp_path,
        '(module (import "env" "one" (func)) (import "env" "two" (memory 1)) (func (export "_start")))',
    )
    line = complaint(["run", path], 1)
    assert line.startswith(f"{path}: import env.one is not provided")
    assert "import env.two is not provided" in line


def test_an_import_of_another_type(tmp_path):
    path = save(
        tmp_path, '(module (import "wasi_snapshot_preview1" "fd_close" (func)) (func (export "_start")))'
    )
    line = complaint(["run", path], 1)
    assert "wasi_snapshot_preview1.fd_close has type () -> ()" in line
    assert "(i32) -> (i32)" in line


def test_a_module_that_is_no_program(tmp_path):
    line = complaint(["run", save(tmp_path, EXPORTS)], 1)
    assert "_start is not exported" in line
    assert "add" in line


def test_names_of_exports_neither_command_the_terminal_nor_have_no_end(tmp_path):
    names = ["\\1b[2J", "x" * 100_000, *(f"f{number}" for number in range(1000))]
    functions = "".join(f'(func (export "{name}"))' for name in names)
    path = save(tmp_path, f"(module {functions})")
    line = complaint(["run", path], 1)
    assert "'\\x1b[2J'" in line
    assert line.endswith(" and 994 more")
    assert len(line) < 500


def test_a_module_without_functions_is_told_of_none(tmp_path):
    path = save(tmp_path, "(module)")
    assert complaint(["run", path], 1) == f"{path}: _start is not exported"


# -- exports


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (["nope"], 1, "nope is not exported; --invoke NAME calls one of these: add, big, both, "),
        (["a_global"], 1, "a_global is no function; --invoke NAME calls one of these: add, "),
        (["add", "1"], 2, "--invoke add: it takes 2 arguments (i32, i32), not 1"),
        (["add", "1", "2", "3"], 2, "--invoke add: it takes 2 arguments (i32, i32), not 3"),
        (["add", "1", "x"], 2, "--invoke add: argument 2: 'x' is no i32"),
        (["add", "1", "4294967296"], 2, "argument 2: 4294967296 does not fit into i32"),
        (["vector", "1"], 2, "argument 1: a command line cannot give a v128"),
    ],
)
def test_a_wrong_export_or_signature(tmp_path, args, status, says):
    name, *rest = args
    assert says in complaint(["run", "--invoke", name, save(tmp_path, EXPORTS), *rest], status)


# -- options


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["run"], "no guest is named"),
        (["run", "--bogus", TRAP], "no such option"),
        (["run", "-x", TRAP], "no such option"),
        (["run", "-W", "bogus=1", TRAP], "-W bogus: coop has no such setting"),
        (["run", "-S", "cli,bogus", TRAP], "-S bogus: coop has no such setting"),
        (["run", "-C", "bogus", TRAP], "-C bogus: coop has no such setting"),
        (["run", "-W", "timeout=soon", TRAP], "-W timeout=soon: a duration such as"),
        (["run", "-W", "max-wasm-stack=1", TRAP], "max-wasm-stack 1: must be from"),
        (["run", "-W", "max-wasm-stack=99999999999", TRAP], "max-wasm-stack 99999999999: must be from"),
        (["run", "--poller", "bogus", TRAP], "'bogus' is not one of"),
        (["run", "-W", "timeout", TRAP], "-W timeout: a duration such as 2s or 100ms wanted"),
        (["run", "--env"], "requires an argument"),
        (["run", "--bogus", TRAP], "(coop run --help tells more)"),
        (["serve", "--bogus", TRAP], "(coop serve --help tells more)"),
        (["doctor", "--bogus", TRAP], "(coop doctor --help tells more)"),
        (["wit", "--bogus"], "(coop wit --help tells more)"),
        (["wit"], "(coop wit --help tells more)"),
        (["run", "--dir", ".::/data:ro", TRAP], "--dir .::/data:ro: two colons stand before ro"),
        (["run", "--env", "=x", TRAP], "--env =x: NAME or NAME=VALUE wanted"),
        *[
            (["run", "--dir", text, TRAP], f"--dir {text}: HOST, HOST::GUEST or HOST::GUEST::ro wanted")
            for text in ("::x", ".::", "", ".::x::", ".::x::rw", ".::::ro", ".::x::ro::ro", ".::x::RO")
        ],
        (
            ["run", "--dir", ".", "--dir", "/tmp::.", TRAP],
            "--dir /tmp::.: another directory has the guest name '.'",
        ),
        (["run", "--tcplisten", "9999", TRAP], "'9999': HOST:PORT wanted"),
        (["run", "--tcplisten", "127.0.0.1:http", TRAP], "the port is a number from 0 to 65535"),
        (["run", "-Stcplisten=127.0.0.1:65536", TRAP], "the port is a number from 0 to 65535"),
        (["run", "--tcplisten", "::1:80", TRAP], "an IPv6 address stands in brackets"),
        (["run", "--unixlisten", "", TICKER], "address 'unix:': unix:PATH or unix:@NAME wanted"),
        (["run", "--unixlisten", "@", TICKER], "unix:PATH or unix:@NAME wanted"),
        (["run", "--unixlisten", "x" * 108, TICKER], "the name of a Unix socket has 107 bytes at most"),
        (["run", "--tcpconnect", "localhost", TICKER], "'localhost': HOST:PORT wanted"),
        (["run", "--tcpconnect", "::1:80", TICKER], "an IPv6 address stands in brackets"),
        (["run", "--tcpconnect", "a..b:80", TICKER], "'a..b' is no host's name"),
        (["run", "--unixconnect", "", TICKER], "unix:PATH or unix:@NAME wanted"),
    ],
)
def test_bad_usage_is_named(args, says):
    assert says in complaint(args, 2)


# -- the system


def test_an_address_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = complaint(["run", "--tcplisten", address, TRAP], 1)
    assert line == f"listen on {address}: Address already in use"


def test_a_host_name_that_does_not_exist():
    line = complaint(["run", "--tcplisten", "no-such-host.invalid:80", TRAP], 1)
    assert line.startswith("listen on no-such-host.invalid:80: ")


def test_a_directory_that_does_not_exist(tmp_path):
    assert (
        complaint(["run", "--dir", tmp_path / "x", TRAP], 1)
        == f"--dir {tmp_path}/x: No such file or directory"
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (".:/x", " (HOST::GUEST has two colons)"),
        ("./nowhere:ro", " (HOST::GUEST has two colons)"),
        ("./nowhere", ""),
        ("./nowhere::/x", ""),
    ],
)
def test_a_colon_too_few_is_guessed_where_there_is_no_such_directory(text, hint):
    assert complaint(["run", "--dir", text, TRAP], 1) == f"--dir {text}: No such file or directory{hint}"


def test_a_directory_may_have_a_colon_in_its_name(tmp_path):
    (tmp_path / "a:b").mkdir()
    coop("run", "--dir", f"{tmp_path}/a:b", TICKER, "1", "1")


def test_a_directory_that_is_a_file():
    assert complaint(["run", f"--dir={TRAP}::/", TRAP], 1) == f"--dir {TRAP}::/: Not a directory"


#: Root may do anything, so it is nobody while the command runs, and itself again to end.
UNPRIVILEGED = """
import os, sys
import coop.cli
is_root = os.getuid() == 0
if is_root:
    os.setgroups([]); os.setegid(65534); os.seteuid(65534)
try:
    coop.cli.main(sys.argv[1:])
finally:
    if is_root:
        os.seteuid(0); os.setegid(0)
"""


@pytest.mark.parametrize("what", ["file", "directory"])
def test_no_permission(tmp_path, what):
    locked = tmp_path / "locked"
    locked.mkdir() if what == "directory" else locked.write_text("(module)")
    locked.chmod(0)
    args = ["--dir", str(locked), str(TICKER)] if what == "directory" else [str(locked)]
    done = run_child(["-c", UNPRIVILEGED, "run", *args], expect=1)
    locked.chmod(stat.S_IRWXU)
    name = f"--dir {locked}" if what == "directory" else str(locked)
    assert done.stderr.decode() == f"coop: {name}: Permission denied\n"


def test_no_thread_to_be_had():
    code = """
    import tempfile
    import coop.cli
    from tests.shortage import end_threads
    end_threads()
    with tempfile.NamedTemporaryFile(suffix=".wat") as guest:
        print(guest.name, flush=True)
        coop.cli.main([guest.name])
    """
    done = run_child(code, expect=1)
    name = done.stdout.decode().strip()
    assert done.stderr.decode() == f"coop: start a thread to load {name}: can't start new thread\n"


def test_a_memory_that_is_larger_than_the_limit_from_the_start():
    line = complaint(["run", "-W", "max-memory-size=1", TRAP], 1)
    assert "limit memory exceeded" in line
    assert "-W max-memory-size=" in line


def test_a_name_that_is_no_utf8_is_shown_and_not_choked_on(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.wasm"
    assert complaint(["run", os.fsdecode(name)], 1).endswith(".wasm: No such file or directory")


def test_a_component_is_not_given_what_is_no_text(tmp_path):
    guest = tmp_path / "guest.wat"
    guest.write_text(
        """(component (core module $m (func (export "run") (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (component $c (import "r" (func $f (result (result)))) (export "run" (func $f)))
        (instance $x (instantiate $c (with "r" (func $run)))) (export "wasi:cli/run@0.2.0" (instance $x)))"""
    )
    assert "an argument is " in complaint(["run", str(guest), os.fsdecode(b"\xff")], 2)
    assert "a variable is " in complaint(["run", "--env", os.fsdecode(b"A=\xff"), str(guest)], 2)


# -- a closed stream

#: A command line whose stderr is closed, as `2>&-` makes it; its first argument is not its own.
NO_STDERR = ["-c", "import os, sys; os.close(2); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"]


@pytest.mark.parametrize("options", [[], ["-v"], ["-vv"]], ids=["silent", "v", "vv"])
def test_without_stderr_nothing_is_said_and_nothing_breaks(tmp_path, options):
    unusable = tmp_path / "cache"
    unusable.mkdir()
    unusable.chmod(0o755)
    args = ["-m", "coop", "run", *options, str(TICKER), "1", "1"]
    done = run_child([*NO_STDERR, *args], env={"COOP_CACHE_DIR": str(unusable)})
    assert (done.stdout, done.stderr) == (b"tick 1\n", b"")


def test_a_cache_that_cannot_be_used_is_told_once(tmp_path):
    unusable = tmp_path / "cache"
    unusable.mkdir()
    unusable.chmod(0o755)
    done = coop("run", TICKER, "1", "1", env={"COOP_CACHE_DIR": str(unusable)})
    assert done.stderr.count(b"module cache: not used") == 1


# -- names that a file has chosen

ORDER = r"\1b[2J\07\0acoop: all is well\0a  wasm trap: nothing at all"
"""Clears a terminal and rings its bell, then looks like lines of coop's and of wasmtime's."""


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (f'(func $f (@name "{ORDER}") unreachable) (func (export "_start") (call $f))', 134),
        (f'(import "{ORDER}" "f" (func)) (func (export "_start"))', 1),
        (f'(import "f" "{ORDER}" (global i32)) (func (export "_start"))', 1),
        (f'(func (export "{ORDER}"))', 1),
        (f'(func (export "{ORDER}")) (func (export "{ORDER}"))', 1),
    ],
    ids=["a function", "a module", "an import", "an export", "two exports"],
)
def test_a_name_can_neither_command_a_terminal_nor_look_like_a_line_of_coops(
    tmp_path, body: str, status: int
):
    guest = save(tmp_path, f'(module {body} (memory (export "memory") 1))')
    said = coop("run", guest, expect=status).stderr.decode()
    assert r"\x1b[2J" in said
    assert said.replace("\n", "").isprintable()
    first, *others = said.splitlines()
    assert first.startswith(f"coop: {guest}: ")
    assert all(line.startswith("  at ") for line in others)
    assert status != 134 or "unreachable" in first
