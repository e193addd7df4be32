"""Modules: what is loaded and what is refused, and the cache that never trusts what it did not write."""

import hashlib
import os
import stat
import time
from pathlib import Path

import pytest
from wasmtime import wat2wasm

import coop
from coop.engine.cache import ModuleCache, default_directory
from coop.engine.config import engine_for
from coop.engine.signatures import read_signatures
from tests.engine.wat import in_child

ANSWER = '(module (func (export "go") (result i32) (i32.const 42)))'


class Compiles:
    """Counts the compiles that a load took."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def load(cache: Path, text: str = ANSWER, **kwargs: int) -> int:
    """Load a module and call it; the number of compiles it took."""
    compiles = Compiles()
    m = coop.Module.from_bytes(text, cache=cache, on_compile=compiles, **kwargs)

    def main() -> int:
        with coop.Guest(m) as guest:
            return int(guest.call("go"))

    assert coop.run(main) == 42
    return compiles.count


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


def entry(cache: Path) -> Path:
    (found,) = cache.iterdir()
    return found


# -- what is refused


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"\x7fELF", "not a wasm file"),
        (b"\0asm", "unknown version"),
        (b"\0asm\x02\0\0\0", "unknown version"),
        (b"\0asm\x0d\0\x01\0", "a component; a core module was expected"),
        (b"\0asm\x01\0\0\0\x01", "unexpected end"),
        (b"(module (func (export", "not valid WAT"),
        (b"(component)", "component"),
        (b"(module (func (result i32)))", "type mismatch"),
    ],
)
def test_what_is_no_module_is_refused_in_one_line(data: bytes, says: str):
    with pytest.raises(coop.BadModule) as caught:
        coop.Module.from_bytes(data, name="guest.wasm", cache=False)
    said = str(caught.value)
    assert said.startswith("guest.wasm: ")
    assert says in said
    assert "\n" not in said


def test_a_file_that_is_not_there_is_an_os_error():
    with pytest.raises(FileNotFoundError):
        coop.Module.from_file("/nowhere/guest.wasm")


def test_imports_and_exports_are_listed_with_their_types():
    m = coop.Module.from_bytes(
        """(module
          (import "a" "f" (func (param i32 i64 f32 f64 v128) (result funcref externref)))
          (import "a" "t" (table 1 2 funcref)) (import "a" "m" (memory 1)) (import "a" "g" (global (mut i32)))
          (import "b" "f" (func))
          (func $mine (param i32)) (table $t2 1 externref) (global $c i32 (i32.const 0))
          (export "first" (func 0)) (export "second" (func 1)) (export "mine" (func $mine))
          (export "memory" (memory 0)) (export "t" (table $t2)) (export "g" (global $c)))""",
        cache=False,
    )
    assert [(str(wanted), wanted.type) for wanted in m.imports] == [
        ("a.f", (("i32", "i64", "f32", "f64", "v128"), ("funcref", "externref"))),
        ("a.t", None),
        ("a.m", None),
        ("a.g", None),
        ("b.f", ((), ())),
    ]
    assert m.exports == {
        "first": (("i32", "i64", "f32", "f64", "v128"), ("funcref", "externref")),
        "second": ((), ()),
        "mine": (("i32",), ()),
        "memory": None,
        "t": None,
        "g": None,
    }


def test_references_may_be_spelled_at_length():
    short = wat2wasm(
        """(module (import "a" "t" (table 1 2 funcref)) (import "a" "g" (global externref))
          (func (export "f") (param funcref externref) unreachable))"""
    )
    long = bytearray(short)
    for section, before, after in (
        (1, b"\x02\x70\x6f", b"\x02\x63\x70\x63\x6f"),
        (2, b"\x01t\x01\x70", b"\x01t\x01\x63\x70"),
        (2, b"\x01g\x03\x6f", b"\x01g\x03\x63\x6f"),
    ):
        start = 8 if section == 1 else 8 + 2 + long[9]
        assert (long[start], long.count(before)) == (section, 1)
        long[start + 1] += len(after) - len(before)
        long = long.replace(before, after)
    read = [coop.Module.from_bytes(bytes(wasm), cache=False) for wasm in (short, long)]
    assert [(m.imports, m.exports) for m in read[1:]] == [(m.imports, m.exports) for m in read[:1]]
    assert read[0].exports == {"f": (("funcref", "externref"), ())}


SIGNED = bytes(wat2wasm('(module (import "aa" "f" (func (param i32))) (func (export "go") unreachable))'))


def test_signatures_of_bytes_cut_anywhere_are_read_or_a_bad_module():
    said = set()
    for cut in range(8, len(SIGNED)):
        try:
            read_signatures(SIGNED[:cut], "cut")
        except coop.BadModule as error:
            said.add(str(error).partition(":")[0])
    assert said == {"cut"}


# -- the cache


def test_a_module_is_compiled_once_and_found_the_second_time(cache: Path):
    assert [load(cache), load(cache)] == [1, 0]


def test_without_a_cache_every_load_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COOP_CACHE_DIR", str(tmp_path))
    compiles = Compiles()
    for _ in range(2):
        coop.Module.from_bytes(ANSWER, cache=False, on_compile=compiles)
    assert compiles.count == 2
    assert list(tmp_path.iterdir()) == []


def test_the_users_cache_directory_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COOP_CACHE_DIR", str(tmp_path / "set"))
    assert default_directory() == tmp_path / "set"
    monkeypatch.setenv("COOP_CACHE_DIR", "")
    assert default_directory() is None
    monkeypatch.delenv("COOP_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "coop"


def test_a_users_cache_directory_that_is_not_absolute_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("COOP_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert default_directory() == tmp_path / ".cache" / "coop"
    monkeypatch.setenv("HOME", "home")
    assert default_directory() is None


def test_the_cache_is_the_users_alone(cache: Path):
    load(cache)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def digest(one: bytes, other: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(one).digest() + hashlib.sha256(other).digest()).digest()


def flip_last(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    "damage",
    [
        flip_last,
        lambda data: data[:100],
        lambda data: data[:32],
        lambda data: b"",
        lambda data: data + b"x",
        lambda data: b"\0" * len(data),
        lambda data: digest(b"not ", b"code") + b"not code",
    ],
    ids=["one bit", "cut short", "digest alone", "empty", "longer", "zeros", "whole but no module"],
)
def test_a_broken_entry_is_compiled_again_and_replaced(
    cache: Path, damage, capsys: pytest.CaptureFixture[str]
):
    load(cache)
    path = entry(cache)
    path.write_bytes(damage(path.read_bytes()))
    assert [load(cache), load(cache)] == [1, 0]


@pytest.mark.parametrize("where", [0.1, 0.9])
def test_a_large_entry_is_looked_at_in_both_halves(cache: Path, where: float):
    wasm = wat2wasm(f'(module (memory 64) (data (i32.const 0) "{"x" * (4 << 20)}"))')
    compiles = []
    for damaged in (False, True, False):
        if damaged:
            with entry(cache).open("r+b") as file:
                file.seek(int(entry(cache).stat().st_size * where))
                file.write(b"y")
        coop.Module.from_bytes(wasm, cache=cache, on_compile=lambda: compiles.append(1))
    assert len(compiles) == 2


def test_an_entry_that_is_a_link_is_not_followed(cache: Path, tmp_path: Path):
    load(cache)
    path = entry(cache)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert load(cache) == 1
    assert not path.is_symlink()


def test_an_entry_that_is_a_fifo_does_not_hang_the_load(cache: Path):
    load(cache)
    path = entry(cache)
    path.unlink()
    os.mkfifo(path)
    assert load(cache) == 1


def test_an_entry_that_is_a_directory_costs_no_descriptor(cache: Path):
    load(cache)
    path = entry(cache)
    path.unlink()
    path.mkdir()
    before = os.listdir("/proc/self/fd")
    assert [load(cache) for _ in range(5)] == [1] * 5
    assert len(os.listdir("/proc/self/fd")) <= len(before)
    assert list(cache.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o606, 0o660, 0o644])
def test_an_entry_that_others_may_use_is_compiled_again_and_replaced(
    cache: Path, mode: int, capsys: pytest.CaptureFixture[str]
):
    load(cache)
    entry(cache).chmod(mode)
    assert [load(cache), load(cache)] == [1, 0]
    assert "entry of others" in capsys.readouterr().err
    assert stat.S_IMODE(entry(cache).stat().st_mode) == 0o600


def test_a_system_without_threads_is_told_of_before_wasmtime_ends_the_process():
    done = in_child(
        f"""
        from tests.shortage import end_threads
        end_threads()
        try:
            module({ANSWER!r})
        except OSError as error:
            print(error)
        """
    )
    assert b"start a thread to compile with: Resource temporarily unavailable" in done.stdout


def test_one_thread_compiles_where_not_all_are_to_be_had():
    done = in_child(
        f"""
        import os
        from coop.engine.config import engine_for
        from tests.shortage import end_address_space
        engine_for()
        os.environ["RAYON_NUM_THREADS"] = "1000"
        end_address_space(200 << 20)
        before = len(os.listdir("/proc/self/task"))
        module({ANSWER!r})
        print(len(os.listdir("/proc/self/task")) - before, os.environ["RAYON_NUM_THREADS"])
        """
    )
    assert done.stdout == b"1 1000\n", done.stderr


def test_a_large_guest_is_loaded_from_the_cache_where_no_thread_is_to_be_had():
    done = in_child(
        """
        import tempfile
        from tests.shortage import be_a_user, end_threads
        be_a_user()
        text = '(module (memory 32) (data (i32.const 0) "' + 'x' * (1 << 20) + '"))'
        compiles = []
        with tempfile.TemporaryDirectory() as cache:
            coop.Module.from_bytes(text, cache=cache)
            end_threads()
            coop.Module.from_bytes(text, cache=cache, on_compile=lambda: compiles.append(1))
        print(compiles)
        """
    )
    assert done.stdout == b"[]\n", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_an_entry_that_somebody_left_while_the_directory_was_open_is_compiled_again(cache: Path):
    load(cache)
    os.chown(entry(cache), 65534, -1)
    assert [load(cache), load(cache)] == [1, 0]


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o770, 0o777, 0o755])
def test_a_directory_that_others_may_use_is_not_used(
    cache: Path, mode: int, capsys: pytest.CaptureFixture[str]
):
    load(cache)
    cache.chmod(mode)
    assert load(cache) == 1
    assert "others may use it" in capsys.readouterr().err
    cache.chmod(0o700)


def test_a_directory_that_is_a_link_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    load(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert load(tmp_path / "link") == 1
    assert "symlink" in capsys.readouterr().err


def test_a_directory_of_another_user_is_not_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    load(cache)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert load(cache) == 1
    assert "belongs to user" in capsys.readouterr().err


def test_a_directory_that_cannot_be_made_is_done_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("in the way")
    assert load(tmp_path / "file" / "cache") == 1
    assert "not used" in capsys.readouterr().err


def test_an_engine_with_another_stack_has_entries_of_its_own(cache: Path):
    assert [load(cache), load(cache, max_wasm_stack=1 << 20), load(cache, max_wasm_stack=1 << 20)] == [
        1,
        1,
        0,
    ]
    assert len(list(cache.iterdir())) == 2


def test_an_entry_is_never_half_written(cache: Path):
    store, engine = ModuleCache(cache), engine_for()
    for data in (b"first" * 1000, b"second" * 1000):
        store.store(b"wasm", engine, data)
        assert store.load(b"wasm", engine) == data
    assert len(list(cache.iterdir())) == 1


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def test_a_cache_is_bounded_and_what_was_used_longest_ago_goes_first(cache: Path):
    store, engine = ModuleCache(cache, most_bytes=10_000), engine_for()
    paths: list[Path] = []
    for i in range(5):
        store.store(b"wasm %d" % i, engine, bytes(1900))
        paths += [path for path in cache.iterdir() if path not in paths]
        age(paths[-1], 20 - i)
    keep = cache / "notes.txt"
    keep.write_text("none of the cache's")
    (cache / ".new-left").write_bytes(bytes(5000))
    age(cache / ".new-left", 2)
    (cache / ".new-now").write_bytes(bytes(5000))
    assert store.load(b"wasm 0", engine) == bytes(1900)  # so that it is the second which is oldest
    store.store(b"wasm 5", engine, bytes(1900))
    assert [store.load(b"wasm %d" % i, engine) is not None for i in range(6)] == [1, 0, 0, 0, 1, 1]
    assert keep.exists()
    assert (cache / ".new-now").exists()
    assert not (cache / ".new-left").exists()


def test_an_entry_larger_than_the_whole_cache_may_be_is_kept_alone(cache: Path):
    store, engine = ModuleCache(cache, most_bytes=1000), engine_for()
    for name in (b"one", b"two"):
        store.store(name, engine, bytes(5000))
        assert store.load(name, engine) == bytes(5000)
        age(entry(cache), 1)


def test_many_processes_that_fill_one_cache_at_once_all_get_their_module(cache: Path):
    done = in_child(
        f"""
pids = []
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        m = coop.Module.from_bytes('''{ANSWER}''', cache={str(cache)!r})
        with_guest = lambda: coop.Guest(m).call("go")
        os._exit(0 if coop.run(with_guest) == 42 else 1)
    pids.append(pid)
print([os.waitpid(pid, 0)[1] for pid in pids])
"""
    )
    assert done.stdout == b"[0, 0, 0, 0, 0, 0, 0, 0]\n"
    assert load(cache) == 0


def test_a_directory_that_is_not_used_is_told_once_for_each_reason(
    cache: Path, capsys: pytest.CaptureFixture[str]
):
    load(cache)
    for mode in (0o755, 0o755, 0o770):
        cache.chmod(mode)
        load(cache)
    cache.chmod(0o700)
    assert capsys.readouterr().err.count("not used") == 2
