"""`coop doctor`: what it says of a guest, and that it is right: `coop run` ends as it was told."""

import os
import pty
import socket
import subprocess
from pathlib import Path

import pytest
import wasmtime

from coop.cli import main
from tests.children import ROOT, run_child, start_child
from tests.children import command as child_command
from tests.cli.guests import ARGS_ENV, CAT, SPIN, TCPECHO, TICKER, coop, exits, save
from tests.guestbuild import c_guest, go_guest, zig_guest

GUESTS = ROOT / "tests" / "guests"

LISTENING = ("--tcplisten", "127.0.0.1:0")


@pytest.fixture
def doctor(tmp_path, capsys):
    """Examine a guest, a text or a path; gives the status and the report, with white space made one."""

    def examine(guest: str | bytes | Path, *options: str) -> tuple[int, str]:
        path = guest
        if isinstance(guest, str):
            path = save(tmp_path, guest)
        elif isinstance(guest, bytes):
            path = tmp_path / "guest.wasm"
            path.write_bytes(guest)
        with pytest.raises(SystemExit) as ended:
            main(["doctor", *options, str(path)])
        out, err = capsys.readouterr()
        return ended.value.code, " ".join((out + err).split())

    return examine


def wasi(*functions: str, more: str = "") -> str:
    """A program that imports functions of preview 1 and does nothing; `more` follows its exports."""
    types = {
        "sock_accept": "(param i32 i32 i32) (result i32)",
        "sock_recv": "(param i32 i32 i32 i32 i32 i32) (result i32)",
        "poll_oneoff": "(param i32 i32 i32 i32) (result i32)",
        "fd_read": "(param i32 i32 i32 i32) (result i32)",
        "fd_fdstat_set_flags": "(param i32 i32) (result i32)",
        "path_unlink_file": "(param i32 i32 i32) (result i32)",
    }
    imports = [f'(import "wasi_snapshot_preview1" "{name}" (func {types[name]}))' for name in functions]
    return f'(module {" ".join(imports)} (memory (export "memory") 1) (func (export "_start")) {more})'


def importing(module: str, name: str, what: str = "(func)") -> str:
    return f'(module (import "{module}" "{name}" {what}) (func (export "_start")))'


# -- what it lists


def test_a_guest_that_needs_nothing_will_run(doctor):
    status, text = doctor(TICKER)
    assert (status, text.endswith("verdict it will run")) == (0, True)
    assert "findings" not in text


def test_imports_are_grouped_by_what_they_are_for(doctor):
    _, text = doctor(TCPECHO, *LISTENING)
    assert "wasi_snapshot_preview1 WASI preview 1, " in text
    assert " waiting poll_oneoff sockets sock_accept" in text


def test_everything_that_is_given_is_listed_with_its_number(doctor, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        port = elsewhere.getsockname()[1]
        _, text = doctor(
            ARGS_ENV,
            *("--env", "A=1", "--dir", f"{tmp_path}::/in::ro", "--tcpconnect", f"127.0.0.1:{port}"),
            *LISTENING,
            *("--unixlisten", "/nowhere/x"),
        )
    assert "variables A sockets fd 3: 127.0.0.1:0, listens, non-blocking" in text
    assert "fd 4: unix:/nowhere/x, listens, non-blocking" in text
    assert f"fd 5: 127.0.0.1:{port}, is connected" in text
    assert f"directories fd 6: {tmp_path}, as /in (read-only)" in text


def test_nothing_is_opened_run_or_listened_on(doctor, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        assert doctor(SPIN, "--tcplisten", busy, "--unixlisten", str(tmp_path / "s"))[0] == 1
    assert not (tmp_path / "s").exists()


def test_arguments_of_the_guest_are_not_options(tmp_path):
    done = coop("doctor", save(tmp_path, ARGS_ENV), "--dir", "-x")
    assert "arguments                   2" in done.stdout.decode()


def test_settings_that_change_nothing_are_named_if_asked_for(tmp_path):
    done = coop("doctor", "-v", "-O", "opt-level=2", save(tmp_path, exits(0)))
    assert b"accepted; changes nothing here setting='-O opt-level=2'" in done.stderr


def test_it_is_plain_text_when_it_is_piped(tmp_path):
    done = coop("doctor", "--tcplisten", "127.0.0.1:0", CAT, expect=1)
    assert b"\x1b" not in done.stdout
    assert max(len(line) for line in done.stdout.decode().splitlines()[1:]) <= 100
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
@pytest.mark.parametrize("command", [["doctor"], ["run", "-v"]], ids=["doctor", "log"])
def test_a_terminal_gets_colours_unless_somebody_minds(command: list[str], variables, coloured: bool):
    main_side, side = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
    argv = child_command(["-m", "coop", *command, str(TICKER), "1", "1"])
    try:
        streams = {"stdin": side, "stdout": side, "stderr": side}
        subprocess.run(argv, env={**environment, **variables}, timeout=50, cwd=ROOT, check=True, **streams)
        assert (b"\x1b[" in os.read(main_side, 1 << 16)) is coloured
    finally:
        os.close(main_side)
        os.close(side)


# -- what is missing


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        ("env", "emscripten_resize_heap", "-sSTANDALONE_WASM"),
        ("env", "abort", "AssemblyScript without WASI"),
        ("env", "my_function", "coop.host_function"),
        ("mine", "f", "coop.host_function"),
        ("wasi", "thread-spawn", "without threads"),
        ("wasi_ephemeral_nn", "load", "a proposal for WASI"),
        ("wasix_32v1", "fd_dup", "WASIX"),
        ("gojs", "runtime.ticks", "GOOS=wasip1"),
        ("wbg", "__wbg_log", "wasm-bindgen"),
        ("wasi:io/poll@0.2.0", "poll", "inside of a component"),
        ("GOT.func", "f", "linked while it runs"),
        ("wasi_snapshot_preview1", "sock_connect", "WasmEdge"),
        ("wasi_snapshot_preview1", "fd_dup", "preview 1 has no such function"),
        ("", "f", "a module without a name"),
    ],
)
def test_an_import_that_is_not_offered_is_explained(doctor, module: str, name: str, words: str):
    status, text = doctor(importing(module, name))
    assert status == 1
    assert f"missing it imports {name} from " in text
    assert words in text
    assert text.endswith("it will not run like this: see what is missing")


def test_an_import_of_another_type_is_shown_with_both(doctor):
    status, text = doctor(importing("wasi_snapshot_preview1", "fd_close", "(func (param i64))"))
    assert status == 1
    assert "imports wasi_snapshot_preview1.fd_close as (i64) -> (); it is (i32) -> (i32)" in text


def test_an_import_that_is_no_function_is_named(doctor):
    status, text = doctor(importing("wasi_snapshot_preview1", "fd_close", "(global i32)"))
    assert (status, "as a global; it is a function" in text) == (1, True)


def test_snapshot_0_has_no_sock_accept_and_a_listener_would_not_help(doctor):
    accept = "(func (param i32 i32 i32) (result i32))"
    status, text = doctor(importing("wasi_unstable", "sock_accept", accept))
    assert (status, "the snapshot before preview 1 cannot accept connections" in text) == (1, True)
    assert "no socket is given" not in text


def test_snapshot_0_is_offered(doctor):
    _, text = doctor(importing("wasi_unstable", "sched_yield", "(func (result i32))"))
    assert "the one before preview 1, 1 import" in text
    assert "not offered" not in text


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ('(import "env" "memory" (memory 1 1 shared))', "shared between threads"),
        ("(memory 1 1 shared)", "shared between threads"),
        ("(type $s (struct)) (func (param (ref $s)))", "the engine refuses it: "),
        ("(memory i64 1)", "the engine refuses it: "),
        ("(tag $t) (func (throw $t))", "the engine refuses it: "),
        ("(func (result i32))", "the engine refuses it: "),
    ],
)
def test_what_the_engine_does_not_have_is_named(doctor, what: str, words: str):
    status, text = doctor(f'(module {what} (func (export "_start")))')
    assert (status, words in text) == (1, True)


def test_a_component_is_told_with_its_interfaces(doctor):
    component = """(component
      (import "wasi:io/poll@0.2.0" (instance)) (import "x" (func $f)) (import "wasi:io/poll@0.3.0" (instance))
      (instance $run (export "run" (func $f)))
      (export "wasi:cli/run@0.2.0" (instance $run)) (export "other" (func $f)))"""
    status, text = doctor(bytes(wasmtime.wat2wasm(component)))
    assert status == 1
    assert "a component of " in text
    assert "interfaces wasi:io/poll@0.2.0, x, wasi:io/poll@0.3.0 exports" in text
    assert "names wasi:cli/run@0.2.0, other given" in text
    assert "it is for another WASI than 0.2: wasi:io/poll@0.3.0." in text
    assert "trouble nobody provides x:" in text


def test_a_component_that_is_no_command_is_told_so(doctor):
    status, text = doctor("(component)")
    assert (status, "it does not export wasi:cli/run" in text) == (1, True)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_component_with_a_module_that_the_engine_refuses_will_not_run(doctor, tmp_path, depth):
    fine, throws = '(func (export "f") (result i32) (i32.const 0))', "(tag (param i32))"
    component = """(component
      {} (core module $m {}) {} (core instance $i (instantiate $m)) (core module {})
      (func $run (result (result)) (canon lift (core func $i "f"))) (instance $run (export "run" (func $run)))
      (export "wasi:cli/run@0.2.0" (instance $run)))"""
    begin, end = "(component " * depth, ")" * depth
    for module, words in ((throws, "or -W exceptions"), ("(memory i64 1)", "memory64 must be enabled")):
        inside = f"{begin} (core module {module}) {end}"
        for text in (
            component.format(inside, fine, "", ""),
            component.format("", fine, inside, "(memory 1)"),
        ):
            status, told = doctor(text)
            assert (status, "the engine refuses a module in it: " in told, words in told) == (1, True, True)
            assert run_child(["-m", "coop", "run", str(save(tmp_path, text))], expect=1).stderr
    assert (
        doctor(component.format(f"{begin} (core module {throws}) {end}", fine, "", ""), "-W", "exceptions")[0]
        == 0
    )
    assert doctor(component.format("", fine, f"{begin} {end}" * bool(depth), ""))[0] == 0


@pytest.mark.parametrize(
    "call", ["f", "f(1)", "#f", "a:b/c#f", "a:b/c@1.0.0#f", "no", "no(1)", "#no", "a:b/no#f"]
)
def test_an_export_of_a_component_is_looked_for_as_a_run_does(tmp_path, call):
    component = """(component (core module $m (func (export "f") (param i32)))
      (core instance $i (instantiate $m))
      (func $f (param "a" u32) (canon lift (core func $i "f"))) {})"""
    interface = '(instance (export "a:b/c@1.0.0") (export "f" (func $f)))'
    for number, exports in enumerate(['(export "f" (func $f))', f'(export "f" (func $f)) {interface}']):
        guest = save(tmp_path, component.format(exports), f"{number}.wat")
        args = [] if "(" in call else ["1"]
        told = coop("doctor", "--invoke", call, guest, *args, expect=None)
        ended = coop("run", "--invoke", call, guest, *args, expect=None)
        if "no" not in call or "#" in call or number == 0:  # else it might be in the interface
            assert told.returncode == ended.returncode, (told.stdout, ended.stderr)


def test_a_component_that_serves_http_is_for_the_other_command(doctor):
    service = (
        '(component (import "x" (instance $i)) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))'
    )
    status, text = doctor(service)
    assert (status, "is no command: coop serve runs it" in text) == (1, True)


def test_a_component_is_told_what_of_the_network_it_may_use(doctor):
    component = """(component (import "wasi:sockets/tcp@0.2.0" (instance))
      (import "f" (func $f)) (instance $run (export "run" (func $f)))
      (export "wasi:cli/run@0.2.0" (instance $run)))"""
    assert "note it can open sockets, and is allowed none" in doctor(component)[1]
    text = doctor(component, "--allow-connect", "127.0.0.1:80", "-S", "allow-ip-name-lookup")[1]
    assert "network connect 127.0.0.1:80, look up *" in text
    assert "note it can open" not in text
    assert "network everything" in doctor(component, "-S", "inherit-network")[1]
    assert "a component opens its own" in doctor(component, "--tcplisten", "127.0.0.1:80")[1]


def test_a_module_that_is_allowed_the_network_will_not_run(doctor):
    """Nor does `coop run` run it: whoever allows a module something wants it to have a socket."""
    for option, value in (("connect", "127.0.0.1:80"), ("listen", "127.0.0.1:80"), ("name", "localhost")):
        status, text = doctor(exits(0), f"--allow-{option}", value)
        assert (status, "missing --allow-connect, --allow-listen" in text) == (1, True)


def test_a_memory_beyond_the_limit_is_missing_room(doctor):
    big = '(module (memory (export "memory") 2) (table 9 funcref) (func (export "_start")))'
    status, text = doctor(big, "-W", "max-memory-size=65536,max-table-elements=8")
    assert status == 1
    assert "131072 bytes from the start, and the limit is 65536: -W max-memory-size=131072" in text
    assert "tables have 9 elements" in text
    assert doctor(big)[0] == 0


def test_a_guest_without_memory_cannot_be_handed_bytes(doctor):
    status, text = doctor(wasi("fd_read").replace('"memory"', '"mem"'))
    assert (status, "exports no memory" in text) == (1, True)


# -- how it starts


@pytest.mark.parametrize(
    ("exports", "options", "words"),
    [
        ('(func (export "add"))', (), "neither _start nor _initialize"),
        ('(func (export "_initialize")) (func (export "add"))', (), "a library"),
        ('(func (export "add"))', ("--invoke", "sub"), "exports no function sub; it exports these: add"),
        ("", ("--invoke", "sub"), "exports no function sub verdict"),
        ('(global (export "_start") i32 (i32.const 0))', (), "export _start is a global"),
        ("", (), "(there is none)"),
        ('(func (export "run") (export "resume") (export "getsp"))', (), "a page's JavaScript"),
    ],
)
def test_a_module_that_is_no_program_is_told_how_to_be_called(doctor, exports: str, options, words: str):
    status, text = doctor(f"(module {exports})", *options)
    assert (status, words in text) == (1, True)


def test_a_start_section_is_a_program(doctor):
    status, text = doctor("(module (func $f) (start $f))")
    assert (status, "its start section is all that it does" in text) == (0, True)


ADD = '(func (export "add") (param i32 i64) (result f32) (f32.const 1))'


def test_an_export_that_is_named_will_do(doctor):
    assert doctor(f"(module {ADD.replace('(param i32 i64)', '')})", "--invoke", "add")[0] == 0


def test_an_export_is_told_with_what_it_takes(doctor):
    status, text = doctor(f"(module {ADD})", "--invoke", "add")
    assert (status, "--invoke add: it takes 2 arguments (i32, i64), not 0" in text) == (1, True)
    assert "names add(i32, i64) -> (f32) given" in text


@pytest.mark.parametrize("args", [["1", "2"], ["1"], ["1", "2", "3"], ["x", "1"], ["1", "1.5"], ["-1", "-1"]])
def test_the_arguments_of_an_export_are_looked_at_as_a_run_does(tmp_path, args: list[str]):
    guest = save(tmp_path, f"(module {ADD})")
    told = coop("doctor", "--invoke", "add", guest, "--", *args, expect=None)
    ended = coop("run", "--invoke", "add", guest, "--", *args, expect=None)
    assert (told.returncode == 0) is (ended.returncode == 0), (told.stdout, ended.stderr)
    if ended.returncode:
        why = ended.stderr.decode().strip().splitlines()[-1].partition("--invoke add: ")[2]
        assert why in " ".join(told.stdout.decode().split())


# -- what dead-locks or spins


def test_a_server_without_a_socket_lacks_one(doctor):
    status, text = doctor(TCPECHO)
    assert (status, "no socket is given: --tcplisten HOST:PORT" in text) == (1, True)
    assert doctor(TCPECHO, *LISTENING)[0] == 0


def test_an_interpreter_is_no_server_that_lacks_a_socket(doctor):
    numbers = {
        "sock_accept": 3,
        "path_create_directory": 3,
        "path_rename": 6,
        "path_unlink_file": 3,
        "poll_oneoff": 4,
    }
    imports = "".join(
        f'(import "wasi_snapshot_preview1" "{name}" (func (param {"i32 " * count}) (result i32)))'
        for name, count in numbers.items()
    )
    status, text = doctor(f'(module {imports} (memory (export "memory") 1) (func (export "_start")))')
    assert (status, "given no socket (--tcplisten HOST:PORT gives one)" in text) == (0, True)
    assert text.endswith("it will run")


def test_a_listener_that_nobody_accepts_on_is_trouble(doctor):
    status, text = doctor(TICKER, *LISTENING)
    assert (status, "clients connect, and nobody answers" in text) == (1, True)
    assert text.endswith("it will start, and then not work: see the trouble")


def test_a_server_that_cannot_wait_will_spin(doctor):
    status, text = doctor(wasi("sock_accept"), *LISTENING)
    assert (status, "spins or gives up" in text) == (1, True)


def test_a_server_that_can_make_its_listener_blocking_may_run(doctor):
    status, text = doctor(wasi("sock_accept", "fd_fdstat_set_flags"), *LISTENING)
    assert (status, "note it has no poll_oneoff" in text) == (0, True)


TINYGO = '(@producers (processed-by "TinyGo" "0.39.0"))'
ASYNCIFY = '(func (export "asyncify_start_unwind"))'


@pytest.mark.parametrize(
    "mark",
    [
        TINYGO + ASYNCIFY,
        "(func $tinygo_unwind)" + ASYNCIFY,
        '(func (export "malloc") (export "free"))' + ASYNCIFY,
    ],
)
def test_tinygo_is_known_by_what_it_leaves_in_a_file(doctor, mark: str):
    assert "made by TinyGo" in doctor(wasi(more=mark))[1]


@pytest.mark.parametrize(
    ("functions", "more", "status", "words"),
    [
        (["sock_accept", "poll_oneoff"], "", 1, "trouble TinyGo built it without a scheduler"),
        (["fd_read"], "", 0, "note TinyGo built it without a scheduler"),
        (["fd_read", "poll_oneoff"], ASYNCIFY, 0, "note this TinyGo waits inside a read"),
        (["fd_read", "poll_oneoff", "sock_accept"], ASYNCIFY, 0, "it will run"),
    ],
)
def test_tinygos_schedulers_are_told_apart(doctor, functions, more: str, status: int, words: str):
    options = LISTENING if "sock_accept" in functions else ()
    got, text = doctor(wasi(*functions, more=TINYGO + more), *options)
    assert (got, words in text) == (status, True)
    assert ("findings" in text) == (words != "it will run")


@pytest.mark.parametrize(
    ("functions", "options", "words"),
    [
        (["path_unlink_file"], [], "is given no directory"),
        ([], ["--dir", "."], "nothing that opens a file"),
        ([], ["--env", "A=1"], "nothing that reads them"),
    ],
)
def test_what_is_given_in_vain_is_noted(doctor, functions, options, words: str):
    status, text = doctor(wasi(*functions), *options)
    assert (status, words in text) == (0, True)


# -- what compilers make

LISTENS_INSIDE = """package main

import "net"

func main() {
	listener, _ := net.Listen("tcp", ":8080")
	listener.Accept()
}
"""
DIALS = 'package main\n\nimport "net"\n\nfunc main() { net.Dial("tcp", "127.0.0.1:80") }\n'
READS = """package main

import (
	"fmt"
	"os"
)

func main() {
	data, err := os.ReadFile("f")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(data))
}
"""

EXPORTS_ADD = """package main

//go:wasmexport add
func add(a, b int32) int32 { return a + b }

func main() {}
"""

WAITS_BESIDE = """
package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
)

func main() {
	if err := syscall.SetNonblock(3, true); err != nil {
		panic(err)
	}
	client, err := net.FileConn(os.NewFile(3, ""))
	if err != nil {
		panic(err)
	}
	begun, done := make(chan bool), make(chan bool)
	go func() {
		buffer := make([]byte, 16)
		close(begun)
		count, _ := client.Read(buffer)
		fmt.Printf("%s\\n", buffer[:count])
		close(done)
	}()
	<-begun
	runtime.Gosched()
	fmt.Println("beside")
	<-done
}
"""


@pytest.fixture
def go(tmp_path):
    """Build the text of a Go program."""

    def build(text: str) -> Path:
        source = tmp_path / "main.go"
        source.write_text(text)
        return go_guest(source)

    return build


@pytest.mark.slow
def test_a_go_server_that_takes_the_hosts_listener_will_run(doctor):
    guest = go_guest(GUESTS / "echo_once.go")
    status, text = doctor(guest, *LISTENING, "--dir", ".::/")
    assert (status, "made by Go 1." in text, "findings" in text) == (0, True, False)
    assert doctor(guest)[0] == 1


@pytest.mark.slow
def test_a_go_server_that_listens_by_itself_dead_locks_as_it_is_told(doctor, go):
    guest = go(LISTENS_INSIDE)
    for options in ((), LISTENING):
        status, text = doctor(guest, *options)
        assert status == 1
        assert text.count("trouble it listens by net.Listen") == 1
        assert "net.FileListener(os.NewFile(3" in text
    assert b"all goroutines are asleep - deadlock!" in coop("run", *LISTENING, guest, expect=2).stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("directory", "finds"), [("{}::.", False), ("{}::./x", False), ("{}::/", True), ("{}::/x", True)]
)
def test_go_finds_files_only_below_a_slash(doctor, go, tmp_path, directory: str, finds: bool):
    (tmp_path / "f").write_text("found")
    option = ("--dir", directory.format(tmp_path))
    guest = go(READS)
    assert ('Go wants names of directories that begin with "/"' in doctor(guest, *option)[1]) is not finds
    assert (coop("run", *option, guest).stdout == b"found\n") is finds


@pytest.mark.slow
def test_a_go_program_that_dials_is_told_that_nothing_answers(doctor, go):
    status, text = doctor(go(DIALS))
    assert (status, "note it dials" in text) == (0, True)


@pytest.mark.slow
def test_go_is_told_how_to_wait_for_a_connection_beside_other_goroutines(doctor, go):
    guest = go(WAITS_BESIDE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        option = ("--tcpconnect", f"127.0.0.1:{server.getsockname()[1]}")
        assert "syscall.SetNonblock(3, true) before os.NewFile(3" in doctor(guest, *option)[1]
        assert "syscall.SetNonblock(4, true)" in doctor(guest, *LISTENING, *option)[1]
        assert "SetNonblock" not in doctor(guest, *LISTENING)[1]
        with start_child(["-m", "coop", "run", *option, str(guest)]) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"beside\n"  # and nothing has come by the connection
            client, _ = server.accept()
            with client:
                client.sendall(b"hello")
                assert child.stdout.readline() == b"hello\n"


@pytest.mark.slow
def test_a_go_function_is_called_only_in_a_library(doctor, go):
    guest = go(EXPORTS_ADD)
    status, text = doctor(guest)
    assert (status, "note its functions (add)" in text) == (0, True)
    status, text = doctor(guest, "--invoke", "add")
    assert (status, "-buildmode=c-shared" in text) == (1, True)
    assert (
        b"before runtime initialization" in coop("run", "--invoke", "add", guest, "1", "2", expect=134).stderr
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "name", "words"),
    [(c_guest, "hello.c", "its maker is not said"), (zig_guest, "hello.zig", "made by Zig")],
)
def test_other_compilers_guests_will_run(doctor, build, name: str, words: str):
    status, text = doctor(build(GUESTS / name))
    assert (status, words in text) == (0, True)


# -- that it is right


@pytest.mark.parametrize(
    "text",
    [
        exits(0),
        importing("env", "f"),
        importing("wasi_snapshot_preview1", "fd_close"),
        "(module)",
        '(module (memory 1 1 shared) (func (export "_start")))',
        '(module (memory 9000) (func (export "_start")))',
    ],
)
def test_a_run_ends_as_the_doctor_said(tmp_path, text: str):
    guest = save(tmp_path, text)
    told = coop("doctor", guest, expect=None).returncode
    assert coop("run", guest, expect=None).returncode == told


# -- bad input


def said_by(capsys, *args: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *args])
    out, err = capsys.readouterr()
    assert out == ""
    return ended.value.code, err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "no guest is named (coop doctor --help"),
        (["--bogus", "x.wasm"], "no such option"),
        (["-W", "bogus", "x.wasm"], "coop has no such setting"),
        (["--tcplisten", "nowhere", str(TICKER)], "HOST:PORT wanted"),
    ],
)
def test_bad_usage_is_status_2(capsys, args, words: str):
    status, line = said_by(capsys, *args)
    assert (status, words in line.lower() or words in line) == (2, True)


@pytest.mark.parametrize(
    ("text", "option", "words"),
    [
        ("(component)", ("--allow-connect", "nowhere"), "--allow-connect 'nowhere': HOST:PORT wanted"),
        ("(component)", ("--allow-name", "*."), "--allow-name '*.': a name, *.NAME or * wanted"),
        ("(module)", ("-W", "max-wasm-stack=1"), "max-wasm-stack 1: must be from 4096"),
    ],
)
def test_what_a_run_refuses_to_give_is_refused(tmp_path, capsys, text: str, option, words: str):
    status, line = said_by(capsys, *option, str(save(tmp_path, text)))
    assert (status, words in line) == (2, True)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"(module", b"\0as"])
def test_what_is_no_wasm_is_one_line(capsys, tmp_path, data: bytes):
    path = tmp_path / "a.wasm"
    path.write_bytes(data)
    status, line = said_by(capsys, str(path))
    assert (status, line.startswith(f"coop: {path}: ")) == (1, True)


def test_a_missing_file_or_directory_is_one_line(capsys):
    assert said_by(capsys, "/nowhere/x.wasm") == (1, "coop: /nowhere/x.wasm: No such file or directory\n")
    assert said_by(capsys, "--dir", "/nowhere", str(TICKER))[0] == 1


def test_a_file_that_is_cut_off_anywhere_is_told(doctor):
    wasm = bytes(wasmtime.wat2wasm(TCPECHO.read_text()))
    for length in range(4, len(wasm), 7):
        status, text = doctor(wasm[:length])
        assert (status, "missing" in text) == (1, True), length


def test_names_of_a_file_command_no_terminal(doctor):
    status, text = doctor(importing("e\\1b[2Jv", "a\\07" + "x" * 1000))
    assert status == 1
    assert "e\\x1b[2Jv" in text
    assert "\x1b[2J" not in text
    assert "x" * 300 not in text


MUTATE = """
    import io, sys, contextlib, pathlib, wasmtime
    from hypothesis import given, settings, strategies as st
    from coop.cli import main

    path = pathlib.Path(sys.argv[1])
    wholes = [bytes(wasmtime.wat2wasm(text)) for text in sys.argv[2:]]
    place = st.integers(0, 1 << 16)
    changes = st.lists(st.tuples(place, st.integers(0, 2), st.binary(max_size=12)), min_size=1, max_size=6)

    def changed(data, changes):
        for at, how, new in changes:
            at %= len(data) + 1
            end = len(data) if how == 0 else at + len(new) if how == 1 else at
            data = data[:at] + new + data[end:]
        return data

    @settings(max_examples=400, deadline=None, derandomize=True, database=None)
    @given(st.sampled_from(wholes), changes)
    def look(whole, changes):
        path.write_bytes(b"\\0asm" + changed(whole[4:], changes))
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main(["doctor", str(path)])
            except SystemExit as ended:
                assert ended.code in (0, 1), ended.code
        assert "verdict" in out.getvalue() or err.getvalue().startswith("coop: ")

    look()
"""


@pytest.mark.slow
def test_altered_bytes_are_answered_in_words(tmp_path):
    module = f"""(module {TINYGO}
      (import "env" "g" (global (mut i32)))
      (import "env" "t" (table 1 funcref))
      (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
      (memory (export "memory") 1 2)
      (func $f (export "_start"))
      (data (i32.const 0) "net.FileListener\\00"))"""
    component = '(component (import "wasi:io/poll@0.2.0" (instance)) (import "x" (func)))'
    program = "\n".join(line.removeprefix("    ") for line in MUTATE.splitlines())
    run_child(["-c", program, str(tmp_path / "a.wasm"), module, component])
