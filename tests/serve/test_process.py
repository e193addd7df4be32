"""`coop serve` as a process: its options, its signals, its log; and native wasmtime beside it."""

import http.client
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from coop.net.address import parse_address
from tests.children import run_child, start_child
from tests.components import command, service
from tests.guestbuild import ToolchainMissing
from tests.native import native
from tests.serve.certificate import make_certificate

pytestmark = pytest.mark.slow

PATIENCE_S = 100.0


@pytest.fixture(scope="module")
def guest() -> str:
    try:
        return str(service("service.py"))
    except ToolchainMissing as missing:
        pytest.skip(str(missing))


@contextmanager
def served(guest: str, *args: str, addr: str = "127.0.0.1:0"):
    """A server in a process; its address as it said, and the process."""
    with start_child(["-m", "coop", "serve", "--addr", addr, *args, guest], stderr=subprocess.PIPE) as child:
        told = []
        while not (line := child.stderr.readline().decode()).startswith("serving http"):
            assert line, "".join(told)  # the log may tell of a guest before
            told.append(line)
        yield line.split("//", 1)[1].strip(), child


def ask(where: str, path: str = "/hello", method: str = "GET", body: bytes | None = None, **headers: str):
    connection = http.client.HTTPConnection(where, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(), {n.lower(): v for n, v in response.getheaders()}
    finally:
        connection.close()


def test_it_says_where_it_serves_and_ends_well_when_told(guest):
    with served(guest) as (where, child):
        assert ask(where)[:2] == (200, b"hello\n")
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_S) == 0
        assert child.stderr.read() == b""


def test_it_writes_its_timeline_when_it_ends(guest, tmp_path):
    with served(guest, "--timeline", str(tmp_path / "served.json")) as (where, child):
        assert ask(where)[0] == 200
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_S) == 0
    assert "a request's body" in (tmp_path / "served.json").read_text()


def until_it_takes_nobody(address: tuple[str, int]) -> None:
    """Wait until a server has heard the signal to end."""
    end = time.monotonic() + PATIENCE_S
    with suppress(ConnectionRefusedError):
        while time.monotonic() < end:
            # One that was not accepted any more is reset.
            with suppress(ConnectionResetError), socket.create_connection(address, timeout=PATIENCE_S):
                time.sleep(0.01)
        pytest.fail("it goes on listening")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_progress_is_answered_before_it_ends(guest, number):
    with served(guest) as (where, child):
        host, port = where.split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as sock:
            head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
            sock.sendall(head)
            assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"  # the guest reads
            child.send_signal(number)
            until_it_takes_nobody((host, int(port)))
            sock.sendall(b"slow")
            answer = b""
            while data := sock.recv(65536):
                answer += data
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert b"slow" in answer
        assert child.wait(PATIENCE_S) == 0


def test_a_second_interrupt_does_not_wait(guest):
    with served(guest) as (where, child):
        host, port = where.split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as sock:
            sock.sendall(b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n")
            received = b""
            while b"half" not in received:
                received += sock.recv(65536)
            child.send_signal(signal.SIGINT)
            until_it_takes_nobody((host, int(port)))
            assert child.poll() is None
            began = time.monotonic()
            child.send_signal(signal.SIGINT)
            assert child.wait(PATIENCE_S) == 130
            assert time.monotonic() - began < 5


def test_requests_are_logged_if_asked_for(guest):
    with served(guest, "-v") as (where, child):
        ask(where, "/hello?a=b")
        child.send_signal(signal.SIGTERM)
        child.wait(PATIENCE_S)
        log = child.stderr.read().decode()
    (line,) = [line for line in log.splitlines() if "request " in line]
    for part in ("method=GET", r"target='/hello\?a=b'", "status=404", "bytes=14", r"ms=[0-9.]+"):
        assert re.search(part, line), line


def test_a_server_out_of_descriptors_waits_for_some_and_does_not_spin(guest):
    with served(guest) as (where, child):
        assert ask(where)[0] == 200
        few = len(os.listdir(f"/proc/{child.pid}/fd")) + 2
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (few, few))
        host, port = where.split(":")
        socks = [socket.create_connection((host, int(port)), timeout=PATIENCE_S) for _ in range(8)]
        time.sleep(0.2)
        before = cpu_seconds(child.pid)
        time.sleep(1)
        used = cpu_seconds(child.pid) - before
        for sock in socks:
            sock.close()
        assert used < 0.3
        assert ask(where)[0] == 200
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_S) == 0
        assert b"client not accepted" in child.stderr.read()


def cpu_seconds(pid: int) -> float:
    """How long a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_it_serves_ipv6_and_unix_sockets(guest, tmp_path):
    with served(guest, addr="[::1]:0") as (where, _):
        assert where.startswith("[::1]:")
        assert ask(where)[0] == 200
    path = tmp_path / "s"
    with served(guest, addr=f"unix:{path}") as (_, child):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(str(path))
            sock.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200 OK")
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_S) == 0
    assert not path.exists()


def test_https_is_served_with_a_certificate(guest, tmp_path):
    import ssl

    cert, key = make_certificate(tmp_path)
    with served(guest, "--tls-cert", str(cert), "--tls-key", str(key)) as (where, _):
        context = ssl.create_default_context(cafile=cert)
        port = int(where.rpartition(":")[2])
        connection = http.client.HTTPSConnection("localhost", port, timeout=PATIENCE_S, context=context)
        connection.request("GET", "/hello")
        assert connection.getresponse().read() == b"hello\n"
        connection.close()


def test_a_certificate_may_come_through_pipes(guest, tmp_path):
    import ssl

    cert, key = make_certificate(tmp_path)
    pipes = tmp_path / "cert.pipe", tmp_path / "key.pipe"
    for pipe in pipes:
        os.mkfifo(pipe)
    writers = [
        threading.Thread(target=lambda to=to, of=of: to.write_bytes(of.read_bytes()), daemon=True)
        for to, of in zip(pipes, (cert, key), strict=True)
    ]
    for writer in writers:
        writer.start()
    with served(guest, "--tls-cert", str(pipes[0]), "--tls-key", str(pipes[1])) as (where, _):
        context = ssl.create_default_context(cafile=cert)
        port = int(where.rpartition(":")[2])
        with (
            socket.create_connection(("localhost", port), timeout=PATIENCE_S) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as tls,
        ):
            assert tls.version() is not None
    for writer in writers:
        writer.join(PATIENCE_S)


def test_the_addresses_in_the_help_can_be_listened_on():
    text = run_child(["-m", "coop", "serve", "--help"]).stdout.decode()
    addresses = re.findall(r"--addr (\S*[0-9]) ", text)
    assert len(addresses) == 2
    for address in addresses:
        assert parse_address(address)


def test_a_key_with_a_password_is_refused_and_not_asked_for(guest, tmp_path):
    cert, key = make_certificate(tmp_path)
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked], check=True
    )
    args = ["--tls-cert", str(cert), "--tls-key", str(locked), "--addr", "127.0.0.1:0", guest]
    done = run_child(["-m", "coop", "serve", *args], expect=1)
    (line,) = done.stderr.decode().splitlines()
    assert "locked.pem" in line


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["--addr", "nowhere"], 2, "nowhere"),
        (["--addr", "127.0.0.1:99999"], 2, "99999"),
        (["--reuse", "0"], 2, "--reuse"),
        (["--tls-cert", "x.pem"], 2, "--tls-cert and --tls-key go together"),
        (["--tls-cert", "no.pem", "--tls-key", "no.pem"], 2, "no such file"),
        (["--tls-cert", "pyproject.toml", "--tls-key", "pyproject.toml"], 1, "pyproject.toml"),
        (["--max-connections", "0"], 2, "--max-connections"),
        (["-S", "tcplisten=127.0.0.1:0"], 2, "is a component, which opens its sockets itself"),
        (["--dir", "/no/such/folder"], 1, "/no/such/folder"),
    ],
)
def test_a_bad_option_is_told_in_a_line(guest, args: list[str], status: int, words: str):
    done = run_child(["-m", "coop", "serve", "--addr", "127.0.0.1:0", *args, guest], expect=None)
    assert done.returncode == status, done.stderr
    (line,) = done.stderr.decode().splitlines()
    assert words in line
    assert "Traceback" not in line


def test_a_component_that_serves_nothing_is_refused():
    done = run_child(["-m", "coop", "serve", str(command("hello.py"))], expect=1)
    (line,) = done.stderr.decode().splitlines()
    assert "wasi:http/incoming-handler is not exported" in line


def test_an_address_that_is_taken_is_told_in_a_line(guest):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        addr = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run_child(["-m", "coop", "serve", "--addr", addr, guest], expect=1)
    (line,) = done.stderr.decode().splitlines()
    assert addr in line


def test_curl_is_served(guest, tmp_path):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    data = tmp_path / "data"
    data.write_bytes(bytes(range(256)) * 20_000)
    with served(guest) as (where, _):
        args = [curl, "-sS", "--max-time", "30", "--data-binary", f"@{data}", "-w", "%{http_code}"]
        both = [f"http://{where}/echo", f"http://{where}/echo"]
        done = subprocess.run([*args, *both], capture_output=True, check=True, timeout=60)
    assert done.stdout == (data.read_bytes() + b"200") * 2


def test_wrk_is_served(guest):
    wrk = shutil.which("wrk")
    if wrk is None:
        pytest.skip("wrk is not installed")
    with served(guest, "--reuse", "1000") as (where, _):
        done = subprocess.run(
            [wrk, "-d1", "-c8", "-t1", f"http://{where}/hello"], capture_output=True, check=True, timeout=60
        )
    assert b"Non-2xx" not in done.stdout
    assert b"Socket errors" not in done.stdout


@contextmanager
def natively_served(guest: str):
    try:
        serve = native("serve")
    except ToolchainMissing as missing:
        pytest.skip(str(missing))
    args = [
        *serve,
        "-S",
        "cli,http,inherit-network,cli-exit-with-code,network-error-code",
        "--addr",
        "127.0.0.1:0",
        guest,
    ]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            line = child.stderr.readline().decode()
            told = re.fullmatch(r"Serving HTTP on http://(127\.0\.0\.1:\d+)/\n", line)
            assert told, line + child.stderr.read().decode()
            yield told[1]
        finally:
            child.kill()


@pytest.mark.timeout(300)
def test_answers_are_those_of_native_wasmtime(guest):
    requests = [
        *((path, "GET", None) for path in ("/hello", "/none", "/seen", "/large", "/counted", "/204", "/304")),
        *(("/trailers", "GET", None), ("/head", "GET", None), ("/hello", "HEAD", None)),
        *(("/echo", "POST", size) for size in (b"", b"x", b"y" * 300_000)),
        *(("/trap", "GET", None), ("/silent", "GET", None), ("/head?a=%20b", "PURGE", b"")),
    ]

    def answers(where: str) -> list:
        found = []
        for path, method, body in requests:
            status, data, headers = ask(where, path, method, body, **{"X-One": "1"})
            headers = {n: v for n, v in headers.items() if n in {"content-type", "trailer"}}
            data = data.replace(where.encode(), b"HOST")
            if status >= 500:
                data, headers = b"", {}  # the hosts' own words
            found.append((path, method, status, data, headers))
        return found

    with natively_served(guest) as where:
        native = answers(where)
    with served(guest) as (where, _):
        ours = answers(where)
    assert ours == native
