"""Start sections: they run when the guest's memory is there, and one that is broken is refused."""

import pytest

import coop
from coop.engine.beginning import deferred
from coop.engine.code import to_wasm
from tests.engine.wat import call, module

START = 8
PRINTS = """
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "\\20\\00\\00\\00\\05\\00\\00\\00")
  (data (i32.const 32) "begun")
  (func $begin
    (if (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)) (then unreachable)))
  (start $begin)
"""


def printed(text: str) -> bytes:
    """What a program has printed when it is done, with nothing said against it."""
    out = bytearray()
    guest = coop.Guest(module(text), stdout=out)
    assert coop.run(guest.run) == 0
    return bytes(out)


def wasm(text: str) -> bytes:
    return to_wasm(text, "test")


def section(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number, len(content)]) + content


def test_a_start_section_can_print():
    assert printed(f'(module {PRINTS} (func (export "_start")))') == b"begun"


def test_a_start_section_may_be_the_whole_program():
    assert printed(f"(module {PRINTS})") == b"begun"
    assert module(f"(module {PRINTS})").entry is None


def test_a_library_with_a_start_section_is_no_program():
    assert module(f'(module {PRINTS} (func (export "_initialize")))').entry == "_start"


def test_a_host_function_sees_the_memory_of_a_start_section():
    seen: list[bytes] = []

    @coop.host_function("h", "look")
    def look(caller: coop.Caller) -> None:
        coop.sleep(0.0001)
        seen.append(caller.memory.read(0, 2))
        caller.memory.write(0, b"*")

    text = """(module (import "h" "look" (func $look)) (memory (export "memory") 1) (data (i32.const 0) "ab")
      (start $look) (func (export "go") (result i32) (i32.load16_u (i32.const 0))))"""
    assert call(text, imports=(look,)).to_bytes(2, "little") == b"*b"
    assert seen == [b"ab"]


def test_it_runs_before_initialize_and_once_whatever_the_exports_are_called():
    text = """(module (global $n (mut i32) (i32.const 1))
      (func $begin (export "start 0") (global.set $n (i32.mul (global.get $n) (i32.const 10))))
      (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 1))))
      (func (export "start 1") (result i32) (global.get $n))
      (start $begin))"""
    assert list(module(text).exports) == ["start 0", "_initialize", "start 1"]
    assert call(text, name="start 1") == 11


def test_it_is_kept_in_the_cache(tmp_path):
    text = f"(module {PRINTS})"
    for compiled in (1, 0):
        calls: list[None] = []
        out = bytearray()
        found = coop.Module.from_bytes(
            text, cache=tmp_path, on_compile=lambda calls=calls: calls.append(None)
        )
        assert coop.run(coop.Guest(found, stdout=out).run) == 0
        assert (len(calls), out) == (compiled, b"begun")


def test_a_module_without_exports_gets_some():
    before = wasm("(module (func $f) (start $f) (table 1 funcref) (elem (i32.const 0) $f))")
    assert section(7, b"\1\7start 0\0\0") in deferred(before)
    assert section(START, b"\0") not in deferred(before)


@pytest.mark.parametrize("text", ["(module)", '(module (func (export "a")))', "(module (memory 1))"])
def test_a_module_without_one_stays_as_it_is(text: str):
    before = wasm(text)
    assert deferred(before) is before


@pytest.mark.parametrize("signature", ["(param i32)", "(result i32)"])
def test_a_start_function_takes_and_gives_nothing(signature: str):
    with pytest.raises(coop.BadModule, match="invalid start function type"):
        module(f"(module (func $f {signature} unreachable) (start $f))")


WHOLE = wasm('(module (func $f (export "go")) (start $f))')
BEGIN = section(START, b"\0")


@pytest.mark.parametrize(
    "broken",
    [
        WHOLE.replace(BEGIN, BEGIN + BEGIN),
        WHOLE.replace(BEGIN, b"") + BEGIN,
        WHOLE[:8] + BEGIN + WHOLE[8:].replace(BEGIN, b""),
        WHOLE.replace(BEGIN, section(START, b"\0\0")),
        WHOLE.replace(BEGIN, section(START, b"")),
        WHOLE.replace(BEGIN, section(START, b"\1")),
        WHOLE.replace(BEGIN, section(START, b"\x80")),
        WHOLE.replace(BEGIN, bytes([START, 100, 0])),
    ],
    ids=["two", "last", "first", "two numbers", "none", "no function", "cut number", "too long"],
)
def test_one_that_is_broken_is_refused(broken: bytes):
    with pytest.raises(coop.BadModule):
        coop.Module.from_bytes(broken, cache=False)
