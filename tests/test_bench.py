"""The bench works: its own servers serve, and a row comes out as a table and as a report."""

import json
import resource
import socket
import subprocess
import sys

import pytest

from bench.parts import run_part
from bench.peers import PeerFailed, PeerMissing, command_peer, wasmtime_program
from bench.rows.components import echo_us
from tests.children import ROOT
from tests.guestbuild import ToolchainMissing, go_guest

MESSAGES = [b"a", b"x" * 64, b"y" * 1000, b"z" * 64]


@pytest.mark.parametrize("name", ["bareloop", "hostecho", "bareecho"])
def test_the_servers_of_the_bench_echo_to_each_client(name):
    """The bare ones use the border's inner parts by hand, so whoever changes those may break them."""
    command = [sys.executable, "-m", f"bench.{name}"]
    if name == "bareecho":
        try:
            command.append(str(go_guest(ROOT / "examples" / "tcpecho" / "guest.go")))
        except ToolchainMissing as missing:
            pytest.skip(str(missing))
    with command_peer(name, command) as peer:
        clients = [socket.create_connection(("127.0.0.1", peer.port), timeout=60) for _ in range(3)]
        for message in MESSAGES:
            for client in clients:
                client.sendall(message)
            for client in clients:
                assert client.recv(len(message), socket.MSG_WAITALL) == message
        for client in clients:
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            client.close()
        assert peer.process.poll() is None


def test_bare_guests_start_and_end():
    found = run_part("bench.bareparked", "bare", 50)
    assert found["start_us"] > 0
    assert found["cancel_us"] > 0


def test_a_row_is_measured_and_reported(tmp_path):
    table, report = tmp_path / "table.md", tmp_path / "all.json"
    command = [sys.executable, "-m", "bench", "--quick", "--only", "calls"]
    done = subprocess.run(
        [*command, "--json", report, "--markdown", table],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = json.loads(report.read_text())["lines"]
    assert [line["row"] for line in lines] == ["call fast", "call clock", "call park", "call yield"]
    for line in lines:
        assert line["coop"]["median"] > 0
        assert line["what"] in table.read_text()
        assert line["row"] in done.stdout


def test_a_row_with_very_many_connections_allows_itself_the_files():
    try:
        wasmtime_program()
        go_guest(ROOT / "examples" / "tcpecho" / "guest.go")
    except (PeerMissing, ToolchainMissing) as missing:
        pytest.skip(str(missing))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--only", "idle"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_server_that_says_no_port_is_a_peer_that_failed():
    with pytest.raises(PeerFailed, match=r"a port wanted.*sorry"):
        echo_us([sys.executable, "-c", "print('sorry')"], 1)


def test_a_row_that_is_none_is_refused_by_its_name():
    command = [sys.executable, "-m", "bench", "--only", "warp"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "warp" in done.stderr
