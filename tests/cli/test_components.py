"""`coop run` with a component: arguments, streams, exit statuses and calls, beside native wasmtime."""

import ast
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.children import ROOT
from tests.children import command as child_command
from tests.cli.guests import coop
from tests.components import command, script
from tests.guestbuild import ToolchainMissing
from tests.native import native

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program() -> str:
    try:
        return str(command("program.py"))
    except ToolchainMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def calls() -> str:
    try:
        return str(script())
    except ToolchainMissing as missing:
        pytest.skip(str(missing))


def natively(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*native("run"), *args], input=stdin, capture_output=True, check=False, timeout=200)


@pytest.mark.parametrize(
    "args",
    [
        ["args"],
        ["args", "one", "two words", "", "gr\u00fc\u00df"],
        ["env"],
        ["exit", "0"],
        ["exit", "1"],
        ["fail"],
        ["stdin"],
        ["stderr"],
        ["write", "300000"],
    ],
    ids=" ".join,
)
def test_a_command_does_what_it_does_on_native_wasmtime(program: str, args: list[str]):
    # Native wasmtime 36 has what became stable later behind switches, which coop takes and ignores.
    given = [
        "-S",
        "cli-exit-with-code,network-error-code",
        "--env",
        "T_A=1",
        "--env",
        "T_B=x=y",
        program,
        *args,
    ]
    stdin = b"first\nsecond\nlast without a newline"
    there = natively(*given, stdin=stdin)
    here = coop("run", *given, stdin=stdin, expect=there.returncode)
    assert here.stdout == there.stdout
    if "RuntimeError" in there.stderr.decode():
        assert "RuntimeError: it failed" in here.stderr.decode()
    else:
        assert here.stderr == there.stderr


def test_a_directory_is_given(program: str, tmp_path: Path):
    done = coop("run", "--dir", f"{tmp_path}::/data", program, "files", "/data")
    assert done.stdout == b"['made']\n"
    assert (tmp_path / "made").read_text() == "by the guest"


def test_a_terminal_is_one(program: str):
    main, side = pty.openpty()
    try:
        argv = child_command(["-m", "coop", "run", program, "terminals"])
        done = subprocess.run(argv, stdin=side, capture_output=True, check=True, timeout=200, cwd=ROOT)
        assert done.stdout == b"[True, False, False]\n"
    finally:
        os.close(main)
        os.close(side)


def test_an_export_is_called_with_arguments_of_its_types(calls: str):
    assert coop("run", "--invoke", "run", calls, "result = 1 + 1").stdout == b'"2"\n'


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (["--invoke", "run"], 1, "it is func(code: string) -> string and takes 1 arguments, not 0"),
        (["--invoke", "walk"], 1, "function walk is not exported"),
        (["--invoke", "a:b/c#walk"], 1, "interface a:b/c is not exported"),
        ([], 1, "wasi:cli/run is not exported, so it is no command (it exports"),
        (["--tcplisten", "127.0.0.1:0"], 2, "is a component, which opens its sockets itself"),
        (["--allow-connect", "nowhere"], 2, "--allow-connect 'nowhere': HOST:PORT wanted"),
        (["--allow-connect", "example.org:443"], 2, "wanted, not a name: those that may be looked up"),
        (["--allow-connect", "300.0.0.1:443"], 2, "'300.0.0.1' does not appear to be"),
        (["--allow-name", "http://x"], 2, "--allow-name 'http://x': a name, *.NAME or * wanted"),
        (["--allow-listen", "127.0.0.1:http"], 2, "the port is a number from 0 to 65535, or *"),
    ],
)
def test_bad_usage_is_one_line(calls: str, args: list[str], status: int, says: str):
    done = coop("run", *args, calls, expect=status)
    assert says in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_a_core_module_opens_no_sockets(tmp_path: Path):
    guest = tmp_path / "a.wat"
    guest.write_text('(module (func (export "_start")))')
    done = coop("run", "--allow-connect", "*:*", str(guest), expect=2)
    assert b"is a core module, which opens no sockets itself" in done.stderr


def test_a_core_module_takes_the_settings_of_a_component(tmp_path: Path):
    """As wasmtime does: a script may give them to whatever it runs."""
    guest = tmp_path / "a.wat"
    guest.write_text('(module (func (export "_start")))')
    settings = "inherit-network,allow-ip-name-lookup,tcp,udp"
    assert coop("run", "-S", settings, str(guest)).stderr == b""


def test_a_guest_that_spins_runs_out_of_time(program: str):
    done = coop("run", "-W", "timeout=300ms", program, "spin", expect=124)
    assert b"limit wall_time exceeded" in done.stderr


# -- the network

LISTENS = """
V4 = network.IpAddressFamily.IPV4
def said(call, *args):
    try:
        answer = call(*args)
    except Err as error:
        return error.value.name.lower().replace("_", "-")
    return "ok"
def listen():
    sock = tcp_create_socket.create_tcp_socket(V4)
    where = network.IpSocketAddress_Ipv4(network.Ipv4SocketAddress(0, (127, 0, 0, 1)))
    sock.start_bind(instance_network.instance_network(), where)
    sock.finish_bind()
    sock.start_listen()
def connect():
    sock = tcp_create_socket.create_tcp_socket(V4)
    where = network.IpSocketAddress_Ipv4(network.Ipv4SocketAddress(1, (127, 0, 0, 1)))
    sock.start_connect(instance_network.instance_network(), where)
def look_up():
    ip_name_lookup.resolve_addresses(instance_network.instance_network(), "127.0.0.1")
    ip_name_lookup.resolve_addresses(instance_network.instance_network(), "localhost")
result = [
    said(tcp_create_socket.create_tcp_socket, V4), said(udp_create_socket.create_udp_socket, V4),
    said(listen), said(connect), said(look_up),
]
"""
NO = "access-denied"


@pytest.mark.parametrize(
    ("options", "tcp", "udp", "listens", "connects", "looks_up"),
    [
        ([], NO, NO, NO, NO, NO),
        (["-S", "inherit-network,tcp=n"], NO, "ok", NO, NO, NO),
        (["-S", "inherit-network,udp=n"], "ok", NO, "ok", "ok", NO),
        (["-S", "tcp,udp"], NO, NO, NO, NO, NO),
        (["-S", "allow-ip-name-lookup"], NO, NO, NO, NO, "ok"),
        (["--allow-name", "localhost"], NO, NO, NO, NO, "ok"),
        (["--allow-connect", "127.0.0.1:1", "--allow-listen", "127.0.0.1:1"], "ok", "ok", NO, "ok", NO),
        (["--allow-connect", "127.0.0.0/8:*", "-S", "tcp=n"], NO, "ok", NO, NO, NO),
        (["--allow-listen", "127.0.0.1:0"], "ok", "ok", "ok", NO, NO),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_the_network_is_what_the_options_say(
    calls: str, options: list[str], tcp: str, udp: str, listens: str, connects: str, looks_up: str
):
    done = coop("run", *options, "--invoke", "run", calls, LISTENS)
    assert ast.literal_eval(ast.literal_eval(done.stdout.decode())) == [tcp, udp, listens, connects, looks_up]
