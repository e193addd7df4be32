"""Guests in JavaScript, a command and two services, here and on native wasmtime; that in Python too."""

import http.client
import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.children import ROOT, command, run_child, start_child
from tests.components import SOURCES, python_component
from tests.examples.both import HERE, PATIENCE_S, POLLERS, SWITCHES, THERE, built, native, run
from tests.jcobuild import js_component

pytestmark = pytest.mark.slow
SERVICE = ROOT / "examples" / "service"
BUILDERS = {"js": js_component, "py": python_component}
BOTH = "\nworld both {\n  include command;\n  include service;\n}\n"
MANY = 20

#: Runs guests that each ask a server which answers none of them before all have asked.
MEET = """
import http.server, sys, threading, coop

met = threading.Barrier(int(sys.argv[2]))

class Meeting(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        met.wait(50)
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.end_headers()
        self.wfile.write(self.path.encode())
    def log_message(self, *_):
        pass

def main(where):
    component, said = coop.load(sys.argv[1]), []
    network = coop.Network(connect=[where])
    with coop.TaskGroup() as group:
        for i in range(met.parties):
            args = ["fetch", f"http://{where}/{i}"]
            guest = coop.ComponentGuest(component, args=args, network=network, stdout=coop.text(said.append))
            group.spawn(guest.run)
    assert sorted(said) == sorted(f"200 text/plain /{i}" for i in range(met.parties)), said

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = met.parties
    daemon_threads = True

with Server(("127.0.0.1", 0), Meeting) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    coop.run(main, f"127.0.0.1:{server.server_port}")
"""


@pytest.fixture(scope="module", params=["js", "py"])
def service(request) -> str:
    return built(BUILDERS[request.param], SERVICE / f"guest.{request.param}", "service")


@pytest.fixture(scope="module")
def js_service() -> str:
    return built(js_component, SERVICE / "guest.js", "service")


@pytest.fixture(scope="module")
def facts() -> str:
    return built(js_component, SOURCES / "facts.js", "both", BOTH, "0.2.3")


@contextmanager
def served(host: str, guest: str, *options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a server of one of the hosts; its address and the process."""
    if host == HERE:
        argv = command(["-m", "coop", "serve"])
    else:
        argv = [*native("serve"), "-S", f"cli,{SWITCHES}"]
    argv += [*options, "--addr", "127.0.0.1:0", guest]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as child:
        try:
            line = child.stderr.readline().decode()
            found = re.search(r"(?i)serving http on http://(\S+:\d+)|serving http://(\S+:\d+)", line)
            assert found, line + child.stderr.read().decode()
            yield found[1] or found[2], child
        finally:
            child.kill()


def ask(
    where: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, bytes, str | None]:
    connection = http.client.HTTPConnection(where.rstrip("/"), timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(), response.getheader("content-type")
    finally:
        connection.close()


@pytest.mark.parametrize("host", [HERE, THERE])
def test_the_service_greets_and_gives_back_what_is_posted(service: str, host: str):
    long = bytes(range(256)) * 4000
    with served(host, service) as (where, _):
        assert ask(where, "/") == (200, b"hello\n", "text/plain")
        assert ask(where, "/other") == (404, b"nothing is here\n", "text/plain")
        assert ask(where, "/?a=b") == (404, b"nothing is here\n", "text/plain")
        assert ask(where, "/anywhere", "POST", b"abc") == (200, b"abc", "text/plain")
        assert ask(where, "/", "POST", b"") == (200, b"", "text/plain")
        assert ask(where, "/", "POST", long) == (200, long, "text/plain")
        with ThreadPoolExecutor(8) as clients:
            bodies = [b"%d" % i * 10000 for i in range(24)]
            answers = list(clients.map(lambda body: ask(where, "/", "POST", body), bodies))
        assert answers == [(200, body, "text/plain") for body in bodies]


class Talk:
    """A request whose body is sent in pieces, while the answer is read."""

    def __init__(self, where: str, path: str = "/") -> None:
        host, _, port = where.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        self.came = b""
        self.sock.sendall(
            b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode()
        )

    def send(self, data: bytes) -> None:
        """Send one piece; an empty one is the last."""
        self.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def wait_for(self, data: bytes) -> None:
        """Read until something has come."""
        while data not in self.came:
            piece = self.sock.recv(65536)
            assert piece, self.came
            self.came += piece
        self.came = self.came.partition(data)[2]


@pytest.mark.parametrize("host", [HERE, THERE])
def test_the_service_in_javascript_answers_while_it_is_asked_and_several_at_once(js_service: str, host: str):
    with served(host, js_service) as (where, _):
        talks = [Talk(where) for _ in range(5)]
        for word in (b"one", b"two"):
            for i, talk in enumerate(talks):
                talk.send(b"%s of %d" % (word, i))
            for i, talk in reversed(list(enumerate(talks))):
                talk.wait_for(b"%s of %d" % (word, i))
        for talk in talks:
            talk.send(b"")
            talk.wait_for(b"\r\n0\r\n\r\n")
            talk.sock.close()


@pytest.mark.parametrize("poller", POLLERS)
def test_the_host_of_the_service_serves_and_counts_and_ends_well(js_service: str, poller: str):
    argv = [str(SERVICE / "host.py"), "--port=0", "--reuse=2", "--poller", poller, "--guest", js_service]
    with start_child(argv, stderr=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}) as child:
        assert child.stdout.readline().startswith(b"serving ")
        where = re.search(r"http://(\S+:\d+)/", child.stdout.readline().decode())[1]
        for _ in range(3):
            assert ask(where, "/") == (200, b"hello\n", "text/plain")
        while b"guests so far: 2" not in (line := child.stdout.readline()):
            assert line
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, out, err) == (0, b"stopped\n", b"")


def test_the_host_of_the_service_says_what_it_cannot_serve(tmp_path: Path):
    host, core = str(SERVICE / "host.py"), str(ROOT / "examples" / "ticker" / "guest.wat")
    env = {"PYTHONPATH": str(ROOT)}
    missing = run_child([host, "--guest", str(tmp_path / "no.wasm")], env=env, expect=1)
    assert b"no.wasm is not there; build it from the project's folder:" in missing.stderr
    wrong = run_child([host, "--guest", core], env=env, expect=1)
    assert wrong.stderr.endswith(b"guest.wat is a core module; only a component serves HTTP\n")


@pytest.mark.parametrize("host", [HERE, THERE])
def test_a_listener_for_fetch_answers(facts: str, host: str):
    with served(host, facts) as (where, _):
        assert ask(where, "/")[:2] == (200, b"hello\n")
        assert ask(where, "/nothing")[:2] == (404, b"")
        assert ask(where, "/echo", "POST", b"x" * 200000)[:2] == (201, b"x" * 200000)
        assert ask(where, "/length", "POST", b"x" * 200000)[:2] == (200, b"200000")
        assert ask(where, "/headers", **{"x-asked": "a word"})[:2] == (200, b"a word")
        assert ask(where, "/slow")[:2] == (200, b"slow")
        pieces = b"".join(b"piece %d\n" % i for i in range(1, 6))
        assert ask(where, "/pieces")[:2] == (200, pieces)


@pytest.mark.parametrize("host", [HERE, THERE])
def test_an_error_of_a_handler_is_an_answer_and_the_next_request_fares_well(facts: str, host: str):
    said = b"ERROR: no fetch-event handler triggered, was one registered?"
    with served(host, facts) as (where, _):
        assert ask(where, "/throw") == (500, said, "text/plain")
        assert ask(where, "/reject")[:2] == (500, b"")
        assert ask(where, "/")[:2] == (200, b"hello\n")


@pytest.mark.parametrize(
    "args",
    [
        ["args"],
        ["args", "one", "two words", "", "gr\u00fc\u00df"],
        ["env"],
        ["exit", "0"],
        ["exit", "7"],
        ["stderr"],
        ["throw"],
        ["reject"],
        ["unknown"],
        ["write", "60"],
        ["stdin"],
        ["timers"],
        ["sleep", "20", "rested"],
        ["fetch", "http://127.0.0.1:1/"],
    ],
    ids=" ".join,
)
def test_a_command_in_javascript_does_what_it_does_on_native_wasmtime(facts: str, args: list[str]):
    given = ["-S", f"http,{SWITCHES}", "--env", "T_A=1", "--env", "T_B=two words", facts, *args]
    stdin = "gr\u00fc\u00df\n".encode() * 2000 + b"no newline"
    here, there = (run(host, *given, stdin=stdin) for host in (HERE, THERE))
    assert here == there
    failing = {"exit 7": 7, "throw": 1, "reject": 1, "unknown": 1, "fetch http://127.0.0.1:1/": 1}
    assert here.status == failing.get(" ".join(args), 0)


def test_a_command_in_javascript_says_what_is_expected(facts: str):
    assert run(HERE, facts, "timers").out.split(b"\n") == [
        *(b"at once", b"after 200", b"after 400", b"after 600", b"ticks 3", b"")
    ]
    assert json.loads(run(HERE, facts, "args", "a", "\u00fc").out) == ["a", "\u00fc"]
    assert len(run(HERE, facts, "write", "60").out) == 60 * 4096


def test_a_command_in_javascript_works_on_the_same_files_as_on_native_wasmtime(facts: str, tmp_path: Path):
    ended = []
    for host in (HERE, THERE):
        folder = tmp_path / host
        folder.mkdir()
        (tmp_path / "outside").touch()
        given = ["-S", f"http,{SWITCHES}", "--dir", f"{folder}::work", facts, "files"]
        ended.append(run(host, *given))
        assert (folder / "made").read_text() == "by the guest"
    assert ended[0] == ended[1]
    assert (
        ended[0].out
        == b"work regular-file made\nthe guest false\nnothing no-entry\n../outside not-permitted\n"
    )


@pytest.mark.parametrize("host", [HERE, THERE])
def test_a_command_in_javascript_fetches_from_a_service_in_javascript(js_service: str, facts: str, host: str):
    with served(HERE, js_service) as (where, _):
        said = run(host, "-S", f"http,{SWITCHES}", facts, "fetch", f"http://{where}/")
    assert (said.status, said.out, said.err) == (0, b"200 text/plain hello\n\n", b"")


def test_many_guests_in_javascript_wait_at_once(facts: str):
    run_child(["-c", MEET, facts, str(MANY)])
